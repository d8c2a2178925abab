/* Base64 as one finds it in C programs: a table, a loop, padded. For the server's canned answers and for curl.c. */
#ifndef BENCH_BASE64_H
#define BENCH_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Room for the encoding of `len` bytes, its NUL included. */
#define BASE64_ROOM(len) (((len) + 2) / 3 * 4 + 1)

/* Writes the encoding and a NUL; returns its length without that. */
size_t base64_encode(const uint8_t *in, size_t len, char *out);

/* Writes what `text` encodes, at most len / 4 * 3 bytes; returns how many. Ends the program where it is not base64. */
size_t base64_decode(const char *text, size_t len, uint8_t *out);

#endif
