// Blend modes other than normal. Private to engine/compose.
#pragma once

#include "engine/compose/kernels.h"
#include "engine/timeline/timeline.h" // enum blend_mode

// BT.709 limited range to full-range R'G'B', 14 fractional bits: Y - 16, Cb - 128, Cr - 128.
#define RGB_FROM_Y    19077 // 255 / 219
#define RED_FROM_CR   29372 // 1.5748 * 255 / 224
#define GREEN_FROM_CB -3494 // -0.187324 * 255 / 224
#define GREEN_FROM_CR -8731 // -0.468124 * 255 / 224
#define BLUE_FROM_CB  34610 // 1.8556 * 255 / 224
// And back, 16 fractional bits. The rows of chroma sum to 0, so that greys have none.
#define Y_FROM_RED    11966 // 0.2126 * 219 / 255
#define Y_FROM_GREEN  40254 // 0.7152 * 219 / 255
#define Y_FROM_BLUE   4064  // 0.0722 * 219 / 255
#define CB_FROM_RED   -6596
#define CB_FROM_GREEN -22188
#define CB_FROM_BLUE  28784 // 224 / 255 / 2
#define CR_FROM_RED   28784
#define CR_FROM_GREEN -26145
#define CR_FROM_BLUE  -2639

// The same for a difference of R'G'B', times an alpha of 0..255: 23 fractional bits, and 21 for
// chroma, where four pixels are summed. All sums fit in 32 bits.
#define DELTA_SHIFT         23
#define DELTA_Y_FROM_RED    6006
#define DELTA_Y_FROM_GREEN  20206
#define DELTA_Y_FROM_BLUE   2040
#define DELTA_CB_FROM_RED   -828
#define DELTA_CB_FROM_GREEN -2784
#define DELTA_CB_FROM_BLUE  3612
#define DELTA_CR_FROM_RED   3612
#define DELTA_CR_FROM_GREEN -3281
#define DELTA_CR_FROM_BLUE  -331
