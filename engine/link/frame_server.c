#include "engine/link/frame_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <srt/access_control.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/frame_peer.h"
#include "engine/link/link_socket.h"

#define BYTES_PER_SECOND INT64_C(75000000)
#define BACKLOG          16
// Peers, callers that have not proved themselves, and as many again that are being closed.
#define SLOTS (FRAME_PEERS_MAX + 2 * FRAME_UNPROVEN_MAX)

struct frame_server {
    // -- constant after create
    struct frame_server_config config;
    SRTSOCKET listener;
    int local; // listens for callers on this host; -1: none
    int port;
    bool wildcard;
    pthread_t thread;
    // -- atomic
    atomic_bool stop;
    atomic_int slot_count;
    _Atomic int64_t bytes_per_second;
    struct link_waiter waiter; // wake: any thread; the rest: own thread
    // -- guarded by lock; only the own thread adds and removes
    pthread_mutex_t lock;
    struct frame_peer *peers[SLOTS];
};

// Runs on the receiving thread of libsrt: answers from memory only.
static int on_caller(void *opaque, SRTSOCKET socket, int version, const struct sockaddr *address,
                     const char *stream_id)
{
    struct frame_server *s = opaque;
    (void)version;
    (void)address;
    struct link_name name;
    uint8_t key[LINK_KEY_BYTES];
    int reason = 0;
    if (atomic_load(&s->stop))
        reason = SRT_REJX_DOWN;
    else if (stream_id_parse(stream_id, &name))
        reason = SRT_REJX_BAD_REQUEST;
    else if (atomic_load(&s->slot_count) == SLOTS)
        reason = SRT_REJX_OVERLOAD;
    else if (!s->config.link_key(s->config.opaque, name.consumer, name.link_id, key))
        reason = SRT_REJX_FORBIDDEN;
    if (!reason)
        return 0;
    srt_setrejectreason(socket, reason);
    return -1;
}

// ---- Peers ------------------------------------------------------------------------------------

// A consumer that calls again has lost its older connection, whether we know it yet or not. An
// unproven caller of the same name may be the consumer on its way back, or a stranger: it stays.
static void on_proven(void *server, struct frame_peer *peer)
{
    struct frame_server *s = server;
    int proven = 0;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SLOTS; i++) {
        struct frame_peer *other = s->peers[i];
        if (!other || other == peer || !frame_peer_proven(other))
            continue;
        if (frame_peer_is(other, peer))
            frame_peer_close(other);
        else
            proven++;
    }
    if (proven >= FRAME_PEERS_MAX)
        frame_peer_close(peer);
    pthread_mutex_unlock(&s->lock);
}

static void on_end(void *server, struct frame_peer *peer)
{
    struct frame_server *s = server;
    (void)peer;
    link_waiter_wake(&s->waiter); // to have it joined
}

// Joins the peers that have ended, or all of them.
static void reap(struct frame_server *s, bool all)
{
    for (int i = 0; i < SLOTS; i++) {
        pthread_mutex_lock(&s->lock);
        struct frame_peer *peer = s->peers[i];
        bool now = peer && (all || frame_peer_ended(peer));
        if (now)
            s->peers[i] = NULL;
        pthread_mutex_unlock(&s->lock);
        if (!now)
            continue;
        frame_peer_close(peer);
        frame_peer_join(&peer);
        atomic_fetch_sub(&s->slot_count, 1);
    }
}

// Makes room for one more caller that has proved nothing yet. Called with the lock held.
static void limit_unproven(struct frame_server *s)
{
    struct frame_peer *oldest = NULL;
    int count = 0;
    for (int i = 0; i < SLOTS; i++) {
        struct frame_peer *p = s->peers[i];
        if (!p || frame_peer_proven(p) || frame_peer_ended(p))
            continue;
        count++;
        if (!oldest || frame_peer_created_ns(p) < frame_peer_created_ns(oldest))
            oldest = p;
    }
    if (count >= FRAME_UNPROVEN_MAX)
        frame_peer_close(oldest);
}

static void add_peer(struct frame_server *s, struct link_socket socket, const char *stream_id)
{
    struct frame_peer_config config = {
        .socket = socket,
        .bytes_per_second = atomic_load(&s->bytes_per_second),
        .on_want = s->config.on_want,
        .on_gone = s->config.on_gone,
        .on_log_want = s->config.on_log_want,
        .opaque = s->config.opaque,
        .on_proven = on_proven,
        .on_end = on_end,
        .server = s,
    };
    // The plan may have changed since the handshake, so the key is asked for again.
    if (stream_id_parse(stream_id, &config.name) ||
        !s->config.link_key(s->config.opaque, config.name.consumer, config.name.link_id,
                            config.key) ||
        (socket.local >= 0 && local_confirm(socket.local))) {
        link_close(&socket);
        return;
    }
    int slot = 0;
    pthread_mutex_lock(&s->lock);
    limit_unproven(s);
    while (slot < SLOTS && s->peers[slot])
        slot++;
    int error = slot == SLOTS ? -EBUSY : 0;
    if (error)
        link_close(&socket);
    else
        error = frame_peer_create(&config, &s->peers[slot]);
    if (!error)
        atomic_fetch_add(&s->slot_count, 1);
    pthread_mutex_unlock(&s->lock);
    log_debug("frame_peer", "consumer=%s link=%s error=%d", config.name.consumer,
              config.name.link_id, error);
}

// Takes one caller, if there is one.
static bool accept_one(struct frame_server *s)
{
    char stream_id[513] = "";
    int size = sizeof stream_id - 1;
    struct link_socket socket = LINK_SOCKET_NONE;
    if ((socket.srt = srt_accept(s->listener, NULL, NULL)) != SRT_INVALID_SOCK) {
        (void)srt_getsockflag(socket.srt, SRTO_STREAMID, stream_id, &size);
        add_peer(s, socket, stream_id);
        return true;
    }
    int error =
        s->local < 0 ? -EAGAIN : local_accept(s->local, &socket.local, stream_id, sizeof stream_id);
    if (!error)
        add_peer(s, socket, stream_id);
    return error != -EAGAIN;
}

static void *server_run(void *arg)
{
    struct frame_server *s = arg;
    link_waiter_watch(&s->waiter, (struct link_socket){s->listener, -1}, SRT_EPOLL_IN);
    if (s->local >= 0)
        link_waiter_add(&s->waiter, s->local);
    while (!atomic_load(&s->stop)) {
        reap(s, false);
        if (!accept_one(s))
            link_waiter_wait(&s->waiter, 1000);
    }
    link_waiter_watch(&s->waiter, LINK_SOCKET_NONE, 0);
    srt_close(s->listener);
    if (s->local >= 0)
        close(s->local);
    // All are told before any is waited for.
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < SLOTS; i++)
        if (s->peers[i])
            frame_peer_close(s->peers[i]);
    pthread_mutex_unlock(&s->lock);
    reap(s, true);
    return NULL;
}

// ---- Life -------------------------------------------------------------------------------------

static int listen_on(struct frame_server *s, struct diagnostic *reterr)
{
    struct srt_address address;
    int error = srt_address_resolve(s->config.listen, true, &address, reterr);
    if (error)
        return error;
    s->listener = srt_socket_create(0);
    if (s->listener == SRT_INVALID_SOCK)
        return diagnostic_set(reterr, -ENOMEM, "frame_listen", "", "no SRT socket: %s",
                              srt_getlasterror_str());
    int only = 1;
    srt_setsockflag(s->listener, SRTO_IPV6ONLY, &only, sizeof only);
    if (srt_bind(s->listener, (struct sockaddr *)&address.storage, address.size) ||
        srt_listen_callback(s->listener, on_caller, s) || srt_listen(s->listener, BACKLOG))
        return diagnostic_set(reterr, -EADDRINUSE, "frame_listen", "",
                              "cannot listen for frame links on %s: %s; is the port in use?",
                              s->config.listen, srt_getlasterror_str());
    int size = sizeof address.storage;
    if (srt_getsockname(s->listener, (struct sockaddr *)&address.storage, &size))
        return diagnostic_set(reterr, -EIO, "frame_listen", "", "no address: %s",
                              srt_getlasterror_str());
    const struct sockaddr_in *v4 = (struct sockaddr_in *)&address.storage;
    const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address.storage;
    s->port = srt_address_port(&address);
    if (!s->config.srt_only)
        s->local = local_listen(s->port); // taken by another's port at another address: SRT will do
    s->wildcard = v4->sin_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)
                                             : v4->sin_addr.s_addr == htonl(INADDR_ANY);
    return 0;
}

static void server_free(struct frame_server *s)
{
    link_waiter_finish(&s->waiter);
    pthread_mutex_destroy(&s->lock);
    free((char *)s->config.listen);
    free(s);
    srt_library_unref();
}

int frame_server_create(const struct frame_server_config *config, struct frame_server **ret,
                        struct diagnostic *reterr)
{
    int error = srt_library_ref(reterr);
    if (error)
        return error;
    struct frame_server *s = base_alloc(sizeof *s);
    s->config = *config;
    s->config.listen = base_strdup(config->listen);
    s->listener = SRT_INVALID_SOCK;
    s->local = -1;
    atomic_init(&s->bytes_per_second, BYTES_PER_SECOND);
    pthread_mutex_init(&s->lock, NULL);
    error = link_waiter_init(&s->waiter);
    if (error)
        diagnostic_set(reterr, error, "frame_listen", "", "no event file: %s", strerror(-error));
    if (!error)
        error = listen_on(s, reterr);
    if (!error) {
        error = thread_start(&s->thread, "frame-server", server_run, s);
        if (error)
            diagnostic_set(reterr, error, "frame_listen", "", "no thread: %s", strerror(-error));
    }
    if (error) {
        if (s->listener != SRT_INVALID_SOCK)
            srt_close(s->listener);
        if (s->local >= 0)
            close(s->local);
        server_free(s);
        return error;
    }
    *ret = s;
    return 0;
}

int frame_server_port(const struct frame_server *server)
{
    return server->port;
}

int frame_server_address(const struct frame_server *server, const char *told, char *ret,
                         size_t size, struct diagnostic *reterr)
{
    const char *listen = server->config.listen, *colon = strrchr(listen, ':');
    if (told && *told) {
        snprintf(ret, size, "%s", told);
        return 0;
    }
    if (server->wildcard)
        return diagnostic_set(reterr, -EINVAL, "frame_address", "frame-address",
                              "nobody can call \"%s\"; listen on one address, or say with "
                              "frame-address how others reach this node",
                              listen);
    snprintf(ret, size, "%.*s:%d", colon ? (int)(colon - listen) : (int)strlen(listen), listen,
             server->port);
    return 0;
}

int frame_server_stats(struct frame_server *server, struct frame_peer_stats ret[FRAME_PEERS_MAX])
{
    int count = 0;
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < SLOTS && count < FRAME_PEERS_MAX; i++)
        if (server->peers[i] && frame_peer_proven(server->peers[i]))
            frame_peer_stats(server->peers[i], &ret[count++]);
    pthread_mutex_unlock(&server->lock);
    return count;
}

void frame_server_set_rate(struct frame_server *server, int64_t bytes_per_second)
{
    atomic_store(&server->bytes_per_second, bytes_per_second);
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < SLOTS; i++)
        if (server->peers[i])
            frame_peer_set_rate(server->peers[i], bytes_per_second);
    pthread_mutex_unlock(&server->lock);
}

void frame_server_destroy(struct frame_server **server)
{
    struct frame_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    atomic_store(&s->stop, true);
    link_waiter_wake(&s->waiter);
    thread_join(s->thread);
    server_free(s);
}
