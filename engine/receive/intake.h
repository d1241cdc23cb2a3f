// Group frames of one plan on their way in: a window per group, and a thread that decodes ahead of
// the cursor, keeps the providers told what is wanted, and turns to another provider of a group
// when one fails (takeover.h), from the first frame that is missing on. Where that is wished it
// keeps the one that would be asked next ready, and compares what it makes (standby.h). Edges mix
// from one; a worker whose group has an adjust track takes what lies beneath from one.
//
// The decode thread makes the next INTAKE_AHEAD frames of all groups, lowest first; it wakes on
// every message, on every step of the cursor, and at least each 20 ms for the wishes. Messages come
// from the links' threads, frames are taken by the mix thread; none of them waits for the decoder
// except in intake_wait, and there until a deadline only. Thread: all functions any, unless said
// otherwise.
#pragma once

#include "engine/base/rate.h"
#include "engine/receive/takeover.h"
#include "engine/receive/window.h"

#define INTAKE_AHEAD      8
#define INTAKE_GROUPS_MAX 64

struct intake_group {
    uint32_t group;
    int width, height;
    int providers; // 1..TAKEOVER_PROVIDERS_MAX; 0 is asked first
    // What intake_put is given with the messages of each; read where samples are compared.
    const void *sources[TAKEOVER_PROVIDERS_MAX];
};

// A frame that two providers have made: [0] is the one that is mixed.
struct intake_sample {
    int64_t frame;
    int providers[2];
    const struct group_frame *pictures[2]; // NULL: could not be decoded
    bool picture_differs, sound_differs;
};

struct intake_config {
    uint64_t channel;
    uint32_t plan_epoch;
    uint8_t revision[8];
    struct rate rate;
    int lead_frames;
    int group_count;
    struct intake_group groups[INTAKE_GROUPS_MAX]; // bottom to top
    int64_t cursor;
    int64_t end;      // as intake_set_end; INT64_MAX: everything is asked for
    size_t bytes_max; // bodies of all groups together
    int latency_ms;   // of the links, one way
    bool urgent;      // a clock waits for the frames: decodes before all else
    // All called on the decode thread; must not block.
    // The newest wish of group `index`, about as often as it changes, for the provider to be asked.
    void (*want)(void *opaque, int index, int provider, const struct frame_want *want);
    enum link_life (*life)(void *opaque, int index, int provider);
    // NULL, or: from frame `n` on group `index` comes from another provider.
    void (*turned)(void *opaque, int index, int from, int to, enum takeover_reason why, int64_t n);
    // NULL, or: the first frame since then has come, with `slack` frames still buffered.
    void (*answered)(void *opaque, int index, int provider, int64_t after_ns, int64_t slack);
    // NULL: providers are asked when they are needed only; or told of each comparison.
    void (*compared)(void *opaque, int index, const struct intake_sample *sample);
    bool warm; // with `compared`: they are told where they would have to begin
    bool hot;  // with `compared`: the next one is asked for everything too
    // NULL, or called on the decode thread after each decoded frame; must not block.
    void (*decoded)(void *opaque);
    void *opaque;
};

struct intake_stats {
    struct window_counts counts; // of all groups
    int64_t slack_frames;        // smallest of all groups
    uint64_t decoded, copies;    // copies: second ones, of hot providers
    uint64_t undecoded;          // were here when they were taken, but in coded form only
    double median_ms, p99_ms;    // decoding, per frame of a group
};

// What arrived of one group; both NULL: nothing.
struct intake_frame {
    const struct group_frame *frame;
    const int32_t *stem; // rate_sample_count(n) stereo samples
};

struct intake;
int intake_create(const struct intake_config *config, struct intake **ret);
void intake_destroy(struct intake **intake); // tells the providers that nothing more is wanted

// Whether it takes frames of this group under this plan.
bool intake_takes(const struct intake *intake, uint64_t channel, uint32_t plan_epoch,
                  uint32_t group);
// A message of any group, from one of its sources; takes the body. As window_put, -ENOENT for
// groups that it does not take, -ENOKEY for a spare copy that would need a key first.
int intake_put(struct intake *intake, const void *source, const struct frame_header *header,
               struct frame_body *body);
// Whether all groups of frame `n` are decoded.
bool intake_ready(struct intake *intake, int64_t n);
// Waits until they are, until `until_ns` on the monotonic clock, or until intake_wake.
void intake_wait(struct intake *intake, int64_t n, int64_t until_ns);
void intake_wake(struct intake *intake);
// The provider that group `index` is asked of now, and how often that has changed.
int intake_provider(struct intake *intake, int index, uint32_t *ret_takeovers);
// What there is of frame `n`: references and copies that the taker releases with intake_release.
// `frames` has one entry per group.
void intake_take(struct intake *intake, int64_t n, struct intake_frame *frames);
void intake_release(struct intake_frame *frames, int count);
void intake_advance(struct intake *intake, int64_t cursor);
int64_t intake_cursor(struct intake *intake);
// Frames from `end` on are not asked for.
void intake_set_end(struct intake *intake, int64_t end);
// The channel's takes, as far as they are known: what was made of others is asked for again.
void intake_live(struct intake *intake, const struct take_log *log);
// Whether all that lies between the cursor and `end` has arrived.
bool intake_complete(struct intake *intake, int64_t end);
// What is asked of standbys: frames to be compared, and, where they are hot, copies. At first both
// are; without copies a hot one follows as a warm one does.
void intake_ask_standbys(struct intake *intake, bool samples, bool copies);
void intake_stats(struct intake *intake, struct intake_stats *ret);
