// The window of a group: what is kept, what is refused, what is asked for, what is decoded and
// when. The random test compares with a plain model; it prints its seed and takes one.
#include "engine/receive/window.h"
#include "tests/check.h"

#include <errno.h>

#define MS INT64_C(1000000)

static const struct window_config config = {
    .channel = 9,
    .group = 2,
    .plan_epoch = 5,
    .revision = {1, 2, 3, 4, 5, 6, 7, 8},
    .width = 128,
    .height = 64,
    .lead_frames = 40,
    .bytes_max = 100000,
    .cursor = 1000,
    .repeat_ns = 200 * MS,
};

static struct frame_header header(int64_t frame, int64_t base)
{
    struct frame_header h = {.kind = FRAME_MESSAGE_PICTURE,
                             .channel = 9,
                             .group = 2,
                             .plan_epoch = 5,
                             .frame = frame,
                             .base_frame = base,
                             .width = 128,
                             .height = 64,
                             .revision = {1, 2, 3, 4, 5, 6, 7, 8}};
    return h;
}

static int put(struct window *w, int64_t frame, int64_t base, size_t size, int64_t now)
{
    struct frame_header h = header(frame, base);
    return window_put(w, &h, frame_body_coded(malloc(size), size), now);
}

// Finishes a job as a decoder would.
static void finish(struct window *w, struct window_job *job, bool good, int64_t now)
{
    struct group_frame *frame = good ? group_frame_create(128, 64) : NULL;
    int32_t *stem = good ? calloc(1, 64) : NULL;
    window_done(w, job, &frame, &stem, now);
    CHECK_TRUE(!frame && !stem && !job->body && !job->base);
}

static int64_t decode_next(struct window *w, int64_t limit)
{
    struct window_job job;
    if (!window_next_job(w, limit, &job))
        return -1;
    int64_t frame = job.frame;
    CHECK(job.key, ==, job.base == NULL);
    finish(w, &job, true, 0);
    return frame;
}

static void test_refusals(void)
{
    struct window *w = window_create(&config);
    struct frame_header h;
    int wrong = 0;
#define WRONG(change)                                                                              \
    h = header(1000, 1000);                                                                        \
    change;                                                                                        \
    CHECK_ERROR(window_put(w, &h, frame_body_coded(malloc(8), 8), 0), -EBADMSG);                   \
    wrong++
    WRONG(h.channel = 8);
    WRONG(h.group = 1);
    WRONG(h.plan_epoch = 4);
    WRONG(h.revision[7] = 0);
    WRONG(h.width = 64);
    WRONG(h.height = 128);
    WRONG(h.base_frame = 1001);
    WRONG(h.kind = FRAME_MESSAGE_WANT);
    CHECK_OK(put(w, 1000, 1000, 8, 0));
    CHECK_ERROR(put(w, 1000, 1000, 8, 0), -EEXIST);
    CHECK_ERROR(put(w, 999, 999, 8, 0), -ESTALE);
    CHECK_ERROR(put(w, 1000 + 40 + 64, 1000, 8, 0), -ENOSPC);
    CHECK_ERROR(put(w, 1020, 1000, 200000, 0), -ENOSPC);
    CHECK_OK(put(w, 1003, 1000, 200000, 0)); // due soon: taken though the bytes are used up
    struct window_counts c;
    window_counts(w, &c);
    CHECK(c.wrong, ==, wrong);
    CHECK(c.stored, ==, 2);
    CHECK(c.duplicate, ==, 1);
    CHECK(c.late, ==, 1);
    CHECK(c.overflow, ==, 2);
    window_destroy(&w);
}

// A hole is asked for when it is 30 ms old, again each 200 ms, and until it is filled.
static void test_missing(void)
{
    struct window *w = window_create(&config);
    struct frame_want want;
    window_want(w, 0, &want);
    CHECK(want.from, ==, 1000);
    CHECK(want.credit, ==, 1040);
    CHECK(want.missing_count, ==, 0);
    CHECK(want.channel, ==, 9);
    CHECK(want.group, ==, 2);
    CHECK(want.plan_epoch, ==, 5);
    CHECK_OK(put(w, 1000, 1000, 8, 0));
    CHECK_OK(put(w, 1004, 1000, 8, 100 * MS));
    window_want(w, 129 * MS, &want);
    CHECK(want.missing_count, ==, 0);
    window_want(w, 130 * MS, &want);
    CHECK(want.missing_count, ==, 3);
    for (int i = 0; i < 3; i++)
        CHECK(want.missing[i], ==, 1001 + i);
    window_want(w, 329 * MS, &want); // an answer may be on its way
    CHECK(want.missing_count, ==, 0);
    CHECK_OK(put(w, 1002, 1000, 8, 140 * MS));
    window_want(w, 330 * MS, &want);
    CHECK(want.missing_count, ==, 2);
    CHECK(want.missing[0], ==, 1001);
    CHECK(want.missing[1], ==, 1003);
    CHECK(window_slack(w), ==, 1);
    window_advance(w, 1002);
    window_want(w, 530 * MS, &want);
    CHECK(want.from, ==, 1002);
    CHECK(want.credit, ==, 1042);
    CHECK(want.missing_count, ==, 1);
    CHECK(want.missing[0], ==, 1003);
    window_destroy(&w);
}

// Beyond its end nothing is asked for, nor is it silence that nothing comes from there.
static void test_end(void)
{
    struct window *w = window_create(&config);
    struct frame_want want;
    window_set_end(w, 1000);
    for (int64_t now = 0; now <= 1000 * MS; now += 500 * MS) {
        window_want(w, now, &want);
        CHECK(want.from, ==, 1000);
        CHECK(want.credit, ==, 1000);
        CHECK(want.missing_count, ==, 0);
    }
    window_set_end(w, 1002);
    window_want(w, 1399 * MS, &want);
    CHECK(want.credit, ==, 1002);
    CHECK(want.missing_count, ==, 0);
    window_want(w, 1400 * MS, &want);
    CHECK(want.missing_count, ==, 2);
    window_advance(w, 1010);
    window_want(w, 1400 * MS, &want);
    CHECK(want.from, ==, 1010);
    CHECK(want.credit, ==, 1010);
    window_destroy(&w);
}

// When nothing comes at all, what may come is asked for by number; what is here is not.
static void test_silence(void)
{
    struct window *w = window_create(&config);
    struct frame_want want;
    window_want(w, 0, &want);
    window_want(w, 399 * MS, &want);
    CHECK(want.missing_count, ==, 0);
    window_want(w, 400 * MS, &want);
    CHECK(want.missing_count, ==, 40);
    CHECK(want.missing[39], ==, 1039);
    CHECK_OK(put(w, 1000, 1000, 8, 410 * MS));
    window_want(w, 809 * MS, &want);
    CHECK(want.missing_count, ==, 0);
    window_want(w, 810 * MS, &want);
    CHECK(want.missing_count, ==, 39);
    CHECK(want.missing[0], ==, 1001);
    // All that the credit allows is here: there is nothing to ask for.
    for (int64_t n = 1001; n < 1040; n++)
        CHECK_OK(put(w, n, 1000, 8, 900 * MS));
    window_want(w, 9000 * MS, &want);
    CHECK(want.missing_count, ==, 0);
    window_destroy(&w);
}

// A difference needs its key: decoded first, kept when the cursor passes, asked for when lost.
static void test_keys(void)
{
    struct window *w = window_create(&config);
    CHECK_OK(put(w, 1000, 1000, 8, 0));
    CHECK_OK(put(w, 1001, 1000, 8, 0));
    CHECK_OK(put(w, 1002, 1000, 8, 0));
    CHECK(decode_next(w, 1001), ==, 1000);
    CHECK(decode_next(w, 1001), ==, -1); // 1001 is beyond the limit
    CHECK_TRUE(window_has(w, 1000));
    window_advance(w, 1002); // 1000 is gone from the window, not as a key
    CHECK_TRUE(!window_has(w, 1000));
    CHECK(decode_next(w, 1010), ==, 1002);
    // The key was never decoded and the cursor passes it: kept, since 1006 needs it.
    CHECK_OK(put(w, 1003, 1003, 8, 0));
    CHECK_OK(put(w, 1006, 1003, 8, 0));
    window_advance(w, 1005);
    CHECK(decode_next(w, 1010), ==, 1003);
    CHECK(decode_next(w, 1010), ==, 1006);
    CHECK_TRUE(window_has(w, 1006));
    // A key that never came: asked for at once, and everything from there on is to be kept.
    CHECK_OK(put(w, 1010, 990, 8, 0));
    struct frame_want want;
    window_want(w, 0, &want);
    CHECK(want.from, ==, 990);
    CHECK(want.missing_count, ==, 1);
    CHECK(want.missing[0], ==, 990);
    window_want(w, 199 * MS, &want);
    CHECK(want.from, ==, 990);        // still to be kept
    CHECK(want.missing_count, ==, 4); // the holes 1005 and 1007 to 1009
    CHECK(want.missing[0], ==, 1005);
    window_want(w, 200 * MS, &want);
    CHECK(want.missing_count, ==, 1);
    CHECK(want.missing[0], ==, 990);
    // A key within the window is named once.
    CHECK_OK(put(w, 1012, 1011, 8, 0));
    window_want(w, 300 * MS, &want);
    CHECK(want.missing_count, ==, 1);
    CHECK(want.missing[0], ==, 1011);
    CHECK(decode_next(w, 1020), ==, -1);
    CHECK_OK(put(w, 990, 990, 8, 0));
    window_want(w, 0, &want);
    CHECK(want.from, ==, 1005);
    CHECK(decode_next(w, 1020), ==, 990);
    CHECK(decode_next(w, 1020), ==, 1010);
    window_destroy(&w);
}

// What is a key to the provider that took over was a difference when the one before it sent it: it
// is kept for those that refer to it, beyond its own turn.
static void test_others_key(void)
{
    struct window *w = window_create(&config);
    struct frame_want want;
    CHECK_OK(put(w, 1000, 1000, 8, 0));
    CHECK_OK(put(w, 1001, 1000, 8, 0));
    CHECK_ERROR(put(w, 1001, 1001, 8, 0), -EEXIST);
    CHECK_OK(put(w, 1002, 1001, 8, 0));
    CHECK_OK(put(w, 1003, 1001, 8, 0));
    CHECK(decode_next(w, 1002), ==, 1000);
    CHECK(decode_next(w, 1002), ==, 1001);
    CHECK(decode_next(w, 1002), ==, -1);
    window_advance(w, 1002);
    CHECK(decode_next(w, 1004), ==, 1002);
    window_advance(w, 1003);
    CHECK(decode_next(w, 1004), ==, 1003);
    window_want(w, 0, &want);
    CHECK(want.missing_count, ==, 0);
    window_destroy(&w);
}

static void test_broken(void)
{
    struct window *w = window_create(&config);
    struct window_job job;
    CHECK_OK(put(w, 1000, 1000, 8, 0));
    CHECK_TRUE(window_next_job(w, 1010, &job));
    CHECK_TRUE(!window_next_job(w, 1010, &(struct window_job){0})); // it is being decoded
    finish(w, &job, false, 50 * MS);
    CHECK_TRUE(!window_has(w, 1000));
    struct frame_want want;
    window_want(w, 50 * MS, &want);
    CHECK(want.missing_count, ==, 1);
    CHECK(want.missing[0], ==, 1000);
    CHECK_OK(put(w, 1000, 1000, 8, 60 * MS)); // the second copy
    CHECK(decode_next(w, 1010), ==, 1000);
    struct group_frame *frame = NULL;
    int32_t *stem = NULL;
    CHECK_TRUE(window_take(w, 1000, &frame, &stem));
    CHECK_TRUE(!window_take(w, 1000, &(struct group_frame *){NULL}, &(int32_t *){NULL}));
    group_frame_unref(&frame);
    free(stem);
    // The cursor overtakes a job: its result is dropped without harm.
    CHECK_OK(put(w, 1001, 1000, 8, 0));
    CHECK_TRUE(window_next_job(w, 1010, &job));
    window_advance(w, 1005);
    finish(w, &job, true, 0);
    window_destroy(&w);
}

// Above three quarters of the bytes there is no more credit; it comes back when bytes are used up.
static void test_credit(void)
{
    struct window *w = window_create(&config);
    for (int i = 0; i < 4; i++)
        CHECK_OK(put(w, 1000 + i, 1000 + i, 20000, 0));
    struct frame_want want;
    window_want(w, 0, &want);
    CHECK(want.credit, ==, 1004);
    CHECK(decode_next(w, 1001), ==, 1000);
    window_want(w, 0, &want);
    CHECK(want.credit, ==, 1040);
    window_advance(w, 5000); // a jump of the clock
    window_want(w, 0, &want);
    CHECK(want.from, ==, 5000);
    CHECK(want.credit, ==, 5040);
    CHECK(want.missing_count, ==, 0);
    CHECK_OK(put(w, 5003, 5003, 8, 0));
    window_destroy(&w);
}

// Messages in any order, lost, repeated and broken: as long as the wishes are answered everything
// is decoded in time, once, and only with its own key.
static void test_random(uint64_t seed)
{
    uint64_t random = seed;
    struct window *w = window_create(&config);
    int64_t now = 0, taken = 0;
    for (int64_t cursor = 1000; cursor < 3000; cursor++) {
        for (int round = 0; round < 8; round++) {
            struct frame_want want;
            window_want(w, now, &want);
            CHECK(want.credit, <=, cursor + 40);
            for (int64_t n = want.from; n < want.credit; n++)
                if (check_random(&random) % 4 == 0)
                    (void)put(w, n, n - n % 25, 100, now); // any answer is right here
            for (int i = 0; i < want.missing_count; i++)
                if (check_random(&random) % 2 == 0)
                    (void)put(w, want.missing[i], want.missing[i] - want.missing[i] % 25, 100, now);
            struct window_job job;
            for (int i = 0; i < 6 && window_next_job(w, cursor + 8, &job); i++) {
                CHECK(job.key, ==, job.frame % 25 == 0);
                finish(w, &job, check_random(&random) % 8 != 0, now);
            }
            now += 10 * MS;
        }
        struct group_frame *frame = NULL;
        int32_t *stem = NULL;
        if (window_take(w, cursor, &frame, &stem))
            taken++;
        group_frame_unref(&frame);
        free(stem);
        window_advance(w, cursor + 1);
    }
    // Eight rounds of chances a frame: hardly any may be missed.
    CHECK(taken, >=, 1950);
    window_destroy(&w);
}

static int put_live(struct window *w, const struct take_log *log, int64_t frame, int64_t base)
{
    struct frame_header h = header(frame, base);
    takes_revision(log, frame, config.revision, h.revision);
    return window_put(w, &h, frame_body_coded(malloc(8), 8), 0);
}

// A take is heard of after frames that it changes have come in: these go, those before it stay, and
// only what was made of the takes up to a frame is taken from then on.
static void test_live(void)
{
    struct window *w = window_create(&config);
    const struct take_event events[] = {{1, 1010, "{}"}, {2, 1030, "{}"}};
    struct take_log *one = take_log_create(events, 1), *two = take_log_create(events, 2);
    for (int64_t n = 1000; n < 1020; n++)
        CHECK_OK(put(w, n, n < 1012 ? 1000 : 1012, 8, 0));
    CHECK(decode_next(w, 1001), ==, 1000);
    struct window_job job; // of a frame that the take changes, under way when it is heard of
    while (window_next_job(w, 1014, &job) && job.frame < 1012)
        finish(w, &job, true, 0);
    CHECK(job.frame, ==, 1012);
    CHECK_TRUE(window_live(w, one));
    finish(w, &job, true, 0);
    CHECK(window_slack(w), ==, 10);
    CHECK_TRUE(window_has(w, 1009) && !window_stores(w, 1010) && !window_has(w, 1012));
    struct frame_want want;
    window_want(w, 100 * MS, &want);
    CHECK(want.missing_count, ==, 10);
    CHECK(want.missing[0], ==, 1010);
    CHECK_ERROR(put(w, 1010, 1010, 8, 0), -EBADMSG);
    CHECK_OK(put_live(w, one, 1010, 1010));
    CHECK_OK(put_live(w, one, 1013, 1012));
    // The key that was decoded before the take is not used for what comes after it.
    CHECK(decode_next(w, 1014), ==, 1010);
    CHECK(decode_next(w, 1014), ==, -1);
    CHECK_OK(put_live(w, one, 1012, 1012));
    CHECK(decode_next(w, 1014), ==, 1012);
    CHECK(decode_next(w, 1014), ==, 1013);
    // One that lies further on changes nothing of that.
    CHECK_TRUE(!window_live(w, two));
    CHECK_TRUE(window_has(w, 1013));
    CHECK_OK(put_live(w, one, 1029, 1012));
    CHECK_ERROR(put_live(w, one, 1030, 1012), -EBADMSG);
    CHECK_OK(put_live(w, two, 1030, 1012));
    window_destroy(&w);
    take_log_unref(&one);
    take_log_unref(&two);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : UINT64_C(20261123);
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    test_refusals();
    test_missing();
    test_end();
    test_silence();
    test_keys();
    test_others_key();
    test_broken();
    test_credit();
    test_live();
    test_random(seed);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
