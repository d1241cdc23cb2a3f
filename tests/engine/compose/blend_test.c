// Blending against the formulas of blend.h and of W3C Compositing, computed here another way.
#include "engine/compose/blend.h"

#include <math.h>

#include "tests/engine/compose/random_picture.h"

// round(a * b / 255) from the definition of rounding.
static int product(int a, int b)
{
    return (int)floor(a * b / 255.0 + 0.5);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int alpha_of(const struct picture *p, int x, int y)
{
    return p->format == PICTURE_ALPHA ? p->plane[3][y * p->stride[3] + x] : 255;
}

// Alpha of the source at luma (x, y) or, for chroma, of the block around it, after opacity.
static int source_alpha(const struct picture *p, int plane, int x, int y, int opacity)
{
    if (plane == 0 || plane == 3)
        return product(alpha_of(p, x, y), opacity);
    int sum = 2;
    for (int i = 0; i < 4; i++)
        sum += product(alpha_of(p, x + i % 2, y + i / 2), opacity);
    return sum / 4;
}

static int expected_sample(const struct picture *dst, const struct picture *src, int plane, int x,
                           int y, int src_x, int src_y, int opacity)
{
    int half = plane == 1 || plane == 2;
    int old = dst->plane[plane][(y >> half) * dst->stride[plane] + (x >> half)];
    if (src_x < 0 || src_y < 0 || src_x >= src->width || src_y >= src->height)
        return old;
    int alpha = source_alpha(src, plane, src_x, src_y, opacity);
    int colour = alpha;
    if (plane < 3)
        colour =
            least(alpha,
                  product(src->plane[plane][(src_y >> half) * src->stride[plane] + (src_x >> half)],
                          opacity));
    return colour + product(old, 255 - alpha);
}

static void test_normal(uint64_t *state)
{
    enum picture_format to = random_below(state, 2) ? PICTURE_ALPHA : PICTURE_OPAQUE;
    enum picture_format from = random_below(state, 3) ? PICTURE_ALPHA : PICTURE_OPAQUE;
    int height = random_below(state, 4) ? 16 : 2 + 2 * random_below(state, 60);
    struct picture *dst = random_picture(state, to, 2 + 2 * random_below(state, 70), height + 8);
    struct picture *src = random_picture(state, from, 2 + 2 * random_below(state, 120), height);
    struct picture *before = picture_create(to, dst->width, dst->height);
    picture_copy(before, dst);
    int x = 2 * random_below(state, 80) - 80, y = 2 * random_below(state, 16) - 8;
    int opacity = random_below(state, 2) ? 255 : random_below(state, 256);
    struct rect clip = {2 * random_below(state, 10), 2, 40 + 2 * random_below(state, 50), 18};
    bool clipped = random_below(state, 2);
    blend_picture(dst, src, x, y, opacity, BLEND_NORMAL, clipped ? &clip : NULL);
    int wrong = 0;
    for (int plane = 0; plane < picture_planes(dst); plane++) {
        int step = plane == 1 || plane == 2 ? 2 : 1;
        for (int row = 0; row < dst->height; row += step)
            for (int column = 0; column < dst->width; column += step) {
                bool inside = !clipped || (column >= clip.x && column < clip.x + clip.width &&
                                           row >= clip.y && row < clip.y + clip.height);
                ptrdiff_t at = row / step * dst->stride[plane] + column / step;
                int expected = inside ? expected_sample(before, src, plane, column, row, column - x,
                                                        row - y, opacity)
                                      : before->plane[plane][at];
                wrong += dst->plane[plane][at] != expected;
            }
    }
    CHECK(wrong, ==, 0);
    picture_unref(&dst);
    picture_unref(&src);
    picture_unref(&before);
}

// A source whose samples exceed their alpha counts as its alpha, and nothing where alpha is 0.
static void test_excess(void)
{
    struct picture *dst = picture_create(PICTURE_OPAQUE, 2, 2);
    struct picture *src = picture_create(PICTURE_ALPHA, 2, 2);
    picture_fill(dst, (const uint8_t[4]){100, 110, 120});
    picture_fill(src, (const uint8_t[4]){200, 200, 200, 0});
    for (int mode = BLEND_NORMAL; mode <= BLEND_ADD; mode++)
        blend_picture(dst, src, 0, 0, 255, (enum blend_mode)mode, NULL);
    CHECK(dst->plane[0][0], ==, 100);
    CHECK(dst->plane[2][0], ==, 120);
    picture_fill(src, (const uint8_t[4]){200, 200, 200, 51}); // a fifth
    blend_picture(dst, src, 0, 0, 255, BLEND_NORMAL, NULL);
    CHECK(dst->plane[0][0], ==, 51 + 80);
    CHECK(dst->plane[1][0], ==, 51 + 88);
    picture_unref(&dst);
    picture_unref(&src);
}

static void test_dissolve(uint64_t *state)
{
    struct picture *from = random_picture(state, PICTURE_ALPHA, 20, 12);
    struct picture *to = random_picture(state, PICTURE_OPAQUE, 40, 10);
    struct picture *dst = picture_create(PICTURE_ALPHA, 48, 16);
    for (int mix = 0; mix < 256; mix += 17) {
        blend_dissolve(dst, from, -4, 2, 200, to, 6, 0, 255, mix);
        int wrong = 0;
        for (int plane = 0; plane < 4; plane++) {
            int step = plane == 1 || plane == 2 ? 2 : 1;
            for (int y = 0; y < 16; y += step)
                for (int x = 0; x < 48; x += step) {
                    int expected = 0, column = (x + 4) / step, row = (y - 2) / step;
                    if (x < 16 && y >= 2 && y < 14)
                        expected += product(
                            product(from->plane[plane][row * from->stride[plane] + column], 200),
                            255 - mix);
                    if (x >= 6 && x < 46 && y < 10)
                        expected += plane == 3
                                        ? mix
                                        : product(to->plane[plane][y / step * to->stride[plane] +
                                                                   (x - 6) / step],
                                                  mix);
                    wrong +=
                        dst->plane[plane][y / step * dst->stride[plane] + x / step] != expected;
                }
        }
        CHECK(wrong, ==, 0);
    }
    blend_dissolve(dst, NULL, 0, 0, 255, NULL, 0, 0, 255, 100);
    CHECK(dst->plane[3][5], ==, 0);
    picture_unref(&from);
    picture_unref(&to);
    picture_unref(&dst);
}

struct real_rgb {
    double channel[3];
};

// BT.709, limited range, straight from Rec. ITU-R BT.709-6 section 3 in real numbers.
static double real_luma(struct real_rgb c)
{
    return 16 + 219 * (0.2126 * c.channel[0] + 0.7152 * c.channel[1] + 0.0722 * c.channel[2]);
}

static struct real_rgb random_rgb(uint64_t *state)
{
    struct real_rgb c;
    for (int i = 0; i < 3; i++)
        c.channel[i] = random_below(state, 256) / 255.0;
    return c;
}

static void ycc_from_real(struct real_rgb c, double ret[3])
{
    ret[0] = real_luma(c);
    ret[1] = 128 + 224 * (c.channel[2] - (ret[0] - 16) / 219) / 1.8556;
    ret[2] = 128 + 224 * (c.channel[0] - (ret[0] - 16) / 219) / 1.5748;
}

static void fill_real(struct picture *p, struct real_rgb c, int alpha)
{
    double ycc[3];
    ycc_from_real(c, ycc);
    uint8_t colour[4] = {0, 0, 0, (uint8_t)alpha};
    for (int i = 0; i < 3; i++)
        colour[i] = (uint8_t)lround(round(ycc[i]) * alpha / 255);
    picture_fill(p, colour);
}

// Flat colours over opaque and over translucent backdrops, against W3C section 9's formula in
// reals.
static void test_mode(uint64_t *state, enum blend_mode mode)
{
    struct real_rgb backdrop = random_rgb(state), source = random_rgb(state), result;
    int source_alpha_8 = random_below(state, 2) ? 255 : 64 + random_below(state, 191);
    int backdrop_alpha_8 = random_below(state, 2) ? 255 : 64 + random_below(state, 191);
    bool opaque = backdrop_alpha_8 == 255 && random_below(state, 2);
    struct picture *dst = picture_create(opaque ? PICTURE_OPAQUE : PICTURE_ALPHA, 2, 2);
    struct picture *src = picture_create(PICTURE_ALPHA, 2, 2);
    fill_real(dst, backdrop, backdrop_alpha_8);
    fill_real(src, source, source_alpha_8);
    blend_picture(dst, src, 0, 0, 255, mode, NULL);
    double as = source_alpha_8 / 255.0, ab = backdrop_alpha_8 / 255.0, ao = as + ab * (1 - as);
    for (int i = 0; i < 3; i++) {
        double b = backdrop.channel[i], s = source.channel[i], both = fmin(1, b + s);
        if (mode == BLEND_MULTIPLY)
            both = b * s;
        if (mode == BLEND_SCREEN)
            both = b + s - b * s;
        result.channel[i] = (s * as * (1 - ab) + b * ab * (1 - as) + as * ab * both) / ao;
    }
    double expected[3], tolerance = 2.5;
    ycc_from_real(result, expected);
    for (int i = 0; i < 3; i++)
        CHECK_TRUE(fabs(dst->plane[i][0] - expected[i] * ao) < tolerance);
    CHECK_TRUE(opaque || fabs(dst->plane[3][0] - ao * 255) <= 1);
    picture_unref(&dst);
    picture_unref(&src);
}

// What changes nothing changes no bit of an opaque backdrop, colours beyond R'G'B' included.
static void test_neutral(uint64_t *state)
{
    struct picture *dst = random_picture(state, PICTURE_OPAQUE, 64, 32);
    struct picture *before = picture_create(PICTURE_OPAQUE, 64, 32);
    struct picture *src = random_picture(state, PICTURE_ALPHA, 64, 32);
    picture_copy(before, dst);
    picture_fill(src, (const uint8_t[4]){235, 128, 128, 255});
    blend_picture(dst, src, 0, 0, 180, BLEND_MULTIPLY, NULL);
    picture_fill(src, (const uint8_t[4]){16, 128, 128, 255});
    blend_picture(dst, src, 0, 0, 255, BLEND_SCREEN, NULL);
    blend_picture(dst, src, 0, 0, 90, BLEND_ADD, NULL);
    CHECK_TRUE(picture_equal(dst, before));
    blend_picture(dst, src, 0, 0, 255, BLEND_MULTIPLY, NULL); // by black
    CHECK_TRUE(!picture_equal(dst, before));
    picture_unref(&dst);
    picture_unref(&before);
    picture_unref(&src);
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    static const char *const levels[] = {"c", "avx2", "avx512"};
    setenv("VISTTER_CPU", "c", 1); // read once, at first use
    CHECK_TEXT(compose_cpu_name(), "c");
    for (int level = 0; level < 3; level++) {
        if (!compose_cpu_force(levels[level])) {
            fprintf(stderr, "this CPU lacks %s\n", levels[level]);
            continue;
        }
        CHECK_TEXT(compose_cpu_name(), levels[level]);
        for (int i = 0; i < 300; i++)
            test_normal(&state);
        test_excess();
        test_dissolve(&state);
    }
    CHECK_TRUE(!compose_cpu_force("z80"));
    for (int i = 0; i < 2000; i++)
        test_mode(&state, (enum blend_mode)(BLEND_MULTIPLY + i % 3));
    test_neutral(&state);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
