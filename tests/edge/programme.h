// A test programme: moving pictures, and once a second a white frame with a beep that starts at the
// frame's first sample. Everything else is dark and silent, so the distance of flash and beep in a
// decoded file is the A/V offset.
#pragma once

#include "edge/mix/programme.h"
#include "engine/base/rate.h"

#include <string.h>

static inline struct programme_frame *test_programme(struct rate rate, int width, int height,
                                                     int64_t n)
{
    int64_t first = rate_first_sample(rate, n);
    struct programme_frame *f = programme_frame_create(n, first, rate_sample_count(rate, n));
    f->picture = picture_create(PICTURE_OPAQUE, width, height);
    int64_t second = rate.num / rate.den + (rate.num % rate.den != 0);
    bool flash = n % second == 0;
    uint8_t colour[4] = {flash ? 235 : 16, 128, 128, 255};
    picture_fill(f->picture, colour);
    // A moving bar, so that pictures differ; dark, so that the flash stays the brightest.
    int x = (int)(n * 4 % (width - 16));
    for (int y = 0; y < height / 2; y++)
        memset(f->picture->plane[0] + y * f->picture->stride[0] + x, flash ? 200 : 60, 16);
    for (int i = 0; flash && i < f->sample_count; i++)
        f->samples[2 * i] = f->samples[2 * i + 1] =
            (i / 24 % 2 ? -1 : 1) * (SOUND_FULL_SCALE / 2); // 1 kHz, square
    return f;
}
