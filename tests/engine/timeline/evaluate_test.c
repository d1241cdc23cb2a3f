// Evaluation against expected values worked out by hand and against a plain second computation.
#include "engine/timeline/timeline.h"
#include "tests/check.h"

#include <math.h>
#include <time.h>

static const struct rate rates[] = {{25, 1}, {30000, 1001}, {30, 1}, {60000, 1001}};
#define RATE_COUNT (sizeof rates / sizeof rates[0])

static bool near(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance;
}

static struct timeline *parse(const char *text)
{
    struct timeline *timeline = NULL;
    struct diagnostic d = {0};
    char line[800];
    if (timeline_parse(text, strlen(text), NULL, NULL, &timeline, &d) < 0) {
        fprintf(stderr, "%s\n", diagnostic_format(&d, line, sizeof line));
        exit(EXIT_FAILURE);
    }
    return timeline;
}

// Wraps tracks into a document at the given rate.
static struct timeline *parse_tracks(const char *rate, const char *more, const char *tracks)
{
    static char text[1 << 16];
    snprintf(text, sizeof text,
             "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":1280,\"height\":720,"
             "\"rate\":\"%s\"},%s\"assets\":{\"a\":\"file:a\",\"b\":\"file:b\"},\"tracks\":[%s]}",
             rate, more, tracks);
    return parse(text);
}

// -- frames of one rate as frames of another

// Frame of the timeline that its first track, one clip from the start on, shows; -1: none.
static int64_t frame_at(const struct timeline *timeline, struct rate rate, int64_t n)
{
    struct layer layer;
    timeline_evaluate(timeline, rate, 1280, 720, n, &layer);
    return layer.now.clip ? layer.now.local_frame : -1;
}

// Counts up instead of dividing: the timeline's frame at output frame n is the last whose start, in
// units of 1/(product of all terms) second, is not after that of the output's frame.
static void test_frames(void)
{
    for (size_t t = 0; t < RATE_COUNT; t++) {
        char rate[24];
        struct timeline *timeline =
            parse_tracks(rate_format(rates[t], rate), "\"duration\":1000,\"loop\":true,",
                         "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":1000,"
                         "\"pattern\":{\"kind\":\"bars\"}}]}");
        for (size_t o = 0; o < RATE_COUNT; o++) {
            int64_t output_step = (int64_t)rates[o].den * rates[t].num;
            int64_t frame_step = (int64_t)rates[t].den * rates[o].num;
            int64_t frame = 0;
            for (int64_t n = 0; n < 5000; n++) {
                while ((frame + 1) * frame_step <= n * output_step)
                    frame++;
                CHECK(frame_at(timeline, rates[o], n), ==, frame % 1000);
            }
            // After 100 years on air it is still exact: a whole number of seconds * 1001 later.
            int64_t later = INT64_C(3153600000) * rates[o].num;
            int64_t wrapped = (int64_t)((__int128)later * output_step / frame_step % 1000);
            CHECK(frame_at(timeline, rates[o], later), ==, wrapped);
        }
        timeline_unref(&timeline);
    }
}

static void test_end(void)
{
    struct timeline *timeline = parse_tracks(
        "30", "",
        "{\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":10,\"duration\":90}]}");
    struct layer layer;
    struct layer_sound sound;
    CHECK(timeline->duration, ==, 100);
    for (int64_t n = 0; n < 120; n++) {
        timeline_evaluate(timeline, rates[2], 1280, 720, n, &layer);
        bool there = n >= 10 && n < 100;
        CHECK(layer.now.clip != NULL, ==, there);
        CHECK(timeline_evaluate_sound(timeline, NULL, rates[2], n, 0, 1, &sound, 1), ==, there);
        if (there)
            CHECK(layer.now.local_frame, ==, n - 10);
    }
    timeline_unref(&timeline);
}

// -- in-point and speed

static void test_source_time(void)
{
    struct timeline *timeline = parse_tracks(
        "29.97", "",
        "{\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":7,\"duration\":5000,"
        "\"in\":\"3/2s\",\"speed\":\"3/2\"}]},"
        "{\"clips\":[{\"kind\":\"audio\",\"asset\":\"b\",\"start\":7,\"duration\":5000,\"in\":30}]"
        "}");
    for (int64_t n = 7; n < 5007; n++) {
        struct layer layers[2];
        struct layer_sound sounds[2];
        timeline_evaluate(timeline, rates[1], 1280, 720, n, layers);
        CHECK(timeline_evaluate_sound(timeline, NULL, rates[1], n, 0, 2, sounds, 2), ==, 2);
        // 3/2 + (n - 7) * 1001/30000 * 3/2 = (30000 + (n - 7) * 1001) / 20000
        struct rational expected = rational_make(30000 + (n - 7) * 1001, 20000);
        CHECK(layers[0].now.source_time.num, ==, expected.num);
        CHECK(layers[0].now.source_time.den, ==, expected.den);
        CHECK(rational_compare(sounds[0].source_time, expected), ==, 0);
        expected = rational_make((n - 7 + 30) * 1001, 30000);
        CHECK(rational_compare(sounds[1].source_time, expected), ==, 0);
        CHECK(layers[1].now.clip == NULL, ==, 1);
    }
    timeline_unref(&timeline);
}

// -- properties

// Reference for an eased share, written from the definitions: bezier by a fine table of the curve.
static double reference_easing(const char *name, double t)
{
    if (!strcmp(name, "hold"))
        return 0;
    if (!strcmp(name, "in"))
        return pow(t, 3);
    if (!strcmp(name, "out"))
        return 1 - pow(1 - t, 3);
    if (!strcmp(name, "in-out"))
        return 3 * pow(t, 2) - 2 * pow(t, 3);
    if (!strcmp(name, "linear"))
        return t;
    double x1, y1, x2, y2;
    sscanf(name, "[%lf,%lf,%lf,%lf]", &x1, &y1, &x2, &y2);
    const int steps = 400000;
    double last_x = 0, last_y = 0;
    for (int i = 1; i <= steps; i++) {
        double s = (double)i / steps, r = 1 - s;
        double x = 3 * r * r * s * x1 + 3 * r * s * s * x2 + s * s * s;
        double y = 3 * r * r * s * y1 + 3 * r * s * s * y2 + s * s * s;
        if (x >= t)
            return x > last_x ? last_y + (y - last_y) * (t - last_x) / (x - last_x) : y;
        last_x = x;
        last_y = y;
    }
    return 1;
}

static void test_easing(void)
{
    static const char *const names[] = {
        "linear",   "hold", "in", "out", "in-out", "[0.25,0.1,0.25,1]", "[0.9,-0.5,0.1,1.5]",
        "[0,0,1,1]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char tracks[1000];
        const char *quote = names[i][0] == '[' ? "" : "\"";
        snprintf(tracks, sizeof tracks,
                 "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"bars\"},\"start\":5,"
                 "\"duration\":100,\"position\":{\"keyframes\":[{\"at\":10,\"value\":[100,-50],"
                 "\"easing\":%s%s%s},{\"at\":\"2s\",\"value\":[300,50]}]}}]}",
                 quote, names[i], quote);
        struct timeline *timeline = parse_tracks("25", "", tracks);
        for (int64_t n = 5; n < 105; n++) {
            struct layer layer;
            timeline_evaluate(timeline, rates[0], 640, 720, n, &layer);
            double local = (double)(n - 5), share = 0;
            if (local >= 50)
                share = 1;
            else if (local > 10)
                share = reference_easing(names[i], (local - 10) / 40);
            CHECK_TRUE(near(layer.now.placement.x, (100 + 200 * share) / 2, 1e-4));
            CHECK_TRUE(near(layer.now.placement.y, -50 + 100 * share, 1e-4));
        }
        timeline_unref(&timeline);
    }
}

// Random keyframes and output rates; the share is computed in long double from frame numbers.
static void test_random_properties(uint64_t seed)
{
    uint64_t state = seed;
    for (int round = 0; round < 200; round++) {
        int at[8], value[8], count = 2 + (int)(check_random(&state) % 7);
        char tracks[4000];
        int used = snprintf(tracks, sizeof tracks,
                            "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"grid\"},"
                            "\"start\":0,\"duration\":500,\"opacity\":{\"keyframes\":[");
        for (int i = 0; i < count; i++) {
            at[i] = (i ? at[i - 1] + 1 : 0) + (int)(check_random(&state) % 60);
            value[i] = (int)(check_random(&state) % 1001);
            used += snprintf(tracks + used, sizeof tracks - (size_t)used,
                             "%s{\"at\":%d,\"value\":%d.%03d}", i ? "," : "", at[i],
                             value[i] / 1000, value[i] % 1000);
        }
        snprintf(tracks + used, sizeof tracks - (size_t)used, "]}}]}");
        char rate[24];
        struct rate own = rates[check_random(&state) % RATE_COUNT];
        struct rate output = rates[check_random(&state) % RATE_COUNT];
        struct timeline *timeline = parse_tracks(rate_format(own, rate), "", tracks);
        for (int64_t n = 0; n < 200; n++) {
            long double local = (long double)n * output.den * own.num / output.num / own.den;
            long double expected = value[0];
            for (int i = 0; i + 1 < count && local > at[i]; i++)
                expected = local >= at[i + 1]
                               ? value[i + 1]
                               : value[i] + (value[i + 1] - value[i]) * (local - at[i]) /
                                                (at[i + 1] - at[i]);
            struct layer layer;
            timeline_evaluate(timeline, output, 1280, 720, n, &layer);
            CHECK_TRUE(near(layer.now.opacity, (double)(expected * 255 / 1000), 0.5 + 1e-9));
        }
        timeline_unref(&timeline);
    }
}

static void test_placement(void)
{
    struct timeline *timeline = parse_tracks(
        "30", "",
        "{\"clips\":[{\"kind\":\"image\",\"asset\":\"a\",\"start\":0,\"duration\":10}]},"
        "{\"clips\":[{\"kind\":\"image\",\"asset\":\"a\",\"start\":0,\"duration\":10,\"fit\":"
        "\"cover\","
        "\"position\":[100,200],\"size\":[320,180],\"anchor\":[0,1],\"rotation\":-30,"
        "\"crop\":[0.1,0.2,0.3,0.4],\"radius\":12,\"opacity\":0.5,\"blend\":\"screen\","
        "\"border\":{\"width\":8},\"shadow\":{\"offset\":[6,-3],\"blur\":10}}]}");
    struct layer layers[2];
    timeline_evaluate(timeline, rates[2], 1920, 1440, 0, layers);
    const struct placement *p = &layers[0].now.placement;
    CHECK_TRUE(p->x == 960 && p->y == 720 && p->width == 0 && p->height == 0);
    CHECK_TRUE(p->anchor_x == 0.5 && p->anchor_y == 0.5 && p->rotation == 0 && p->radius == 0);
    CHECK_TRUE(p->border == 0 && p->border_colour.alpha == 0 && p->shadow.colour.alpha == 0);
    CHECK(p->fit, ==, FIT_CONTAIN);
    CHECK(layers[0].now.opacity, ==, 255);
    CHECK_TRUE(layers[0].now.contrast == 1 && layers[0].now.saturation == 1);
    p = &layers[1].now.placement;
    CHECK_TRUE(p->x == 150 && p->y == 400 && p->width == 480 && p->height == 360);
    CHECK_TRUE(p->anchor_x == 0 && p->anchor_y == 1 && p->rotation == -30 && p->radius == 18);
    CHECK_TRUE(p->crop_left == 0.1 && p->crop_top == 0.2 && p->crop_right == 0.3 &&
               p->crop_bottom == 0.4);
    CHECK_TRUE(p->border == 12 && p->shadow.x == 9 && p->shadow.y == -6 && p->shadow.blur == 15);
    CHECK(p->fit, ==, FIT_COVER);
    CHECK(layers[1].now.opacity, ==, 128);
    CHECK(layers[1].now.clip->blend, ==, BLEND_SCREEN);
    timeline_unref(&timeline);
}

// A curve that swings over leaves no value outside its range.
static void test_overshoot(void)
{
    struct timeline *timeline = parse_tracks(
        "30", "",
        "{\"clips\":[{\"kind\":\"image\",\"asset\":\"a\",\"start\":0,\"duration\":100,"
        "\"opacity\":{\"keyframes\":[{\"at\":0,\"value\":0,\"easing\":[0.5,-5,0.5,6]},"
        "{\"at\":100,\"value\":1}]},"
        "\"size\":{\"keyframes\":[{\"at\":0,\"value\":[10,10],\"easing\":[0.5,-5,0.5,6]},"
        "{\"at\":100,\"value\":[500,500]}]},"
        "\"crop\":{\"keyframes\":[{\"at\":0,\"value\":[0,0,0.4,0.4],\"easing\":[0.5,-5,0.5,6]},"
        "{\"at\":100,\"value\":[0.4,0.4,0,0]}]}}]}");
    for (int64_t n = 0; n < 100; n++) {
        struct layer layer;
        timeline_evaluate(timeline, rates[2], 1280, 720, n, &layer);
        const struct placement *p = &layer.now.placement;
        CHECK_TRUE(layer.now.opacity >= 0 && layer.now.opacity <= 255);
        CHECK_TRUE(p->width > 0 && p->height > 0);
        CHECK_TRUE(p->crop_left >= 0 && p->crop_right >= 0 && p->crop_left + p->crop_right <= 1);
    }
    timeline_unref(&timeline);
}

static void test_adjust(void)
{
    struct timeline *timeline = parse_tracks(
        "30", "",
        "{\"clips\":[{\"kind\":\"adjust\",\"start\":0,\"duration\":100,\"brightness\":0.5,"
        "\"contrast\":{\"keyframes\":[{\"at\":0,\"value\":1},{\"at\":10,\"value\":3}]},"
        "\"saturation\":0,\"opacity\":0.8,\"fade_in\":10}]}");
    for (int64_t n = 0; n < 100; n++) {
        struct layer layer;
        timeline_evaluate(timeline, rates[2], 1280, 720, n, &layer);
        double share = n < 10 ? (double)n / 10 : 1;
        CHECK_TRUE(layer.now.brightness == 0.5 && layer.now.saturation == 0);
        CHECK_TRUE(near(layer.now.contrast, 1 + 2 * share, 1e-12));
        CHECK(layer.now.opacity, ==, (int)floor(0.8 * share * 255 + 0.5));
    }
    timeline_unref(&timeline);
}

// -- fades, dissolves

static void test_fades(void)
{
    struct timeline *timeline = parse_tracks(
        "50", "",
        "{\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":20,\"duration\":100,"
        "\"opacity\":0.8,\"fade_in\":20,\"fade_out\":\"1/5s\","
        "\"sound\":{\"gain\":-6,\"fade_in\":4,\"fade_out\":50}}]}");
    const struct rate output = {50, 1};
    for (int64_t n = 20; n < 120; n++) {
        int64_t k = n - 20, rest = 120 - n;
        double share = (k < 20 ? (double)k / 20 : 1) * (rest < 10 ? (double)rest / 10 : 1);
        struct layer layer;
        timeline_evaluate(timeline, output, 1280, 720, n, &layer);
        CHECK(layer.now.opacity, ==, (int)floor(0.8 * share * 255 + 0.5));
        struct layer_sound sound = {0};
        timeline_evaluate_sound(timeline, NULL, output, n, 0, 1, &sound, 1);
        double gain = pow(10, -6.0 / 20);
        double start = (k < 4 ? (double)k / 4 : 1) * (rest < 50 ? (double)rest / 50 : 1);
        k++, rest--;
        double end = (k < 4 ? (double)k / 4 : 1) * (rest < 50 ? (double)rest / 50 : 1);
        CHECK_TRUE(near(sound.gain_start, gain * start, 1e-12));
        CHECK_TRUE(near(sound.gain_end, gain * end, 1e-12));
    }
    timeline_unref(&timeline);
}

static void test_dissolve(void)
{
    // Written out of order: the parser sorts by start.
    struct timeline *timeline = parse_tracks(
        "30", "",
        "{\"clips\":[{\"id\":\"second\",\"kind\":\"video\",\"asset\":\"b\",\"start\":70,"
        "\"duration\":60,\"transition\":30},"
        "{\"id\":\"first\",\"kind\":\"video\",\"asset\":\"a\",\"start\":0,\"duration\":100},"
        "{\"id\":\"third\",\"kind\":\"image\",\"asset\":\"b\",\"start\":130,\"duration\":10}]}");
    for (int64_t n = 0; n < 145; n++) {
        struct layer layer;
        struct layer_sound sounds[4];
        timeline_evaluate(timeline, rates[2], 1280, 720, n, &layer);
        size_t count = timeline_evaluate_sound(timeline, NULL, rates[2], n, 0, 64, sounds, 4);
        const char *now = n < 70 ? "first" : n < 130 ? "second" : "third";
        bool both = n >= 70 && n < 100;
        if (n >= 140) {
            CHECK_TRUE(!layer.now.clip && !layer.from.clip && count == 0);
            continue;
        }
        CHECK_TEXT(layer.now.clip->id, now);
        CHECK(layer.from.clip != NULL, ==, both);
        CHECK(count, ==, n >= 130 ? 0 : both ? 2 : 1);
        if (!both)
            continue;
        CHECK_TEXT(layer.from.clip->id, "first");
        CHECK(layer.from.local_frame, ==, n);
        CHECK(layer.mix, ==, (int)floor((double)(n - 70) / 30 * 255 + 0.5));
        CHECK_TEXT(sounds[0].clip->id, "first");
        CHECK_TRUE(near(sounds[0].gain_start, sqrt(1 - (double)(n - 70) / 30), 1e-12));
        CHECK_TRUE(near(sounds[1].gain_start, sqrt((double)(n - 70) / 30), 1e-12));
        CHECK_TRUE(near(pow(sounds[0].gain_end, 2) + pow(sounds[1].gain_end, 2), 1, 1e-12));
        // No room for both: no more than asked for.
        CHECK(timeline_evaluate_sound(timeline, NULL, rates[2], n, 0, 64, sounds, 1), ==, 1);
    }
    timeline_unref(&timeline);
}

// At a rate that is not the timeline's, frames start anywhere in a dissolve or fade, and still no
// gain jumps: a clip begins at 0, goes on where the frame before ended, and ends at 0. The sound
// that goes may step by what the dissolve took between its start and the next frame's.
static void test_smooth_gains(void)
{
    for (size_t r = 0; r < RATE_COUNT; r++) {
        struct timeline *timeline = parse_tracks(
            "50", "",
            "{\"clips\":[{\"id\":\"a\",\"kind\":\"audio\",\"asset\":\"a\",\"start\":7,"
            "\"duration\":301,\"sound\":{\"fade_in\":11}},{\"id\":\"b\",\"kind\":\"audio\","
            "\"asset\":\"b\",\"start\":251,\"duration\":200,\"transition\":57,"
            "\"sound\":{\"fade_out\":13}}]}");
        double last[2] = {0, 0};
        for (int64_t n = 0; n < 600; n++) {
            struct layer_sound sounds[2];
            size_t count = timeline_evaluate_sound(timeline, NULL, rates[r], n, 0, 1, sounds, 2);
            double starts[2] = {0, 0}, ends[2] = {0, 0}; // a sound that is not given is silent
            for (size_t i = 0; i < count; i++) {
                int id = sounds[i].clip->id[0] - 'a';
                starts[id] = sounds[i].gain_start;
                ends[id] = sounds[i].gain_end;
            }
            CHECK_TRUE(near(starts[0], last[0], 0.02) && near(starts[1], last[1], 1e-12));
            last[0] = ends[0];
            last[1] = ends[1];
        }
        CHECK_TRUE(last[0] == 0 && last[1] == 0);
        timeline_unref(&timeline);
    }
}

// What is optional is heard, seen only until it is left out, and found in what is nested too.
static int load_nested(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                       struct diagnostic *reterr)
{
    static const char nested[] =
        "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":320,\"height\":180,"
        "\"rate\":\"30\"},\"tracks\":[{\"optional\":true,\"clips\":[{\"kind\":\"pattern\","
        "\"pattern\":{\"kind\":\"bars\"},\"start\":0,\"duration\":9}]}]}";
    (void)opaque;
    (void)uri;
    (void)reterr;
    *ret_bytes = strdup(nested);
    *ret_size = sizeof nested - 1;
    return 0;
}

static void test_optional(void)
{
    static const char text[] =
        "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":1280,\"height\":720,"
        "\"rate\":\"30\"},\"assets\":{\"n\":\"file:n\"},\"tracks\":["
        "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"grid\"},"
        "\"start\":0,\"duration\":9}]},"
        "{\"optional\":true,\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"bars\","
        "\"tone\":{\"level\":-18}},\"start\":0,\"duration\":9}]},"
        "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"n\",\"start\":0,\"duration\":9}]}]}";
    static const bool optional[3] = {false, true, true}, shown[3] = {true, false, true};
    struct timeline *timeline = NULL;
    struct diagnostic why;
    struct layer layers[3], inside;
    struct layer_sound sound;
    CHECK_OK(timeline_parse(text, sizeof text - 1, load_nested, NULL, &timeline, &why));
    if (!timeline)
        return;
    for (int i = 0; i < 3; i++)
        CHECK(timeline_has_optional(timeline, i, i + 1), ==, optional[i]);
    CHECK_TRUE(timeline_has_optional(timeline, 0, 3) && !timeline_has_optional(timeline, 0, 1));
    for (int left_out = 0; left_out < 2; left_out++) {
        timeline_evaluate(timeline, rates[2], 1280, 720, 1, layers);
        for (int i = 0; i < 3; i++)
            CHECK(layers[i].now.clip != NULL, ==, !left_out || shown[i]);
        struct timeline *nested = timeline->tracks[2].clips[0].nested;
        timeline_evaluate(nested, rates[2], 320, 180, 1, &inside);
        CHECK(inside.now.clip != NULL, ==, !left_out);
        CHECK(timeline_evaluate_sound(timeline, NULL, rates[2], 1, 0, 2, &sound, 1), ==, 1);
        timeline_leave_optional(timeline);
    }
    timeline_unref(&timeline);
}

static void test_sound_choice(void)
{
    struct timeline *timeline = parse_tracks(
        "30", "",
        "{\"hidden\":true,\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":0,\"duration\":"
        "9,"
        "\"sound\":{\"gain\":{\"keyframes\":[{\"at\":0,\"value\":-20},{\"at\":4,\"value\":0}]},"
        "\"pan\":{\"keyframes\":[{\"at\":0,\"value\":-1},{\"at\":4,\"value\":1}]}}}]},"
        "{\"muted\":true,\"clips\":[{\"kind\":\"audio\",\"asset\":\"b\",\"start\":0,\"duration\":9}"
        "]},"
        "{\"clips\":[{\"kind\":\"audio\",\"asset\":\"b\",\"start\":0,\"duration\":9,"
        "\"sound\":{\"muted\":true}}]},"
        "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"bars\"},\"start\":0,"
        "\"duration\":9}]},"
        "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"flash\"},\"start\":0,"
        "\"duration\":9}]},"
        "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"bars\",\"tone\":{\"level\":-18}}"
        ","
        "\"start\":0,\"duration\":9}]},"
        "{\"clips\":[{\"kind\":\"audio\",\"asset\":\"b\",\"start\":0,\"duration\":9,"
        "\"sound\":{\"gain\":-96}}]}");
    struct layer_sound sounds[8];
    struct layer layers[7];
    CHECK(timeline_evaluate_sound(timeline, NULL, rates[2], 1, 0, 7, sounds, 8), ==, 3);
    CHECK_TRUE(sounds[0].clip == &timeline->tracks[0].clips[0]);
    CHECK_TRUE(near(sounds[0].gain_start, pow(10, -15.0 / 20), 1e-12));
    CHECK_TRUE(near(sounds[0].gain_end, pow(10, -10.0 / 20), 1e-12));
    CHECK_TRUE(sounds[0].pan_start == -0.5 && sounds[0].pan_end == 0);
    CHECK_TRUE(sounds[1].clip == &timeline->tracks[4].clips[0]);
    CHECK_TRUE(sounds[2].clip->pattern->tone_db == -18);
    CHECK(timeline_evaluate_sound(timeline, NULL, rates[2], 1, 4, 6, sounds, 8), ==, 2);
    CHECK(timeline_evaluate_sound(timeline, NULL, rates[2], 1, -3, 1, sounds, 8), ==, 1);
    timeline_evaluate(timeline, rates[2], 1280, 720, 1, layers);
    CHECK_TRUE(!layers[0].now.clip && layers[3].now.clip);
    timeline_unref(&timeline);
}

static void check_same_instant(const struct clip_instant *a, const struct clip_instant *b)
{
    CHECK_TRUE(a->clip == b->clip);
    CHECK(rational_compare(a->source_time, b->source_time), ==, 0);
    CHECK(a->local_frame, ==, b->local_frame);
    CHECK_TRUE(a->placement.rotation == b->placement.rotation && a->opacity == b->opacity);
}

// A nested timeline is asked at a position in seconds; on the frames of a rate both ways agree.
static void test_evaluate_at(void)
{
    struct timeline *timeline = parse_tracks(
        "25", "",
        "{\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":3,\"duration\":97,"
        "\"rotation\":{\"keyframes\":[{\"at\":0,\"value\":0},{\"at\":97,\"value\":970}]}}]}");
    for (int64_t n = 0; n < 300; n++) {
        struct rational seconds = rational_make(n * 1001, 60000);
        struct layer a, b;
        timeline_evaluate(timeline, rates[3], 1280, 720, n, &a);
        timeline_evaluate_at(timeline, NULL, seconds, false, 1280, 720, &b);
        check_same_instant(&a.now, &b.now);
        // Looped by the nesting clip, 4 seconds later is the same instant.
        timeline_evaluate_at(timeline, NULL, rational_add(seconds, (struct rational){4, 1}), true,
                             1280, 720, &b);
        if (rational_compare(seconds, (struct rational){4, 1}) < 0)
            check_same_instant(&a.now, &b.now);
        else
            CHECK_TRUE(!a.now.clip);
    }
    timeline_unref(&timeline);
}

// -- arithmetic

static void test_arithmetic(void)
{
    CHECK_TRUE(decibel_to_gain(0) == 1);
    CHECK_TRUE(decibel_to_gain(-96) == 0 && decibel_to_gain(-1e9) == 0);
    for (double db = -95.99; db <= 40; db += 0.0137)
        CHECK_TRUE(near(decibel_to_gain(db) / pow(10, db / 20), 1, 1e-13));
    for (double degrees = -3000; degrees <= 3000; degrees += 0.173) {
        double sine, cosine;
        degrees_sin_cos(degrees, &sine, &cosine);
        long double radians = (long double)degrees * 3.14159265358979323846264338327950288L / 180;
        CHECK_TRUE(near(sine, (double)sinl(radians), 1e-12));
        CHECK_TRUE(near(cosine, (double)cosl(radians), 1e-12));
    }
    for (int quarter = -8; quarter <= 8; quarter++) {
        static const int sines[] = {0, 1, 0, -1};
        double sine, cosine;
        degrees_sin_cos(90 * quarter, &sine, &cosine);
        CHECK_TRUE(sine == sines[quarter & 3] && cosine == sines[(quarter + 1) & 3]);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL) | 1;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    test_frames();
    test_end();
    test_source_time();
    test_easing();
    test_random_properties(seed);
    test_placement();
    test_overshoot();
    test_adjust();
    test_fades();
    test_dissolve();
    test_smooth_gains();
    test_optional();
    test_sound_choice();
    test_evaluate_at();
    test_arithmetic();
    return check_end();
}
