#include "worker/gateway/srt_input.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/srt_socket.h"
#include "worker/gateway/access.h"

#include <errno.h>
#include <srt/access_control.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS      INT64_C(1000000000)
#define PEER_IDLE_MS   2000
#define CONNECT_MS     3000
#define RETRY_NS       (SECOND_NS / 2) // doubled with each failure
#define RETRY_NS_MAX   (8 * SECOND_NS)
#define SILENCE_NS     (2 * PEER_IDLE_MS * INT64_C(1000000)) // libsrt 1.5.1 may keep dead connections
#define BUFFER_BYTES   (16 << 20)
#define UDP_BYTES      (4 << 20)
#define FLIGHT_PACKETS 16384
#define WAIT_MS        100
#define STATS_NS       (SECOND_NS / 2)
// How long a caller may take between our callback and a whole handshake. One who does not come has
// the wrong passphrase: libsrt tells that to him and not to us.
#define HANDSHAKE_NS SECOND_NS // a few round trips

struct srt_input {
    // -- constant after open
    struct live_input settings;
    int epoll;
    // -- the source's thread
    struct srt_address listen, address;
    SRTSOCKET listener;         // SRT_INVALID_SOCK: we call, or cannot listen yet
    SRTSOCKET connection, next; // next: took the place of `connection`
    bool connecting;
    int64_t retry_at_ns, retry_ns, heard_ns, stats_at_ns;
    // -- any thread
    atomic_bool occupied;
    pthread_mutex_t lock; // leaf; of what follows
    struct srt_input_stats stats;
    int pending;        // callers that passed the callback and have not come yet
    int64_t pending_ns; // when the newest of them did
};

// ---- Options ---------------------------------------------------------------------------------

static int set(SRTSOCKET s, SRT_SOCKOPT option, int value)
{
    return srt_setsockflag(s, option, &value, sizeof value);
}

static int set_text(SRTSOCKET s, SRT_SOCKOPT option, const char *text)
{
    return *text ? srt_setsockflag(s, option, text, (int)strlen(text)) : 0;
}

static SRTSOCKET create_socket(const struct live_input *settings)
{
    SRTSOCKET s = srt_create_socket();
    if (s == SRT_INVALID_SOCK)
        return s;
    bool no = false, yes = true;
    if (set(s, SRTO_TRANSTYPE, SRTT_LIVE) || set(s, SRTO_FC, FLIGHT_PACKETS) ||
        set(s, SRTO_RCVBUF, BUFFER_BYTES) || set(s, SRTO_UDP_RCVBUF, UDP_BYTES) ||
        set(s, SRTO_LATENCY, settings->latency_ms) || set(s, SRTO_PEERIDLETIMEO, PEER_IDLE_MS) ||
        set(s, SRTO_CONNTIMEO, CONNECT_MS) ||
        srt_setsockflag(s, SRTO_TLPKTDROP, &yes, sizeof yes) ||
        srt_setsockflag(s, SRTO_RCVSYN, &no, sizeof no) ||
        srt_setsockflag(s, SRTO_SNDSYN, &no, sizeof no) ||
        (settings->key_bytes && set(s, SRTO_PBKEYLEN, settings->key_bytes))) {
        srt_close(s);
        return SRT_INVALID_SOCK;
    }
    return s;
}

// ---- Who may call ----------------------------------------------------------------------------

static void refused(struct srt_input *in, const char *why)
{
    pthread_mutex_lock(&in->lock);
    in->stats.refused++;
    snprintf(in->stats.refusal, sizeof in->stats.refusal, "%s", why);
    pthread_mutex_unlock(&in->lock);
}

// On a thread of libsrt's.
static int on_caller(void *opaque, SRTSOCKET s, int version, const struct sockaddr *peer,
                     const char *stream_id)
{
    struct srt_input *in = opaque;
    bool secret = *in->settings.passphrase;
    struct access_rule rule = {in->settings.resource, *in->settings.user ? in->settings.user : NULL,
                               !secret && atomic_load(&in->occupied)};
    (void)version; // 5 without a stream id is refused below like an empty one
    (void)peer;
    int reason = access_check(&rule, stream_id ? stream_id : "");
    if (!reason && set_text(s, SRTO_PASSPHRASE, in->settings.passphrase))
        reason = SRT_REJX_ISE;
    if (reason) {
        srt_setrejectreason(s, reason);
        refused(in, access_reason(reason));
        return -1;
    }
    pthread_mutex_lock(&in->lock);
    if (!in->pending++) // the first: one that calls again and again is told of too
        in->pending_ns = clock_monotonic_ns();
    pthread_mutex_unlock(&in->lock);
    return 0;
}

static void judge_pending(struct srt_input *in, bool came)
{
    const char *why =
        access_reason(*in->settings.passphrase ? SRT_REJ_BADSECRET : SRT_REJ_UNSECURE);
    pthread_mutex_lock(&in->lock);
    in->pending -= came && in->pending;
    bool late = in->pending && clock_monotonic_ns() - in->pending_ns > HANDSHAKE_NS;
    if (late) {
        in->stats.refused += in->pending;
        in->pending = 0;
        snprintf(in->stats.refusal, sizeof in->stats.refusal, "%s", why);
    }
    pthread_mutex_unlock(&in->lock);
}

// ---- Opening ---------------------------------------------------------------------------------

int srt_input_open(const struct live_input *settings, struct srt_input **ret,
                   struct diagnostic *reterr)
{
    int error = srt_library_ref(reterr);
    if (error < 0)
        return error;
    struct srt_input *in = base_alloc(sizeof *in);
    in->settings = *settings;
    in->listener = in->connection = in->next = SRT_INVALID_SOCK;
    in->retry_ns = RETRY_NS;
    pthread_mutex_init(&in->lock, NULL);
    in->epoll = srt_epoll_create();
    (void)srt_epoll_set(in->epoll, SRT_EPOLL_ENABLE_EMPTY);
    *ret = in;
    return 0;
}

static void close_socket(SRTSOCKET *s)
{
    if (*s != SRT_INVALID_SOCK)
        srt_close(*s);
    *s = SRT_INVALID_SOCK;
}

void srt_input_close(struct srt_input **input)
{
    struct srt_input *in = *input;
    if (!in)
        return;
    *input = NULL;
    close_socket(&in->listener); // no callback runs any more
    close_socket(&in->connection);
    close_socket(&in->next);
    srt_epoll_release(in->epoll);
    pthread_mutex_destroy(&in->lock);
    explicit_bzero(&in->settings, sizeof in->settings);
    free(in);
    srt_library_unref();
}

// ---- Connections -----------------------------------------------------------------------------

static void connected(struct srt_input *in, SRTSOCKET s)
{
    in->connection = s;
    in->connecting = false;
    in->heard_ns = clock_monotonic_ns();
    in->retry_ns = RETRY_NS;
    atomic_store(&in->occupied, true);
    int events = SRT_EPOLL_IN | SRT_EPOLL_ERR;
    if (srt_epoll_add_usock(in->epoll, s, &events))
        srt_epoll_update_usock(in->epoll, s, &events);
    pthread_mutex_lock(&in->lock);
    in->stats.connections++;
    in->stats.connected = true;
    in->stats.refusal[0] = 0;
    pthread_mutex_unlock(&in->lock);
}

static void wait_for_events(struct srt_input *in)
{
    SRT_EPOLL_EVENT events[4];
    (void)srt_epoll_uwait(in->epoll, events, 4, WAIT_MS); // states are looked at, whatever woke us
}

// Whoever was home before may have the port for a moment, and an address may be of another host.
static int begin_listening(struct srt_input *in)
{
    if (in->listener != SRT_INVALID_SOCK)
        return 0;
    if (clock_monotonic_ns() < in->retry_at_ns) {
        wait_for_events(in);
        return -EADDRNOTAVAIL;
    }
    int events = SRT_EPOLL_IN | SRT_EPOLL_ERR;
    in->listener = create_socket(&in->settings);
    if (in->listener == SRT_INVALID_SOCK ||
        srt_address_resolve(in->settings.listen, true, &in->listen, NULL) < 0 ||
        srt_listen_callback(in->listener, on_caller, in) ||
        srt_bind(in->listener, (struct sockaddr *)&in->listen.storage, in->listen.size) ||
        srt_listen(in->listener, 8) || srt_epoll_add_usock(in->epoll, in->listener, &events)) {
        close_socket(&in->listener);
        in->retry_at_ns = clock_monotonic_ns() + RETRY_NS;
        return -EADDRNOTAVAIL;
    }
    return 0;
}

// A caller who has come through the handshake.
static SRTSOCKET accept_caller(struct srt_input *in)
{
    SRTSOCKET s =
        in->listener == SRT_INVALID_SOCK ? SRT_INVALID_SOCK : srt_accept(in->listener, NULL, NULL);
    judge_pending(in, s != SRT_INVALID_SOCK);
    return s;
}

static int begin_call(struct srt_input *in)
{
    bool rendezvous = in->settings.kind == LIVE_INPUT_SRT_RENDEZVOUS;
    // Looked up anew each time: names of cameras move.
    if (srt_address_resolve(in->settings.address, false, &in->address, NULL) < 0 ||
        (rendezvous && srt_address_resolve(in->settings.listen, true, &in->listen, NULL) < 0)) {
        refused(in, "the address cannot be resolved");
        return -ENOENT;
    }
    SRTSOCKET s = create_socket(&in->settings);
    int events = SRT_EPOLL_OUT | SRT_EPOLL_ERR;
    if (s == SRT_INVALID_SOCK || set_text(s, SRTO_STREAMID, in->settings.stream_id) ||
        set_text(s, SRTO_PASSPHRASE, in->settings.passphrase) ||
        srt_setsockflag(s, SRTO_RENDEZVOUS, &rendezvous, sizeof rendezvous) ||
        (rendezvous && srt_bind(s, (struct sockaddr *)&in->listen.storage, in->listen.size)) ||
        srt_epoll_add_usock(in->epoll, s, &events) ||
        srt_connect(s, (struct sockaddr *)&in->address.storage, in->address.size)) {
        refused(in, srt_getlasterror_str());
        close_socket(&s);
        return -EIO;
    }
    in->connection = s;
    in->connecting = true;
    return 0;
}

static void call_failed(struct srt_input *in)
{
    if (in->connection != SRT_INVALID_SOCK)
        refused(in, access_reason(srt_getrejectreason(in->connection)));
    close_socket(&in->connection);
    in->connecting = false;
    in->retry_at_ns = clock_monotonic_ns() + in->retry_ns;
    in->retry_ns = 2 * in->retry_ns < RETRY_NS_MAX ? 2 * in->retry_ns : RETRY_NS_MAX;
}

int srt_input_connect(struct srt_input *in)
{
    if (in->next != SRT_INVALID_SOCK) {
        connected(in, in->next);
        in->next = SRT_INVALID_SOCK;
        return 1;
    }
    if (in->settings.kind == LIVE_INPUT_SRT_LISTEN) {
        int error = begin_listening(in);
        if (error)
            return error;
        SRTSOCKET s = accept_caller(in);
        if (s == SRT_INVALID_SOCK) {
            wait_for_events(in);
            return 0;
        }
        connected(in, s);
        return 1;
    }
    if (!in->connecting) {
        if (clock_monotonic_ns() >= in->retry_at_ns && begin_call(in) < 0)
            call_failed(in);
        wait_for_events(in);
        return 0;
    }
    SRT_SOCKSTATUS state = srt_getsockstate(in->connection);
    if (state == SRTS_CONNECTED) {
        connected(in, in->connection);
        return 1;
    }
    if (state != SRTS_CONNECTING && state != SRTS_OPENED && state != SRTS_INIT)
        call_failed(in);
    else
        wait_for_events(in);
    return 0;
}

void srt_input_disconnect(struct srt_input *in)
{
    close_socket(&in->connection);
    in->connecting = false;
    in->retry_at_ns = clock_monotonic_ns() + in->retry_ns;
    atomic_store(&in->occupied, in->next != SRT_INVALID_SOCK);
    pthread_mutex_lock(&in->lock);
    in->stats.connected = false;
    pthread_mutex_unlock(&in->lock);
}

static void read_stats(struct srt_input *in)
{
    SRT_TRACEBSTATS now;
    int latency = 0, size = sizeof latency;
    if (srt_bistats(in->connection, &now, 0, 1))
        return;
    (void)srt_getsockflag(in->connection, SRTO_RCVLATENCY, &latency, &size);
    pthread_mutex_lock(&in->lock);
    in->stats.rtt_ms = now.msRTT;
    in->stats.buffer_ms = now.msRcvBuf;
    in->stats.latency_ms = latency;
    in->stats.received = now.pktRecvTotal;
    in->stats.lost = now.pktRcvLossTotal;
    in->stats.retransmitted = now.pktRcvRetrans; // since it is not cleared: of the connection
    in->stats.dropped = now.pktRcvDropTotal;
    in->stats.undecrypted = now.pktRcvUndecryptTotal;
    pthread_mutex_unlock(&in->lock);
}

int srt_input_read(struct srt_input *in, uint8_t *bytes, int size)
{
    int n = srt_recvmsg(in->connection, (char *)bytes, size), error = srt_getlasterror(NULL);
    int64_t now = clock_monotonic_ns();
    if (now >= in->stats_at_ns) {
        read_stats(in);
        in->stats_at_ns = now + STATS_NS;
    }
    if (n > 0) {
        in->heard_ns = now;
        return n;
    }
    if (n == 0 || error != SRT_EASYNCRCV || now - in->heard_ns > SILENCE_NS)
        return -EPIPE;
    SRTSOCKET s = accept_caller(in);
    if (s != SRT_INVALID_SOCK && *in->settings.passphrase) {
        in->next = s;
        return -EPIPE;
    }
    close_socket(&s); // came through before it was known that somebody sends
    wait_for_events(in);
    return 0;
}

void srt_input_stats(struct srt_input *in, struct srt_input_stats *ret)
{
    pthread_mutex_lock(&in->lock);
    *ret = in->stats;
    pthread_mutex_unlock(&in->lock);
}
