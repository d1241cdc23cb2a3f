// Placing: from a source's natural picture to where it stands in the output: crop, scale, corner
// radius, rotation. Scaling is a separable polyphase filter (Catmull-Rom; widened when shrinking)
// with integer coefficients; rotation samples bilinearly from the scaled picture. Chroma is sited
// left (MPEG-2), and its phase is honoured.
// All decisions are made on coordinates rounded to 1/256 pixel, so equal placements give equal
// bits. Thread: a placer belongs to its renderer's thread (it keeps coefficient tables and scratch
// memory).
#pragma once

#include "engine/compose/blend.h"

struct placer;
struct placer *placer_create(void);
void placer_destroy(struct placer **placer);

// Natural size `nw` x `nh` under `fit` in a canvas: the size in output pixels, and the extra crop
// that FIT_COVER needs (added to the placement's own). Returns the effective placement.
struct placement placement_resolve(const struct placement *p, int nw, int nh, int canvas_width,
                                   int canvas_height);

// Draws `src` as `p` (already resolved) says. Gives a picture and the even canvas position of its
// corner; it covers no more than the canvas. Identity (same size, whole-pixel even position, no
// rotation, crop or radius) gives a reference to src itself. OPAQUE in, full cover of an even
// rectangle: OPAQUE out; else ALPHA out. `*ret` is NULL with 0 when nothing is visible.
// -ENOMEM.
int placer_place(struct placer *placer, const struct picture *src, const struct placement *p,
                 int canvas_width, int canvas_height, struct picture **ret, int *ret_x, int *ret_y);

// Canonical key of everything that decides the result besides src: equal keys, equal bits.
uint64_t placement_key(const struct placement *p);
