#include "tests/coordinator/control/simulation_private.h"

#include "engine/frame/checksum.h"

#include <errno.h>
#include <math.h>

typedef Vistter__Control__V1__PlanReport plan_report;
typedef Vistter__Control__V1__ChannelReport channel_report;

// ---- What nodes see ---------------------------------------------------------------------------

static uint64_t plan_core(const channel_plan_message *plan)
{
    channel_plan_message copy = *plan;
    copy.committed = false;
    copy.at_frame = 0;
    copy.sealed.len = 0;
    size_t size = vistter__control__v1__channel_plan__get_packed_size(&copy);
    uint8_t *bytes = malloc(size);
    vistter__control__v1__channel_plan__pack(&copy, bytes);
    uint64_t sum = checksum_add(checksum_begin(), bytes, size);
    free(bytes);
    return sum;
}

const struct sim_row *row_find(const struct sim *sim, uint64_t channel, uint32_t epoch)
{
    for (int i = 0; i < sim->row_count; i++)
        if (sim->rows[i].channel == channel && sim->rows[i].epoch == epoch)
            return &sim->rows[i];
    return NULL;
}

// An epoch is one plan for ever; committed means that the row is written.
static void seen_check(struct sim *sim, int node, const channel_plan_message *plan)
{
    struct sim_seen *seen = NULL;
    for (int i = 0; i < sim->seen_count && !seen; i++)
        if (sim->seen[i].channel == plan->channel && sim->seen[i].epoch == plan->plan_epoch &&
            sim->seen[i].node == node)
            seen = &sim->seen[i];
    if (!seen) {
        CHECK(sim->seen_count, <, SIM_PLANS);
        seen = &sim->seen[sim->seen_count++];
        *seen = (struct sim_seen){.channel = plan->channel,
                                  .epoch = plan->plan_epoch,
                                  .core = plan_core(plan),
                                  .node = node};
    }
    CHECK_TRUE(seen->core == plan_core(plan));
    CHECK(plan->plan_epoch, <=, sim->reserved[plan->channel - 1]);
    if (!plan->committed)
        return;
    const struct sim_row *row = row_find(sim, plan->channel, plan->plan_epoch);
    CHECK_TRUE(row != NULL);
    if (row)
        CHECK(plan->at_frame, ==, row->at_frame);
    if (seen->committed)
        CHECK(plan->at_frame, ==, seen->at_frame);
    seen->committed = true;
    seen->at_frame = plan->at_frame;
}

bool makes_output(const Vistter__Control__V1__OutputPlan *output, const char *node)
{
    return !strcmp(output->edge, node) || !strcmp(output->backup_edge, node);
}

// As its provider or its standby.
bool gives_group(const Vistter__Control__V1__GroupPlan *group, const char *node)
{
    bool gives = !strcmp(group->provider, node);
    for (size_t i = 0; i < group->n_standbys; i++)
        gives = gives || !strcmp(group->standbys[i]->node, node);
    return gives;
}

// Only what concerns this node: keys of its own links, outputs of its own.
static void secrets_check(const struct sim_node *node, const channel_plan_message *plan)
{
    bool concerned = false;
    for (size_t g = 0; g < plan->n_groups; g++) {
        bool provides = gives_group(plan->groups[g], node->name);
        concerned |= provides;
        for (size_t l = 0; l < plan->groups[g]->n_links; l++) {
            CHECK_TRUE(provides || !strcmp(plan->groups[g]->links[l]->consumer, node->name));
            CHECK(plan->groups[g]->links[l]->key.len, ==, FARM_KEY_BYTES);
        }
        if (node->edge)
            CHECK(plan->groups[g]->n_links, ==, 1);
    }
    for (size_t o = 0; o < plan->n_outputs; o++)
        CHECK_TRUE(makes_output(plan->outputs[o], node->name));
    concerned |= plan->n_outputs > 0;
    CHECK_TRUE(concerned);
    CHECK(plan->n_outputs, ==, node->edge);
}

static const struct sim_row *kept_find(const struct sim *sim, uint64_t channel, uint32_t epoch)
{
    for (int i = 0; i < sim->kept_count; i++)
        if (sim->kept[i].channel == channel && sim->kept[i].epoch == epoch)
            return &sim->kept[i];
    return NULL;
}

static void keep(struct sim *sim, const channel_plan_message *plan)
{
    if (!plan->sealed.len || kept_find(sim, plan->channel, plan->plan_epoch))
        return;
    uint8_t *bytes = malloc(plan->sealed.len);
    memcpy(bytes, plan->sealed.data, plan->sealed.len);
    sim->kept[sim->kept_count++] =
        (struct sim_row){plan->channel, plan->plan_epoch, plan->at_frame, bytes, plan->sealed.len};
}

static void plan_take(struct sim *sim, int index, const channel_plan_message *plan)
{
    keep(sim, plan);
    struct sim_node *node = &sim->nodes[index];
    struct sim_plan *mine = NULL;
    for (int i = 0; i < node->plan_count && !mine; i++)
        if (node->plans[i].channel == plan->channel && node->plans[i].epoch == plan->plan_epoch)
            mine = &node->plans[i];
    if (!mine) {
        CHECK(node->plan_count, <, 8);
        mine = &node->plans[node->plan_count++];
        *mine = (struct sim_plan){.channel = plan->channel,
                                  .epoch = plan->plan_epoch,
                                  .seen_ns = sim->now.monotonic_ns,
                                  .ready_ns =
                                      sim->now.monotonic_ns +
                                      INT64_C(1000000) * sim_random(sim, 20, sim->prepare_ms_max),
                                  .refuses = chance(sim, sim->refuse),
                                  .without_optional = plan->without_optional};
        for (size_t g = 0; g < plan->n_groups; g++)
            for (int n = 0; n < SIM_EDGE; n++)
                mine->takes[n] |= node->edge && gives_group(plan->groups[g], sim->nodes[n].name);
    }
    mine->listed = true;
    mine->committed |= plan->committed;
    if (plan->committed) {
        mine->at_frame = plan->at_frame;
        mine->refuses = false; // what is on air is resumed
    }
}

void state_take(struct sim *sim, int index, const farm_state_message *state)
{
    struct sim_node *node = &sim->nodes[index];
    for (size_t i = 0; state->renewal && i < state->renewal->n_metered; i++)
        if (state->renewal->metered[i] == 1)
            node->metered_ns = sim->now.monotonic_ns + INT64_C(2000000000);
    if (state->renewal)
        return;
    if (state->epoch >= node->state_epoch)
        memset(node->asked, 0, sizeof node->asked);
    for (size_t i = 0; i < state->n_asked && state->epoch >= node->state_epoch; i++)
        node->asked[state->asked[i]->channel - 1] = state->asked[i]->plan_epoch;
    if (state->n_asked)
        return;
    bool stale = state->epoch < node->state_epoch ||
                 (state->epoch == node->state_epoch && state->version < node->state_version);
    if (stale)
        return;
    node->state_epoch = state->epoch;
    node->state_version = state->version;
    for (size_t i = 0; i < state->n_retry; i++)
        node->crash = node->crash == state->retry[i] ? 0 : node->crash;
    for (int i = 0; i < node->plan_count; i++)
        node->plans[i].listed = false;
    int per_channel[SIM_CHANNELS] = {0};
    for (size_t i = 0; i < state->n_channels; i++) {
        const channel_plan_message *plan = state->channels[i];
        CHECK(++per_channel[plan->channel - 1], <=, 2);
        seen_check(sim, index, plan);
        secrets_check(node, plan);
    }
    for (size_t i = 0; i < state->n_publishers; i++) {
        const Vistter__Control__V1__Publisher *p = state->publishers[i];
        if (p->channel != 1 || p->output != 1)
            continue;
        snprintf(node->publishers[0], sizeof node->publishers[0], "%s", p->first);
        snprintf(node->publishers[1], sizeof node->publishers[1], "%s", p->second);
        node->publishers_leader = state->epoch;
        node->publishers_epoch = p->epoch;
    }
    int kept = 0;
    for (size_t i = 0; i < state->n_channels; i++)
        for (int k = 0; k < node->plan_count; k++)
            if (node->plans[k].channel == state->channels[i]->channel &&
                node->plans[k].epoch == state->channels[i]->plan_epoch)
                node->plans[k].listed = true;
    for (int i = 0; i < node->plan_count; i++)
        if (node->plans[i].listed)
            node->plans[kept++] = node->plans[i];
    node->plan_count = kept;
    for (size_t i = 0; i < state->n_channels; i++)
        plan_take(sim, index, state->channels[i]);
}

// ---- What nodes say ---------------------------------------------------------------------------

const struct sim_plan *sim_active(const struct sim *sim, int index, int channel)
{
    const struct sim_node *node = &sim->nodes[index];
    const struct sim_plan *active = NULL;
    for (int i = 0; i < node->plan_count; i++) {
        const struct sim_plan *p = &node->plans[i];
        if (p->channel == (uint64_t)channel + 1 && p->committed &&
            p->ready_ns <= sim->now.monotonic_ns && p->at_frame <= sim_cursor(sim) &&
            (!active || p->at_frame > active->at_frame))
            active = p;
    }
    return active;
}

static Vistter__Control__V1__PlanState plan_state(const struct sim *sim, int index,
                                                  const struct sim_plan *plan)
{
    bool waits = sim->unreachable >= 0 && plan->takes[sim->unreachable];
    if (sim->now.monotonic_ns < plan->ready_ns || (waits && !plan->committed))
        return VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING;
    if (plan->refuses)
        return VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED;
    if (!sim->nodes[index].edge || !plan->committed)
        return VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED;
    return sim_active(sim, index, (int)plan->channel - 1) == plan
               ? VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE
               : VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ARMED;
}

void node_report(struct sim *sim, int index)
{
    struct sim_node *node = &sim->nodes[index];
    farm_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    plan_report plans[8], *plan_list[8];
    channel_report channels[SIM_CHANNELS], *channel_list[SIM_CHANNELS];
    uint8_t golden[32] = {1};
    report.node = node->name;
    report.instance = node->instance;
    report.sequence = ++node->sequence;
    report.role = node->edge ? VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE
                             : VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    report.frame_address = node->address;
    report.cores = 4;
    report.overload = node->overload;
    report.knows_optional = !node->edge && !node->older;
    report.state_epoch = node->state_epoch;
    report.state_version = node->state_version;
    report.golden = (ProtobufCBinaryData){sizeof golden, golden};
    Vistter__Control__V1__HeldPlan held[8], *held_list[8];
    report.held = held_list;
    Vistter__Control__V1__CrashReport crash, *crash_list[] = {&crash};
    vistter__control__v1__crash_report__init(&crash);
    crash.id = node->crash;
    crash.content = SIM_CONTENT;
    report.crashes = crash_list;
    report.n_crashes = node->crash != 0;
    report.plans = plan_list;
    Vistter__Control__V1__Publisher said = VISTTER__CONTROL__V1__PUBLISHER__INIT;
    Vistter__Control__V1__Publisher *said_list[] = {&said};
    said.channel = said.output = 1;
    said.leader = node->publishers_leader;
    said.epoch = node->publishers_epoch;
    said.first = node->publishers[0];
    said.second = node->publishers[1];
    report.publishers = said_list;
    report.n_publishers = node->publishers_epoch != 0;
    for (int i = 0; i < node->plan_count; i++) {
        const struct sim_plan *p = &node->plans[i];
        const struct sim_row *kept =
            node->edge && p->committed ? kept_find(sim, p->channel, p->epoch) : NULL;
        if (kept) {
            Vistter__Control__V1__HeldPlan *h = held_list[report.n_held] = &held[report.n_held];
            report.n_held++;
            vistter__control__v1__held_plan__init(h);
            h->channel = p->channel;
            h->plan_epoch = p->epoch;
            if (node->asked[p->channel - 1] == p->epoch)
                h->sealed = (ProtobufCBinaryData){kept->size, kept->bytes};
        }
        plan_report *r = plan_list[report.n_plans++] = &plans[i];
        vistter__control__v1__plan_report__init(r);
        r->channel = p->channel;
        r->plan_epoch = p->epoch;
        r->state = plan_state(sim, index, p);
        r->reason = "no room";
        if (sim->unreachable >= 0 && p->takes[sim->unreachable])
            r->waits_for = sim->nodes[sim->unreachable].address;
        if (r->state >= VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED &&
            r->state != VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED && p->epoch < 4096)
            node->prepared[p->channel - 1][p->epoch / 64] |= UINT64_C(1) << (p->epoch % 64);
    }
    Vistter__Control__V1__StageReport stage, *stage_list[] = {&stage};
    Vistter__Control__V1__TrackCost costs[PLANNER_TRACKS_MAX], *cost_list[PLANNER_TRACKS_MAX];
    vistter__control__v1__stage_report__init(&stage);
    stage.frames = 1;
    stage.channel = 1;
    stage.plan_epoch = node->plan_count ? node->plans[0].epoch : 0;
    stage.group = 1;
    stage.tracks = cost_list;
    for (uint32_t t = 0; t < PLANNER_TRACKS_MAX; t++) {
        vistter__control__v1__track_cost__init(&costs[t]);
        costs[t].track = t;
        costs[t].ms = sim->track_ms[t];
        cost_list[t] = &costs[t];
        stage.n_tracks += sim->track_ms[t] > 0;
    }
    report.stages = stage_list;
    report.n_stages = !node->edge && stage.n_tracks > 0;
    report.channels = channel_list;
    Vistter__Control__V1__GopReport gop = VISTTER__CONTROL__V1__GOP_REPORT__INIT;
    Vistter__Control__V1__GopReport *gop_list[] = {&gop};
    gop.output = gop.rendition = 1;
    gop.first = sim_cursor(sim) / 50 * 50 - 50;
    gop.sum = (uint64_t)gop.first + node->gops_changed;
    gop.planned = !node->gops_unplanned;
    Vistter__Control__V1__MeterReport meter = VISTTER__CONTROL__V1__METER_REPORT__INIT;
    Vistter__Control__V1__MeterReport *meter_list[] = {&meter};
    Vistter__Control__V1__MeterValues values = VISTTER__CONTROL__V1__METER_VALUES__INIT;
    Vistter__Control__V1__MeterValues *value_list[] = {&values};
    meter.output = 1;
    meter.values = value_list;
    meter.n_values = 1;
    values.frame = sim_cursor(sim);
    values.peak_left = -INFINITY;
    values.momentary = (float)-index;
    for (int c = 0; node->edge && c < SIM_CHANNELS; c++) {
        const struct sim_plan *active = sim_active(sim, index, c);
        if (!active)
            continue;
        channel_report *r = channel_list[report.n_channels++] = &channels[c];
        vistter__control__v1__channel_report__init(r);
        r->meters = meter_list;
        r->n_meters = c == 0 && sim->now.monotonic_ns < node->metered_ns;
        r->gops = gop_list;
        r->n_gops = c == 0;
        r->channel = (uint64_t)c + 1;
        r->cursor = sim_cursor(sim);
        r->plan_epoch = active->epoch;
    }
    size_t size = vistter__control__v1__node_report__get_packed_size(&report);
    uint8_t *bytes = malloc(size);
    vistter__control__v1__node_report__pack(&report, bytes);
    packet_add(sim, index, true, bytes, size);
    free(bytes);
}
