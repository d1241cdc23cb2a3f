// The intake of one plan: a window per group, and a thread that decodes ahead of the cursor and
// keeps the providers told what is wanted.
//
// The decode thread makes the next INTAKE_AHEAD frames of all groups, lowest first; it wakes on
// every message, on every step of the cursor, and at least each 20 ms for the wishes. Messages come
// from the links' threads, frames are taken by the mix thread; none of them waits for the decoder
// except in intake_wait, and there until a deadline only. Thread: all functions any, unless said
// otherwise.
#pragma once

#include "edge/mix/mixer.h"
#include "edge/plan.h"
#include "edge/receive/window.h"

#define INTAKE_AHEAD 8

struct intake_config {
    const struct plan *plan; // a reference is taken
    int64_t cursor;
    size_t bytes_max; // coded payload of all groups together
    // The newest wish of group `index` of the plan. Called on the decode thread, about as often as
    // it changes; must not block.
    void (*want)(void *opaque, int index, const struct frame_want *want);
    void *opaque;
};

struct intake_stats {
    struct window_counts counts; // of all groups
    int64_t slack_frames;        // smallest of all groups
    uint64_t decoded;
    double median_ms, p99_ms; // decoding, per frame of a group
};

struct intake;
int intake_create(const struct intake_config *config, struct intake **ret);
void intake_destroy(struct intake **intake); // tells the providers that nothing more is wanted
const struct plan *intake_plan(const struct intake *intake);

// A message of any group; takes the payload. As window_put, -ENOENT for groups not in the plan.
int intake_put(struct intake *intake, const struct frame_header *header, uint8_t *payload,
               size_t size);
// Whether all groups of frame `n` are decoded.
bool intake_ready(struct intake *intake, int64_t n);
// Waits until they are, until `until_ns` on the monotonic clock, or until intake_wake.
void intake_wait(struct intake *intake, int64_t n, int64_t until_ns);
void intake_wake(struct intake *intake);
// What there is of frame `n`: references and copies that the taker releases with intake_release.
// `inputs` has one entry per group.
void intake_take(struct intake *intake, int64_t n, struct mixer_input *inputs);
void intake_release(struct mixer_input *inputs, int count);
void intake_advance(struct intake *intake, int64_t cursor);
void intake_stats(struct intake *intake, struct intake_stats *ret);
