// What lies beneath a group with an adjust track: the groups below it, down to the nearest opaque
// one, taken in from their providers and folded.
//
// Thread: create and destroy: main; beneath_picture: the stage's.
#pragma once

#include "engine/receive/links.h"
#include "proto/control.pb-c.h"

struct beneath_config {
    const Vistter__Control__V1__ChannelPlan *plan; // read during create
    size_t group;                                  // index in plan->groups
    const char *node;                              // this worker's name, as consumer
    struct links *links;
    void (*arrived)(void *opaque); // more has arrived; any thread; must not block
    void *opaque;
};

struct beneath;
// -EINVAL with a diagnostic when the plan gives this node no link to a group it needs.
int beneath_create(const struct beneath_config *config, struct beneath **ret,
                   struct diagnostic *reterr);
void beneath_destroy(struct beneath **beneath);
// Address of one that keeps the stage from being ready (links_await); NULL: nobody does. Valid as
// long as `beneath`.
const char *beneath_waits_for(const struct beneath *beneath);
// What is taken in from now on shows these takes; a reference is taken. Thread: the stage's.
void beneath_live(struct beneath *beneath, const struct take_log *log);
// Gives the picture under frame `n` and begins to ask for what follows, below `end`. -EAGAIN: not
// all of it is here yet, `arrived` tells when to try again. A new reference, OPAQUE. -ENOMEM.
int beneath_picture(struct beneath *beneath, int64_t n, int64_t end, struct picture **ret);
