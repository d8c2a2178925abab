/* SHA-1, which the WebSocket handshake wants. For inputs of at most 119 bytes. */
#ifndef BENCH_SHA1_H
#define BENCH_SHA1_H

#include <stddef.h>
#include <stdint.h>

void sha1(const uint8_t *in, size_t len, uint8_t digest[20]);

#endif
