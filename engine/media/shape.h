// How a decoded picture is turned and stretched before it is shown, and whether its colours can be.
// Thread: any; pure functions.
#pragma once

#include <libavutil/pixfmt.h>
#include <libavutil/rational.h>
#include <stdint.h>

// A picture is first transposed (rows become columns), then mirrored.
enum media_orientation_bits {
    MEDIA_TRANSPOSED = 1,
    MEDIA_MIRRORED_X = 2, // left and right change places
    MEDIA_MIRRORED_Y = 4,
};

// From FFmpeg's display matrix; turns that are not by right angles count as none.
int media_orientation(const int32_t matrix[9]);

// Size with square pixels, before orientation; even, at least 2, each side kept below
// MEDIA_SIDE_MAX. Pixels that are wider than high widen the picture, others heighten it.
void media_shown_size(int width, int height, AVRational pixel_aspect, int *ret_width,
                      int *ret_height);

// The name of a colour space that cannot be converted (YCgCo, ICtCp, ...), or NULL for those that
// can: RGB, and Y'CbCr with a matrix of constants.
const char *media_space_refused(enum AVColorSpace space);
