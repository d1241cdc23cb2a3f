// The inner loops of picture coding: one plane of one tile. Private to engine/link and its tests.
//
// A plane is coded in runs: a run is one row, or two rows where the plane is at most 32 samples
// wide, so at most 64 samples; the last may be shorter. Of each run stand the residuals to a
// predictor, modulo 256 and zig-zagged (0, -1, 1, -2, ...), as Rice codes of parameter k laid out
// sample-parallel. The first run's predictor is PREDICT_LEFT, that of the others the plane's.
//   low planes:  the bits 0 .. k - 1 of all residuals, a plane of one bit per sample each
//   levels:      of each residual whether it is at least 1 << k; of those that are, whether they
//                are at least 2 << k; and so on until none is, or LEVELS have been said
//   rest:        of residuals of at least LEVELS << k, the bits k .. 7, plane by plane
// A coded plane:
//   u16 bits 0..13 size of the first part, bits 14..15 the plane's predictor
//   first part:  per run its low planes and first level, (samples + 7) / 8 bytes each, sample 0 in
//                the lowest bit of byte 0; nothing for a run whose residuals are all 0
//   second part: a row of bits, the first in the lowest bit of byte 0, filled up with 0: per run
//                3 bits k (RUN_ZERO: all residuals are 0), further levels, rest; each has a bit
//                only for the samples that it speaks of, in their order
// Above the first row stands a row of 128; left of a row stands the sample above its first one, and
// so does the sample above-left; right of the row above stands its last sample.
// The encoder takes the predictor with the least sum of residuals over runs 1, 9, 17 and 25, the
// first of those in the enum, and for each run the least k of 0 .. RUN_K_MAX with which its sum is
// at most samples << (k + 1): Rice codes are shortest when 1 << k is about half the mean or a
// little more (Golomb, "Run-length encodings", 1966).
//
// The C functions are the specification; every other level gives the same bytes.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Up, left, left + up - up-left, and of the three above the mean of up and the mean of its
// neighbours, both rounded up.
enum tile_predictor { PREDICT_UP, PREDICT_LEFT, PREDICT_GRADIENT, PREDICT_SMOOTH, PREDICTORS };

#define LEVELS          8
#define RUN_K_MAX       6
#define RUN_ZERO        7
#define RUN_SAMPLES_MAX 64
// By the choice of k at most 8 bits a sample, or 10 with RUN_K_MAX, and the 3 of the head.
#define RUN_BYTES_MAX     (RUN_SAMPLES_MAX * 10 / 8 + 1)
#define PLANE_RUNS_MAX    32
#define PLANE_BYTES(runs) (3 + (runs)*RUN_BYTES_MAX)

struct tile_plane {
    const uint8_t *samples; // read by encode
    uint8_t *dst;           // written by decode
    ptrdiff_t stride;
    int width, height; // 1..64, 1..32
};

struct tile_kernels {
    const char *name;
    // Writes at most PLANE_BYTES; returns the number of bytes.
    size_t (*encode)(uint8_t *out, const struct tile_plane *plane);
    // Reads at most `size` bytes; returns how many, or 0 if they are not a coded plane.
    size_t (*decode)(const uint8_t *in, size_t size, const struct tile_plane *plane);
};

extern const struct tile_kernels tile_kernels_c, tile_kernels_avx2, tile_kernels_avx512;
// The table that belongs to compose_cpu_name(), so that one switch serves all kernels.
const struct tile_kernels *tile_kernels_get(void);

static inline int run_rows(const struct tile_plane *plane)
{
    return plane->width <= RUN_SAMPLES_MAX / 2 ? 2 : 1;
}
