// What server and client share of libsrt: start-up, sockets with our options, addresses. Private to
// engine/link and the gateway (worker/gateway); only their files include srt.h.
#pragma once

#include <srt/srt.h>
#include <stdbool.h>

#include "engine/base/diagnostic.h"

// Starts libsrt for the process with the first reference and cleans it up with the last.
// Thread: any.
int srt_library_ref(struct diagnostic *reterr);
void srt_library_unref(void);

struct srt_address {
    struct sockaddr_storage storage;
    int size;
};
// "host:port", "[v6]:port"; `passive`: an empty host or "*" is any address. Looks names up, which
// may take seconds.
int srt_address_resolve(const char *text, bool passive, struct srt_address *ret,
                        struct diagnostic *reterr);

// A non-blocking socket for frames (live mode, payload 1456). `latency_ms` 0 leaves the latency to
// the other side. Returns SRT_INVALID_SOCK without memory.
SRTSOCKET srt_socket_create(int latency_ms);
