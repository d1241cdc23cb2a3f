#include "edge/relay.h"

#include "edge/deliver/unit.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define TAKERS_MAX 64
#define WANT_NS    INT64_C(500000000) // a taker says what it wants each 100 ms

struct kept {
    int64_t number;
    bool key;
    uint8_t *bytes;
    size_t size;
};

struct taker {
    struct frame_peer *peer; // a reference; NULL: free
    struct relay_stream *stream;
    uint32_t start;
    int64_t next; // unit to be sent
    int64_t want_ns;
};

struct relay_stream {
    struct relay *relay;
    uint64_t channel;
    uint32_t group;
    struct unit unit; // being filled, by the rendition's lanes in turn
    // -- guarded by the relay's lock
    struct link_target other; // who may take it; node "": nobody
    bool claims[2];           // what this edge publishes to itself
    struct publish_id ids[2];
    struct kept ring[RELAY_UNITS]; // by number % RELAY_UNITS
    int64_t oldest, newest;        // newest < oldest: none
    size_t bytes;
    struct relay_stream *next;
};

struct relay {
    struct frame_server *server;
    char address[256];
    // -- guarded by lock
    pthread_mutex_t lock;
    struct relay_stream *streams;
    struct taker takers[TAKERS_MAX];
};

// ---- What is kept (with the lock held) ----------------------------------------------------------

static struct kept *kept_at(struct relay_stream *s, int64_t number)
{
    if (number < s->oldest || number > s->newest)
        return NULL;
    struct kept *k = &s->ring[number % RELAY_UNITS];
    return k->bytes && k->number == number ? k : NULL;
}

static void forget_oldest(struct relay_stream *s)
{
    struct kept *k = kept_at(s, s->oldest);
    s->oldest++;
    if (!k)
        return;
    s->bytes -= k->size;
    free(k->bytes);
    *k = (struct kept){0};
}

static void keep(struct relay_stream *s, const struct kept *unit)
{
    // A restarted clock goes back; a long gap leaves nothing that belongs together.
    if (unit->number <= s->newest || unit->number > s->newest + RELAY_UNITS) {
        while (s->oldest <= s->newest)
            forget_oldest(s);
        s->oldest = unit->number;
    }
    s->newest = unit->number;
    while (s->newest - s->oldest >= RELAY_UNITS ||
           (s->bytes + unit->size > RELAY_BYTES && s->oldest < s->newest))
        forget_oldest(s);
    s->ring[unit->number % RELAY_UNITS] = *unit;
    s->bytes += unit->size;
}

static int64_t newest_key(struct relay_stream *s)
{
    int64_t n = s->newest;
    const struct kept *k;
    while (n >= s->oldest && (!(k = kept_at(s, n)) || !k->key))
        n--;
    return n;
}

// ---- Takers (with the lock held) ----------------------------------------------------------------

static int send_unit(const struct relay_stream *s, struct frame_peer *peer, int64_t number,
                     const void *bytes, size_t size)
{
    struct frame_header header = {.kind = FRAME_MESSAGE_PICTURE,
                                  .channel = s->channel,
                                  .group = s->group,
                                  .frame = number,
                                  .base_frame = number};
    return frame_peer_send(peer, &header, bytes, size);
}

static void serve_taker(struct relay_stream *s, struct taker *t)
{
    for (; t->next <= s->newest; t->next++) {
        const struct kept *k = kept_at(s, t->next);
        if (k && send_unit(s, t->peer, k->number, k->bytes, k->size))
            return; // its queue is full, or it is gone
    }
}

// Of which addresses a publisher is: 0 the first, 1 the second ones.
static int which_of(struct frame_peer *peer)
{
    const char *consumer, *link_id;
    frame_peer_name(peer, &consumer, &link_id);
    return *link_id && link_id[strlen(link_id) - 1] == 'b';
}

// That no more comes: a sign, which no unit is.
static void send_end(const struct relay_stream *s, struct frame_peer *peer)
{
    uint8_t end[UNIT_END_BYTES];
    int which = which_of(peer);
    (void)send_unit(s, peer, -1, end, unit_end_pack(s->claims[which] ? &s->ids[which] : NULL, end));
}

static void dismiss_taker(struct taker *t)
{
    send_end(t->stream, t->peer);
    frame_peer_unref(&t->peer);
    *t = (struct taker){0};
}

static struct relay_stream *find_stream(struct relay *r, uint64_t channel, uint32_t group)
{
    struct relay_stream *s = r->streams;
    while (s && (s->channel != channel || s->group != group))
        s = s->next;
    return s;
}

static struct taker *find_taker(struct relay *r, const struct relay_stream *s,
                                struct frame_peer *peer)
{
    for (int i = 0; i < TAKERS_MAX; i++)
        if (r->takers[i].peer == peer && r->takers[i].stream == s)
            return &r->takers[i];
    return NULL;
}

static struct taker *add_taker(struct relay *r, struct relay_stream *s, struct frame_peer *peer)
{
    for (int i = 0; i < TAKERS_MAX; i++)
        if (!r->takers[i].peer) {
            r->takers[i] =
                (struct taker){.peer = frame_peer_ref(peer), .stream = s, .next = INT64_MAX};
            return &r->takers[i];
        }
    return NULL;
}

// ---- The server's callbacks ---------------------------------------------------------------------

static bool allows(const struct relay_stream *s, const char *consumer, const char *link_id)
{
    size_t size = strlen(s->other.link_id);
    return *s->other.node && !strcmp(s->other.node, consumer) &&
           !strncmp(s->other.link_id, link_id, size) && link_id[size] == '.';
}

static bool link_key(void *opaque, const char *consumer, const char *link_id,
                     uint8_t ret_key[LINK_KEY_BYTES])
{
    struct relay *r = opaque;
    bool found = false;
    pthread_mutex_lock(&r->lock);
    for (struct relay_stream *s = r->streams; s && !found; s = s->next) {
        found = allows(s, consumer, link_id);
        if (found)
            memcpy(ret_key, s->other.key, LINK_KEY_BYTES);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void on_want(void *opaque, struct frame_peer *peer, const struct frame_want *want)
{
    struct relay *r = opaque;
    const char *consumer, *link_id;
    pthread_mutex_lock(&r->lock);
    struct relay_stream *s = find_stream(r, want->channel, want->group);
    frame_peer_name(peer, &consumer, &link_id);
    bool allowed = s && allows(s, consumer, link_id);
    if (allowed && s->claims[which_of(peer)]) {
        send_end(s, peer);
        allowed = false;
    }
    struct taker *t = allowed ? find_taker(r, s, peer) : NULL;
    if (allowed && !t)
        t = add_taker(r, s, peer);
    if (t) {
        t->want_ns = clock_monotonic_ns();
        if (t->next == INT64_MAX || t->start != want->start) {
            t->start = want->start;
            bool has = want->from >= s->oldest && want->from <= s->newest + 1;
            t->next = has ? want->from : newest_key(s);
        }
        for (int i = 0; i < want->missing_count; i++) {
            const struct kept *k = kept_at(s, want->missing[i]);
            if (k)
                (void)send_unit(s, t->peer, k->number, k->bytes, k->size);
        }
        serve_taker(s, t);
    }
    pthread_mutex_unlock(&r->lock);
}

static void on_gone(void *opaque, struct frame_peer *peer)
{
    struct relay *r = opaque;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < TAKERS_MAX; i++)
        if (r->takers[i].peer == peer) {
            frame_peer_unref(&r->takers[i].peer);
            r->takers[i] = (struct taker){0};
        }
    pthread_mutex_unlock(&r->lock);
}

// ---- Streams ------------------------------------------------------------------------------------

struct relay_stream *relay_stream_create(struct relay *relay, uint64_t channel, uint32_t output,
                                         uint32_t rendition)
{
    struct relay_stream *s = base_alloc(sizeof *s);
    s->relay = relay;
    s->channel = channel;
    s->group = relay_group(output, rendition);
    s->newest = -1;
    pthread_mutex_lock(&relay->lock);
    s->next = relay->streams;
    relay->streams = s;
    pthread_mutex_unlock(&relay->lock);
    return s;
}

void relay_stream_allow(struct relay_stream *s, const struct link_target *other)
{
    struct relay *r = s->relay;
    pthread_mutex_lock(&r->lock);
    bool same = other ? !strcmp(s->other.node, other->node) &&
                            !strcmp(s->other.link_id, other->link_id) &&
                            !CRYPTO_memcmp(s->other.key, other->key, sizeof other->key)
                      : !*s->other.node;
    for (int i = 0; i < TAKERS_MAX && !same; i++)
        if (r->takers[i].peer && r->takers[i].stream == s)
            dismiss_taker(&r->takers[i]);
    OPENSSL_cleanse(&s->other, sizeof s->other);
    if (other)
        s->other = *other;
    pthread_mutex_unlock(&r->lock);
}

void relay_stream_claim(struct relay_stream *s, int which, bool claims, struct publish_id id)
{
    struct relay *r = s->relay;
    pthread_mutex_lock(&r->lock);
    s->claims[which] = claims;
    s->ids[which] = id;
    for (int i = 0; i < TAKERS_MAX && claims; i++)
        if (r->takers[i].peer && r->takers[i].stream == s && which_of(r->takers[i].peer) == which)
            dismiss_taker(&r->takers[i]);
    pthread_mutex_unlock(&r->lock);
}

void relay_stream_push(struct relay_stream *s, const struct packet *packet)
{
    if (!unit_add(&s->unit, packet))
        return;
    struct relay *r = s->relay;
    struct kept unit = {.number = s->unit.number, .key = s->unit.key};
    unit.bytes = unit.number >= 0 ? unit_pack(&s->unit, &unit.size) : NULL;
    unit_clear(&s->unit);
    if (!unit.bytes)
        return;
    pthread_mutex_lock(&r->lock);
    keep(s, &unit);
    for (int i = 0; i < TAKERS_MAX; i++)
        if (r->takers[i].peer && r->takers[i].stream == s)
            serve_taker(s, &r->takers[i]);
    pthread_mutex_unlock(&r->lock);
}

void relay_stream_destroy(struct relay_stream **stream)
{
    struct relay_stream *s = *stream;
    if (!s)
        return;
    *stream = NULL;
    relay_stream_allow(s, NULL);
    struct relay *r = s->relay;
    pthread_mutex_lock(&r->lock);
    for (struct relay_stream **at = &r->streams; *at; at = &(*at)->next)
        if (*at == s) {
            *at = s->next;
            break;
        }
    pthread_mutex_unlock(&r->lock);
    while (s->oldest <= s->newest)
        forget_oldest(s);
    unit_clear(&s->unit);
    free(s);
}

// ---- Life ---------------------------------------------------------------------------------------

int relay_create(const char *listen, const char *told, struct relay **ret,
                 struct diagnostic *reterr)
{
    struct relay *r = base_alloc(sizeof *r);
    mutex_init_urgent(&r->lock);
    struct frame_server_config config = {.listen = listen,
                                         .link_key = link_key,
                                         .on_want = on_want,
                                         .on_gone = on_gone,
                                         .opaque = r};
    int error = frame_server_create(&config, &r->server, reterr);
    if (!error)
        error = frame_server_address(r->server, told, r->address, sizeof r->address, reterr);
    if (error)
        relay_destroy(&r);
    else
        *ret = r;
    return error;
}

void relay_destroy(struct relay **relay)
{
    struct relay *r = *relay;
    if (!r)
        return;
    *relay = NULL;
    frame_server_destroy(&r->server);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

const char *relay_address(const struct relay *relay)
{
    return relay->address;
}

int relay_takers(struct relay *r, uint64_t channel)
{
    int count = 0;
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < TAKERS_MAX; i++)
        count += r->takers[i].peer && r->takers[i].stream->channel == channel &&
                 now - r->takers[i].want_ns < WANT_NS;
    pthread_mutex_unlock(&r->lock);
    return count;
}
