// A composition: all or some tracks of one timeline on one canvas. The root of a render is one, and
// so is each nested timeline. It keeps the clips that are near the playhead open. Private to
// engine/render. Thread: the renderer's.
#pragma once

#include "engine/render/clip_view.h"

struct composition;
// `cameras`: NULL when the timeline has none.
int composition_create(const struct render_config *config, struct cameras *cameras,
                       const struct timeline *timeline, int width, int height, int depth,
                       struct composition **ret, struct diagnostic *reterr);
void composition_destroy(struct composition **composition);

// What its timeline's live tracks show from now on; a reference is taken.
void composition_live(struct composition *composition, const struct takes *live);

// Output pixels of a nested timeline's own canvas, given the composition it stands in.
void composition_natural_size(const struct clip_context *outer, const struct timeline *nested,
                              int *ret_width, int *ret_height);

// One layer, ready to be blended: a picture, or an adjustment of all beneath.
struct composed_layer {
    struct placed placed; // picture NULL: nothing to see
    int opacity;
    enum blend_mode mode;
    const struct clip_instant *adjust; // not NULL: adjust instead
    uint64_t key;                      // names the layer's effect on what is beneath; 0: none
};

// Makes the layers of tracks [from, to) at a position in seconds into `layers[to - from]`; release
// with composition_release. What an opaque layer hides is left out (unless `plain`). `loop`: start
// again at the timeline's end. Instants stay valid until the next call. Where a camera's picture
// cannot be known yet (cameras_wait) it stops, and the layers are good for nothing.
void composition_layers(struct composition *composition, struct rational seconds, bool loop,
                        int from, int to, struct composed_layer *layers,
                        struct render_report *report);
void composition_release(struct composed_layer *layers, int count);
// Opens and positions what is seen at `seconds` on these tracks: they come before long.
void composition_prepare(struct composition *composition, struct rational seconds, bool loop,
                         int from, int to);
// Layers may be asked for from `seconds` on some time: keeps what is seen there, and what comes
// after it, open and near. `frames`: that have passed since the last call.
void composition_follow(struct composition *composition, struct rational seconds, bool loop,
                        int from, int to, int64_t frames);

// All tracks on a transparent canvas, as a nested timeline shows (its background is not drawn).
// Past the end, without loop, its last frame stands. Gives a reference; equal `*ret_key`, equal
// bits. -EAGAIN: see above.
int composition_picture(struct composition *composition, struct rational seconds, bool loop,
                        struct picture **ret, uint64_t *ret_key, struct render_report *report);
