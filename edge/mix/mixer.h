// Mixing one frame of the programme, and what to do about groups that did not arrive.
//
// Pictures: groups folded bottom to top (group.h). Sound: the sum of their stems, clamped.
// A missing group goes down its ladder:
//   hold      its last good frame, up to 500 ms
//   fallback  nothing (transparent)
//   slate     for the group that starts from the background, the channel's slate, picture and sound
// When a plan has just taken over and none of its groups has arrived yet, the whole programme is
// held instead, also up to 500 ms. Sound of a missing group falls from its last sample to silence
// within 10 ms, and comes back within 10 ms; a buffer is never repeated. The slate's sound runs
// with the channel's samples and starts again at its end, so that all edges give the same.
//
// Pure: what comes out depends on the calls so far and nothing else. Frames of which no group was
// missing have the bits that an offline render gives, unless they are the first after a gap in a
// group's sound.
// Thread: one, the mix thread.
#pragma once

#include "edge/mix/programme.h"
#include "engine/base/rate.h"
#include "engine/receive/intake.h"

#define MIXER_GROUPS_MAX   INTAKE_GROUPS_MAX
#define MIXER_HOLD_NS      INT64_C(500000000)
#define MIXER_FADE_SAMPLES 480

enum mixer_step { MIXER_FRESH, MIXER_HOLD, MIXER_FALLBACK, MIXER_SLATE };

struct mixer_group {
    uint32_t group;
    bool from_base; // starts from the background: everything beneath is hidden
};

// What is shown when the bottom is missing for long.
struct mixer_slate {
    const struct picture *picture; // OPAQUE, the mixer's size; NULL: black
    const int32_t *samples;        // stereo; NULL: silence
    int64_t sample_count;
};

struct mixer_result {
    int late;       // groups that were missing
    bool concealed; // late > 0
    enum mixer_step worst;
    uint32_t worst_group; // its number
    bool programme_held;
};

struct mixer;
struct mixer *mixer_create(int width, int height, struct rate rate);
void mixer_destroy(struct mixer **mixer);
// Takes a new plan's groups, bottom to top. Groups start anew: what the old plan's showed is not
// held for them.
void mixer_set_groups(struct mixer *mixer, const struct mixer_group *groups, int count);
// Mixes frame `n` from `inputs`, one per group. `slate` may be NULL: black and silence. -ENOMEM.
int mixer_frame(struct mixer *mixer, int64_t n, const struct intake_frame *inputs,
                const struct mixer_slate *slate, struct programme_frame **ret,
                struct mixer_result *ret_result);
