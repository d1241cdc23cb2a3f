// Blending: puts one picture over another. The rounding here is the farm's definition of a picture;
// every kernel (C, AVX2, AVX-512) equals the C reference bit for bit.
//
// With D(x) = (x + 127) / 255 in integers (rounded division of a product of two bytes by 255):
//   source sample and alpha under opacity o:   a' = D(a * o), P' = min(D(P * o), a')
//   normal:  dst = P' + D(dst * (255 - a'))     per plane; chroma with the 2x2 alpha
//   alpha of an ALPHA dst:                      A = a' + D(A * (255 - a'))
// Chroma alpha is the rounded mean of the 2x2 luma alphas (picture.h) *after* opacity, so that a
// tile stored with its opacity applied (group.h) blends to the same bits later. A premultiplied
// sample above its alpha (rounding, a filter's overshoot) counts as its alpha; so nothing exceeds
// 255, and a 2x2 block whose alphas are all 0 leaves dst as it is, whatever its samples say.
// An OPAQUE source has alpha 255: with the above, dst = D(P * o) + D(dst * (255 - o)).
//
// multiply, screen and add work on R'G'B' (BT.709 limited, formulas in blend_modes.c), per W3C
// Compositing and Blending Level 1 section 9, with the backdrop's alpha taken into account; add is
// min(1, backdrop + source) within the source's area. Every mode treats each aligned 2x2 block
// by itself.
//
// Thread: any; touches only its arguments.
#pragma once

#include "engine/frame/picture.h"
#include "engine/timeline/timeline.h" // enum blend_mode

struct rect {
    int x, y, width, height; // luma samples; even where chroma is concerned
};

static inline struct rect rect_intersect(struct rect a, struct rect b)
{
    int x = a.x > b.x ? a.x : b.x, y = a.y > b.y ? a.y : b.y;
    int right = a.x + a.width < b.x + b.width ? a.x + a.width : b.x + b.width;
    int bottom = a.y + a.height < b.y + b.height ? a.y + a.height : b.y + b.height;
    return right > x && bottom > y ? (struct rect){x, y, right - x, bottom - y}
                                   : (struct rect){x, y, 0, 0};
}

// Blends `src`, whose top left corner stands at (x, y) of `dst` (even, may be negative or outside),
// over `dst` within `clip` (even; NULL: all of dst). opacity 0..255. dst may be OPAQUE or ALPHA.
void blend_picture(struct picture *dst, const struct picture *src, int x, int y, int opacity,
                   enum blend_mode mode, const struct rect *clip);

// Dissolve: dst = D(from * (255 - mix)) + D(to * mix) per premultiplied sample, both taken as ALPHA
// pictures at their (even) places; dst is ALPHA, cleared by this call, and covers the canvas.
// `from` or `to` may be NULL (transparent). from_opacity and to_opacity apply first, as D(sample *
// opacity) in all planes. mix 0..255: 255 = all `to`.
void blend_dissolve(struct picture *dst, const struct picture *from, int from_x, int from_y,
                    int from_opacity, const struct picture *to, int to_x, int to_y, int to_opacity,
                    int mix);

// Kernel level in use: "c", "avx2", "avx512". Chosen at first use by the CPU, or by
// VISTTER_CPU=c|avx2|avx512 in the environment (levels that the CPU lacks fall to the next lower).
const char *compose_cpu_name(void);
// Whether there is a level of that name, on whatever CPU.
bool compose_cpu_known(const char *name);
// For tests: forces a level by name; returns false when this CPU lacks it.
bool compose_cpu_force(const char *name);
