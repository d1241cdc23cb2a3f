#include "coordinator/api/connection.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LINGER_NS INT64_C(1000000000)
#define GUARD_NS  INT64_C(250000000)

// ---- Sockets ----------------------------------------------------------------------------------

// Calls `each` with every connected socket of this process that was accepted at `port`, until it
// returns true. civetweb has no list of them.
static void each_socket(int port,
                        bool (*each)(void *opaque, int fd, const struct sockaddr_in *peer),
                        void *opaque)
{
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *e; folder && (e = readdir(folder));) {
        struct sockaddr_in peer, own;
        socklen_t peer_size = sizeof peer, own_size = sizeof own;
        int fd = atoi(e->d_name);
        if (fd > 2 && !getpeername(fd, (struct sockaddr *)&peer, &peer_size) &&
            peer.sin_family == AF_INET && !getsockname(fd, (struct sockaddr *)&own, &own_size) &&
            ntohs(own.sin_port) == port && each(opaque, fd, &peer))
            break;
    }
    if (folder)
        closedir(folder);
}

struct search {
    const struct mg_request_info *info;
    int found;
};

static bool is_searched(void *opaque, int fd, const struct sockaddr_in *peer)
{
    struct search *search = opaque;
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &peer->sin_addr, address, sizeof address);
    if (ntohs(peer->sin_port) != search->info->remote_port ||
        strcmp(address, search->info->remote_addr))
        return false;
    search->found = fd;
    return true;
}

int connection_socket(const struct mg_connection *connection)
{
    struct search search = {mg_get_request_info(connection), -1};
    if (search.info)
        each_socket(search.info->server_port, is_searched, &search);
    return search.found;
}

int connection_read(struct mg_connection *connection, int socket, void *buffer, size_t size)
{
    // mg_read waits until it has all that it was asked for, as long as a byte comes now and then.
    int there = 0;
    if (socket >= 0)
        (void)ioctl(socket, FIONREAD, &there);
    size_t wanted = there > 0 ? (size_t)there : 1;
    return mg_read(connection, buffer, wanted < size ? wanted : size);
}

void connection_linger(int socket)
{
    if (socket < 0)
        return;
    shutdown(socket, SHUT_WR);
    int64_t until_ns = clock_monotonic_ns() + LINGER_NS;
    char nowhere[16384];
    for (int64_t left_ns; (left_ns = until_ns - clock_monotonic_ns()) > 0;) {
        struct pollfd p = {socket, POLLIN, 0};
        if (poll(&p, 1, (int)(left_ns / 1000000) + 1) <= 0 ||
            recv(socket, nowhere, sizeof nowhere, MSG_DONTWAIT) <= 0)
            return;
    }
}

// ---- The guard --------------------------------------------------------------------------------

struct connection_guard {
    struct queue *closing; // closed: the thread ends
    pthread_t thread;
    _Atomic int port; // 0: not yet known
    // -- owned by the thread
    struct peer {
        in_addr_t address;
        int count;
    } peers[2 * CONNECTIONS_MAX];
    int peer_count, cut;
};

// A socket that is cut here may be closed and its number used again between two calls: then a
// connection that is as new is cut, of which its client tries another.
static bool count_socket(void *opaque, int fd, const struct sockaddr_in *peer)
{
    struct connection_guard *g = opaque;
    in_addr_t address = peer->sin_addr.s_addr;
    bool loopback = ntohl(address) >> 24 == 127;
    int i = 0, max = loopback ? CONNECTIONS_LOOPBACK_MAX : CONNECTIONS_PER_ADDRESS_MAX;
    while (i < g->peer_count && g->peers[i].address != address)
        i++;
    if (i == 2 * CONNECTIONS_MAX)
        return true;
    if (i == g->peer_count)
        g->peers[g->peer_count++] = (struct peer){address, 0};
    if (++g->peers[i].count > max && !shutdown(fd, SHUT_RDWR))
        g->cut++;
    return false;
}

static void *guard_main(void *opaque)
{
    struct connection_guard *g = opaque;
    void *nothing;
    while (queue_pop(g->closing, &nothing, GUARD_NS) == -EAGAIN) {
        g->peer_count = g->cut = 0;
        each_socket(atomic_load(&g->port), count_socket, g);
        if (g->cut)
            log_warning("connections_cut", "count=%d reason=\"too many of one address\"", g->cut);
    }
    return NULL;
}

int connection_guard_create(struct connection_guard **ret)
{
    struct connection_guard *g = base_alloc(sizeof *g);
    g->closing = queue_create(1, NULL);
    int error = thread_start(&g->thread, "http-guard", guard_main, g);
    if (error) {
        queue_destroy(&g->closing);
        free(g);
        return error;
    }
    *ret = g;
    return 0;
}

void connection_guard_watch(struct connection_guard *g, int port)
{
    atomic_store(&g->port, port);
}

void connection_guard_destroy(struct connection_guard **guard)
{
    struct connection_guard *g = *guard;
    if (!g)
        return;
    *guard = NULL;
    queue_close(g->closing);
    thread_join(g->thread);
    queue_destroy(&g->closing);
    free(g);
}
