/* What a C programmer would write today: libcurl with a handle that is used again, cJSON, and base64. */
#include "base64.h"
#include "client.h"

#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct client {
    char base[256];
    CURL *easy;
    struct curl_slist *headers;
    char *answer;
    size_t answer_len, answer_room;
};

static pthread_once_t curl_is_ready = PTHREAD_ONCE_INIT;

static void make_curl_ready(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        die("curl_global_init failed");
}

static size_t keep_answer(char *bytes, size_t size, size_t count, void *argument)
{
    struct client *client = argument;
    size_t len = size * count;
    if (client->answer_room - client->answer_len < len + 1) {
        client->answer_room = (client->answer_room + len + 1) * 2;
        client->answer = realloc(client->answer, client->answer_room);
        if (client->answer == NULL)
            die("no memory");
    }
    memcpy(client->answer + client->answer_len, bytes, len);
    client->answer_len += len;
    client->answer[client->answer_len] = '\0';
    return len;
}

static struct client *open_base(const char *base)
{
    struct client *client = calloc(1, sizeof *client);
    pthread_once(&curl_is_ready, make_curl_ready);
    if (client == NULL || (client->easy = curl_easy_init()) == NULL)
        die("no memory");
    snprintf(client->base, sizeof client->base, "%s", base);
    client->headers = curl_slist_append(NULL, "Content-Type: application/json");
    curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->easy, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(client->easy, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(client->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->easy, CURLOPT_PROXY, "");
    return client;
}

struct client *client_open(const char *host, const char *port)
{
    char base[256];
    snprintf(base, sizeof base, "http://%s:%s/v3", host, port);
    return open_base(base);
}

struct client *client_for_thread(struct client *client)
{
    return open_base(client->base);
}

void client_close(struct client *client)
{
    curl_slist_free_all(client->headers);
    curl_easy_cleanup(client->easy);
    free(client->answer);
    free(client);
}

static void add_bytes(cJSON *object, const char *name, const void *bytes, size_t len)
{
    char *encoded = malloc(BASE64_ROOM(len));
    if (encoded == NULL)
        die("no memory");
    base64_encode(bytes, len, encoded);
    cJSON_AddStringToObject(object, name, encoded);
    free(encoded);
}

static void add_prefix(cJSON *object, const char *prefix)
{
    char end[64];
    end_of_prefix(prefix, end, sizeof end);
    add_bytes(object, "key", prefix, strlen(prefix));
    add_bytes(object, "range_end", end, strlen(end));
}

/* Sets the request; returns its body, to be freed after the call. */
static char *set_request(struct client *client, const char *path, cJSON *request)
{
    char url[300];
    char *body = cJSON_PrintUnformatted(request);
    cJSON_Delete(request);
    if (body == NULL)
        die("no memory");
    snprintf(url, sizeof url, "%s%s", client->base, path);
    curl_easy_setopt(client->easy, CURLOPT_URL, url);
    curl_easy_setopt(client->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(client->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    return body;
}

/* Calls a method; returns the answer, to be deleted. */
static cJSON *call(struct client *client, const char *path, cJSON *request)
{
    char *body = set_request(client, path, request);
    client->answer_len = 0;
    CURLcode code = curl_easy_perform(client->easy);
    free(body);
    long status = 0;
    curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != 200)
        die("%s: %s, status %ld", path, curl_easy_strerror(code), status);
    cJSON *answer = cJSON_ParseWithLength(client->answer, client->answer_len);
    if (answer == NULL)
        die("the answer is not JSON");
    return answer;
}

/* A field's bytes, to be freed; none where the field is absent. */
static uint8_t *bytes_of(const cJSON *object, const char *name, size_t *len)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    size_t text_len = text == NULL ? 0 : strlen(text);
    uint8_t *bytes = malloc(text_len + 1);
    if (bytes == NULL)
        die("no memory");
    *len = text == NULL ? 0 : base64_decode(text, text_len, bytes);
    return bytes;
}

static int64_t int64_of(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text == NULL ? 0 : strtoll(text, NULL, 10);
}

struct key_value {
    uint8_t *key, *value;
    size_t key_len, value_len;
    int64_t create_revision, mod_revision, version, lease;
};

static struct key_value decode_kv(const cJSON *object)
{
    struct key_value kv;
    kv.key = bytes_of(object, "key", &kv.key_len);
    kv.value = bytes_of(object, "value", &kv.value_len);
    kv.create_revision = int64_of(object, "create_revision");
    kv.mod_revision = int64_of(object, "mod_revision");
    kv.version = int64_of(object, "version");
    kv.lease = int64_of(object, "lease");
    return kv;
}

static uint64_t sum_and_free(struct key_value *kv)
{
    uint64_t sum = sum_of_kv(kv->key, kv->key_len, kv->value, kv->value_len, kv->mod_revision);
    free(kv->key);
    free(kv->value);
    return sum;
}

/* Decodes all the keys of an answer before any is used, as a function that returns them has to. */
static uint64_t sum_of_answer(cJSON *answer)
{
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(answer, "kvs"), *element;
    size_t count = 0;
    struct key_value *kvs = calloc((size_t)cJSON_GetArraySize(array) + 1, sizeof *kvs);
    if (kvs == NULL)
        die("no memory");
    cJSON_ArrayForEach(element, array)
        kvs[count++] = decode_kv(element);
    cJSON_Delete(answer);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += sum_and_free(&kvs[i]);
    free(kvs);
    return sum;
}

uint64_t client_put(struct client *client, const char *key, const uint8_t *value, size_t value_len)
{
    cJSON *request = cJSON_CreateObject();
    add_bytes(request, "key", key, strlen(key));
    add_bytes(request, "value", value, value_len);
    cJSON *answer = call(client, "/kv/put", request);
    uint64_t sum = (uint64_t)int64_of(cJSON_GetObjectItemCaseSensitive(answer, "header"), "revision");
    cJSON_Delete(answer);
    return sum;
}

uint64_t client_get(struct client *client, const char *key)
{
    cJSON *request = cJSON_CreateObject();
    add_bytes(request, "key", key, strlen(key));
    return sum_of_answer(call(client, "/kv/range", request));
}

uint64_t client_range(struct client *client, const char *prefix)
{
    cJSON *request = cJSON_CreateObject();
    add_prefix(request, prefix);
    return sum_of_answer(call(client, "/kv/range", request));
}

/* A watch's stream: what has arrived since the last newline, and where events go. */
struct stream {
    struct client *client;
    struct watch_log *log;
};

static void take_message(struct watch_log *log, const char *line, size_t len)
{
    cJSON *message = cJSON_ParseWithLength(line, len);
    if (message == NULL)
        die("a message is not JSON");
    const cJSON *result = cJSON_GetObjectItemCaseSensitive(message, "result"), *event;
    cJSON_ArrayForEach(event, cJSON_GetObjectItemCaseSensitive(result, "events")) {
        struct key_value kv = decode_kv(cJSON_GetObjectItemCaseSensitive(event, "kv"));
        int64_t version = kv.version;
        watch_log_event(log, sum_and_free(&kv), version);
    }
    cJSON_Delete(message);
}

static size_t take_stream(char *bytes, size_t size, size_t count, void *argument)
{
    struct stream *stream = argument;
    struct client *client = stream->client;
    size_t from = client->answer_len, start = 0;
    keep_answer(bytes, size, count, client);
    char *end;
    while ((end = memchr(client->answer + from, '\n', client->answer_len - from)) != NULL) {
        size_t line_end = (size_t)(end - client->answer);
        take_message(stream->log, client->answer + start, line_end - start);
        start = from = line_end + 1;
    }
    memmove(client->answer, client->answer + start, client->answer_len - start);
    client->answer_len -= start;
    /* Taking less than was given ends the transfer. */
    return stream->log->seen == stream->log->wanted ? 0 : size * count;
}

void client_watch(struct client *client, enum transport transport, const char *prefix, int64_t start_revision,
                  size_t messages, struct watch_log *log)
{
    (void)messages;
    if (transport != HTTP_STREAM)
        die("this client has HTTP streams only");
    char revision[32];
    snprintf(revision, sizeof revision, "%lld", (long long)start_revision);
    struct client *own = client_for_thread(client);
    struct stream stream = {own, log};
    curl_easy_setopt(own->easy, CURLOPT_WRITEFUNCTION, take_stream);
    curl_easy_setopt(own->easy, CURLOPT_WRITEDATA, &stream);
    cJSON *request = cJSON_CreateObject(), *create = cJSON_AddObjectToObject(request, "create_request");
    add_prefix(create, prefix);
    cJSON_AddStringToObject(create, "start_revision", revision);
    char *body = set_request(own, "/watch", request);
    CURLcode code = curl_easy_perform(own->easy);
    free(body);
    if (code != CURLE_WRITE_ERROR || log->seen < log->wanted)
        die("the watch ended: %s", curl_easy_strerror(code));
    client_close(own);
}
