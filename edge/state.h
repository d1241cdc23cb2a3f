// What this edge has been told to do: applies desired states to channels, remembers the newest on
// disk, and goes on with it after a restart when no coordinator answers.
//
// Thread: the control thread.
#pragma once

#include "edge/channel.h"
#include "edge/held.h"
#include "edge/publish.h"
#include "edge/recent.h"
#include "engine/link/state_file.h"

#define STATE_CHANNELS_MAX 64
#define STATE_METERED_NS   INT64_C(2000000000) // four renewals

struct state_channel {
    uint64_t id;
    struct channel *channel;
    bool committed;            // has been told so of a plan
    struct take_log *live;     // its takes
    uint64_t stored;           // up to which the leader has said that they are written
    struct recent encode_lost; // pictures
    struct recent skipped;     // frames
    int64_t metered_ns;        // until then reports bring its meters
};

// A plan that this edge could not take.
struct state_refusal {
    uint64_t channel;
    uint32_t epoch;
    char reason[256];
};

struct state {
    // -- constant after create
    const char *node;
    struct state_file *file;
    struct channel_config config; // of every channel; `channel` is filled in
    // -- the control thread
    uint64_t epoch, version;
    struct state_channel channels[STATE_CHANNELS_MAX];
    int channel_count;
    struct held held;
    struct publish publish;
    struct state_refusal refusals[STATE_CHANNELS_MAX];
    int refusal_count;
};

// Borrows `node` and `file`.
struct state *state_create(const char *node, struct state_file *file,
                           const struct channel_config *config);
void state_destroy(struct state **state); // stops all channels
// A packed DesiredState, or a renewal. Older ones are ignored (-ESTALE); `remember`: written to
// disk.
int state_apply(struct state *state, const uint8_t *bytes, size_t size, bool remember);
// Applies what was remembered: the newest that can be read. -ENOENT: nothing.
int state_resume(struct state *state);
