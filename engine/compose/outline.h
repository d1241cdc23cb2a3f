// The rectangle with round corners that a placed picture fills: how much of each pixel lies within.
// Private to engine/compose. Thread: any; pure functions.
#pragma once

#include "engine/compose/placement.h"

// How much of the stretch one pixel long around `centre` lies within from..to, 0..256. All 1/256
// pixel.
static inline int64_t outline_overlap(int64_t from, int64_t to, int64_t centre)
{
    int64_t low = centre - PLACE_UNIT / 2, high = centre + PLACE_UNIT / 2;
    low = from > low ? from : low;
    high = to < high ? to : high;
    return high > low ? high - low : 0;
}

// How far `centre` lies into the zone of a corner, 1/256 pixel; <= 0 outside of both zones.
static inline int64_t outline_depth(int64_t from, int64_t to, int64_t radius, int64_t centre)
{
    int64_t before = from + radius - centre, after = centre - (to - radius);
    return before > after ? before : after;
}

// 0..65536 of the pixel around (x, y), 1/256 pixel; `g` taken upright.
int64_t outline_cover(const struct geometry *g, int64_t x, int64_t y);
// Coverage 0..255 of row `y` of pixels: mask[i] for pixel first + i, for i of from..to - 1.
void outline_row(uint8_t *mask, const struct geometry *g, int first, int y, int from, int to);
// Whether rows `y` and `y + 1` are covered to their full height and touch no round corner.
bool outline_rows_full(const struct geometry *g, int y);
// The even stretch of the `count` pixels from `first` on that full rows cover.
void outline_columns_full(const struct geometry *g, int first, int count, int *ret_from,
                          int *ret_to);
