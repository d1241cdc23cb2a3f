// How one clip gives way to the next, other than by a dissolve: what a transition needs, kept while
// its clip is open. Private to engine/render. Thread: the renderer's.
#pragma once

#include "engine/compose/wipe.h"
#include "engine/render/clip_view.h"

struct transition_view;
// Of the clip that comes; its `how` is not NULL.
struct transition_view *transition_view_create(const struct clip_context *context,
                                               const struct clip *clip);
void transition_view_destroy(struct transition_view **view);

// Whether it shows a colour of its own, with or without the two.
bool transition_colours(const struct clip *clip);
// Draws the two as they stand when `layer` has so much of the transition over. `canvas` is ALPHA
// and of the canvas's size; its content is replaced. `*ret_key` names what else than the two, their
// opacities and the share decides the bits.
void transition_view_draw(struct transition_view *view, const struct layer *layer,
                          const struct wipe_side *from, const struct wipe_side *to,
                          struct picture *canvas, uint64_t *ret_key, struct render_report *report);
