// The mixing desk of a channel: a mixer for each output of the plan on air.
// Thread: one, the mix thread.
#pragma once

#include "edge/plan.h"

struct desk_result {
    struct mixer_result output[PLAN_OUTPUTS_MAX];
    int late;       // sum over the outputs
    bool concealed; // in any of them
};

struct desk;
struct desk *desk_create(void);
void desk_destroy(struct desk **desk);
// Makes the mixers fit a plan; the same plan again changes nothing. An output that keeps its number
// and size keeps what it may have to hold. -ENOMEM.
int desk_follow(struct desk *desk, const struct plan *plan);
uint32_t desk_epoch(const struct desk *desk); // of the plan followed, 0: none
// Mixes frame `n` for each output of the plan followed: `inputs` has one entry per group of the
// plan, `slates` one per output. Gives one reference per output in `frames`. -ENOMEM: none.
int desk_mix(struct desk *desk, int64_t n, const struct intake_frame *inputs,
             const struct mixer_slate *slates, struct programme_frame **frames,
             struct desk_result *ret_result);
