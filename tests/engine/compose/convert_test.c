// Conversion against the matrices of BT.709 in real numbers.
#include "engine/compose/convert.h"

#include <math.h>

#include "tests/engine/compose/random_picture.h"

static uint32_t random_pixel(uint64_t *state)
{
    uint32_t alpha = (uint32_t)random_below(state, 256), pixel = alpha << 24;
    for (int shift = 0; shift < 24; shift += 8)
        pixel |= (uint32_t)random_below(state, (int)alpha + 1) << shift;
    return pixel;
}

static void test_argb(uint64_t *state)
{
    static uint32_t pixels[32][48];
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 48; x++)
            pixels[y][x] = random_pixel(state);
    struct picture *p = picture_create(PICTURE_ALPHA, 46, 32);
    convert_argb32(p, (const uint8_t *)pixels, sizeof pixels[0]);
    for (int y = 0; y < 32; y += 2)
        for (int x = 0; x < 46; x += 2) {
            double mean[4] = {0};
            int alphas = 2;
            for (int i = 0; i < 4; i++) {
                uint32_t pixel = pixels[y + i / 2][x + i % 2];
                double r = (pixel >> 16 & 255) / 255.0, g = (pixel >> 8 & 255) / 255.0;
                double b = (pixel & 255) / 255.0, a = (pixel >> 24) / 255.0;
                double luma = 16 * a + 219 * (0.2126 * r + 0.7152 * g + 0.0722 * b);
                ptrdiff_t row = y + i / 2, column = x + i % 2;
                int got = p->plane[0][row * p->stride[0] + column];
                CHECK_TRUE(fabs(got - luma) < 0.51);
                CHECK(p->plane[3][row * p->stride[3] + column], ==, pixel >> 24);
                CHECK(got, <=, pixel >> 24);
                mean[0] += r / 4;
                mean[1] += g / 4;
                mean[2] += b / 4;
                alphas += (int)(pixel >> 24);
            }
            double alpha = alphas / 4 / 255.0;
            double grey = 0.2126 * mean[0] + 0.7152 * mean[1] + 0.0722 * mean[2];
            double cb = 128 * alpha + 224 * (mean[2] - grey) / 1.8556;
            double cr = 128 * alpha + 224 * (mean[0] - grey) / 1.5748;
            // The rounded mean alpha may be half a step off: colour cannot exceed it.
            CHECK_TRUE(fabs(p->plane[1][y / 2 * p->stride[1] + x / 2] - cb) < 1.02);
            CHECK_TRUE(fabs(p->plane[2][y / 2 * p->stride[2] + x / 2] - cr) < 1.02);
        }
    picture_unref(&p);
}

static void check_colour(struct colour colour, int y, int cb, int cr)
{
    uint8_t got[4];
    convert_colour(colour, got);
    CHECK(got[0], ==, y);
    CHECK(got[1], ==, cb);
    CHECK(got[2], ==, cr);
    CHECK(got[3], ==, colour.alpha);
}

// Code values of the 100 % colours: Rec. ITU-R BT.709-6, item 4.6 on quantised primaries.
static void test_colours(void)
{
    check_colour((struct colour){255, 255, 255, 255}, 235, 128, 128);
    check_colour((struct colour){0, 0, 0, 255}, 16, 128, 128);
    check_colour((struct colour){255, 0, 0, 255}, 63, 102, 240);
    check_colour((struct colour){0, 255, 0, 255}, 173, 42, 26);
    check_colour((struct colour){0, 0, 255, 255}, 32, 240, 118);
    check_colour((struct colour){255, 255, 0, 255}, 219, 16, 138);
    check_colour((struct colour){255, 255, 255, 0}, 0, 0, 0);

    uint32_t pixels[2][2] = {{0x80402010, 0x80402010}, {0x80402010, 0x80402010}};
    struct picture *p = picture_create(PICTURE_ALPHA, 2, 2);
    convert_argb32(p, (const uint8_t *)pixels, 8);
    // 0x40 = D(127 * 128), 0x20 = D(64 * 128), 0x10 = D(32 * 128)
    uint8_t got[4];
    convert_colour((struct colour){127, 64, 32, 128}, got);
    for (int i = 0; i < 4; i++)
        CHECK(got[i], ==, p->plane[i][0]);
    picture_unref(&p);
}

static void test_adjust(uint64_t *state)
{
    struct picture *src = random_picture(state, PICTURE_OPAQUE, 66, 34);
    struct picture *dst = picture_create(PICTURE_OPAQUE, 66, 34);
    convert_adjust(dst, src, 0, 1, 1, 255);
    CHECK_TRUE(picture_equal(dst, src));
    convert_adjust(dst, src, 0.5, 3, 0, 0); // not at all
    CHECK_TRUE(picture_equal(dst, src));
    convert_adjust(dst, src, 0.25, 0.5, 2, 255);
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(src, i); y++)
            for (int x = 0; x < plane_width(src, i); x++) {
                double v = src->plane[i][y * src->stride[i] + x];
                v = i ? 128 + (v - 128) * 2 : 125.5 + (v - 125.5) * 0.5 + 0.25 * 219;
                v = fmin(255, fmax(0, v));
                CHECK_TRUE(fabs(dst->plane[i][y * dst->stride[i] + x] - v) <= 0.51);
            }
    convert_adjust(dst, src, NAN, INFINITY, -INFINITY, 255); // defined, if not sensible
    picture_unref(&src);
    picture_unref(&dst);
}

// Translucent pictures: straight colour is adjusted, alpha stays.
static void test_adjust_alpha(uint64_t *state)
{
    struct picture *src = random_picture(state, PICTURE_ALPHA, 66, 34);
    struct picture *dst = picture_create(PICTURE_ALPHA, 66, 34);
    convert_adjust(dst, src, 0, 1, 1, 255);
    CHECK_TRUE(picture_equal(dst, src));
    convert_adjust(dst, src, 0.1, 0.5, 1, 255);
    for (int y = 0; y < 34; y++)
        for (int x = 0; x < 66; x++) {
            int alpha = src->plane[3][y * src->stride[3] + x];
            double v = src->plane[0][y * src->stride[0] + x], a = alpha / 255.0;
            v = fmin(alpha, 125.5 * a + (v - 125.5 * a) * 0.5 + 0.1 * 219 * a);
            // Half a step for each of three roundings, and 0.1 is 26/256.
            CHECK_TRUE(fabs(dst->plane[0][y * dst->stride[0] + x] - v) <= 1.9);
            CHECK(dst->plane[3][y * dst->stride[3] + x], ==, alpha);
        }
    picture_unref(&src);
    picture_unref(&dst);
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    test_argb(&state);
    test_colours();
    test_adjust(&state);
    test_adjust_alpha(&state);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
