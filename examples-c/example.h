/* What the programs of this folder share, so that each shows only its subject. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <etcdgw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For "%.*s": keys and values are bytes with a length, without a NUL at their end. */
#define TEXT(bytes) (int)(bytes).len, (const char *)(bytes).data

/* Says what went wrong, if something did, and frees the error. It takes a pointer to the pointer because C may
 * evaluate `err` before the call in the middle has set it. */
static inline int failed(const char *doing, etcdgw_status status, etcdgw_error **err)
{
    if (status == ETCDGW_OK)
        return 0;
    fprintf(stderr, "%s failed: %s: %s\n", doing, etcdgw_status_name(status), etcdgw_error_message(*err));
    etcdgw_error_free(*err);
    *err = NULL;
    return 1;
}

/* Prints what is claimed; 1 where it isn't so. */
static inline int check(const char *claim, int holds)
{
    fprintf(holds ? stdout : stderr, "%s: %s\n", holds ? "yes" : "NO", claim);
    return !holds;
}

static inline int is_text(etcdgw_bytes bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

/* A client of these endpoints, else of $ETCDGW_ENDPOINTS, else of http://127.0.0.1:2379, with the certificates, the user
 * and the prefix of all keys that the environment names, if it does. It connects on first use. */
static inline etcdgw_client *connect_to(const char *endpoints)
{
    etcdgw_error *err = NULL;
    etcdgw_client *client = NULL;
    etcdgw_client_options options = ETCDGW_CLIENT_OPTIONS_INIT;

    options.endpoints = endpoints != NULL ? endpoints : getenv("ETCDGW_ENDPOINTS");
    options.ca_cert_file = getenv("ETCDGW_CA_CERT");
    options.cert_file = getenv("ETCDGW_CERT");
    options.key_file = getenv("ETCDGW_KEY");
    options.user = getenv("ETCDGW_USER");
    options.password = getenv("ETCDGW_PASSWORD");
    options.key_prefix = etcdgw_str(getenv("ETCDGW_KEY_PREFIX"));
    return failed("client", etcdgw_client_new(&options, &client, &err), &err) ? NULL : client;
}

#endif
