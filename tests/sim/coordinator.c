// A coordinator: the farm's own step logic, and stand-ins for what is around it: the main loop and
// its lease (lead.c), the farm's threads with their writes (control/farm_run.c), and what
// people ask for, first in the store, then in the farm (channels.c, upkeep.c).
#include "coordinator/control/farm.h"
#include "tests/sim/world.h"

#include "engine/base/rate.h"
#include "engine/base/thread.h"
#include "engine/frame/checksum.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS     (50 * SIM_MS)
#define TICK_MIN_NS (10 * SIM_MS)
#define RENEW_NS    (1 * SIM_S)
#define WAIT_NS     (250 * SIM_MS)
#define EPOCH_GAP   100

static const int64_t deadline_ns[LANES] = {
    [LANE_LEASE] = 1200 * SIM_MS, [LANE_FARM] = 3 * SIM_S, [LANE_API] = 3 * SIM_S};

static struct farm_time time_of(const struct world *w, int peer)
{
    return (struct farm_time){world_monotonic_ns(w, peer), world_realtime_ns(w, peer)};
}

// ---- Asking the database ----------------------------------------------------------------------

static void query_send(struct world *w, int c, const struct request *r)
{
    struct request *copy = base_alloc(sizeof *copy);
    *copy = *r;
    (void)blob_ref(copy->plan);
    world_add(w, &(struct event){.at_ns = w->now_ns + world_between(w, SIM_MS / 5, 3 * SIM_MS),
                                 .kind = EVENT_QUERY,
                                 .from = c,
                                 .to = SIM_DATABASE,
                                 .a = r->id,
                                 .b = (uint64_t)w->now_ns,
                                 .bytes = copy});
}

static void ask(struct world *w, int c, struct request *request)
{
    struct coordinator *k = &w->coordinators[c];
    request->id = ++w->serial;
    request->holder = k->holder;
    request->epoch = k->epoch;
    k->lanes[request->lane] = *request;
    query_send(w, c, request);
    world_after(w, deadline_ns[request->lane], EVENT_DEADLINE, c, request->id,
                (uint64_t)request->lane);
}

// ---- The farm's threads -----------------------------------------------------------------------

static void job_add(struct world *w, int c, const struct request *job)
{
    struct coordinator *k = &w->coordinators[c];
    if (k->job_count == 2 * SIM_CHANNELS_MAX) {
        check_broken(w, "I0", "more writes at once than channels");
        struct blob *plan = job->plan;
        blob_unref(&plan);
        return;
    }
    k->jobs[k->job_count++] = *job;
}

static void on_reserve(void *opaque, uint64_t channel, uint32_t epoch)
{
    struct links *at = opaque;
    job_add(at->world, at->peer,
            &(struct request){.lane = LANE_FARM,
                              .kind = REQUEST_RESERVE,
                              .channel = (int)channel - 1,
                              .plan_epoch = epoch});
}

static void on_commit(void *opaque, const struct farm_commit *commit)
{
    struct links *at = opaque;
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, commit->plan_bytes, commit->plan);
    struct request job = {.lane = LANE_FARM,
                          .kind = REQUEST_COMMIT,
                          .channel = (int)commit->channel - 1,
                          .plan_epoch = commit->plan_epoch,
                          .at_frame = commit->at_frame,
                          .start_frame = plan->start_frame,
                          .plan = blob_make(commit->plan, commit->plan_bytes),
                          .restored = commit->restored,
                          .replaces = commit->replaces};
    memcpy(&job.revision, commit->revision, sizeof job.revision);
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    job_add(at->world, at->peer, &job);
}

static void on_send(void *opaque, const char *node, const farm_state_message *state)
{
    struct links *at = opaque;
    struct world *w = at->world;
    size_t early = w->setup->bug == SIM_BUG_EARLY ? state->n_channels : 0;
    for (size_t i = 0; i < early; i++)
        state->channels[i]->at_frame -= state->channels[i]->committed;
    size_t size = vistter__control__v1__desired_state__get_packed_size(state);
    uint8_t *bytes = base_alloc(size ? size : 1);
    vistter__control__v1__desired_state__pack(state, bytes);
    for (int i = SIM_WORKER; i < SIM_DATABASE; i++) {
        if (strcmp(w->processes[i].name, node))
            continue;
        world_send(w, at->peer, i, state->epoch, bytes, size);
        return;
    }
    free(bytes);
}

static void jobs_next(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    k->busy = k->job_count > 0;
    if (!k->busy)
        return;
    struct request r = k->jobs[0];
    memmove(&k->jobs[0], &k->jobs[1], (size_t)--k->job_count * sizeof k->jobs[0]);
    ask(w, c, &r);
}

static void tick(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    const struct farm_outputs outputs = {
        .opaque = &w->links[c],
        .fenced = !lease_epoch(&k->lease, world_monotonic_ns(w, c)),
        .send = on_send,
        .reserve = on_reserve,
        .commit = on_commit,
    };
    k->tick_ns = w->now_ns;
    k->tick_soon = false;
    farm_tick(k->farm, time_of(w, c), &outputs);
    if (!k->busy)
        jobs_next(w, c);
}

static void tick_want(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    int64_t after = k->tick_ns + TICK_MIN_NS - w->now_ns;
    if (k->tick_soon)
        return;
    k->tick_soon = true;
    world_after(w, after > 0 ? after : 0, EVENT_TICK, c, 1, 0);
}

static void tick_timer(struct world *w, const struct event *e)
{
    struct coordinator *k = &w->coordinators[e->to];
    bool extra = e->a;
    if (!extra)
        world_after(w, TICK_NS, EVENT_TICK, e->to, 0, 0);
    if (!k->farm || (extra && !k->tick_soon)) // or it has just been here
        return;
    tick(w, e->to);
}

static void job_done(struct world *w, int c, const struct request *r, int result)
{
    struct coordinator *k = &w->coordinators[c];
    uint64_t channel = (uint64_t)r->channel + 1;
    if (r->kind == REQUEST_COMMIT) {
        farm_committed(k->farm, channel, r->plan_epoch, result, time_of(w, c));
        if (!result)
            check_known(w, r->channel, r->plan_epoch);
        if (r->restored)
            k->unapplied = true; // the channel may be another than we were told
    } else {
        farm_reserved(k->farm, channel, r->plan_epoch, result);
    }
    jobs_next(w, c);
    tick_want(w, c);
}

// ---- What people ask for ----------------------------------------------------------------------

static int channel_set(struct world *w, int c, int index, const struct channel_row *row)
{
    channel_plan_message plan = VISTTER__CONTROL__V1__CHANNEL_PLAN__INIT;
    Vistter__Control__V1__OutputPlan output[2], *outputs[2];
    Vistter__Control__V1__DestinationPlan to = VISTTER__CONTROL__V1__DESTINATION_PLAN__INIT;
    Vistter__Control__V1__DestinationPlan *destinations[] = {&to};
    Vistter__Control__V1__RenditionPlan encoded = VISTTER__CONTROL__V1__RENDITION_PLAN__INIT;
    Vistter__Control__V1__RenditionPlan *renditions[] = {&encoded};
    struct planner_track tracks[PLANNER_TRACKS_MAX] = {0};
    const bool optional[PLANNER_TRACKS_MAX] = {true};
    uint8_t revision[32];
    char name[24];
    snprintf(name, sizeof name, "channel%d", index);
    memset(revision, 0, sizeof revision);
    memcpy(revision, &row->revision, sizeof row->revision);
    for (int i = 0; i < row->outputs; i++) {
        vistter__control__v1__output_plan__init(&output[i]);
        output[i].output = (uint32_t)i + 1;
        output[i].name = i ? "clean" : "";
        output[i].tracks = i ? 1 : 0;
        output[i].renditions = renditions;
        output[i].n_renditions = i == 0;
        outputs[i] = &output[i];
    }
    to.destination = 1;
    to.kind = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RTMP;
    to.name = to.url = "platform";
    to.backup_url = row->single_address ? "" : "platform2";
    encoded.rendition = 1;
    encoded.destinations = destinations;
    encoded.n_destinations = 1;
    plan.channel = (uint64_t)index + 1;
    plan.channel_name = name;
    plan.width = 1280;
    plan.height = 720;
    plan.rate_num = RATE_NUM;
    plan.rate_den = 1;
    plan.lead_frames = LEAD_FRAMES;
    plan.playout_delay_ns = PLAYOUT_NS;
    plan.start_frame = row->start_frame;
    plan.revision = (ProtobufCBinaryData){sizeof revision, revision};
    plan.outputs = outputs;
    plan.n_outputs = (size_t)row->outputs;
    struct farm_channel channel = {.plan = &plan,
                                   .running = row->running,
                                   .run = row->run,
                                   .tracks = tracks,
                                   .optional = optional,
                                   .track_count = row->tracks,
                                   .cut_count = -1,
                                   .backup_edges = row->backup_edges,
                                   .last_plan_epoch = row->last_epoch,
                                   .last_at_frame = row->last_at_frame};
    return farm_set_channel(w->coordinators[c].farm, &channel, NULL);
}

static void apply(struct world *w, int c, const struct tables *t)
{
    for (int i = 0; i < w->setup->workers; i++)
        farm_set_draining(w->coordinators[c].farm, w->processes[SIM_WORKER + i].name,
                          t->draining[i]);
    for (int i = 0; i < w->setup->channels; i++)
        if (channel_set(w, c, i, &t->channels[i]))
            check_broken(w, "I0", "channel %d is refused", i);
}

// The next frame that edges will emit.
static int64_t frame_now(const struct world *w, int c)
{
    return rate_frame_at_ns((struct rate){RATE_NUM, 1}, world_realtime_ns(w, c) - PLAYOUT_NS);
}

bool coordinator_change(struct world *w, int action, bool ends)
{
    int c = (int)(world_random(w) % (uint64_t)w->setup->coordinators);
    struct coordinator *k = &w->coordinators[c];
    if (!world_runs(w, c) || !k->farm || k->changing)
        return false;
    k->changing = true;
    ask(w, c,
        &(struct request){.lane = LANE_API,
                          .kind = REQUEST_CHANGE,
                          .at_frame = frame_now(w, c),
                          .action = action,
                          .ends = ends});
    return true;
}

static void look_again(struct world *w, int c)
{
    ask(w, c, &(struct request){.lane = LANE_API, .kind = REQUEST_LOAD});
}

// Written, refused or unknown: in any case the store is looked at, as it may be either.
static void change_done(struct world *w, int c, const struct request *r, int result)
{
    const struct sim_action *a = &w->setup->actions[r->action];
    struct coordinator *k = &w->coordinators[c];
    if (result == -ESTALE || (result && result != -EIO)) {
        world_add(w, &(struct event){.at_ns = w->now_ns + SIM_S,
                                     .kind = EVENT_USER,
                                     .a = (uint64_t)r->action,
                                     .b = r->ends});
    } else if (a->kind == SIM_DRAIN && !r->ends) {
        world_add(w, &(struct event){.at_ns = w->now_ns + a->for_ns,
                                     .kind = EVENT_USER,
                                     .a = (uint64_t)r->action,
                                     .b = true});
    } else if (a->kind == SIM_DRAIN && result) { // who asked looks, and asks again
        world_add(w, &(struct event){.at_ns = w->now_ns + SIM_S,
                                     .kind = EVENT_USER,
                                     .a = (uint64_t)r->action,
                                     .b = true});
    }
    if (result == -EIO)
        k->unapplied = true;
    look_again(w, c);
}

static void looked(struct world *w, int c, const struct answer *answer, int result)
{
    struct coordinator *k = &w->coordinators[c];
    k->changing = false;
    if (result)
        k->unapplied = true;
    else
        apply(w, c, answer->tables);
}

static void upkeep(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    world_after(w, SIM_S, EVENT_UPKEEP, c, 0, 0);
    if (!k->farm || !k->unapplied || k->changing)
        return;
    k->unapplied = false;
    k->changing = true;
    look_again(w, c);
}

// ---- Leading ----------------------------------------------------------------------------------

static int on_random(void *opaque, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)world_random(opaque);
    return 0;
}

static uint64_t seal_sum(uint64_t channel, uint32_t plan_epoch, const void *plan, size_t size)
{
    uint64_t sum = checksum_add(checksum_begin(), &channel, sizeof channel);
    sum = checksum_add(sum, &plan_epoch, sizeof plan_epoch);
    return checksum_add(sum, plan, size);
}

// No cipher: a checksum notices what is another plan's.
static int on_seal(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *plan,
                   size_t size, uint8_t **ret, size_t *ret_size)
{
    (void)opaque;
    uint64_t sum = seal_sum(channel, plan_epoch, plan, size);
    *ret_size = size + sizeof sum;
    *ret = base_alloc(*ret_size);
    memcpy(*ret, plan, size);
    memcpy(*ret + size, &sum, sizeof sum);
    return 0;
}

static int on_unseal(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *sealed,
                     size_t size, uint8_t **ret, size_t *ret_size)
{
    (void)opaque;
    uint64_t sum;
    if (size < sizeof sum)
        return -EBADMSG;
    *ret_size = size - sizeof sum;
    memcpy(&sum, (const uint8_t *)sealed + *ret_size, sizeof sum);
    if (sum != seal_sum(channel, plan_epoch, sealed, *ret_size))
        return -EBADMSG;
    *ret = base_alloc(*ret_size ? *ret_size : 1);
    memcpy(*ret, sealed, *ret_size);
    return 0;
}

static void lead(struct world *w, int c, const struct tables *t)
{
    struct coordinator *k = &w->coordinators[c];
    struct farm_config config = {
        .leader_epoch = k->epoch,
        .media_url = "http://media",
        .random = on_random,
        .seal = on_seal,
        .unseal = on_unseal,
        .opaque = w,
        .epoch_gap = w->setup->bug == SIM_BUG_FORGETFUL ? 0 : EPOCH_GAP,
    };
    k->farm = farm_create(&config, time_of(w, c));
    for (int i = 0; i < w->setup->channels; i++) {
        const struct channel_row *row = &t->channels[i];
        for (int p = 0; row->running && p < row->plan_count; p++) {
            const struct plan_row *plan = &row->plans[p];
            if (farm_load(k->farm, plan->plan->bytes, plan->plan->size, NULL))
                check_broken(w, "I0", "channel %d: its stored plans are refused", i);
            check_known(w, i, plan->epoch);
        }
    }
    apply(w, c, t);
    world_say(w, "%s leads, epoch %llu", w->processes[c].name, (unsigned long long)k->epoch);
}

// Lets go of the farm, with what it has asked for.
static void farm_end(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    farm_destroy(&k->farm);
    for (int i = 0; i < k->job_count; i++)
        blob_unref(&k->jobs[i].plan);
    for (int i = 0; i < LANES; i++) {
        blob_unref(&k->lanes[i].plan);
        k->lanes[i] = (struct request){0};
    }
    k->job_count = 0;
    k->busy = k->changing = k->unapplied = false;
}

static void follow(struct world *w, int c, const char *reason)
{
    struct coordinator *k = &w->coordinators[c];
    world_say(w, "%s follows: %s", w->processes[c].name, reason);
    farm_end(w, c);
    lease_drop(&k->lease);
    k->epoch = 0;
    world_after(w, WAIT_NS, EVENT_LEASE, c, 0, 0);
}

static void lease_ask(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    k->asked_ns = world_monotonic_ns(w, c);
    ask(w, c,
        &(struct request){.lane = LANE_LEASE, .kind = REQUEST_LEASE, .above = k->epoch_above});
}

static void renewed(struct world *w, int c, const struct answer *answer, int result)
{
    struct coordinator *k = &w->coordinators[c];
    uint64_t higher = farm_deposed(k->farm);
    if (result == -EAGAIN || (!result && answer->epoch != k->epoch)) {
        follow(w, c, "another coordinator leads");
        return;
    }
    if (higher) {
        k->epoch_above = higher;
        follow(w, c, "a node knows a later leader");
        return;
    }
    if (!result && answer->server != k->server) {
        k->server = answer->server;
        farm_recommit(k->farm);
        k->unapplied = true;
    }
    world_after(w, RENEW_NS, EVENT_LEASE, c, 0, 0);
}

static void leased(struct world *w, int c, const struct answer *answer, int result)
{
    struct coordinator *k = &w->coordinators[c];
    if (!result)
        lease_take(&k->lease, answer->epoch, k->asked_ns, LEASE_TTL_NS);
    else if (result == -EAGAIN)
        lease_drop(&k->lease);
    if (k->farm) {
        renewed(w, c, answer, result);
    } else if (result) {
        world_after(w, WAIT_NS, EVENT_LEASE, c, 0, 0);
    } else {
        k->epoch = answer->epoch;
        k->server = answer->server;
        ask(w, c, &(struct request){.lane = LANE_LEASE, .kind = REQUEST_LOAD});
    }
}

static void lease_answered(struct world *w, int c, const struct request *r,
                           const struct answer *answer, int result)
{
    if (r->kind == REQUEST_LEASE) {
        leased(w, c, answer, result);
        return;
    }
    if (!result)
        lead(w, c, answer->tables);
    world_after(w, result ? WAIT_NS : RENEW_NS, EVENT_LEASE, c, 0, 0);
}

// `answer` is NULL when there was none in time.
static void answered(struct world *w, int c, enum lane lane, const struct answer *answer)
{
    struct coordinator *k = &w->coordinators[c];
    struct request r = k->lanes[lane];
    int result = answer ? answer->result : -EIO;
    if (answer && answer->open) { // the transaction has begun
        k->lanes[lane].commits = r.commits = true;
        query_send(w, c, &r);
        return;
    }
    k->lanes[lane] = (struct request){0};
    if (lane == LANE_LEASE)
        lease_answered(w, c, &r, answer, result);
    else if (lane == LANE_FARM)
        job_done(w, c, &r, result);
    else if (r.kind == REQUEST_CHANGE)
        change_done(w, c, &r, result);
    else
        looked(w, c, answer, result);
    blob_unref(&r.plan);
}

// ---- Life and events --------------------------------------------------------------------------

void coordinator_start(struct world *w, int c)
{
    w->coordinators[c] = (struct coordinator){.holder = ++w->serial};
    world_after(w, SIM_MS, EVENT_LEASE, c, 0, 0);
    world_after(w, TICK_NS, EVENT_TICK, c, 0, 0);
    world_after(w, SIM_S, EVENT_UPKEEP, c, 0, 0);
}

void coordinator_end(struct world *w, int c)
{
    struct coordinator *k = &w->coordinators[c];
    farm_end(w, c);
    if (world_hears(w, c, SIM_DATABASE))
        database_sessions_kill(w, c); // its connections are closed
    *k = (struct coordinator){0};
}

static void report_take(struct world *w, const struct event *e)
{
    const struct coordinator *k = &w->coordinators[e->to];
    farm_report_message *report =
        vistter__control__v1__node_report__unpack(NULL, e->size, e->bytes);
    int r = report ? farm_report(k->farm, report, time_of(w, e->to)) : -ENOMEM;
    vistter__control__v1__node_report__free_unpacked(report, NULL);
    if (r && r != -ESTALE)
        check_broken(w, "I0", "a report of %s is refused: %d", w->processes[e->from].name, r);
    if (!r)
        tick_want(w, e->to);
}

void coordinator_event(struct world *w, const struct event *e)
{
    struct coordinator *k = &w->coordinators[e->to];
    if (e->kind == EVENT_TICK)
        tick_timer(w, e);
    else if (e->kind == EVENT_UPKEEP)
        upkeep(w, e->to);
    else if (e->kind == EVENT_LEASE)
        lease_ask(w, e->to);
    else if (e->kind == EVENT_DEADLINE && k->lanes[e->b].id == e->a)
        answered(w, e->to, (enum lane)e->b, NULL);
    else if (e->kind == EVENT_MESSAGE && k->farm)
        report_take(w, e);
    else if (e->kind == EVENT_ANSWER) {
        const struct answer *answer = e->bytes;
        if (k->lanes[answer->lane].id == answer->id)
            answered(w, e->to, answer->lane, answer);
    }
}

bool coordinator_well(struct world *w, int channel)
{
    for (int c = 0; c < w->setup->coordinators; c++) {
        const struct coordinator *k = &w->coordinators[c];
        if (!k->farm || k->epoch != w->database.now.lease_epoch)
            continue;
        struct farm_snapshot *s = farm_snapshot_create(k->farm, time_of(w, c));
        bool well = !s->deposed;
        for (int i = 0; i < s->channel_count; i++) {
            const struct farm_channel_view *v = &s->channels[i];
            if (v->channel == (uint64_t)channel + 1)
                well = well && v->state == FARM_CHANNEL_ON_AIR && !v->next_plan_epoch && !*v->text;
        }
        farm_snapshot_destroy(&s);
        return well;
    }
    return false;
}
