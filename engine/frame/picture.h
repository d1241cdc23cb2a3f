// Pictures: the one pixel layout of the farm, and counted references.
//
// All pictures are 8-bit Y'CbCr 4:2:0, BT.709, limited range (Y 16..235, C 16..240; excursions are
// kept), planar. PICTURE_ALPHA adds a full-size alpha plane (0..255), and its colour is
// *premultiplied*: every plane value P = round(C * a / 255), also for chroma, whose alpha is the
// rounded mean of the 2x2 block: ac = (a0 + a1 + a2 + a3 + 2) >> 2. Since blending weights sum to
// one, the offsets 16 and 128 need no special care. Where alpha is 0, all planes are 0.
//
// Width and height are even. A picture is writable while its count is one, then const for ever; a
// wrapped one never is.
// Thread: reference counts are atomic; everything else belongs to the holder of the reference.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum picture_format { PICTURE_OPAQUE, PICTURE_ALPHA };

struct picture {
    enum picture_format format;
    int width, height;   // luma samples, even, > 0
    uint8_t *plane[4];   // Y, Cb, Cr, A (NULL when opaque)
    ptrdiff_t stride[4]; // bytes between rows; 64-aligned in pictures of ours, any in wrapped ones
    // -- private to picture.c
    _Atomic int references;
    uint8_t *_Atomic cover;
    size_t block_size; // 0: wrapped
    void (*release)(void *opaque);
    void *opaque;
};

// Largest side of any picture; checked wherever sizes come from input.
#define PICTURE_SIDE_MAX 16384

// Content is undefined; memory of pictures that are gone is used again. NULL when there is none
// (sizes may come from input).
struct picture *picture_create(enum picture_format format, int width, int height);
// Wraps planes owned by somebody else; `release(opaque)` runs when the last reference goes.
struct picture *picture_wrap(enum picture_format format, int width, int height,
                             uint8_t *const plane[4], const ptrdiff_t stride[4],
                             void (*release)(void *opaque), void *opaque);
struct picture *picture_ref(const struct picture *picture);
void picture_unref(struct picture **picture); // accepts NULL inside
bool picture_writable(const struct picture *picture);

// Fills with one colour; colour is Y'CbCr and, for PICTURE_ALPHA, alpha (premultiplied by the
// caller). `picture_clear` is black and opaque, or fully transparent.
void picture_fill(struct picture *picture, const uint8_t colour[4]);
void picture_clear(struct picture *picture);
void picture_copy(struct picture *dst, const struct picture *src); // same geometry
bool picture_equal(const struct picture *a, const struct picture *b);

// How much of each tile of COVER_WIDTH x COVER_HEIGHT luma samples an ALPHA picture covers, row by
// row from the top left. Found when it is first asked for, and kept; so from then on the picture is
// const. NULL without memory, and for OPAQUE pictures. Thread: any.
#define COVER_WIDTH  64
#define COVER_HEIGHT 32
enum cover { COVER_EMPTY, COVER_FULL, COVER_MIXED }; // all alphas 0; all 255; neither
const uint8_t *picture_cover(const struct picture *picture);
static inline int picture_cover_stride(const struct picture *p)
{
    return (p->width + COVER_WIDTH - 1) / COVER_WIDTH;
}

static inline int picture_planes(const struct picture *p)
{
    return p->format == PICTURE_ALPHA ? 4 : 3;
}
// Width and height of plane `i`.
static inline int plane_width(const struct picture *p, int i)
{
    return i == 1 || i == 2 ? p->width / 2 : p->width;
}
static inline int plane_height(const struct picture *p, int i)
{
    return i == 1 || i == 2 ? p->height / 2 : p->height;
}

// 64-bit checksum of all visible samples, plane by plane, row by row (checksum.h).
uint64_t picture_checksum(const struct picture *picture);

// Pictures alive in the whole process; tests end by asserting zero.
int64_t picture_outstanding(void);
