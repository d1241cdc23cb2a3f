// Sums of what a rendition has coded, to be compared with the other edge's: one of each GOP, and
// one of each block of sound (encode/audio_encoder.h), which depend on nothing before them. The
// newest few of each are kept, for reports.
//
// Thread: gops_add one at a time (the rendition's lanes), gops_read any.
#pragma once

#include "edge/encode/packet.h"
#include "engine/base/rate.h"

#include <pthread.h>

#define GOPS_KEPT 4

struct gop_sum {
    bool sound;
    int64_t first; // frame, or sample
    uint64_t sum;
    int64_t from, to; // made of these frames, half open
    bool whole;       // no picture was left out
};

struct gops {
    struct rate rate;
    // -- gops_add: what is under way
    struct gop_part {
        bool begun; // from its first packet on
        int64_t first, count;
        uint64_t sum;
    } parts[2]; // by stream
    bool has_sound;
    int64_t sound_from; // its first: an encoder that begins shortly before a block is no match
    // -- guarded by lock
    pthread_mutex_t lock;
    struct gop_sum kept[2][GOPS_KEPT]; // rings
    unsigned count[2];                 // ever
};

void gops_init(struct gops *gops, struct rate rate);
void gops_finish(struct gops *gops);
void gops_add(struct gops *gops, const struct packet *packet);
// Fills at most 2 * GOPS_KEPT, of each stream the oldest first.
int gops_read(struct gops *gops, struct gop_sum *ret);

// Frames that went out otherwise than planned, in runs; the newest. Not locked.
#define UNPLANNED_RUNS 64
struct unplanned {
    struct {
        int64_t from, to; // half open
    } runs[UNPLANNED_RUNS];
    int count; // ever
};
void unplanned_add(struct unplanned *unplanned, int64_t from, int64_t to);
bool unplanned_has(const struct unplanned *unplanned, int64_t from, int64_t to);
