// Whether an output is silent, black, or stands still, and for how long: what an operator would
// want to be told. It only looks; nothing that is on air depends on it.
//
//   silent  both channels stay below -60 dBFS
//   black   the mean of luma, and all of it but 2 %, are at most 32 (black is 16, white 235)
//   frozen  no tile of 64x32 differs from the first picture by more than 2 in the mean, in luma and
//           chroma: noise is no change, a clock's digit in a corner is, and so is a slow zoom,
//           which leaves the first picture behind. A black picture is black, and not frozen as
//           well.
//
// Pure: what it says depends on the frames so far. Thread: one.
#pragma once

#include "edge/mix/programme.h"
#include "engine/base/rate.h"

struct watch_settings {
    int silent_seconds, black_seconds, frozen_seconds; // 0: not looked at
};

#define WATCH_SILENT 1U
#define WATCH_BLACK  2U
#define WATCH_FROZEN 4U

struct watch {
    struct watch_settings settings;
    struct rate rate;
    int64_t silent_from, black_from, still_from; // the first such frame; INT64_MAX: it is not so
    struct picture *still;                       // the picture at still_from; a reference
    int moved_at;                                // tile in which the newest change was found
};

void watch_init(struct watch *watch, struct rate rate, const struct watch_settings *settings);
void watch_finish(struct watch *watch);
// Takes the next frame; those that are left out count as if they were like it. Gives what has been
// so for as long as the settings say. Cost at 1080p: meter_test --bench.
unsigned watch_add(struct watch *watch, const struct programme_frame *frame);
