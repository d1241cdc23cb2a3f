// What a channel's programme is made into: renditions, and the outlets that take their packets.
//
// outputs_apply brings them in line with a plan: what is the same in the plan before goes on
// without a gap, what is new starts at the next key frame, what is gone stops. The preview takes
// the rendition that names it, or the first. What is gone is drained and ended by the reaper; its
// last packets still reach its destinations. Threads: outputs_apply, _tend, _stats: the control
// thread. outputs_push: the mix thread; never blocks. Packets pass on the renditions' threads.
#pragma once

#include "edge/deliver/outlet.h"
#include "edge/encode/rendition.h"
#include "edge/gops.h"
#include "edge/plan.h"
#include "edge/reaper.h"
#include "edge/relay.h"

struct outputs_config {
    struct outlet_hub *hub;
    struct relay *relay;        // for the other edge's publishers; may be NULL
    struct publish *publish;    // what it may publish; NULL: what plans say. The control thread's
    const char *node;           // this edge's name
    int frame_latency_ms;       // of links
    struct outlet *preview;     // shared by all channels; NULL: no preview
    struct reaper *reaper;      // outlives the outputs, and ends before the hub; may be NULL
    const char *preview_listen; // "host:port"
    const char *record_folder;  // for recordings without an absolute folder
    int segment_seconds, viewers_max;
};

struct outputs_destination {
    uint64_t destination;
    bool backup; // its second address
    struct deliver_report report;
};

// Of a rendition that another edge makes, too.
struct outputs_gop {
    uint32_t output, rendition;
    bool planned;
    struct gop_sum sum;
};

struct outputs;
struct outputs *outputs_create(const struct outputs_config *config);
void outputs_destroy(struct outputs **outputs);
// A rendition that cannot be made is left out: the first such gives the error and the diagnostic.
int outputs_apply(struct outputs *outputs, const struct plan *plan, struct diagnostic *reterr);
// Tells the publishers what they may do, ten times a second and when a leader has spoken.
void outputs_tend(struct outputs *outputs);
// A frame of output number `output`, to the renditions that encode it.
void outputs_push(struct outputs *outputs, uint32_t output, const struct programme_frame *frame);
// Renditions that only a preview takes, and no other edge makes, rest meanwhile. Said again after
// each outputs_apply. The control thread.
void outputs_rest(struct outputs *outputs, bool previews);
// Sum of the renditions; `waiting` is the largest, the times are those of the slowest.
void outputs_stats(struct outputs *outputs, struct rendition_stats *ret);
// These frames, half open, are not as planned. Any thread; never blocks.
void outputs_unplanned(struct outputs *outputs, int64_t from, int64_t to);
// What is still being coded of frames before this one is for recordings alone: it comes too late
// for the air, which begins again with the next key picture. Any thread; never blocks.
void outputs_stale(struct outputs *outputs, int64_t next);
int outputs_gops(struct outputs *outputs, struct outputs_gop *ret, int max);
// Those that this edge is to feed now.
int outputs_destinations(struct outputs *outputs, struct outputs_destination *ret, int max);
