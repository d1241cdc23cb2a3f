// Wipes by what is known of them: how much of the canvas has turned when so much of the wipe is
// over, which pixels turn first and last, and that each sample is the weighted sum of wipe.h.
#include "engine/compose/wipe.h"

#include <math.h>

#include "tests/engine/compose/random_picture.h"

#define WIDTH  320
#define HEIGHT 180
#define PI     3.14159265358979323846

static const struct wipe_edge hard = {0};

// Share of the canvas that shows `to` (white, 255) and not `from` (black, transparent).
static double turned(const struct wipe_map *map, double share)
{
    struct picture *white = picture_create(PICTURE_ALPHA, WIDTH, HEIGHT);
    struct picture *dst = picture_create(PICTURE_ALPHA, WIDTH, HEIGHT);
    picture_fill(white, (const uint8_t[4]){235, 128, 128, 255});
    struct wipe_side from = {.opacity = 255}, to = {white, 0, 0, 255};
    blend_wipe(dst, &from, &to, map, &hard, (int)(share * 65536));
    double sum = 0;
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            sum += dst->plane[3][y * dst->stride[3] + x];
    picture_unref(&white);
    picture_unref(&dst);
    return sum / 255 / WIDTH / HEIGHT;
}

// Area of the unit square below x + y < 2 t.
static double corner_area(double t)
{
    return t < 0.5 ? 2 * t * t : 1 - 2 * (1 - t) * (1 - t);
}

static double line(double t)
{
    return t;
}
static double square(double t)
{
    return t * t;
}
// The band |u + v - 1| < t.
static double band(double t)
{
    return 1 - (1 - t) * (1 - t);
}

static void test_areas(void)
{
    static const struct {
        enum wipe wipe;
        double (*area)(double);
    } known[] = {
        {WIPE_LEFT_TO_RIGHT, line},
        {WIPE_TOP_TO_BOTTOM, line},
        {WIPE_BOX_TOP_LEFT, square},
        {WIPE_BOX_TOP_RIGHT, square},
        {WIPE_BOX_BOTTOM_RIGHT, square},
        {WIPE_BOX_BOTTOM_LEFT, square},
        {WIPE_FOUR_BOXES, square},
        {WIPE_BARN_DOORS_VERTICAL, line},
        {WIPE_BARN_DOORS_HORIZONTAL, line},
        {WIPE_BOX_TOP, square},
        {WIPE_BOX_RIGHT, square},
        {WIPE_BOX_BOTTOM, square},
        {WIPE_BOX_LEFT, square},
        {WIPE_DIAGONAL_TOP_LEFT, corner_area},
        {WIPE_DIAGONAL_TOP_RIGHT, corner_area},
        {WIPE_BOW_TIE_VERTICAL, corner_area},
        {WIPE_BOW_TIE_HORIZONTAL, corner_area},
        {WIPE_BARN_DOORS_BOTTOM_LEFT, band},
        {WIPE_BARN_DOORS_TOP_LEFT, band},
        {WIPE_VEE_DOWN, corner_area},
        {WIPE_VEE_LEFT, corner_area},
        {WIPE_VEE_UP, corner_area},
        {WIPE_VEE_RIGHT, corner_area},
        {WIPE_RECTANGLE, square},
        {WIPE_DIAMOND, corner_area},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct wipe_map *map = wipe_map_create(known[i].wipe, false, WIDTH, HEIGHT);
        for (int k = 0; k <= 8; k++)
            CHECK_TRUE(fabs(turned(map, k / 8.0) - known[i].area(k / 8.0)) < 0.012);
        wipe_map_destroy(&map);
    }
}

// While a circle is within the canvas its area is that of a circle: radius t times the diagonal's
// half, in units of the height.
static void test_circle(void)
{
    struct wipe_map *map = wipe_map_create(WIPE_CIRCLE, false, WIDTH, HEIGHT);
    double aspect = (double)WIDTH / HEIGHT, corner = sqrt(aspect * aspect + 1) / 2;
    for (double t = 0.1; t < 0.45; t += 0.1)
        CHECK_TRUE(fabs(turned(map, t) - PI * t * t * corner * corner / aspect) < 0.01);
    CHECK_TRUE(turned(map, 1) == 1);
    wipe_map_destroy(&map);
}

// The time at a pixel, 0..1.
static double time_at(const struct wipe_map *map, double u, double v)
{
    return map->times[(int)(v * HEIGHT) * WIDTH + (int)(u * WIDTH)] / 65535.0;
}

static double part(double value)
{
    return value - floor(value);
}

// What turns about the middle goes by the angle, of which libm knows as well.
static void test_angles(void)
{
    static const struct {
        enum wipe wipe;
        double blades, from; // turns from 12 o'clock
    } known[] = {{WIPE_CLOCK_12, 1, 0},          {WIPE_CLOCK_3, 1, 0.25},
                 {WIPE_CLOCK_6, 1, 0.5},         {WIPE_CLOCK_9, 1, 0.75},
                 {WIPE_PINWHEEL_VERTICAL, 2, 0}, {WIPE_PINWHEEL_HORIZONTAL, 2, 0.25},
                 {WIPE_PINWHEEL_FOUR, 4, 0}};
    struct wipe_map *fan = wipe_map_create(WIPE_FAN_TOP, false, WIDTH, HEIGHT);
    struct wipe_map *right = wipe_map_create(WIPE_FAN_RIGHT, false, WIDTH, HEIGHT);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct wipe_map *map = wipe_map_create(known[i].wipe, false, WIDTH, HEIGHT);
        int wrong = 0;
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) {
                double turns =
                    part(atan2(x + 0.5 - WIDTH / 2.0, HEIGHT / 2.0 - y - 0.5) / (2 * PI));
                double is = map->times[y * WIDTH + x] / 65535.0;
                double due = part(known[i].blades * part(turns - known[i].from + 1));
                wrong += fabs(is - due) > 1e-4 && fabs(is - due) < 1 - 1e-4;
                is = fan->times[y * WIDTH + x] / 65535.0;
                wrong += fabs(is - 2 * (turns < 0.5 ? turns : 1 - turns)) > 1e-4;
                is = right->times[y * WIDTH + x] / 65535.0;
                wrong += fabs(is - 2 * fmin(part(turns + 0.75), 1 - part(turns + 0.75))) > 1e-4;
            }
        CHECK(wrong, ==, 0);
        wipe_map_destroy(&map);
    }
    wipe_map_destroy(&fan);
    wipe_map_destroy(&right);
}

// Each begins where its name says, and ends opposite.
static void test_places(void)
{
    static const struct {
        enum wipe wipe;
        double first[2], last[2]; // u, v
    } known[] = {
        {WIPE_LEFT_TO_RIGHT, {0, 0.5}, {0.999, 0.5}},
        {WIPE_TOP_TO_BOTTOM, {0.5, 0}, {0.5, 0.999}},
        {WIPE_BOX_TOP_RIGHT, {0.999, 0}, {0, 0.999}},
        {WIPE_BOX_BOTTOM_LEFT, {0, 0.999}, {0.999, 0}},
        {WIPE_FOUR_BOXES, {0, 0}, {0.5, 0.5}},
        {WIPE_BARN_DOORS_VERTICAL, {0.5, 0.2}, {0, 0.2}},
        {WIPE_BARN_DOORS_HORIZONTAL, {0.2, 0.5}, {0.2, 0}},
        {WIPE_BOX_TOP, {0.5, 0}, {0.5, 0.999}},
        {WIPE_BOX_LEFT, {0, 0.5}, {0.999, 0.5}},
        {WIPE_DIAGONAL_TOP_LEFT, {0, 0}, {0.999, 0.999}},
        {WIPE_BOW_TIE_VERTICAL, {0.5, 0}, {0, 0.5}},
        {WIPE_BARN_DOORS_TOP_LEFT, {0, 0}, {0.999, 0}},
        {WIPE_VEE_DOWN, {0.5, 0}, {0, 0.999}},
        {WIPE_VEE_LEFT, {0.999, 0.5}, {0, 0}},
        {WIPE_RECTANGLE, {0.5, 0.5}, {0, 0.5}},
        {WIPE_DIAMOND, {0.5, 0.5}, {0, 0}},
        {WIPE_CIRCLE, {0.5, 0.5}, {0, 0}},
        {WIPE_ELLIPSE_HORIZONTAL, {0.5, 0.5}, {0, 0}},
        {WIPE_ELLIPSE_VERTICAL, {0.5, 0.5}, {0.999, 0.999}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        for (int reverse = 0; reverse < 2; reverse++) {
            struct wipe_map *map = wipe_map_create(known[i].wipe, reverse, WIDTH, HEIGHT);
            double first = time_at(map, known[i].first[0], known[i].first[1]);
            double last = time_at(map, known[i].last[0], known[i].last[1]);
            CHECK_TRUE(reverse ? first > 0.98 && last < 0.02 : first < 0.02 && last > 0.98);
            wipe_map_destroy(&map);
        }
    // Wider than high, and the other way round.
    struct wipe_map *map = wipe_map_create(WIPE_ELLIPSE_HORIZONTAL, false, WIDTH, HEIGHT);
    CHECK_TRUE(time_at(map, 0.75, 0.5) < time_at(map, 0.5, 0.75));
    wipe_map_destroy(&map);
    map = wipe_map_create(WIPE_ELLIPSE_VERTICAL, false, WIDTH, HEIGHT);
    CHECK_TRUE(time_at(map, 0.75, 0.5) > time_at(map, 0.5, 0.75));
    wipe_map_destroy(&map);
}

static int product(int a, int b)
{
    return (int)floor(a * b / 255.0 + 0.5);
}

// m(p) of wipe.h in real numbers, to the nearest.
static int mask_at(const struct wipe_map *map, double reach, double softness, int x, int y)
{
    double share = (reach - map->times[y * map->width + x]) / softness;
    return (int)floor(255 * (share < 0 ? 0 : share > 1 ? 1 : share) + 0.5);
}

static int sample_of(const struct wipe_side *side, int plane, int x, int y)
{
    const struct picture *p = side->picture;
    int half = plane == 1 || plane == 2;
    int column = x - side->x / (1 + half), row = y - side->y / (1 + half);
    if (!p || column < 0 || row < 0 || column >= p->width >> half || row >= p->height >> half)
        return 0;
    int sample = plane == 3 && p->format == PICTURE_OPAQUE
                     ? 255
                     : p->plane[plane][row * p->stride[plane] + column];
    return product(sample, side->opacity);
}

// All samples, at an edge that is soft and has a border; masks may round to the other side of a
// half, so that a sample may be off by what that makes.
static void test_samples(uint64_t *state)
{
    struct picture *a = random_picture(state, PICTURE_ALPHA, 40, 24);
    struct picture *b = random_picture(state, PICTURE_OPAQUE, 30, 20);
    struct picture *dst = picture_create(PICTURE_ALPHA, 48, 32);
    struct wipe_map *map = wipe_map_create(WIPE_CIRCLE, false, 48, 32);
    struct wipe_side from = {a, -4, 6, 200}, to = {b, 8, -2, 255};
    struct wipe_edge edge = {0.25, 0.1, {100, 90, 150, 220}};
    int soft = 16384, border = 6554;
    for (int share = 0; share <= 65536; share += 4096) {
        int reach = (int)((int64_t)share * (65536 + soft + border) / 65536), wrong = 0;
        blend_wipe(dst, &from, &to, map, &edge, share);
        for (int plane = 0; plane < 4; plane++) {
            int half = plane == 1 || plane == 2;
            for (int y = 0; y < 32 >> half; y++)
                for (int x = 0; x < 48 >> half; x++) {
                    int first = 2 * half, last = 2 * half;
                    for (int i = 0; i < (half ? 4 : 1); i++) {
                        int column = (x << half) + i % 2, row = (y << half) + i / 2;
                        first += mask_at(map, reach, soft, column, row);
                        last += mask_at(map, reach - border, soft, column, row);
                    }
                    first >>= 2 * half;
                    last >>= 2 * half;
                    int due = product(sample_of(&from, plane, x, y), 255 - first) +
                              product(sample_of(&to, plane, x, y), last) +
                              product(edge.colour[plane], first - last);
                    int is = dst->plane[plane][y * dst->stride[plane] + x];
                    wrong += abs(is - (due > 255 ? 255 : due)) > 2;
                }
        }
        CHECK(wrong, ==, 0);
    }
    picture_unref(&a);
    picture_unref(&b);
    picture_unref(&dst);
    wipe_map_destroy(&map);
}

// The ends are the two themselves, bit for bit, also with an edge that is wide.
static void test_ends(uint64_t *state)
{
    struct picture *a = random_picture(state, PICTURE_ALPHA, WIDTH, HEIGHT);
    struct picture *b = random_picture(state, PICTURE_ALPHA, WIDTH, HEIGHT);
    struct picture *dst = picture_create(PICTURE_ALPHA, WIDTH, HEIGHT);
    struct wipe_side from = {a, 0, 0, 255}, to = {b, 0, 0, 255};
    for (int wipe = 0; wipe < WIPE_COUNT; wipe++) {
        struct wipe_map *map = wipe_map_create((enum wipe)wipe, wipe % 2, WIDTH, HEIGHT);
        struct wipe_edge edge = {0.3 * (wipe % 3), 0.5 * (wipe % 2), {100, 90, 150, 220}};
        blend_wipe(dst, &from, &to, map, &edge, 0);
        CHECK_TRUE(picture_equal(dst, a));
        blend_wipe(dst, &from, &to, map, &edge, 65536);
        CHECK_TRUE(picture_equal(dst, b));
        wipe_map_destroy(&map);
    }
    picture_unref(&a);
    picture_unref(&b);
    picture_unref(&dst);
}

static void test_luma(void)
{
    struct picture *ramp = picture_create(PICTURE_OPAQUE, 64, 2);
    for (int x = 0; x < 64; x++)
        ramp->plane[0][x] = ramp->plane[0][ramp->stride[0] + x] = (uint8_t)(16 + x * 219 / 63);
    for (int reverse = 0; reverse < 2; reverse++) {
        struct wipe_map *map = wipe_map_of(ramp, reverse, WIDTH, HEIGHT);
        for (double t = 0; t <= 1; t += 0.25)
            CHECK_TRUE(fabs(turned(map, t) - t) < 0.02);
        CHECK_TRUE(fabs(time_at(map, 0.25, 0.5) - (reverse ? 0.75 : 0.25)) < 0.02);
        wipe_map_destroy(&map);
    }
    picture_unref(&ramp);
}

int main(void)
{
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
    test_areas();
    test_circle();
    test_angles();
    test_places();
    test_samples(&state);
    test_ends(&state);
    test_luma();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
