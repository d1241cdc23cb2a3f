// Patterns against the standards: bars, ramp, the counter's blocks as a program reads them.
#include "tests/engine/source/drawn.h"

static struct picture *draw(struct pattern_style *style, int64_t frame, uint64_t *ret_content)
{
    struct clip clip = {.kind = CLIP_PATTERN, .id = (char *)"pattern", .pattern = style};
    struct source *source = open_drawn(&clip, NULL, 1, NULL, NULL);
    struct clip_instant at = {.clip = &clip, .local_frame = frame, .source_time = {frame, 25}};
    struct picture *p = NULL;
    CHECK_OK(source_picture(source, &at, &p, ret_content, NULL));
    source_destroy(&source);
    CHECK(p->width, ==, 1280);
    CHECK(p->height, ==, 720);
    return p;
}

static int code(double value)
{
    return (int)(value + 0.5);
}

// ITU-R BT.709, 3.2 to 3.5: E'Y = 0.2126 R + 0.7152 G + 0.0722 B, C'B = (B - Y) / 1.8556,
// C'R = (R - Y) / 1.5748; 8 bits: 219 Y + 16, 224 C + 128. Bars 100/0/75/0 (ITU-R BT.471).
static void test_bars(void)
{
    static const double colours[8][3] = {{1, 1, 1},     {.75, .75, 0}, {0, .75, .75}, {0, .75, 0},
                                         {.75, 0, .75}, {.75, 0, 0},   {0, 0, .75},   {0, 0, 0}};
    struct pattern_style style = {.kind = PATTERN_BARS};
    uint64_t content;
    struct picture *p = draw(&style, 0, &content);
    CHECK(p->format, ==, PICTURE_OPAQUE);
    for (int bar = 0; bar < 8; bar++) {
        const double *c = colours[bar];
        double y = 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
        int expected[3] = {code(219 * y + 16), code(224 * (c[2] - y) / 1.8556 + 128),
                           code(224 * (c[0] - y) / 1.5748 + 128)};
        // First, middle and last column of the bar, at the top and at the bottom.
        for (int k = 0; k < 3; k++)
            for (int plane = 0; plane < 3; plane++) {
                int x = bar * 160 + (k == 0 ? 0 : k == 1 ? 80 : 159);
                int y_at = k == 1 ? 719 : 0, shift = plane > 0;
                CHECK(p->plane[plane][(y_at >> shift) * p->stride[plane] + (x >> shift)], ==,
                      expected[plane]);
            }
    }
    picture_unref(&p);
}

static void test_ramp(void)
{
    struct pattern_style style = {.kind = PATTERN_RAMP};
    uint64_t content;
    struct picture *p = draw(&style, 0, &content);
    CHECK(p->plane[0][0], ==, 16);
    CHECK(p->plane[0][1279], ==, 235);
    int steps = 0, colour = 0;
    for (int x = 1; x < 1280; x++) {
        int step = p->plane[0][x] - p->plane[0][x - 1];
        CHECK_TRUE(step == 0 || step == 1);
        steps += step;
        colour += p->plane[1][x / 2] != 128 || p->plane[2][x / 2] != 128;
    }
    CHECK(steps, ==, 219);
    CHECK(colour, ==, 0);
    CHECK_BYTES(p->plane[0], p->plane[0] + 719 * p->stride[0], 1280);
    picture_unref(&p);
}

// CRC-8 by long division of the 32 bits, followed by 8 zeros, by x^8 + x^2 + x + 1.
static unsigned crc_by_division(uint32_t number)
{
    uint64_t rest = (uint64_t)number << 8;
    for (int bit = 39; bit >= 8; bit--)
        if (rest >> bit & 1)
            rest ^= (uint64_t)0x107 << (bit - 8);
    return (unsigned)rest;
}

static void test_counter(void)
{
    static const int64_t frames[] = {
        0, 1, 25, 123456, 0x80000001, 0xffffffff, INT64_C(1) << 32 | 7};
    CHECK(crc_by_division(0x31323334), ==, 0xc2); // "1234"
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        struct pattern_style style = {.kind = PATTERN_COUNTER};
        uint64_t content, bits = 0;
        struct picture *p = draw(&style, frames[i], &content);
        int middles = 0, white = 0;
        for (int block = 0; block < 42; block++) {
            int luma = p->plane[0][8 * p->stride[0] + (2 * block + 1) * 1280 / 84];
            middles += luma != 16 && luma != 235;
            bits = bits << 1 | (luma > 125);
        }
        CHECK(middles, ==, 0);
        CHECK(bits >> 40, ==, 2); // white, black
        CHECK(bits >> 8 & 0xffffffff, ==, (uint32_t)frames[i]);
        CHECK(bits & 0xff, ==, crc_by_division((uint32_t)frames[i]));
        for (int x = 0; x < 1280; x++) // digits, for people
            white += p->plane[0][360 * p->stride[0] + x] == 235;
        CHECK(white, >, 50);
        picture_unref(&p);
    }
}

// Content is equal exactly when the picture is.
static void test_content(void)
{
    static const enum pattern_kind kinds[] = {PATTERN_BARS, PATTERN_COUNTER, PATTERN_FLASH,
                                              PATTERN_COLOUR};
    for (size_t k = 0; k < 4; k++) {
        struct pattern_style style = {.kind = kinds[k], .colour = {200, 10, 90, 128}};
        uint64_t before = 0, content;
        struct picture *last = NULL;
        for (int frame = 0; frame < 60; frame++) {
            struct picture *p = draw(&style, frame, &content);
            CHECK(content, !=, 0);
            if (last)
                CHECK(picture_equal(last, p), ==, content == before);
            if (kinds[k] == PATTERN_FLASH)
                CHECK(p->plane[0][0], ==, frame % 25 ? 16 : 235);
            picture_unref(&last);
            last = p;
            before = content;
        }
        CHECK(last->format, ==, kinds[k] == PATTERN_COLOUR ? PICTURE_ALPHA : PICTURE_OPAQUE);
        picture_unref(&last);
    }
}

int main(void)
{
    test_bars();
    test_ramp();
    test_counter();
    test_content();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
