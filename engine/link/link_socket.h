// Sockets of frame links: SRT between hosts, a Unix socket within one. Both carry parts
// (srt_parts.h); nothing blocks but local_accept. Private to engine/link.
//
// A provider listens for callers on its host under a name in the abstract namespace, made of its
// SRT port; that namespace belongs to the network's, so the name is seen exactly where the port is.
// A caller writes its stream id as the first packet; one empty part's worth of answer says that the
// link is known, else the socket is closed. Only the provider's own user is answered.
#pragma once

#include "engine/link/srt_socket.h"

#include <stddef.h>

struct link_socket {
    SRTSOCKET srt;
    int local; // >= 0: this one, not SRT
};
#define LINK_SOCKET_NONE ((struct link_socket){SRT_INVALID_SOCK, -1})
static inline bool link_is_open(const struct link_socket *s)
{
    return s->local >= 0 || s->srt != SRT_INVALID_SOCK;
}
int link_send(const struct link_socket *s, const void *bytes, size_t size); // 0, -EAGAIN, -EPIPE
// Size of what was received, -EAGAIN, -EPIPE.
int link_receive(const struct link_socket *s, void *bytes, size_t size);
void link_close(struct link_socket *s); // accepts LINK_SOCKET_NONE, which it becomes

// ---- Within a host ----------------------------------------------------------------------------

int local_listen(int port); // a listening socket, or -errno
// Takes a caller and reads what it calls itself; waits for that a short time. 0, -EAGAIN (nobody),
// -EPROTO.
int local_accept(int listener, int *ret, char *stream_id, size_t size);
int local_confirm(int fd); // the link is known. 0, -EPIPE
// Whether the address belongs to this host.
bool local_address(const struct srt_address *address);
// Calls the provider that has this port. Its answer is then waited for with link_receive.
// -ECONNREFUSED: there is none, or it serves over SRT only.
int local_connect(int port, const char *stream_id, int *ret);
int srt_address_port(const struct srt_address *address);

// ---- Waiting ----------------------------------------------------------------------------------

// Waits for events of one socket or for an eventfd, which libsrt looks at every 10 ms.
struct link_waiter {
    int epoll, wake_fd; // epoll: libsrt's
    struct link_socket socket;
    int events;
};
int link_waiter_init(struct link_waiter *waiter);
void link_waiter_finish(struct link_waiter *waiter);
// Watches `socket` for `events` (SRT_EPOLL_IN, _OUT) and errors; LINK_SOCKET_NONE: none.
void link_waiter_watch(struct link_waiter *waiter, struct link_socket socket, int events);
void link_waiter_add(struct link_waiter *waiter,
                     int fd); // a descriptor besides, for reading; with SRT only
void link_waiter_wait(struct link_waiter *waiter, int timeout_ms); // also clears the wake-up
void link_waiter_wake(struct link_waiter *waiter);                 // Thread: any
