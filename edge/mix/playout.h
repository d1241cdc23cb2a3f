// When each frame is due: the edge's frame clock. Pure; the caller says what time it is.
//
// Frame n goes out at channel epoch + n / rate + playout delay. The channel's time is
// CLOCK_REALTIME as it was when the channel started, carried on by CLOCK_MONOTONIC; afterwards the
// mapping is only slewed, by at most 1000 ppm, towards the system's clock, and not at all while the
// two are more than 100 ms apart: a stepped wall clock moves nothing on air. Thread: one, the mix
// thread.
#pragma once

#include "engine/base/rate.h"

#include <stdbool.h>
#include <stdint.h>

// Twice what a quartz, and what corrects it, may be off: two edges that drift apart are brought
// back together. A frame is 40 us longer or shorter at most, at 25 a second.
#define PLAYOUT_SLEW_PPM 1000
#define PLAYOUT_STEP_NS  INT64_C(100000000)  // beyond this the system's clock is not followed
#define PLAYOUT_SKIP_NS  INT64_C(1000000000) // so late that frames are left out to catch up

struct playout {
    struct rate rate;
    int64_t epoch_ns, delay_ns;
    int64_t offset_ns;  // channel time - monotonic time
    int64_t updated_ns; // monotonic
    int64_t next;       // frame that goes out next
    uint64_t skipped;   // frames left out since the start
};

enum playout_action {
    PLAYOUT_WAIT, // until its groups are there, or until `*ret_until_ns`
    PLAYOUT_MIX,  // mix `next` now, and send it at `*ret_until_ns`
};

// `at_frame`: first frame wanted; the start is put `margin_ns` into the future when that has
// passed.
void playout_start(struct playout *playout, struct rate rate, int64_t epoch_ns, int64_t delay_ns,
                   int64_t at_frame, int64_t margin_ns, int64_t monotonic_ns, int64_t realtime_ns);
// Slews. Returns how far the system's clock is ahead of the channel's.
int64_t playout_slew(struct playout *playout, int64_t monotonic_ns, int64_t realtime_ns);
// Monotonic time at which frame n goes out.
int64_t playout_due_ns(const struct playout *playout, int64_t n);
// What to do about frame `next`, whose groups are `ready` or not. Leaves frames out when `next` is
// more than PLAYOUT_SKIP_NS late.
enum playout_action playout_step(struct playout *playout, int64_t monotonic_ns, bool ready,
                                 int64_t *ret_until_ns);
void playout_sent(struct playout *playout); // `next` has gone out
