// One clip of a composition at work: its source (or nested composition), its fallback, and the last
// picture made of it, so that what stands still is placed once. Private to engine/render.
// Thread: the renderer's.
#pragma once

#include "engine/compose/group.h"
#include "engine/compose/place.h"
#include "engine/live/cameras.h"
#include "engine/render/render.h"
#include "engine/source/source.h"

// A picture standing in the canvas. `key` names its bits: equal keys from the same clip, equal
// bits.
struct placed {
    struct picture *picture; // NULL: nothing visible
    int x, y;                // even
    uint64_t key;
};

// What all clips of a composition share.
struct clip_context {
    const struct timeline *timeline;
    const struct render_config *config; // resolver, fields, plain, rate
    struct cameras *cameras;            // NULL: the timeline has none
    struct font_set *fonts;
    struct placer *placer;
    int width, height; // canvas, output pixels
    double scale_x, scale_y;
    int depth; // of nesting
};

struct clip_view;
struct clip_view *clip_view_create(const struct clip_context *context, const struct clip *clip);
void clip_view_destroy(struct clip_view **view);

// Gives the clip as it stands at `at` (a reference, or NULL inside). Problems (missing or broken
// material) are shown by the clip's fallback and noted in `report`. Where a camera's picture cannot
// be known yet (cameras_wait) there is nothing.
void clip_view_place(struct clip_view *view, const struct clip_instant *at, struct placed *ret,
                     struct render_report *report);
// It will be placed as at `at` before long, and is not now: what takes time begins.
void clip_view_prepare(struct clip_view *view, const struct clip_instant *at);
// It may be placed as at `at` some time, `frames` frames after where that was last said of.
void clip_view_follow(struct clip_view *view, const struct clip_instant *at, int64_t frames);
