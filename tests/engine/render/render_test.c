// The renderer: the same bits whatever was rendered before, wherever the z-order is cut, with and
// without reuse; fallbacks for what is missing; nothing outstanding afterwards.
#include "engine/render/render.h"

#include "engine/frame/sound.h"
#include "tests/check.h"

#include <errno.h>

#define WIDTH  320
#define HEIGHT 180
#define FRAMES 50

static const char document[] =
    "{\"schema\":\"vistter.timeline/1\",\"name\":\"test\",\"loop\":true,\"duration\":40,"
    "\"format\":{\"width\":320,\"height\":180,\"rate\":\"30\"},\"background\":\"#405060\","
    "\"assets\":{\"gone\":\"file:gone.mp4\"},\"tracks\":["
    "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":20,\"pattern\":{\"kind\":\"bars\","
    "\"tone\":{\"frequency\":1000,\"level\":-20}}},"
    "{\"kind\":\"pattern\",\"start\":10,\"duration\":30,\"transition\":10,"
    "\"pattern\":{\"kind\":\"ramp\"}}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":40,\"shape\":{\"kind\":\"ellipse\","
    "\"size\":[100,70],\"fill\":\"#ff000090\"},\"position\":{\"keyframes\":[{\"at\":0,\"value\":["
    "60,50]},"
    "{\"at\":39,\"value\":[250,120]}]}}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":5,\"duration\":20,\"blend\":\"multiply\",\"shape\":"
    "{\"kind\":\"rectangle\",\"size\":[120,90],\"fill\":\"#80ff80c0\"},\"rotation\":20}]},"
    "{\"clips\":[{\"kind\":\"adjust\",\"start\":8,\"duration\":24,\"contrast\":1.2,\"brightness\":"
    "0.1}]},"
    "{\"clips\":[{\"kind\":\"video\",\"asset\":\"gone\",\"start\":0,\"duration\":40,\"size\":[50,"
    "40],"
    "\"position\":[40,150],\"fallback\":{\"kind\":\"colour\",\"colour\":\"#00ff00\"}}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":40,\"blend\":\"screen\",\"opacity\":"
    "0.5,"
    "\"shape\":{\"kind\":\"rectangle\",\"size\":[200,30],\"radius\":7,\"fill\":\"#3060ff\"},"
    "\"position\":[160,150]}]}]}";

static int no_asset(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    (void)opaque;
    (void)path;
    return diagnostic_set(reterr, -ENOENT, "asset_missing", uri, "is not there");
}

static struct timeline *timeline;

static struct renderer *open_range(int from, int to, bool plain)
{
    struct render_config config = {
        .timeline = timeline,
        .width = WIDTH,
        .height = HEIGHT,
        .rate = {30, 1},
        .track_from = from,
        .track_to = to,
        .base = from == 0,
        .sound = true,
        .resolver = {no_asset, NULL},
        .plain = plain,
    };
    struct renderer *renderer = NULL;
    struct diagnostic why;
    CHECK_OK(renderer_create(&config, &renderer, &why));
    return renderer;
}

struct sums {
    uint64_t picture, sound;
    int problems;
};

// Renders frame n through a row of renderers, folding as the edge does.
static struct sums frame_sums(struct renderer **renderers, int count, int64_t n)
{
    static int32_t sum[SOUND_FRAME_MAX * SOUND_CHANNELS], stem[SOUND_FRAME_MAX * SOUND_CHANNELS];
    int samples = rate_sample_count((struct rate){30, 1}, n);
    memset(sum, 0, sizeof *sum * (size_t)samples * SOUND_CHANNELS);
    struct picture *picture = NULL;
    struct sums result = {0};
    for (int i = 0; i < count; i++) {
        struct group_frame *group = NULL;
        struct render_report report;
        struct picture *above = NULL;
        CHECK_OK(renderer_frame(renderers[i], n, n, picture, &group, stem, &report));
        CHECK_OK(group_fold_over(picture, group, &above));
        sound_add(sum, stem, samples);
        picture_unref(&picture);
        picture = above;
        result.problems += report.problems;
        group_frame_unref(&group);
    }
    result.picture = picture_checksum(picture);
    result.sound = sound_checksum(sum, samples);
    picture_unref(&picture);
    return result;
}

static struct sums reference[FRAMES];

static void make_reference(void)
{
    struct renderer *plain = open_range(0, (int)timeline->track_count, true);
    for (int n = 0; n < FRAMES; n++)
        reference[n] = frame_sums(&plain, 1, n);
    renderer_destroy(&plain);
    // It moves, and it loops: frame 41 is frame 1 again.
    CHECK_TRUE(reference[1].picture != reference[2].picture);
    CHECK_TRUE(reference[41].picture == reference[1].picture);
    CHECK(reference[3].problems, ==, 1);
}

static void check_reuse_and_order(void)
{
    struct renderer *renderer = open_range(0, (int)timeline->track_count, false);
    for (int n = 0; n < FRAMES; n++)
        CHECK_TRUE(frame_sums(&renderer, 1, n).picture == reference[n].picture);
    uint64_t random = 4711;
    for (int i = 0; i < 100; i++) {
        int n = (int)(check_random(&random) % FRAMES);
        struct sums sums = frame_sums(&renderer, 1, n);
        CHECK_TRUE(sums.picture == reference[n].picture);
        CHECK_TRUE(sums.sound == reference[n].sound);
    }
    renderer_destroy(&renderer);
}

static void check_cuts(void)
{
    int tracks = (int)timeline->track_count;
    for (unsigned cuts = 0; cuts < 1u << (tracks - 1); cuts++) {
        struct renderer *renderers[TIMELINE_TRACKS_MAX];
        int count = 0, from = 0;
        for (int to = 1; to <= tracks; to++) {
            if (to < tracks && !(cuts >> (to - 1) & 1))
                continue;
            renderers[count++] = open_range(from, to, false);
            from = to;
        }
        for (int n = 6; n < FRAMES; n += 7) {
            struct sums sums = frame_sums(renderers, count, n);
            CHECK_TRUE(sums.picture == reference[n].picture);
            CHECK_TRUE(sums.sound == reference[n].sound);
        }
        for (int i = 0; i < count; i++)
            renderer_destroy(&renderers[i]);
    }
}

static void check_unchanged(void)
{
    struct renderer *renderer = open_range(5, 6, false); // the still rectangle alone
    struct group_frame *first = NULL, *second = NULL;
    struct render_report report;
    CHECK_OK(renderer_frame(renderer, 0, 0, NULL, &first, NULL, &report));
    CHECK_TRUE(!report.unchanged);
    CHECK_OK(renderer_frame(renderer, 1, 1, NULL, &second, NULL, &report));
    CHECK_TRUE(report.unchanged);
    CHECK_TRUE(first == second);
    group_frame_unref(&first);
    group_frame_unref(&second);
    renderer_destroy(&renderer);
    // A group with an adjust track cannot be rendered without what lies beneath.
    CHECK_TRUE(renderer_needs_beneath(timeline, 2, 4));
    renderer = open_range(3, 6, false);
    CHECK_ERROR(renderer_frame(renderer, 9, 9, NULL, &first, NULL, &report), -EINVAL);
    renderer_destroy(&renderer);
}

// What an opaque layer hides is not made, nor is anything made differently for it: a moving shape
// under a pattern that covers all for a while.
static void check_hidden(void)
{
    static const char hidden[] = "{\"schema\":\"vistter.timeline/"
                                 "1\",\"duration\":60,\"format\":{\"width\":320,\"height\":180,"
                                 "\"rate\":\"30\"},\"tracks\":["
                                 "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":60,"
                                 "\"shape\":{\"kind\":\"ellipse\","
                                 "\"size\":[100,70],\"fill\":\"#ff0000\"},\"position\":{"
                                 "\"keyframes\":[{\"at\":0,\"value\":[20,"
                                 "20]},{\"at\":59,\"value\":[300,160]}]}}]},"
                                 "{\"clips\":[{\"kind\":\"pattern\",\"start\":10,\"duration\":30,"
                                 "\"fade_in\":5,\"fade_out\":5,"
                                 "\"pattern\":{\"kind\":\"ramp\"}}]}]}";
    struct timeline *outer = timeline;
    struct diagnostic why = {0};
    CHECK_OK(timeline_parse(hidden, sizeof hidden - 1, NULL, NULL, &timeline, &why));
    struct renderer *plain = open_range(0, 2, true), *quick = open_range(0, 2, false);
    for (int64_t n = 0; n < 60; n++) {
        struct group_frame *a = NULL, *b = NULL;
        struct render_report report;
        CHECK_OK(renderer_frame(plain, n, n, NULL, &a, NULL, &report));
        CHECK(report.track_ns[0], >, 0);
        CHECK_OK(renderer_frame(quick, n, n, NULL, &b, NULL, &report));
        bool covered = n >= 15 && n <= 35;
        CHECK(report.track_ns[0] == 0, ==, covered);
        CHECK(report.track_ns[1] > 0, ==, true);
        CHECK_TRUE(group_frame_equal(a, b));
        group_frame_unref(&a);
        group_frame_unref(&b);
    }
    renderer_destroy(&plain);
    renderer_destroy(&quick);
    timeline_unref(&timeline);
    timeline = outer;
}

int main(void)
{
    struct diagnostic why;
    CHECK_OK(timeline_parse(document, sizeof document - 1, NULL, NULL, &timeline, &why));
    if (!timeline) {
        fprintf(stderr, "%s: %s\n", why.path, why.text);
        return 1;
    }
    make_reference();
    check_reuse_and_order();
    check_cuts();
    check_unchanged();
    check_hidden();
    timeline_unref(&timeline);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
