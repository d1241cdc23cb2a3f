// Conversion of drawn graphics (premultiplied ARGB32 in native endianness, as Cairo makes) to the
// farm's layout. BT.709 matrix, full-range R'G'B' to limited Y'CbCr, in integers of 16 fractional
// bits (blend_modes.h), premultiplied throughout. With r, g, b <= a:
//     Y  = (11966 r + 40254 g + 4064 b + 16 * 257 a + 2^15) >> 16
//     Cb = (-6596 R - 22188 G + 28784 B + 128 * 257 * 4 ac + 2^17) >> 18
//     Cr = (28784 R - 26145 G - 2639 B + 128 * 257 * 4 ac + 2^17) >> 18
// where R, G, B are sums over a 2x2 block and ac is its rounded mean alpha (picture.h); results are
// clamped to 0..a and 0..ac. Chroma is the mean of its block, as its alpha is.
// Thread: any.
#pragma once

#include "engine/frame/picture.h"
#include "engine/timeline/timeline.h" // struct colour

// dst ALPHA, even size; src covers dst_width x dst_height pixels; 4-byte aligned, as is the row
// stride (in bytes).
void convert_argb32(struct picture *dst, const uint8_t *src, ptrdiff_t stride);
// A colour as premultiplied Y'CbCrA: what convert_argb32 makes of an area filled with it.
void convert_colour(struct colour colour, uint8_t ret[4]);
// Adjust layer: dst = effect(src), of the same format and geometry. brightness is added to luma
// (1 = full range), contrast scales luma about mid-grey (125.5), saturation scales chroma about
// 128; parameters are rounded to 1/256 and kept within -256..256. opacity 0..255 goes from src to
// the effect, per sample: D(effect * opacity) + D(src * (255 - opacity)). 0, 1, 1 changes nothing.
// ALPHA pictures are adjusted in straight colour and keep their alpha.
void convert_adjust(struct picture *dst, const struct picture *src, double brightness,
                    double contrast, double saturation, int opacity);
