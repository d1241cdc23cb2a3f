// Conversion of drawn graphics (premultiplied ARGB32 in native endianness, as Cairo makes) to the
// farm's layout. BT.709 matrix, full-range R'G'B' to limited Y'CbCr, 16-bit integer coefficients:
//   Y  = a*16/255 share + ...   (exact formulas in convert.c; premultiplied throughout)
// Thread: any.
#pragma once

#include "engine/frame/picture.h"
#include "engine/timeline/timeline.h" // struct colour

// dst ALPHA, even size; src covers dst_width x dst_height pixels, row stride in bytes.
void convert_argb32(struct picture *dst, const uint8_t *src, ptrdiff_t stride);
// A colour as premultiplied Y'CbCrA, the same formulas.
void convert_colour(struct colour colour, uint8_t ret[4]);
// Adjust layer: dst = effect(src), OPAQUE, same geometry. brightness is added to luma (1 = full
// range), contrast scales luma about mid-grey, saturation scales chroma; tables in 8.8 fixed point.
void convert_adjust(struct picture *dst, const struct picture *src, double brightness,
                    double contrast, double saturation, int opacity);
