// Borders and shadows against geometry, and against a blur computed as its definition says.
#include "engine/compose/convert.h"
#include "engine/compose/group.h"
#include "engine/compose/place.h"
#include "engine/compose/shadow.h"

#include "engine/base/crew.h"

#include <math.h>

#include "tests/engine/compose/random_picture.h"

#define CANVAS_WIDTH  640
#define CANVAS_HEIGHT 360

static const uint8_t inner[4] = {200, 100, 160, 255};
static const struct colour border_colour = {220, 30, 60, 255};
static uint8_t edge[4]; // border_colour as Y'CbCr

static struct picture *plain_picture(int width, int height)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, width, height);
    picture_fill(p, inner);
    return p;
}

static struct placement bordered(double x, double y, double width, double height, double border)
{
    return (struct placement){.x = x,
                              .y = y,
                              .width = width,
                              .height = height,
                              .border = border,
                              .border_colour = border_colour};
}

static struct picture *place(struct placer *placer, const struct picture *src,
                             const struct placement *where, int *x, int *y)
{
    struct picture *out = NULL;
    CHECK_OK(placer_place(placer, src, where, CANVAS_WIDTH, CANVAS_HEIGHT, &out, x, y));
    return out;
}

// A sample of `p`, which stands at (x, y), at a place of the canvas; 0 beside the picture.
static int at(const struct picture *p, int x, int y, int plane, int column, int row)
{
    column -= x;
    row -= y;
    if (column < 0 || row < 0 || column >= p->width || row >= p->height)
        return 0;
    int shift = plane == 1 || plane == 2;
    return p->plane[plane][(row >> shift) * p->stride[plane] + (column >> shift)];
}

static void check_colour(const struct picture *p, int x, int y, int column, int row,
                         const uint8_t colour[4], int tolerance)
{
    for (int i = 0; i < 4; i++) {
        int off = abs(at(p, x, y, i, column, row) - colour[i]);
        if (off > tolerance)
            fprintf(stderr, "pixel %d,%d plane %d\n", column, row, i);
        CHECK(off, <=, tolerance);
    }
}

static double alpha_sum(const struct picture *p)
{
    double sum = 0;
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            sum += p->plane[3][y * p->stride[3] + x];
    return sum / 255;
}

// Whole pixels: every pixel is the picture's, the border's or nobody's, to the bit.
static void test_square(struct placer *placer)
{
    struct picture *src = plain_picture(100, 80);
    struct placement where = bordered(20, 30, 100, 80, 6);
    const uint8_t nothing[4] = {0};
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    CHECK(out->format, ==, PICTURE_ALPHA);
    for (int row = 20; row < 120; row++)
        for (int column = 10; column < 130; column++) {
            bool in = column >= 20 && column < 120 && row >= 30 && row < 110;
            bool on = column >= 14 && column < 126 && row >= 24 && row < 116;
            check_colour(out, x, y, column, row, in ? inner : on ? edge : nothing, 0);
        }
    picture_unref(&out);
    // A quarter of a pixel to the right: where both share a pixel they fill it, 3 to 1.
    where.x = 20.25;
    out = place(placer, src, &where, &x, &y);
    CHECK(at(out, x, y, 3, 20, 60), ==, 255);
    CHECK(abs(at(out, x, y, 0, 20, 60) - (3 * inner[0] + edge[0] + 2) / 4), <=, 1);
    CHECK(abs(at(out, x, y, 0, 120, 60) - (inner[0] + 3 * edge[0] + 2) / 4), <=, 1);
    CHECK(at(out, x, y, 3, 14, 60), ==, 191);
    CHECK(at(out, x, y, 3, 126, 60), ==, 64);
    picture_unref(&out);
    // A translucent one: half of the luma of the opaque one, in the ring alone.
    where = bordered(20, 30, 100, 80, 6);
    where.border_colour.alpha = 128;
    out = place(placer, src, &where, &x, &y);
    check_colour(out, x, y, 60, 60, inner, 0);
    CHECK(at(out, x, y, 3, 16, 60), ==, 128);
    CHECK(abs(at(out, x, y, 0, 16, 60) - edge[0] * 128 / 255), <=, 1);
    picture_unref(&out);
    // One that nobody sees changes nothing at all.
    where.border_colour.alpha = 0;
    out = place(placer, src, &where, &x, &y);
    CHECK_TRUE(out == src);
    picture_unref(&out);
    picture_unref(&src);
}

static void test_round(struct placer *placer)
{
    struct picture *src = plain_picture(40, 40);
    struct placement where = bordered(40, 40, 100, 80, 9);
    const double radius = 25, outer = 34;
    const uint8_t nothing[4] = {0};
    where.radius = radius;
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    for (int row = 28; row < 132; row++)
        for (int column = 28; column < 152; column++) {
            // From the middle of the corners; both edges are circles about it.
            double dx = fmax(fmax(65 - column - 0.5, column + 0.5 - 115), 0);
            double dy = fmax(fmax(65 - row - 0.5, row + 0.5 - 95), 0);
            double distance = hypot(dx, dy);
            int luma_only = fabs(distance - radius) < 2.5 || fabs(distance - outer) < 2.5;
            const uint8_t *colour = distance < radius ? inner : distance < outer ? edge : nothing;
            if (!luma_only) // chroma is of 2x2 pixels
                check_colour(out, x, y, column, row, colour, 0);
            if (distance < outer - 0.8) // no seam
                CHECK(at(out, x, y, 3, column, row), ==, 255);
            if (fabs(distance - radius) > 0.8 && fabs(distance - outer) > 0.8)
                CHECK(at(out, x, y, 0, column, row), ==, colour[0]);
        }
    CHECK_TRUE(fabs(alpha_sum(out) - (118 * 98 - (4 - M_PI) * outer * outer)) < 3);
    picture_unref(&out);
    picture_unref(&src);
}

// Places in the turned picture's own coordinates, from its middle.
static void test_turned(struct placer *placer)
{
    struct picture *src = plain_picture(120, 80);
    for (int degrees = 3; degrees < 360; degrees += 23) {
        struct placement where = bordered(300, 180, 120, 80, 10);
        where.anchor_x = where.anchor_y = 0.5;
        where.rotation = degrees;
        where.radius = degrees % 2 ? 20 : 0;
        double s = sin(degrees * M_PI / 180), c = cos(degrees * M_PI / 180);
        const uint8_t nothing[4] = {0};
        // Corner: the middle of a round one is at (40, 20) from the picture's middle.
        double on = where.radius > 0 ? 40 + 25 * M_SQRT1_2 : 65,
               beyond = where.radius > 0 ? 65 : 74;
        double on_y = where.radius > 0 ? 20 + 25 * M_SQRT1_2 : 45,
               beyond_y = where.radius > 0 ? 45 : 54;
        const struct {
            double x, y;
            const uint8_t *colour;
        } places[] = {
            {0, 0, inner},
            {56, 0, inner},
            {-56, 10, inner},
            {0, 36, inner},
            {65, 0, edge},
            {-65, -15, edge},
            {10, 45, edge},
            {-30, -45, edge},
            {75, 0, nothing},
            {0, -55, nothing},
            {on, on_y, edge},
            {-on, on_y, edge},
            {beyond, beyond_y, nothing},
            {beyond, -beyond_y, nothing},
        };
        int x, y;
        struct picture *out = place(placer, src, &where, &x, &y);
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            double column = 300 + c * places[i].x - s * places[i].y;
            double row = 180 + s * places[i].x + c * places[i].y;
            check_colour(out, x, y, (int)floor(column), (int)floor(row), places[i].colour, 1);
        }
        double outer = where.radius > 0 ? 30 : 0;
        CHECK_TRUE(fabs(alpha_sum(out) - (140 * 100 - (4 - M_PI) * outer * outer)) < 20);
        picture_unref(&out);
    }
    picture_unref(&src);
}

// What a translucent picture lets through is not its border.
static void test_translucent(struct placer *placer)
{
    struct picture *src = picture_create(PICTURE_ALPHA, 60, 40);
    const uint8_t pale[4] = {50, 30, 40, 80};
    picture_fill(src, pale);
    struct placement where = bordered(100, 100, 60, 40, 4);
    int x, y;
    struct picture *out = place(placer, src, &where, &x, &y);
    check_colour(out, x, y, 100, 100, pale, 0);
    check_colour(out, x, y, 159, 139, pale, 0);
    check_colour(out, x, y, 98, 120, edge, 0);
    picture_unref(&out);
    picture_unref(&src);
}

static bool hides(const struct picture *p, int x, int y)
{
    return group_layer_hides(CANVAS_WIDTH, CANVAS_HEIGHT, p, x, y, 255, BLEND_NORMAL);
}

// A picture hides what is beneath it when it covers the canvas itself, not with its border.
static void test_hiding(struct placer *placer)
{
    struct picture *src = plain_picture(CANVAS_WIDTH, CANVAS_HEIGHT);
    static const struct {
        double x, y, width, height;
        bool hides;
    } cases[] = {
        {0, 0, CANVAS_WIDTH, CANVAS_HEIGHT, true},
        {-30, -20, CANVAS_WIDTH + 100, CANVAS_HEIGHT + 40, true},
        {0.5, 0, CANVAS_WIDTH, CANVAS_HEIGHT, false},
        {10, 10, CANVAS_WIDTH - 20, CANVAS_HEIGHT - 20, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct placement p = bordered(cases[i].x, cases[i].y, cases[i].width, cases[i].height, 10);
        p.shadow = (struct shadow){10, 10, 6, {0, 0, 0, 255}};
        struct picture *shadow = NULL;
        int x, y, shadow_x, shadow_y;
        struct picture *out = place(placer, src, &p, &x, &y);
        CHECK(hides(out, x, y), ==, cases[i].hides);
        CHECK_OK(shadow_draw(&p, CANVAS_WIDTH, CANVAS_HEIGHT, &shadow, &shadow_x, &shadow_y));
        CHECK_OK(shadow_put(shadow, shadow_x, shadow_y, CANVAS_WIDTH, CANVAS_HEIGHT, &out, &x, &y));
        CHECK(hides(out, x, y), ==, cases[i].hides);
        picture_unref(&out);
        picture_unref(&shadow);
    }
    picture_unref(&src);
}

static struct picture *draw_shadow(const struct placement *p, int width, int height, int *x, int *y)
{
    struct picture *shadow = NULL;
    CHECK_OK(shadow_draw(p, width, height, &shadow, x, y));
    return shadow;
}

// Share of a stretch from..to that three means of 2 box + 1 pixels leave at each of `count` pixels.
static void blurred_stretch(double *profile, int count, double from, double to, int box)
{
    double *before = calloc((size_t)count, sizeof *before);
    for (int i = 0; i < count; i++)
        profile[i] = fmax(0, fmin(to, i + 1) - fmax(from, i));
    for (int pass = 0; pass < 3; pass++) {
        memcpy(before, profile, (size_t)count * sizeof *before);
        for (int i = 0; i < count; i++) {
            double sum = 0;
            for (int j = i - box; j <= i + box; j++)
                sum += j < 0 || j >= count ? 0 : before[j];
            profile[i] = sum / (2 * box + 1);
        }
    }
    free(before);
}

// A square-cornered upright shape blurs in each direction by itself.
static void test_blur(void)
{
    static const struct {
        double x, y, width, height, border, blur;
        struct shadow shadow;
    } cases[] = {
        {.x = 200, .y = 100, .width = 240, .height = 120, .shadow = {10, -6, 12, {0, 0, 0, 255}}},
        {.x = 200, .y = 100, .width = 30, .height = 20, .shadow = {0, 0, 40, {90, 0, 0, 200}}},
        {.x = 200.25,
         .y = 100.5,
         .width = 101.5,
         .height = 99,
         .border = 7,
         .shadow = {3.5, 8, 20, {0, 0, 255, 160}}},
        {.x = 200, .y = 100, .width = 200, .height = 100, .shadow = {-5, 5, 0, {0, 0, 0, 255}}},
    };
    double across[CANVAS_WIDTH], down[CANVAS_HEIGHT];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct placement p =
            bordered(cases[i].x, cases[i].y, cases[i].width, cases[i].height, cases[i].border);
        const struct shadow *s = &cases[i].shadow;
        p.shadow = *s;
        double left = p.x - p.border + s->x, top = p.y - p.border + s->y;
        blurred_stretch(across, CANVAS_WIDTH, left, left + p.width + 2 * p.border,
                        (int)(s->blur / 2));
        blurred_stretch(down, CANVAS_HEIGHT, top, top + p.height + 2 * p.border,
                        (int)(s->blur / 2));
        int x, y, worst = 0;
        struct picture *shadow = draw_shadow(&p, CANVAS_WIDTH, CANVAS_HEIGHT, &x, &y);
        for (int row = 0; row < CANVAS_HEIGHT; row++)
            for (int column = 0; column < CANVAS_WIDTH; column++) {
                double expected = s->colour.alpha * across[column] * down[row];
                int off = abs(at(shadow, x, y, 3, column, row) - (int)lround(expected));
                worst = off > worst ? off : worst;
            }
        CHECK(worst, <=, 1);
        picture_unref(&shadow);
    }
}

// Blurring takes nothing away, and moves nothing; neither does turning.
static void test_shadow_whole(void)
{
    for (int degrees = 0; degrees < 360; degrees += 29) {
        struct placement p = bordered(320, 170, 120, 80, 5);
        p.anchor_x = p.anchor_y = 0.5;
        p.rotation = degrees;
        p.radius = degrees % 3 * 10;
        p.shadow = (struct shadow){12, 7, degrees % 50, {0, 0, 0, 200}};
        double outer = p.radius > 0 ? p.radius + 5 : 0, mean_x = 0, mean_y = 0, sum = 0;
        int x, y;
        struct picture *shadow = draw_shadow(&p, CANVAS_WIDTH, CANVAS_HEIGHT, &x, &y);
        for (int row = 0; row < shadow->height; row++)
            for (int column = 0; column < shadow->width; column++) {
                int alpha = shadow->plane[3][row * shadow->stride[3] + column];
                sum += alpha;
                mean_x += alpha * (x + column + 0.5);
                mean_y += alpha * (y + row + 0.5);
                int mirrored = at(shadow, x, y, 3, 2 * 332 - 1 - x - column, 2 * 177 - 1 - y - row);
                if (abs(alpha - mirrored) > 1)
                    CHECK(alpha, ==, mirrored);
            }
        double area = (130 * 90 - (4 - M_PI) * outer * outer) * 200;
        CHECK_TRUE(fabs(sum / area - 1) < 0.005);
        CHECK_TRUE(fabs(mean_x / sum - 332) < 0.02);
        CHECK_TRUE(fabs(mean_y / sum - 177) < 0.02);
        picture_unref(&shadow);
    }
}

// A shadow of one colour, premultiplied, beneath a picture that lets part of it through.
static void test_beneath(void)
{
    struct placement p = bordered(100, 100, 60, 40, 0);
    p.shadow = (struct shadow){20, 0, 0, {255, 255, 255, 102}}; // white: 235, 128, 128; 2/5
    int x, y, at_x = 100, at_y = 100;
    struct picture *shadow = draw_shadow(&p, CANVAS_WIDTH, CANVAS_HEIGHT, &x, &y);
    check_colour(shadow, x, y, 130, 120, (const uint8_t[4]){94, 51, 51, 102}, 1);
    struct picture *out = picture_create(PICTURE_ALPHA, 60, 40);
    const uint8_t half[4] = {60, 64, 64, 128};
    picture_fill(out, half);
    CHECK_OK(shadow_put(shadow, x, y, CANVAS_WIDTH, CANVAS_HEIGHT, &out, &at_x, &at_y));
    check_colour(out, at_x, at_y, 110, 110, half, 0);
    // 60 + 94 * 127 / 255; 64 + 51 * 127 / 255; 128 + 102 * 127 / 255
    check_colour(out, at_x, at_y, 130, 120, (const uint8_t[4]){107, 89, 89, 179}, 1);
    check_colour(out, at_x, at_y, 170, 120, (const uint8_t[4]){94, 51, 51, 102}, 1);
    picture_unref(&out);
    CHECK_OK(shadow_put(shadow, x, y, CANVAS_WIDTH, CANVAS_HEIGHT, &out, &at_x, &at_y));
    CHECK_TRUE(out == shadow && at_x == x && at_y == y);
    picture_unref(&out);
    picture_unref(&shadow);
}

// A smaller canvas cuts the shadow and changes nothing else, with any number of hands.
static void test_cut(uint64_t *state)
{
    struct placement p = bordered(random_below(state, 700) / 2.0, random_below(state, 300) / 4.0,
                                  1 + random_below(state, 900) / 2.0,
                                  1 + random_below(state, 700) / 2.0, random_below(state, 20));
    p.radius = random_below(state, 2) * random_below(state, 50);
    p.rotation = random_below(state, 2) * random_below(state, 360);
    p.shadow = (struct shadow){random_below(state, 60) / 4.0 - 8,
                               random_below(state, 60) - 30.0,
                               random_below(state, 60),
                               {0, 100, 0, 220}};
    int x, y, cut_x = 0, cut_y = 0;
    struct picture *all = draw_shadow(&p, 1280, 720, &x, &y);
    crew_start(3);
    struct picture *cut = draw_shadow(&p, 200, 100, &cut_x, &cut_y);
    crew_end();
    for (int row = 0; row < 100; row++)
        for (int column = 0; column < 200; column++)
            for (int i = 0; i < 4; i++) {
                int whole = all ? at(all, x, y, i, column, row) : 0;
                int part = cut ? at(cut, cut_x, cut_y, i, column, row) : 0;
                if (whole != part)
                    CHECK(part, ==, whole);
            }
    check_count++;
    picture_unref(&all);
    picture_unref(&cut);
}

static void test_nothing(void)
{
    struct placement p = bordered(1e300, NAN, INFINITY, 1e300, 1e300);
    p.shadow = (struct shadow){NAN, -INFINITY, 1e300, {0, 0, 0, 255}};
    int x, y;
    struct picture *shadow = draw_shadow(&p, 200, 100, &x, &y);
    picture_unref(&shadow);
    p = bordered(5000, 50, 40, 40, 4);
    p.shadow = (struct shadow){4, 4, 12, {0, 0, 0, 255}};
    CHECK_TRUE(draw_shadow(&p, 200, 100, &x, &y) == NULL);
    p.x = 50;
    p.width = 0;
    CHECK_TRUE(draw_shadow(&p, 200, 100, &x, &y) == NULL);
    CHECK_TRUE(shadow_key(&p) == 0);
    p.width = 40;
    p.shadow.colour.alpha = 0;
    CHECK_TRUE(draw_shadow(&p, 200, 100, &x, &y) == NULL);
    CHECK_TRUE(shadow_key(&p) == 0);
}

static void test_keys(void)
{
    struct placement a = bordered(10, 20, 100, 50, 0), b = a;
    b.border_colour.red++;
    CHECK_TRUE(placement_key(&a) == placement_key(&b)); // nobody sees it
    a.border = b.border = 4;
    CHECK_TRUE(placement_key(&a) != placement_key(&b));
    b = a;
    b.border = 4.5;
    CHECK_TRUE(placement_key(&a) != placement_key(&b));
    b = a;
    b.shadow = (struct shadow){4, 4, 12, {0, 0, 0, 255}};
    CHECK_TRUE(placement_key(&a) != placement_key(&b));
    a = b;
    const double changes[][3] = {{5, 4, 12}, {4, 5, 12}, {4, 4, 14}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        b.shadow = (struct shadow){changes[i][0], changes[i][1], changes[i][2], {0, 0, 0, 255}};
        CHECK_TRUE(placement_key(&a) != placement_key(&b));
        CHECK_TRUE(shadow_key(&a) != shadow_key(&b));
    }
    b = a;
    b.shadow.colour.blue = 200;
    CHECK_TRUE(shadow_key(&a) != shadow_key(&b));
    b = a;
    b.crop_left = 0.5; // casts the same
    CHECK_TRUE(shadow_key(&a) == shadow_key(&b) && placement_key(&a) != placement_key(&b));
    b.border = 6;
    CHECK_TRUE(shadow_key(&a) != shadow_key(&b));
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    struct placer *placer = placer_create();
    convert_colour(border_colour, edge);
    test_square(placer);
    test_round(placer);
    test_turned(placer);
    test_translucent(placer);
    test_hiding(placer);
    test_blur();
    test_shadow_whole();
    test_beneath();
    for (int i = 0; i < 100; i++)
        test_cut(&state);
    test_nothing();
    test_keys();
    placer_destroy(&placer);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
