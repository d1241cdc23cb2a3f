// The window of one group of one plan: coded messages that have arrived, what was made of them, and
// what to ask the provider for. Pure; the caller locks and says what time it is.
//
// A message is stored by frame number, [cursor, cursor + capacity). Differences need their key
// frame decoded first; keys leave the window when the cursor passes them, and are kept beside it
// (coded or decoded) while something refers to them. What is wrong (channel, group, plan, revision,
// geometry) is refused and counted; what came twice or too late is dropped.
//
// Bounds: `capacity` frames, `bytes_max` of bodies. Above three quarters of the bytes no
// further credit is granted.
// Thread: one at a time.
#pragma once

#include "engine/compose/group.h"
#include "engine/link/frame_link.h"
#include "engine/timeline/takes.h"

#define WINDOW_BASES_MAX 4
#define WINDOW_GAP_NS    INT64_C(30000000) // a hole is asked for when it is this old
// When nothing has come for so many times `repeat_ns`, all that may come is asked for by number:
// the last frames below the credit may be lost, and nothing newer shows it.
#define WINDOW_SILENCE 2

struct window_config {
    uint64_t channel;
    uint32_t group, plan_epoch;
    uint8_t revision[8];
    int width, height;
    int lead_frames;
    size_t bytes_max;
    int64_t cursor;
    int64_t repeat_ns; // how long an answer takes at most: what is missing is named again after it
};

struct window_counts {
    uint64_t stored, duplicate, late, wrong, overflow, broken;
};

struct window;
struct window *window_create(const struct window_config *config);
void window_destroy(struct window **window);

// Whether a message is of this group, plan, revision and geometry.
bool window_admits(const struct window *window, const struct frame_header *header);
// Takes the body in any case. 0 stored, -EEXIST, -ESTALE (below the cursor and no base),
// -EBADMSG (wrong), -ENOSPC (beyond the bounds).
int window_put(struct window *window, const struct frame_header *header, struct frame_body *body,
               int64_t now_ns);
// The channel's takes as far as they are known; a reference is taken. Frames show the revision that
// follows from them (takes_revision); what shows another is let go, and refused from now on.
// Whether anything was.
bool window_live(struct window *window, const struct take_log *log);
// Frames below `cursor` are not needed any more.
void window_advance(struct window *window, int64_t cursor);
int64_t window_cursor(const struct window *window);
// Frames from `end` on are not asked for; INT64_MAX at first.
void window_set_end(struct window *window, int64_t end);

// Work for the decoder: the lowest frame below `limit` that can be decoded now, or the key it
// needs.
struct window_job {
    int64_t frame;
    bool key;
    struct frame_body *body;
    struct group_frame *base; // reference, NULL for a key
    uint64_t mark;            // takes_mark
};
bool window_next_job(struct window *window, int64_t limit, struct window_job *ret);
// Result of a job: takes `frame` and `stem` (malloc'ed) and the job's contents; `frame` NULL: it
// was broken and is asked for again.
void window_done(struct window *window, struct window_job *job, struct group_frame **frame,
                 int32_t **stem, int64_t now_ns);

// Whether frame `n` is here, decoded or not.
bool window_stores(const struct window *window, int64_t n);
// Whether it is, and what it is decoded with.
bool window_could_decode(const struct window *window, int64_t n);
// Whether a message can be decoded with what is here.
bool window_keyed(const struct window *window, const struct frame_header *header);
// Whether frame `n` is decoded.
bool window_has(const struct window *window, int64_t n);
// Gives frame `n`: a reference, and the stem itself, which can be taken once. False: not there.
bool window_take(struct window *window, int64_t n, struct group_frame **ret_frame,
                 int32_t **ret_stem);
// The same, to look at: a reference, and the stem, which is there until it is taken.
bool window_look(const struct window *window, int64_t n, struct group_frame **ret_frame,
                 const int32_t **ret_stem);
// What to ask for now. Missing frames are noted as asked for: the want has to be sent.
void window_want(struct window *window, int64_t now_ns, struct frame_want *ret);
// Frames from the cursor on that are here without a hole.
int64_t window_slack(const struct window *window);
void window_counts(const struct window *window, struct window_counts *ret);
