// What evaluation of pictures and of sound share.
#pragma once

#include "engine/timeline/timeline.h"

// Start of output frame n in seconds.
struct rational output_seconds(struct rate output_rate, int64_t n);
// Seconds -> position in frames of the timeline's own rate, wrapped when `loop`; false: past the
// end.
bool timeline_position(const struct timeline *timeline, struct rational seconds, bool loop,
                       struct rational *ret);

// The clip at a position of a track, and during a dissolve the one before it.
struct moment {
    const struct clip *now, *from; // NULL: none
    bool manual; // the share of the dissolve that is over is not a matter of time:
    double share;
};
struct moment track_moment(const struct track *track, struct rational position);

// Seconds -> position in frames of the timeline's own rate, on and on: live tracks do not loop.
struct rational takes_position(const struct timeline *timeline, struct rational seconds);
// The same of live track `index` at such a position; `live` NULL: nothing. `*ret_cut` (may be
// NULL): the position of the newest take.
struct moment takes_moment(const struct takes *live, size_t index, struct rational position,
                           struct rational *ret_cut);

// Frames since the clip's start; `position` is not before it.
struct rational clip_local(const struct clip *clip, struct rational position);
struct rational clip_source_time(const struct timeline *timeline, const struct clip *clip,
                                 struct rational local);
// 0..1: share of a ramp of `length` frames at `local`, 1 when there is no ramp.
double ramp_share(struct rational local, int64_t length);
// Fade-in times fade-out, 0..1.
double fade_share(struct rational local, int64_t duration, int64_t fade_in, int64_t fade_out);
