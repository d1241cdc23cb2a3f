// Random pictures for the tests of compositing.
#pragma once

#include "engine/frame/picture.h"
#include "tests/check.h"

static inline int random_below(uint64_t *state, int limit)
{
    return (int)((check_random(state) >> 16) % (uint64_t)limit);
}

// Alpha of one 2x2 block: empty, opaque, anything at all, or nearly nothing, in runs.
static inline void random_alphas(uint64_t *state, int kind, uint8_t ret[4])
{
    for (int i = 0; i < 4; i++)
        ret[i] = kind == 0   ? 0
                 : kind == 1 ? 255
                 : kind == 2 ? (uint8_t)check_random(state)
                             : (uint8_t)random_below(state, 3);
}

// Makes some tiles of picture_cover wholly empty, others wholly opaque.
static inline void random_tiles(uint64_t *state, struct picture *p)
{
    for (int top = 0; top < p->height; top += COVER_HEIGHT)
        for (int left = 0; left < p->width; left += COVER_WIDTH) {
            int kind = random_below(state, 4);
            int bottom = top + COVER_HEIGHT < p->height ? top + COVER_HEIGHT : p->height;
            int right = left + COVER_WIDTH < p->width ? left + COVER_WIDTH : p->width;
            for (int i = 0; i < 4 && kind < 2; i++) {
                int half = i == 1 || i == 2;
                for (int y = top >> half; y < bottom >> half; y++)
                    for (int x = left >> half; x < right >> half; x++)
                        p->plane[i][y * p->stride[i] + x] = kind == 0 ? 0
                                                            : i == 3  ? 255
                                                                     : (uint8_t)check_random(state);
            }
        }
}

// Fills a picture with noise that keeps the rules of picture.h: colour below alpha, chroma under
// the rounded mean. Kinds of alpha change every few blocks.
static inline struct picture *random_picture(uint64_t *state, enum picture_format format, int width,
                                             int height)
{
    struct picture *p = picture_create(format, width, height);
    int kind = 0, left = 0;
    for (int y = 0; y < height; y += 2)
        for (int x = 0; x < width; x += 2) {
            if (left-- == 0) {
                kind = format == PICTURE_OPAQUE ? 1 : random_below(state, 4);
                left = random_below(state, 90);
            }
            uint8_t alpha[4];
            random_alphas(state, kind, alpha);
            int sum = 0;
            for (int i = 0; i < 4; i++) {
                ptrdiff_t row = y + i / 2, column = x + i % 2;
                p->plane[0][row * p->stride[0] + column] =
                    (uint8_t)(((int)(uint8_t)check_random(state) * alpha[i] + 127) / 255);
                if (format == PICTURE_ALPHA)
                    p->plane[3][row * p->stride[3] + column] = alpha[i];
                sum += alpha[i];
            }
            for (int i = 1; i < 3; i++)
                p->plane[i][y / 2 * p->stride[i] + x / 2] =
                    (uint8_t)(((int)(uint8_t)check_random(state) * ((sum + 2) / 4) + 127) / 255);
        }
    if (format == PICTURE_ALPHA && random_below(state, 2))
        random_tiles(state, p);
    return p;
}

static inline uint64_t test_seed(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : UINT64_C(0x5eed0001);
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    return seed ? seed : 1;
}
