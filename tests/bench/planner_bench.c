// What the leading coordinator's planning costs: planner_bench NODES [NODES...]. For each: so many
// nodes, four of five workers, and half as many channels; all planned from nothing until on air,
// then a twentieth of the nodes lost at once and planned around, then nothing happening. Nodes say
// at once that they have prepared what they are told; only the farm's processor time is counted.
// Prints one JSON object a line: processor milliseconds, the longest tick, and seconds until done.
#include "coordinator/control/farm.h"
#include "engine/base/log.h"
#include "engine/base/rate.h"
#include "tests/bench/bench.h"

#define TICK_NS    INT64_C(50000000)
#define REPORT_NS  INT64_C(100000000)
#define SECOND     INT64_C(1000000000)
#define PLANS_MAX  256 // of a node
#define TRACKS     6
#define RATE       25
#define PLAYOUT_NS INT64_C(1600000000)

struct told {
    uint64_t channel;
    uint32_t epoch;
    bool committed;
    int64_t at_frame;
};

struct node {
    char name[16], address[24];
    bool edge, lost;
    uint64_t sequence, epoch, version;
    int plan_count;
    struct told plans[PLANS_MAX];
};

struct bench {
    struct farm *farm;
    struct farm_time now;
    int64_t reported_ns;
    int node_count, channel_count;
    struct node *nodes;
    uint64_t commits, random;
    double ms, longest_ms; // of the farm
};

// ---- What stands in for nodes and store -------------------------------------------------------

static int on_random(void *opaque, uint8_t *bytes, size_t size)
{
    struct bench *b = opaque;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((b->random = b->random * UINT64_C(6364136223846793005) + 1) >> 56);
    return 0;
}

static void on_send(void *opaque, const char *name, const farm_state_message *state)
{
    struct bench *b = opaque;
    struct node *node = &b->nodes[atoi(name + 1)];
    node->epoch = state->epoch;
    node->version = state->version;
    node->plan_count = 0;
    for (size_t i = 0; i < state->n_channels && i < PLANS_MAX; i++) {
        const channel_plan_message *p = state->channels[i];
        node->plans[node->plan_count++] =
            (struct told){p->channel, p->plan_epoch, p->committed, p->at_frame};
    }
}

struct write {
    uint64_t channel;
    uint32_t epoch;
    bool commits;
};
static struct write writes[2 * FARM_CHANNELS_MAX];
static int write_count;

static void on_reserve(void *opaque, uint64_t channel, uint32_t epoch)
{
    (void)opaque;
    writes[write_count++] = (struct write){channel, epoch, false};
}

static void on_commit(void *opaque, const struct farm_commit *commit)
{
    (void)opaque;
    writes[write_count++] = (struct write){commit->channel, commit->plan_epoch, true};
}

static int64_t cursor(const struct bench *b)
{
    return rate_frame_at_ns((struct rate){RATE, 1}, b->now.realtime_ns - PLAYOUT_NS);
}

static Vistter__Control__V1__PlanState plan_state(const struct bench *b, const struct node *node,
                                                  const struct told *p)
{
    if (!node->edge || !p->committed)
        return VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED;
    return p->at_frame <= cursor(b) ? VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE
                                    : VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ARMED;
}

static void report(struct bench *b, struct node *node)
{
    static Vistter__Control__V1__PlanReport plans[PLANS_MAX], *list[PLANS_MAX];
    farm_report_message r = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    uint8_t golden[32] = {1};
    r.node = node->name;
    r.instance = 1;
    r.sequence = ++node->sequence;
    r.role = node->edge ? VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE
                        : VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    r.frame_address = node->address;
    r.cores = 4;
    r.golden = (ProtobufCBinaryData){sizeof golden, golden};
    r.state_epoch = node->epoch;
    r.state_version = node->version;
    r.plans = list;
    for (int i = 0; i < node->plan_count; i++) {
        list[r.n_plans++] = &plans[i];
        vistter__control__v1__plan_report__init(&plans[i]);
        plans[i].channel = node->plans[i].channel;
        plans[i].plan_epoch = node->plans[i].epoch;
        plans[i].state = plan_state(b, node, &node->plans[i]);
    }
    if (farm_report(b->farm, &r, b->now))
        die("a report is refused");
}

// ---- Steps ------------------------------------------------------------------------------------

static void writes_answer(struct bench *b)
{
    for (int i = 0; i < write_count; i++) {
        const struct write *w = &writes[i];
        if (w->commits)
            farm_committed(b->farm, w->channel, w->epoch, 0, b->now);
        else
            farm_reserved(b->farm, w->channel, w->epoch, 0);
        b->commits += w->commits;
    }
    write_count = 0;
}

static void step(struct bench *b)
{
    const struct farm_outputs outputs = {
        .opaque = b, .send = on_send, .reserve = on_reserve, .commit = on_commit};
    double before = cpu_ms();
    b->now.monotonic_ns += TICK_NS;
    b->now.realtime_ns += TICK_NS;
    if (b->now.monotonic_ns - b->reported_ns >= REPORT_NS) {
        b->reported_ns = b->now.monotonic_ns;
        for (int i = 0; i < b->node_count; i++)
            if (!b->nodes[i].lost)
                report(b, &b->nodes[i]);
    }
    double reported = cpu_ms();
    farm_tick(b->farm, b->now, &outputs);
    double ticked = cpu_ms();
    writes_answer(b);
    b->ms += cpu_ms() - before;
    b->longest_ms = ticked - reported > b->longest_ms ? ticked - reported : b->longest_ms;
}

static bool lives(const struct bench *b, const char *name)
{
    return *name && !b->nodes[atoi(name + 1)].lost;
}

// Every channel is on air, and on nodes that live.
static bool is_well(struct bench *b)
{
    struct farm_snapshot *s = farm_snapshot_create(b->farm, b->now);
    int well = 0;
    for (int i = 0; i < s->channel_count; i++) {
        const struct farm_channel_view *v = &s->channels[i];
        bool good = v->plan_epoch && !v->next_plan_epoch && lives(b, v->edge);
        for (int g = 0; g < v->group_count; g++)
            good = good && lives(b, v->groups[g].provider) && v->groups[g].standby_count > 0 &&
                   lives(b, v->groups[g].standbys[0].node);
        well += good;
    }
    farm_snapshot_destroy(&s);
    return well == b->channel_count;
}

struct cost {
    double ms, longest_ms, seconds;
    uint64_t commits;
};

static struct cost until_well(struct bench *b)
{
    struct cost cost = {0};
    uint64_t commits = b->commits;
    b->ms = b->longest_ms = 0;
    do {
        for (int i = 0; i < 10; i++)
            step(b);
        cost.seconds += 0.5;
        if (cost.seconds > 600)
            die("ten minutes, and not all channels are on air");
    } while (!is_well(b));
    cost.ms = b->ms;
    cost.longest_ms = b->longest_ms;
    cost.commits = b->commits - commits;
    return cost;
}

static void channel_set(struct bench *b, int index)
{
    channel_plan_message plan = VISTTER__CONTROL__V1__CHANNEL_PLAN__INIT;
    Vistter__Control__V1__OutputPlan output = VISTTER__CONTROL__V1__OUTPUT_PLAN__INIT;
    Vistter__Control__V1__OutputPlan *outputs[] = {&output};
    struct planner_track tracks[TRACKS] = {0};
    uint8_t revision[32] = {1};
    char name[24];
    snprintf(name, sizeof name, "channel%d", index);
    plan.channel = (uint64_t)index + 1;
    plan.channel_name = name;
    plan.width = 1280;
    plan.height = 720;
    plan.rate_num = RATE;
    plan.rate_den = 1;
    plan.lead_frames = 2 * RATE;
    plan.playout_delay_ns = PLAYOUT_NS;
    plan.start_frame = FARM_START_AT_SWITCH;
    plan.revision = (ProtobufCBinaryData){sizeof revision, revision};
    output.output = 1;
    plan.n_outputs = 1;
    plan.outputs = outputs;
    struct farm_channel channel = {.plan = &plan,
                                   .running = true,
                                   .run = 1,
                                   .tracks = tracks,
                                   .track_count = TRACKS,
                                   .cut_count = -1,
                                   .backup_edges = true};
    if (farm_set_channel(b->farm, &channel, NULL))
        die("a channel is refused");
}

static void measure(int node_count)
{
    struct bench b = {.node_count = node_count, .channel_count = node_count / 2, .random = 1};
    struct farm_config config = {
        .leader_epoch = 1, .media_url = "http://m", .random = on_random, .opaque = &b};
    b.now = (struct farm_time){1000 * SECOND, 5000 * SECOND};
    b.nodes = calloc((size_t)node_count, sizeof *b.nodes);
    if (!b.nodes)
        die("out of memory");
    for (int i = 0; i < node_count; i++) {
        b.nodes[i].edge = i % 5 == 4;
        snprintf(b.nodes[i].name, sizeof b.nodes[i].name, "%c%d", b.nodes[i].edge ? 'e' : 'w', i);
        snprintf(b.nodes[i].address, sizeof b.nodes[i].address, "h%d:7000", i);
    }
    b.farm = farm_create(&config, b.now);
    for (int i = 0; i < 40; i++)
        step(&b);
    for (int i = 0; i < b.channel_count; i++)
        channel_set(&b, i);
    struct cost scratch = until_well(&b);
    for (int i = 0; i < node_count / 20; i++)
        b.nodes[i * 20 + 7 + i % 3].lost = true; // workers and edges
    struct cost again = until_well(&b);
    b.ms = 0;
    for (int i = 0; i < 100; i++)
        step(&b);
    printf("{\"nodes\":%d,\"channels\":%d,\"scratch_ms\":%.1f,\"scratch_tick_ms\":%.2f,"
           "\"scratch_s\":%.1f,\"lost\":%d,\"again_ms\":%.1f,\"again_tick_ms\":%.2f,"
           "\"again_s\":%.1f,\"replanned\":%llu,\"idle_ms_per_s\":%.2f}\n",
           node_count, b.channel_count, scratch.ms, scratch.longest_ms, scratch.seconds,
           node_count / 20, again.ms, again.longest_ms, again.seconds,
           (unsigned long long)again.commits, b.ms / 5);
    farm_destroy(&b.farm);
    free(b.nodes);
}

int main(int argc, char **argv)
{
    log_set_level(LOG_LEVEL_ERROR);
    for (int i = 1; i < argc; i++) {
        int nodes = atoi(argv[i]);
        if (nodes < 20 || nodes > FARM_NODES_MAX)
            die("NODES: 20 to as many as a farm may have");
        measure(nodes);
    }
    return EXIT_SUCCESS;
}
