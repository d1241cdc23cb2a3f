// Separable scaling of one plane with integer coefficients. Private to engine/compose and tests.
//
// An axis says, for each output sample, which source samples it is made of and with which weights
// (14 fractional bits, sum exactly 1). The filter is Catmull-Rom, widened by the ratio when
// shrinking; what it would take from outside the source's window comes from the window's edge.
// Rows are filtered first, into one row of 16-bit samples with 6 fractional bits, then columns.
// Weights come from + - * / and floor of doubles, so they are the same everywhere.
// Thread: a scaler belongs to one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Output sample `i` of `count` stands at source index `first + i * step`; low..high are the source
// samples that may be used.
struct axis_key {
    double first, step;
    int count, low, high;
};

struct scaler;
struct scaler *scaler_create(void);
void scaler_destroy(struct scaler **scaler);

// Fills x.count x y.count samples of dst. -ENOMEM.
int scaler_plane(struct scaler *scaler, uint8_t *dst, ptrdiff_t dst_stride, const uint8_t *src,
                 ptrdiff_t src_stride, struct axis_key x, struct axis_key y);
