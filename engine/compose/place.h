// Placing: from a source's natural picture to where it stands in the output: crop, scale, corner
// radius, border, rotation; and the shadow's (shadow.h). Scaling is a separable polyphase filter
// (Catmull-Rom; widened when shrinking) with integer coefficients; rotation samples bilinearly from
// the scaled picture. Chroma is sited left (MPEG-2), and its phase is honoured. All decisions are
// made on coordinates rounded to 1/256 pixel, so equal placements give equal bits. Thread: a placer
// belongs to its renderer's thread (it keeps coefficient tables and scratch memory).
#pragma once

#include "engine/compose/blend.h"

struct placer;
struct placer *placer_create(void);
void placer_destroy(struct placer **placer);

// What `p` means for a source of natural size `nw` x `nh` in a canvas; the result has a size, and
// is a fixed point of this function. Crop comes first: what is left of the source fills the size.
// Size given: taken as it is; one side given: the other follows the source's shape. Neither:
// FIT_NONE: the size of what is left; FIT_CONTAIN, FIT_FILL: inside of, or stretched to the canvas;
// FIT_COVER: the canvas, with further crop, the same on both sides.
struct placement placement_resolve(const struct placement *p, int nw, int nh, int canvas_width,
                                   int canvas_height);

// Draws `src` as `p` (already resolved) says. Gives a picture and the even canvas position of its
// corner; it covers no more than the canvas. Identity (same size, whole-pixel even position, no
// rotation, crop or radius) gives a reference to src itself, which may reach beyond the canvas
// (blend_picture clips). OPAQUE in, full cover of an even rectangle: OPAQUE out; else ALPHA out,
// whose edges carry how much of each pixel is covered. ALPHA sources are filtered premultiplied, in
// all four planes; overshoot above alpha is cut. `*ret` is NULL with 0 when nothing is visible.
// A border stands around the picture and is drawn with it: ALPHA out, unless the picture alone
// covers the canvas. The shadow is not drawn here.
// Numbers that are no numbers count as 0; sizes are limited to 2^21 pixels. -ENOMEM.
// Cost (AVX2, one core of a shared machine): 1920x1080 to 1280x720 1.5 to 2.9 ms; see
// kernels_bench.
int placer_place(struct placer *placer, const struct picture *src, const struct placement *p,
                 int canvas_width, int canvas_height, struct picture **ret, int *ret_x, int *ret_y);

// Canonical key of everything that decides the result besides src and canvas: equal keys, equal
// bits.
uint64_t placement_key(const struct placement *p);
