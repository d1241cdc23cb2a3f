// Wipes: one picture replaced by another along an edge that crosses the canvas. Each pixel has a
// time at which it turns, 0..1 of the wipe; with u, v from 0 to 1 over the canvas (pixel centres),
// X = |2u - 1|, Y = |2v - 1|, the patterns are those of SMPTE 258M / SMIL 2.0 by their customary
// numbers: wipe.c has each one's formula. Sums, products, quotients and square roots only, so that
// every machine has the same times.
//
// The edge runs over the canvas and beyond it by its own width: `border` of colour and, on both
// sides of that, `softness`, both as shares of the way. With the share t of the wipe over and
//   p = t * (1 + softness + border),  m(x) = 255 * clamp((x - time) / softness)
// a sample of `from` weighs 255 - m(p), one of `to` m(p - border), the border the rest. Weights are
// whole: with all of these in 1/65536, and s the softness, min(255, (clamp(x - time, 0, s) *
// ceil(255 * 65536 / s) + 32768) / 65536); those of chroma are the rounded means of their 2x2; each
// term is D(D(P * opacity) * weight) (blend.h). Where softness is less than two pixels of the
// longer side it counts as two: no steps.
//
// Thread: a map is constant and may be used by any.
#pragma once

#include "engine/compose/blend.h"

struct wipe_map {
    int width, height;
    uint16_t *times; // 0..65535, row by row
};

// NULL without memory. `reverse`: what would turn last turns first.
struct wipe_map *wipe_map_create(enum wipe wipe, bool reverse, int width, int height);
// By the luma of a picture, drawn over the whole canvas: what is black turns first.
struct wipe_map *wipe_map_of(const struct picture *luma, bool reverse, int width, int height);
void wipe_map_destroy(struct wipe_map **map);

// One of the two, standing as in blend_dissolve; picture NULL: transparent.
struct wipe_side {
    const struct picture *picture;
    int x, y, opacity;
};
struct wipe_edge {
    double softness, border; // 0..1
    uint8_t colour[4];       // of the border: Y'CbCrA, premultiplied
};
// dst is ALPHA, of the map's size, cleared by this call. share 0..65536: 65536 is all `to`.
void blend_wipe(struct picture *dst, const struct wipe_side *from, const struct wipe_side *to,
                const struct wipe_map *map, const struct wipe_edge *edge, int share);
