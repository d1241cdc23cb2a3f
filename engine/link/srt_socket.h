// What server and client share of libsrt: start-up, sockets with our options, waiting, addresses.
// Private to engine/link; only its files include srt.h.
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

// Waits for events of one SRT socket or for an eventfd. libsrt looks at the eventfd every 10 ms.
struct srt_waiter {
    int epoll, wake_fd;
    SRTSOCKET socket;
    int events;
};
int srt_waiter_init(struct srt_waiter *waiter);
void srt_waiter_finish(struct srt_waiter *waiter);
// Watches `socket` for `events` (SRT_EPOLL_IN, _OUT) and errors; SRT_INVALID_SOCK: none.
void srt_waiter_watch(struct srt_waiter *waiter, SRTSOCKET socket, int events);
void srt_waiter_wait(struct srt_waiter *waiter, int timeout_ms); // also clears the wake-up
void srt_waiter_wake(struct srt_waiter *waiter);                 // Thread: any
