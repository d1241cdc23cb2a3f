// Multiply, screen and add, one 2x2 block after the other; a block's result depends on nothing but
// that block, so that tiles can be merged (group.h).
//
// In straight R'G'B' of 8 bits, chroma repeated over its block (no interpolation: it would look at
// neighbouring blocks), B(b, s) of backdrop b and source s is
//     multiply D(b s)      screen b + s - D(b s)      add min(255, b + s)
// The result is not converted back as a whole, since that would cost chroma detail and move colours
// by rounding even where the mode changes nothing; only the *difference* is converted and added:
//     backdrop block opaque:  backdrop + a' (B(b, s) - b) / 255
//     otherwise:              normal blending + D(a' A) (B(b, s) - s) / 255
// Both are W3C Compositing and Blending Level 1, section 9's
//     co = cs as (1 - ab) + cb ab (1 - as) + as ab B(cb, cs);
// the chroma difference is the mean over the block. Multiplying by white, screening with black and
// adding black hence leave an opaque backdrop as it is, bit for bit.
#include "engine/compose/blend_modes.h"

#include <stdbool.h>

struct rgb {
    int red, green, blue;
};

// One 2x2 block, premultiplied.
struct block {
    int luma[4], alpha[4], cb, cr, chroma_alpha;
};

static inline int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

static inline int straight(int premultiplied, int alpha, int if_empty)
{
    if (alpha == 255)
        return premultiplied;
    return alpha ? clamp((premultiplied * 255 + alpha / 2) / alpha, 0, 255) : if_empty;
}

static struct rgb to_rgb(const struct block *b, int i)
{
    int y = (straight(b->luma[i], b->alpha[i], 16) - 16) * RGB_FROM_Y + (1 << 13);
    int cb = straight(b->cb, b->chroma_alpha, 128) - 128;
    int cr = straight(b->cr, b->chroma_alpha, 128) - 128;
    return (struct rgb){
        clamp((y + RED_FROM_CR * cr) >> 14, 0, 255),
        clamp((y + GREEN_FROM_CB * cb + GREEN_FROM_CR * cr) >> 14, 0, 255),
        clamp((y + BLUE_FROM_CB * cb) >> 14, 0, 255),
    };
}

static inline int apply(enum blend_mode mode, int b, int s)
{
    if (mode == BLEND_ADD)
        return b + s < 255 ? b + s : 255;
    int product = divide_255(b * s);
    return mode == BLEND_MULTIPLY ? product : b + s - product;
}

static inline int rounded(int delta)
{
    return (delta + (1 << (DELTA_SHIFT - 1))) >> DELTA_SHIFT;
}

// Loads the source's block with opacity applied; false when it is empty.
static bool load_source(const struct over_rows *rows, int x, int opacity, struct block *s)
{
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        int row = i / 2, column = x + i % 2;
        int alpha = rows->src_a[row] ? rows->src_a[row][column] : 255;
        s->alpha[i] = divide_255(alpha * opacity);
        s->luma[i] = clamp(divide_255(rows->src_y[row][column] * opacity), 0, s->alpha[i]);
        sum += s->alpha[i];
    }
    s->chroma_alpha = (sum + 2) >> 2;
    s->cb = clamp(divide_255(rows->src_cb[x / 2] * opacity), 0, s->chroma_alpha);
    s->cr = clamp(divide_255(rows->src_cr[x / 2] * opacity), 0, s->chroma_alpha);
    return sum > 0;
}

// Loads the backdrop's block; false when it is not opaque all over.
static bool load_backdrop(const struct over_rows *rows, int x, struct block *b)
{
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        int row = i / 2, column = x + i % 2;
        b->alpha[i] = rows->dst_a[row] ? rows->dst_a[row][column] : 255;
        b->luma[i] = rows->dst_y[row][column];
        sum += b->alpha[i];
    }
    b->chroma_alpha = (sum + 2) >> 2;
    b->cb = rows->dst_cb[x / 2];
    b->cr = rows->dst_cr[x / 2];
    return sum == 4 * 255;
}

static void over_block(struct block *b, const struct block *s)
{
    for (int i = 0; i < 4; i++) {
        b->luma[i] = s->luma[i] + divide_255(b->luma[i] * (255 - s->alpha[i]));
        b->alpha[i] = s->alpha[i] + divide_255(b->alpha[i] * (255 - s->alpha[i]));
    }
    b->cb = s->cb + divide_255(b->cb * (255 - s->chroma_alpha));
    b->cr = s->cr + divide_255(b->cr * (255 - s->chroma_alpha));
}

static void blend_block(struct block *b, const struct block *s, bool opaque, enum blend_mode mode)
{
    const struct block beneath = *b;
    struct rgb sum = {0};
    if (!opaque)
        over_block(b, s);
    for (int i = 0; i < 4; i++) {
        int weight = opaque ? s->alpha[i] : divide_255(s->alpha[i] * beneath.alpha[i]);
        if (weight == 0)
            continue;
        struct rgb source = to_rgb(s, i), backdrop = to_rgb(&beneath, i);
        struct rgb from = opaque ? backdrop : source;
        int red = weight * (apply(mode, backdrop.red, source.red) - from.red);
        int green = weight * (apply(mode, backdrop.green, source.green) - from.green);
        int blue = weight * (apply(mode, backdrop.blue, source.blue) - from.blue);
        b->luma[i] +=
            rounded(DELTA_Y_FROM_RED * red + DELTA_Y_FROM_GREEN * green + DELTA_Y_FROM_BLUE * blue);
        b->luma[i] = clamp(b->luma[i], 0, b->alpha[i]);
        sum.red += red;
        sum.green += green;
        sum.blue += blue;
    }
    b->cb += rounded(DELTA_CB_FROM_RED * sum.red + DELTA_CB_FROM_GREEN * sum.green +
                     DELTA_CB_FROM_BLUE * sum.blue);
    b->cr += rounded(DELTA_CR_FROM_RED * sum.red + DELTA_CR_FROM_GREEN * sum.green +
                     DELTA_CR_FROM_BLUE * sum.blue);
    b->cb = clamp(b->cb, 0, 255);
    b->cr = clamp(b->cr, 0, 255);
}

void mode_rows_c(const struct over_rows *rows, int from, int width, int opacity,
                 enum blend_mode mode)
{
    for (int x = from; x < width; x += 2) {
        struct block source, b;
        if (!load_source(rows, x, opacity, &source))
            continue;
        bool opaque = load_backdrop(rows, x, &b);
        blend_block(&b, &source, opaque, mode);
        for (int i = 0; i < 4; i++) {
            rows->dst_y[i / 2][x + i % 2] = (uint8_t)b.luma[i];
            if (rows->dst_a[i / 2])
                rows->dst_a[i / 2][x + i % 2] = (uint8_t)b.alpha[i];
        }
        rows->dst_cb[x / 2] = (uint8_t)b.cb;
        rows->dst_cr[x / 2] = (uint8_t)b.cr;
    }
}
