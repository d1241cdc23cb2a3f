#include "edge/gops.h"

#include "engine/base/thread.h"
#include "engine/frame/checksum.h"

#define SAMPLES         48000
#define BLOCK_SAMPLES   INT64_C(131072) // 128 coded frames of 1024
#define PREROLL_SAMPLES INT64_C(32768)  // more than an encoder is given before its block

void gops_init(struct gops *g, struct rate rate)
{
    *g = (struct gops){.rate = rate};
    mutex_init_urgent(&g->lock);
}

void gops_finish(struct gops *g)
{
    pthread_mutex_destroy(&g->lock);
}

static int64_t frame_of(const struct gops *g, int64_t sample)
{
    int64_t parts = (int64_t)SAMPLES * g->rate.den, n = sample * g->rate.num;
    return n / parts - (n % parts < 0);
}

// `next`: the first frame or sample that does not belong to it.
static void part_end(struct gops *g, enum packet_stream stream, int64_t next)
{
    const struct gop_part *part = &g->parts[stream];
    if (!part->begun)
        return;
    struct gop_sum sum = {.sound = stream == PACKET_AUDIO, .first = part->first, .sum = part->sum};
    sum.from = sum.sound ? frame_of(g, part->first - PREROLL_SAMPLES) : part->first;
    sum.to = sum.sound ? frame_of(g, next) + 1 : next;
    sum.whole = part->count == (sum.sound ? BLOCK_SAMPLES / 1024 : next - part->first) &&
                (!sum.sound || part->first - g->sound_from >= PREROLL_SAMPLES);
    pthread_mutex_lock(&g->lock);
    g->kept[stream][g->count[stream]++ % GOPS_KEPT] = sum;
    pthread_mutex_unlock(&g->lock);
}

void gops_add(struct gops *g, const struct packet *packet)
{
    struct gop_part *part = &g->parts[packet->stream];
    bool sound = packet->stream == PACKET_AUDIO;
    int64_t first = sound ? packet->dts : packet->pts, here = first;
    if (sound && !g->has_sound)
        g->sound_from = first;
    g->has_sound = g->has_sound || sound;
    if (sound)
        first -= (first % BLOCK_SAMPLES + BLOCK_SAMPLES) % BLOCK_SAMPLES;
    if (sound ? first != part->first || !part->count : packet->key) {
        part_end(g, packet->stream, first);
        *part = (struct gop_part){.begun = first == here, .first = first};
        part->sum = checksum_begin();
    }
    part->count++;
    int64_t times[3] = {packet->pts, packet->dts, packet->duration};
    part->sum = checksum_add(part->sum, times, sizeof times);
    part->sum = checksum_add(part->sum, packet->data, packet->size);
}

int gops_read(struct gops *g, struct gop_sum *ret)
{
    int count = 0;
    pthread_mutex_lock(&g->lock);
    for (int stream = 0; stream < 2; stream++)
        for (unsigned i = g->count[stream] > GOPS_KEPT ? g->count[stream] - GOPS_KEPT : 0;
             i < g->count[stream]; i++)
            ret[count++] = g->kept[stream][i % GOPS_KEPT];
    pthread_mutex_unlock(&g->lock);
    return count;
}

void unplanned_add(struct unplanned *u, int64_t from, int64_t to)
{
    int last = (u->count + UNPLANNED_RUNS - 1) % UNPLANNED_RUNS;
    if (u->count && from >= u->runs[last].from && from <= u->runs[last].to) {
        u->runs[last].to = to > u->runs[last].to ? to : u->runs[last].to;
        return;
    }
    int next = u->count % UNPLANNED_RUNS;
    u->runs[next].from = from;
    u->runs[next].to = to;
    u->count++;
}

bool unplanned_has(const struct unplanned *u, int64_t from, int64_t to)
{
    for (int i = 0; i < u->count && i < UNPLANNED_RUNS; i++)
        if (u->runs[i].from < to && from < u->runs[i].to)
            return true;
    return false;
}
