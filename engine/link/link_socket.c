#include "engine/link/link_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16
#define NAME_MS 200
#define UNIX_BUF_BYTES                                                                             \
    (4 << 20) // a few large messages, so that a busy consumer does not hold the provider up

int link_send(const struct link_socket *s, const void *bytes, size_t size)
{
    if (s->local < 0)
        return srt_sendmsg2(s->srt, bytes, (int)size, NULL) >= 0 ? 0
               : srt_getlasterror(NULL) == SRT_EASYNCSND         ? -EAGAIN
                                                                 : -EPIPE;
    if (send(s->local, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 0;
    return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? -EAGAIN : -EPIPE;
}

int link_receive(const struct link_socket *s, void *bytes, size_t size)
{
    if (s->local < 0) {
        int got = srt_recvmsg2(s->srt, bytes, (int)size, NULL);
        return got > 0                                              ? got
               : got < 0 && srt_getlasterror(NULL) == SRT_EASYNCRCV ? -EAGAIN
                                                                    : -EPIPE;
    }
    ssize_t got = recv(s->local, bytes, size, MSG_DONTWAIT);
    return got > 0 ? (int)got : got < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -EPIPE;
}

void link_close(struct link_socket *s)
{
    if (s->local >= 0)
        close(s->local);
    else if (s->srt != SRT_INVALID_SOCK)
        srt_close(s->srt);
    *s = LINK_SOCKET_NONE;
}

// ---- Within a host ----------------------------------------------------------------------------

static socklen_t local_name(int port, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret->sun_path + 1, sizeof ret->sun_path - 1, "vistter-frames/%d", port);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static int local_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

int local_listen(int port)
{
    struct sockaddr_un name;
    socklen_t size = local_name(port, &name);
    int fd = local_socket();
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&name, size) || listen(fd, BACKLOG))) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

static bool same_user(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) && who.uid == geteuid();
}

static void make_room(int fd)
{
    int bytes = UNIX_BUF_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes))
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int local_accept(int listener, int *ret, char *stream_id, size_t size)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -EAGAIN;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t got =
        same_user(fd) && poll(&ready, 1, NAME_MS) > 0 ? recv(fd, stream_id, size - 1, 0) : -1;
    if (got <= 0) {
        close(fd);
        return -EPROTO;
    }
    stream_id[got] = 0;
    make_room(fd);
    *ret = fd;
    return 0;
}

int local_confirm(int fd)
{
    return send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
}

bool local_address(const struct srt_address *address)
{
    struct sockaddr_storage any_port = address->storage;
    if (any_port.ss_family == AF_INET)
        ((struct sockaddr_in *)&any_port)->sin_port = 0;
    else
        ((struct sockaddr_in6 *)&any_port)->sin6_port = 0;
    int fd = socket(any_port.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool local = fd >= 0 && !bind(fd, (struct sockaddr *)&any_port, (socklen_t)address->size);
    if (fd >= 0)
        close(fd);
    return local;
}

int srt_address_port(const struct srt_address *address)
{
    // The port stands at the same place in both families.
    return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
}

int local_connect(int port, const char *stream_id, int *ret)
{
    struct sockaddr_un name;
    socklen_t size = local_name(port, &name);
    int fd = local_socket();
    if (fd < 0)
        return fd;
    int error = connect(fd, (struct sockaddr *)&name, size) ? -errno : same_user(fd) ? 0 : -EPERM;
    if (!error && send(fd, stream_id, strlen(stream_id), MSG_NOSIGNAL) < 0)
        error = -errno;
    if (error) {
        close(fd);
        return error;
    }
    make_room(fd);
    *ret = fd;
    return 0;
}

// ---- Waiting ----------------------------------------------------------------------------------

int link_waiter_init(struct link_waiter *waiter)
{
    *waiter = (struct link_waiter){.epoll = -1, .socket = LINK_SOCKET_NONE};
    waiter->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (waiter->wake_fd < 0)
        return -errno;
    waiter->epoll = srt_epoll_create();
    int events = SRT_EPOLL_IN;
    if (waiter->epoll < 0 || srt_epoll_add_ssock(waiter->epoll, waiter->wake_fd, &events) < 0) {
        link_waiter_finish(waiter);
        return -ENOMEM;
    }
    return 0;
}

void link_waiter_finish(struct link_waiter *waiter)
{
    if (waiter->epoll >= 0)
        srt_epoll_release(waiter->epoll);
    if (waiter->wake_fd >= 0)
        close(waiter->wake_fd);
    waiter->epoll = waiter->wake_fd = -1;
}

static void watch_srt(struct link_waiter *waiter, SRTSOCKET socket, int events)
{
    SRTSOCKET before = waiter->socket.srt;
    events |= SRT_EPOLL_ERR;
    if (before == socket && socket != SRT_INVALID_SOCK && events != waiter->events) {
        srt_epoll_update_usock(waiter->epoll, socket, &events);
    } else if (before != socket) {
        if (before != SRT_INVALID_SOCK)
            srt_epoll_remove_usock(waiter->epoll, before);
        if (socket != SRT_INVALID_SOCK)
            srt_epoll_add_usock(waiter->epoll, socket, &events);
    }
    waiter->events = events;
}

void link_waiter_watch(struct link_waiter *waiter, struct link_socket socket, int events)
{
    watch_srt(waiter, socket.srt, events);
    waiter->socket = socket;
}

void link_waiter_add(struct link_waiter *waiter, int fd)
{
    int events = SRT_EPOLL_IN;
    srt_epoll_add_ssock(waiter->epoll, fd, &events);
}

void link_waiter_wait(struct link_waiter *waiter, int timeout_ms)
{
    if (waiter->socket.srt == SRT_INVALID_SOCK) {
        short out = waiter->events & SRT_EPOLL_OUT ? POLLOUT : 0;
        struct pollfd fds[2] = {{.fd = waiter->wake_fd, .events = POLLIN},
                                {.fd = waiter->socket.local, .events = (short)(POLLIN | out)}};
        (void)poll(fds, 2, timeout_ms); // an interruption only comes back early
    } else {
        SRTSOCKET in[1], out[1];
        SYSSOCKET wake[2];
        int in_count = 1, out_count = 1, wake_count = 2;
        // What happened is found out by trying, so neither result nor sets are looked at.
        (void)srt_epoll_wait(waiter->epoll, in, &in_count, out, &out_count, timeout_ms, wake,
                             &wake_count, NULL, NULL);
    }
    uint64_t value;
    (void)!read(waiter->wake_fd, &value, sizeof value);
}

void link_waiter_wake(struct link_waiter *waiter)
{
    uint64_t one = 1;
    (void)!write(waiter->wake_fd, &one, sizeof one); // full means that it is awake
}
