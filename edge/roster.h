// The plans of a channel on this edge, and what each of them is for: which is on air at a frame,
// which follows, which goes, and what becomes of them when a desired state comes. Pure: channel.c
// has the threads, the locks and the links around it.
#pragma once

#include "edge/slot.h"

// The one on air at frame n: of those whose frames are taken in, and which begin here at n or
// before, the one with the largest at_frame, of several that of the highest epoch; NULL: none.
struct slot *roster_in_force(struct slot *const *slots, int count, int64_t n);
// From which frame a plan that has become committed is on air here; `sends`: the channel is on air.
// That is its at_frame, unless it has been learnt of so late that its frames could not be here
// (three quarters of the lead before): it follows whole leads after its frame then, at the first
// that leaves a lead, for a provider that does not answer may have to be found out. What is on air
// goes on until there, and edges that learn of it at about the same time still change at the same
// frame.
int64_t roster_from(const struct plan *plan, int64_t cursor, bool sends);
// The armed plan that takes over from `slot`, or the first of all (NULL); NULL: none.
struct slot *roster_after(struct slot *const *slots, int count, const struct slot *slot);
// While one plan follows another, the workers have both to do, and no more processors for it. The
// one that leaves is asked for what lies below the switch only; the one that follows gets credit
// once that is all here, or at the latest half its lead before the switch.
void roster_share_credit(struct slot *const *slots, int count, int64_t cursor);
// Whether it has had its time, `on_air` (NULL: none) being in force.
bool roster_retires(const struct slot *slot, const struct slot *on_air);
// PREPARING is the caller's to find out. `on_air`: epoch of the plan of the newest frame.
enum channel_plan_state roster_state(const struct slot *slot, int64_t cursor, uint32_t on_air);

// What roster_apply has done to the slots.
struct roster_steps {
    void *opaque;
    void (*retire)(void *opaque); // takes out those that roster_retires names
    // Not more than CHANNEL_PLANS_MAX.
    int (*add)(void *opaque, const struct plan *plan, struct diagnostic *reterr);
    // The same epoch again: it may have been committed, or have other destinations.
    void (*replace)(void *opaque, struct slot *slot, const struct plan *plan);
    // A slot whose plan is committed and that has no intake yet gets one.
    int (*arm)(void *opaque, struct slot *slot, struct diagnostic *reterr);
};
// These are the channel's plans from now on; `slots` and `count` change with the steps. Goes on
// after an error, the first of which is returned.
int roster_apply(struct slot *const *slots, const int *count, const struct plan *const *plans,
                 int plan_count, const struct roster_steps *steps, struct diagnostic *reterr);
