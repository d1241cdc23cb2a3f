// Places a channel on nodes: cuts its tracks into groups, gives each group a worker and each output
// an edge or two, and names the links between them. Outputs of other sizes have groups of their
// own, which go where there is least to do; outputs of one size share theirs.
//
// A pure function of its arguments: no I/O, no clock, no random numbers; same input, same output,
// on any machine. Costs are compared as whole microseconds, so nothing depends on the order of
// sums.
//
// Rules
//  1. For each size that outputs have, groups are z-ranges of tracks, cut at track boundaries,
//     bottom to top; they cover every track once, and there is a cut where an output of that size
//     ends. The first starts from the background (opaque). No tracks: one empty group. Groups are
//     numbered 1, 2, ... over all sizes, in the order of the first output of each size.
//  2. A group above the first that holds an adjust track needs what lies beneath. Its provider
//     consumes the groups beneath it down to the nearest opaque one (group 1, or another that needs
//     beneath, since that one's picture already contains all below). Every group has a link to the
//     edge of each output that shows it (a group's sound travels with it) and one to each such
//     worker, even when provider and consumer are the same node: nodes need no special case.
//  3. All providers of one channel have the same golden hash, so their bits are interchangeable.
//  4. Each cut costs all nodes together: pictures are handed over, and mixed once more. So there
//     are as few groups as leave the busiest worker free for half of a frame's time; where none
//     does, the busiest gets as little as possible: milliseconds a frame of its groups, plus
//     planner_link_us of what it sends and takes in, plus what it does for other channels, divided
//     by its cores. More groups only where that helps. So an opaque group, whose every frame is a
//     full picture, stays on the edge's host unless that has too much to do.
//  5. Nothing moves without need: the previous placement is kept as it is, or else with only the
//     lost providers replaced, while its busiest worker stays below a quarter of the frame time or
//     within a quarter of the best found.
//  6. Where there are other workers, and standbys are wished, a group has one, and a second one
//     where there are two: one of another host than the provider and the standby before it, if
//     there is one, then one that it had, the first before the second, then the least busy, what
//     standbys would have to do counted. All groups have their first before any has its second.
//     They consume what the group needs from beneath, as the provider does. When the provider is
//     lost rule 5 has the first that is left take its place.
//  7. Where there is another edge and the request asks for it, an output has a backup edge, which
//     makes the same: one of another host if there is one, then the one it had, then the one with
//     the fewest outputs. When the edge is lost its backup takes its place.
// Thread: any.
#pragma once

#include "engine/base/diagnostic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLANNER_TRACKS_MAX    64
#define PLANNER_GROUPS_MAX    PLANNER_TRACKS_MAX
#define PLANNER_OUTPUTS_MAX   8
#define PLANNER_STANDBYS_MAX  2 // of a group: any two workers may be lost in the same moment
#define PLAN_LINKS_MAX        (2 * PLANNER_OUTPUTS_MAX + 1 + PLANNER_STANDBYS_MAX) // of a group
#define PLANNER_NAME_BYTES    65
#define PLANNER_ADDRESS_BYTES 256
#define PLANNER_LINK_BYTES    64
#define PLANNER_GOLDEN_BYTES  32

// What the most expensive clip of a track is; gives the cost before anything is measured.
enum planner_kind {
    PLANNER_KIND_EMPTY,
    PLANNER_KIND_AUDIO,
    PLANNER_KIND_STILL,  // image, shape, text, pattern: drawn once, placed per frame
    PLANNER_KIND_MOVING, // keyframed or moving text, image sequences
    PLANNER_KIND_VIDEO,
    PLANNER_KIND_ADJUST,
    PLANNER_KIND_TIMELINE,
};

// Microseconds per frame assumed for a track of `kind` at this size.
int64_t planner_default_us(enum planner_kind kind, uint32_t width, uint32_t height);

// Microseconds per frame that a provider spends on handing over a group of this size, and about
// what a consumer spends on taking it in. `opaque`: every sample of every frame travels, else only
// what there is. `shared`: provider and consumer share memory.
int64_t planner_link_us(uint32_t width, uint32_t height, bool opaque, bool shared);
// What the links of a whole group cost its provider. `shared`: with all its edges. What is taken in
// from beneath counts as one opaque group from anywhere: it may be several, but mostly is one.
int64_t planner_group_link_us(uint32_t width, uint32_t height, bool from_base, bool needs_beneath,
                              bool shared);

struct planner_track {
    int64_t cost_us;  // per frame: measured, or planner_default_us
    int64_t start_us; // what a standby needs for the slowest of its clips before it has a picture
    bool has_adjust;
};

struct planner_node {
    const char *name;                     // unique, shorter than PLANNER_NAME_BYTES
    const char *frame_address;            // "host:port"
    uint32_t cores;                       // 0 counts as 1
    int64_t busy_us;                      // per frame, work for other channels, all cores together
    uint64_t host;                        // nodes of one host can share memory; 0: with none
    uint32_t outputs;                     // edges: outputs it already makes for other channels
    uint8_t golden[PLANNER_GOLDEN_BYTES]; // all zero: unknown, a class of its own
};

struct planner_output {
    uint32_t width, height;
    uint32_t tracks; // shows the lowest so many; 0 or more than there are: all
};

struct plan_link {
    char consumer[PLANNER_NAME_BYTES];
    char id[PLANNER_LINK_BYTES]; // "c<channel>-p<plan epoch>-g<group>-<number of the link>"
};

struct plan_standby {
    char node[PLANNER_NAME_BYTES];
    char address[PLANNER_ADDRESS_BYTES];
};

struct plan_group {
    uint32_t group;
    uint32_t track_from, track_to; // half open
    uint32_t width, height;
    bool from_base, needs_beneath;
    char provider[PLANNER_NAME_BYTES];
    char provider_address[PLANNER_ADDRESS_BYTES];
    int standby_count;
    struct plan_standby standbys[PLANNER_STANDBYS_MAX]; // in the order in which they are asked
    int64_t start_us;                                   // of all its tracks together
    int link_count;
    struct plan_link *links; // owned
};

struct plan_placement {
    int group_count, output_count;
    struct plan_group *groups;                             // owned
    char edges[PLANNER_OUTPUTS_MAX][PLANNER_NAME_BYTES];   // of each output
    char backups[PLANNER_OUTPUTS_MAX][PLANNER_NAME_BYTES]; // its second edge, "": none
    char edge_addresses[PLANNER_OUTPUTS_MAX][PLANNER_ADDRESS_BYTES];
    char backup_addresses[PLANNER_OUTPUTS_MAX][PLANNER_ADDRESS_BYTES];
    int64_t busiest_us; // of rule 4, for the busiest worker
};

struct planner_request {
    uint64_t channel;
    uint32_t plan_epoch;                // goes into link ids
    int64_t frame_us;                   // duration of a frame
    const struct planner_track *tracks; // costs at the size of output 0
    int track_count;
    const struct planner_node *workers, *edges; // live ones, in any order
    int worker_count, edge_count;
    const struct planner_output *outputs;
    int output_count; // 1..PLANNER_OUTPUTS_MAX
    bool no_standbys;
    bool backup_edges;                     // rule 7
    const struct plan_placement *previous; // NULL: none
    const uint32_t *cuts;                  // forced: a group starts at each of these tracks
    int cut_count;                         // < 0: not forced; 0: one group
};

// 0; -EHOSTUNREACH when there is no worker or no edge, -EINVAL for a bad request; `reterr` says why
// in words. `ret` is written on success only; release it with placement_finish.
int plan_place(const struct planner_request *request, struct plan_placement *ret,
               struct diagnostic *reterr);
void placement_finish(struct plan_placement *placement);
// Whether an output of this size shows the group. `track_count`: of the timeline.
bool plan_group_shown(const struct plan_group *group, const struct planner_output *output,
                      uint32_t track_count);
// Same ranges, sizes, providers, standbys, addresses, edges and backups (link ids aside).
bool placement_equal(const struct plan_placement *a, const struct plan_placement *b);
