#include "engine/compose/convert.h"

#include <assert.h>
#include <string.h>

#include "engine/compose/blend_modes.h"

// Offsets of a sample per unit of alpha, 16 fractional bits: 16 / 255 and 128 / 255.
#define Y_OFFSET (16 * 257)
#define C_OFFSET (128 * 257)

static inline int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

struct pixel {
    int red, green, blue, alpha;
};

static inline struct pixel pixel_of(uint32_t argb)
{
    return (struct pixel){
        .red = argb >> 16 & 255,
        .green = argb >> 8 & 255,
        .blue = argb & 255,
        .alpha = (int)(argb >> 24),
    };
}

static inline uint8_t luma_of(struct pixel p)
{
    int y = Y_FROM_RED * p.red + Y_FROM_GREEN * p.green + Y_FROM_BLUE * p.blue + Y_OFFSET * p.alpha;
    return (uint8_t)clamp((y + (1 << 15)) >> 16, 0, p.alpha);
}

// `sum`: of four pixels.
static inline void chroma_of(struct pixel sum, uint8_t *ret_cb, uint8_t *ret_cr)
{
    int alpha = (sum.alpha + 2) >> 2, round = 1 << 17;
    int cb = CB_FROM_RED * sum.red + CB_FROM_GREEN * sum.green + CB_FROM_BLUE * sum.blue;
    int cr = CR_FROM_RED * sum.red + CR_FROM_GREEN * sum.green + CR_FROM_BLUE * sum.blue;
    *ret_cb = (uint8_t)clamp((cb + C_OFFSET * 4 * alpha + round) >> 18, 0, alpha);
    *ret_cr = (uint8_t)clamp((cr + C_OFFSET * 4 * alpha + round) >> 18, 0, alpha);
}

// A 2x2 block of nothing at all: most of a drawn picture.
static bool skip_block(struct picture *dst, int x, int y, const uint32_t *const rows[2])
{
    if (rows[0][x] | rows[0][x + 1] | rows[1][x] | rows[1][x + 1])
        return false;
    for (int i = 0; i < 4; i++) {
        int half = i == 1 || i == 2;
        uint8_t *at = dst->plane[i] + (y >> half) * dst->stride[i] + (x >> half);
        memset(at, 0, half ? 1 : 2);
        if (!half)
            memset(at + dst->stride[i], 0, 2);
    }
    return true;
}

static void convert_block(struct picture *dst, int x, int y, const uint32_t *const rows[2])
{
    struct pixel sum = {0};
    for (int i = 0; i < 4; i++) {
        struct pixel p = pixel_of(rows[i / 2][x + i % 2]);
        ptrdiff_t row = y + i / 2, column = x + i % 2;
        dst->plane[0][row * dst->stride[0] + column] = luma_of(p);
        dst->plane[3][row * dst->stride[3] + column] = (uint8_t)p.alpha;
        sum.red += p.red;
        sum.green += p.green;
        sum.blue += p.blue;
        sum.alpha += p.alpha;
    }
    chroma_of(sum, dst->plane[1] + y / 2 * dst->stride[1] + x / 2,
              dst->plane[2] + y / 2 * dst->stride[2] + x / 2);
}

void convert_argb32(struct picture *dst, const uint8_t *src, ptrdiff_t stride)
{
    assert(dst->format == PICTURE_ALPHA && stride % 4 == 0 && (uintptr_t)src % 4 == 0);
    for (int y = 0; y < dst->height; y += 2) {
        const uint32_t *const rows[2] = {
            (const uint32_t *)(const void *)(src + y * stride),
            (const uint32_t *)(const void *)(src + (y + 1) * stride),
        };
        for (int x = 0; x < dst->width; x += 2)
            if (!skip_block(dst, x, y, rows))
                convert_block(dst, x, y, rows);
    }
}

void convert_colour(struct colour colour, uint8_t ret[4])
{
    struct pixel p = {
        .red = divide_255(colour.red * colour.alpha),
        .green = divide_255(colour.green * colour.alpha),
        .blue = divide_255(colour.blue * colour.alpha),
        .alpha = colour.alpha,
    };
    struct pixel sum = {4 * p.red, 4 * p.green, 4 * p.blue, 4 * p.alpha};
    ret[0] = luma_of(p);
    chroma_of(sum, &ret[1], &ret[2]);
    ret[3] = colour.alpha;
}

// 8 fractional bits, within what tables of bytes can use; what is not a number counts as 0.
static int fixed_8(double v)
{
    if (!(v > -256))
        return v <= -256 ? -256 * 256 : 0;
    int fixed = (int)((v < 256 ? v : 256) * 256 + 65536.5); // positive, so that it rounds down
    return fixed - 65536;
}

// table[v] = v towards effect, as far as opacity says. `centre` has 8 fractional bits.
static void table_make(uint8_t table[256], int centre, int factor, int offset, int opacity)
{
    for (int v = 0; v < 256; v++) {
        int64_t scaled = (int64_t)(v * 256 - centre) * factor;
        // Shifting floors, also below 0.
        int64_t effect = ((scaled >> 8) + centre + offset + 128) >> 8;
        int clamped = effect < 0 ? 0 : effect > 255 ? 255 : (int)effect;
        table[v] = (uint8_t)(divide_255(clamped * opacity) + divide_255(v * (255 - opacity)));
    }
}

// A premultiplied sample: made straight, looked up, made premultiplied again. A table that changes
// nothing gives the sample back: the first rounding is off by half at most, the second by less.
static inline uint8_t adjust_premultiplied(const uint8_t table[256], int sample, int alpha)
{
    if (alpha == 0)
        return 0;
    int straight = clamp((sample * 255 + alpha / 2) / alpha, 0, 255);
    return (uint8_t)divide_255(table[straight] * alpha);
}

static void adjust_alpha(struct picture *dst, const struct picture *src, uint8_t table[2][256])
{
    for (int y = 0; y < src->height; y++) {
        const uint8_t *alpha = src->plane[3] + y * src->stride[3];
        memcpy(dst->plane[3] + y * dst->stride[3], alpha, (size_t)src->width);
        for (int x = 0; x < src->width; x++)
            dst->plane[0][y * dst->stride[0] + x] =
                adjust_premultiplied(table[0], src->plane[0][y * src->stride[0] + x], alpha[x]);
    }
    for (int y = 0; y < src->height / 2; y++)
        for (int x = 0; x < src->width / 2; x++) {
            const uint8_t *upper = src->plane[3] + 2 * y * src->stride[3] + 2 * x;
            const uint8_t *lower = upper + src->stride[3];
            int alpha = (upper[0] + upper[1] + lower[0] + lower[1] + 2) >> 2;
            for (int i = 1; i < 3; i++)
                dst->plane[i][y * dst->stride[i] + x] =
                    adjust_premultiplied(table[1], src->plane[i][y * src->stride[i] + x], alpha);
        }
}

void convert_adjust(struct picture *dst, const struct picture *src, double brightness,
                    double contrast, double saturation, int opacity)
{
    assert(dst->format == src->format);
    assert(dst->width == src->width && dst->height == src->height);
    assert(opacity >= 0 && opacity <= 255);
    uint8_t table[2][256];
    table_make(table[0], 125 * 256 + 128, fixed_8(contrast), 219 * fixed_8(brightness), opacity);
    table_make(table[1], 128 * 256, fixed_8(saturation), 0, opacity);
    if (src->format == PICTURE_ALPHA) {
        adjust_alpha(dst, src, table);
        return;
    }
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(dst, i); y++) {
            uint8_t *to = dst->plane[i] + y * dst->stride[i];
            const uint8_t *from = src->plane[i] + y * src->stride[i];
            for (int x = 0; x < plane_width(dst, i); x++)
                to[x] = table[i > 0][from[x]];
        }
}
