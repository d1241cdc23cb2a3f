// The shadow of a placed picture: its outline with the border, moved by the offset whatever the
// rotation, blurred and coloured. It does not depend on what the picture shows, so that one shadow
// serves a film for as long as it stands still.
// The blur is three box blurs of whole pixels along each axis, in integers, close to a Gaussian
// whose standard deviation is half of `blur`; of the output's pixels it reaches at most 1536 far.
// Thread: any.
#pragma once

#include "engine/compose/place.h"

// What decides a shadow's bits besides the canvas: equal keys, equal bits. 0: there is no shadow.
uint64_t shadow_key(const struct placement *p);
// Draws the shadow of what stands as `p` (resolved) says: an ALPHA picture within the canvas and
// the even position of its corner. `*ret` is NULL with 0 when there is none to be seen. -ENOMEM.
// Cost: upright by the corners' and the drawn area; turned by the area, times the blur's passes.
int shadow_draw(const struct placement *p, int canvas_width, int canvas_height,
                struct picture **ret, int *ret_x, int *ret_y);
// Puts a placed picture (NULL inside: none) over its shadow and gives both as one ALPHA picture
// within the canvas; an OPAQUE one that covers the canvas stays what it is. Takes `*picture` also
// when it fails. -ENOMEM.
int shadow_put(const struct picture *shadow, int shadow_x, int shadow_y, int canvas_width,
               int canvas_height, struct picture **picture, int *x, int *y);
