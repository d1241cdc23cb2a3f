#include "tests/coordinator/control/simulation_private.h"

#include <math.h>

#include "engine/base/rate.h"
#include "engine/frame/checksum.h"

#include <errno.h>

#define PLAYOUT_NS INT64_C(1600000000)

typedef Vistter__Control__V1__PlanReport plan_report;
typedef Vistter__Control__V1__ChannelReport channel_report;

int sim_random(struct sim *sim, int low, int high)
{
    return low + (int)(check_random(&sim->random) % (uint64_t)(high - low + 1));
}

bool chance(struct sim *sim, int per_mille)
{
    return sim_random(sim, 1, 1000) <= per_mille;
}

// Link keys only need to differ here.
static int on_random(void *opaque, uint8_t *bytes, size_t size)
{
    struct sim *sim = opaque;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)check_random(&sim->random);
    return 0;
}

int64_t sim_cursor(const struct sim *sim)
{
    return rate_frame_at_ns((struct rate){SIM_RATE, 1}, sim->now.realtime_ns - PLAYOUT_NS);
}

static struct farm_time coordinator_now(const struct sim *sim)
{
    return (struct farm_time){sim->now.monotonic_ns, sim->now.realtime_ns + sim->clock_wrong_ns};
}

// ---- Network ----------------------------------------------------------------------------------

void packet_add(struct sim *sim, int node, bool up, const uint8_t *bytes, size_t size)
{
    CHECK(sim->packet_count, <, SIM_PACKETS);
    struct sim_packet *p = &sim->packets[sim->packet_count++];
    *p = (struct sim_packet){.at_ns = sim->now.monotonic_ns +
                                      INT64_C(1000000) * sim_random(sim, 0, sim->delay_ms_max),
                             .node = node,
                             .up = up,
                             .bytes = malloc(size),
                             .size = size};
    memcpy(p->bytes, bytes, size);
}

// ---- Store ------------------------------------------------------------------------------------

static bool has_prepared(const struct sim_node *node, const struct sim_job *job)
{
    return node->prepared[job->channel - 1][job->epoch / 64] >> (job->epoch % 64) & 1;
}

static void commit_check(struct sim *sim, const struct sim_job *job)
{
    const struct sim_row *same = row_find(sim, job->channel, job->epoch);
    if (same) { // handed out again: the same, byte for byte
        CHECK(job->at_frame, ==, same->at_frame);
        CHECK(job->size, ==, same->size);
        CHECK_BYTES(job->bytes, same->bytes, same->size);
        return;
    }
    for (int i = 0; i < sim->row_count; i++) {
        if (sim->rows[i].channel != job->channel)
            continue;
        CHECK(job->epoch, >, sim->rows[i].epoch);
        CHECK(job->at_frame, >, sim->rows[i].at_frame);
    }
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, job->size, job->bytes);
    CHECK_TRUE(plan && plan->committed && plan->at_frame == job->at_frame);
    for (int n = 0; plan && n < SIM_NODES; n++) {
        bool needed = makes_output(plan->outputs[0], sim->nodes[n].name);
        for (size_t g = 0; g < plan->n_groups; g++)
            needed |= !strcmp(plan->groups[g]->provider, sim->nodes[n].name);
        if (needed)
            CHECK_TRUE(has_prepared(&sim->nodes[n], job));
    }
    for (size_t g = 0; plan && g < plan->n_groups; g++) {
        bool any = !plan->groups[g]->n_standbys; // one is enough
        for (int n = 0; n < SIM_NODES; n++)
            any |= has_prepared(&sim->nodes[n], job) &&
                   strcmp(plan->groups[g]->provider, sim->nodes[n].name) &&
                   gives_group(plan->groups[g], sim->nodes[n].name);
        CHECK_TRUE(any);
    }
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
}

static void job_add(struct sim *sim, const struct sim_job *job)
{
    for (int i = 0; i < 16; i++) {
        if (sim->jobs[i].used)
            continue;
        sim->jobs[i] = *job;
        sim->jobs[i].used = true;
        sim->jobs[i].at_ns = sim->now.monotonic_ns + INT64_C(1000000) * sim_random(sim, 0, 80);
        sim->jobs[i].written = true; // a test may say otherwise
        return;
    }
    CHECK_TRUE(false); // more writes at once than channels
}

static void on_reserve(void *opaque, uint64_t channel, uint32_t epoch)
{
    job_add(opaque, &(struct sim_job){.channel = channel, .epoch = epoch});
}

static void on_commit(void *opaque, const struct farm_commit *commit)
{
    struct sim_job job = {.is_commit = true,
                          .restored = commit->restored,
                          .replaces = commit->replaces,
                          .channel = commit->channel,
                          .epoch = commit->plan_epoch,
                          .at_frame = commit->at_frame,
                          .bytes = malloc(commit->plan_bytes),
                          .size = commit->plan_bytes};
    memcpy(job.bytes, commit->plan, commit->plan_bytes);
    job_add(opaque, &job);
}

static void job_write(struct sim *sim, struct sim_job *job)
{
    uint32_t *reserved = &sim->reserved[job->channel - 1];
    if (!job->is_commit) {
        *reserved = job->epoch > *reserved ? job->epoch : *reserved;
        return;
    }
    if (job->restored && row_find(sim, job->channel, job->epoch))
        return;
    commit_check(sim, job);
    if (row_find(sim, job->channel, job->epoch))
        return;
    *reserved = job->epoch > *reserved ? job->epoch : *reserved;
    CHECK(sim->row_count, <, SIM_PLANS);
    sim->rows[sim->row_count++] =
        (struct sim_row){job->channel, job->epoch, job->at_frame, job->bytes, job->size};
    job->bytes = NULL;
}

static void channel_set(struct sim *sim, int index);

// Its event is back, too: what the channel should be is told anew.
static void channel_restored(struct sim *sim, const struct sim_job *job)
{
    const struct sim_row *row = row_find(sim, job->channel, job->epoch);
    channel_plan_message *plan =
        row ? vistter__control__v1__channel_plan__unpack(NULL, row->size, row->bytes) : NULL;
    if (plan)
        sim->revision[job->channel - 1] = plan->revision.data[0];
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    channel_set(sim, (int)job->channel - 1);
}

static void jobs_run(struct sim *sim)
{
    for (int i = 0; i < 16; i++) {
        struct sim_job *job = &sim->jobs[i];
        if (!job->used || job->at_ns > sim->now.monotonic_ns)
            continue;
        job->used = false;
        if (job->written)
            job_write(sim, job);
        if (job->is_commit)
            farm_committed(sim->farm, job->channel, job->epoch, job->result, coordinator_now(sim));
        if (job->is_commit && job->restored)
            channel_restored(sim, job);
        else if (!job->is_commit)
            farm_reserved(sim->farm, job->channel, job->epoch, job->result);
        free(job->bytes);
        job->bytes = NULL;
    }
}

// ---- Running ----------------------------------------------------------------------------------

static void on_send(void *opaque, const char *name, const farm_state_message *state)
{
    struct sim *sim = opaque;
    sim->sent++;
    size_t size = vistter__control__v1__desired_state__get_packed_size(state);
    uint8_t *bytes = malloc(size);
    vistter__control__v1__desired_state__pack(state, bytes);
    for (int i = 0; i < SIM_NODES; i++)
        if (!strcmp(sim->nodes[i].name, name))
            packet_add(sim, i, false, bytes, size);
    free(bytes);
}

static void packet_deliver(struct sim *sim, struct sim_packet *p)
{
    struct sim_node *node = &sim->nodes[p->node];
    if (node->deaf || (!p->up && !node->alive)) {
        free(p->bytes);
        return;
    }
    if (p->up) {
        farm_report_message *report =
            vistter__control__v1__node_report__unpack(NULL, p->size, p->bytes);
        int r = farm_report(sim->farm, report, coordinator_now(sim));
        CHECK_TRUE(r == 0 || r == -ESTALE);
        vistter__control__v1__node_report__free_unpacked(report, NULL);
    } else {
        farm_state_message *state =
            vistter__control__v1__desired_state__unpack(NULL, p->size, p->bytes);
        state_take(sim, p->node, state);
        vistter__control__v1__desired_state__free_unpacked(state, NULL);
    }
    free(p->bytes);
}

static void packets_run(struct sim *sim)
{
    for (int i = 0; i < sim->packet_count;) {
        struct sim_packet p = sim->packets[i];
        if (p.at_ns > sim->now.monotonic_ns) {
            i++;
            continue;
        }
        sim->packets[i] = sim->packets[--sim->packet_count]; // any order
        packet_deliver(sim, &p);
    }
}

static void on_crash(void *opaque, const struct farm_crash *crash)
{
    struct sim *sim = opaque;
    CHECK_TEXT(crash->content, SIM_CONTENT);
    enum farm_verdict verdict = ++sim->crashes > 1 ? FARM_POISONED : FARM_SUSPECT;
    farm_crashed(sim->farm, crash->node, crash->id, 0, verdict);
}

void sim_run(struct sim *sim, int64_t ns)
{
    const struct farm_outputs outputs = {.opaque = sim,
                                         .fenced = sim->fenced,
                                         .send = on_send,
                                         .reserve = on_reserve,
                                         .crash = on_crash,
                                         .commit = on_commit};
    for (int64_t end = sim->now.monotonic_ns + ns; sim->now.monotonic_ns < end;) {
        sim->now.monotonic_ns += SIM_STEP_NS;
        sim->now.realtime_ns += SIM_STEP_NS;
        for (int i = 0; i < SIM_NODES; i++) {
            struct sim_node *node = &sim->nodes[i];
            if (node->alive && sim->now.monotonic_ns - node->report_ns >= INT64_C(100000000)) {
                node->report_ns = sim->now.monotonic_ns;
                node_report(sim, i);
            }
        }
        packets_run(sim);
        jobs_run(sim);
        farm_tick(sim->farm, coordinator_now(sim), &outputs);
    }
}

// ---- Events -----------------------------------------------------------------------------------

static void channel_set(struct sim *sim, int index)
{
    channel_plan_message plan = VISTTER__CONTROL__V1__CHANNEL_PLAN__INIT;
    Vistter__Control__V1__OutputPlan output = VISTTER__CONTROL__V1__OUTPUT_PLAN__INIT;
    Vistter__Control__V1__OutputPlan *outputs[] = {&output};
    struct planner_track tracks[PLANNER_TRACKS_MAX] = {0};
    bool optional[PLANNER_TRACKS_MAX];
    uint8_t revision[32] = {sim->revision[index]};
    char name[16];
    snprintf(name, sizeof name, "channel%d", index);
    plan.channel = (uint64_t)index + 1;
    plan.channel_name = name;
    plan.width = 1280;
    plan.height = 720;
    plan.rate_num = SIM_RATE;
    plan.rate_den = 1;
    plan.lead_frames = SIM_LEAD;
    plan.playout_delay_ns = PLAYOUT_NS;
    plan.start_frame = FARM_START_AT_SWITCH;
    plan.redundancy = sim->redundancy;
    plan.revision = (ProtobufCBinaryData){sizeof revision, revision};
    for (int t = 0; t < PLANNER_TRACKS_MAX; t++) {
        tracks[t].start_us = sim->start_us;
        optional[t] = t == sim->optional - 1;
    }
    Vistter__Control__V1__PoisonedAsset poisoned, *poisoned_list[] = {&poisoned};
    vistter__control__v1__poisoned_asset__init(&poisoned);
    poisoned.content = SIM_CONTENT;
    plan.poisoned = poisoned_list;
    plan.n_poisoned = sim->poisoned;
    output.output = 1;
    plan.n_outputs = 1;
    plan.outputs = outputs;
    struct farm_channel channel = {.plan = &plan,
                                   .timeline = sim->timeline,
                                   .backup_edges = sim->backup_edges,
                                   .running = sim->running[index],
                                   .run = sim->run[index],
                                   .tracks = tracks,
                                   .optional = optional,
                                   .track_count = sim->track_count[index],
                                   .cut_count = -1,
                                   .last_plan_epoch = sim->reserved[index]};
    for (int i = 0; i < sim->row_count; i++)
        if (sim->rows[i].channel == plan.channel)
            channel.last_at_frame = sim->rows[i].at_frame;
    CHECK_OK(farm_set_channel(sim->farm, &channel, NULL));
}

void sim_channel(struct sim *sim, int channel, bool running, int revision, int tracks)
{
    sim->running[channel] = running;
    sim->revision[channel] = (uint8_t)revision;
    sim->track_count[channel] = tracks;
    channel_set(sim, channel);
}

void sim_lose_commit(struct sim *sim, int channel)
{
    struct sim_row *newest = NULL;
    for (int i = 0; i < sim->row_count; i++)
        if (sim->rows[i].channel == (uint64_t)channel + 1)
            newest = &sim->rows[i];
    sim->reserved[channel] = newest->epoch - 1;
    free(newest->bytes);
    memmove(newest, newest + 1, (size_t)(sim->rows + --sim->row_count - newest) * sizeof *newest);
}

void sim_kill(struct sim *sim, int node)
{
    sim->nodes[node].alive = false;
    sim->nodes[node].plan_count = 0;
    sim->nodes[node].state_epoch = sim->nodes[node].state_version = 0;
}

void sim_start(struct sim *sim, int node)
{
    sim->nodes[node].alive = true;
    sim->nodes[node].instance = check_random(&sim->random) | 1;
    sim->nodes[node].sequence = 0;
}

// Opaque to edges; here it need not be.
static int on_seal(void *opaque, uint64_t channel, uint32_t epoch, const void *from, size_t size,
                   uint8_t **ret, size_t *ret_size)
{
    (void)opaque;
    (void)channel;
    (void)epoch;
    *ret = malloc(size);
    memcpy(*ret, from, *ret_size = size);
    return 0;
}

static void farm_start(struct sim *sim)
{
    struct farm_config config = {.leader_epoch = sim->leader_epoch,
                                 .media_url = "http://media",
                                 .random = on_random,
                                 .seal = sim->keeps ? on_seal : NULL,
                                 .unseal = sim->keeps ? on_seal : NULL,
                                 .opaque = sim};
    sim->farm = farm_create(&config, coordinator_now(sim));
    for (int c = 0; c < SIM_CHANNELS; c++) {
        const struct sim_row *newest = NULL, *before = NULL;
        for (int i = 0; i < sim->row_count; i++) {
            if (sim->rows[i].channel != (uint64_t)c + 1)
                continue;
            before = newest;
            newest = &sim->rows[i];
        }
        if (sim->running[c] && before)
            CHECK_OK(farm_load(sim->farm, before->bytes, before->size, NULL));
        if (sim->running[c] && newest)
            CHECK_OK(farm_load(sim->farm, newest->bytes, newest->size, NULL));
        if (sim->revision[c])
            channel_set(sim, c);
    }
}

void sim_restart(struct sim *sim)
{
    farm_destroy(&sim->farm);
    for (int i = 0; i < 16; i++) {
        struct sim_job *job = &sim->jobs[i];
        if (!job->used)
            continue;
        // Under way when it died: done or not.
        if (chance(sim, 500))
            job_write(sim, job);
        free(job->bytes);
        *job = (struct sim_job){0};
    }
    // The same holder keeps its lease's epoch when it is quick.
    sim->leader_epoch += (uint64_t)chance(sim, 500);
    farm_start(sim);
}

void sim_create(struct sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    sim->random = seed;
    sim->leader_epoch = 1;
    sim->delay_ms_max = 5;
    sim->prepare_ms_max = 300;
    sim->unreachable = -1;
    sim->now.monotonic_ns = INT64_C(1000000000000);
    sim->now.realtime_ns = INT64_C(5000000000000);
    for (int i = 0; i < SIM_NODES; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->edge = i >= SIM_EDGE;
        snprintf(node->name, sizeof node->name, "%s%d", node->edge ? "edge" : "worker", i);
        snprintf(node->address, sizeof node->address, "10.0.0.%d:7000", i);
        node->report_ns = sim->now.monotonic_ns - INT64_C(10000000) * i;
        sim_start(sim, i);
    }
    farm_start(sim);
}

void sim_destroy(struct sim *sim)
{
    farm_destroy(&sim->farm);
    for (int i = 0; i < sim->packet_count; i++)
        free(sim->packets[i].bytes);
    for (int i = 0; i < sim->row_count; i++)
        free(sim->rows[i].bytes);
    for (int i = 0; i < sim->kept_count; i++)
        free(sim->kept[i].bytes);
    for (int i = 0; i < 16; i++)
        free(sim->jobs[i].bytes);
}

bool sim_on_air(const struct sim *sim, int channel)
{
    const struct sim_row *newest = NULL;
    for (int i = 0; i < sim->row_count; i++)
        if (sim->rows[i].channel == (uint64_t)channel + 1)
            newest = &sim->rows[i];
    if (!newest)
        return false;
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, newest->size, newest->bytes);
    bool good = plan->revision.data[0] == sim->revision[channel];
    for (int n = 0; n < SIM_NODES; n++) {
        const struct sim_node *node = &sim->nodes[n];
        bool edge = makes_output(plan->outputs[0], node->name), needed = edge;
        for (size_t g = 0; g < plan->n_groups; g++)
            needed |= gives_group(plan->groups[g], node->name);
        if (needed && (!node->alive || node->deaf))
            good = false;
        const struct sim_plan *active = edge ? sim_active(sim, n, channel) : NULL;
        if (edge && (!active || active->epoch != plan->plan_epoch))
            good = false;
    }
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    return good;
}

int sim_failures(void)
{
    return check_failures;
}

int sim_checks(void)
{
    return check_count;
}
