// The farm's step logic in a simulated farm: stories by hand of plans, nodes and edges.
// farm_faults_test.c has those of coordinators, crashes and protection, tests/sim the random ones.
#include "tests/coordinator/control/stories.h"

static void test_start_and_stop(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    CHECK(state_of(1, NULL, 0), ==, FARM_CHANNEL_WAITING);
    int64_t before = sim_cursor(&sim);
    sim_run(&sim, 5 * SECOND / 2);
    CHECK(sim.row_count, ==, 1);
    // Margin between commit and switch: lead and 15 frames.
    CHECK(sim.rows[0].at_frame, >=, before + SIM_LEAD + FARM_MARGIN);
    CHECK(sim.rows[0].epoch, ==, 1);
    CHECK(state_of(1, NULL, 0), ==, FARM_CHANNEL_ARMED);
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, sim.rows[0].size, sim.rows[0].bytes);
    CHECK(plan->start_frame, ==, plan->at_frame); // the timeline starts with its first frame
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    sim_run(&sim, 8 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(state_of(1, NULL, 0), ==, FARM_CHANNEL_ON_AIR);
    // The same again changes nothing.
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 5 * SECOND);
    CHECK(sim.row_count, ==, 1);
    CHECK(proposed(), ==, 1);
    sim_channel(&sim, 0, false, 1, 6);
    sim_run(&sim, SECOND);
    CHECK(state_of(1, NULL, 0), ==, FARM_CHANNEL_STOPPED);
    for (int i = 0; i < SIM_NODES; i++)
        CHECK(sim.nodes[i].plan_count, ==, 0);
    // Again on air: under a higher epoch, at a later frame (checked by the store).
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 2);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

static void test_slow_start_begins_at_first_frame(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.prepare_ms_max = 4000;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 40 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    channel_plan_message *plan = vistter__control__v1__channel_plan__unpack(
        NULL, sim.rows[sim.row_count - 1].size, sim.rows[sim.row_count - 1].bytes);
    CHECK(plan->start_frame, ==, plan->at_frame);
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    sim_destroy(&sim);
}

static void test_new_revision(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    sim_channel(&sim, 0, true, 2, 3);
    sim_run(&sim, SECOND);
    // Both plans are held until the new one is active.
    const struct sim_plan *active = NULL;
    for (int i = SIM_EDGE; i < SIM_NODES && !active; i++)
        active = sim_active(&sim, i, 0);
    CHECK_TRUE(active && active->epoch == 1);
    sim_run(&sim, 6 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(sim.row_count, ==, 2);
    for (int i = 0; i < SIM_NODES; i++)
        for (int k = 0; k < sim.nodes[i].plan_count; k++)
            CHECK(sim.nodes[i].plans[k].epoch, ==, 2); // the old one is dropped
    // The timeline goes on from where it was.
    channel_plan_message *a =
        vistter__control__v1__channel_plan__unpack(NULL, sim.rows[0].size, sim.rows[0].bytes);
    channel_plan_message *b =
        vistter__control__v1__channel_plan__unpack(NULL, sim.rows[1].size, sim.rows[1].bytes);
    CHECK(a->start_frame, ==, b->start_frame);
    vistter__control__v1__channel_plan__free_unpacked(a, NULL);
    vistter__control__v1__channel_plan__free_unpacked(b, NULL);
    sim_destroy(&sim);
}

// Where frame 0 of the timeline stands in the newest plan, and where that plan takes effect.
static int64_t newest_start(int64_t *ret_at)
{
    const struct sim_row *row = &sim.rows[sim.row_count - 1];
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, row->size, row->bytes);
    int64_t start = plan->start_frame;
    *ret_at = plan->at_frame;
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    return start;
}

static void test_another_timeline_begins(uint64_t seed)
{
    int64_t at, first, second;
    sim_create(&sim, seed);
    sim.run[0] = 1;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    first = newest_start(&at);
    CHECK(first, ==, at);
    sim_channel(&sim, 0, true, 2, 6); // another revision goes on
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 2);
    CHECK(newest_start(&at), ==, first);
    sim.run[0] = 3;
    sim_channel(&sim, 0, true, 3, 6); // another timeline begins
    sim_run(&sim, 15 * SECOND);
    CHECK(sim.row_count, ==, 3);
    second = newest_start(&at);
    CHECK(second, ==, at);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_kill(&sim, used_worker(0)); // another placement of it goes on
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 4);
    CHECK(newest_start(&at), ==, second);
    sim.run[0] = 4;
    sim_channel(&sim, 0, true, 3, 6); // another that has the same content begins, too
    sim_run(&sim, 15 * SECOND);
    CHECK(newest_start(&at), ==, at);
    CHECK(at, >, second);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

static void test_worker_lost(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    int victim = used_worker(0);
    CHECK(victim, >=, 0);
    sim_kill(&sim, victim);
    sim_run(&sim, 8 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(!newest_uses(0, sim.nodes[victim].name));
    // It comes back: nothing moves without need.
    int rows = sim.row_count;
    sim_start(&sim, victim);
    sim_run(&sim, 8 * SECOND);
    CHECK(sim.row_count, ==, rows);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

static void test_edge_lost(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    int victim = newest_uses(0, sim.nodes[SIM_EDGE].name) ? SIM_EDGE : SIM_EDGE + 1;
    int other = 2 * SIM_EDGE + 1 - victim;
    sim_kill(&sim, victim);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(newest_uses(0, sim.nodes[other].name));
    // The last edge goes: the channel waits for one, and says so.
    char text[512];
    sim_kill(&sim, other);
    sim_run(&sim, 6 * SECOND);
    CHECK(state_of(1, text, sizeof text), ==, FARM_CHANNEL_OFF_AIR);
    CHECK_TRUE(strlen(text) > 0);
    int rows = sim.row_count;
    sim_start(&sim, other);
    sim_run(&sim, 6 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0)); // resumed under the plan that it had
    CHECK(sim.row_count, ==, rows);
    sim_destroy(&sim);
}

static Vistter__Control__V1__OutputPlan *newest_output(channel_plan_message **ret)
{
    const struct sim_row *row = &sim.rows[sim.row_count - 1];
    *ret = vistter__control__v1__channel_plan__unpack(NULL, row->size, row->bytes);
    return (*ret)->outputs[0];
}

// What a node was told last of the first output.
static void publishes(int node, const char *first, const char *second)
{
    CHECK_TEXT(sim.nodes[node].publishers[0], first);
    CHECK_TEXT(sim.nodes[node].publishers[1], second);
}

// Both edges make the channel. One that is gone for a moment is waited for; one that stays away is
// planned around, and is the backup when it comes back.
static void test_two_edges(uint64_t seed)
{
    channel_plan_message *plan;
    sim_create(&sim, seed);
    sim.backup_edges = true;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(sim_active(&sim, SIM_EDGE, 0) && sim_active(&sim, SIM_EDGE + 1, 0));
    int first =
        !strcmp(newest_output(&plan)->edge, sim.nodes[SIM_EDGE].name) ? SIM_EDGE : SIM_EDGE + 1;
    int second = 2 * SIM_EDGE + 1 - first;
    CHECK_TEXT(plan->outputs[0]->backup_edge, sim.nodes[second].name);
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    int rows = sim.row_count;
    for (int victim = SIM_EDGE; victim < SIM_NODES; victim++) {
        sim_kill(&sim, victim);
        sim_run(&sim, 3 * SECOND);
        sim_start(&sim, victim);
        sim_run(&sim, 6 * SECOND);
        CHECK(sim.row_count, ==, rows);
        CHECK_TRUE(sim_on_air(&sim, 0));
    }
    sim_kill(&sim, first);
    sim_run(&sim, 15 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TEXT(newest_output(&plan)->edge, sim.nodes[second].name);
    CHECK_TEXT(plan->outputs[0]->backup_edge, "");
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    sim_start(&sim, first);
    sim_run(&sim, 15 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TEXT(newest_output(&plan)->edge, sim.nodes[second].name);
    CHECK_TEXT(plan->outputs[0]->backup_edge, sim.nodes[first].name);
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    sim_destroy(&sim);
}

static void test_nobody_there(uint64_t seed)
{
    char text[512];
    sim_create(&sim, seed);
    for (int i = 0; i < SIM_NODES; i++)
        sim_kill(&sim, i);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 3 * SECOND);
    CHECK(state_of(1, text, sizeof text), ==, FARM_CHANNEL_WAITING);
    CHECK_TRUE(strstr(text, "no worker is up") != NULL);
    sim_start(&sim, 0);
    sim_run(&sim, 4 * SECOND);
    state_of(1, text, sizeof text);
    CHECK_TRUE(strstr(text, "no edge is up") != NULL);
    sim_start(&sim, SIM_EDGE);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(state_of(1, text, sizeof text) == FARM_CHANNEL_ON_AIR && !text[0]);
    sim_destroy(&sim);
}

static void test_refusal(uint64_t seed)
{
    char text[512];
    sim_create(&sim, seed);
    sim.refuse = 1000;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 6 * SECOND);
    CHECK(sim.row_count, ==, 0);
    state_of(1, text, sizeof text);
    CHECK_TRUE(strstr(text, "no room") != NULL); // the node's words reach the operator
    sim.refuse = 0;
    sim_run(&sim, 20 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

// A worker reports and prepares, but its frames cannot be had: what is on air stays, and others get
// its work; when nobody is left, the channel's text says who cannot reach whom.
static void test_unreachable_provider(uint64_t seed)
{
    char text[512];
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    int victim = used_worker(0);
    CHECK(victim, >=, 0);
    sim.unreachable = victim;
    sim_channel(&sim, 0, true, 2, 6);
    sim_run(&sim, 4 * SECOND);
    CHECK(sim.row_count, ==, 1);
    sim_run(&sim, 8 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(!newest_uses(0, sim.nodes[victim].name));
    for (int i = 0; i < SIM_EDGE; i++)
        if (i != victim)
            sim_kill(&sim, i);
    sim_run(&sim, 20 * SECOND);
    state_of(1, text, sizeof text);
    CHECK_TRUE(strstr(text, "cannot reach") && strstr(text, sim.nodes[victim].address));
    sim.unreachable = -1;
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

// A drained worker's work goes to others while the channel is on air, and it gets none until it is
// resumed; of all of them drained, the last keeps what it has.
static void test_drain(uint64_t seed)
{
    char text[512];
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    for (int i = 0; i < SIM_EDGE; i++) {
        farm_set_draining(sim.farm, sim.nodes[i].name, true);
        sim_run(&sim, 10 * SECOND);
        CHECK_TRUE(sim_on_air(&sim, 0));
        CHECK(newest_has(0, sim.nodes[i].name), ==, i == SIM_EDGE - 1);
        CHECK(sim.nodes[i].plan_count, ==, i == SIM_EDGE - 1);
    }
    state_of(1, text, sizeof text);
    CHECK_TRUE(strstr(text, "draining"));
    sim_kill(&sim, 0); // stopped, as it was meant to be: nobody minds
    int rows = sim.row_count;
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, rows);
    farm_set_draining(sim.farm, sim.nodes[1].name, false);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(newest_has(0, sim.nodes[1].name));
    CHECK_TRUE(!newest_has(0, sim.nodes[SIM_EDGE - 1].name));
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

// An edge drains: the other makes the channel, and gets its addresses; it is the backup when it is
// resumed. Of both drained, the last keeps it.
static void test_edge_drains(uint64_t seed)
{
    channel_plan_message *plan;
    char text[512];
    sim_create(&sim, seed);
    sim.backup_edges = true;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    int first =
        !strcmp(newest_output(&plan)->edge, sim.nodes[SIM_EDGE].name) ? SIM_EDGE : SIM_EDGE + 1;
    int second = 2 * SIM_EDGE + 1 - first;
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    publishes(second, sim.nodes[first].name, sim.nodes[second].name);
    farm_set_draining(sim.farm, sim.nodes[first].name, true);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(sim.nodes[first].plan_count, ==, 0);
    publishes(second, sim.nodes[second].name, sim.nodes[second].name);
    farm_set_draining(sim.farm, sim.nodes[second].name, true);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(sim.nodes[second].plan_count, ==, 1);
    state_of(1, text, sizeof text);
    CHECK_TRUE(strstr(text, "draining"));
    farm_set_draining(sim.farm, sim.nodes[second].name, false);
    farm_set_draining(sim.farm, sim.nodes[first].name, false);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    publishes(second, sim.nodes[second].name, sim.nodes[first].name);
    sim_destroy(&sim);
}

static const struct farm_alarm_view *alarm_of(const struct farm_snapshot *s, const char *code)
{
    for (int i = 0; i < s->node_count; i++)
        for (int k = 0; k < s->nodes[i].alarm_count; k++)
            if (!strcmp(s->nodes[i].alarms[k].code, code))
                return &s->nodes[i].alarms[k];
    return NULL;
}

// What two edges have coded is compared once each; what differs is an alarm, unless one of them
// says that it was not as planned.
static void test_gops(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.backup_edges = true;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 30 * SECOND);
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    const struct farm_channel_view *v = &s->channels[0];
    CHECK_TRUE(v->gops_compared >= 10 && v->gops_compared <= 15);
    CHECK(v->gops_explained + v->gops_mismatched, ==, 0);
    CHECK_TRUE(!alarm_of(s, "gop_mismatch"));
    farm_snapshot_destroy(&s);
    sim.nodes[SIM_EDGE].gops_changed = sim.nodes[SIM_EDGE + 1].gops_unplanned = true;
    sim_run(&sim, 5 * SECOND);
    s = farm_snapshot_create(sim.farm, sim.now);
    uint64_t explained = s->channels[0].gops_explained;
    CHECK_TRUE(explained >= 2 && s->channels[0].gops_mismatched == 0);
    farm_snapshot_destroy(&s);
    sim.nodes[SIM_EDGE + 1].gops_unplanned = false;
    sim_run(&sim, 5 * SECOND);
    s = farm_snapshot_create(sim.farm, sim.now);
    CHECK_TRUE(s->channels[0].gops_mismatched >= 1);
    const struct farm_alarm_view *alarm = alarm_of(s, "gop_mismatch");
    CHECK_TRUE(alarm && alarm->channel == 1 && strstr(alarm->text, "output 1, rendition 1") &&
               strstr(alarm->text, "edge4") && strstr(alarm->text, "edge5") &&
               alarm->count == s->channels[0].gops_mismatched);
    farm_snapshot_destroy(&s);
    sim.nodes[SIM_EDGE].gops_changed = false;
    sim_run(&sim, 70 * SECOND);
    s = farm_snapshot_create(sim.farm, sim.now);
    CHECK_TRUE(!alarm_of(s, "gop_mismatch")); // for a minute
    farm_snapshot_destroy(&s);
    sim_kill(&sim, SIM_EDGE);
    sim_run(&sim, SECOND + SECOND / 5);
    s = farm_snapshot_create(sim.farm, sim.now);
    CHECK_TRUE(alarm_of(s, "node_lost") != NULL);
    farm_snapshot_destroy(&s);
    sim_destroy(&sim);
}

// An edge is gone with its publishers: the other publishes before there is another plan, once the
// lease is over; so it is whoever leads. One that is back gets the second addresses at once, the
// first ones stay where they are.
static void test_publishers_move(uint64_t seed)
{
    channel_plan_message *plan;
    sim_create(&sim, seed);
    sim.backup_edges = true;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    const Vistter__Control__V1__OutputPlan *output = newest_output(&plan);
    int first = !strcmp(output->edge, sim.nodes[SIM_EDGE].name) ? SIM_EDGE : SIM_EDGE + 1;
    int second = 2 * SIM_EDGE + 1 - first, rows = sim.row_count;
    const char *one = sim.nodes[first].name, *two = sim.nodes[second].name;
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    publishes(first, one, two);
    sim_kill(&sim, first);
    sim_run(&sim, CONTROL_LEASE_NS - SECOND / 2);
    publishes(second, one, two);
    sim_run(&sim, SECOND);
    publishes(second, two, two);
    CHECK(sim.row_count, ==, rows);
    sim_start(&sim, first);
    sim_run(&sim, 2 * SECOND);
    publishes(second, two, one);
    CHECK(sim.row_count, ==, rows);
    sim_restart(&sim);
    sim_run(&sim, 10 * SECOND);
    publishes(second, two, one);
    publishes(first, two, one);
    sim_destroy(&sim);
}

// Of two workers one is lost: while the other serves it may come back, and nothing has moved. One
// that stays away is planned around; with a third worker, at once.
static void test_return(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_kill(&sim, 2);
    sim_kill(&sim, 3);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 1);
    CHECK_TRUE(newest_has(0, sim.nodes[0].name) && newest_has(0, sim.nodes[1].name));
    for (int i = 0; i < 2; i++) { // the provider, and the standby
        sim_kill(&sim, i);
        sim_run(&sim, 4 * SECOND);
        CHECK(sim.row_count, ==, 1);
        sim_start(&sim, i);
        sim_run(&sim, 40 * SECOND);
        CHECK(sim.row_count, ==, 1);
        CHECK_TRUE(sim_on_air(&sim, 0));
    }
    sim_kill(&sim, 0);
    sim_run(&sim, 15 * SECOND);
    CHECK(sim.row_count, ==, 2);
    CHECK_TRUE(!newest_has(0, sim.nodes[0].name));
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_start(&sim, 2); // a standby again
    sim_run(&sim, 15 * SECOND);
    CHECK(sim.row_count, ==, 3);
    CHECK_TRUE(newest_has(0, sim.nodes[1].name) && newest_has(0, sim.nodes[2].name));
    sim_start(&sim, 3);
    sim_run(&sim, 5 * SECOND);
    sim_kill(&sim, 2);
    sim_run(&sim, 3 * SECOND);
    CHECK(sim.row_count, ==, 4);
    CHECK_TRUE(newest_has(0, sim.nodes[3].name));
    sim_destroy(&sim);
}

// The next write of a commit that the farm hands out.
static struct sim_job *next_commit(void)
{
    for (int step = 0; step < 1000; step++) {
        sim_run(&sim, SIM_STEP_NS);
        for (int i = 0; i < 16; i++)
            if (sim.jobs[i].used && sim.jobs[i].is_commit) {
                sim.jobs[i].at_ns = sim.now.monotonic_ns + SIM_STEP_NS;
                return &sim.jobs[i];
            }
    }
    return NULL;
}

// A commit is written and its answer lost; the try after it is refused. The row is the truth.
static void test_lost_answer(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    struct sim_job *job = next_commit();
    CHECK_TRUE(job != NULL);
    job->result = -EIO;
    job->written = true;
    sim_run(&sim, 2 * SIM_STEP_NS);
    CHECK(sim.row_count, ==, 1);
    job = next_commit();
    CHECK_TRUE(job != NULL);
    job->result = -ESTALE;
    job->written = false;
    sim_run(&sim, 10 * SECOND);
    CHECK(sim.row_count, ==, 1);
    CHECK(proposed(), ==, 1);
    CHECK_TRUE(sim_on_air(&sim, 0));
    sim_destroy(&sim);
}

// One worker never hears: the others do its work after FARM_PREPARE_NS.
static void test_mute_worker(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    sim.prepare_ms_max = 300000; // prepares for minutes
    sim_channel(&sim, 0, true, 2, 6);
    sim_run(&sim, 2 * SECOND);
    CHECK(sim.row_count, ==, 1);
    CHECK_TRUE(sim_active(&sim, SIM_EDGE, 0) || sim_active(&sim, SIM_EDGE + 1, 0));
    sim.prepare_ms_max = 300;
    // Changed again before it was ready: the half-prepared plan is dropped, never committed.
    sim_channel(&sim, 0, true, 3, 6);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(sim.row_count, ==, 2);
    CHECK(sim.rows[1].epoch, ==, 3);
    sim_destroy(&sim);
}

// Levels come while somebody asks for them, from the edge or, when it is lost, the other.
static void test_meters(uint64_t seed)
{
    struct farm_meters m = {.channel = 1};
    sim_create(&sim, seed);
    sim.backup_edges = true;
    sim_channel(&sim, 0, true, 1, 6);
    sim_run(&sim, 10 * SECOND);
    farm_read_meters(sim.farm, &m, 1, sim.now.monotonic_ns);
    CHECK(m.count, ==, 0); // nobody had asked
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    int first = strcmp(s->channels[0].edge, sim.nodes[SIM_EDGE].name) ? SIM_EDGE + 1 : SIM_EDGE;
    farm_snapshot_destroy(&s);
    for (int dead = 0; dead < 2; dead++) {
        int from = dead ? 2 * SIM_EDGE + 1 - first : first;
        if (dead)
            sim_kill(&sim, first);
        for (int i = 0; i < 20; i++) {
            sim_run(&sim, SECOND / 10);
            farm_read_meters(sim.farm, &m, 1, sim.now.monotonic_ns);
        }
        CHECK(m.count, ==, 1);
        CHECK(m.outputs[0].output, ==, 1);
        CHECK(m.outputs[0].value_count, ==, 1);
        CHECK(m.outputs[0].values[0].momentary, ==, -from);
        CHECK_TRUE(m.outputs[0].values[0].peak[0] < -1e30F);
        CHECK(sim_cursor(&sim) - m.outputs[0].values[0].frame, <, SIM_RATE);
    }
    sim_run(&sim, 6 * SECOND);
    farm_read_meters(sim.farm, &m, 1, sim.now.monotonic_ns);
    CHECK(m.count, ==, 0);
    m.channel = 77;
    farm_read_meters(sim.farm, &m, 1, sim.now.monotonic_ns);
    CHECK(m.count, ==, 0);
    sim_destroy(&sim);
}

int main(int argc, char **argv)
{
    static void (*const stories[])(uint64_t) = {test_start_and_stop,
                                                test_slow_start_begins_at_first_frame,
                                                test_new_revision,
                                                test_another_timeline_begins,
                                                test_worker_lost,
                                                test_edge_lost,
                                                test_two_edges,
                                                test_nobody_there,
                                                test_refusal,
                                                test_unreachable_provider,
                                                test_drain,
                                                test_edge_drains,
                                                test_gops,
                                                test_publishers_move,
                                                test_return,
                                                test_lost_answer,
                                                test_mute_worker,
                                                test_meters,
                                                NULL};
    return run_stories(argc, argv, stories);
}
