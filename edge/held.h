// Committed plans of this edge, whole and sealed for the coordinators, to be given back when their
// database has lost them. They come with the desired state, and are remembered with it.
//
// Thread: the control thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HELD_MAX       128
#define HELD_BYTES_MAX (512 << 10) // of those that are asked for, in one report

struct Vistter__Control__V1__DesiredState;
struct Vistter__Control__V1__HeldPlan;

struct held {
    int count;
    struct held_plan {
        uint64_t channel;
        uint32_t plan_epoch;
        bool asked;
        uint8_t *sealed;
        size_t size;
    } plans[HELD_MAX];
};
void held_finish(struct held *held);
// What a desired state holds instead of what was held before; nothing is asked for any more.
void held_take(struct held *held, const struct Vistter__Control__V1__DesiredState *state);
// What a leader asks for.
void held_ask(struct held *held, const struct Vistter__Control__V1__DesiredState *state);
// For a report, as long as nothing changes: `messages` and `list` have HELD_MAX. Gives how many.
size_t held_report(const struct held *held, struct Vistter__Control__V1__HeldPlan *messages,
                   struct Vistter__Control__V1__HeldPlan **list);
