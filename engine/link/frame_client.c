#include "engine/link/frame_link.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/block_reader.h"
#include "engine/link/frame_want.h"
#include "engine/link/link_socket.h"
#include "engine/link/srt_parts.h"

#define NS_PER_MS       INT64_C(1000000)
#define REPEAT_NS       (100 * NS_PER_MS)
#define STATS_NS        (1000 * NS_PER_MS)
#define CONNECT_NS      (3500 * NS_PER_MS) // libsrt gives up after 3 s
#define BACKOFF_MIN_NS  (100 * NS_PER_MS)
#define BACKOFF_MAX_NS  (2000 * NS_PER_MS)
#define ENDED_REPEATS   20
#define WANTS_MAX       1024
#define SIGN_OF_LIFE_NS (1000 * NS_PER_MS)
#define SILENCE_NS      (FRAME_SILENCE_MS * NS_PER_MS)
#define REFUSALS_MAX    3 // the provider may hear of a link a little later than we do
// A block may be gone because its message was late, but not so many in a row.
#define UNREADABLE_MAX 8

struct wish {
    struct frame_want want;
    bool changed;
    int ended_repeats; // sent so often since it ended
};

struct frame_client {
    // -- constant after create
    struct frame_client_config config;
    char stream_id[STREAM_ID_MAX + 1];
    pthread_t thread;
    // -- atomic
    atomic_bool stop, ended;
    struct link_waiter waiter; // wake: any thread; the rest: own thread
    // -- guarded by lock
    pthread_mutex_t lock;
    struct wish *wishes;
    int wish_count, wish_capacity;
    struct frame_log_want log_wish; // source "": none
    bool log_changed;
    struct frame_link_stats stats;
    // -- own thread
    struct link_socket socket;
    int refusals; // calls within the host that the provider refused, in a row
    struct frame_sealer *sealer;
    struct frame_opener *opener;
    struct part_joiner *joiner;
    struct block_reader *blocks;
    uint64_t host;  // 0: this provider's blocks cannot be read
    int unreadable; // blocks in a row that could not be
    bool greeted;   // the provider has told this connection's session
    uint8_t session[FRAME_SESSION_BYTES];
    uint32_t number;
    int64_t repeat_at_ns, stats_at_ns, sent_at_ns, backoff_ns;
    // Read by others: of a whole message that opened, and of any part.
    _Atomic int64_t heard_at_ns, received_at_ns;
    uint64_t incomplete_before;
};

// ---- Wishes -----------------------------------------------------------------------------------

static bool same_group(const struct frame_want *a, const struct frame_want *b)
{
    return a->channel == b->channel && a->group == b->group && a->plan_epoch == b->plan_epoch;
}

// With the lock held. NULL when there are too many.
static struct wish *wish_find(struct frame_client *c, const struct frame_want *want)
{
    for (int i = 0; i < c->wish_count; i++)
        if (same_group(&c->wishes[i].want, want))
            return &c->wishes[i];
    if (c->wish_count == WANTS_MAX)
        return NULL;
    if (c->wish_count == c->wish_capacity) {
        int capacity = c->wish_capacity ? 2 * c->wish_capacity : 8;
        struct wish *wishes = base_alloc((size_t)capacity * sizeof *wishes);
        if (c->wish_count)
            memcpy(wishes, c->wishes, (size_t)c->wish_count * sizeof *wishes);
        free(c->wishes);
        c->wishes = wishes;
        c->wish_capacity = capacity;
    }
    return &c->wishes[c->wish_count++];
}

// What a wish that was never sent asked for once more is asked for with the next.
static void keep_missing(struct frame_want *want, const struct frame_want *unsent)
{
    for (int i = 0; i < unsent->missing_count && unsent->start == want->start; i++) {
        bool named = unsent->missing[i] < want->from;
        for (int k = 0; k < want->missing_count && !named; k++)
            named = want->missing[k] == unsent->missing[i];
        if (!named && want->missing_count < FRAME_WANT_MISSING_MAX)
            want->missing[want->missing_count++] = unsent->missing[i];
    }
}

void frame_client_want(struct frame_client *client, const struct frame_want *want)
{
    pthread_mutex_lock(&client->lock);
    struct wish *wish = wish_find(client, want);
    if (wish) {
        struct wish unsent = *wish;
        *wish = (struct wish){.want = *want, .changed = true};
        if (unsent.changed)
            keep_missing(&wish->want, &unsent.want);
    }
    pthread_mutex_unlock(&client->lock);
    if (wish)
        link_waiter_wake(&client->waiter);
    else
        log_debug("frame_want_dropped", "link=%s wants=%d", client->config.link_id, WANTS_MAX);
}

void frame_client_want_log(struct frame_client *client, const struct frame_log_want *want, bool now)
{
    pthread_mutex_lock(&client->lock);
    client->log_wish = *want;
    client->log_changed = client->log_changed || now;
    pthread_mutex_unlock(&client->lock);
    if (now)
        link_waiter_wake(&client->waiter);
}

// Seals and sends one want, which is always a single part. Returns false if it could not go.
static bool send_message(struct frame_client *c, struct frame_header header, const uint8_t *payload,
                         size_t size)
{
    uint8_t *message = NULL, part[PART_BYTES_MAX];
    size_t message_size;
    memcpy(header.revision, c->session, sizeof header.revision);
    if (frame_seal(c->sealer, &header, payload, size, &message, &message_size))
        return false;
    size_t part_size = part_write(part, c->number++, 0, message, message_size);
    free(message);
    c->sent_at_ns = clock_monotonic_ns();
    return !link_send(&c->socket, part, part_size);
}

static bool send_want(struct frame_client *c, const struct frame_want *wish)
{
    uint8_t payload[WANT_BYTES_MAX];
    struct frame_want full = *wish, *want = &full;
    want->host = c->host;
    want->keep =
        block_reader_keep(c->blocks, want->channel, want->group, want->plan_epoch, want->from);
    size_t size = frame_want_write(want, payload);
    struct frame_header header = {
        .kind = FRAME_MESSAGE_WANT,
        .channel = want->channel,
        .group = want->group,
        .plan_epoch = want->plan_epoch,
        .frame = want->from,
        .base_frame = want->from,
    };
    return send_message(c, header, payload, size);
}

static bool send_log_want(struct frame_client *c)
{
    uint8_t payload[LOG_WANT_BYTES_MAX];
    size_t size = log_want_write(&c->log_wish, payload);
    return send_message(c, (struct frame_header){.kind = FRAME_MESSAGE_LOG_WANT}, payload, size);
}

// Sends the wishes that changed, or all of them; forgets those that ended long ago.
static void send_wishes(struct frame_client *c, bool all)
{
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->wish_count; i++) {
        struct wish *wish = &c->wishes[i];
        if (!all && !wish->changed)
            continue;
        if (!send_want(c, &wish->want))
            break; // what stays marked goes next time
        wish->changed = false;
        if (wish->want.ended && ++wish->ended_repeats == ENDED_REPEATS) {
            *wish = c->wishes[--c->wish_count];
            i--;
        }
    }
    if (c->log_wish.source[0] && (all || c->log_changed))
        c->log_changed = !send_log_want(c);
    pthread_mutex_unlock(&c->lock);
}

// ---- Frames -----------------------------------------------------------------------------------

// The first message of a connection: from now on wants are believed.
static void on_sign_of_life(struct frame_client *c, const struct frame_header *header)
{
    memcpy(c->session, header->revision, sizeof c->session);
    if (!c->greeted)
        c->repeat_at_ns = c->sent_at_ns = 0; // says at once what it wants, and that it has the key
    c->greeted = true;
}

// Whether a block answers a wish as it is now. Of one that began anew, what was said about blocks
// before (`keep`) may have given it back already.
static bool is_wanted(struct frame_client *c, const struct frame_header *header, uint32_t start)
{
    const struct frame_want group = {
        .channel = header->channel, .group = header->group, .plan_epoch = header->plan_epoch};
    bool wanted = false;
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->wish_count; i++)
        wanted =
            wanted || (same_group(&c->wishes[i].want, &group) && c->wishes[i].want.start == start);
    pthread_mutex_unlock(&c->lock);
    return wanted;
}

// The body of a frame that stands in a block. One that is gone by now is a lost message.
static int open_block(struct frame_client *c, struct frame_header *header, const uint8_t *payload,
                      size_t size, struct frame_body **ret)
{
    struct block_name name;
    uint32_t start;
    int error = block_name_read(payload, size, &name, &start);
    if (!error && header->base_frame != header->frame)
        error = -EPROTO;
    header->kind = FRAME_MESSAGE_PICTURE;
    if (!error && !is_wanted(c, header, start))
        return -ENOENT;
    if (!error)
        error = block_reader_open(c->blocks, &name, header, ret);
    c->unreadable = error ? c->unreadable + 1 : 0;
    if (c->host && (error == -EPERM || c->unreadable == UNREADABLE_MAX)) {
        c->host = 0;         // from now on the wants ask for the frames themselves,
        c->repeat_at_ns = 0; // and at once
        log_info("frames_not_shared", "link=%s provider=%s reason=\"its memory cannot be opened\"",
                 c->config.link_id, c->config.address);
    }
    return error == -ESTALE || error == -EPERM ? -ENOENT : error;
}

static void on_message(struct frame_client *c, const uint8_t *message, size_t size)
{
    struct frame_header header;
    uint8_t *payload = NULL;
    size_t payload_size = 0;
    struct frame_body *body = NULL;
    int error = frame_open(c->opener, message, size, &header, &payload, &payload_size);
    bool log = !error && header.kind == FRAME_MESSAGE_LOG && c->config.on_log;
    if (log) {
        c->config.on_log(c->config.opaque, payload, payload_size);
        free(payload);
    } else if (!error && header.kind == FRAME_MESSAGE_BLOCK) {
        error = open_block(c, &header, payload, payload_size, &body);
        free(payload);
    } else if (!error && header.kind != FRAME_MESSAGE_PICTURE) {
        free(payload);
        error = -EPROTO;
    } else if (!error && payload_size && c->config.on_frame) {
        body = frame_body_coded(payload, payload_size);
    } else if (!error) { // without payload: a sign of life
        free(payload);
        error = payload_size ? -EPROTO : 0;
    }
    pthread_mutex_lock(&c->lock);
    c->stats.replayed += error == -ESTALE;
    c->stats.bad += error && error != -ESTALE && error != -ENOENT;
    c->incomplete_before += error == -ENOENT;
    c->stats.incomplete += error == -ENOENT;
    c->stats.messages += log || body;
    c->stats.bytes += error ? 0 : size;
    pthread_mutex_unlock(&c->lock);
    if (error)
        return;
    atomic_store(&c->heard_at_ns, clock_monotonic_ns());
    if (body)
        c->config.on_frame(c->config.opaque, &header, body);
    else if (!log)
        on_sign_of_life(c, &header);
}

// Takes in what has arrived. Returns false when the connection is broken.
static bool receive(struct frame_client *c)
{
    uint8_t part[PART_BYTES_MAX];
    for (int i = 0; i < 1024; i++) {
        int size = link_receive(&c->socket, part, sizeof part);
        if (size < 0)
            return size == -EAGAIN;
        atomic_store(&c->received_at_ns, clock_monotonic_ns());
        uint8_t *message = NULL;
        size_t message_size;
        int result = part_joiner_add(c->joiner, part, (size_t)size, &message, &message_size);
        if (result == 1)
            on_message(c, message, message_size);
        free(message);
        if (result < 0) {
            pthread_mutex_lock(&c->lock);
            c->stats.bad++;
            pthread_mutex_unlock(&c->lock);
        }
    }
    link_waiter_wake(&c->waiter); // there may be more
    return true;
}

static void read_stats(struct frame_client *c)
{
    SRT_TRACEBSTATS now = {0};
    if (c->socket.local < 0 && srt_bistats(c->socket.srt, &now, 1, 1))
        return;
    double packets = (double)now.pktRecv + now.pktRcvLoss;
    pthread_mutex_lock(&c->lock);
    c->stats.rtt_ms = now.msRTT;
    c->stats.loss_percent = packets > 0 ? 100.0 * now.pktRcvLoss / packets : 0;
    c->stats.resent += (uint64_t)now.pktRcvRetrans;
    c->stats.dropped += (uint64_t)now.pktRcvDrop;
    c->stats.incomplete = c->incomplete_before + part_joiner_incomplete(c->joiner);
    pthread_mutex_unlock(&c->lock);
}

int64_t frame_client_heard_ns(const struct frame_client *client)
{
    return atomic_load(&client->heard_at_ns);
}

int64_t frame_client_received_ns(const struct frame_client *client)
{
    return atomic_load(&client->received_at_ns);
}

void frame_client_stats(struct frame_client *client, struct frame_link_stats *ret)
{
    pthread_mutex_lock(&client->lock);
    *ret = client->stats;
    pthread_mutex_unlock(&client->lock);
}

// ---- Connection -------------------------------------------------------------------------------

// Whether the connection stands: 1, 0: not yet, or an error.
static int look(struct frame_client *c)
{
    if (c->socket.local >= 0) {
        uint8_t answer;
        int size = link_receive(&c->socket, &answer, sizeof answer);
        return size > 0 ? 1 : size == -EAGAIN ? 0 : size;
    }
    SRT_SOCKSTATUS state = srt_getsockstate(c->socket.srt);
    bool coming = state == SRTS_CONNECTING || state == SRTS_INIT || state == SRTS_OPENED;
    return state == SRTS_CONNECTED ? 1 : coming ? 0 : -ECONNREFUSED;
}

static bool await_connection(struct frame_client *c)
{
    int64_t deadline = clock_monotonic_ns() + CONNECT_NS;
    int state = 0;
    link_waiter_watch(&c->waiter, c->socket, c->socket.local >= 0 ? SRT_EPOLL_IN : SRT_EPOLL_OUT);
    while (!(state = look(c)) && !atomic_load(&c->stop) && clock_monotonic_ns() < deadline)
        link_waiter_wait(&c->waiter, 100);
    return state > 0;
}

static bool call_srt(struct frame_client *c, const struct srt_address *address)
{
    c->socket.srt = srt_socket_create(c->config.latency_ms);
    if (c->socket.srt == SRT_INVALID_SOCK ||
        srt_setsockflag(c->socket.srt, SRTO_STREAMID, c->stream_id, (int)strlen(c->stream_id)) ||
        srt_connect(c->socket.srt, (struct sockaddr *)&address->storage, address->size) < 0)
        return false;
    if (await_connection(c))
        return true;
    log_debug("frame_link_refused", "link=%s reason=%d", c->config.link_id,
              srt_getrejectreason(c->socket.srt));
    return false;
}

// Calls a provider on this host within it, where it listens for that; else over SRT.
static bool connect_socket(struct frame_client *c)
{
    struct srt_address address;
    if (srt_address_resolve(c->config.address, false, &address, NULL) || atomic_load(&c->stop))
        return false;
    bool try = c->refusals < REFUSALS_MAX && local_address(&address) &&
               !local_connect(srt_address_port(&address), c->stream_id, &c->socket.local);
    if (!try) {
        c->refusals = 0;
        return call_srt(c, &address);
    }
    // Refused time and again: perhaps another provider has the same port at another address.
    bool connected = await_connection(c);
    c->refusals += !connected;
    return connected;
}

static void close_socket(struct frame_client *c)
{
    link_waiter_watch(&c->waiter, LINK_SOCKET_NONE, 0);
    link_close(&c->socket);
}

// Tells the provider what is wanted, as often as needed.
static void tell(struct frame_client *c, int64_t now)
{
    bool repeat = now >= c->repeat_at_ns;
    if (repeat)
        c->repeat_at_ns = now + REPEAT_NS;
    if (!c->greeted)
        return; // it would not be believed
    send_wishes(c, repeat);
    if (now - c->sent_at_ns >= SIGN_OF_LIFE_NS)
        send_message(c, (struct frame_header){.kind = FRAME_MESSAGE_WANT}, NULL, 0);
}

// One connection, from the provider's greeting to its end.
static void talk(struct frame_client *c)
{
    int64_t start = clock_monotonic_ns(), now = start;
    c->joiner = part_joiner_create(FRAME_MESSAGE_BYTES_MAX);
    c->greeted = false;
    c->unreadable = 0;
    c->host = block_host();
    c->repeat_at_ns = start;
    atomic_store(&c->heard_at_ns, start);
    atomic_store(&c->received_at_ns, start);
    c->stats_at_ns = start + STATS_NS / 10;
    link_waiter_watch(&c->waiter, c->socket, SRT_EPOLL_IN);
    while (!atomic_load(&c->stop) && receive(c) && now - c->heard_at_ns < SILENCE_NS) {
        now = clock_monotonic_ns();
        tell(c, now);
        if (now >= c->stats_at_ns) {
            read_stats(c);
            block_reader_tidy(c->blocks, now);
            c->stats_at_ns = now + STATS_NS;
        }
        if (now - start > BACKOFF_MAX_NS)
            c->backoff_ns = BACKOFF_MIN_NS;
        link_waiter_wait(&c->waiter, (int)((c->repeat_at_ns - now) / NS_PER_MS) + 1);
    }
    if (now - c->heard_at_ns >= SILENCE_NS)
        log_debug("frame_link_silent", "link=%s", c->config.link_id);
    // It knows the link, but not its key: another cluster's.
    c->refusals = c->greeted ? 0 : REFUSALS_MAX;
    c->incomplete_before += part_joiner_incomplete(c->joiner);
    part_joiner_destroy(&c->joiner);
}

static void back_off(struct frame_client *c)
{
    int64_t until = clock_monotonic_ns() + c->backoff_ns, now;
    while (!atomic_load(&c->stop) && (now = clock_monotonic_ns()) < until)
        link_waiter_wait(&c->waiter, (int)((until - now) / NS_PER_MS) + 1);
    c->backoff_ns = 2 * c->backoff_ns < BACKOFF_MAX_NS ? 2 * c->backoff_ns : BACKOFF_MAX_NS;
}

static void *client_run(void *arg)
{
    struct frame_client *c = arg;
    while (!atomic_load(&c->stop)) {
        bool connected = connect_socket(c);
        if (connected) {
            if (c->config.on_state)
                c->config.on_state(c->config.opaque, true);
            talk(c);
        }
        close_socket(c);
        if (connected && c->config.on_state)
            c->config.on_state(c->config.opaque, false);
        back_off(c);
    }
    atomic_store(&c->ended, true);
    return NULL;
}

// ---- Life -------------------------------------------------------------------------------------

static void client_free(struct frame_client *c)
{
    link_waiter_finish(&c->waiter);
    frame_sealer_destroy(&c->sealer);
    frame_opener_destroy(&c->opener);
    block_reader_destroy(&c->blocks);
    pthread_mutex_destroy(&c->lock);
    free(c->wishes);
    free((char *)c->config.address);
    free((char *)c->config.consumer);
    free((char *)c->config.link_id);
    free(c);
    srt_library_unref();
}

int frame_client_create(const struct frame_client_config *config, struct frame_client **ret,
                        struct diagnostic *reterr)
{
    char stream_id[STREAM_ID_MAX + 1];
    if (stream_id_format(config->consumer, config->link_id, stream_id))
        return diagnostic_set(
            reterr, -EINVAL, "frame_link_name", "",
            "node and link names have 1 to %d of the characters A-Z a-z 0-9 . _ -", LINK_NAME_MAX);
    int error = srt_library_ref(reterr);
    if (error)
        return error;
    struct frame_client *c = base_alloc(sizeof *c);
    c->config = *config;
    c->config.address = base_strdup(config->address);
    c->config.consumer = base_strdup(config->consumer);
    c->config.link_id = base_strdup(config->link_id);
    memcpy(c->stream_id, stream_id, sizeof stream_id);
    pthread_mutex_init(&c->lock, NULL);
    c->socket = LINK_SOCKET_NONE;
    c->backoff_ns = BACKOFF_MIN_NS;
    c->sealer = frame_sealer_create(config->key);
    c->opener = frame_opener_create(config->key);
    c->blocks = block_reader_create();
    error = link_waiter_init(&c->waiter);
    if (!error)
        error = thread_start(&c->thread, "frame-client", client_run, c);
    if (error) {
        client_free(c);
        return diagnostic_set(reterr, error, "frame_link", "", "no thread: %s", strerror(-error));
    }
    *ret = c;
    return 0;
}

void frame_client_close(struct frame_client *client)
{
    atomic_store(&client->stop, true);
    link_waiter_wake(&client->waiter);
}

bool frame_client_ended(const struct frame_client *client)
{
    return atomic_load(&client->ended);
}

void frame_client_destroy(struct frame_client **client)
{
    struct frame_client *c = *client;
    if (!c)
        return;
    *client = NULL;
    frame_client_close(c);
    thread_join(c->thread);
    client_free(c);
}
