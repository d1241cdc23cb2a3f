// As farm_test.c: coordinators that come and go, files that crash workers, what a database has
// lost, and what would be lost with a node.
#include "engine/base/overload.h"
#include "tests/coordinator/control/stories.h"

// ---- Restart of the coordinator ---------------------------------------------------------------

static void test_restart_touches_nothing(uint64_t seed)
{
    for (int late = 0; late < 6; late++) {
        sim_create(&sim, seed + (uint64_t)late);
        sim_channel(&sim, 0, true, 1, 6);
        sim_channel(&sim, 1, true, 9, 2);
        // Also between commit and switch, where two plans are held.
        sim_run(&sim, 10 * SECOND);
        sim_channel(&sim, 0, true, 2, 6);
        sim_run(&sim, late * SECOND / 2 + SECOND / 5);
        int rows = sim.row_count;
        uint32_t on_air[SIM_NODES] = {0};
        for (int i = SIM_EDGE; i < SIM_NODES; i++) {
            const struct sim_plan *p = sim_active(&sim, i, 1);
            on_air[i] = p ? p->epoch : 0;
        }
        sim_restart(&sim);
        // At every instant afterwards: what is on air stays (same bytes: the simulation compares).
        for (int k = 0; k < 200; k++) {
            sim_run(&sim, SECOND / 10);
            for (int i = SIM_EDGE; i < SIM_NODES; i++) {
                const struct sim_plan *p = sim_active(&sim, i, 1);
                CHECK(p ? p->epoch : 0, ==, on_air[i]);
            }
        }
        CHECK_TRUE(sim_on_air(&sim, 0));
        CHECK_TRUE(sim_on_air(&sim, 1));
        CHECK(sim.row_count, <=, rows + 1); // the revision, if it was not committed before
        CHECK(sim.row_count, ==, 3);
        sim_destroy(&sim);
    }
}

// Two tracks of one group turn out to be dear: they are parted while on air, once.
static void test_measured_costs(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 12);
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 1);
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, sim.rows[0].size, sim.rows[0].bytes);
    uint32_t from = 0;
    for (size_t g = 0; g < plan->n_groups; g++)
        if (plan->groups[g]->track_to - plan->groups[g]->track_from >= 2)
            from = plan->groups[g]->track_from;
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    for (uint32_t t = 0; t < 12; t++)
        sim.track_ms[t] = t == from || t == from + 1 ? 60 : 0.1;
    sim_run(&sim, 40 * SECOND);
    CHECK(sim.row_count, ==, 2);
    CHECK_TRUE(sim_on_air(&sim, 0));
    plan = vistter__control__v1__channel_plan__unpack(NULL, sim.rows[1].size, sim.rows[1].bytes);
    bool parted = false;
    for (size_t g = 0; g < plan->n_groups; g++)
        parted |= plan->groups[g]->track_from == from + 1;
    CHECK_TRUE(parted);
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    sim_run(&sim, 200 * SECOND);
    CHECK(sim.row_count, ==, 2);
    sim_destroy(&sim);
}

// A worker takes seconds to dial again: that is no loss.
static void test_restart_with_slow_nodes(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    int slow = used_worker(0);
    sim.nodes[slow].deaf = true;
    sim_restart(&sim);
    sim_run(&sim, 5 * SECOND);
    sim.nodes[slow].deaf = false;
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 1);
    CHECK(proposed(), ==, 0);
    CHECK_TRUE(sim_on_air(&sim, 0));
    // One that never comes is one.
    sim.nodes[slow].deaf = true;
    sim_restart(&sim);
    sim_run(&sim, 20 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(!newest_uses(0, sim.nodes[slow].name));
    sim_destroy(&sim);
}

// The process stood still for ten seconds: nobody is lost because of that.
static void test_pause(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    sim.now.monotonic_ns += 10 * SECOND;
    sim.now.realtime_ns += 10 * SECOND;
    sim_run(&sim, 5 * SECOND);
    CHECK(sim.row_count, ==, 1);
    CHECK(proposed(), ==, 1);
    sim_destroy(&sim);
}

// The coordinator's wall clock is set: plans begin where the edges are, whoever leads.
static void test_clock_set(uint64_t seed)
{
    static const int64_t steps[] = {3600 * SECOND, -3600 * SECOND, 86400 * SECOND, -30 * SECOND};
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    for (int i = 0; i < 4; i++) {
        sim.clock_wrong_ns = steps[i];
        if (i == 2)
            sim_restart(&sim);
        sim_run(&sim, 5 * SECOND);
        int rows = sim.row_count;
        int64_t from = sim_cursor(&sim);
        sim_channel(&sim, 0, true, 2 + i, 6);
        sim_run(&sim, 15 * SECOND);
        CHECK(sim.row_count, ==, rows + 1);
        CHECK(sim.rows[rows].at_frame, >, from);
        CHECK(sim.rows[rows].at_frame, <, sim_cursor(&sim));
        CHECK_TRUE(sim_on_air(&sim, 0));
    }
    sim_destroy(&sim);
}

static void test_deposed(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    for (int i = 0; i < SIM_NODES; i++)
        sim.nodes[i].state_epoch = 7; // another leads
    sim_run(&sim, SECOND);
    sim_channel(&sim, 0, true, 2, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 1);
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    CHECK_TRUE(s->deposed);
    farm_snapshot_destroy(&s);
    sim_destroy(&sim);
}

// The lease has run out: nothing is said or written, whatever happens; who is started anew
// remembers.
static void test_fenced(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    int rows = sim.row_count, other = used_worker(0) == 0 ? 1 : 0;
    sim.fenced = true;
    sim.sent = 0;
    sim_channel(&sim, 0, true, 2, 6);
    sim_channel(&sim, 1, true, 1, 6);
    sim_kill(&sim, other);
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.sent, ==, 0);
    CHECK(proposed(), ==, 1);
    int provider = used_worker(0);
    sim_kill(&sim, provider);
    sim_start(&sim, provider);
    sim_run(&sim, 2 * SECOND);
    int edge = newest_uses(0, sim.nodes[SIM_EDGE].name) ? SIM_EDGE : SIM_EDGE + 1;
    sim_kill(&sim, edge);
    sim_start(&sim, edge);
    sim_run(&sim, 2 * SECOND);
    CHECK(sim.sent, ==, 0);
    CHECK(sim.row_count, ==, rows);
    sim.fenced = false;
    sim_start(&sim, other);
    sim_run(&sim, 20 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0) && sim_on_air(&sim, 1));
    sim_destroy(&sim);
}

static int standby_of(int provider)
{
    for (int i = 0; i < SIM_EDGE; i++)
        if (i != provider && newest_has(0, sim.nodes[i].name))
            return i;
    return -1;
}

// Decoders of a group's provider and its standby end at a file. Nobody is given other work for
// that; the plan says that it is not to be opened.
static void test_poison(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    int provider = used_worker(0), standby = standby_of(provider);
    uint64_t before = proposed();
    sim.nodes[provider].crash = 1;
    sim.nodes[standby].crash = 2;
    sim_run(&sim, 6 * SECOND);
    CHECK(sim.crashes, ==, 2);
    CHECK(proposed(), ==, before);
    sim.poisoned = true;
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(proposed(), ==, before + 1);
    sim_channel(&sim, 0, true, 1, 1); // the same again is no other plan
    sim_run(&sim, 10 * SECOND);
    CHECK(proposed(), ==, before + 1);
    // A false alarm: both are to forget, and open it again.
    sim_run(&sim, 70 * SECOND);
    CHECK(sim.nodes[provider].crash, ==, 1);
    farm_clear_asset(sim.farm, SIM_CONTENT);
    sim_run(&sim, 2 * SECOND);
    CHECK(sim.nodes[provider].crash + sim.nodes[standby].crash, ==, 0);
    sim.poisoned = false;
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    CHECK(proposed(), ==, before + 2);
    sim_destroy(&sim);
}

// A node that remembers `count` crashes, of a content each, from `id` on.
static void tell_crashes(struct farm *farm, const char *name, uint64_t id, size_t count,
                         int64_t now)
{
    static uint64_t sequence;
    Vistter__Control__V1__CrashReport crashes[64], *list[64];
    char contents[64][FARM_CONTENT_BYTES];
    farm_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    for (size_t i = 0; i < count; i++) {
        vistter__control__v1__crash_report__init(&crashes[i]);
        crashes[i].id = id + i;
        snprintf(contents[i], sizeof contents[i], "%064llx", (unsigned long long)(id + i));
        crashes[i].content = contents[i];
        list[i] = &crashes[i];
    }
    report.node = (char *)name;
    report.frame_address = "127.0.0.1:9";
    report.instance = 1;
    report.sequence = ++sequence;
    report.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    report.n_crashes = count;
    report.crashes = list;
    CHECK_OK(farm_report(farm, &report, (struct farm_time){now, now}));
}

static int stored;   // crashes that were handed out to be written
static bool forgets; // "old0" has been told to forget its first one, and no other

static void on_stored(void *opaque, const struct farm_crash *crash)
{
    stored++;
    farm_crashed(opaque, crash->node, crash->id, 0, FARM_POISONED);
}

static void on_sent(void *opaque, const char *node, const farm_state_message *state)
{
    (void)opaque;
    CHECK_TRUE(!state->n_retry || (!strcmp(node, "old0") && state->retry[0] == 1));
    forgets = forgets || state->n_retry;
}

// The list of crashes is full: what nodes that are gone have told makes room, and then the oldest
// that stands in all plans, which its worker is told to forget.
static void test_many_crashes(uint64_t seed)
{
    char name[16];
    int64_t now = SECOND;
    const struct farm_config config = {.leader_epoch = 1};
    struct farm *farm = farm_create(&config, (struct farm_time){now, now});
    const struct farm_outputs outputs = {.crash = on_stored, .send = on_sent, .opaque = farm};
    (void)seed;
    stored = 0;
    forgets = false;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "old%d", i);
        tell_crashes(farm, name, (uint64_t)i * 64 + 1, 64, now += SECOND / 10);
    }
    farm_tick(farm, (struct farm_time){now, now}, &outputs);
    CHECK(stored, ==, FARM_CRASHES_MAX);
    // No room: all are there, and nothing is old.
    tell_crashes(farm, "new", 1001, 1, now += SECOND / 10);
    farm_tick(farm, (struct farm_time){now, now}, &outputs);
    CHECK(stored, ==, FARM_CRASHES_MAX);
    // Old enough: the oldest of those who are there goes, and the new one comes, told again.
    for (int k = 0; k < 620; k++) {
        now += SECOND / 10;
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "old%d", i);
            size_t left = !i && forgets ? 63 : 64;
            tell_crashes(farm, name, (uint64_t)i * 64 + 65 - left, left, now);
        }
        tell_crashes(farm, "new", 1001, 1, now);
        farm_tick(farm, (struct farm_time){now, now}, &outputs);
    }
    CHECK_TRUE(forgets);
    CHECK(stored, ==, FARM_CRASHES_MAX + 1);
    // All four have gone: as many of theirs as there are new ones.
    for (int k = 0; k < 20; k++) {
        tell_crashes(farm, "new", 1001, 1, now += SECOND / 10);
        farm_tick(farm, (struct farm_time){now, now}, &outputs);
    }
    tell_crashes(farm, "new", 1001, 64, now);
    farm_tick(farm, (struct farm_time){now, now}, &outputs);
    CHECK(stored, ==, FARM_CRASHES_MAX + 64);
    farm_destroy(&farm);
}

// One decoder alone has ended on it: it is tried again after a while.
static void test_suspect(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    int provider = used_worker(0);
    uint64_t before = proposed();
    sim.nodes[provider].crash = 1;
    sim_run(&sim, 50 * SECOND);
    CHECK(sim.nodes[provider].crash, ==, 1);
    sim_run(&sim, 20 * SECOND);
    CHECK(sim.nodes[provider].crash, ==, 0);
    CHECK(proposed(), ==, before);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

static uint32_t epoch_on_air(void)
{
    const struct sim_plan *active = NULL;
    for (int i = SIM_EDGE; i < SIM_NODES && !active; i++)
        active = sim_active(&sim, i, 0);
    return active ? active->epoch : 0;
}

// The store has lost the newest commit, with the event that asked for it: what is on air stays,
// comes back into the store with its frame, and its epoch is nothing else's (the simulation
// checks).
static void test_lost_commit(uint64_t seed)
{
    for (int known = 0; known < 2; known++) { // whether another leader, or the same, finds it
        sim_create(&sim, seed);
        sim.keeps = true;
        sim_restart(&sim);
        sim_channel(&sim, 0, true, 1, 6);
        sim_run(&sim, 10 * SECOND);
        sim_channel(&sim, 0, true, 2, 6);
        sim_run(&sim, 10 * SECOND);
        CHECK(sim.row_count, ==, 2);
        CHECK(epoch_on_air(), ==, 2);
        int64_t at = sim.rows[1].at_frame;
        sim_lose_commit(&sim, 0);
        sim.revision[0] = 1;
        if (known)
            farm_recommit(sim.farm);
        else
            sim_restart(&sim);
        for (int i = 0; i < 100; i++) {
            sim_run(&sim, SECOND / 10);
            CHECK(epoch_on_air(), ==, 2);
        }
        CHECK(sim.row_count, ==, 2);
        CHECK(sim.rows[1].epoch, ==, 2);
        CHECK(sim.rows[1].at_frame, ==, at);
        CHECK_TRUE(sim_on_air(&sim, 0));
        CHECK(sim.revision[0], ==, 2);
        sim_channel(&sim, 0, true, 3, 6);
        sim_run(&sim, 10 * SECOND);
        CHECK(epoch_on_air(), >=, 3);
        CHECK_TRUE(sim_on_air(&sim, 0));
        sim_destroy(&sim);
    }
}

static bool restoring(uint32_t epoch)
{
    for (int i = 0; i < 16; i++)
        if (sim.jobs[i].used && sim.jobs[i].restored && sim.jobs[i].epoch == epoch)
            return true;
    return false;
}

// The database moves on once more while the plan that waits for its frame is written again: all
// plans are written again after that, and what is asked for next is done.
static void test_moved_twice(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.keeps = true;
    sim_restart(&sim);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    sim_channel(&sim, 0, true, 2, 6);
    while (sim.row_count < 2)
        sim_run(&sim, SECOND / 100);
    CHECK(epoch_on_air(), ==, 1);
    farm_recommit(sim.farm);
    for (int i = 0; i < 300 && !restoring(2); i++)
        sim_run(&sim, SECOND / 100);
    CHECK_TRUE(restoring(2));
    farm_recommit(sim.farm);
    sim_lose_commit(&sim, 0); // what is being written goes to the one that is left
    for (int i = 0; i < 16; i++)
        sim.jobs[i].written = sim.jobs[i].written && !sim.jobs[i].restored;
    sim_run(&sim, 10 * SECOND);
    CHECK(epoch_on_air(), ==, 2);
    CHECK(sim.row_count, ==, 2);
    sim_channel(&sim, 0, true, 3, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK(epoch_on_air(), ==, 3);
    sim_destroy(&sim);
}

// The start itself is lost: the channel stays on air.
static void test_lost_start(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.keeps = true;
    sim_restart(&sim);
    sim_channel(&sim, 0, false, 1, 6);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK(epoch_on_air(), ==, 1);
    sim_lose_commit(&sim, 0);
    sim.running[0] = false;
    sim_restart(&sim);
    sim.running[0] = true; // as the restored event says
    for (int i = 0; i < 100; i++) {
        sim_run(&sim, SECOND / 10);
        CHECK(epoch_on_air(), ==, 1);
    }
    CHECK(sim.row_count, ==, 1);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

// Committed, and its leader died before it could say so: made anew, in time, not taken up late.
static void test_unheard_commit(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.keeps = true;
    sim_restart(&sim);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    sim_channel(&sim, 0, true, 2, 6);
    while (sim.row_count < 2)
        sim_run(&sim, SIM_STEP_NS);
    for (int i = 0; i < SIM_NODES; i++)
        sim.nodes[i].deaf = true; // nobody hears it
    sim_run(&sim, 5 * SECOND);
    CHECK(epoch_on_air(), ==, 1);
    int64_t missed = sim.rows[1].at_frame;
    CHECK(sim_cursor(&sim), >, missed);
    for (int i = 0; i < SIM_NODES; i++)
        sim.nodes[i].deaf = false;
    sim_restart(&sim);
    for (int i = 0; i < 100; i++) {
        sim_run(&sim, SECOND / 10);
        CHECK(epoch_on_air(), !=, 2);
    }
    CHECK(sim.row_count, ==, 3);
    CHECK(sim.rows[2].at_frame, >, missed);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

// ---- Protection -------------------------------------------------------------------------------

// The first group of the only channel, and a node.
static void protection(const char *node, struct farm_group_view *ret_group,
                       struct farm_node_view *ret_node, struct farm_alarm_view *ret_alarm)
{
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    *ret_group = s->channels[0].groups[0];
    *ret_alarm = (struct farm_alarm_view){0};
    for (int i = 0; i < s->node_count; i++) {
        if (strcmp(s->nodes[i].name, node))
            continue;
        *ret_node = s->nodes[i];
        if (s->nodes[i].alarm_count)
            *ret_alarm = s->nodes[i].alarms[0];
    }
    farm_snapshot_destroy(&s);
}

// What a takeover takes, and what is buffered, by hand: half a second of silence, 20 ms for a look,
// the slowest files, a frame, 120 ms each way; what is buffered, but a frame and one way.
static void test_protection(uint64_t seed)
{
    enum { FRAME_MS = 1000 / SIM_RATE, FIXED_MS = 500 + 20 + FRAME_MS + 1 + 240 };
    struct farm_group_view group;
    struct farm_node_view node;
    struct farm_alarm_view alarm;
    sim_create(&sim, seed);
    sim_kill(&sim, 2);
    sim_kill(&sim, 3);
    sim.start_us = 200000;
    sim_channel(&sim, 0, true, 1, 3);
    sim_run(&sim, 12 * SECOND);
    protection(sim.nodes[0].name, &group, &node, &alarm);
    CHECK_TRUE(group.protected && !*group.unprotected && !*group.alone);
    CHECK(group.standby_count, ==, 1);
    CHECK_TRUE(group.standbys[0].ready);
    CHECK(group.takeover_ms, ==, FIXED_MS + 3 * 200);
    CHECK(group.slack_ms, ==, SIM_LEAD * 1000 / SIM_RATE - FRAME_MS - 120);
    CHECK(node.unprotected, ==, 0);
    CHECK(node.alarm_count, ==, 0);
    // One of two is gone: seen at once, an alarm after ten seconds.
    const char *lost = group.provider;
    char left[sizeof group.provider];
    snprintf(left, sizeof left, "%s", group.standbys[0].node);
    sim_kill(&sim, strcmp(lost, sim.nodes[0].name) != 0);
    sim_run(&sim, 3 * SECOND);
    protection(left, &group, &node, &alarm);
    CHECK_TRUE(!group.protected);
    CHECK_TEXT(group.alone, left);
    CHECK(group.takeover_ms, ==, 0);
    CHECK_TRUE(strstr(group.unprotected, "is not there") != NULL);
    CHECK(node.unprotected, ==, 1);
    CHECK(node.alarm_count, ==, 0);
    sim_run(&sim, 12 * SECOND); // planned anew meanwhile
    protection(left, &group, &node, &alarm);
    CHECK_TRUE(strstr(group.unprotected, "no second worker") != NULL);
    CHECK_TEXT(alarm.code, "unprotected");
    CHECK(alarm.channel, ==, 1);
    CHECK(alarm.count, ==, 1);
    // The edge that has no other is one, too.
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    int edges = 0;
    for (int i = 0; i < s->node_count; i++)
        edges += !strcmp(s->nodes[i].name, s->channels[0].edge) && s->nodes[i].unprotected == 1;
    CHECK(edges, ==, 1);
    farm_snapshot_destroy(&s);
    sim_destroy(&sim);
}

// Files that open too slowly for what is buffered; and a hot standby, which opens none.
static void test_too_slow(uint64_t seed)
{
    struct farm_group_view group;
    struct farm_node_view node;
    struct farm_alarm_view alarm;
    char expected[80];
    sim_create(&sim, seed);
    sim.start_us = 900000;
    sim_channel(&sim, 0, true, 1, 4);
    sim_run(&sim, 25 * SECOND);
    protection(sim.nodes[0].name, &group, &node, &alarm);
    CHECK(group.standby_count, ==, 2);
    CHECK_TRUE(!group.protected);
    CHECK(group.takeover_ms, >, group.slack_ms);
    snprintf(expected, sizeof expected, "would need %lld ms, and %lld ms are buffered",
             (long long)group.takeover_ms, (long long)group.slack_ms);
    CHECK_TRUE(strstr(group.unprotected, expected) != NULL);
    protection(group.provider, &group, &node, &alarm);
    CHECK(node.unprotected, ==, 1);
    CHECK_TEXT(alarm.code, "unprotected");
    sim.redundancy = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_HOT;
    sim_channel(&sim, 0, true, 1, 4);
    sim_run(&sim, 10 * SECOND);
    protection(group.provider, &group, &node, &alarm);
    CHECK_TRUE(group.protected && group.takeover_ms == 0);
    CHECK(node.unprotected, ==, 0);
    CHECK(node.alarm_count, ==, 0);
    // Whose copies somebody has given up opens them, too: edges, who take none, or it makes none.
    int edges = 0;
    for (int i = 0; i < SIM_NODES; i++) {
        bool standby = !strcmp(sim.nodes[i].name, group.standbys[0].node);
        sim.nodes[i].overload = OVERLOAD_SAMPLES;
        sim_run(&sim, 1 * SECOND);
        protection(group.provider, &group, &node, &alarm);
        CHECK(group.takeover_ms, ==, 0);
        sim.nodes[i].overload = OVERLOAD_COPIES;
        sim_run(&sim, 1 * SECOND);
        protection(group.provider, &group, &node, &alarm);
        CHECK_TRUE(sim.nodes[i].edge || (group.takeover_ms > group.slack_ms) == standby);
        edges += sim.nodes[i].edge && group.takeover_ms > group.slack_ms;
        sim.nodes[i].overload = OVERLOAD_NONE;
    }
    CHECK(edges, ==, 1); // the one that makes the channel
    sim_run(&sim, 1 * SECOND);
    // Nobody stands by, as it is wished: told, and no alarm.
    sim.redundancy = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_NONE;
    sim_channel(&sim, 0, true, 1, 4);
    sim_run(&sim, 25 * SECOND);
    protection(group.provider, &group, &node, &alarm);
    CHECK_TEXT(group.unprotected, "the channel's redundancy is none");
    CHECK(node.unprotected, ==, 1);
    CHECK(node.alarm_count, ==, 0);
    sim_destroy(&sim);
}

// ---- Overload ---------------------------------------------------------------------------------

// Whether both edges show the channel's optional track; -1: not the same plan, or none.
static int shown(int channel)
{
    const struct sim_plan *a = sim_active(&sim, SIM_EDGE, channel);
    const struct sim_plan *b = sim_active(&sim, SIM_EDGE + 1, channel);
    return a && b && a->epoch == b->epoch ? !a->without_optional : -1;
}

// Optional tracks go with one plan and come back with another, at one frame on both edges; only
// those that who is overloaded makes, and only when it has given up all else.
static void test_optional(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.backup_edges = true;
    sim.optional = 2;
    sim_channel(&sim, 0, true, 1, 2);
    sim_channel(&sim, 1, true, 1, 1); // has none
    sim_run(&sim, 12 * SECOND);
    int maker = used_worker(0), rows = sim.row_count;
    sim.nodes[maker].overload = OVERLOAD_COPIES;
    for (int i = 0; i < SIM_NODES; i++)
        if (i != maker)
            sim.nodes[i].overload = OVERLOAD_OVERLAYS;
    sim_run(&sim, 10 * SECOND);
    CHECK(shown(0), ==, 1);
    CHECK(sim.row_count, ==, rows);
    sim.nodes[maker].overload = OVERLOAD_OVERLAYS;
    sim_run(&sim, 10 * SECOND);
    CHECK(shown(0), ==, 0);
    CHECK(shown(1), ==, 1);
    CHECK(sim.row_count, ==, rows + 1);
    CHECK_TRUE(sim_on_air(&sim, 0));
    // It stays so under another leader, and with another revision.
    sim_restart(&sim);
    sim_run(&sim, 10 * SECOND);
    CHECK(shown(0), ==, 0);
    CHECK(sim.row_count, ==, rows + 1);
    sim_channel(&sim, 0, true, 2, 2);
    for (int i = 0; i < 100; i++) {
        sim_run(&sim, SECOND / 10);
        const struct sim_plan *a = sim_active(&sim, SIM_EDGE, 0);
        CHECK_TRUE(a && a->without_optional);
    }
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(sim.row_count, ==, rows + 2);
    // With room again it comes back; a worker of an older version keeps it there.
    sim.nodes[maker].overload = OVERLOAD_COPIES;
    sim_run(&sim, 10 * SECOND);
    CHECK(shown(0), ==, 1);
    sim.nodes[(maker + 1) % SIM_EDGE].older = true;
    sim.nodes[maker].overload = OVERLOAD_OVERLAYS;
    sim_run(&sim, 10 * SECOND);
    CHECK(shown(0), ==, 1);
    CHECK(sim.row_count, ==, rows + 3);
    sim_kill(&sim, (maker + 1) % SIM_EDGE);
    sim_run(&sim, 12 * SECOND);
    CHECK(shown(0), ==, 0);
    sim_destroy(&sim);
}

int main(int argc, char **argv)
{
    static void (*const stories[])(uint64_t) = {test_protection,     test_too_slow,
                                                test_optional,       test_restart_touches_nothing,
                                                test_measured_costs, test_restart_with_slow_nodes,
                                                test_pause,          test_clock_set,
                                                test_deposed,        test_fenced,
                                                test_poison,         test_many_crashes,
                                                test_suspect,        test_lost_commit,
                                                test_moved_twice,    test_lost_start,
                                                test_unheard_commit, NULL};
    return run_stories(argc, argv, stories);
}
