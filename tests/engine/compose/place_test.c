// Placing against smooth pictures whose every point is known, and against geometry.
#include "engine/compose/place.h"

#include "engine/base/crew.h"

#include <math.h>

#include "tests/engine/compose/random_picture.h"

#define CANVAS_WIDTH  640
#define CANVAS_HEIGHT 360

// A smooth picture: what plane `i` shows at a place in luma coordinates of a width x height picture
// (pixel centres at 0.5, 1.5 ...). Waves slow enough for any decent filter, and steep enough that
// chroma half a sample off costs several dB.
static double smooth(int plane, double x, double y, int width, int height)
{
    double u = x / width, v = y / height;
    switch (plane) {
    case 0:
        return 125 + 60 * sin(5 * u + 3 * v) + 40 * cos(7 * v - 4 * u);
    case 1:
        return 128 + 100 * sin(10 * u + 1) * cos(10 * v);
    default:
        return 120 + 90 * cos(9 * u - 9 * v);
    }
}

// Where a sample of a plane stands: chroma on the left of its two pixels, between its two rows.
static double site_x(int plane, int x)
{
    return plane == 0 ? x + 0.5 : 2 * x + 0.5;
}

static double site_y(int plane, int y)
{
    return plane == 0 ? y + 0.5 : 2 * y + 1;
}

static struct picture *smooth_picture(enum picture_format format, int width, int height)
{
    struct picture *p = picture_create(format, width, height);
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(p, i); y++)
            for (int x = 0; x < plane_width(p, i); x++)
                p->plane[i][y * p->stride[i] + x] =
                    (uint8_t)lround(smooth(i, site_x(i, x), site_y(i, y), width, height));
    for (int y = 0; format == PICTURE_ALPHA && y < height; y++)
        memset(p->plane[3] + y * p->stride[3], 255, (size_t)width);
    return p;
}

// Worst of the planes' PSNR in dB between a placed smooth picture and what it should show, over the
// samples that are opaque and at least `margin` pixels inside of the source.
static double placed_psnr(const struct picture *p, int at_x, int at_y,
                          const struct placement *where, int width, int height, double margin)
{
    double worst = 1000, angle = where->rotation * M_PI / 180;
    for (int i = 0; i < 3; i++) {
        double square = 0;
        int count = 0, size = i ? 2 : 1;
        for (int y = 0; y < plane_height(p, i); y++)
            for (int x = 0; x < plane_width(p, i); x++) {
                double dx = site_x(i, x) + at_x - where->x, dy = site_y(i, y) + at_y - where->y;
                double u = dx * cos(angle) + dy * sin(angle) + where->anchor_x * where->width;
                double v = dy * cos(angle) - dx * sin(angle) + where->anchor_y * where->height;
                double share_x = 1 - where->crop_left - where->crop_right;
                double share_y = 1 - where->crop_top - where->crop_bottom;
                u = (where->crop_left + u / where->width * share_x) * width;
                v = (where->crop_top + v / where->height * share_y) * height;
                if (u < where->crop_left * width + margin ||
                    v < where->crop_top * height + margin ||
                    u > (1 - where->crop_right) * width - margin ||
                    v > (1 - where->crop_bottom) * height - margin)
                    continue;
                if (p->format == PICTURE_ALPHA &&
                    p->plane[3][y * size * p->stride[3] + x * size] != 255)
                    continue;
                double error = p->plane[i][y * p->stride[i] + x] - smooth(i, u, v, width, height);
                square += error * error;
                count++;
            }
        CHECK(count, >, 100);
        double psnr = 10 * log10(255 * 255 / (square / count + 1e-9));
        worst = psnr < worst ? psnr : worst;
    }
    return worst;
}

static struct placement corner_placement(double x, double y, double width, double height)
{
    return (struct placement){.x = x, .y = y, .width = width, .height = height};
}

static struct picture *place(struct placer *placer, const struct picture *src,
                             const struct placement *where, int *x, int *y)
{
    struct picture *out = NULL;
    CHECK_OK(placer_place(placer, src, where, CANVAS_WIDTH, CANVAS_HEIGHT, &out, x, y));
    return out;
}

static void test_smooth(struct placer *placer, enum picture_format format)
{
    static const struct placement cases[] = {
        {.width = 640, .height = 360},
        {.x = 320, .y = 180, .anchor_x = 0.5, .anchor_y = 0.5, .width = 200, .height = 120},
        {.x = 33.3, .y = 20.75, .width = 301.5, .height = 99.25},
        {.x = 101, .y = 51, .width = 256, .height = 144},
        {.x = -300, .y = -200, .width = 1500, .height = 900},
        {.x = 10, .y = 10, .width = 400, .height = 300, .crop_left = 0.25, .crop_bottom = 0.125},
        {.x = 320,
         .y = 180,
         .anchor_x = 0.5,
         .anchor_y = 0.5,
         .width = 300,
         .height = 200,
         .rotation = 30},
        {.x = 300,
         .y = 100,
         .anchor_x = 0.2,
         .anchor_y = 0.3,
         .width = 500,
         .height = 80,
         .rotation = -77.7},
        // Beyond the size that rotation draws upright: enlarged while turning.
        {.x = 200,
         .y = 100,
         .anchor_x = 0.5,
         .anchor_y = 0.25,
         .width = 6000,
         .height = 3000,
         .rotation = 12},
    };
    struct picture *src = smooth_picture(format, 256, 144);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int x, y;
        struct picture *out = place(placer, src, &cases[i], &x, &y);
        double psnr = placed_psnr(out, x, y, &cases[i], 256, 144, 4);
        if (psnr < 54)
            fprintf(stderr, "case %zu: %.1f dB\n", i, psnr);
        CHECK_TRUE(psnr > 54);
        picture_unref(&out);
    }
    picture_unref(&src);
}

// Shrunk fine stripes give grey, not coarse stripes: the filter is widened.
static void test_shrink(struct placer *placer)
{
    struct picture *src = picture_create(PICTURE_OPAQUE, 800, 600);
    picture_clear(src);
    for (int y = 0; y < 600; y++)
        for (int x = 0; x < 800; x++)
            src->plane[0][y * src->stride[0] + x] = (uint8_t)(x % 3 * 50 + 100);
    struct placement where = corner_placement(0, 0, 200, 150);
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    CHECK(out->format, ==, PICTURE_OPAQUE);
    for (y = 0; y < 150; y++)
        for (x = 1; x < 199; x++) // the outermost see the edge's stripe repeated
            CHECK_TRUE(abs(out->plane[0][y * out->stride[0] + x] - 150) <= 3);
    picture_unref(&out);
    picture_unref(&src);
}

static void test_identity(struct placer *placer, uint64_t *state)
{
    struct picture *src = random_picture(state, PICTURE_OPAQUE, 64, 48), *out;
    int x, y;
    struct placement where = corner_placement(100, -10, 64, 48);
    out = place(placer, src, &where, &x, &y);
    CHECK_TRUE(out == src);
    CHECK(x, ==, 100);
    CHECK(y, ==, -10);
    picture_unref(&out);

    // By an odd number of pixels: luma as it is, edges of alpha where the rectangle ends.
    where.x = 101;
    where.y = 7;
    out = place(placer, src, &where, &x, &y);
    CHECK(x, ==, 100);
    CHECK(y, ==, 6);
    CHECK(out->width, ==, 66);
    CHECK(out->format, ==, PICTURE_ALPHA);
    for (int row = 0; row < 48; row++) {
        CHECK_BYTES(out->plane[0] + (row + 1) * out->stride[0] + 1,
                    src->plane[0] + row * src->stride[0], 64);
        CHECK(out->plane[3][(row + 1) * out->stride[3]], ==, 0);
        CHECK(out->plane[3][(row + 1) * out->stride[3] + 1], ==, 255);
        CHECK(out->plane[3][(row + 1) * out->stride[3] + 65], ==, 0);
    }
    CHECK(out->plane[0][5], ==, 0);
    picture_unref(&out);
    picture_unref(&src);
}

static uint8_t alpha_at(const struct picture *p, int x, int y)
{
    return p->plane[3][y * p->stride[3] + x];
}

static void test_coverage(struct placer *placer)
{
    struct picture *src = picture_create(PICTURE_OPAQUE, 40, 40);
    picture_fill(src, (const uint8_t[4]){200, 100, 160});
    struct placement where = corner_placement(10.25, 20.5, 20, 10);
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    CHECK(x, ==, 10);
    CHECK(y, ==, 20);
    CHECK(alpha_at(out, 0, 5), ==, 191); // 3/4 of 255
    CHECK(alpha_at(out, 1, 5), ==, 255);
    CHECK(alpha_at(out, 20, 5), ==, 64);  // 1/4
    CHECK(alpha_at(out, 0, 0), ==, 96);   // 3/8
    CHECK(alpha_at(out, 5, 10), ==, 128); // 1/2
    CHECK(out->plane[0][0], ==, 75);      // 200 * 96 / 255
    CHECK(out->plane[0][5 * out->stride[0] + 5], ==, 200);
    // (96 + 128 + 191 + 255 + 2) / 4 = 168
    CHECK(out->plane[1][0], ==, 66);
    picture_unref(&out);
    picture_unref(&src);
}

static void test_radius(struct placer *placer)
{
    struct picture *src = picture_create(PICTURE_OPAQUE, 40, 40);
    picture_fill(src, (const uint8_t[4]){200, 100, 160});
    int x, y;
    struct placement where = corner_placement(20, 20, 100, 80);
    where.radius = 30;
    struct picture *out = place(placer, src, &where, &x, &y);
    double area = 0;
    for (y = 0; y < 80; y++)
        for (x = 0; x < 100; x++) {
            int alpha = alpha_at(out, x, y);
            area += alpha / 255.0;
            CHECK(alpha, ==, alpha_at(out, 99 - x, y));
            CHECK(alpha, ==, alpha_at(out, x, 79 - y));
            double dx = fmax(fmax(30 - x - 0.5, x + 0.5 - 70), 0);
            double dy = fmax(fmax(30 - y - 0.5, y + 0.5 - 50), 0);
            if (hypot(dx, dy) > 30.8)
                CHECK(alpha, ==, 0);
            if (hypot(dx, dy) < 29.2)
                CHECK(alpha, ==, 255);
        }
    CHECK_TRUE(fabs(area - (100 * 80 - (4 - M_PI) * 30 * 30)) < 3);
    picture_unref(&out);
    picture_unref(&src);
}

// What is cropped away does not bleed in, also when enlarged.
static void test_crop(struct placer *placer)
{
    struct picture *src = picture_create(PICTURE_OPAQUE, 64, 64);
    picture_fill(src, (const uint8_t[4]){40, 100, 160});
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(src, i); y++)
            memset(src->plane[i] + y * src->stride[i], 220, (size_t)plane_width(src, i) / 2);
    struct placement where = corner_placement(2, 2, 300, 300);
    where.crop_left = 0.5;
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    for (int i = 0; i < 3; i++)
        for (y = 0; y < plane_height(out, i); y++)
            for (x = 0; x < plane_width(out, i); x++)
                CHECK(out->plane[i][y * out->stride[i] + x], ==, i == 0 ? 40 : i == 1 ? 100 : 160);
    picture_unref(&out);
    picture_unref(&src);
}

// A chroma edge stays where the luma edge is. In a left-sited picture the sample at luma 31.5
// (index 15 is at 30.5, 16 at 32.5) is half way; enlarging by 4 moves the edge to 4 times the
// place.
static void test_chroma_site(struct placer *placer)
{
    struct picture *src = picture_create(PICTURE_OPAQUE, 64, 32);
    picture_fill(src, (const uint8_t[4]){60, 80, 80});
    for (int y = 0; y < 32; y++)
        memset(src->plane[0] + y * src->stride[0] + 32, 180, 32); // edge at 32.0
    for (int y = 0; y < 16; y++)
        memset(src->plane[1] + y * src->stride[1] + 16, 180, 16); // edge at 31.5
    struct placement where = corner_placement(0, 0, 256, 128);
    int x, y, luma = 0, chroma = 0;
    struct picture *out = place(placer, src, &where, &x, &y);
    while (out->plane[0][10 * out->stride[0] + luma] < 120)
        luma++;
    while (out->plane[1][10 * out->stride[1] + chroma] < 130)
        chroma++;
    CHECK(luma, ==, 128);  // first bright pixel centre beyond 4 * 32
    CHECK(chroma, ==, 63); // 2 * 63 + 0.5 is the first beyond 4 * 31.5 = 126
    picture_unref(&out);
    picture_unref(&src);
}

static void test_rotation(struct placer *placer, uint64_t *state)
{
    struct picture *src = random_picture(state, PICTURE_OPAQUE, 60, 40);
    struct placement where = {.x = 130,
                              .y = 120,
                              .anchor_x = 0.5,
                              .anchor_y = 0.5,
                              .width = 60,
                              .height = 40,
                              .rotation = 180};
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    for (int row = 0; row < 40; row++)
        for (int column = 0; column < 60; column++) {
            ptrdiff_t at = (100 + row - y) * out->stride[0] + 100 + column - x;
            CHECK(out->plane[0][at], ==, src->plane[0][(39 - row) * src->stride[0] + 59 - column]);
            CHECK(out->plane[3][at], ==, 255);
        }
    picture_unref(&out);
    where.rotation = 90;
    out = place(placer, src, &where, &x, &y);
    for (int row = 0; row < 60; row++) // upright (c, r) comes to (x, y) = (40 - 1 - r, c)
        for (int column = 0; column < 40; column++) {
            ptrdiff_t at = (90 + row - y) * out->stride[0] + 110 + column - x;
            CHECK(out->plane[0][at], ==, src->plane[0][(39 - column) * src->stride[0] + row]);
        }
    picture_unref(&out);
    for (int degrees = 0; degrees < 360; degrees += 23) {
        where.rotation = degrees;
        out = place(placer, src, &where, &x, &y);
        double area = 0;
        for (int row = 0; degrees && row < out->height; row++)
            for (int column = 0; column < out->width; column++)
                area += alpha_at(out, column, row) / 255.0;
        CHECK_TRUE(degrees == 0 || fabs(area - 60 * 40) < 12);
        picture_unref(&out);
    }
    picture_unref(&src);
}

static struct placement random_placement(uint64_t *state)
{
    struct placement p = {
        .x = random_below(state, 700 * 256) / 256.0 - 30,
        .y = random_below(state, 400 * 256) / 256.0 - 20,
        .width = random_below(state, 3) ? random_below(state, 400 * 64) / 64.0 : 120,
        .height = random_below(state, 3) ? random_below(state, 300 * 64) / 64.0 : 70,
        .anchor_x = random_below(state, 5) / 4.0,
        .anchor_y = random_below(state, 5) / 4.0,
    };
    if (random_below(state, 3) == 0)
        p.radius = random_below(state, 60);
    if (random_below(state, 3) == 0)
        p.rotation = random_below(state, 720) - 360;
    if (random_below(state, 3) == 0)
        p.crop_left = random_below(state, 100) / 120.0;
    if (random_below(state, 3) == 0)
        p.crop_bottom = random_below(state, 100) / 120.0;
    if (random_below(state, 3) == 0) {
        p.border = random_below(state, 40 * 16) / 16.0;
        p.border_colour = (struct colour){200, 90, 10, (uint8_t)random_below(state, 256)};
    }
    return p;
}

static void check_consistent(const struct picture *p)
{
    for (int y = 0; y < p->height; y += 2)
        for (int x = 0; x < p->width; x += 2) {
            int sum = 2, wrong = 0;
            for (int i = 0; i < 4; i++) {
                int alpha = alpha_at(p, x + i % 2, y + i / 2);
                sum += alpha;
                wrong += p->plane[0][(y + i / 2) * p->stride[0] + x + i % 2] > alpha;
            }
            wrong += p->plane[1][y / 2 * p->stride[1] + x / 2] > sum / 4;
            wrong += p->plane[2][y / 2 * p->stride[2] + x / 2] > sum / 4;
            if (wrong)
                CHECK(wrong, ==, 0);
        }
    check_count++;
}

// All levels give the same bits, a second placer too; and a smaller canvas only cuts.
static void test_equal(uint64_t *state)
{
    static const char *const levels[] = {"c", "avx2", "avx512"};
    struct picture *src =
        random_picture(state, random_below(state, 2) ? PICTURE_ALPHA : PICTURE_OPAQUE,
                       2 + 2 * random_below(state, 120), 2 + 2 * random_below(state, 80));
    struct placement where = random_placement(state);
    struct picture *first = NULL;
    int x = 0, y = 0;
    for (int i = 0; i < 3; i++) {
        if (!compose_cpu_force(levels[i]))
            continue;
        struct placer *placer = placer_create();
        int at_x, at_y;
        struct picture *out = place(placer, src, &where, &at_x, &at_y);
        placer_destroy(&placer);
        if (i == 0) {
            first = out;
            x = at_x;
            y = at_y;
            continue;
        }
        CHECK(at_x, ==, x);
        CHECK(at_y, ==, y);
        CHECK_TRUE(out ? first && picture_equal(out, first) : !first);
        picture_unref(&out);
    }
    if (first && first->format == PICTURE_ALPHA && first != src)
        check_consistent(first);
    struct placer *placer = placer_create();
    struct picture *less = NULL,
                   *more = picture_create(PICTURE_OPAQUE, CANVAS_WIDTH, CANVAS_HEIGHT);
    struct picture *cut = picture_create(PICTURE_OPAQUE, 200, 100);
    picture_clear(more);
    picture_clear(cut);
    int at_x, at_y;
    CHECK_OK(placer_place(placer, src, &where, 200, 100, &less, &at_x, &at_y));
    if (first)
        blend_picture(more, first, x, y, 255, BLEND_NORMAL, NULL);
    if (less)
        blend_picture(cut, less, at_x, at_y, 255, BLEND_NORMAL, NULL);
    for (int i = 0; i < 3; i++)
        for (int row = 0; row < plane_height(cut, i); row++)
            if (memcmp(cut->plane[i] + row * cut->stride[i], more->plane[i] + row * more->stride[i],
                       (size_t)plane_width(cut, i)))
                CHECK_BYTES(cut->plane[i] + row * cut->stride[i],
                            more->plane[i] + row * more->stride[i], plane_width(cut, i));
    placer_destroy(&placer);
    picture_unref(&less);
    picture_unref(&more);
    picture_unref(&cut);
    picture_unref(&first);
    picture_unref(&src);
}

// Large pictures are shared out by rows: any number of hands gives the same.
static void test_hands(uint64_t *state)
{
    static const struct placement cases[] = {
        {.x = 3.25, .y = 7.5, .width = 2500, .height = 1500},
        {.x = 3, .y = 7, .width = 700, .height = 900, .radius = 40},
        {.x = 300, .y = 100, .width = 1200, .height = 700, .rotation = 33},
        {.x = 300.5,
         .y = 100,
         .width = 1200,
         .height = 700,
         .rotation = 33,
         .radius = 30,
         .border = 11,
         .border_colour = {9, 80, 160, 200}},
    };
    struct picture *src[2] = {random_picture(state, PICTURE_OPAQUE, 1280, 720),
                              random_picture(state, PICTURE_ALPHA, 1280, 720)};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        struct picture *alone = NULL;
        for (int hands = 1; hands < 4; hands++) {
            struct placer *placer = placer_create();
            struct picture *out = NULL;
            int x, y;
            crew_start(hands);
            CHECK_OK(placer_place(placer, src[i % 2], &cases[i / 2], 2560, 1440, &out, &x, &y));
            crew_end();
            if (hands == 1)
                alone = picture_ref(out);
            CHECK_TRUE(picture_equal(alone, out));
            picture_unref(&out);
            placer_destroy(&placer);
        }
        picture_unref(&alone);
    }
    picture_unref(&src[0]);
    picture_unref(&src[1]);
}

static void test_nothing(struct placer *placer)
{
    struct picture *src = smooth_picture(PICTURE_OPAQUE, 32, 32);
    static const struct placement nothing[] = {
        {.x = 5000, .width = 32, .height = 32},
        {.y = -32, .width = 32, .height = 32},
        {.width = 0, .height = 32},
        {.width = -5, .height = 32},
        {.width = 32, .height = 32, .crop_left = 0.6, .crop_right = 0.4},
        {.width = NAN, .height = 32},
        {.x = 1e300, .width = 32, .height = 32, .rotation = 20},
        {.x = 10, .y = 10, .width = 1e-9, .height = 32},
    };
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        int x, y;
        struct picture *out = place(placer, src, &nothing[i], &x, &y);
        CHECK_TRUE(out == NULL);
    }
    // Enormous, but on the canvas.
    struct placement huge = {.x = 320,
                             .y = 180,
                             .anchor_x = 0.5,
                             .anchor_y = 0.5,
                             .width = 1e300,
                             .height = INFINITY,
                             .radius = 1e300,
                             .rotation = 45};
    int x, y;
    struct picture *out = place(placer, src, &huge, &x, &y);
    picture_unref(&out);
    picture_unref(&src);
}

static void test_key(void)
{
    struct placement a = {.x = 10, .y = 20, .width = 100, .height = 50}, b = a;
    CHECK_TRUE(placement_key(&a) == placement_key(&b));
    b.x += 1.0 / 2048;
    b.anchor_x = 0.25;
    b.x += 25; // the same corner
    CHECK_TRUE(placement_key(&a) == placement_key(&b));
    b.x += 1.0 / 128;
    CHECK_TRUE(placement_key(&a) != placement_key(&b));
    b = a;
    b.rotation = 1;
    CHECK_TRUE(placement_key(&a) != placement_key(&b));
    b.rotation = 360;
    CHECK_TRUE(placement_key(&a) == placement_key(&b));
    b.radius = 1;
    CHECK_TRUE(placement_key(&a) != placement_key(&b));
}

static void check_resolved(struct placement p, int nw, int nh, double width, double height)
{
    struct placement r = placement_resolve(&p, nw, nh, 1920, 1080);
    CHECK_TRUE(fabs(r.width - width) < 1e-9);
    CHECK_TRUE(fabs(r.height - height) < 1e-9);
    struct placement again = placement_resolve(&r, nw, nh, 1920, 1080);
    CHECK_TRUE(placement_key(&r) == placement_key(&again));
}

static void test_resolve(void)
{
    check_resolved((struct placement){.fit = FIT_NONE}, 300, 200, 300, 200);
    check_resolved((struct placement){.fit = FIT_NONE, .crop_left = 0.5}, 300, 200, 150, 200);
    check_resolved((struct placement){.fit = FIT_CONTAIN}, 400, 300, 1440, 1080);
    check_resolved((struct placement){.fit = FIT_CONTAIN}, 400, 100, 1920, 480);
    check_resolved((struct placement){.fit = FIT_FILL}, 400, 100, 1920, 1080);
    check_resolved((struct placement){.fit = FIT_COVER}, 400, 300, 1920, 1080);
    check_resolved((struct placement){.fit = FIT_CONTAIN, .width = 100, .height = 90}, 1, 1, 100,
                   90);
    check_resolved((struct placement){.width = 100}, 400, 300, 100, 75);
    struct placement cover = {.fit = FIT_COVER};
    cover = placement_resolve(&cover, 400, 300, 1920, 1080); // 4:3 in 16:9: a quarter of the height
    CHECK_TRUE(fabs(cover.crop_top - 0.125) < 1e-9);
    CHECK_TRUE(fabs(cover.crop_bottom - 0.125) < 1e-9);
    CHECK_TRUE(cover.crop_left == 0);
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    struct placer *placer = placer_create();
    test_smooth(placer, PICTURE_OPAQUE);
    test_smooth(placer, PICTURE_ALPHA);
    test_shrink(placer);
    test_identity(placer, &state);
    test_coverage(placer);
    test_radius(placer);
    test_crop(placer);
    test_chroma_site(placer);
    test_rotation(placer, &state);
    for (int i = 0; i < 200; i++)
        test_equal(&state);
    test_hands(&state);
    test_nothing(placer);
    test_key();
    test_resolve();
    placer_destroy(&placer);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
