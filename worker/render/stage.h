// A render stage: one group of one plan, rendered on credit and sent to its consumers.
//
// A group with an adjust track takes the groups beneath it in (beneath.h).
//
// A consumer on the same host gets opaque frames as they are, in memory that it shares
// (block_pool.h); others get them coded.
//
// Own thread: prepare (fetch the revision and its media, open the renderer, render the frame where
// the plan will probably take effect; the last one that takers would ask only fetches), then
// render, code and send for as long as a consumer gives credit. It has no clock: frames are made as
// fast as credit allows, none at or above the highest, and made again from anywhere when a consumer
// asks for frames that are no longer here. A want without credit (credit = from) says where a
// consumer would begin if its provider failed: while nobody takes frames the stage follows there,
// clips open and decoders near (renderer_follow). Frames that another worker makes too are left out
// for as long as any stage of the worker is short of time, or the worker has given them up
// (worker/strain.h); the stage follows then. A frame with a camera that its log does not know yet
// (engine/live/camera.h) is waited for, however long: that is neither a failure nor being short of
// time.
#pragma once

#include "engine/link/block_pool.h"
#include "engine/link/frame_link.h"
#include "engine/link/media_cache.h"
#include "engine/timeline/takes.h"
#include "proto/control.pb-c.h"

// What the stages of a worker tell each other, for the order in which work is left out: samples and
// copies that are spare first, then following. Times of the monotonic clock, 0: never.
struct stage_times {
    _Atomic int level;         // enum overload_level: what the worker as a whole has given up
    _Atomic int64_t short_ns;  // when one was last short of time
    _Atomic int64_t copied_ns; // when one last made a spare copy
};

struct stage;
struct stage_config {
    const Vistter__Control__V1__ChannelPlan *plan; // copied
    size_t group;                                  // index in plan->groups
    struct media_cache *cache;
    const char *node;          // this worker's name
    struct links *links;       // to the providers of what lies beneath
    struct block_pool *blocks; // memory shared with consumers on this host; NULL: none is
    uint64_t host;             // block_host
    struct stage_times *times; // of all stages of the worker
    const char *live_folder;   // of logs, see render_config; copied
    int64_t repeat_ns; // a frame that was sent again is not sent again to that peer for so long
};

enum stage_state { STAGE_PREPARING, STAGE_PREPARED, STAGE_REFUSED };

struct stage *stage_create(const struct stage_config *config);
// Asks the thread to end and lets go of all consumers; does not wait. Calls of stage_want and
// stage_gone are over by then. Thread: any.
void stage_close(struct stage *stage);
// Closes it and joins the thread, which may be parsing or rendering something heavy. Thread: any.
void stage_destroy(struct stage **stage);
bool stage_is(const struct stage *stage, uint64_t channel, uint32_t plan_epoch, uint32_t group);
// Tells the stage that its plan is committed: where it takes effect, and where the timeline's frame
// 0 stands (INT64_MIN: there). Nothing is rendered for consumers before. Thread: any.
void stage_commit(struct stage *stage, int64_t at_frame, int64_t start_frame);
// The channel's takes, as far as they are known. What has been made of others is made again.
// Thread: any.
void stage_live(struct stage *stage, const struct take_log *log);
// From the frame server's threads.
void stage_want(struct stage *stage, struct frame_peer *peer, const struct frame_want *want);
void stage_gone(struct stage *stage, struct frame_peer *peer);

// Whether it has been at one thing for twenty seconds: a decoder, a renderer or a peer that does
// not come back. Preparing, waiting for others or for a log, and failing are none of that. Thread:
// one, all the time.
bool stage_hung(struct stage *stage, int64_t now_ns);

// What the worker reports of a stage. Thread: any.
struct stage_status {
    uint64_t channel;
    uint32_t plan_epoch, group;
    enum stage_state state;
    char reason[512];    // why refused
    int start_ms;        // opening and the first frame took so long; 0: not yet
    char waits_for[128]; // PREPARING: address of a provider beneath that is not connected
    char lacks[512];     // what cannot be had now: PREPARING, of its media, or the log of a live
                         // source; later, what of a log has been waited for longer than a second
    double render_median_ms, render_p99_ms, code_median_ms, code_p99_ms;
    int64_t frame;
    uint64_t frames, bytes;
    int track_count;
    int track[TIMELINE_TRACKS_MAX];
    double track_ms[TIMELINE_TRACKS_MAX]; // mean per frame over about 10 s of programme
    uint64_t problems;                    // frames with a fallback, that of preparing included
    char problem[768], problem_code[40];  // the newest, in words
    bool behind;                          // stands by, and has had no time to follow for a while
    bool left_out;                        // nor for spare copies
    bool optional;                        // something of the group may be left out, or is already
    double share; // of what consumers may have, what the worst served has while we render; else 1
};
void stage_read(struct stage *stage, struct stage_status *ret);
