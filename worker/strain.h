// Whether a worker keeps up, from how much of what its consumers may have they have; and what it
// gives up while it does not (engine/base/overload.h). Behind: one that waits for frames has less
// than half of them, and that does not get more: at a start everybody has nothing, for a moment.
// Pure. Thread: one, ten times a second.
#pragma once

#include "engine/base/overload.h"

#define STRAIN_SHARES 10

struct strain {
    struct overload overload;
    double shares[STRAIN_SHARES]; // of the last second
    int next, count;
};

void strain_init(struct strain *strain);
// Whether anything that this worker makes is optional.
void strain_optional(struct strain *strain, bool optional);
// `share`: of the worst-served consumer, 0..1; 1: nobody waits for this worker. Returns the level.
enum overload_level strain_look(struct strain *strain, double share, int64_t now_ns);
