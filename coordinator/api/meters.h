// The meters of channels as messages of the WebSocket. Private to coordinator/api.
#pragma once

#include "coordinator/coordinator.h"

// A channel that somebody watches, and what has been told of it. Thread: one.
struct meters_feed {
    uint64_t channel;
    char name[STORE_NAME_MAX + 1];
    struct {
        uint32_t output; // 0: none
        int64_t frame;   // the newest
    } told[PLANNER_OUTPUTS_MAX];
};

// The next message out of what is known and has not been told yet: of each output its oldest such
// tenth of a second. NULL when there is none; else to be freed.
char *meters_text(struct meters_feed *feed, const struct farm_meters *meters);
