// Groups: wherever the z-order is cut, folding gives what blending layer by layer gives.
#include "engine/compose/group.h"

#include "engine/base/crew.h"
#include "tests/engine/compose/random_picture.h"

#define LAYERS_MAX 7

struct test_layer {
    struct picture *picture;
    int x, y, opacity;
    enum blend_mode mode;
};

static int random_side(uint64_t *state)
{
    return 2 + 2 * random_below(state, 100);
}

static struct test_layer random_layer(uint64_t *state, int width, int height)
{
    static const int opacities[] = {255, 255, 255, 254, 128, 1, 0, 77};
    struct test_layer layer = {.opacity = opacities[random_below(state, 8)]};
    if (random_below(state, 3) == 0)
        layer.mode = (enum blend_mode)random_below(state, 4);
    enum picture_format format = random_below(state, 4) ? PICTURE_ALPHA : PICTURE_OPAQUE;
    int shape = random_below(state, 5);
    if (shape == 0) { // exactly the canvas
        layer.picture = random_picture(state, format, width, height);
    } else if (shape == 1) { // larger than the canvas
        layer.picture = random_picture(state, format, width + 10, height + 8);
        layer.x = -4;
        layer.y = -6;
    } else { // anywhere, often clipped
        layer.picture = random_picture(state, format, random_side(state), random_side(state));
        layer.x = 2 * random_below(state, width) - width / 2 / 2 * 2;
        layer.y = 2 * random_below(state, height) - height / 2 / 2 * 2;
    }
    return layer;
}

static struct group_frame *build(struct group_builder *builder, const struct picture *base,
                                 const struct test_layer *layers, int from, int to)
{
    struct group_frame *frame = NULL;
    group_builder_begin(builder, base);
    for (int i = from; i < to; i++)
        group_builder_add(builder, layers[i].picture, layers[i].x, layers[i].y, layers[i].opacity,
                          layers[i].mode);
    CHECK_OK(group_builder_finish(builder, &frame));
    return frame;
}

static struct picture *blend_straight(const struct picture *base, const struct test_layer *layers,
                                      int count)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, base->width, base->height);
    picture_copy(p, base);
    for (int i = 0; i < count; i++)
        blend_picture(p, layers[i].picture, layers[i].x, layers[i].y, layers[i].opacity,
                      layers[i].mode, NULL);
    return p;
}

// Each picture is made at another kernel level: they must not differ.
static void next_level(void)
{
    static const char *const levels[] = {"c", "avx2", "avx512"};
    static int turn;
    (void)compose_cpu_force(levels[turn++ % 3]); // what this CPU lacks is left out
}

// Folds groups cut where the bits of `cuts` say, over the base; the base group comes first.
static struct picture *fold_cut(struct group_builder *builder, const struct picture *base,
                                const struct test_layer *layers, int count, unsigned cuts)
{
    struct picture *programme = NULL;
    int from = 0;
    for (int i = 0; i <= count; i++) {
        if (i < count && !(cuts >> i & 1))
            continue;
        next_level();
        struct group_frame *frame = build(builder, programme ? NULL : base, layers, from, i);
        struct picture *next = NULL;
        next_level();
        CHECK_OK(group_fold_over(programme, frame, &next));
        picture_unref(&programme);
        programme = next;
        group_frame_unref(&frame);
        from = i;
    }
    return programme;
}

static int deepest;

static void check_levels(const struct group_frame *frame)
{
    deepest = frame->depth > deepest ? frame->depth : deepest;
    for (int level = 0; level < frame->depth; level++)
        for (int tile = 0; tile < frame->tiles_x * frame->tiles_y; tile++) {
            const struct picture *p = frame->level[level].picture;
            if (frame->level[level].kind[tile] != TILE_OPAQUE || p->format == PICTURE_OPAQUE)
                continue;
            struct rect area = group_tile_rect(frame, tile);
            for (int y = area.y; y < area.y + area.height; y++)
                for (int x = area.x; x < area.x + area.width; x++)
                    if (p->plane[3][y * p->stride[3] + x] != 255)
                        check_failures++;
        }
}

static void test_cuts(uint64_t *state)
{
    int width = 2 + 2 * random_below(state, 110), height = 2 + 2 * random_below(state, 60);
    struct picture *base = random_picture(state, PICTURE_OPAQUE, width, height);
    struct picture *before = picture_create(PICTURE_OPAQUE, width, height);
    picture_copy(before, base);
    struct test_layer layers[LAYERS_MAX];
    int count = 1 + random_below(state, LAYERS_MAX);
    for (int i = 0; i < count; i++)
        layers[i] = random_layer(state, width, height);

    struct picture *expected = blend_straight(base, layers, count);
    struct group_builder *builder = group_builder_create(width, height);
    for (unsigned cuts = 0; cuts < 1u << count; cuts++) {
        struct picture *folded = fold_cut(builder, base, layers, count, cuts);
        CHECK_TRUE(picture_equal(folded, expected));
        picture_unref(&folded);
    }
    // Without a base the group is transparent, whatever it is put on.
    struct group_frame *frame = build(builder, NULL, layers, 0, count);
    struct group_frame *again = build(builder, NULL, layers, 0, count);
    check_levels(frame);
    CHECK_TRUE(group_frame_equal(frame, again));
    group_frame_unref(&again);
    struct picture *folded = picture_create(PICTURE_OPAQUE, width, height);
    picture_copy(folded, base);
    group_fold(folded, frame);
    CHECK_TRUE(picture_equal(folded, expected));
    CHECK_TRUE(picture_equal(base, before));

    group_builder_destroy(&builder); // its pools live on in `frame`
    group_frame_unref(&frame);
    for (int i = 0; i < count; i++)
        picture_unref(&layers[i].picture);
    picture_unref(&folded);
    picture_unref(&expected);
    picture_unref(&before);
    picture_unref(&base);
}

static void test_references(uint64_t *state)
{
    struct picture *base = random_picture(state, PICTURE_OPAQUE, 130, 70);
    struct picture *cover = random_picture(state, PICTURE_OPAQUE, 130, 70);
    struct picture *dot = random_picture(state, PICTURE_ALPHA, 2, 2);
    struct group_builder *builder = group_builder_create(130, 70);
    struct group_frame *frame = NULL;
    struct picture *out = NULL;

    // Nothing put over the base: no copy on the way.
    group_builder_begin(builder, base);
    CHECK_OK(group_builder_finish(builder, &frame));
    CHECK_OK(group_fold_over(NULL, frame, &out));
    CHECK_TRUE(out == base);
    picture_unref(&out);
    group_frame_unref(&frame);

    // A full opaque layer replaces everything, also in a group without a base.
    group_builder_begin(builder, NULL);
    group_builder_add(builder, dot, 4, 4, 255, BLEND_NORMAL);
    group_builder_add(builder, cover, 0, 0, 255, BLEND_NORMAL);
    CHECK_OK(group_builder_finish(builder, &frame));
    CHECK_TRUE(frame->opaque);
    CHECK(frame->depth, ==, 1);
    CHECK_TRUE(frame->level[0].picture == cover);
    CHECK(frame->level[0].kind[0], ==, TILE_OPAQUE);
    struct group_frame *second = group_frame_ref(frame);
    group_frame_unref(&frame);
    CHECK_TRUE(second->level[0].picture == cover);
    group_frame_unref(&second);

    // A group of nothing has no depth and gives what is beneath it.
    group_builder_begin(builder, NULL);
    group_builder_add(builder, dot, 1000, 0, 255, BLEND_NORMAL);
    CHECK_OK(group_builder_finish(builder, &frame));
    CHECK(frame->depth, ==, 0);
    CHECK_OK(group_fold_over(base, frame, &out));
    CHECK_TRUE(out == base);
    picture_unref(&out);
    CHECK_OK(group_fold_over(NULL, frame, &out)); // black
    CHECK(out->plane[0][0], ==, 16);
    CHECK(out->plane[2][0], ==, 128);
    picture_unref(&out);
    group_frame_unref(&frame);

    // A frame begun and not finished.
    group_builder_begin(builder, base);
    group_builder_destroy(&builder);
    picture_unref(&base);
    picture_unref(&cover);
    picture_unref(&dot);
}

// Graphics that do not overlap need one level, and opaque tiles hide what is under them.
static void test_depth(uint64_t *state)
{
    struct picture *veil = picture_create(PICTURE_ALPHA, 64, 32);
    picture_fill(veil, (const uint8_t[4]){50, 60, 70, 100});
    struct picture *solid = random_picture(state, PICTURE_OPAQUE, 64, 32);
    struct group_builder *builder = group_builder_create(256, 32);
    struct group_frame *frame = NULL;
    group_builder_begin(builder, NULL);
    group_builder_add(builder, veil, 0, 0, 255, BLEND_NORMAL);
    group_builder_add(builder, veil, 64, 0, 200, BLEND_NORMAL);
    group_builder_add(builder, veil, 160, 0, 255, BLEND_NORMAL); // half in the last tile
    group_builder_add(builder, veil, 224, 0, 255, BLEND_NORMAL); // its other half
    group_builder_add(builder, veil, 0, 0, 255, BLEND_NORMAL);   // over the first
    group_builder_add(builder, solid, 0, 0, 255, BLEND_NORMAL);  // hides both
    group_builder_add(builder, veil, 0, 0, 255, BLEND_MULTIPLY); // over opaque
    CHECK_OK(group_builder_finish(builder, &frame));
    CHECK(frame->depth, ==, 1);
    CHECK(frame->level[0].kind[0], ==, TILE_OPAQUE);
    CHECK(frame->level[0].kind[1], ==, TILE_MIXED);
    CHECK(frame->level[0].mode[0], ==, BLEND_NORMAL);
    group_frame_unref(&frame);
    group_builder_destroy(&builder);
    picture_unref(&veil);
    picture_unref(&solid);
}

static bool stacks_equal(const struct group_frame *a, const struct group_frame *b, int tile)
{
    for (int i = 0; i < GROUP_DEPTH_MAX; i++) {
        int in_a = i < a->depth ? a->level[i].kind[tile] : TILE_EMPTY;
        int in_b = i < b->depth ? b->level[i].kind[tile] : TILE_EMPTY;
        if (in_a != in_b)
            return false;
        if (in_a == TILE_EMPTY)
            return true;
        struct rect area = group_tile_rect(a, tile);
        for (int y = area.y; y < area.y + area.height; y++)
            if (memcmp(a->level[i].picture->plane[0] + y * a->level[i].picture->stride[0] + area.x,
                       b->level[i].picture->plane[0] + y * b->level[i].picture->stride[0] + area.x,
                       (size_t)area.width))
                return false;
    }
    return true;
}

// Frame after frame, of which some layers change, come and go: what is taken from the frame before
// is what would have been drawn, and what is said to be unchanged is.
static int unchanged_tiles, kept_frames;

static void test_damage(uint64_t *state)
{
    int width = 130 + 2 * random_below(state, 100), height = 66 + 2 * random_below(state, 60);
    struct picture *base =
        random_below(state, 2) ? random_picture(state, PICTURE_OPAQUE, width, height) : NULL;
    struct test_layer layers[LAYERS_MAX];
    for (int i = 0; i < LAYERS_MAX; i++)
        layers[i] = random_layer(state, width, height);
    int count = random_below(state, LAYERS_MAX + 1);
    struct group_builder *builder = group_builder_create(width, height);
    struct group_builder *afresh = group_builder_create(width, height);
    struct group_frame *before = NULL;
    for (int n = 0; n < 12; n++) {
        struct group_frame *frame = build(builder, base, layers, 0, count);
        group_builder_forget(afresh);
        struct group_frame *expected = build(afresh, base, layers, 0, count);
        CHECK_TRUE(group_frame_equal(frame, expected));
        for (int tile = 0; before && tile < frame->tiles_x * frame->tiles_y; tile++) {
            if (!group_tile_unchanged(frame, before, tile))
                continue;
            unchanged_tiles++;
            CHECK_TRUE(stacks_equal(frame, before, tile));
        }
        kept_frames += frame == before;
        group_frame_unref(&expected);
        group_frame_unref(&before);
        before = frame;
        int i = random_below(state, LAYERS_MAX);
        switch (random_below(state, 5)) {
        case 0: // another layer
            picture_unref(&layers[i].picture);
            layers[i] = random_layer(state, width, height);
            break;
        case 1: // it moves
            layers[i].x += 2;
            break;
        case 2: // layers above come and go
            count = random_below(state, LAYERS_MAX + 1);
            break;
        case 3: { // two change places
            struct test_layer other = layers[0];
            layers[0] = layers[i];
            layers[i] = other;
            break;
        }
        default: // nothing
            break;
        }
    }
    group_frame_unref(&before);
    group_builder_destroy(&builder);
    group_builder_destroy(&afresh);
    for (int i = 0; i < LAYERS_MAX; i++)
        picture_unref(&layers[i].picture);
    picture_unref(&base);
}

// Bands and stacks of a large group are shared out: any number of hands gives the same.
static void test_hands(uint64_t *state)
{
    struct picture *base = random_picture(state, PICTURE_OPAQUE, 1280, 720);
    struct test_layer layers[5] = {
        {.picture = random_picture(state, PICTURE_ALPHA, 1280, 720), .opacity = 255},
        {.picture = random_picture(state, PICTURE_OPAQUE, 640, 600), .opacity = 255, .y = 100},
        {.picture = random_picture(state, PICTURE_ALPHA, 1000, 600), .opacity = 99, .x = 40},
        {.picture = random_picture(state, PICTURE_OPAQUE, 600, 600), .opacity = 200, .x = 500},
        {.picture = random_picture(state, PICTURE_ALPHA, 1280, 500), .opacity = 255, .y = 222},
    };
    for (int i = 0; i < 2; i++) {
        struct group_frame *alone = NULL;
        for (int hands = 1; hands < 4; hands++) {
            struct group_builder *builder = group_builder_create(1280, 720);
            crew_start(hands);
            struct group_frame *frame = build(builder, i ? base : NULL, layers, 0, 5);
            crew_end();
            alone = hands == 1 ? group_frame_ref(frame) : alone;
            CHECK_TRUE(group_frame_equal(alone, frame));
            group_frame_unref(&frame);
            group_builder_destroy(&builder);
        }
        group_frame_unref(&alone);
    }
    for (int i = 0; i < 5; i++)
        picture_unref(&layers[i].picture);
    picture_unref(&base);
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    for (int i = 0; i < 150; i++)
        test_cuts(&state);
    CHECK(deepest, >, 2); // the random layers did need stacks
    for (int i = 0; i < 150; i++)
        test_damage(&state);
    CHECK(unchanged_tiles, >, 1000);
    CHECK(kept_frames, >, 10);
    test_references(&state);
    test_depth(&state);
    test_hands(&state);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
