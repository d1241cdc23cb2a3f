// Shapes: area, edges and colours against geometry.
#include "tests/engine/source/drawn.h"

static struct picture *draw(struct shape_style *style, double scale)
{
    struct clip clip = {.kind = CLIP_SHAPE, .id = (char *)"shape", .shape = style};
    struct source *source = open_drawn(&clip, NULL, scale, NULL, NULL);
    uint64_t content;
    struct picture *p = picture_at(source, &clip, (struct rational){0, 1}, &content);
    source_destroy(&source);
    return p;
}

static int alpha_at(const struct picture *p, int x, int y)
{
    return p->plane[3][y * p->stride[3] + x];
}

// Covered area in pixels.
static double coverage(const struct picture *p)
{
    int64_t sum = 0;
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            sum += alpha_at(p, x, y);
    return (double)sum / 255;
}

// Within a thousandth of the area that geometry gives.
static void check_area(struct shape_style *style, double scale, double expected)
{
    struct picture *p = draw(style, scale);
    CHECK(coverage(p) * 1000, >, expected * 999);
    CHECK(coverage(p) * 1000, <, expected * 1001);
    picture_unref(&p);
}

static void test_areas(void)
{
    const double pi = 3.14159265358979;
    struct shape_style s = {.width = 300, .height = 200, .fill = {255, 255, 255, 255}};
    check_area(&s, 1, 60000);
    check_area(&s, 0.55, 60000 * 0.55 * 0.55);
    s.radius = 50; // four corners of a square less those of a circle
    check_area(&s, 1, 60000 - (4 - pi) * 2500);
    s.radius = 1000; // as much as the sides allow: half circles
    check_area(&s, 1, 60000 - (4 - pi) * 10000);
    s.kind = SHAPE_ELLIPSE;
    check_area(&s, 1, pi * 150 * 100);
    double points[] = {0, 0, 300, 100, 0, 200};
    s.kind = SHAPE_POLYGON;
    s.points = points;
    s.point_count = 3;
    check_area(&s, 1, 30000);
    check_area(&s, 2, 120000);
}

static void test_stroke(void)
{
    struct shape_style s = {.width = 100,
                            .height = 60,
                            .fill = {255, 255, 255, 255},
                            .stroke = 10,
                            .stroke_colour = {0, 0, 0, 255}};
    struct picture *p = draw(&s, 1); // the line stands half outside: 5 pixels more on each side
    CHECK(p->width, ==, 110);
    CHECK(p->height, ==, 70);
    CHECK(p->plane[0][35 * p->stride[0] + 5], ==, 16);
    CHECK(p->plane[0][35 * p->stride[0] + 55], ==, 235);
    CHECK(alpha_at(p, 0, 35), ==, 255);
    picture_unref(&p);
}

// From white at the top to transparent black at the bottom, equally in all columns.
static void test_gradient(void)
{
    struct shape_style s = {.width = 64,
                            .height = 256,
                            .fill = {255, 255, 255, 255},
                            .fill_to = {255, 255, 255, 0},
                            .gradient = true};
    struct picture *p = draw(&s, 1);
    for (int y = 0; y < 256; y++) {
        CHECK(abs(alpha_at(p, 10, y) - (255 - y)), <=, 1);
        CHECK(alpha_at(p, 10, y), ==, alpha_at(p, 63, y));
    }
    picture_unref(&p);
}

static void test_too_large(void)
{
    struct shape_style s = {.width = 8192, .height = 8192};
    struct clip clip = {.kind = CLIP_SHAPE, .id = (char *)"huge", .shape = &s};
    struct source_config config = {.clip = &clip, .scale_x = 3, .scale_y = 3};
    struct diagnostic d = {0};
    struct source *source = NULL;
    CHECK_ERROR(source_open(&config, &source, &d), -EINVAL);
    CHECK_TEXT(d.path, "huge");
    CHECK_TEXT(d.code, "drawing_size");
    config.scale_x = config.scale_y = 1.5; // each side fits, the area does not
    CHECK_ERROR(source_open(&config, &source, &d), -EINVAL);
}

int main(void)
{
    test_areas();
    test_stroke();
    test_gradient();
    test_too_large();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
