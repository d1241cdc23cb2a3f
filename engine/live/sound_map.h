// The published map of a live source's sound: which sample is heard when.
//
// Breakpoints (sample index in the gen, farm time), a second of samples apart; between two of them
// time is linear. A breakpoint is published at least a second of samples before the first one that
// it concerns has arrived, so that all readers of the log resample alike; the slope changes by at
// most 50 ppm from one second to the next.
// Thread: pure, apart from the structs.
#pragma once

#include "engine/live/stamp.h"

#include <stddef.h>

struct sound_point {
    int64_t index, farm_ns;
};

// ---- Making it, at the gateway ---------------------------------------------------------------

struct sound_map_maker {
    int rate;
    struct sound_point last; // published
    struct sound_point before;
    struct slope_loop loop;
    int64_t error_sum_ns, error_count; // since the last breakpoint
};
// Begins a gen: sample 0 is heard at `farm_ns`. The first two breakpoints are published at once.
void sound_map_begin(struct sound_map_maker *maker, int rate, int64_t farm_ns,
                     struct sound_point ret[2]);
// Sample `index` has arrived, and by its time stamp belongs at `farm_ns`. True: `*ret` is the next
// breakpoint, to be published before the samples. Called again until it is false.
bool sound_map_arrive(struct sound_map_maker *maker, int64_t index, int64_t farm_ns,
                      struct sound_point *ret);
// Before sample `index` arrives, after a hole: true where that is long; `*ret` is a breakpoint on
// the line of the last two, to be published, and the map goes on from there.
bool sound_map_skip(struct sound_map_maker *maker, int64_t index, struct sound_point *ret);
// Farm time of a sample that has arrived.
int64_t sound_map_farm_ns(const struct sound_map_maker *maker, int64_t index);

// ---- Reading it ------------------------------------------------------------------------------

// Where in the source a farm time lies, in 1/2^32 samples. `time`: farm time in 1/48000 ns, so that
// times of the farm's samples are exact: ns * 48000 + sample * 1e9. `from` and `to` are neighbours.
__int128 sound_position(struct sound_point from, struct sound_point to, __int128 time);
