// When a picture or a sound of a live source belongs on the farm's time, decided once, at the door.
//
// A source's time stamps run by its own clock; they arrive with jitter, wrap at 33 bits, and jump.
// A stamper maps them: farm time = stamp + offset, where the offset follows the earliest arrivals
// (what comes later was held up on the way), and moves so slowly that nobody sees or hears it: by
// at most STAMP_SLOPE_MAX, which changes by at most 50 ppm each second.
// Thread: pure, apart from the struct; no clock is read, arrival is told.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define STAMP_SLOPE_STEP 50000   // 50 ppm, in 1e-9, each second
#define STAMP_SLOPE_MAX  1000000 // 1000 ppm: no clock of a camera is worse, and few hear it
// For so long arrivals are only looked at: the first ones come in bursts, from all that was
// buffered when the connection was made. Callers keep what arrives until then.
#define STAMP_ACQUIRE_NS INT64_C(500000000)
// A stamp that is farther than this from the one before is a jump, not time passing.
#define STAMP_JUMP_NS INT64_C(3000000000)
// Arrivals off by more than this, two seconds in a row, belong to another mapping: the way became
// longer or shorter, or the sender paused.
#define STAMP_OFF_NS INT64_C(250000000)

// ---- The loop that both the stamper and the sound's map steer by -----------------------------
//
// Once a second: slope = a * error + b * (sum of errors), within the limits above. For an error in
// ns and seconds of 1e9 ns a slope in 1e-9 is the same as ns a second. With a = 1/16, b = 1/512 it
// is damped by 0.7; a source 300 ppm off is followed to 0 with 3 ms in between.
struct slope_loop {
    int64_t sum_ns; // of errors, limited so that it can be undone
    int64_t slope;  // in 1e-9
};
int64_t slope_loop_step(struct slope_loop *loop, int64_t error_ns);

// ---- Stamps ----------------------------------------------------------------------------------

struct stamper {
    bool started, acquired;
    int64_t last_ticks;          // the newest that was unwrapped, raw, of the leading stream
    int64_t last_ns;             // it on the source's own scale: ns since its first one, no wraps
    int64_t base_ns, base_at_ns; // farm time = base + (source time - base_at) * (1 + slope)
    struct slope_loop loop;
    int64_t begin_ns; // source time of the window of a second under way
    int64_t least_ns; // smallest arrival - farm time in it
    int64_t first_arrival_ns;
    int bad_windows;
};

enum stamp_result { STAMP_OK, STAMP_JUMPED };
// Stamps of the stream that leads (pictures, where there are any), in order of decoding: `ticks` in
// 1/90000 s as they came, any multiple of 2^33 off. STAMP_JUMPED: this one is on another scale;
// start a new gen with a stamper of zeros.
enum stamp_result stamper_arrive(struct stamper *s, int64_t ticks, int64_t arrival_ns);
// True once farm times can be told.
static inline bool stamper_acquired(const struct stamper *s)
{
    return s->acquired;
}
// Farm time of any stamp within a minute of the newest one of the leading stream. Grows with
// `ticks` except where the slope changes, by less than 1 us: callers keep order themselves.
int64_t stamper_farm_ns(const struct stamper *s, int64_t ticks);
// Time from stamp a to b, the short way round the wrap at 2^33.
int64_t ticks_between_ns(int64_t a, int64_t b);
