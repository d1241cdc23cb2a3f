// The meters of a channel: looks at every frame of every output that this edge makes, on a thread
// of its own.
//
// The mix thread pushes and goes on: when the meters do not keep up with it, frames are left out
// of what is measured, and counted. Integrated loudness is since the output came into being at this
// edge: a plan that has it still does not begin it anew.
#pragma once

#include "edge/meter/loudness.h"
#include "edge/meter/watch.h"
#include "edge/plan.h"

// Values that are kept for a report: one that comes late, or is lost, loses none.
#define METERS_KEPT 4

struct meters_output {
    uint32_t output; // number
    char name[64];   // "": the programme
    uint64_t missed; // frames that were not looked at
    unsigned watch;  // WATCH_...
    int count;
    struct loudness_values values[METERS_KEPT]; // oldest first
};

struct meters;
int meters_create(const struct watch_settings *settings, struct meters **ret);
void meters_destroy(struct meters **meters); // accepts NULL inside
// A frame of each output of the plan, in its order. Thread: mix; never blocks.
void meters_push(struct meters *meters, const struct plan *plan,
                 struct programme_frame *const *frames);
// What is known of each output of the newest plan; returns how many. Thread: any.
int meters_read(struct meters *meters, struct meters_output ret[PLAN_OUTPUTS_MAX]);
