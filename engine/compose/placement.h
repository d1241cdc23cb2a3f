// A placement in integers: what placing works on, so that equal numbers give equal bits. Private to
// engine/compose.
#pragma once

#include "engine/compose/place.h"

// One pixel in the unit of positions.
#define PLACE_UNIT  256
#define CROP_ONE    65536
#define DEGREE_UNIT 65536

struct geometry {
    int64_t left, top, right, bottom; // before rotation, 1/256 pixel
    int64_t pivot_x, pivot_y;         // what the rotation turns about, 1/256 pixel; 0 when upright
    int64_t rotation;                 // clockwise, 1/65536 degree, 0 <= rotation < 360 degrees
    int64_t radius;                   // 1/256 pixel
    int64_t crop_left, crop_top, crop_right, crop_bottom; // 1/65536 of the source
};

struct border {
    int64_t width;        // 1/256 pixel; 0: none
    struct geometry edge; // its outer edge; the picture's without a border
    uint8_t colour[4];    // Y'CbCr, not premultiplied, and alpha
};

struct cast {     // a shadow
    int64_t x, y; // from what casts it, 1/256 pixel
    int box;      // each of three box blurs reaches so many pixels to each side
    uint8_t colour[4];
};

struct border border_of(const struct placement *p, const struct geometry *g);
// False when there is no shadow.
bool cast_of(const struct placement *p, struct cast *ret);
struct geometry geometry_of(const struct placement *p);
// False when nothing is left to see.
bool geometry_visible(const struct geometry *g);
