// The renderer: (revision, log of takes, frame number, z-range) -> a group frame and a stem. Pure:
// nothing else enters (see timeline.h, blend.h). Workers, `vistter render` and the golden-frame
// test all call it.
//
// Thread: a renderer belongs to one thread; its video sources decode ahead in their own.
#pragma once

#include "engine/compose/group.h"
#include "engine/source/source.h"
#include "engine/timeline/takes.h"

struct render_config {
    const struct timeline *timeline; // a reference is taken
    int width, height;               // output, even
    struct rate rate;                // output
    int track_from, track_to;        // z-range, bottom to top, half open
    bool base;                       // the group starts from the timeline's background: opaque
    bool sound;                      // make stems
    struct asset_resolver resolver;  // resolve NULL: no clip has media
    const char *(*field)(void *opaque, const char *name);
    void *field_opaque;
    bool patient; // wait for slow storage as long as it takes (offline); else a clip whose picture
                  // does not come for 20 s shows its fallback, which is reported as a problem
    const char *live_folder; // logs of live sources, in folders of their names
                             // (engine/live/cameras.h); NULL: timelines with cameras are refused
    int64_t epoch_ns;        // farm time of the channel's frame 0, for cameras
    bool plain; // no caches and no reuse of unchanged groups; must give the same bits (tests)
};

struct renderer;
int renderer_create(const struct render_config *config, struct renderer **ret,
                    struct diagnostic *reterr);
void renderer_destroy(struct renderer **renderer);

// What went wrong while the frame was made; the frame is there all the same, with fallbacks. That a
// live source is not there, and its clip shows its fallback, is none of that: it is so everywhere.
struct render_report {
    int problems;            // clips shown by their fallback, or silent
    struct diagnostic first; // of the first problem
    int uncertain;           // clips shown by their fallback here, and perhaps not on another node
    bool unchanged;          // same group frame as the call before
    int64_t track_ns[TIMELINE_TRACKS_MAX]; // time spent per track, for the planner
};

const struct timeline *renderer_timeline(const struct renderer *renderer);
// What the timeline's live tracks show from now on (takes.h), made for this timeline and rate; a
// reference is taken. NULL: nothing.
void renderer_live(struct renderer *renderer, const struct takes *live);

// Renders output frame `n`, counted from the timeline's start (n >= 0); `absolute_frame` is the
// channel's frame number (sound cadence). `beneath`: the picture under this group, needed when the
// z-range holds an adjust clip and `base` is false (renderer_needs_beneath), else NULL.
// Gives a group frame, and writes the stem to `sound` (room for SOUND_FRAME_MAX pairs) if asked
// for. -EAGAIN: what a camera sees or hears at that frame cannot be known yet; `ret_report->first`
// says which. To be asked again, as often as one likes: that is cheap.
int renderer_frame(struct renderer *renderer, int64_t n, int64_t absolute_frame,
                   const struct picture *beneath, struct group_frame **ret, int32_t *sound,
                   struct render_report *ret_report);

// Frame `n` may be asked for some time, then what follows it: keeps what it shows open, and
// decoders near enough for a start within SOURCE_FOLLOW_NS for each video and camera. To be called
// again as time passes.
void renderer_follow(struct renderer *renderer, int64_t n, int64_t absolute_frame);
// True: renderer_frame has been -EAGAIN for this frame, and would be still. Cheaper still.
bool renderer_waits(struct renderer *renderer, int64_t absolute_frame);
// Whether the log of a live source that it has looked at or followed is not there yet; `ret` says
// whose.
bool renderer_lacks(const struct renderer *renderer, struct diagnostic *ret);

// True when a track of [from, to) has an adjust clip, so that a group cut there needs its input.
bool renderer_needs_beneath(const struct timeline *timeline, int track_from, int track_to);
