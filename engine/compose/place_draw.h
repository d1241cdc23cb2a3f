// The ways of drawing a placed picture. Private to engine/compose.
#pragma once

#include "engine/compose/placement.h"

struct placer;

// Draws the part of `g` within `bounds` (even), without rotation. As placer_place.
int place_upright(struct placer *placer, const struct picture *src, const struct geometry *g,
                  struct rect bounds, struct picture **ret, int *ret_x, int *ret_y);
// Draws the part of the picture and its border (which has a width) within `bounds`, without
// rotation. OPAQUE when the picture alone fills `bounds` so.
int place_bordered(struct placer *placer, const struct picture *src, const struct geometry *g,
                   const struct border *border, struct rect bounds, struct picture **ret,
                   int *ret_x, int *ret_y);
// Draws with rotation, and with the border if there is one.
int place_rotated(struct placer *placer, const struct picture *src, const struct geometry *g,
                  const struct border *border, struct rect bounds, struct picture **ret, int *ret_x,
                  int *ret_y);

#define MATRIX_ONE (1 << 30)
// Output (1/256 pixel) to upright picture: u = m00 x + m01 y + u0, in 1/256 pixel / 2^30.
struct mapping {
    int64_t m00, m01, m10, m11, u0, v0;
};
// `width`, `height`: of the upright picture, 1/256 pixel.
struct mapping mapping_of(const struct geometry *g, int64_t width, int64_t height);
// The area within `bounds` (even) that the rectangle can touch, turned as it is; even.
struct rect place_touched(const struct geometry *g, struct rect bounds);

static inline int64_t divide_floor(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}
// Pixels that a stretch from..to (1/256 pixel) touches, even, within low..high (even).
static inline void pixels_touched(int64_t from, int64_t to, int low, int high, int *ret_from,
                                  int *ret_to)
{
    int64_t first = divide_floor(from, 2 * PLACE_UNIT) * 2;
    int64_t last = -divide_floor(-to, 2 * PLACE_UNIT) * 2;
    *ret_from = (int)(first > low ? first : low);
    *ret_to = (int)(last < high ? last : high);
}
