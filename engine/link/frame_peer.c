#include "engine/link/frame_peer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/srt_parts.h"

#define NS_PER_MS          INT64_C(1000000)
#define SILENCE_NS         (5000 * NS_PER_MS)
#define UNPROVEN_NS        (2000 * NS_PER_MS)
#define SIGN_OF_LIFE_NS    (FRAME_LIFE_MS * NS_PER_MS)
#define GREETING_NS        (250 * NS_PER_MS) // until the consumer has answered
#define STATS_NS           (1000 * NS_PER_MS)
#define QUEUE_MESSAGES_MAX 4096
// Wants are short; whoever sends more does not speak our language.
#define WANT_MESSAGE_MAX (FRAME_MESSAGE_HEADER_BYTES + WANT_BYTES_MAX + FRAME_MESSAGE_TAG_BYTES)
// What may be handed to libsrt ahead of the rate. Packets that wait inside libsrt are already late
// by its clock when they leave, and a late packet that is lost is dropped, not repaired.
#define BURST_NS (20 * NS_PER_MS)

struct outgoing {
    struct outgoing *next;
    uint8_t *bytes;
    size_t size;
};

struct frame_peer {
    // -- constant after create
    struct frame_peer_config config;
    uint8_t session[FRAME_SESSION_BYTES]; // what wants must repeat
    int64_t created_ns;
    pthread_t thread;
    // -- atomic
    atomic_int references;
    atomic_bool stop, ended, proven;
    _Atomic int64_t bytes_per_second;
    struct link_waiter waiter; // wake: any thread; the rest: own thread
    // -- guarded by lock
    pthread_mutex_t lock;
    bool gone;
    struct frame_sealer *sealer;
    struct outgoing *first, **last;
    size_t queued_bytes;
    int queued;
    struct frame_link_stats stats;
    // -- own thread
    struct frame_opener *opener;
    struct part_joiner *joiner;
    struct outgoing *current; // being cut into parts
    int current_part;
    uint32_t number;
    int64_t tokens_at_ns, tokens, heard_at_ns, rate_set, greet_at_ns, stats_at_ns;
    bool wanted;
    struct log_limit bad_limit;
};

struct frame_peer *frame_peer_ref(struct frame_peer *peer)
{
    atomic_fetch_add_explicit(&peer->references, 1, memory_order_relaxed);
    return peer;
}

static void outgoing_free(struct outgoing **outgoing)
{
    if (*outgoing) {
        free((*outgoing)->bytes);
        free(*outgoing);
        *outgoing = NULL;
    }
}

void frame_peer_unref(struct frame_peer **peer)
{
    struct frame_peer *p = *peer;
    if (!p)
        return;
    *peer = NULL;
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    link_waiter_finish(&p->waiter);
    pthread_mutex_destroy(&p->lock);
    frame_sealer_destroy(&p->sealer);
    frame_opener_destroy(&p->opener);
    part_joiner_destroy(&p->joiner);
    free(p);
}

int frame_peer_send(struct frame_peer *peer, const struct frame_header *header, const void *payload,
                    size_t size)
{
    // The reference lets a call that began before on_gone end after it.
    struct frame_peer *p = frame_peer_ref(peer);
    struct outgoing *outgoing = calloc(1, sizeof *outgoing);
    int error = outgoing ? 0 : -ENOMEM;
    pthread_mutex_lock(&p->lock);
    if (!error && p->gone)
        error = -EPIPE;
    // A message larger than the queue still passes when it is alone.
    if (!error && p->queued &&
        (p->queued_bytes + size > FRAME_PEER_QUEUE_BYTES || p->queued == QUEUE_MESSAGES_MAX))
        error = -EAGAIN;
    if (!error)
        error = frame_seal(p->sealer, header, payload, size, &outgoing->bytes, &outgoing->size);
    if (!error) {
        p->queued_bytes += outgoing->size;
        p->queued++;
        *p->last = outgoing;
        p->last = &outgoing->next;
        outgoing = NULL;
        link_waiter_wake(&p->waiter);
    }
    pthread_mutex_unlock(&p->lock);
    outgoing_free(&outgoing);
    frame_peer_unref(&p);
    return error;
}

int frame_peer_send_block(struct frame_peer *peer, const struct frame_header *header,
                          const struct block_name *block, uint32_t start)
{
    uint8_t payload[BLOCK_NAME_BYTES];
    struct frame_header h = *header;
    h.kind = FRAME_MESSAGE_BLOCK;
    block_name_write(block, start, payload);
    return frame_peer_send(peer, &h, payload, sizeof payload);
}

// ---- Sending, own thread ----------------------------------------------------------------------

// Takes the next message from the queue; it counts as queued until it has been sent.
static bool next_message(struct frame_peer *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->first) {
        p->current = p->first;
        p->first = p->current->next;
        if (!p->first)
            p->last = &p->first;
        p->current_part = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return p->current;
}

static void message_sent(struct frame_peer *p)
{
    pthread_mutex_lock(&p->lock);
    p->queued_bytes -= p->current->size;
    p->queued--;
    p->stats.messages++;
    p->stats.bytes += p->current->size;
    pthread_mutex_unlock(&p->lock);
    outgoing_free(&p->current);
    p->number++;
}

// Bytes that may be sent now are kept as nanoseconds of the rate.
static void refill(struct frame_peer *p, int64_t rate)
{
    int64_t now = clock_monotonic_ns();
    if (rate != p->rate_set && p->config.socket.local < 0) {
        // libsrt spreads what it is given; its own limit leaves room for repairs.
        int64_t limit = rate + rate / 4;
        srt_setsockflag(p->config.socket.srt, SRTO_MAXBW, &limit, sizeof limit);
    }
    p->rate_set = rate;
    p->tokens += now - p->tokens_at_ns;
    p->tokens = p->tokens > BURST_NS ? BURST_NS : p->tokens;
    p->tokens_at_ns = now;
}

enum pump { PUMP_IDLE, PUMP_RATE, PUMP_FULL, PUMP_BROKEN };

// Sends as much as rate and libsrt allow; says what it waits for.
static enum pump pump(struct frame_peer *p)
{
    int64_t rate = atomic_load(&p->bytes_per_second);
    refill(p, rate);
    uint8_t part[PART_BYTES_MAX];
    while (p->current || next_message(p)) {
        if (p->tokens <= 0)
            return PUMP_RATE;
        size_t size =
            part_write(part, p->number, p->current_part, p->current->bytes, p->current->size);
        int error = link_send(&p->config.socket, part, size);
        if (error)
            return error == -EAGAIN ? PUMP_FULL : PUMP_BROKEN;
        p->tokens -= (int64_t)size * 1000000000 / rate;
        if (++p->current_part == part_count(p->current->size))
            message_sent(p);
    }
    return PUMP_IDLE;
}

// The session at first, then a sign of life. A full queue is sign enough.
static void greet(struct frame_peer *p, int64_t now)
{
    if (now < p->greet_at_ns)
        return;
    struct frame_header header = {.kind = FRAME_MESSAGE_PICTURE};
    memcpy(header.revision, p->session, sizeof header.revision);
    (void)frame_peer_send(p, &header, NULL, 0);
    p->greet_at_ns = now + (atomic_load(&p->proven) ? SIGN_OF_LIFE_NS : GREETING_NS);
}

static void read_stats(struct frame_peer *p, int64_t now_ns)
{
    SRT_TRACEBSTATS now;
    if (now_ns < p->stats_at_ns || p->config.socket.local >= 0 ||
        srt_bistats(p->config.socket.srt, &now, 1, 1))
        return;
    p->stats_at_ns = now_ns + STATS_NS;
    pthread_mutex_lock(&p->lock);
    p->stats.rtt_ms = now.msRTT;
    p->stats.loss_percent = now.pktSent > 0 ? 100.0 * now.pktSndLoss / (double)now.pktSent : 0;
    p->stats.resent += (uint64_t)now.pktRetrans;
    p->stats.dropped += (uint64_t)now.pktSndDrop;
    pthread_mutex_unlock(&p->lock);
}

// ---- Receiving, own thread --------------------------------------------------------------------

// Refused: damaged, of another kind, seen before, or a recording of another connection.
static void on_refused(struct frame_peer *p, int error)
{
    pthread_mutex_lock(&p->lock);
    p->stats.replayed += error == -ESTALE;
    p->stats.bad += error != -ESTALE;
    pthread_mutex_unlock(&p->lock);
    uint64_t count = log_limit(&p->bad_limit, clock_monotonic_ns(), 1000 * NS_PER_MS);
    if (count)
        log_debug("frame_want_refused", "consumer=%s link=%s error=%d count=%llu",
                  p->config.name.consumer, p->config.name.link_id, error,
                  (unsigned long long)count);
}

static void on_message(struct frame_peer *p, const uint8_t *message, size_t size)
{
    struct frame_header header;
    uint8_t *payload = NULL;
    size_t payload_size;
    struct frame_want want;
    struct frame_log_want log_want;
    int error = frame_open(p->opener, message, size, &header, &payload, &payload_size);
    bool log = !error && header.kind == FRAME_MESSAGE_LOG_WANT;
    if (!error && header.kind != FRAME_MESSAGE_WANT && (!log || !p->config.on_log_want))
        error = -EPROTO;
    if (!error && memcmp(header.revision, p->session, sizeof p->session))
        error = -ESTALE;
    if (!error && log)
        error = log_want_read(payload, payload_size, &log_want);
    else if (!error && payload_size)
        error = frame_want_read(payload, payload_size, &want);
    if (error) {
        on_refused(p, error);
        free(payload);
        return;
    }
    p->heard_at_ns = clock_monotonic_ns();
    if (!atomic_exchange(&p->proven, true))
        p->config.on_proven(p->config.server, p);
    p->wanted = p->wanted || payload_size;
    if (log)
        p->config.on_log_want(p->config.opaque, p, &log_want);
    else if (payload_size)
        p->config.on_want(p->config.opaque, p, &want);
    free(payload);
}

// Takes in what has arrived. Returns false when the connection is broken.
static bool receive(struct frame_peer *p)
{
    uint8_t part[PART_BYTES_MAX];
    // Bounded, so that a flood of requests does not keep the thread from sending.
    for (int i = 0; i < 256; i++) {
        int size = link_receive(&p->config.socket, part, sizeof part);
        if (size < 0)
            return size == -EAGAIN;
        uint8_t *message = NULL;
        size_t message_size;
        if (part_joiner_add(p->joiner, part, (size_t)size, &message, &message_size) == 1)
            on_message(p, message, message_size);
        free(message);
    }
    return true;
}

// ---- Life ---------------------------------------------------------------------------------------

static void drop_queue(struct frame_peer *p)
{
    pthread_mutex_lock(&p->lock);
    p->gone = true;
    struct outgoing *o = p->first;
    p->first = NULL;
    p->last = &p->first;
    pthread_mutex_unlock(&p->lock);
    outgoing_free(&p->current);
    while (o) {
        struct outgoing *next = o->next;
        outgoing_free(&o);
        o = next;
    }
}

static void *peer_run(void *arg)
{
    struct frame_peer *p = arg;
    p->heard_at_ns = p->tokens_at_ns = p->created_ns;
    while (!atomic_load(&p->stop)) {
        int64_t now = clock_monotonic_ns();
        greet(p, now);
        read_stats(p, now);
        enum pump state = pump(p);
        if (state == PUMP_BROKEN || !receive(p) ||
            now - p->heard_at_ns > (atomic_load(&p->proven) ? SILENCE_NS : UNPROVEN_NS))
            break;
        link_waiter_watch(&p->waiter, p->config.socket,
                          SRT_EPOLL_IN | (state == PUMP_FULL ? SRT_EPOLL_OUT : 0));
        link_waiter_wait(&p->waiter, state == PUMP_RATE ? 2 : FRAME_LIFE_MS);
    }
    drop_queue(p);
    link_waiter_watch(&p->waiter, LINK_SOCKET_NONE, 0);
    link_close(&p->config.socket);
    if (p->wanted)
        p->config.on_gone(p->config.opaque, p);
    atomic_store(&p->ended, true);
    p->config.on_end(p->config.server, p);
    return NULL;
}

int frame_peer_create(const struct frame_peer_config *config, struct frame_peer **ret)
{
    struct frame_peer *p = base_alloc(sizeof *p);
    p->config = *config;
    atomic_init(&p->references, 1);
    atomic_init(&p->bytes_per_second, config->bytes_per_second);
    p->created_ns = clock_monotonic_ns();
    pthread_mutex_init(&p->lock, NULL);
    p->last = &p->first;
    p->sealer = frame_sealer_create(config->key);
    p->opener = frame_opener_create(config->key);
    p->joiner = part_joiner_create(WANT_MESSAGE_MAX);
    frame_session_draw(p->session);
    int error = link_waiter_init(&p->waiter);
    if (!error)
        error = thread_start(&p->thread, "frame-peer", peer_run, p);
    if (error) {
        link_close(&p->config.socket);
        frame_peer_unref(&p);
        return error;
    }
    *ret = p;
    return 0;
}

void frame_peer_close(struct frame_peer *peer)
{
    atomic_store(&peer->stop, true);
    link_waiter_wake(&peer->waiter);
}

void frame_peer_join(struct frame_peer **peer)
{
    thread_join((*peer)->thread);
    frame_peer_unref(peer);
}

void frame_peer_name(const struct frame_peer *peer, const char **ret_consumer,
                     const char **ret_link_id)
{
    *ret_consumer = peer->config.name.consumer;
    *ret_link_id = peer->config.name.link_id;
}

bool frame_peer_ended(const struct frame_peer *peer)
{
    return atomic_load(&peer->ended);
}

bool frame_peer_is(const struct frame_peer *peer, const struct frame_peer *other)
{
    return !strcmp(peer->config.name.consumer, other->config.name.consumer) &&
           !strcmp(peer->config.name.link_id, other->config.name.link_id);
}

void frame_peer_set_rate(struct frame_peer *peer, int64_t bytes_per_second)
{
    atomic_store(&peer->bytes_per_second, bytes_per_second);
}

bool frame_peer_proven(const struct frame_peer *peer)
{
    return atomic_load(&peer->proven);
}

int64_t frame_peer_created_ns(const struct frame_peer *peer)
{
    return peer->created_ns;
}

void frame_peer_stats(struct frame_peer *peer, struct frame_peer_stats *ret)
{
    strcpy(ret->consumer, peer->config.name.consumer);
    strcpy(ret->link_id, peer->config.name.link_id);
    pthread_mutex_lock(&peer->lock);
    ret->link = peer->stats;
    pthread_mutex_unlock(&peer->lock);
}
