// Clips of cameras in timelines: which picture of its source stands at which frame of the channel
// is worked out here from the log, by the published rule (engine/live/show.h), and read from the
// pictures' own numbers. Skipped without ffmpeg.
#include "engine/render/render.h"

#include "engine/compose/blend.h"
#include "engine/live/camera_private.h"
#include "engine/live/log.h"
#include "tests/worker/live_feed.h"

#include <errno.h>
#include <libavutil/log.h>
#include <unistd.h>

#define FRAMES   200
#define DELAY    INT64_C(400000000) // when a clip does not say
#define SECOND_1 1000               // number of the second source's first picture

static const struct rate rate25 = {25, 1};

// ---- The rule ----------------------------------------------------------------------------------

#define PICTURES_MAX 300
struct source {
    const char *name;
    int first; // number of its first picture
    size_t count;
    int64_t shown_ns[PICTURES_MAX]; // rising; picture i bears first + i
    int64_t gap_from_ns, gap_to_ns; // the last one
    int64_t done_ns;
};
static struct source one = {.name = "cam1", .first = 100},
                     two = {.name = "cam2", .first = SECOND_1};

static int by_time(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void read_source(struct source *s)
{
    struct live_reader *reader;
    struct unit u;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, s->name);
    CHECK_OK(live_reader_open(path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        if (u.stream != UNIT_PICTURE)
            continue;
        if (u.kind == UNIT_DATA && s->count < PICTURES_MAX)
            s->shown_ns[s->count++] = u.chan_ns;
        if (u.kind == UNIT_GAP) {
            s->gap_from_ns = u.chan_ns;
            s->gap_to_ns = u.done_ns;
        }
        s->done_ns = u.done_ns;
    }
    live_reader_close(&reader);
    qsort(s->shown_ns, s->count, sizeof *s->shown_ns, by_time);
}

// The number at frame n; -1: the source is not there.
static int number_at(const struct source *s, int64_t n, int64_t delay_ns, int64_t hold_ns)
{
    int64_t t_ns = epoch_ns + (2 * n + 1) * SECOND_NS / 50 - delay_ns;
    size_t i = 0;
    while (i < s->count && s->shown_ns[i] <= t_ns)
        i++;
    bool gap = s->gap_from_ns < t_ns && t_ns <= s->gap_to_ns;
    return !i || (gap && t_ns - s->shown_ns[i - 1] > hold_ns) ? -1 : s->first + (int)i - 1;
}

// ---- Renders -----------------------------------------------------------------------------------

#define HEAD                                                                                       \
    "{\"schema\":\"vistter.timeline/"                                                              \
    "1\",\"format\":{\"width\":336,\"height\":192,\"rate\":\"25\"},"                               \
    "\"duration\":1000,\"assets\":{\"scene\":\"file:s\",\"deep\":\"file:d\"},\"tracks\":["
#define PLACE ",\"start\":0,\"duration\":1000"
#define GREEN ",\"fallback\":{\"kind\":\"colour\",\"colour\":\"#0f0\"}"
#define BLUE                                                                                       \
    "{\"clips\":[{\"kind\":\"pattern\",\"pattern\":{\"kind\":\"colour\",\"colour\":\"#"            \
    "00f\"}" PLACE "}]},"
#define SOUND_MAX 4000

// The scene: its lower half is cut off, so that what lies beneath is seen there.
static const char scene[] = HEAD
    "{\"clips\":[{\"kind\":\"camera\",\"source\":\"cam1\",\"crop\":[0,0,0,0.5],\"fit\":\"none\","
    "\"anchor\":[0,0],\"position\":[0,0]" GREEN PLACE "}]}]}";
static const char deep[] =
    HEAD "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"scene\",\"speed\":3,\"in\":\"2s\"" PLACE
         "}]}]}";

static int load(void *opaque, const char *uri, char **ret, size_t *ret_size,
                struct diagnostic *reterr)
{
    (void)opaque, (void)reterr;
    *ret = strdup(uri[5] == 's' ? scene : deep);
    *ret_size = strlen(*ret);
    return 0;
}

static struct timeline *parse(const char *json)
{
    struct timeline *t = NULL;
    struct diagnostic d = {0};
    int error = timeline_parse(json, strlen(json), load, NULL, &t, &d);
    if (error)
        fprintf(stderr, "%s: %s\n", d.path, d.text);
    CHECK_OK(error);
    return t;
}

static const char *logs; // folder

static struct renderer *open_part(const struct timeline *t, int from, int to, bool plain)
{
    struct renderer *r = NULL;
    struct render_config config = {.timeline = t,
                                   .width = 336,
                                   .height = 192,
                                   .rate = rate25,
                                   .track_from = from,
                                   .track_to = to,
                                   .base = from == 0,
                                   .sound = true,
                                   .live_folder = logs,
                                   .epoch_ns = epoch_ns,
                                   .plain = plain};
    CHECK_OK(renderer_create(&config, &r, NULL));
    return r;
}

static struct renderer *open_all(const char *json, bool plain)
{
    struct timeline *t = parse(json);
    struct renderer *r = open_part(t, 0, (int)t->track_count, plain);
    timeline_unref(&t);
    return r;
}

struct made {
    int result;
    struct picture *picture;
    int32_t sound[SOUND_MAX];
    struct render_report report;
};

// Frame n of the channel, of a timeline that began at `start`.
static void make(struct renderer *r, int64_t n, int64_t start, struct made *ret)
{
    struct group_frame *group = NULL;
    picture_unref(&ret->picture);
    ret->result = renderer_frame(r, n - start, n, NULL, &group, ret->sound, &ret->report);
    if (!ret->result)
        CHECK_OK(group_fold_over(NULL, group, &ret->picture));
    group_frame_unref(&group);
}

static uint64_t bits(const struct made *m)
{
    return m->result ? 0 : picture_checksum(m->picture) ^ sound_checksum(m->sound, 1920);
}

static bool is_green(const struct picture *p, int x, int y)
{
    return p->plane[0][y * p->stride[0] + x] == 173 &&
           p->plane[1][y / 2 * p->stride[1] + x / 2] == 42;
}

// ---- Cases -------------------------------------------------------------------------------------

// Above a pattern, whole and in scenes, wherever the timeline and the scenes stand.
static void test_rule(void)
{
    static const struct {
        const char *track;
        int64_t delay_ns;
    } cases[] = {
        {"{\"clips\":[{\"kind\":\"camera\",\"source\":\"cam1\",\"hold\":0.5" GREEN PLACE "}]}]}",
         DELAY},
        {"{\"clips\":[{\"kind\":\"camera\",\"source\":\"cam1\",\"hold\":0.5,\"delay\":\"3/"
         "4s\"" GREEN PLACE "}]}]}",
         750000000},
        {"{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"scene\",\"speed\":\"1/2\"" PLACE "}]}]}",
         DELAY},
        {"{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"deep\",\"in\":17" PLACE "}]}]}", DELAY},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        char json[2048];
        struct made m = {0};
        int64_t hold_ns = k < 2 ? SECOND_NS / 2 : SECOND_NS, start = 13 * (int64_t)k;
        int seen = 0, gone = 0;
        snprintf(json, sizeof json, "%s%s%s", HEAD, BLUE, cases[k].track);
        struct renderer *r = open_all(json, false);
        for (int64_t n = 40; n < FRAMES; n++) {
            make(r, n, start, &m);
            CHECK_OK(m.result);
            if (m.result)
                continue;
            int number = number_at(&one, n, cases[k].delay_ns, hold_ns);
            CHECK(read_number(m.picture), ==, number);
            CHECK_TRUE(is_green(m.picture, 100, 40) == (number < 0));
            CHECK(m.report.problems, ==, 0);
            CHECK(m.report.uncertain, ==, 0);
            if (k >= 2 && number >= 0) // what is cut off lets the blue be seen: 16 + 219 * 0.0722
                CHECK(m.picture->plane[0][120 * m.picture->stride[0] + 330], ==, 32);
            // What stands still is not made again.
            int before = number_at(&one, n - 1, cases[k].delay_ns, hold_ns);
            CHECK_TRUE(m.report.unchanged == (n > 40 && number == before));
            seen += number >= 0;
            gone += number < 0;
        }
        CHECK(seen, >=, 100);
        CHECK(gone, >=, 10);
        picture_unref(&m.picture);
        renderer_destroy(&r);
    }
}

// A renderer hears what a camera hears; gain, mute and fades are the clip's.
static void test_sound(void)
{
    static const char *const sounds[] = {"", ",\"sound\":{\"gain\":6,\"pan\":1}",
                                         ",\"sound\":{\"muted\":true}"};
    snprintf(log_path, sizeof log_path, "%s/cam1", folder);
    struct camera *camera = open_camera(rate25);
    int32_t heard_there[SOUND_MAX];
    for (int k = 0; k < 3; k++) {
        char json[1024];
        struct made m = {0};
        snprintf(json, sizeof json,
                 HEAD "{\"clips\":[{\"kind\":\"camera\",\"source\":\"cam1\"%s" PLACE "}]}]}",
                 sounds[k]);
        struct renderer *r = open_all(json, false);
        int64_t loud = 0;
        for (int64_t n = 60; n < 100; n++) {
            make(r, n, 5, &m);
            CHECK_OK(camera_sound(camera, n, heard_there, NULL));
            for (int i = 0; k == 1 && i < 1920; i++) { // 6 dB: 1.99526
                int64_t right = heard_there[2 * i + 1];
                CHECK_TRUE(llabs(m.sound[2 * i + 1] - right * 199526 / 100000) <=
                           1 + llabs(right) / 50000);
                heard_there[2 * i] = 0;
                heard_there[2 * i + 1] = m.sound[2 * i + 1];
            }
            if (k == 2)
                memset(heard_there, 0, sizeof heard_there);
            CHECK_BYTES(m.sound, heard_there, 1920 * 2 * sizeof *m.sound);
            for (int i = 0; i < 1920 * 2; i++)
                loud += llabs(m.sound[i]);
        }
        CHECK_TRUE((loud > 0) == (k != 2));
        picture_unref(&m.picture);
        renderer_destroy(&r);
    }
    camera_destroy(&camera);
}

#define LIVE                                                                                       \
    HEAD BLUE                                                                                      \
        "{\"name\":\"p\",\"live\":true,\"clips\":["                                                \
        "{\"kind\":\"camera\",\"id\":\"one\",\"source\":\"cam1\"" GREEN "},"                       \
        "{\"kind\":\"camera\",\"id\":\"two\",\"source\":\"cam2\"" GREEN "},"                       \
        "{\"kind\":\"timeline\",\"id\":\"scene\",\"asset\":\"scene\"}]},"                          \
        "{\"clips\":[{\"kind\":\"shape\",\"shape\":{\"kind\":\"rectangle\",\"size\":[40,20],"      \
        "\"fill\":\"#ff000080\"},\"position\":[300,170]" PLACE "}]}]}"
#define FIRST 30 // frame of the channel at which the timeline begins

static const struct take_event takes[] = {
    {1, 50, "{\"track\":\"p\",\"clip\":\"one\"}"},
    {2, 70, "{\"track\":\"p\",\"clip\":\"two\"}"},
    {3, 90,
     "{\"track\":\"p\",\"clip\":\"one\",\"transition\":{\"kind\":\"dissolve\",\"duration\":10}}"},
    {4, 115,
     "{\"track\":\"p\",\"clip\":\"scene\",\"transition\":{\"kind\":\"wipe\",\"wipe\":\"clock-12\","
     "\"duration\":8}}"},
    {5, 130, "{\"track\":\"p\",\"clip\":null}"},
    {6, 140, "{\"track\":\"p\",\"clip\":\"one\"}"},
};

static void take(struct renderer *r)
{
    struct take_log *log = take_log_create(takes, sizeof takes / sizeof takes[0]);
    struct takes *ready = takes_create(renderer_timeline(r), rate25, FIRST, log, NULL);
    renderer_live(r, ready);
    takes_unref(&ready);
    take_log_unref(&log);
}

static struct picture *picture_of(const char *name, int64_t n)
{
    struct picture *p = NULL;
    uint64_t content;
    enum show_state state;
    snprintf(log_path, sizeof log_path, "%s/%s", folder, name);
    struct camera *camera = open_camera(rate25);
    CHECK_OK(camera_picture(camera, n, &p, &content, &state, NULL));
    camera_destroy(&camera);
    return p;
}

// Takes from camera to camera, at exact frames.
static void test_takes(void)
{
    struct made m = {0};
    struct renderer *r = open_all(LIVE, false);
    int dissolved = 0;
    take(r);
    for (int64_t n = 40; n < 160; n++) {
        int expected = n < 50    ? -1
                       : n < 70  ? number_at(&one, n, DELAY, SECOND_NS)
                       : n < 91  ? number_at(&two, n, DELAY, SECOND_NS)
                       : n < 130 ? number_at(&one, n, DELAY, SECOND_NS)
                       : n < 140 ? -1
                                 : number_at(&one, n, DELAY, SECOND_NS);
        make(r, n, FIRST, &m);
        CHECK_OK(m.result);
        if (m.result || (n >= 115 && n < 123))
            continue;
        if (n < 91 || n >= 100) {
            CHECK(read_number(m.picture), ==, expected);
            continue;
        }
        // Both, as far as each is over.
        struct picture *from = picture_of("cam2", n), *to = picture_of("cam1", n);
        struct picture *both = picture_create(PICTURE_ALPHA, 336, 192);
        blend_dissolve(both, from, 0, 0, 255, to, 0, 0, 255,
                       (int)((double)(n - 90) / 10 * 255 + 0.5));
        for (int y = 0; y < 150; y++)
            CHECK_BYTES(m.picture->plane[0] + y * m.picture->stride[0],
                        both->plane[0] + y * both->stride[0], 336);
        picture_unref(&from);
        picture_unref(&to);
        picture_unref(&both);
        dissolved++;
    }
    CHECK(dissolved, ==, 9);
    picture_unref(&m.picture);
    renderer_destroy(&r);
}

// The same bits without caches, from wherever one begins, and however the tracks are cut.
static void test_same_bits(void)
{
    static uint64_t all_bits[FRAMES];
    struct made m = {0}, part = {0};
    int moved = 0;
    struct renderer *r = open_all(LIVE, true);
    take(r);
    for (int64_t n = 40; n < FRAMES; n++) {
        make(r, n, FIRST, &m);
        CHECK_OK(m.result);
        all_bits[n] = bits(&m);
        moved += n < 130 && all_bits[n] != all_bits[n - 1];
    }
    CHECK(moved, >=, 80); // what stands still proves nothing
    renderer_destroy(&r);
    for (int64_t from = 41; from < FRAMES; from += 23) {
        r = open_all(LIVE, false);
        take(r);
        if (from % 2) { // as a standby
            renderer_follow(r, from - 25 - FIRST, from - 25);
            renderer_follow(r, from - FIRST, from);
        }
        for (int64_t n = from; n < from + 30 && n < FRAMES; n++) {
            make(r, n, FIRST, &m);
            CHECK_TRUE(bits(&m) == all_bits[n]);
        }
        make(r, from, FIRST, &m); // and back
        CHECK_TRUE(bits(&m) == all_bits[from]);
        renderer_destroy(&r);
    }
    struct timeline *t = parse(LIVE);
    for (int cut = 1; cut <= 2; cut++) {
        struct renderer *lower = open_part(t, 0, cut, false), *upper = open_part(t, cut, 3, false);
        take(lower);
        take(upper);
        for (int64_t n = 45 + cut; n < FRAMES; n++) {
            struct group_frame *group = NULL;
            make(lower, n, FIRST, &m);
            CHECK_OK(renderer_frame(upper, n - FIRST, n, NULL, &group, part.sound, &part.report));
            struct picture *above = NULL;
            CHECK_OK(group_fold_over(m.picture, group, &above));
            group_frame_unref(&group);
            picture_unref(&m.picture);
            m.picture = above;
            sound_add(m.sound, part.sound, 1920);
            CHECK_TRUE(bits(&m) == all_bits[n]);
        }
        renderer_destroy(&lower);
        renderer_destroy(&upper);
    }
    timeline_unref(&t);
    picture_unref(&m.picture);
}

// ---- A log that grows --------------------------------------------------------------------------

struct growing {
    struct live_reader *from;
    struct live_log *to;
    int64_t done_ns[UNIT_STREAMS];
};

static bool grow(struct growing *g)
{
    struct unit u;
    if (live_reader_next(g->from, &u))
        return false;
    CHECK_OK(live_log_append(g->to, &u));
    g->done_ns[u.stream] = u.done_ns;
    return true;
}

static void test_growing(void)
{
    static const char json[] = HEAD BLUE
        "{\"clips\":[{\"kind\":\"camera\",\"source\":\"cam1\"" GREEN PLACE "}]},"
        "{\"clips\":[{\"kind\":\"shape\",\"shape\":{\"kind\":\"ellipse\",\"size\":[40,20],\"fill\":"
        "\"#f00\"},\"position\":[300,170]" PLACE "}]}]}";
    char from[128], to[128], path[160];
    struct growing g = {.done_ns = {INT64_MIN, INT64_MIN}};
    struct made m = {0}, whole = {0};
    int waited = 0, waits = 0;
    snprintf(from, sizeof from, "%s/cam1", folder);
    snprintf(to, sizeof to, "%s-growing", folder);
    snprintf(path, sizeof path, "%s/cam1", to);
    CHECK_OK(mkdir(to, 0755));
    struct renderer *complete = open_all(json, false);
    logs = to;
    struct renderer *r = open_all(json, false);
    make(r, 60, 0, &m); // nobody knows anything of it
    CHECK(m.result, ==, -EAGAIN);
    CHECK_TEXT(m.report.first.code, "live_none");
    CHECK_TEXT(m.report.first.path, "cam1");
    CHECK_TRUE(renderer_lacks(r, NULL));
    CHECK_OK(live_reader_open(from, &g.from, NULL));
    CHECK_OK(live_log_create(path, "cam1", LIVE_LOG_LIMITS, &g.to, NULL));
    for (int64_t n = 60; n < 180; n++) {
        int64_t t_ns = epoch_ns + n * SECOND_NS / 25 - DELAY;
        make(complete, n, 0, &whole);
        for (;;) {
            // Sound is needed for the whole frame.
            bool early =
                g.done_ns[UNIT_PICTURE] < t_ns || g.done_ns[UNIT_SOUND] < t_ns + SECOND_NS / 25;
            make(r, n, 0, &m);
            if (m.result != -EAGAIN)
                CHECK_TRUE(!early);
            if (m.result != -EAGAIN)
                break;
            waited++;
            waits += renderer_waits(r, n);
            CHECK_TRUE(!m.picture && strstr(m.report.first.code, "live_"));
            if (!grow(&g))
                break;
        }
        CHECK_OK(m.result);
        CHECK_TRUE(bits(&m) == bits(&whole));
        CHECK_TRUE(!renderer_lacks(r, NULL));
    }
    CHECK(waited, >, 150);
    CHECK(waits, >, waited * 3 / 4); // now and then it is to be tried whatever it lacks
    // One that is dropped and copied anew is read anew.
    while (grow(&g))
        continue;
    live_log_destroy(&g.to);
    live_reader_close(&g.from);
    char command[1024];
    snprintf(command, sizeof command, "rm -r %s", path);
    CHECK_OK(system(command));
    make(r, 181, 0, &m);
    CHECK(m.result, ==, -EAGAIN);
    snprintf(command, sizeof command, "cp -r %s %s.new && rmdir %s && mv %s.new %s", from, path,
             path, path, path);
    CHECK_OK(system(command));
    make(r, 181, 0, &m);
    make(complete, 181, 0, &whole);
    CHECK_TRUE(!m.result && bits(&m) == bits(&whole));
    picture_unref(&m.picture);
    picture_unref(&whole.picture);
    renderer_destroy(&r);
    renderer_destroy(&complete);
    logs = folder;
    snprintf(command, sizeof command, "rm -r %s", to);
    CHECK_OK(system(command));
}

// What an opaque layer hides is not waited for, and what is not asked for does not count.
static void test_hidden(void)
{
    struct made m = {0};
    struct renderer *r = open_all(
        HEAD
        "{\"clips\":[{\"kind\":\"camera\",\"source\":\"never\",\"sound\":{\"muted\":true}" PLACE
        "}]},{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":100,\"pattern\":{\"kind\":"
        "\"bars\"}}]}]}",
        false);
    make(r, 60, 0, &m);
    CHECK_OK(m.result);
    make(r, 100, 0, &m);
    CHECK(m.result, ==, -EAGAIN);
    CHECK_TEXT(m.report.first.path, "never");
    make(r, 61, 0, &m); // nothing of that remains
    CHECK_OK(m.result);
    picture_unref(&m.picture);
    renderer_destroy(&r);
    struct timeline *t = parse(LIVE);
    struct diagnostic d = {0};
    struct render_config config = {
        .timeline = t, .width = 336, .height = 192, .rate = rate25, .track_to = 3, .base = true};
    CHECK_ERROR(renderer_create(&config, &r, &d), -EINVAL);
    CHECK_TEXT(d.code, "live_folder");
    timeline_unref(&t);
}

// What nobody asks for is let go as well, and whoever follows decodes only where it is worth it.
static void test_keeping(void)
{
    static int32_t sound[SOUND_MAX];
    struct picture *p = NULL;
    uint64_t content;
    enum show_state state;
    snprintf(log_path, sizeof log_path, "%s/cam1", folder);
    struct camera *seen = open_camera(rate25), *heard_only = open_camera(rate25);
    struct camera *followed = open_camera(rate25);
    for (int64_t n = 40; n < 130; n++) {
        CHECK_OK(camera_picture(seen, n, &p, &content, &state, NULL));
        picture_unref(&p);
        CHECK_OK(camera_sound(heard_only, n, sound, NULL));
        camera_follow(followed, n);
    }
    CHECK_TRUE(camera_begun(seen));
    const struct camera *const all_of_them[] = {seen, heard_only, followed};
    for (int i = 0; i < 3; i++) {
        const struct camera_units *units = all_of_them[i]->log.streams;
        CHECK(units_end(&units[UNIT_PICTURE]), ==, 150);
        CHECK(units[UNIT_PICTURE].count, <=, 150 - 25); // four keys of six at most
        CHECK(units_end(&units[UNIT_SOUND]), >=, 250);
        CHECK(units[UNIT_SOUND].count, <=, 200);
    }
    CHECK_TRUE(!followed->pictures.open); // a group of 25 is soon caught up with
    followed->pictures.cost_ns = SOURCE_FOLLOW_NS;
    for (int64_t n = 130; n < 148; n++) {
        int64_t left_ns;
        for (int turns = 0; turns < 25; turns++) // of 20 ms at most: a busy machine takes several
            camera_follow(followed, n);
        CHECK_OK(camera_picture(seen, n, &p, &content, &state, NULL));
        picture_unref(&p);
        left_ns = (seen->pictures.next - followed->pictures.next) * followed->pictures.cost_ns;
        CHECK_TRUE(followed->pictures.open || n < 132);
        if (followed->pictures.home == seen->pictures.home)
            CHECK_TRUE(left_ns <= 5 * followed->pictures.cost_ns + SOURCE_FOLLOW_NS);
    }
    // Nor do the pictures differ.
    struct picture *same = NULL;
    CHECK_OK(camera_picture(seen, 150, &p, &content, &state, NULL));
    CHECK_OK(camera_picture(followed, 150, &same, &content, &state, NULL));
    CHECK_TRUE(picture_checksum(p) == picture_checksum(same));
    picture_unref(&p);
    picture_unref(&same);
    camera_destroy(&seen);
    camera_destroy(&heard_only);
    camera_destroy(&followed);
}

int main(void)
{
    char clip[128], command[128];
    struct ingest_stats stats;
    if (system("command -v ffmpeg >/dev/null"))
        return 77;
    av_log_set_level(AV_LOG_QUIET);
    snprintf(folder, sizeof folder, "/tmp/camera-clip-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    logs = folder;
    epoch_ns = START_NS; // frames are half a frame beside the pictures: none is near the edge
    snprintf(clip, sizeof clip, "%s/clip.ts", folder);
    make_clip(clip, one.first, 150, CLIP_H264);
    log_file(clip, one.name, &stats);
    make_clip(clip, two.first, 150, CLIP_H264);
    log_file(clip, two.name, &stats);
    read_source(&one);
    read_source(&two);
    CHECK(one.count, ==, 150);
    CHECK(two.count, ==, 150);
    test_rule();
    test_sound();
    test_takes();
    test_same_bits();
    test_growing();
    test_hidden();
    test_keeping();
    CHECK(picture_outstanding(), ==, 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
