// udp_relay LISTEN_PORT TARGET_PORT LOSS_PERCENT DELAY_MS [SEED [JITTER_MS]]
//
// Passes datagrams between callers on 127.0.0.1:LISTEN_PORT (0: any) and 127.0.0.1:TARGET_PORT,
// both ways, late by DELAY_MS and up to JITTER_MS more, and losing LOSS_PERCENT at random from a
// seed. Each caller gets a socket of its own towards the target. Prints "port N" when it is ready;
// ends when standard input ends.
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "tests/relay/line.h"

#define CALLERS_MAX  64
#define BUFFER_BYTES (8 << 20)

struct caller {
    struct sockaddr_in address;
    int socket; // connected to the target
};

struct relay {
    int listener;
    struct sockaddr_in target;
    struct line line;
    struct line_queue *queue; // packets go to caller N, or from it to the target: -1 - N
    struct caller callers[CALLERS_MAX];
    int caller_count;
};

static int udp_socket(void)
{
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bytes = BUFFER_BYTES;
    if (s < 0) {
        perror("socket");
        exit(EXIT_FAILURE);
    }
    // A smaller buffer than asked for only loses a little more.
    (void)setsockopt(s, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    (void)setsockopt(s, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return s;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

// -1 when there are too many.
static int caller_find(struct relay *r, const struct sockaddr_in *address)
{
    for (int i = 0; i < r->caller_count; i++)
        if (r->callers[i].address.sin_port == address->sin_port)
            return i;
    if (r->caller_count == CALLERS_MAX)
        return -1;
    struct caller *c = &r->callers[r->caller_count];
    *c = (struct caller){.address = *address, .socket = udp_socket()};
    if (connect(c->socket, (struct sockaddr *)&r->target, sizeof r->target)) {
        perror("connect");
        exit(EXIT_FAILURE);
    }
    return r->caller_count++;
}

// Takes in all that waits on a socket; `caller` -1: the listener.
static void take(struct relay *r, int socket, int caller)
{
    for (;;) {
        uint8_t bytes[LINE_PACKET_MAX];
        struct sockaddr_in from;
        socklen_t from_size = sizeof from;
        ssize_t size =
            recvfrom(socket, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &from_size);
        if (size < 0)
            return; // nothing more, or the target is not there
        int found = caller < 0 ? caller_find(r, &from) : caller;
        if (found >= 0)
            line_enter(r->queue, &r->line, caller < 0 ? -1 - found : found, bytes, (size_t)size,
                       clock_monotonic_ns());
    }
}

// What cannot be passed on is lost, as on any network.
static void pass_due(struct relay *r)
{
    const struct line_packet *p;
    while ((p = line_leave(r->queue, clock_monotonic_ns()))) {
        const struct caller *c = &r->callers[p->to < 0 ? -1 - p->to : p->to];
        if (p->to < 0)
            (void)!send(c->socket, p->bytes, p->size, 0);
        else
            (void)!sendto(r->listener, p->bytes, p->size, 0, (const struct sockaddr *)&c->address,
                          sizeof c->address);
    }
}

static void run(struct relay *r)
{
    for (;;) {
        struct pollfd fds[2 + CALLERS_MAX] = {
            {.fd = STDIN_FILENO, .events = POLLIN},
            {.fd = r->listener, .events = POLLIN},
        };
        for (int i = 0; i < r->caller_count; i++)
            fds[2 + i] = (struct pollfd){.fd = r->callers[i].socket, .events = POLLIN};
        int64_t left = 0;
        bool waits = line_wait_ns(r->queue, clock_monotonic_ns(), &left);
        struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        int callers = r->caller_count;
        if (ppoll(fds, (nfds_t)(2 + callers), waits ? &timeout : NULL, NULL) < 0 && errno != EINTR)
            return;
        char end[64];
        if (fds[0].revents && read(STDIN_FILENO, end, sizeof end) <= 0)
            return;
        if (fds[1].revents)
            take(r, r->listener, -1);
        for (int i = 0; i < callers; i++)
            if (fds[2 + i].revents)
                take(r, r->callers[i].socket, i);
        pass_due(r);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: udp_relay LISTEN_PORT TARGET_PORT LOSS_PERCENT DELAY_MS "
                        "[SEED [JITTER_MS]]\n");
        return EXIT_FAILURE;
    }
    struct relay r = {
        .listener = udp_socket(),
        .target = loopback(atoi(argv[2])),
        .line = {.loss = atof(argv[3]) / 100,
                 .delay_ns = (int64_t)(atof(argv[4]) * 1e6),
                 .jitter_ns = argc > 6 ? (int64_t)(atof(argv[6]) * 1e6) : 0},
        .queue = line_queue_create(argc > 5 ? strtoull(argv[5], NULL, 0) : 1),
    };
    struct sockaddr_in own = loopback(atoi(argv[1]));
    socklen_t size = sizeof own;
    if (!r.queue || bind(r.listener, (struct sockaddr *)&own, sizeof own) ||
        getsockname(r.listener, (struct sockaddr *)&own, &size)) {
        perror("udp_relay");
        return EXIT_FAILURE;
    }
    printf("port %d\n", ntohs(own.sin_port));
    fflush(stdout);
    run(&r);
    for (int i = 0; i < r.caller_count; i++)
        close(r.callers[i].socket);
    line_queue_destroy(&r.queue);
    return EXIT_SUCCESS;
}
