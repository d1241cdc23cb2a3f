// Ways to cut and place, and the choice among them. Private to the planner. Pure, as planner.h
// says.
#pragma once

#include "coordinator/planner/planner.h"

struct candidate_group {
    uint32_t from, to;
    int worker; // index into the request's workers
};

struct candidate {
    int count;
    int64_t busiest_us;
    struct candidate_group groups[PLANNER_GROUPS_MAX];
};

// The request has been checked: at least one worker, cuts in order and inside. 0 or -ENOMEM.
int candidate_choose(const struct planner_request *request, struct candidate *ret);
