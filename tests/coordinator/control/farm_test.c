// The farm's step logic in a simulated farm: stories by hand. tests/sim has the random ones.
#include "engine/link/control_link.h"
#include "tests/coordinator/control/simulation.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)

static struct sim sim;

static enum farm_channel_state state_of(uint64_t channel, char *ret_text, size_t size)
{
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    enum farm_channel_state state = FARM_CHANNEL_STOPPED;
    for (int i = 0; i < s->channel_count; i++) {
        if (s->channels[i].channel != channel)
            continue;
        state = s->channels[i].state;
        if (ret_text)
            snprintf(ret_text, size, "%s", s->channels[i].text);
    }
    farm_snapshot_destroy(&s);
    return state;
}

static uint64_t proposed(void)
{
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    uint64_t count = s->plans_proposed;
    farm_snapshot_destroy(&s);
    return count;
}

// Whether the newest row of a channel names a node as provider or edge, or else as standby.
static bool newest_part(int channel, const char *name, bool standby)
{
    bool has = false;
    for (int i = 0; i < sim.row_count; i++) {
        if (sim.rows[i].channel != (uint64_t)channel + 1)
            continue;
        channel_plan_message *plan =
            vistter__control__v1__channel_plan__unpack(NULL, sim.rows[i].size, sim.rows[i].bytes);
        has = !standby && !strcmp(plan->outputs[0]->edge, name);
        for (size_t g = 0; g < plan->n_groups; g++) {
            const Vistter__Control__V1__GroupPlan *group = plan->groups[g];
            has |= !standby && !strcmp(group->provider, name);
            for (size_t k = 0; standby && k < group->n_standbys; k++)
                has |= !strcmp(group->standbys[k]->node, name);
        }
        vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    }
    return has;
}

static bool newest_uses(int channel, const char *name)
{
    return newest_part(channel, name, false);
}

static bool newest_has(int channel, const char *name)
{
    return newest_part(channel, name, false) || newest_part(channel, name, true);
}

static int used_worker(int channel)
{
    for (int i = 0; i < SIM_EDGE; i++)
        if (newest_uses(channel, sim.nodes[i].name))
            return i;
    return -1;
}

// ---- Stories ----------------------------------------------------------------------------------

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

// It ends, and is back a second later with something to tell.
static void crash(int worker, int id)
{
    sim_kill(&sim, worker);
    sim.nodes[worker].crash = (uint64_t)id;
    sim_run(&sim, SECOND);
    sim_start(&sim, worker);
}

// A file ends a group's provider and its standby. Nobody else is given what shows it before the
// plan says that it is not to be opened.
static void test_poison(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    int provider = used_worker(0), standby = standby_of(provider);
    uint64_t before = proposed();
    sim_kill(&sim, standby);
    sim.nodes[standby].crash = 2;
    crash(provider, 1);
    sim_run(&sim, SECOND / 2);
    sim_start(&sim, standby);
    sim_run(&sim, 6 * SECOND);
    CHECK(sim.crashes, ==, 2);
    CHECK(proposed(), ==, before);
    sim.poisoned = true;
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK(proposed(), ==, before + 1);
    // A false alarm: both are to forget, and open it again.
    sim_run(&sim, 70 * SECOND);
    CHECK(sim.nodes[provider].crash, ==, 1);
    farm_clear_asset(sim.farm, SIM_CONTENT);
    sim_run(&sim, 2 * SECOND);
    CHECK(sim.nodes[provider].crash + sim.nodes[standby].crash, ==, 0);
    sim_destroy(&sim);
}

// One worker alone has ended on it: others do its work until it may try again.
static void test_suspect(uint64_t seed)
{
    sim_create(&sim, seed);
    sim_channel(&sim, 0, true, 1, 1);
    sim_run(&sim, 10 * SECOND);
    int provider = used_worker(0);
    crash(provider, 1);
    sim_run(&sim, 20 * SECOND);
    CHECK_TRUE(sim_on_air(&sim, 0));
    CHECK_TRUE(!newest_has(0, sim.nodes[provider].name));
    CHECK(sim.nodes[provider].crash, ==, 1);
    sim_run(&sim, 50 * SECOND);
    CHECK(sim.nodes[provider].crash, ==, 0);
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

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(0x2545f4914f6cdd1d);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    test_start_and_stop(seed);
    test_slow_start_begins_at_first_frame(seed);
    test_new_revision(seed);
    test_another_timeline_begins(seed);
    test_worker_lost(seed);
    test_edge_lost(seed);
    test_two_edges(seed);
    test_nobody_there(seed);
    test_refusal(seed);
    test_unreachable_provider(seed);
    test_drain(seed);
    test_edge_drains(seed);
    test_gops(seed);
    test_publishers_move(seed);
    test_return(seed);
    test_protection(seed);
    test_too_slow(seed);
    test_lost_answer(seed);
    test_mute_worker(seed);
    test_restart_touches_nothing(seed);
    test_measured_costs(seed);
    test_restart_with_slow_nodes(seed);
    test_pause(seed);
    test_deposed(seed);
    test_fenced(seed);
    test_poison(seed);
    test_suspect(seed);
    test_lost_commit(seed);
    test_lost_start(seed);
    test_unheard_commit(seed);
    fprintf(stderr, "%d checks in the simulation, %d failed\n", sim_checks(), sim_failures());
    return check_end() == EXIT_SUCCESS && sim_failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
