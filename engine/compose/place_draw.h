// The two ways of drawing a placed picture. Private to engine/compose.
#pragma once

#include "engine/compose/placement.h"

struct placer;

// Draws the part of `g` within `bounds` (even), without rotation. As placer_place.
int place_upright(struct placer *placer, const struct picture *src, const struct geometry *g,
                  struct rect bounds, struct picture **ret, int *ret_x, int *ret_y);
// Draws with rotation.
int place_rotated(struct placer *placer, const struct picture *src, const struct geometry *g,
                  struct rect bounds, struct picture **ret, int *ret_x, int *ret_y);

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
