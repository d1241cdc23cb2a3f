// What this edge has been told to do: applies desired states to channels, remembers the newest on
// disk, and goes on with it after a restart when no coordinator answers.
//
// The file holds stream keys and link keys; only its owner can read it.
// Thread: the control thread.
#pragma once

#include "edge/channel.h"

#define STATE_CHANNELS_MAX 64

struct state_channel {
    uint64_t id;
    struct channel *channel;
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
    struct channel_config config; // of every channel; `channel` is filled in
    char path[4096];
    // -- the control thread
    uint64_t epoch, version;
    struct state_channel channels[STATE_CHANNELS_MAX];
    int channel_count;
    struct state_refusal refusals[STATE_CHANNELS_MAX];
    int refusal_count;
};

// `folder` is made when it is not there. The errors name it.
int state_create(const char *node, const char *folder, const struct channel_config *config,
                 struct state **ret, struct diagnostic *reterr);
void state_destroy(struct state **state); // stops all channels
// A packed DesiredState. Older ones are ignored (-ESTALE); `remember`: written to disk.
int state_apply(struct state *state, const uint8_t *bytes, size_t size, bool remember);
// Applies what was remembered. -ENOENT: nothing.
int state_resume(struct state *state);
