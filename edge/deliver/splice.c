#include "edge/deliver/splice.h"

#include "engine/base/thread.h"

#include <stdlib.h>
#include <string.h>

#define STORE_PACKETS 4096
#define STORE_BYTES   (24 << 20)
#define GOP_PICTURES  1024

// Packets in the order in which they came, the oldest first.
struct store {
    struct packet *packets[STORE_PACKETS];
    int count;
    size_t bytes;
};

struct source {
    struct store store; // from the key frame of the GOP under way on
    int64_t gave_ns;    // when it last gave
    int64_t ahead_ns;   // since when it has a picture that was not given; 0: it has none
};

struct splice {
    packet_sink_fn *on_packet;
    void *opaque;
    struct splice_stats stats;
    struct source sources[2];
    // What was given.
    int64_t last_dts[2];
    bool any[2];
    // Of the GOP under way: pictures' checksums from its key on.
    int64_t gop_dts;
    int gop_count;
    uint64_t gop_sums[GOP_PICTURES];
};

// ---- Stores -----------------------------------------------------------------------------------

static bool is_picture(const struct packet *p)
{
    return p->stream == PACKET_VIDEO;
}

static bool is_key(const struct packet *p)
{
    return is_picture(p) && p->key;
}

static void store_drop(struct store *s, int count)
{
    for (int i = 0; i < count; i++) {
        s->bytes -= s->packets[i]->size;
        packet_unref(&s->packets[i]);
    }
    s->count -= count;
    memmove(s->packets, s->packets + count, (size_t)s->count * sizeof s->packets[0]);
}

// Index of the first key picture from `from` on with at least this dts; -1: there is none.
static int store_key(const struct store *s, int from, int64_t dts)
{
    for (int i = from; i < s->count; i++)
        if (is_key(s->packets[i]) && s->packets[i]->dts >= dts)
            return i;
    return -1;
}

static void store_add(struct store *s, struct packet *packet)
{
    if (s->count == STORE_PACKETS || s->bytes + packet->size > STORE_BYTES) {
        int next = store_key(s, 1, INT64_MIN); // the oldest GOP goes
        store_drop(s, next < 0 ? s->count : next);
    }
    s->packets[s->count++] = packet;
    s->bytes += packet->size;
}

// ---- Giving -----------------------------------------------------------------------------------

// FNV-1a, 64 bits: tells encoders' slips apart; nobody is kept out by it.
static uint64_t checksum(const struct packet *p)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < p->size; i++)
        sum = (sum ^ p->data[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static bool is_given(const struct splice *s, const struct packet *p)
{
    return s->any[p->stream] && p->dts <= s->last_dts[p->stream];
}

static void give(struct splice *s, struct packet *packet)
{
    if (is_given(s, packet)) {
        packet_unref(&packet);
        return;
    }
    s->any[packet->stream] = true;
    s->last_dts[packet->stream] = packet->dts;
    if (is_key(packet)) {
        s->gop_dts = packet->dts;
        s->gop_count = 0;
    }
    if (is_picture(packet) && s->gop_count < GOP_PICTURES)
        s->gop_sums[s->gop_count++] = checksum(packet);
    if (is_picture(packet)) // who has more still has to wait anew
        s->sources[0].ahead_ns = s->sources[1].ahead_ns = 0;
    s->on_packet(s->opaque, packet);
}

// Whether a source has all pictures of the GOP under way that were given, and the same: 1, 0: it
// has not come so far yet, -1: they differ, or it lacks some.
static int compare_gop(const struct splice *s, const struct store *store)
{
    int at = store_key(store, 0, s->gop_dts), n = 0;
    if (!s->any[PACKET_VIDEO] || s->gop_count == GOP_PICTURES)
        return -1;
    if (at < 0)
        return 0;
    if (store->packets[at]->dts != s->gop_dts)
        return -1;
    for (int i = at; i < store->count && n < s->gop_count; i++) {
        const struct packet *p = store->packets[i];
        if (!is_picture(p))
            continue;
        if (p->dts != s->gop_dts + n || checksum(p) != s->gop_sums[n])
            return -1;
        n++;
    }
    return n == s->gop_count;
}

// Forgets what lies before the GOP under way.
static void trim(struct splice *s)
{
    for (int i = 0; i < 2; i++) {
        struct store *store = &s->sources[i].store;
        int next;
        while ((next = store_key(store, 1, INT64_MIN)) >= 0 &&
               store->packets[next]->dts <= s->gop_dts)
            store_drop(store, next);
    }
}

// ---- Turning ----------------------------------------------------------------------------------

// Encoders give in bursts: a source that gives nothing for a while may well go on.
static bool may_come(const struct splice *s, enum splice_source source, int64_t now_ns)
{
    return now_ns - s->sources[source].gave_ns < SPLICE_BURST_NS;
}

// Follows a source from the picture after the last one given, or from its next key frame; if
// neither is there yet, or the other source will come to that picture, not now.
static void follow(struct splice *s, enum splice_source source, int64_t now_ns)
{
    struct store *store = &s->sources[source].store;
    int same = compare_gop(s, store), start = 0;
    int64_t next = s->any[PACKET_VIDEO] ? s->last_dts[PACKET_VIDEO] + 1 : INT64_MIN;
    if (same < 0)
        start = store_key(store, 0, next);
    if (same == 0 || start < 0)
        return;
    bool hole = same < 0 && s->any[PACKET_VIDEO] && store->packets[start]->dts != next;
    const struct store *other = &s->sources[1 - source].store;
    if (hole && other->count && may_come(s, 1 - source, now_ns) && compare_gop(s, other) == 0)
        return;
    s->stats.holes += hole;
    s->stats.turns += s->stats.source != source;
    s->stats.source = source;
    s->stats.follows = true;
    for (int i = start; i < store->count; i++)
        give(s, packet_ref(store->packets[i])); // kept, in case that this one is turned to again
    trim(s);
}

void splice_tick(struct splice *s, int64_t now_ns)
{
    struct source *other = &s->sources[1 - s->stats.source];
    int newest = other->store.count - 1;
    while (newest >= 0 && !is_picture(other->store.packets[newest]))
        newest--;
    if (newest < 0 || is_given(s, other->store.packets[newest]))
        return;
    if (!other->ahead_ns)
        other->ahead_ns = now_ns;
    if (!s->stats.follows || now_ns - other->ahead_ns > SPLICE_SILENT_NS)
        follow(s, 1 - s->stats.source, now_ns);
}

// ---- Sources ----------------------------------------------------------------------------------

void splice_add(struct splice *s, enum splice_source source, struct packet *packet, int64_t now_ns)
{
    struct source *from = &s->sources[source];
    bool followed = s->stats.follows && s->stats.source == source;
    from->gave_ns = now_ns;
    if (from->store.count || is_key(packet)) // a store begins with a key frame
        store_add(&from->store, packet_ref(packet));
    if (followed)
        give(s, packet_ref(packet));
    if (is_key(packet))
        trim(s);
    packet_unref(&packet);
    if (!s->stats.follows)
        follow(s, source, now_ns);
}

void splice_ended(struct splice *s, enum splice_source source, int64_t now_ns)
{
    struct source *from = &s->sources[source];
    store_drop(&from->store, from->store.count);
    from->gave_ns = INT64_MIN / 2;
    if (s->stats.source != source)
        return;
    s->stats.follows = false;
    follow(s, 1 - source, now_ns);
}

// ---- Life -------------------------------------------------------------------------------------

struct splice *splice_create(packet_sink_fn *on_packet, void *opaque)
{
    struct splice *s = base_alloc(sizeof *s);
    s->on_packet = on_packet;
    s->opaque = opaque;
    s->sources[0].gave_ns = s->sources[1].gave_ns = INT64_MIN / 2;
    return s;
}

void splice_destroy(struct splice **splice)
{
    struct splice *s = *splice;
    if (!s)
        return;
    *splice = NULL;
    for (int i = 0; i < 2; i++)
        store_drop(&s->sources[i].store, s->sources[i].store.count);
    free(s);
}

void splice_stats(const struct splice *s, struct splice_stats *ret)
{
    *ret = s->stats;
}
