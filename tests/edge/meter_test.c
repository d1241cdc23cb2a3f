// Levels against signals whose values EBU Tech 3341 (2016) gives, silence, black and standing still
// to the frame, and the meters' thread. `--bench` tells what it costs.
#include "edge/meter/meters.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "tests/check.h"

#include <math.h>
#include <sched.h>
#include <stdatomic.h>

static const struct rate rate_25 = {25, 1}, rate_30 = {30, 1}, rate_ntsc = {30000, 1001};
static struct picture *grey; // that all frames without another have

static struct picture *picture_of(int width, int height, uint8_t luma)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, width, height);
    picture_fill(p, (uint8_t[4]){luma, 128, 128, 255});
    return p;
}

// A sine of `amplitude` (1: full scale), the same in both channels.
static struct programme_frame *frame_of(struct rate rate, int64_t n, double hz, double amplitude,
                                        double degrees, const struct picture *picture)
{
    struct programme_frame *f =
        programme_frame_create(n, rate_first_sample(rate, n), rate_sample_count(rate, n));
    for (int i = 0; i < f->sample_count; i++) {
        double t = 2 * M_PI * fmod((double)(f->first_sample + i) * hz, SAMPLE_RATE_HZ);
        double x = amplitude * sin(t / SAMPLE_RATE_HZ + degrees * M_PI / 180);
        f->samples[2 * i] = f->samples[2 * i + 1] = (int32_t)lround(x * SOUND_FULL_SCALE);
    }
    f->picture = picture_ref(picture);
    return f;
}

static double from_db(double db)
{
    return pow(10, db / 20);
}

// ---- Loudness ----------------------------------------------------------------------------------

struct part {
    double level, seconds;
};

#define CHECK_DB(value, db, below, above)                                                          \
    CHECK_TRUE((value) >= (db) - (below)-1e-4 && (value) <= (db) + (above) + 1e-4)

// Gives the values of the last tenth, and how many there were.
static int measure(struct rate rate, int64_t first, const struct part *parts, int count,
                   struct loudness_values *ret)
{
    struct loudness *l = loudness_create(rate);
    int tenths = 0;
    int64_t n = first, end = first;
    for (int i = 0; i < count; i++) {
        end += (int64_t)lround(parts[i].seconds * rate.num / rate.den);
        for (; n < end; n++) {
            struct programme_frame *f = frame_of(rate, n, 1000, from_db(parts[i].level), 0, grey);
            tenths += loudness_add(l, f, ret);
            programme_frame_unref(&f);
        }
    }
    loudness_destroy(&l);
    return tenths;
}

// Cases 1 to 3 of Tech 3341, table 1: +-0.1 LU.
static void test_loudness(void)
{
    struct loudness_values v;
    CHECK(measure(rate_25, 0, (struct part[]){{-23, 20}}, 1, &v), ==, 200);
    CHECK(v.frame, ==, 499);
    CHECK_DB(v.momentary, -23.0, 0.1, 0.1);
    CHECK_DB(v.short_term, -23.0, 0.1, 0.1);
    CHECK_DB(v.integrated, -23.0, 0.1, 0.1);
    for (int c = 0; c < 2; c++) {
        CHECK_DB(v.peak[c], -23.0, 0.01, 0.01);
        CHECK_DB(v.true_peak[c], -23.0, 0.4, 0.2);
    }
    CHECK(measure(rate_ntsc, 86400, (struct part[]){{-33, 20}}, 1, &v), >=, 199);
    CHECK_DB(v.momentary, -33.0, 0.1, 0.1);
    CHECK_DB(v.short_term, -33.0, 0.1, 0.1);
    CHECK_DB(v.integrated, -33.0, 0.1, 0.1);
    measure(rate_30, 0, (struct part[]){{-36, 10}, {-23, 60}, {-36, 10}}, 3, &v);
    CHECK_DB(v.integrated, -23.0, 0.1, 0.1);
    CHECK_DB(v.momentary, -36.0, 0.1, 0.1);
    CHECK_DB(v.short_term, -36.0, 0.1, 0.1);
    // Case 4: what is below -70 LUFS does not count.
    measure(rate_25, 0, (struct part[]){{-72, 10}, {-36, 10}, {-23, 60}, {-36, 10}, {-72, 10}}, 5,
            &v);
    CHECK_DB(v.integrated, -23.0, 0.1, 0.1);
    measure(rate_25, 0, (struct part[]){{-INFINITY, 5}}, 1, &v);
    CHECK_TRUE(v.momentary == -INFINITY && v.short_term == -INFINITY && v.integrated == -INFINITY);
    CHECK_TRUE(v.peak[0] == -INFINITY && v.true_peak[1] == -INFINITY);
    // Nor has silence any that follows sound.
    measure(rate_25, 0, (struct part[]){{-3, 1}, {-INFINITY, 0.6}}, 2, &v);
    CHECK_TRUE(v.momentary == -INFINITY && v.peak[0] == -INFINITY && v.true_peak[0] == -INFINITY);
    CHECK_DB(v.short_term, -3.0 + 10 * log10(1 / 3.0), 0.1, 0.1);
}

// Below ten frames a second, and where a tenth has two or three frames.
static void test_tenths(void)
{
    static const int64_t ends[] = {2, 4, 7, 9, 12, 14};
    struct programme_frame *f;
    struct loudness_values v;
    struct loudness *l = loudness_create(rate_25);
    int count = 0;
    for (int n = 0; n < 15; n++) {
        f = frame_of(rate_25, n, 1000, n == 3 ? 0.5 : 0.25, 0, grey);
        if (loudness_add(l, f, &v)) {
            CHECK(v.frame, ==, ends[count]);
            CHECK_DB(v.peak[0], count == 1 ? -6.02 : -12.04, 0.01, 0.01);
            count++;
        }
        programme_frame_unref(&f);
    }
    CHECK(count, ==, 6);
    loudness_destroy(&l);
    l = loudness_create((struct rate){1, 1});
    f = frame_of((struct rate){1, 1}, 7, 1000, 1, 0, grey);
    CHECK_TRUE(loudness_add(l, f, &v));
    CHECK_DB(v.peak[1], 0.0, 0.01, 0.0);
    programme_frame_unref(&f);
    loudness_destroy(&l);
}

// Cases 15 to 19: +0.2, -0.4 dB. All but the first have their highest samples beside the peaks.
static void test_true_peak(void)
{
    static const struct {
        double divisor, amplitude, degrees, peak, true_peak;
    } cases[] = {{4, 0.5, 0, -6.02, -6.0},
                 {4, 0.5, 45, -9.03, -6.0},
                 {6, 0.5, 60, -7.27, -6.0},
                 {8, 0.5, 67.5, -6.71, -6.0},
                 {4, 1.41, 45, -0.03, 3.0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct loudness *l = loudness_create(rate_25);
        struct loudness_values v = {0};
        for (int n = 0; n < 25; n++) {
            struct programme_frame *f = frame_of(rate_25, n, SAMPLE_RATE_HZ / cases[i].divisor,
                                                 cases[i].amplitude, cases[i].degrees, grey);
            (void)loudness_add(l, f, &v); // the last is looked at
            programme_frame_unref(&f);
        }
        CHECK_DB(v.peak[0], cases[i].peak, 0.02, 0.02);
        CHECK_DB(v.true_peak[0], cases[i].true_peak, 0.4, 0.2);
        CHECK_DB(v.true_peak[1], cases[i].true_peak, 0.4, 0.2);
        loudness_destroy(&l);
    }
}

// ---- Silence, black, standing still ------------------------------------------------------------

static const struct watch_settings defaults = {10, 5, 10};

// `flag` is given from frame `from` on and not before.
static void feed(struct watch *w, struct rate rate, int64_t first, int64_t end, double level,
                 const struct picture *p, unsigned flag, int64_t from)
{
    for (int64_t n = first; n < end; n++) {
        struct programme_frame *f = frame_of(rate, n, 1000, from_db(level), 0, p);
        CHECK(watch_add(w, f) & flag, ==, n >= from ? flag : 0);
        programme_frame_unref(&f);
    }
}

static void test_silent(void)
{
    struct watch w;
    watch_init(&w, rate_25, &defaults);
    feed(&w, rate_25, 1000, 1300, -59.9, grey, WATCH_SILENT, INT64_MAX);
    feed(&w, rate_25, 1300, 1600, -60.1, grey, WATCH_SILENT, 1549);
    feed(&w, rate_25, 1600, 1601, -59.9, grey, WATCH_SILENT, INT64_MAX);
    feed(&w, rate_25, 1601, 1851, -INFINITY, grey, WATCH_SILENT, 1850);
    watch_finish(&w);
    // One channel is enough to be heard.
    watch_init(&w, rate_25, &defaults);
    for (int n = 0; n < 300; n++) {
        struct programme_frame *f = frame_of(rate_25, n, 1000, 0, 0, grey);
        f->samples[2 * 11 + 1] = -SOUND_FULL_SCALE / 100;
        CHECK(watch_add(&w, f) & WATCH_SILENT, ==, 0);
        programme_frame_unref(&f);
    }
    watch_finish(&w);
    // Ten seconds of 29.97 are 299.7 frames.
    watch_init(&w, rate_ntsc, &defaults);
    feed(&w, rate_ntsc, 0, 310, -80, grey, WATCH_SILENT, 299);
    watch_finish(&w);
    watch_init(&w, rate_25, &(struct watch_settings){0, 5, 10});
    feed(&w, rate_25, 0, 300, -80, grey, WATCH_SILENT, INT64_MAX);
    watch_finish(&w);
}

// `bright` of 100 x 50 samples are 235, the others `luma`.
static struct picture *dark_of(uint8_t luma, int bright)
{
    struct picture *p = picture_of(100, 50, luma);
    for (int i = 0; i < bright; i++)
        p->plane[0][(49 - i / 100) * p->stride[0] + i % 100] = 235;
    return p;
}

static void test_black(void)
{
    static const struct {
        uint8_t luma;
        int bright;
        bool black;
    } cases[] = {{16, 0, true},   {0, 0, true},     {32, 0, true},   {33, 0, false},
                 {16, 100, true}, {16, 101, false}, {32, 100, false}};
    struct watch w;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct picture *p = dark_of(cases[i].luma, cases[i].bright);
        watch_init(&w, rate_25, &defaults);
        feed(&w, rate_25, 500, 700, -20, p, WATCH_BLACK, cases[i].black ? 624 : INT64_MAX);
        feed(&w, rate_25, 700, 701, -20, grey, WATCH_BLACK, INT64_MAX);
        watch_finish(&w);
        picture_unref(&p);
    }
    // Black for as long as one likes is not frozen; what stood still all along is, once it is not.
    struct picture *black = dark_of(16, 0);
    watch_init(&w, rate_25, &defaults);
    feed(&w, rate_25, 0, 400, -20, black, WATCH_FROZEN, INT64_MAX);
    feed(&w, rate_25, 400, 660, -20, grey, WATCH_FROZEN, 649);
    watch_finish(&w);
    picture_unref(&black);
}

static void test_frozen(void)
{
    uint64_t random = 0x5eed;
    struct watch w;
    watch_init(&w, rate_25, &defaults);
    // Noise is no change.
    for (int n = 0; n < 300; n++) {
        struct picture *p = picture_of(200, 100, 100);
        for (int y = 0; y < 100; y++)
            for (int x = 0; x < 200; x++)
                p->plane[0][y * p->stride[0] + x] += (uint8_t)(check_random(&random) % 3);
        feed(&w, rate_25, n, n + 1, -20, p, WATCH_FROZEN, 249);
        picture_unref(&p);
    }
    // A digit in the last corner, a tile that is not whole, is; in colour as well.
    struct picture *digit = picture_of(200, 100, 101), *colour = picture_of(200, 100, 101);
    for (int y = 98; y < 100; y++)
        memset(digit->plane[0] + y * digit->stride[0] + 195, 200, 5);
    colour->plane[2][49 * colour->stride[2] + 99] = 200;
    colour->plane[2][49 * colour->stride[2] + 98] = 200;
    feed(&w, rate_25, 300, 560, -20, digit, WATCH_FROZEN, 549);
    feed(&w, rate_25, 560, 820, -20, colour, WATCH_FROZEN, 809);
    // So is another size.
    feed(&w, rate_25, 820, 1080, -20, grey, WATCH_FROZEN, 1069);
    // Frames that are left out count as if they were like the next.
    feed(&w, rate_25, 1080, 1100, -20, digit, WATCH_FROZEN, INT64_MAX);
    feed(&w, rate_25, 1400, 1401, -20, digit, WATCH_FROZEN, 1400);
    // What changes slowly does change: one level in two seconds.
    for (int n = 2000; n < 2600; n++) {
        struct picture *p = picture_of(200, 100, (uint8_t)(50 + n / 50));
        feed(&w, rate_25, n, n + 1, -20, p, WATCH_FROZEN, INT64_MAX);
        picture_unref(&p);
    }
    watch_finish(&w);
    picture_unref(&digit);
    picture_unref(&colour);
}

// ---- The thread --------------------------------------------------------------------------------

static struct plan *plan_of(int count, const uint32_t *outputs)
{
    struct plan *p = base_alloc(sizeof *p);
    p->rate = rate_25;
    p->output_count = count;
    for (int i = 0; i < count; i++) {
        p->outputs[i].output = outputs[i];
        snprintf(p->outputs[i].name, sizeof p->outputs[i].name, "%s",
                 outputs[i] == 1 ? "" : "small");
    }
    atomic_init(&p->references, 1);
    return p;
}

// Pushes frames [first, end), each once the ones before have been looked at; output number k is at
// -20 dBFS less 10 for each k. Gives what is known then.
static int push(struct meters *m, const struct plan *p, int64_t first, int64_t end,
                struct meters_output *ret)
{
    int count = 0;
    for (int64_t n = first; n < end; n++) {
        struct programme_frame *frames[PLAN_OUTPUTS_MAX] = {0};
        bool ends = n * 10 / 25 != (n + 1) * 10 / 25;
        for (int i = 0; i < p->output_count; i++)
            frames[i] =
                frame_of(rate_25, n, 1000, from_db(-10 - 10.0 * p->outputs[i].output), 0, grey);
        meters_push(m, p, frames);
        for (int i = 0; i < p->output_count; i++)
            programme_frame_unref(&frames[i]);
        do {
            sched_yield();
            count = meters_read(m, ret);
        } while (ends && !(count == p->output_count && ret[count - 1].count &&
                           ret[count - 1].values[ret[count - 1].count - 1].frame == n));
    }
    return count;
}

static void test_meters(void)
{
    struct meters *m = NULL;
    struct meters_output known[PLAN_OUTPUTS_MAX];
    struct plan *first = plan_of(2, (uint32_t[]){1, 3}), *second = plan_of(1, (uint32_t[]){3});
    CHECK_OK(meters_create(&defaults, &m));
    CHECK(meters_read(m, known), ==, 0);
    CHECK(push(m, first, 0, 260, known), ==, 2);
    for (int i = 0; i < 2; i++) {
        const struct meters_output *o = &known[i];
        CHECK(o->output, ==, i ? 3 : 1);
        CHECK_TEXT(o->name, i ? "small" : "");
        CHECK(o->missed, ==, 0);
        CHECK(o->count, ==, METERS_KEPT);
        CHECK(o->values[0].frame, ==, 252);
        CHECK(o->values[3].frame, ==, 259);
        CHECK_DB(o->values[3].short_term, i ? -40.0 : -20.0, 0.1, 0.1);
        CHECK(o->watch, ==, WATCH_FROZEN);
    }
    // An output that stays goes on: what was 10.4 s at -40 counts.
    CHECK(push(m, second, 260, 265, known), ==, 1);
    CHECK(known[0].output, ==, 3);
    CHECK(known[0].values[1].frame, ==, 259);
    CHECK_DB(known[0].values[3].integrated, -40.0, 0.1, 0.1);
    CHECK(known[0].watch, ==, WATCH_FROZEN);
    // Who pushes does not wait for who looks.
    struct picture *large = picture_of(3840, 2160, 20);
    struct programme_frame *frame = frame_of(rate_25, 300, 1000, 0.1, 0, large);
    for (int i = 0; i < 1000; i++)
        meters_push(m, second, &frame);
    (void)meters_read(m, known);
    CHECK(known[0].missed, >, 0);
    programme_frame_unref(&frame);
    picture_unref(&large);
    meters_destroy(&m);
    plan_unref(&first);
    plan_unref(&second);
}

// ---- Costs -------------------------------------------------------------------------------------

static void bench_watch(const char *what, const struct picture *a, const struct picture *b)
{
    struct watch w;
    watch_init(&w, rate_25, &defaults);
    struct programme_frame *frames[2] = {frame_of(rate_25, 0, 1000, 0.1, 0, a),
                                         frame_of(rate_25, 1, 1000, 0.1, 0, b)};
    int64_t start = clock_thread_cpu_ns();
    for (int n = 0; n < 1000; n++) {
        frames[n % 2]->frame = n;
        (void)watch_add(&w, frames[n % 2]);
    }
    printf("watch, 1080p, %s: %.4f ms a frame\n", what,
           (double)(clock_thread_cpu_ns() - start) / 1e9);
    programme_frame_unref(&frames[0]);
    programme_frame_unref(&frames[1]);
    watch_finish(&w);
}

static void bench(void)
{
    struct picture *a = picture_of(1920, 1080, 100), *b = picture_of(1920, 1080, 100);
    struct picture *c = picture_of(1920, 1080, 120), *d = picture_of(1920, 1080, 30);
    struct picture *e = picture_of(1920, 1080, 30);
    bench_watch("moves", a, c);
    bench_watch("stands still", a, b);
    bench_watch("black", d, e);
    struct loudness *l = loudness_create(rate_30);
    struct programme_frame *f = frame_of(rate_30, 0, 1000, 0.1, 0, a);
    struct loudness_values v;
    int64_t start = clock_thread_cpu_ns();
    for (f->frame = 0; f->frame < 1000; f->frame++)
        (void)loudness_add(l, f, &v);
    printf("loudness, 30 frames a second: %.4f ms a frame\n",
           (double)(clock_thread_cpu_ns() - start) / 1e9);
    loudness_destroy(&l);
    programme_frame_unref(&f);
    for (struct picture **p = (struct picture *[]){a, b, c, d, e, NULL}; *p; p++)
        picture_unref(p);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--bench")) {
        bench();
        return EXIT_SUCCESS;
    }
    grey = picture_of(64, 36, 100);
    test_loudness();
    test_tenths();
    test_true_peak();
    test_silent();
    test_black();
    test_frozen();
    test_meters();
    picture_unref(&grey);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
