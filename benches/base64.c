#include "base64.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { NO_LETTER = 64 };

static uint8_t values[256];
static pthread_once_t values_are_set = PTHREAD_ONCE_INIT;

static void set_values(void)
{
    memset(values, NO_LETTER, sizeof values);
    for (uint8_t value = 0; value < 64; value++)
        values[(uint8_t)LETTERS[value]] = value;
}

size_t base64_encode(const uint8_t *in, size_t len, char *out)
{
    char *at = out;
    size_t i = 0;
    for (; i + 2 < len; i += 3) {
        uint32_t group = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        *at++ = LETTERS[group >> 18];
        *at++ = LETTERS[group >> 12 & 63];
        *at++ = LETTERS[group >> 6 & 63];
        *at++ = LETTERS[group & 63];
    }
    if (i < len) {
        int has_two = i + 1 < len;
        uint32_t group = (uint32_t)in[i] << 16 | (has_two ? (uint32_t)in[i + 1] << 8 : 0);
        *at++ = LETTERS[group >> 18];
        *at++ = LETTERS[group >> 12 & 63];
        *at++ = has_two ? LETTERS[group >> 6 & 63] : '=';
        *at++ = '=';
    }
    *at = '\0';
    return (size_t)(at - out);
}

static void refuse(const char *text)
{
    fprintf(stderr, "error: not padded base64: %.40s\n", text);
    exit(1);
}

size_t base64_decode(const char *text, size_t len, uint8_t *out)
{
    pthread_once(&values_are_set, set_values);
    size_t padding = 0;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    if (len % 4 != 0)
        refuse(text);
    uint8_t *at = out;
    for (size_t i = 0; i < len; i += 4) {
        int is_last = i + 4 == len;
        uint8_t a = values[(uint8_t)text[i]], b = values[(uint8_t)text[i + 1]];
        uint8_t c = is_last && padding == 2 ? 0 : values[(uint8_t)text[i + 2]];
        uint8_t d = is_last && padding >= 1 ? 0 : values[(uint8_t)text[i + 3]];
        if ((a | b | c | d) & NO_LETTER)
            refuse(text);
        uint32_t group = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | d;
        *at++ = (uint8_t)(group >> 16);
        if (!is_last || padding < 2)
            *at++ = (uint8_t)(group >> 8);
        if (!is_last || padding < 1)
            *at++ = (uint8_t)group;
    }
    return (size_t)(at - out);
}
