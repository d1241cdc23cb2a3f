// What a stage puts into its ring: where keys come, and what frames refer to.
#include "worker/render/coder.h"

#include "tests/engine/compose/random_picture.h"

#define FRAMES 1300

static struct group_frame *group_of(const struct picture *layer, int x)
{
    struct group_builder *builder = group_builder_create(320, 180);
    struct group_frame *group = NULL;
    group_builder_begin(builder, NULL);
    group_builder_add(builder, layer, x, 20, 255, BLEND_NORMAL);
    CHECK_OK(group_builder_finish(builder, &group));
    group_builder_destroy(&builder);
    return group;
}

// Codes FRAMES frames of a layer that moves in the frames [from, to), and checks that each refers
// to the newest key. Gives the frame numbers of the first keys.
static int keys_of(const struct picture *layer, int from, int to, int *ret, int most)
{
    static const int32_t silence[2 * 1600];
    struct coder *coder = coder_create(320, 180, (struct rate){30, 1}, NULL);
    int keys = 0, key = 0;
    for (int n = 0; n < FRAMES; n++) {
        bool moves = n >= from && n < to;
        struct group_frame *group = group_of(layer, moves ? 2 * (n % 50) : 0);
        struct coder_input in = {n, group, .unchanged = !moves && n != to, .sound = silence};
        struct coded_frame coded = {0};
        CHECK_OK(coder_frame(coder, &in, &coded));
        if (coded.base == n) {
            key = n;
            if (keys < most)
                ret[keys] = n;
            keys++;
        }
        CHECK(coded.base, ==, key);
        free(coded.payload);
        group_frame_unref(&group);
    }
    coder_destroy(&coder);
    return keys;
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    struct picture *layer = random_picture(&state, PICTURE_ALPHA, 128, 64);
    int keys[3];
    // A picture that stands needs one every 600 frames.
    CHECK(keys_of(layer, 0, 0, keys, 3), ==, 3);
    CHECK(keys[1], ==, 600);
    CHECK(keys[2], ==, 1200);
    // What moves is never further than 60 from one.
    CHECK(keys_of(layer, 0, FRAMES, keys, 3), >=, FRAMES / 60);
    // Having stood for long, a picture that moves again gets one at the second frame at the latest.
    keys_of(layer, 300, 400, keys, 3);
    CHECK(keys[0], ==, 0);
    CHECK(keys[1], >=, 300);
    CHECK(keys[1], <=, 301);
    picture_unref(&layer);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
