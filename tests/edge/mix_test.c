// The mix on a stepped clock: when frames go out, what is shown when groups are late, which plan is
// in force, and that no wall clock moves anything.
#include "edge/mix/mixer.h"
#include "edge/mix/playout.h"
#include "edge/plan.h"
#include "engine/frame/sound.h"
#include "tests/check.h"

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)
#define W  128
#define H  64

// ---- Playout -----------------------------------------------------------------------------------

static const struct rate ntsc = {30000, 1001};

// Frame n goes out at epoch + n * 1001 / 30000 s + delay, for any start.
static void test_due(void)
{
    struct playout p;
    int64_t epoch = INT64_C(1700000000) * S, real = epoch + 3600 * S, mono = 77 * S;
    playout_start(&p, ntsc, epoch, 1600 * MS, 0, S, mono, real);
    // One hour is 3600 * 30000 / 1001 = 107892.1 frames; less 1.6 s of delay plus 1 s of margin:
    // 3599.4 * 30000 / 1001 = 107874.1, so frame 107875 is the first that is late enough.
    CHECK(p.next, ==, 107875);
    // 107875 * 1001 / 30000 = 3599.429166.. s after the epoch.
    CHECK(playout_due_ns(&p, p.next), ==, mono + INT64_C(3599429166666) - 3600 * S + 1600 * MS);
    playout_start(&p, ntsc, epoch, 1600 * MS, 200000, S, mono, real);
    CHECK(p.next, ==, 200000);
}

// In steps of a millisecond: a ready frame is mixed early and sent at its time, one that is not
// ready is mixed at its time and no later; every frame goes out once, in order.
static void test_step(void)
{
    struct playout p;
    struct rate rate = {25, 1};
    playout_start(&p, rate, 0, 0, 0, 0, 0, 0);
    int64_t first = p.next, sent = 0;
    for (int64_t now = 0; now < 4 * S; now += MS) {
        int64_t until, n = p.next;
        bool ready = n % 3 != 0;
        enum playout_action action = playout_step(&p, now, ready, &until);
        CHECK(until, ==, n * 40 * MS);
        CHECK(p.next, ==, n);
        if (!ready)
            CHECK(action == PLAYOUT_MIX, ==, now >= until);
        else
            CHECK(action, ==, PLAYOUT_MIX);
        if (action == PLAYOUT_MIX && now >= until) {
            CHECK(now - until, <, MS);
            CHECK(n, ==, first + sent);
            playout_sent(&p);
            sent++;
        }
    }
    CHECK(sent, ==, 99); // frames 1 .. 99; frame 0 was due at the start itself
    CHECK(p.skipped, ==, 0);
    int64_t until, before = p.next;
    (void)playout_step(&p, 10 * S, true, &until); // asleep for six seconds
    CHECK(p.next, ==, 250);
    CHECK(p.skipped, ==, 250 - before);
}

static void test_slew(void)
{
    struct playout p;
    playout_start(&p, ntsc, 0, 0, 0, 0, 0, 1000 * S);
    int64_t due = playout_due_ns(&p, 60000);
    // The system's clock is 15 ms ahead from now on: 1000 ppm make 1 ms a second.
    for (int i = 1; i <= 10; i++)
        CHECK(playout_slew(&p, i * S, (1000 + i) * S + 15 * MS), ==, (16 - i) * MS);
    CHECK(due - playout_due_ns(&p, 60000), ==, 10 * MS);
    // Set by an hour, forwards and backwards: nothing moves.
    due = playout_due_ns(&p, 60000);
    CHECK(playout_slew(&p, 20 * S, (1000 + 20 + 3600) * S), >, 100 * MS);
    CHECK(playout_slew(&p, 21 * S, (1000 + 21 - 3600) * S), <, -100 * MS);
    CHECK(playout_due_ns(&p, 60000), ==, due);
}

// The two clocks run apart, by 500 ppm, for three hours: what is on air keeps to the system's.
static void test_drift(void)
{
    struct playout p;
    int64_t most = 0;
    playout_start(&p, ntsc, 0, 0, 0, 0, 0, 1000 * S);
    for (int64_t t = 0; t < 3 * 3600 * S; t += 40 * MS) {
        int64_t difference = playout_slew(&p, t, 1000 * S + t + t / 2000);
        most = difference > most ? difference : most;
    }
    CHECK(most, >, 0);
    CHECK(most, <, MS);
}

// ---- Mixer -------------------------------------------------------------------------------------

static struct group_frame *make_group(bool base, uint8_t luma, uint8_t alpha)
{
    struct group_builder *b = group_builder_create(W, H);
    struct picture *background = picture_create(PICTURE_OPAQUE, W, H);
    struct picture *layer = picture_create(PICTURE_ALPHA, 32, 32);
    uint8_t below[4] = {luma, 128, 128, 255};
    // Premultiplied: P = round(C * a / 255), picture.h.
    uint8_t above[4] = {(uint8_t)((luma * alpha + 127) / 255), (uint8_t)((128 * alpha + 127) / 255),
                        (uint8_t)((128 * alpha + 127) / 255), alpha};
    picture_fill(background, below);
    picture_fill(layer, above);
    group_builder_begin(b, base ? background : NULL);
    if (!base)
        group_builder_add(b, layer, 16, 16, 255, BLEND_NORMAL);
    struct group_frame *g = NULL;
    CHECK_OK(group_builder_finish(b, &g));
    picture_unref(&background);
    picture_unref(&layer);
    group_builder_destroy(&b);
    return g;
}

static const struct rate rate = {30, 1};
static const struct mixer_group two[] = {{1, true}, {2, false}};
static int32_t stem_a[1600 * 2], stem_b[1600 * 2];

static const struct mixer_slate *slate; // of the following calls of mix
static struct programme_frame *mix(struct mixer *m, int64_t n, const struct group_frame *a,
                                   const struct group_frame *b, struct mixer_result *result)
{
    struct intake_frame inputs[2] = {{a, a ? stem_a : NULL}, {b, b ? stem_b : NULL}};
    struct programme_frame *f = NULL;
    CHECK_OK(mixer_frame(m, n, inputs, slate, &f, result));
    CHECK(f->frame, ==, n);
    CHECK(f->sample_count, ==, 1600);
    CHECK(f->first_sample, ==, n * 1600);
    return f;
}

static int luma(const struct programme_frame *f, int x, int y)
{
    return f->picture->plane[0][y * f->picture->stride[0] + x];
}

// A half-transparent layer of luma 235 (a = 128) over 80, by the formula in blend.h:
// P = (235 * 128 + 127) / 255 = 118; dst = 118 + (80 * 127 + 127) / 255 = 118 + 40 = 158.
static void test_fresh(struct mixer *m, const struct group_frame *a, const struct group_frame *b)
{
    struct mixer_result r;
    for (int i = 0; i < 3200; i++) {
        stem_a[i] = 1000 + i;
        stem_b[i] = -300;
    }
    struct programme_frame *f = mix(m, 1000, a, b, &r);
    CHECK(r.late, ==, 0);
    CHECK(r.concealed, ==, 0);
    CHECK(luma(f, 0, 0), ==, 80);
    CHECK(luma(f, 20, 20), ==, 158);
    for (int i = 0; i < 3200; i++)
        CHECK(f->samples[i], ==, 1000 + i - 300);
    programme_frame_unref(&f);
}

// Half a second at 30 frames is 15: held for frames 1001 .. 1015, then gone.
static void test_late(struct mixer *m, const struct group_frame *a)
{
    for (int64_t n = 1001; n <= 1020; n++) {
        struct mixer_result r;
        struct programme_frame *f = mix(m, n, a, NULL, &r);
        bool held = n <= 1015;
        CHECK(r.late, ==, 1);
        CHECK(r.worst_group, ==, 2);
        CHECK(r.worst, ==, held ? MIXER_HOLD : MIXER_FALLBACK);
        CHECK(luma(f, 20, 20), ==, held ? 158 : 80);
        CHECK(luma(f, 0, 0), ==, 80);
        for (int i = 0; i < 1600; i++) {
            // From the last sample (-300) to nothing in 480 steps, once; silence afterwards.
            int fade = n == 1001 && i < 480 ? -300 * (479 - i) / 480 : 0;
            CHECK(f->samples[2 * i], ==, stem_a[2 * i] + fade);
        }
        programme_frame_unref(&f);
    }
}

static void test_back(struct mixer *m, const struct group_frame *a, const struct group_frame *b)
{
    struct mixer_result r;
    struct programme_frame *f = mix(m, 1021, a, b, &r);
    CHECK(r.late, ==, 0);
    CHECK(luma(f, 20, 20), ==, 158);
    for (int i = 0; i < 1600; i++)
        CHECK(f->samples[2 * i], ==, stem_a[2 * i] + (i < 480 ? -300 * i / 480 : -300));
    programme_frame_unref(&f);
    f = mix(m, 1022, a, b, &r);
    CHECK(f->samples[0], ==, stem_a[0] - 300);
    programme_frame_unref(&f);
}

// Without its base and a slate the programme is black after half a second, with what is above it.
static void test_black(struct mixer *m, const struct group_frame *b)
{
    struct mixer_result r = {0};
    for (int64_t n = 1023; n <= 1022 + 16; n++) {
        struct programme_frame *f = mix(m, n, NULL, b, &r);
        bool held = n <= 1022 + 15;
        CHECK(luma(f, 0, 0), ==, held ? 80 : 16);
        // 118 + (16 * 127 + 127) / 255 = 126
        CHECK(luma(f, 20, 20), ==, held ? 158 : 126);
        CHECK(r.worst, ==, held ? MIXER_HOLD : MIXER_SLATE);
        programme_frame_unref(&f);
    }
}

// With a slate: its picture in place of the base, and its sound, which repeats, from the sample
// that belongs to the channel's frame. Fades of 480 samples at both ends.
static void test_slate(struct mixer *m, const struct group_frame *a, const struct group_frame *b)
{
    struct mixer_result r;
    struct picture *picture = picture_create(PICTURE_OPAQUE, W, H);
    picture_fill(picture, (uint8_t[4]){100, 128, 128, 255});
    static int32_t bed[2 * 1000];
    for (int i = 0; i < 2000; i++)
        bed[i] = 10000 + i;
    const struct mixer_slate with = {picture, bed, 1000};
    struct programme_frame *f = mix(m, 1500, a, b, &r);
    programme_frame_unref(&f);
    slate = &with;
    for (int64_t n = 1501; n <= 1518; n++) {
        f = mix(m, n, NULL, b, &r);
        bool held = n <= 1515;
        CHECK(r.worst, ==, held ? MIXER_HOLD : MIXER_SLATE);
        CHECK(r.worst_group, ==, 1);
        CHECK(luma(f, 0, 0), ==, held ? 80 : 100);
        // 118 + (100 * 127 + 127) / 255 = 168
        CHECK(luma(f, 20, 20), ==, held ? 158 : 168);
        for (int i = 0; i < 1600 && !held; i++) {
            int64_t sample = bed[2 * ((n * 1600 + i) % 1000)];
            if (n == 1516 && i < 480)
                sample = sample * i / 480;
            CHECK(f->samples[2 * i], ==, sample - 300);
        }
        programme_frame_unref(&f);
    }
    // Back: the bed falls from its last sample, the base's sound rises.
    int64_t last = bed[2 * ((1518 * 1600 + 1599) % 1000)];
    f = mix(m, 1519, a, b, &r);
    CHECK(r.worst, ==, MIXER_FRESH);
    CHECK(luma(f, 0, 0), ==, 80);
    for (int i = 0; i < 1600; i++) {
        int64_t sample =
            i < 480 ? last * (479 - i) / 480 + (int64_t)stem_a[2 * i] * i / 480 : stem_a[2 * i];
        CHECK(f->samples[2 * i], ==, sample - 300);
    }
    programme_frame_unref(&f);
    slate = NULL;
    picture_unref(&picture);
}

// A new plan whose groups are all late: the old plan's last good programme stays, half a second.
static void test_switch(struct mixer *m, const struct group_frame *a, const struct group_frame *b,
                        const struct group_frame *other)
{
    struct mixer_result r;
    struct programme_frame *f = mix(m, 2000, a, b, &r);
    programme_frame_unref(&f);
    static const struct mixer_group one[] = {{1, true}};
    mixer_set_groups(m, one, 1);
    for (int64_t n = 2001; n <= 2016; n++) {
        f = mix(m, n, NULL, NULL, &r);
        CHECK(r.programme_held, ==, n <= 2015);
        CHECK(luma(f, 20, 20), ==, n <= 2015 ? 158 : 16);
        CHECK(r.concealed, ==, 1);
        programme_frame_unref(&f);
    }
    f = mix(m, 2017, other, NULL, &r);
    CHECK(r.concealed, ==, 0);
    CHECK(luma(f, 20, 20), ==, 200);
    programme_frame_unref(&f);
    // Once a group has been there, its own ladder applies and not the programme's.
    f = mix(m, 2018, NULL, NULL, &r);
    CHECK(r.programme_held, ==, 0);
    CHECK(r.worst, ==, MIXER_HOLD);
    CHECK(luma(f, 20, 20), ==, 200);
    programme_frame_unref(&f);
}

static void test_mixer(void)
{
    struct mixer *m = mixer_create(W, H, rate);
    struct group_frame *a = make_group(true, 80, 255), *b = make_group(false, 235, 128);
    struct group_frame *other = make_group(true, 200, 255);
    mixer_set_groups(m, two, 2);
    test_fresh(m, a, b);
    test_late(m, a);
    test_back(m, a, b);
    test_black(m, b);
    test_slate(m, a, b);
    test_switch(m, a, b, other);
    mixer_destroy(&m);
    group_frame_unref(&a);
    group_frame_unref(&b);
    group_frame_unref(&other);
    CHECK(picture_outstanding(), ==, 0);
}

int main(void)
{
    test_due();
    test_step();
    test_slew();
    test_drift();
    test_mixer();
    return check_end();
}
