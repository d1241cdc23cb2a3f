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

// What of a channel is cut and placed together: the groups of one size.
struct candidate_task {
    int64_t frame_us;
    uint32_t width, height;
    int track_count;
    int64_t below_us[PLANNER_TRACKS_MAX + 1]; // cost of the tracks below, at this size
    int below_adjust[PLANNER_TRACKS_MAX + 1]; // adjust tracks among them
    const struct planner_node *workers;       // all of one golden class; busy with other sizes too
    int worker_count;
    uint64_t edge_hosts[2 * PLANNER_OUTPUTS_MAX]; // of the edges that show this size
    int edge_count;
    const struct plan_group *previous; // of this size, bottom to top
    int previous_count;
    const uint32_t *cuts;                // forced
    int cut_count;                       // < 0: not forced
    uint32_t seams[PLANNER_OUTPUTS_MAX]; // rising: tracks at which there must be a cut in any case
    int seam_count;
};

// The task has been checked: at least one worker, cuts in order and inside. 0 or -ENOMEM.
int candidate_choose(const struct candidate_task *task, struct candidate *ret);
// Microseconds per frame of a group of these tracks on this worker, its links included.
int64_t candidate_group_us(const struct candidate_task *task, uint32_t from, uint32_t to,
                           int worker);
