// A stage whose timeline has a camera: it waits for the source's log, and does nothing worse.
#include "tests/worker/stage_parties.h"

#include "engine/live/log.h"
#include "engine/live/show.h"

#define EPOCH_NS INT64_C(1790000000000000000)
#define DELAY_NS INT64_C(400000000)

static const char cameras_text[] =
    "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":64,\"height\":36,\"rate\":\"30\"},"
    "\"tracks\":[{\"clips\":[]},{\"clips\":[{\"kind\":\"camera\",\"source\":\"cam2\",\"start\":0,"
    "\"duration\":3000}]},{\"clips\":[{\"kind\":\"camera\",\"source\":"
    "\"cam1\","
    "\"start\":0,\"duration\":3000,\"fallback\":{\"kind\":\"colour\",\"colour\":\"#123456\"}}]}]}";

static struct live_log *source_logs[2];

static int64_t time_of(int64_t frame)
{
    return show_time_ns(rate, EPOCH_NS, frame, DELAY_NS);
}

static void begin_log(int i)
{
    char path[128];
    snprintf(path, sizeof path, "%s/cam%d", live_folder, i + 1);
    CHECK_OK(live_log_create(path, path, LIVE_LOG_LIMITS, &source_logs[i], NULL));
}

// The sources have nothing to show, and their logs say so of all frames up to this one.
static void known_until(int64_t frame)
{
    struct unit nothing = {.kind = UNIT_IDLE, .gen = 1, .pts = UNIT_NO_TIME, .dts = UNIT_NO_TIME};
    for (int i = 0; i < 2; i++) {
        nothing.stream = UNIT_PICTURE;
        nothing.done_ns = time_of(frame) + 1000000;
        if (source_logs[i])
            CHECK_OK(live_log_append(source_logs[i], &nothing));
        nothing.stream = UNIT_SOUND; // all of the frame's, and what resampling reaches for
        nothing.done_ns = time_of(frame + 1) + 31000000;
        if (source_logs[i])
            CHECK_OK(live_log_append(source_logs[i], &nothing));
    }
}

// Waits until what it lacks begins so.
static void wait_lacks(struct stage *s, const char *text)
{
    struct stage_status status;
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        stage_read(s, &status);
        bool same = *text ? strstr(status.lacks, text) != NULL : !*status.lacks;
        if (same || clock_monotonic_ns() > until)
            break;
        clock_sleep_until_ns(clock_monotonic_ns() + 2000000);
    }
    if (*text)
        CHECK_TRUE(strstr(status.lacks, text));
    else
        CHECK_TEXT(status.lacks, "");
}

static void test_waiting(void)
{
    struct test_plan p;
    struct frame_peer peer, other;
    struct stage_status status;
    peer_init(&peer, 1000);
    peer_init(&other, 1000);
    plan_init(&p, 1);
    p.plan.epoch_ns = EPOCH_NS;
    // It is prepared once all logs are there, though they know nothing of the first frame yet.
    struct stage *s = start(&p, 0, NULL, NEVER_REPEAT);
    wait_lacks(s, "cam2");
    begin_log(1);
    known_until(AT - 30);
    wait_lacks(s, "cam1");
    stage_read(s, &status);
    CHECK(status.state, ==, STAGE_PREPARING);
    begin_log(0);
    known_until(AT - 30);
    status = wait_state(s, STAGE_PREPARED);
    CHECK(status.problems, ==, 0);
    CHECK_TEXT(status.lacks, "");
    stage_commit(s, AT, START);
    struct frame_want want = want_of(1, AT, AT + 60);
    stage_want(s, &peer, &want);
    known_until(AT + 4);
    peer_wait(&peer, &peer.count[AT + 4], 1);
    // Beyond that it waits, for long enough to say so: not short of time, not hung, for others
    // there.
    int64_t now = clock_monotonic_ns();
    CHECK_TRUE(!stage_hung(s, now));
    wait_lacks(s, "has not come so far");
    stage_read(s, &status);
    CHECK(status.frames, ==, 5);
    CHECK(status.problems, ==, 0);
    CHECK_TRUE(status.share == 1);
    CHECK_TRUE(!stage_hung(s, now + INT64_C(30000000000)));
    struct frame_want again = want_of(1, AT + 1, AT + 4);
    stage_want(s, &other, &again);
    peer_wait(&other, &other.count[AT + 3], 1);
    // Frame by frame, far behind what may be made.
    atomic_store(&times.short_ns, 0);
    for (int64_t n = AT + 5; n < AT + 15; n++) {
        known_until(n);
        peer_wait(&peer, &peer.count[n], 1);
        stage_read(s, &status);
        CHECK_TRUE(status.share == 1);
    }
    CHECK(atomic_load(&times.short_ns), ==, 0);
    // And then goes on.
    known_until(AT + 59);
    peer_wait(&peer, &peer.count[AT + 59], 1);
    for (int64_t n = AT; n < AT + 60; n++)
        CHECK(peer_count(&peer, n), ==, 1);
    wait_lacks(s, "");
    stage_read(s, &status);
    CHECK(status.frames, ==, 60);
    CHECK(status.problems, ==, 0);
    struct picture *got = NULL;
    CHECK_OK(group_fold_over(NULL, peer.frames[AT + 30], &got));
    CHECK(got->plane[0][0], ==, 57); // #123456 is the clip's fallback: 16 + 219 * 0.185
    picture_unref(&got);
    // It ends while it waits.
    want.credit = AT + 90;
    stage_want(s, &peer, &want);
    stage_destroy(&s);
    live_log_destroy(&source_logs[0]);
    live_log_destroy(&source_logs[1]);
    peer_finish(&peer);
    peer_finish(&other);
}

static void test_refused(void)
{
    struct test_plan p;
    plan_init(&p, 1);
    live_folder = NULL;
    struct stage *s = start(&p, 0, NULL, NEVER_REPEAT);
    CHECK_TRUE(strstr(wait_state(s, STAGE_REFUSED).reason, "cam2"));
    stage_destroy(&s);
}

int main(void)
{
    char logs[] = "/tmp/vistter-stage-logs-XXXXXX", command[64];
    CHECK_TRUE(mkdtemp(logs));
    open_cache_of(cameras_text);
    live_folder = logs;
    test_waiting();
    test_refused();
    close_cache();
    snprintf(command, sizeof command, "rm -r %s", logs);
    CHECK_OK(system(command));
    return check_end();
}
