// Coded group frames: what comes out is what went in; every CPU level writes the same bytes;
// damaged bytes give an error or a frame, never anything else.
#include "engine/link/tile_codec.h"

#include <errno.h>

#include "tests/engine/compose/random_picture.h"

static const char *const levels[] = {"c", "avx2", "avx512"};

// A picture like a photograph: smooth, with some noise and some spikes, so that all predictors,
// many levels and their rest are of use.
static struct picture *smooth_picture(uint64_t *state, int width, int height)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, width, height);
    int noise = 1 + random_below(state, 9), slope_x = random_below(state, 7) - 3,
        slope_y = random_below(state, 7) - 3;
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(p, i); y++)
            for (int x = 0; x < plane_width(p, i); x++)
                p->plane[i][y * p->stride[i] + x] =
                    (uint8_t)(random_below(state, 40) ? 60 + (x * slope_x + y * slope_y) / 2 +
                                                            random_below(state, noise)
                                                      : random_below(state, 256));
    return p;
}

static void add_layers(uint64_t *state, struct group_builder *builder, int width, int height,
                       int count)
{
    for (int i = 0; i < count; i++) {
        struct picture *p =
            random_picture(state, random_below(state, 3) ? PICTURE_ALPHA : PICTURE_OPAQUE,
                           2 + 2 * random_below(state, width), 2 + 2 * random_below(state, height));
        if (random_below(state, 4) == 0)
            picture_fill(p, (const uint8_t[4]){20, 30, 40, 60});
        group_builder_add(builder, p, 2 * random_below(state, width / 2),
                          2 * random_below(state, height / 2), random_below(state, 2) ? 255 : 130,
                          (enum blend_mode)(random_below(state, 3) ? 0 : random_below(state, 4)));
        picture_unref(&p);
    }
}

// `seed` decides the layers, so that two frames can share their lower layers.
static struct group_frame *random_group(uint64_t seed, int width, int height, bool opaque,
                                        int layers)
{
    struct group_builder *builder = group_builder_create(width, height);
    struct picture *base = opaque ? smooth_picture(&seed, width, height) : NULL;
    struct group_frame *frame = NULL;
    group_builder_begin(builder, base);
    add_layers(&seed, builder, width, height, layers);
    CHECK_OK(group_builder_finish(builder, &frame));
    picture_unref(&base);
    group_builder_destroy(&builder);
    return frame;
}

// Codes at all CPU levels, decodes at all, compares. Gives the bytes.
static size_t round_trip(const struct group_frame *frame, const struct group_frame *base,
                         uint8_t **ret)
{
    uint8_t *first = NULL;
    size_t first_size = 0;
    for (int i = 0; i < 3; i++) {
        if (!compose_cpu_force(levels[i]))
            continue;
        uint8_t *bytes = NULL;
        size_t size = 0;
        CHECK_OK(group_encode(frame, base, &bytes, &size));
        struct group_frame *decoded = NULL;
        CHECK_OK(group_decode(bytes, size, frame->width, frame->height, base, &decoded));
        CHECK_TRUE(group_frame_equal(frame, decoded));
        group_frame_unref(&decoded);
        if (!first) {
            first = bytes;
            first_size = size;
            continue;
        }
        CHECK(size, ==, first_size);
        CHECK_BYTES(bytes, first, size < first_size ? size : first_size);
        free(bytes);
    }
    *ret = first;
    return first_size;
}

static void test_random(uint64_t *state)
{
    int width = 2 + 2 * random_below(state, 150), height = 2 + 2 * random_below(state, 80);
    bool opaque = random_below(state, 2);
    uint64_t seed = check_random(state);
    int layers = random_below(state, 5);
    struct group_frame *a = random_group(seed, width, height, opaque, layers);
    struct group_frame *b = random_group(seed, width, height, opaque, layers + 1);
    struct group_frame *c = random_group(seed + 1, width, height, !opaque, 2);
    uint8_t *bytes = NULL;
    round_trip(a, NULL, &bytes);
    free(bytes);
    round_trip(b, a, &bytes);
    free(bytes);
    round_trip(a, b, &bytes);
    free(bytes);
    round_trip(a, c, &bytes);
    free(bytes);
    // An equal frame built on its own: nothing but the heads, and shared pictures when decoded.
    struct group_frame *again = random_group(seed, width, height, opaque, layers);
    size_t size = round_trip(again, a, &bytes);
    CHECK(size, <=, 4 + (size_t)a->depth * 3);
    free(bytes);
    group_frame_unref(&again);
    group_frame_unref(&a);
    group_frame_unref(&b);
    group_frame_unref(&c);
}

// A vertical, a horizontal and a diagonal ramp need nothing but at their first samples; the sizes
// follow from the layouts in tile_codec.c and tile_kernels.h.
static void test_predictors(void)
{
    static const int slopes[][2] = {{0, 1}, {1, 0}, {3, 5}};
    for (int i = 0; i < 3; i++) {
        struct picture *p = picture_create(PICTURE_OPAQUE, 64, 32);
        picture_clear(p);
        for (int y = 0; y < 32; y++)
            for (int x = 0; x < 64; x++)
                p->plane[0][y * p->stride[0] + x] = (uint8_t)(x * slopes[i][0] + y * slopes[i][1]);
        struct group_builder *builder = group_builder_create(64, 32);
        struct group_frame *frame = NULL;
        group_builder_begin(builder, p);
        CHECK_OK(group_builder_finish(builder, &frame));
        uint8_t *bytes = NULL;
        size_t size = round_trip(frame, NULL, &bytes);
        // The first row, from the left: 0 - 128 is 255 in zig-zag; steps of 0, 1 and 3 are 0, 2 and
        // 6, which make sums of 255, 381 and 633, so k is 1, 2 and 3: 255 passes all levels and has
        // a rest of 8 - k bits, none of the others passes one.
        // The other rows: from the left, steps of 0 but for the first sample's 2, which takes two
        // further levels; from above, nothing; by the gradient, nothing but the first sample's 10,
        // which passes all levels and has a rest of 8 bits.
        size_t first = i == 0 ? 2 * 8 + 31 * 8 : i == 1 ? 3 * 8 : 4 * 8 + 31 * 8;
        size_t bits = i == 0   ? 3 + 7 + 7 + 31 * (3 + 2)
                      : i == 1 ? 3 + 7 + 6 + 31 * 3
                               : 3 + 7 + 5 + 31 * (3 + 7 + 8);
        // 4 start, 1 format, 2 heads, 2 for each flat chroma plane, 1 coding, 2 size.
        CHECK(size, ==, 4 + 1 + 2 + 4 + 1 + 2 + first + (bits + 7) / 8);
        free(bytes);
        group_frame_unref(&frame);
        group_builder_destroy(&builder);
        picture_unref(&p);
    }
}

// Rows of the largest residuals, but for those by which the predictor is chosen.
static void test_worst(void)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, 64, 32);
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(p, i); y++)
            for (int x = 0; x < plane_width(p, i); x++)
                p->plane[i][y * p->stride[i] + x] =
                    (uint8_t)(y / (i ? 2 : 1) % 8 == 1 ? 0 : (x + y) % 2 * 128);
    struct group_builder *builder = group_builder_create(64, 32);
    struct group_frame *frame = NULL;
    group_builder_begin(builder, p);
    CHECK_OK(group_builder_finish(builder, &frame));
    uint8_t *bytes = NULL;
    // 28 of the 32 luma rows take all that k = 6 can take of 64 samples.
    CHECK(round_trip(frame, NULL, &bytes), >=, 28 * 64 * 10 / 8);
    free(bytes);
    group_frame_unref(&frame);
    group_builder_destroy(&builder);
    picture_unref(&p);
}

static void test_sizes(void)
{
    struct group_builder *builder = group_builder_create(1920, 1080);
    struct group_frame *frame = NULL;
    uint8_t *bytes = NULL;
    group_builder_begin(builder, NULL);
    CHECK_OK(group_builder_finish(builder, &frame));
    CHECK(round_trip(frame, NULL, &bytes), ==, 4);
    free(bytes);
    group_frame_unref(&frame);

    // One plain box over 2 x 2 tiles: five pairs of heads (1020 tiles, at most 256 each: 4 pairs
    // for empty ones in between and behind), four tiles of 4 samples.
    struct picture *box = picture_create(PICTURE_ALPHA, 128, 64);
    picture_fill(box, (const uint8_t[4]){50, 60, 70, 100});
    group_builder_begin(builder, NULL);
    group_builder_add(builder, box, 128, 64, 255, BLEND_NORMAL);
    CHECK_OK(group_builder_finish(builder, &frame));
    size_t size = round_trip(frame, NULL, &bytes);
    CHECK(size, ==, 4 + 1 + 2 * (1 + 1 + 1 + 1 + 4) + 4 * 4);
    free(bytes);
    group_frame_unref(&frame);
    picture_unref(&box);
    group_builder_destroy(&builder);
}

static int decode_free(const uint8_t *bytes, size_t size, int width, int height,
                       const struct group_frame *base)
{
    struct group_frame *frame = NULL;
    int error = group_decode(bytes, size, width, height, base, &frame);
    if (!error)
        group_frame_unref(&frame);
    return error;
}

static void test_damage(uint64_t *state)
{
    int width = 2 + 2 * random_below(state, 100), height = 2 + 2 * random_below(state, 50);
    uint64_t seed = check_random(state);
    struct group_frame *a = random_group(seed, width, height, seed & 1, 2);
    struct group_frame *b = random_group(seed, width, height, seed & 1, 3);
    uint8_t *bytes = NULL;
    size_t size = 0;
    CHECK_OK(group_encode(b, a, &bytes, &size));
    CHECK_ERROR(decode_free(bytes, size, width, height, NULL), -EPROTO);
    CHECK_ERROR(decode_free(bytes, size, width + 2, height, a), -EPROTO);
    CHECK_ERROR(decode_free(bytes, size, -2, height, a), -EPROTO);
    CHECK_ERROR(decode_free(bytes, size, width - 1, height, a), -EPROTO);
    int accepted = 0;
    for (int i = 0; i < 400; i++) {
        compose_cpu_force(levels[i % 2]);
        size_t length = random_below(state, 3) ? size : (size_t)random_below(state, (int)size + 1);
        // An exact copy, so that reading one byte too far is noticed by the sanitizer.
        uint8_t *damaged = malloc(length ? length : 1);
        memcpy(damaged, bytes, length);
        for (int n = random_below(state, 5); n > 0 && length; n--)
            damaged[random_below(state, random_below(state, 2) ? (int)length
                                        : length < 32          ? (int)length
                                                      : 32)] = (uint8_t)check_random(state);
        int error = decode_free(damaged, length, width, height, i % 5 ? a : NULL);
        CHECK_TRUE(error == 0 || error == -EPROTO);
        if (length < size)
            CHECK_TRUE(error == -EPROTO || memcmp(damaged, bytes, length));
        accepted += !error;
        free(damaged);
    }
    CHECK(accepted, <, 400);
    uint8_t *longer = malloc(size + 1);
    memcpy(longer, bytes, size);
    longer[size] = 0;
    CHECK_ERROR(decode_free(longer, size + 1, width, height, a), -EPROTO);
    free(longer);
    free(bytes);
    group_frame_unref(&a);
    group_frame_unref(&b);
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    for (int i = 0; i < 60; i++)
        test_random(&state);
    test_predictors();
    test_worst();
    test_sizes();
    for (int i = 0; i < 40; i++)
        test_damage(&state);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
