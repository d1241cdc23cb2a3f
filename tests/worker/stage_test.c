// Render stages: real ones, with a small timeline in a media cache.
#include "tests/worker/stage_parties.h"

#include "engine/base/overload.h"

// ---- Stories ----------------------------------------------------------------------------------

// Before the commit nothing is rendered for anybody: it says which frame shows what.
static void test_commit(void)
{
    struct test_plan p;
    struct frame_peer peer, *peers[] = {&peer};
    plan_init(&p, 1);
    peer_init(&peer, 1000);
    struct stage *s = start(&p, 0, NULL, NEVER_REPEAT);
    CHECK(wait_state(s, STAGE_PREPARED).problems, ==, 0);
    struct frame_want want = want_of(1, AT, AT + 20);
    stage_want(s, &peer, &want);
    clock_sleep_until_ns(clock_monotonic_ns() + 100000000); // time for a hasty stage to show
    CHECK(frames_made(s), ==, 0);
    stage_commit(s, AT, START);
    peer_wait(&peer, &peer.count[AT + 19], 1);
    check_picture(peers, 1, AT);
    check_picture(peers, 1, AT + 19);
    CHECK(frames_made(s), ==, 20);
    stage_destroy(&s);
    peer_finish(&peer);
}

// Credit holds while a peer's queue is full, too.
static void test_credit(void)
{
    struct frame_peer peer;
    peer_init(&peer, 5);
    struct stage *s = start_whole(NEVER_REPEAT);
    struct frame_want want = want_of(1, AT, AT + 20);
    stage_want(s, &peer, &want);
    // With every attempt the stage also looks for something to render.
    peer_wait(&peer, &peer.attempts, 60);
    CHECK(frames_made(s), ==, 20);
    CHECK(peer_count(&peer, AT + 4), ==, 1);
    CHECK(peer_count(&peer, AT + 5), ==, 0);
    peer_make_room(&peer, 1000);
    want.credit = AT + 30;
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 29], 1);
    CHECK(frames_made(s), ==, 30);
    for (int64_t n = AT; n < AT + 30; n++)
        CHECK(peer_count(&peer, n), ==, 1);
    stage_destroy(&s);
    peer_finish(&peer);
}

// Copies of what another worker makes are left out while the worker is short of time; what others
// need is made, and copies go on from there.
static void test_spare(void)
{
    struct frame_peer taker, other;
    peer_init(&taker, 1000);
    peer_init(&other, 1000);
    struct stage *s = start_whole(NEVER_REPEAT);
    atomic_store(&times.short_ns, INT64_MAX / 2);
    struct frame_want copy = want_of(1, AT, AT + 20), want = want_of(1, AT + 20, AT + 30);
    copy.spare = true;
    stage_want(s, &taker, &copy);
    stage_want(s, &other, &want);
    peer_wait(&other, &other.count[AT + 29], 1);
    CHECK(frames_made(s), ==, 10);
    atomic_store(&times.short_ns, 0);
    copy.credit = AT + 40;
    stage_want(s, &taker, &copy);
    peer_wait(&taker, &taker.count[AT + 39], 1);
    for (int64_t n = AT; n < AT + 40; n++)
        CHECK(peer_count(&taker, n), ==, n >= AT + 20);
    CHECK(frames_made(s), ==, 20);
    stage_destroy(&s);
    peer_finish(&taker);
    peer_finish(&other);
}

// What the worker as a whole has given up, in that order, although nobody waits now: samples, then
// copies. What has no other maker is made at any level, one frame too.
static void test_given_up(void)
{
    struct frame_peer sampler, taker, other;
    peer_init(&sampler, 1000);
    peer_init(&taker, 1000);
    peer_init(&other, 1000);
    struct stage *s = start_whole(NEVER_REPEAT);
    struct frame_want sample = want_of(1, AT + 5, AT + 6), copy = want_of(1, AT, AT + 20),
                      last = want_of(1, AT + 30, AT + 31);
    sample.spare = copy.spare = true;
    atomic_store(&times.level, OVERLOAD_SAMPLES);
    stage_want(s, &sampler, &sample);
    stage_want(s, &other, &last);
    peer_wait(&other, &other.count[AT + 30], 1);
    CHECK(frames_made(s), ==, 1);
    stage_want(s, &taker, &copy);
    peer_wait(&taker, &taker.count[AT + 19], 1);
    atomic_store(&times.level, OVERLOAD_COPIES);
    copy.credit = AT + 40;
    stage_want(s, &taker, &copy);
    last = want_of(2, AT + 60, AT + 61);
    stage_want(s, &other, &last);
    peer_wait(&other, &other.count[AT + 60], 1);
    atomic_store(&times.level, OVERLOAD_NONE);
    copy.credit = AT + 50;
    stage_want(s, &taker, &copy);
    sample = want_of(2, AT + 45, AT + 46);
    sample.spare = true;
    stage_want(s, &sampler, &sample);
    peer_wait(&taker, &taker.count[AT + 49], 1);
    peer_wait(&sampler, &sampler.count[AT + 45], 1);
    CHECK(peer_count(&sampler, AT + 5), ==, 0);
    for (int64_t n = AT; n < AT + 50; n++)
        CHECK(peer_count(&taker, n), ==, n < AT + 20 || n >= AT + 40);
    stage_destroy(&s);
    peer_finish(&sampler);
    peer_finish(&taker);
    peer_finish(&other);
}

// What is shown by a fallback that another worker may not need is no spare copy of that one's.
static void test_uncertain(void)
{
    const int64_t gone = AT; // for ten frames
    struct test_plan p;
    struct frame_peer taker;
    plan_init(&p, 1);
    peer_init(&taker, 1000);
    struct stage *s = start(&p, 0, NULL, NEVER_REPEAT);
    stage_commit(s, AT, gone - 2000);
    struct frame_want copy = want_of(1, gone - 10, gone + 20);
    copy.spare = true;
    stage_want(s, &taker, &copy);
    peer_wait(&taker, &taker.count[gone + 19], 1);
    CHECK(frames_made(s), ==, 30);
    for (int64_t n = gone - 10; n < gone + 20; n++)
        CHECK(peer_count(&taker, n), ==, n < gone || n >= gone + 10);
    copy.spare = false;
    copy.start++;
    stage_want(s, &taker, &copy);
    peer_wait(&taker, &taker.count[gone + 9], 1);
    stage_destroy(&s);
    peer_finish(&taker);
}

// One who is behind gets what it may, and no more is made again than that.
static void test_two_consumers(void)
{
    struct frame_peer early, late, *peers[] = {&late};
    peer_init(&early, 1000);
    peer_init(&late, 1000);
    struct stage *s = start_whole(NEVER_REPEAT);
    struct frame_want want = want_of(1, AT, AT + 100);
    stage_want(s, &early, &want);
    peer_wait(&early, &early.count[AT + 99], 1);
    want = want_of(1, AT + 90, AT + 101); // the ring now begins with the key AT + 80
    stage_want(s, &early, &want);
    peer_wait(&early, &early.count[AT + 100], 1);
    want = want_of(1, AT + 10, AT + 30);
    stage_want(s, &late, &want);
    peer_wait(&late, &late.count[AT + 29], 1);
    CHECK(peer_count(&late, AT + 9), ==, 0);
    check_picture(peers, 1, AT + 29);
    CHECK(frames_made(s), ==, 121);
    CHECK(peer_count(&early, AT + 15), ==, 1);
    // The first goes on where it was.
    want = want_of(1, AT + 95, AT + 102);
    stage_gone(s, &late);
    stage_want(s, &early, &want);
    peer_wait(&early, &early.count[AT + 101], 1);
    CHECK(peer_count(&early, AT + 100), ==, 1);
    stage_destroy(&s);
    peer_finish(&early);
    peer_finish(&late);
}

// A frame that is named as missing with every want is sent again once in the repeat time. Each want
// brings one more frame, too, whose arrival shows that the want has been dealt with.
static int sent_again(int64_t repeat_ns)
{
    struct frame_peer peer, *peers[] = {&peer};
    peer_init(&peer, 1000);
    struct stage *s = start_whole(repeat_ns);
    struct frame_want want = want_of(1, AT, AT + 20);
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 19], 1);
    want.missing_count = 2;
    want.missing[0] = AT + 3;
    want.missing[1] = AT + 7;
    for (int i = 0; i < 10; i++) {
        want.credit++;
        stage_want(s, &peer, &want);
        peer_wait(&peer, &peer.count[want.credit - 1], 1);
    }
    int again = peer_count(&peer, AT + 3) - 1;
    CHECK(peer_count(&peer, AT + 7) - 1, ==, again);
    CHECK(peer_count(&peer, AT + 4), ==, 1);
    check_picture(peers, 1, AT + 3);
    stage_destroy(&s);
    peer_finish(&peer);
    return again;
}

static void test_missing(void)
{
    CHECK(sent_again(NEVER_REPEAT), ==, 1);
    CHECK(sent_again(0), ==, 10);
}

// Frames that the ring has let go are made again; so is everything for one who begins anew.
static void test_anew(void)
{
    struct frame_peer peer, *peers[] = {&peer};
    peer_init(&peer, 1000);
    struct stage *s = start_whole(NEVER_REPEAT);
    struct frame_want want = want_of(1, AT, AT + 100);
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 99], 1);
    want = want_of(1, AT + 90, AT + 101); // the ring now begins with the key AT + 80
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 100], 1);
    want = want_of(1, AT + 10, AT + 101);
    want.missing_count = 1;
    want.missing[0] = AT + 10;
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 100], 2);
    CHECK(peer_count(&peer, AT + 10), ==, 2);
    CHECK(peer_count(&peer, AT + 9), ==, 1);
    check_picture(peers, 1, AT + 10);
    want = want_of(1, AT + 5, AT + 21);
    want.start = 2;
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 20], 3);
    CHECK(peer_count(&peer, AT + 5), ==, 2);
    CHECK(peer_count(&peer, AT + 4), ==, 1);
    // The end of the first start comes late, and ends nothing.
    want = want_of(1, AT, AT);
    want.ended = true;
    stage_want(s, &peer, &want);
    want = want_of(1, AT + 5, AT + 22);
    want.start = 2;
    stage_want(s, &peer, &want);
    peer_wait(&peer, &peer.count[AT + 21], 3);
    CHECK(peer_count(&peer, AT + 5), ==, 2);
    stage_destroy(&s);
    peer_finish(&peer);
}

// Wants, reports and the end of a stage do not wait for a peer that is being sent to; after the
// close no peer is held, and nothing more is sent.
static void test_close(void)
{
    struct frame_peer peer;
    peer_init(&peer, 0);
    struct stage *s = start_whole(NEVER_REPEAT);
    struct frame_want want = want_of(1, AT, AT + 50);
    stage_want(s, &peer, &want);
    while (frames_made(s) < 50)
        clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
    pthread_mutex_lock(&peer.lock);
    peer.hold = true;
    peer.room = 1000;
    int before = peer.attempts;
    pthread_mutex_unlock(&peer.lock);
    peer_wait(&peer, &peer.attempts, before + 1);
    stage_want(s, &peer, &want);
    CHECK(frames_made(s), ==, 50);
    stage_close(s);
    pthread_mutex_lock(&peer.lock);
    peer.hold = false;
    pthread_cond_broadcast(&peer.changed);
    pthread_mutex_unlock(&peer.lock);
    stage_destroy(&s);
    CHECK(peer.attempts, ==, before + 1);
    peer_finish(&peer);
}

// The frame that is prepared is the one where the plan will take effect: what is wrong there, here
// a picture that is nowhere, is known before it is on air.
static void test_warm(void)
{
    struct test_plan p;
    plan_init(&p, 1);
    p.plan.at_frame = START + 2005;
    struct stage *s = start(&p, 0, NULL, NEVER_REPEAT);
    struct stage_status status = wait_state(s, STAGE_PREPARED);
    CHECK(status.problems, ==, 1);
    CHECK(status.frames, ==, 0);
    stage_destroy(&s);
    // Who is asked last opens nothing before.
    Vistter__Control__V1__StandbyPlan standby[2], *standbys[] = {&standby[0], &standby[1]};
    for (int i = 0; i < 2; i++) {
        vistter__control__v1__standby_plan__init(&standby[i]);
        standby[i].node = i ? "worker-2" : "worker-1";
    }
    p.groups[0].standbys = standbys;
    p.groups[0].n_standbys = 2;
    s = start(&p, 0, NULL, NEVER_REPEAT);
    CHECK(wait_state(s, STAGE_PREPARED).problems, ==, 0);
    stage_destroy(&s);
}

static void test_refusals(void)
{
    struct test_plan p;
    static const uint8_t broken[32] = {0xab};
    char path[128];
    snprintf(path, sizeof path, "%s/ab%062d", folder, 0);
    write_file(path, "{\"schema\":\"vistter.timeline/1\",\"name\":5}");
    // The cache knows only what lay in its folder at the start.
    media_cache_destroy(&cache);
    struct media_cache_config config = {folder, 1 << 30};
    CHECK_OK(media_cache_create(&config, &cache, NULL));
    plan_init(&p, 1);
    p.plan.revision.data = (uint8_t *)(uintptr_t)broken;
    struct stage *s = start(&p, 0, NULL, NEVER_REPEAT);
    CHECK_TRUE(strstr(wait_state(s, STAGE_REFUSED).reason, "name"));
    stage_destroy(&s);

    struct links *links = links_create("worker-2", 120);
    plan_init(&p, 2);
    p.link.consumer = "worker-9";
    s = start(&p, 1, links, NEVER_REPEAT);
    CHECK_TRUE(strstr(wait_state(s, STAGE_REFUSED).reason, "no link to worker-2"));
    stage_destroy(&s);
    p.link.consumer = "worker-2";
    p.groups[0].from_base = false;
    p.groups[0].needs_beneath = true;
    s = start(&p, 0, links, NEVER_REPEAT);
    CHECK_TRUE(strstr(wait_state(s, STAGE_REFUSED).reason, "no opaque group beneath"));
    stage_destroy(&s);
    links_destroy(&links);
}

// A group with an adjust track takes in what lies beneath it; together they show the uncut picture,
// from the start, after going back, and after a jump.
static void test_adjust(void)
{
    struct test_plan p;
    struct frame_peer lower, upper, *peers[] = {&lower, &upper};
    plan_init(&p, 2);
    peer_init(&lower, 1000);
    peer_init(&upper, 1000);
    struct links *links = links_create("worker-2", 120);
    providers[1] = start(&p, 0, links, NEVER_REPEAT);
    answers = false;
    struct stage *s = start(&p, 1, links, NEVER_REPEAT);
    struct stage_status status = {0};
    while (!*status.waits_for)
        stage_read(s, &status);
    CHECK(status.state, ==, STAGE_PREPARING);
    CHECK_TEXT(status.waits_for, p.groups[0].provider_address);
    answers = true;
    newest_client->config.on_state(newest_client->config.opaque, true);
    wait_state(s, STAGE_PREPARED);
    stage_commit(providers[1], AT, START);
    stage_commit(s, AT, START);
    static const int64_t from[] = {AT, AT - 5, AT + 300};
    for (uint32_t i = 0; i < 3; i++) {
        struct frame_want want = want_of(1, from[i], from[i] + 40);
        want.start = i + 1;
        stage_want(providers[1], &lower, &want);
        want.group = 2;
        stage_want(s, &upper, &want);
        int64_t last = from[i] + 39;
        int twice = i == 1 ? 2 : 1; // the second range lies in the first but for its start
        peer_wait(&lower, &lower.count[i == 1 ? last - 1 : last], twice);
        peer_wait(&upper, &upper.count[i == 1 ? last - 1 : last], twice);
        for (int64_t n = from[i]; n < from[i] + 39; n += 13)
            check_picture(peers, 2, n);
    }
    stage_destroy(&s);
    links_destroy(&links); // its clients say goodbye to their provider
    stage_destroy(&providers[1]);
    peer_finish(&lower);
    peer_finish(&upper);
}

int main(void)
{
    open_cache();
    test_commit();
    test_credit();
    test_spare();
    test_given_up();
    test_uncertain();
    test_two_consumers();
    test_missing();
    test_anew();
    test_close();
    test_warm();
    test_refusals();
    test_adjust();
    close_cache();
    return check_end();
}
