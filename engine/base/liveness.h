// Whether what has work to do gets on with it: liveness is progress, not existence. Pure; the
// caller says what time it is and how much has been done. One mark for each that is watched.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct liveness {
    uint64_t done;    // how much had been done when it last moved
    int64_t since_ns; // since when it has had work and not moved
};

// `done`: any count that moves with the work. `has_work`: it could move now; who waits for others,
// or has nothing to do, is alive. True: there has been work for `patience_ns`, and none was done.
bool liveness_hung(struct liveness *mark, uint64_t done, bool has_work, int64_t now_ns,
                   int64_t patience_ns);
