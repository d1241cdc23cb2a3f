// The inner loops of compositing, as a table that is filled once for the CPU at hand. Private to
// engine/compose and to tests/kernels.
//
// The C functions are the specification: every other level gives the same bytes for all inputs.
// Kernels read and write exactly the samples they are asked for; rows may stand at any address.
// Rows that are written must not overlap rows that are read.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/timeline/timeline.h" // enum blend_mode

// (x + 127) / 255: a product of two bytes, divided by 255 and rounded.
static inline int divide_255(int x)
{
    return (x + 127) / 255;
}

// Two rows of luma and alpha and the row of chroma that they share.
struct over_rows {
    uint8_t *dst_y[2], *dst_cb, *dst_cr;
    uint8_t *dst_a[2]; // NULL: dst is opaque
    const uint8_t *src_y[2], *src_cb, *src_cr, *src_a[2];
};

struct kernels {
    const char *name;
    // Normal blending of an ALPHA source (blend.h). width: luma samples, even; opacity 1..255.
    void (*over_rows)(const struct over_rows *rows, int width, int opacity);
    // The same for one plane of an OPAQUE source: dst = D(src * opacity) + D(dst * (255 -
    // opacity)).
    void (*lerp_row)(uint8_t *dst, const uint8_t *src, int count, int opacity);
    // dst = min(255, dst + D(D(src * opacity) * weight)).
    void (*weigh_row)(uint8_t *dst, const uint8_t *src, int count, int opacity, int weight);
    // As over_rows in mode multiply, screen or add (blend_modes.c); src_a may be NULL: OPAQUE
    // source.
    void (*mode_rows)(const struct over_rows *rows, int width, int opacity, enum blend_mode mode);
    // Scaling (scale.h). Weights have 14 fractional bits, sum to 1, and their magnitudes to
    // below 2. dst = (sum over taps of rows[tap] * weights[tap] + 128) >> 8: 6 fractional bits.
    void (*scale_rows)(int16_t *dst, const uint8_t *const *rows, const int16_t *weights, int taps,
                       int count);
    // dst[i] = (sum of row[start[i] + t] * weight of (i, t) + 2^19) >> 20, clamped to a byte, for t
    // in 0 .. 4 * quads - 1. Weights come in groups of four outputs: quads times four outputs times
    // four weights. start and weights are filled with 0 up to a multiple of 8 outputs.
    void (*scale_columns)(uint8_t *dst, const int16_t *row, const int32_t *start,
                          const int16_t *weights, int quads, int count);
};

// The table in use. Thread: any.
const struct kernels *kernels_get(void);

extern const struct kernels kernels_c, kernels_avx2, kernels_avx512;
// Shared by the AVX2 and AVX-512 tables: scaling is bound by shuffles and loads, and modes are
// rare.
void mode_rows_avx2(const struct over_rows *rows, int width, int opacity, enum blend_mode mode);
void scale_rows_avx2(int16_t *dst, const uint8_t *const *rows, const int16_t *weights, int taps,
                     int count);
void scale_columns_avx2(uint8_t *dst, const int16_t *row, const int32_t *start,
                        const int16_t *weights, int quads, int count);
// The C kernels from sample `from` on: how SIMD kernels finish a row that is no multiple of theirs.
void over_rows_c(const struct over_rows *rows, int from, int width, int opacity);
void mode_rows_c(const struct over_rows *rows, int from, int width, int opacity,
                 enum blend_mode mode);
void scale_rows_c(int16_t *dst, const uint8_t *const *rows, const int16_t *weights, int taps,
                  int from, int count);
