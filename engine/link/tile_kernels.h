// The inner loops of picture coding: one plane of one tile. Private to engine/link and its tests.
//
// A coded plane is a sequence of runs. A run is one row of the plane, or two rows where the plane
// is at most 32 samples wide, so at most 64 samples; the last may be shorter. Each run:
//   u8 head: bits 0..1 predictor, bits 2..5 number of bit planes (0..8), bits 6..7 zero
//   then per bit plane, lowest first, (samples + 7) / 8 bytes, sample 0 in the lowest bit of byte 0
// Residuals are modulo 256 and zig-zagged (0, -1, 1, -2, ...). Above the first row stands a row of
// 128; left of a row stands the sample above its first one, and so does the sample above-left.
// The encoder takes the predictor with the fewest bit planes, the first of those in the enum.
//
// The C functions are the specification; every other level gives the same bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum tile_predictor { PREDICT_UP, PREDICT_LEFT, PREDICT_GRADIENT, PREDICTORS };

#define RUN_SAMPLES_MAX 64
#define RUN_BYTES_MAX   (1 + RUN_SAMPLES_MAX)

struct tile_plane {
    const uint8_t *samples; // read by encode
    uint8_t *dst;           // written by decode
    ptrdiff_t stride;
    int width, height; // 1..64, 1..32
};

struct tile_kernels {
    const char *name;
    // Writes at most RUN_BYTES_MAX per run; returns the number of bytes.
    size_t (*encode)(uint8_t *out, const struct tile_plane *plane);
    // Reads at most `size` bytes; returns how many, or 0 if they are not a coded plane.
    size_t (*decode)(const uint8_t *in, size_t size, const struct tile_plane *plane);
};

extern const struct tile_kernels tile_kernels_c, tile_kernels_avx2;
// The table that belongs to compose_cpu_name(), so that one switch serves all kernels.
const struct tile_kernels *tile_kernels_get(void);

static inline int run_rows(const struct tile_plane *plane)
{
    return plane->width <= RUN_SAMPLES_MAX / 2 ? 2 : 1;
}
