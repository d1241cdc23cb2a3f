// A camera on another node, from a copy of its log that comes over a frame link: what it shows is
// what a camera at home shows, while it comes and later; and when the copy had another past, that
// or the home's, never a mixture. Skipped without ffmpeg.
#include "tests/engine/live/follow_parties.h"
#include "tests/engine/live/same.h"
#include "tests/worker/live_feed.h"

#include <errno.h>
#include <libavutil/log.h>
#include <unistd.h>

#define COUNT 200

static const struct rate rate25 = {25, 1};
static struct ingest_stats stats;
static struct shown at_home[FRAMES_MAX], before[FRAMES_MAX];

static void fresh_node(struct node *node, const char *name, char copy_root[128])
{
    *node = (struct node){0};
    snprintf(node->root, sizeof node->root, "%s/%s-home", folder, name);
    snprintf(copy_root, 128, "%s/%s-copy", folder, name);
    CHECK_OK(mkdir(node->root, 0755));
    CHECK_OK(mkdir(copy_root, 0755));
}

static bool same_shown(const struct shown *a, const struct shown *b)
{
    return a->result == b->result && a->state == b->state && a->picture == b->picture &&
           a->content == b->content && a->sound == b->sound;
}

// A camera opened before the copy has anything sees each frame, once it can be known, as it is at
// home.
static void test_same(bool srt)
{
    static int32_t sound[1920 * 2];
    char copy_root[128], name[32], clip[128];
    struct node node;
    snprintf(name, sizeof name, "same-%s", srt ? "srt" : "unix");
    fresh_node(&node, name, copy_root);
    node_start(&node, srt);
    struct log_follower *follower = follow(copy_root, node.port);
    char copy[160], home[160];
    snprintf(copy, sizeof copy, "%s/cam1", copy_root);
    snprintf(home, sizeof home, "%s/cam1", node.root);
    struct live_reader *reader = NULL;
    CHECK_OK(live_reader_open(copy, &reader, NULL));
    snprintf(log_path, sizeof log_path, "%s", copy);
    struct camera *camera = open_camera(rate25);
    struct shown first = look(camera, rate25, 20, sound);
    CHECK_ERROR(first.result, -EAGAIN);

    snprintf(clip, sizeof clip, "%s/plain.ts", folder);
    snprintf(name, sizeof name, "same-%s-home/cam1", srt ? "srt" : "unix");
    log_file(clip, name, &stats);
    look_at_all(rate25, COUNT);
    CHECK(broken, ==, 0);
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    for (int n = 0; n < COUNT; n++) {
        struct shown s;
        for (;;) {
            s = look(camera, rate25, n, sound);
            if (s.result != -EAGAIN && s.sound)
                break;
            if (clock_monotonic_ns() >= until)
                break;
            live_reader_wait(reader, INT64_C(100000000));
        }
        CHECK_TRUE(same_shown(&s, &all[n]));
    }
    await_same(home, copy);
    check_same_files(home, copy);
    camera_destroy(&camera);
    memcpy(at_home, all, sizeof all);
    snprintf(log_path, sizeof log_path, "%s", copy);
    look_at_all(rate25, COUNT);
    for (int n = 0; n < COUNT; n++)
        CHECK_TRUE(same_shown(&all[n], &at_home[n]));
    live_reader_close(&reader);
    log_follower_destroy(&follower);
    node_stop(&node);
}

// The copy's past is another one, with the same seqs and other pictures. A camera that looks on all
// the time shows frames of the one, then, from some moment on, of the other.
static void test_other_past(void)
{
    static int32_t sound[1920 * 2];
    char copy_root[128], clip[128], copy[160];
    struct node node;
    fresh_node(&node, "past", copy_root);
    snprintf(copy, sizeof copy, "%s/cam1", copy_root);
    snprintf(clip, sizeof clip, "%s/other.ts", folder);
    // Ends at another time, for simulated clocks would stamp the same last gap to the nanosecond.
    make_clip(clip, 1000, 140, "-af volume=0.5 " CLIP_H264);
    log_file(clip, "past-copy/cam1", &stats);
    look_at_all(rate25, COUNT);
    memcpy(before, all, sizeof all);
    snprintf(clip, sizeof clip, "%s/plain.ts", folder);
    log_file(clip, "past-home/cam1", &stats);
    look_at_all(rate25, COUNT);
    memcpy(at_home, all, sizeof all);

    snprintf(log_path, sizeof log_path, "%s", copy);
    struct camera *cameras[3];
    for (int k = 0; k < 3; k++) { // at its beginning, in its middle, at its end
        cameras[k] = open_camera(rate25);
        struct shown s = look(cameras[k], rate25, 30 + 55 * k, sound);
        CHECK_TRUE(same_shown(&s, &before[30 + 55 * k]));
    }
    // One shows a picture whose seq is another picture's in the other past, and a little sound.
    int shown = 60, twin = 0;
    for (int n = 60; n < 120 && !twin; n++)
        for (int m = 60; m < 120 && !twin; m++)
            if (seq_of(before[n].content) == seq_of(at_home[m].content)) {
                shown = n;
                twin = m;
            }
    CHECK(twin, >, 0);
    struct camera *idle = open_camera(rate25);
    struct shown once = look(idle, rate25, shown, sound);
    CHECK_TRUE(same_shown(&once, &before[shown]));

    node_start(&node, true);
    struct log_follower *follower = follow(copy_root, node.port);
    struct live_reader *reader = NULL;
    CHECK_OK(live_reader_open(copy, &reader, NULL));
    bool turned[3] = {0};
    int mixed = 0;
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    while (!(turned[0] && turned[1] && turned[2]) && clock_monotonic_ns() < until) {
        for (int k = 0; k < 3; k++) {
            int n = 30 + 55 * k;
            struct shown s = look(cameras[k], rate25, n, sound);
            bool home = !s.result && s.picture == at_home[n].picture;
            bool past = !s.result && s.picture == before[n].picture;
            mixed += s.result != -EAGAIN && !home && (!past || turned[k]);
            turned[k] = turned[k] || home;
        }
        live_reader_wait(reader, INT64_C(20000000));
    }
    for (int k = 0; k < 3; k++) {
        CHECK_TRUE(turned[k]);
        for (int n = 0; n < COUNT && turned[k]; n++) {
            struct shown s = {.result = -EAGAIN};
            while ((s.result == -EAGAIN || !s.sound) && clock_monotonic_ns() < until) {
                s = look(cameras[k], rate25, n, sound);
                if (s.result == -EAGAIN)
                    live_reader_wait(reader, INT64_C(20000000));
            }
            CHECK_TRUE(same_shown(&s, &at_home[n]));
        }
        camera_destroy(&cameras[k]);
    }
    CHECK(mixed, ==, 0);
    once = look(idle, rate25, twin, sound);
    CHECK_TRUE(same_shown(&once, &at_home[twin]));
    camera_destroy(&idle);
    struct log_follower_stats after = stats_of(follower);
    CHECK(after.anew, ==, 1);
    live_reader_close(&reader);
    log_follower_destroy(&follower);
    node_stop(&node);
}

int main(void)
{
    if (system("command -v ffmpeg >/dev/null"))
        return 77;
    av_log_set_level(AV_LOG_QUIET);
    snprintf(folder, sizeof folder, "/tmp/live-follow-camera-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    epoch_ns = START_NS; // frames are half a frame beside the pictures: none is near the edge
    char clip[128];
    snprintf(clip, sizeof clip, "%s/plain.ts", folder);
    make_clip(clip, 100, 150, CLIP_H264);
    test_same(false);
    test_same(true);
    test_other_past();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
