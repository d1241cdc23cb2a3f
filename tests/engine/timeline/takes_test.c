// Live tracks. The oracle: a log of takes shows what a track with the same clips at the same times
// does. Usage: live_test [SEED]
#include "engine/timeline/takes.h"
#include "tests/check.h"

#include <math.h>
#include <time.h>

#define TAKES 12
#define SCENES                                                                                     \
    "\"kind\":\"pattern\",\"pattern\":{\"kind\":\"bars\",\"tone\":{\"level\":-18}},"               \
    "\"opacity\":{\"keyframes\":[{\"at\":0,\"value\":0.2},{\"at\":20,\"value\":1}]},"              \
    "\"position\":{\"keyframes\":[{\"at\":3,\"value\":[0,0]},{\"at\":30,\"value\":[90,60]}]}"

static uint64_t below(uint64_t *dice, uint64_t limit)
{
    return check_random(dice) % limit;
}

static struct timeline *parse(const char *rate, const char *track)
{
    static char text[1 << 16];
    struct timeline *timeline = NULL;
    struct diagnostic d = {0};
    char line[800];
    snprintf(
        text, sizeof text,
        "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":320,\"height\":180,"
        "\"rate\":\"%s\"},\"duration\":\"2s\",\"loop\":false,\"assets\":{\"map\":\"file:map.png\"},"
        "\"tracks\":[{\"clips\":[]},%s]}",
        rate, track);
    if (timeline_parse(text, strlen(text), NULL, NULL, &timeline, &d) < 0) {
        fprintf(stderr, "%s\n", diagnostic_format(&d, line, sizeof line));
        exit(EXIT_FAILURE);
    }
    return timeline;
}

static struct timeline *parse_live(const char *rate)
{
    return parse(rate, "{\"name\":\"programme\",\"live\":true,\"clips\":[{\"id\":\"a\"," SCENES
                       "},{\"id\":\"b\"," SCENES "},{\"id\":\"c\"," SCENES "}]}");
}

// ---- Against an ordinary track -----------------------------------------------------------------

// A take of the oracle; times in frames of the timeline, which is the output's here.
struct plan {
    int64_t at, transition;
    char clip; // 'a' to 'c', 0: nothing
};

static void make_plan(uint64_t *dice, struct plan plan[TAKES])
{
    int64_t at = (int64_t)below(dice, 5);
    for (int i = 0; i < TAKES; i++) {
        int before = i ? plan[i - 1].clip : 0;
        plan[i].clip = (char)(below(dice, 5) ? 'a' + below(dice, 3) : 0);
        plan[i].at = at;
        // An ordinary track cannot dissolve with nothing.
        bool can = before && plan[i].clip;
        plan[i].transition = can ? (int64_t)below(dice, 12) : 0;
        at += plan[i].transition + 1 + (int64_t)below(dice, 9);
    }
}

static struct timeline *plan_track(const char *rate, const struct plan plan[TAKES])
{
    char track[16384] = "{\"clips\":[";
    bool first = true;
    for (int i = 0; i < TAKES; i++) {
        if (!plan[i].clip)
            continue;
        int64_t end = i + 1 < TAKES ? plan[i + 1].at + plan[i + 1].transition : 400;
        snprintf(track + strlen(track), sizeof track - strlen(track),
                 "%s{\"id\":\"%c%d\",\"start\":%" PRId64 ",\"duration\":%" PRId64
                 ",\"transition\":{\"kind\":\"wipe\",\"wipe\":\"circle\",\"duration\":%" PRId64
                 "}," SCENES "}",
                 first ? "" : ",", plan[i].clip, i, plan[i].at, end - plan[i].at,
                 plan[i].transition);
        first = false;
    }
    strcat(track, "]}");
    return parse(rate, track);
}

static struct takes *make_live(const struct timeline *timeline, struct rate rate, int64_t start,
                               const struct take_event *events, size_t count,
                               const struct takes *before)
{
    struct take_log *log = take_log_create(events, count);
    struct takes *live = takes_create(timeline, rate, start, log, before);
    take_log_unref(&log);
    return live;
}

static struct takes *plan_log(const struct timeline *timeline, struct rate rate, int64_t start,
                              const struct plan *plan, int count)
{
    struct take_event events[TAKES];
    char takes[TAKES][256];
    for (int i = 0; i < count; i++) {
        char clip[8] = "null";
        if (plan[i].clip)
            snprintf(clip, sizeof clip, "\"%c\"", plan[i].clip);
        snprintf(takes[i], sizeof takes[i],
                 "{\"track\":\"programme\",\"clip\":%s,\"transition\":"
                 "{\"kind\":\"wipe\",\"wipe\":\"circle\",\"duration\":%" PRId64 "}}",
                 clip, plan[i].transition);
        events[i] = (struct take_event){(uint64_t)i + 1, start + plan[i].at, takes[i]};
    }
    return make_live(timeline, rate, start, events, (size_t)count, NULL);
}

static bool same_instant(const struct clip_instant *a, const struct clip_instant *b)
{
    if (!a->opacity && !b->opacity) // nothing, or a clip that is not seen
        return true;
    return a->clip && b->clip && a->clip->id && b->clip->id && a->clip->id[0] == b->clip->id[0] &&
           a->local_frame == b->local_frame && a->opacity == b->opacity &&
           !rational_compare(a->source_time, b->source_time) && a->placement.x == b->placement.x &&
           a->placement.y == b->placement.y;
}

static bool same_sound(const struct layer_sound *a, const struct layer_sound *b)
{
    return a->clip->id[0] == b->clip->id[0] && a->gain_start == b->gain_start &&
           a->gain_end == b->gain_end && !rational_compare(a->source_time, b->source_time);
}

// What takes after frame n say must not matter: each frame is made of the shortest log that it
// needs.
static void test_oracle(uint64_t *dice)
{
    static const char *const names[] = {"25", "29.97"};
    static const struct rate rates[] = {{25, 1}, {30000, 1001}};
    int which = (int)below(dice, 2);
    struct plan plan[TAKES];
    make_plan(dice, plan);
    struct timeline *ordinary = plan_track(names[which], plan);
    struct timeline *live_timeline = parse_live(names[which]);
    int64_t start = (int64_t)below(dice, 100000);
    int known = -1, bad = 0;
    struct takes *live = NULL;
    // The ordinary one ends with its document; its clips go on to frame 400.
    ordinary->duration = 400;
    for (int64_t n = 0; n < 300; n++) {
        int count = 0;
        while (count < TAKES && plan[count].at <= n)
            count++;
        if (count != known) {
            takes_unref(&live);
            live = plan_log(live_timeline, rates[which], start, plan, known = count);
        }
        struct rational seconds = rational_make(n * rates[which].den, rates[which].num);
        struct layer a[2], b[2];
        timeline_evaluate(ordinary, rates[which], 320, 180, n, a);
        timeline_evaluate_at(live_timeline, live, seconds, false, 320, 180, b);
        bad += !same_instant(&a[1].now, &b[1].now) || !same_instant(&a[1].from, &b[1].from) ||
               (a[1].from.clip && (a[1].mix != b[1].mix || a[1].share != b[1].share));
        bool cut = count && plan[count - 1].at == n && !plan[count - 1].transition;
        struct layer_sound x[4], y[4];
        size_t p = timeline_evaluate_sound(ordinary, NULL, rates[which], n, 0, 2, x, 4);
        size_t q = timeline_evaluate_sound(live_timeline, live, rates[which], n, 0, 2, y, 4);
        for (size_t i = 0; i < p && i < q && !cut; i++)
            bad += !same_sound(&x[i], &y[i]);
        bad += !cut && p != q;
    }
    CHECK(bad, ==, 0);
    takes_unref(&live);
    timeline_unref(&ordinary);
    timeline_unref(&live_timeline);
}

// ---- Cuts, nothing, interruptions --------------------------------------------------------------

static void test_cut_sound(void)
{
    static const struct rate rate = {25, 1};
    struct timeline *t = parse_live("25");
    const struct plan plan[] = {{10, 0, 'a'}, {20, 0, 'b'}, {30, 0, 0}};
    struct takes *live = plan_log(t, rate, 0, plan, 3);
    struct layer_sound s[4];
    CHECK(timeline_evaluate_sound(t, live, rate, 9, 0, 2, s, 4), ==, 0);
    CHECK(timeline_evaluate_sound(t, live, rate, 10, 0, 2, s, 4), ==, 1);
    CHECK_TRUE(s[0].gain_start == 0 && s[0].gain_end == 1);
    CHECK(timeline_evaluate_sound(t, live, rate, 11, 0, 2, s, 4), ==, 1);
    CHECK_TRUE(s[0].gain_start == 1 && s[0].gain_end == 1);
    CHECK(timeline_evaluate_sound(t, live, rate, 20, 0, 2, s, 4), ==, 2);
    CHECK_TRUE(s[0].clip->id[0] == 'a' && s[0].gain_start == 1 && s[0].gain_end == 0);
    CHECK_TRUE(s[1].clip->id[0] == 'b' && s[1].gain_start == 0 && s[1].gain_end == 1);
    // The one that goes plays on where it was.
    CHECK(rational_compare(s[0].source_time, rational_make(10, 25)), ==, 0);
    CHECK(timeline_evaluate_sound(t, live, rate, 30, 0, 2, s, 4), ==, 1);
    CHECK_TRUE(s[0].clip->id[0] == 'b' && s[0].gain_start == 1 && s[0].gain_end == 0);
    CHECK(timeline_evaluate_sound(t, live, rate, 31, 0, 2, s, 4), ==, 0);
    takes_unref(&live);
    timeline_unref(&t);
}

static void test_interrupted(void)
{
    static const struct rate rate = {25, 1};
    struct timeline *t = parse_live("25");
    const struct plan plan[] = {{0, 10, 'a'}, {20, 10, 'b'}, {25, 4, 'c'}};
    struct takes *live = plan_log(t, rate, 0, plan, 3);
    struct layer l[2];
    // The first comes in from nothing.
    timeline_evaluate_at(t, live, rational_make(5, 25), false, 320, 180, l);
    CHECK_TRUE(l[1].now.clip->id && l[1].from.clip && !l[1].from.opacity);
    CHECK(l[1].share, ==, 32768);
    timeline_evaluate_at(t, live, rational_make(24, 25), false, 320, 180, l);
    CHECK_TRUE(l[1].now.clip->id[0] == 'b' && l[1].from.clip->id[0] == 'a');
    timeline_evaluate_at(t, live, rational_make(25, 25), false, 320, 180, l);
    CHECK_TRUE(l[1].now.clip->id[0] == 'c' && l[1].from.clip->id[0] == 'b');
    CHECK(l[1].from.local_frame, ==, 5);
    // Past the timeline's end live tracks go on.
    timeline_evaluate_at(t, live, rational_make(1000000, 25), false, 320, 180, l);
    CHECK_TRUE(l[1].now.clip->id[0] == 'c' && !l[1].from.clip);
    takes_unref(&live);
    timeline_unref(&t);
}

// ---- The log
// By hand: a fader goes through a transition, and sound follows it from frame to frame.
static void test_fader(void)
{
    static const struct rate rate = {25, 1};
    struct timeline *t = parse_live("25");
    static const char *const a = "{\"track\":\"programme\",\"clip\":\"a\"}";
    static const char *const b =
        "{\"track\":\"programme\",\"clip\":\"b\",\"transition\":1,\"manual\":true}";
    const struct take_event events[] = {
        {1, 0, a},
        {2, 20, b},
        {3, 24, "{\"track\":\"programme\",\"fader\":0.25}"},
        {4, 26, "{\"track\":\"programme\",\"fader\":0.5}"},
        {5, 26, "{\"track\":\"programme\",\"fader\":0.75}"},
        {6, 30, "{\"track\":\"programme\",\"fader\":1}"},
        {7, 34, "{\"track\":\"programme\",\"fader\":0.5}"},
    };
    static const struct {
        int64_t n;
        double before, share; // < 0: it is over
    } steps[] = {{20, 0, 0},       {23, 0, 0},       {24, 0, 0.25},
                 {25, 0.25, 0.25}, {26, 0.25, 0.75}, {29, 0.75, 0.75},
                 {30, 0.75, -1},   {31, -1, -1},     {40, -1, -1}};
    struct takes *live = make_live(t, rate, 0, events, 7, NULL);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct layer l[2];
        struct layer_sound s[4];
        timeline_evaluate_at(t, live, rational_make(steps[i].n, 25), false, 320, 180, l);
        CHECK_TRUE(l[1].now.clip->id[0] == 'b');
        CHECK_TRUE(!l[1].from.clip == (steps[i].share < 0));
        if (l[1].from.clip)
            CHECK(l[1].share, ==, (int)(steps[i].share * 65536));
        double end = steps[i].share < 0 ? 1 : steps[i].share;
        double start = steps[i].before < 0 ? 1 : steps[i].before;
        size_t count = timeline_evaluate_sound(t, live, rate, steps[i].n, 0, 2, s, 4);
        double fell = 0, rose = 0; // gains of the two at the frame's end, then at its start
        for (size_t k = 0; k < count; k++)
            *(s[k].clip->id[0] == 'a' ? &fell : &rose) = s[k].gain_end;
        CHECK_TRUE(fell == sqrt(1 - end) && rose == sqrt(end));
        fell = rose = 0;
        for (size_t k = 0; k < count; k++)
            *(s[k].clip->id[0] == 'a' ? &fell : &rose) = s[k].gain_start;
        CHECK_TRUE(fell == sqrt(1 - start) && rose == sqrt(start));
    }
    takes_unref(&live);
    timeline_unref(&t);
}

// -------------------------------------------------------------------------------------------

static void refuses(const struct timeline *t, const char *take, const char *path)
{
    struct diagnostic d = {0};
    CHECK_TRUE(take_check(t, take, NULL, &d) < 0);
    CHECK_TEXT(d.path, path);
}

static void test_refused(void)
{
    struct timeline *t = parse_live("25");
    struct take_facts facts = {0};
    CHECK_OK(take_check(t, "{\"track\":\"programme\",\"clip\":\"a\"}", &facts, NULL));
    CHECK(facts.track, ==, 1);
    CHECK_OK(take_check(t, "{\"track\":\"programme\",\"clip\":null,\"transition\":5}", NULL, NULL));
    CHECK_OK(take_check(t,
                        "{\"track\":\"programme\",\"clip\":\"a\",\"transition\":{\"kind\":\"luma\","
                        "\"asset\":\"map\",\"duration\":9}}",
                        NULL, NULL));
    refuses(t, "", "");
    refuses(t, "[]", "");
    refuses(t, "{}", "track");
    refuses(t, "{\"track\":\"other\"}", "track");
    refuses(t, "{\"track\":5}", "track");
    refuses(t, "{\"track\":\"programme\",\"clip\":\"z\"}", "clip");
    refuses(t, "{\"track\":\"programme\",\"clip\":7}", "clip");
    refuses(t, "{\"track\":\"programme\",\"more\":7}", "more");
    refuses(t, "{\"track\":\"programme\",\"fader\":1.5}", "fader");
    refuses(t, "{\"track\":\"programme\",\"fader\":0.5,\"clip\":\"a\"}", "clip");
    refuses(t, "{\"track\":\"programme\",\"clip\":\"a\",\"manual\":true}", "transition");
    refuses(t, "{\"track\":\"programme\",\"clip\":\"a\",\"transition\":-1}", "transition");
    refuses(t,
            "{\"track\":\"programme\",\"transition\":{\"kind\":\"luma\",\"asset\":\"x\","
            "\"duration\":9}}",
            "transition.asset");
    static char long_take[TAKE_BYTES_MAX + 64];
    memset(long_take, ' ', sizeof long_take - 1);
    memcpy(long_take, "{\"track\":\"programme\"}", 21);
    refuses(t, long_take, "");
    timeline_unref(&t);
}

// Another revision: clips that it has go on, those that it lacks are nothing.
static void test_revision(void)
{
    static const struct rate rate = {25, 1};
    struct timeline *t =
        parse("25", "{\"name\":\"other\",\"live\":true,\"clips\":[]},"
                    "{\"name\":\"programme\",\"live\":true,\"clips\":[{\"id\":\"b\"," SCENES "}]}");
    const struct plan plan[] = {{10, 0, 'a'}, {20, 5, 'b'}};
    struct takes *live = plan_log(t, rate, 1000, plan, 2);
    struct layer l[3];
    timeline_evaluate_at(t, live, rational_make(15, 25), false, 320, 180, l);
    CHECK_TRUE(!l[1].now.clip && l[2].now.clip && !l[2].now.opacity);
    timeline_evaluate_at(t, live, rational_make(21, 25), false, 320, 180, l);
    CHECK_TRUE(l[2].now.clip->id[0] == 'b' && !l[2].from.opacity);
    takes_unref(&live);
    timeline_unref(&t);
}

static void test_kept(void)
{
    static const struct rate rate = {25, 1};
    struct timeline *t = parse_live("25");
    static const char *const take = "{\"track\":\"programme\",\"clip\":\"a\"}";
    struct take_event events[] = {{1, 10, take}, {2, 20, take}, {7, 20, take}, {8, 31, take}};
    struct takes *first = make_live(t, rate, 0, events, 2, NULL);
    struct takes *second = make_live(t, rate, 0, events + 1, 3, first);
    struct layer l[2];
    timeline_evaluate_at(t, first, rational_make(20, 25), false, 320, 180, l);
    CHECK_TRUE(takes_hold(first, l[1].now.clip) && takes_hold(second, l[1].now.clip));
    timeline_evaluate_at(t, first, rational_make(10, 25), false, 320, 180, l);
    CHECK_TRUE(takes_hold(first, l[1].now.clip) && !takes_hold(second, l[1].now.clip));
    takes_unref(&first);
    timeline_evaluate_at(t, second, rational_make(30, 25), false, 320, 180, l);
    CHECK_TRUE(takes_hold(second, l[1].now.clip));
    takes_unref(&second);
    struct take_log *all = take_log_create(events, 4), *last = take_log_create(events + 2, 2);
    struct take_log *three = take_log_create(events, 3);
    CHECK_TRUE(!takes_mark(all, 9) && !takes_mark(NULL, 9));
    CHECK_TRUE(takes_mark(all, 10) && takes_mark(all, 10) != takes_mark(all, 20));
    CHECK_TRUE(takes_mark(all, 20) == takes_mark(last, 30));
    CHECK_TRUE(takes_mark(all, 31) != takes_mark(three, 31));
    CHECK_TRUE(take_log_equal(all, all) && !take_log_equal(all, three) &&
               !take_log_equal(NULL, last));
    take_log_unref(&all);
    take_log_unref(&last);
    take_log_unref(&three);
    timeline_unref(&t);
}

int main(int argc, char **argv)
{
    uint64_t dice = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %" PRIu64 "\n", dice);
    for (int i = 0; i < 30; i++)
        test_oracle(&dice);
    test_cut_sound();
    test_interrupted();
    test_fader();
    test_refused();
    test_revision();
    test_kept();
    return check_end();
}
