// Every kernel level gives the bytes of the C reference, for all values, widths and addresses, and
// writes nothing else.
#include "engine/compose/kernels.h"

#include "engine/compose/blend.h"
#include "tests/engine/compose/random_picture.h"

#define GUARD     96
#define WIDTH_MAX 512
#define ROW_BYTES (WIDTH_MAX + 64 + 2 * GUARD)
#define ROWS      12 // see enum

enum { DST_Y, DST_Y1, DST_CB, DST_CR, DST_A, DST_A1, SRC_Y, SRC_Y1, SRC_CB, SRC_CR, SRC_A, SRC_A1 };

struct buffers {
    uint8_t row[ROWS][ROW_BYTES];
};

#ifdef __x86_64__
static const struct kernels *const levels[] = {&kernels_avx2, &kernels_avx512, NULL};
#else
static const struct kernels *const levels[] = {NULL};
#endif

static bool level_runs(const struct kernels *level)
{
    return compose_cpu_force(level->name);
}

static void fill_random(struct buffers *b, uint64_t *state, int alpha_kind)
{
    for (int i = 0; i < ROWS; i++)
        for (int x = 0; x < ROW_BYTES; x++)
            b->row[i][x] = (uint8_t)check_random(state);
    for (int i = SRC_A; i <= SRC_A1; i++)
        for (int x = 0; x < ROW_BYTES; x++) {
            if (alpha_kind == 0 || (alpha_kind == 2 && x / 70 % 3 == 0))
                b->row[i][x] = 0;
            else if (alpha_kind == 1 || (alpha_kind == 2 && x / 70 % 3 == 1))
                b->row[i][x] = 255;
        }
}

// Rows start `skew` bytes from a place of their own each.
static struct over_rows rows_of(struct buffers *b, int skew, bool alpha)
{
    struct over_rows r = {
        .dst_y = {b->row[DST_Y] + GUARD + skew, b->row[DST_Y1] + GUARD + (skew * 5) % 64},
        .dst_cb = b->row[DST_CB] + GUARD + (skew * 3) % 64,
        .dst_cr = b->row[DST_CR] + GUARD + (skew * 7) % 64,
        .src_y = {b->row[SRC_Y] + GUARD + (skew * 11) % 64, b->row[SRC_Y1] + GUARD + skew},
        .src_cb = b->row[SRC_CB] + GUARD + skew,
        .src_cr = b->row[SRC_CR] + GUARD + (skew * 13) % 64,
        .src_a = {b->row[SRC_A] + GUARD + skew, b->row[SRC_A1] + GUARD + (skew * 3) % 64},
    };
    for (int i = 0; i < 2 && alpha; i++)
        r.dst_a[i] = b->row[DST_A + i] + GUARD + skew;
    return r;
}

static void check_over(const struct kernels *level, const struct buffers *input, int width,
                       int skew, int opacity, bool alpha)
{
    static struct buffers expected, got;
    expected = *input;
    got = *input;
    struct over_rows rows = rows_of(&expected, skew, alpha);
    kernels_c.over_rows(&rows, width, opacity);
    rows = rows_of(&got, skew, alpha);
    level->over_rows(&rows, width, opacity);
    // All rows whole: guards and sources too.
    CHECK_BYTES(got.row, expected.row, sizeof got.row);
}

static void test_over(const struct kernels *level, uint64_t *state)
{
    static struct buffers input;
    for (int kind = 0; kind < 4; kind++)
        for (int width = 2; width <= 2 * 64 + 2; width += 2) {
            fill_random(&input, state, kind);
            int skew = random_below(state, 64);
            check_over(level, &input, width, skew, 255, width % 4 == 0);
            check_over(level, &input, width, skew, 1 + random_below(state, 255), width % 4 == 2);
        }
    for (int i = 0; i < 100; i++) {
        fill_random(&input, state, 2);
        check_over(level, &input, 2 + 2 * random_below(state, WIDTH_MAX / 2),
                   random_below(state, 64), random_below(state, 2) ? 255 : 1 + i, i % 2);
    }
}

static void test_modes(const struct kernels *level, uint64_t *state)
{
    static struct buffers input, expected, got;
    for (int round = 0; round < 3000; round++) {
        fill_random(&input, state, round % 4);
        for (int i = DST_A; round % 3 && i <= DST_A1; i++) // opaque, all or in parts
            memset(input.row[i], 255, round % 3 == 1 ? ROW_BYTES : ROW_BYTES / 2);
        int width = 2 + 2 * (round % 40), skew = random_below(state, 64);
        int opacity = random_below(state, 2) ? 255 : 1 + random_below(state, 255);
        enum blend_mode mode = (enum blend_mode)(BLEND_MULTIPLY + random_below(state, 3));
        expected = input;
        got = input;
        struct over_rows rows = rows_of(&expected, skew, round % 5);
        if (round % 7 == 0)
            rows.src_a[0] = rows.src_a[1] = NULL;
        kernels_c.mode_rows(&rows, width, opacity, mode);
        rows = rows_of(&got, skew, round % 5);
        if (round % 7 == 0)
            rows.src_a[0] = rows.src_a[1] = NULL;
        level->mode_rows(&rows, width, opacity, mode);
        CHECK_BYTES(got.row, expected.row, sizeof got.row);
    }
}

// All pairs of backdrop and source, under all alphas; and all alphas under all opacities.
static void test_pairs(const struct kernels *level)
{
    static struct buffers input;
    for (int v = 0; v < 256; v++)
        for (int w = 0; w < 256; w++) {
            for (int x = 0; x < 256; x++) {
                input.row[DST_Y][GUARD + x] = input.row[DST_Y1][GUARD + x] = (uint8_t)x;
                input.row[DST_CB][GUARD + x] = input.row[DST_CR][GUARD + x] =
                    (uint8_t)(x * 2 + w % 2);
                input.row[SRC_Y][GUARD + x] = input.row[SRC_CB][GUARD + x] = (uint8_t)v;
                input.row[SRC_Y1][GUARD + x] = input.row[SRC_CR][GUARD + x] = (uint8_t)(255 - v);
                input.row[SRC_A][GUARD + x] = input.row[SRC_A1][GUARD + x] = (uint8_t)w;
            }
            struct over_rows rows = rows_of(&input, 0, false);
            static struct buffers expected;
            memcpy(&expected, &input, sizeof expected);
            struct over_rows expected_rows = rows_of(&expected, 0, false);
            int opacity = w % 3 ? 255 : 1 + v % 255;
            kernels_c.over_rows(&expected_rows, 256, opacity);
            level->over_rows(&rows, 256, opacity);
            if (memcmp(&input, &expected, sizeof input))
                CHECK_BYTES(&input, &expected, sizeof input);
        }
}

static void test_rows(const struct kernels *level, uint64_t *state)
{
    static struct buffers input, expected, got;
    fill_random(&input, state, 3);
    for (int x = 0; x < 256; x++)
        input.row[SRC_Y][GUARD + x] = (uint8_t)x;
    for (int v = 0; v < 256; v++)
        for (int w = 1; w < 256; w += v % 16 ? 37 : 1) {
            int count = w % 2 ? 256 : 1 + random_below(state, 200), skew = w % 64;
            memset(input.row[DST_Y] + GUARD, v, 256 + 64);
            expected = input;
            got = input;
            kernels_c.lerp_row(expected.row[DST_Y] + GUARD + skew, input.row[SRC_Y] + GUARD, count,
                               w);
            level->lerp_row(got.row[DST_Y] + GUARD + skew, input.row[SRC_Y] + GUARD, count, w);
            kernels_c.weigh_row(expected.row[DST_Y1] + GUARD + skew, input.row[SRC_Y] + GUARD,
                                count, v, w);
            level->weigh_row(got.row[DST_Y1] + GUARD + skew, input.row[SRC_Y] + GUARD, count, v, w);
            if (memcmp(&got, &expected, sizeof got))
                CHECK_BYTES(&got, &expected, sizeof got);
        }
    check_count++;
}

// Rows of bytes by weights, and 16-bit rows by groups of weights, at all lengths and phases.
static void test_scale(const struct kernels *level, uint64_t *state)
{
    static struct buffers input;
    static int16_t expected[ROW_BYTES], got[ROW_BYTES];
    static uint8_t expected_bytes[ROW_BYTES], got_bytes[ROW_BYTES];
    fill_random(&input, state, 3);
    for (int round = 0; round < 400; round++) {
        int taps = 1 + random_below(state, ROWS), count = 1 + round % 140;
        const uint8_t *rows[ROWS];
        int16_t weights[160 * 16];
        int32_t start[160] = {0};
        for (int i = 0; i < taps; i++) {
            rows[i] = input.row[i] + random_below(state, 64);
            weights[i] = (int16_t)(random_below(state, 32768 / taps) - 16384 / taps);
        }
        memset(expected, 0x55, sizeof expected);
        memset(got, 0x55, sizeof got);
        kernels_c.scale_rows(expected + 3, rows, weights, taps, count);
        level->scale_rows(got + 3, rows, weights, taps, count);
        CHECK_BYTES(got, expected, sizeof got);

        int quads = 1 + random_below(state, 4), padded = (count + 7) / 8 * 8;
        for (int i = 0; i < count; i++)
            start[i] = random_below(state, 200);
        memset(weights, 0, sizeof weights);
        for (int i = 0; i < padded * 4 * quads; i++)
            weights[i] = (int16_t)(random_below(state, 16384) - 5000);
        for (int i = 0; i < ROW_BYTES; i++)
            got[i] = (int16_t)random_below(state, 16320);
        memset(expected_bytes, 0x55, sizeof expected_bytes);
        memset(got_bytes, 0x55, sizeof got_bytes);
        kernels_c.scale_columns(expected_bytes + 5, got, start, weights, quads, count);
        level->scale_columns(got_bytes + 5, got, start, weights, quads, count);
        CHECK_BYTES(got_bytes, expected_bytes, sizeof got_bytes);
    }
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    int tested = 0;
    for (int i = 0; levels[i]; i++) {
        if (!level_runs(levels[i])) {
            fprintf(stderr, "this CPU lacks %s\n", levels[i]->name);
            continue;
        }
        tested++;
        test_over(levels[i], &state);
        test_modes(levels[i], &state);
        test_pairs(levels[i]);
        test_rows(levels[i], &state);
        test_scale(levels[i], &state);
    }
    if (!tested)
        return 77;
    return check_end();
}
