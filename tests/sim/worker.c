// A worker: its duties are the program's (worker/duties.c); stages, links and reports stand in.
#include "tests/sim/world.h"

#include "engine/base/overload.h"
#include "engine/base/thread.h"
#include "worker/duties.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_NS   (100 * SIM_MS)
#define SLUGGISH_NS (4 * SIM_S)

typedef Vistter__Control__V1__DesiredState desired_state;
typedef Vistter__Control__V1__NodeReport node_report;
typedef Vistter__Control__V1__PlanReport plan_report;
typedef Vistter__Control__V1__GroupState group_state;

// Stands for worker/render/stage.c: what is to be rendered is ready after a while, or refused.
struct stage {
    struct world *world;
    uint64_t channel;
    uint32_t epoch, group;
    int64_t ready_ns;
    bool refused, committed;
};

struct stage *stage_create(const struct stage_config *config)
{
    struct world *w = config->links->world;
    const struct process *p = &w->processes[config->links->peer];
    struct stage *s = base_alloc(sizeof *s);
    bool sluggish = p->sluggish_ns > w->now_ns || world_buggify(w, 30);
    int64_t takes = world_between(w, 30 * SIM_MS, sluggish ? SLUGGISH_NS : 300 * SIM_MS);
    *s = (struct stage){.world = w,
                        .channel = config->plan->channel,
                        .epoch = config->plan->plan_epoch,
                        .group = config->plan->groups[config->group]->group,
                        .ready_ns = w->now_ns + takes,
                        .refused = p->refuse_ns > w->now_ns || world_buggify(w, 10)};
    return s;
}

void stage_close(struct stage *stage)
{
    stage->refused = true;
}

void stage_destroy(struct stage **stage)
{
    free(*stage);
    *stage = NULL;
}

bool stage_is(const struct stage *s, uint64_t channel, uint32_t epoch, uint32_t group)
{
    return s->channel == channel && s->epoch == epoch && s->group == group;
}

void stage_commit(struct stage *s, int64_t at_frame, int64_t start_frame)
{
    (void)at_frame;
    (void)start_frame;
    s->committed = true;
    s->refused = false; // what is on air is resumed
}

void stage_live(struct stage *s, const struct take_log *log)
{
    (void)s; // the simulated farm takes nothing
    (void)log;
}

static Vistter__Control__V1__PlanState stage_state(const struct stage *s)
{
    if (s->ready_ns > s->world->now_ns)
        return VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING;
    return s->refused ? VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED
                      : VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED;
}

// ---- What it is told, or remembers ------------------------------------------------------------

// As worker/worker.c has it. -ESTALE: nothing new.
static int apply(struct world *w, int peer, const uint8_t *bytes, size_t size)
{
    struct duties *d = w->workers[peer - SIM_WORKER];
    struct stage_config common = {.node = w->processes[peer].name, .links = &w->links[peer]};
    struct stage *ended[DUTIES_STAGES_MAX];
    desired_state *state = vistter__control__v1__desired_state__unpack(NULL, size, bytes);
    bool news = duties_news(d, state);
    int count = news ? duties_follow(d, state, &common, ended) : 0;
    for (int i = 0; i < count; i++)
        stage_destroy(&ended[i]);
    vistter__control__v1__desired_state__free_unpacked(state, NULL);
    return news ? 0 : -ESTALE;
}

struct taking {
    struct world *world;
    int peer;
};

static int resume(void *opaque, const uint8_t *bytes, size_t size)
{
    const struct taking *t = opaque;
    return apply(t->world, t->peer, bytes, size);
}

static void state_take(struct world *w, const struct event *e)
{
    struct duties *d = w->workers[e->to - SIM_WORKER];
    bool deaf = w->setup->bug == SIM_BUG_DEAF && w->processes[e->to].thawed_ns;
    if (w->setup->bug == SIM_BUG_LOWER && e->leader < d->epoch)
        d->epoch = 0;
    if (deaf || apply(w, e->to, e->bytes, e->size))
        return;
    state_file_write(&w->files[e->to], e->bytes, e->size);
    check_state(w, e->to, e->leader, e->bytes, e->size);
}

// ---- Life -------------------------------------------------------------------------------------

void worker_start(struct world *w, int peer)
{
    struct taking taking = {w, peer};
    w->workers[peer - SIM_WORKER] = base_alloc(sizeof(struct duties));
    if (w->setup->bug != SIM_BUG_AMNESIA)
        (void)state_file_resume(&w->files[peer], resume, &taking);
    w->accepted[peer] = w->workers[peer - SIM_WORKER]->epoch;
    world_after(w, world_between(w, 0, REPORT_NS), EVENT_REPORT, peer, 0, 0);
}

void worker_end(struct world *w, int peer)
{
    struct duties **d = &w->workers[peer - SIM_WORKER];
    for (int i = 0; i < (*d)->stage_count; i++)
        stage_destroy(&(*d)->stages[i]);
    free(*d);
    *d = NULL;
    disk_lose(w, peer, false);
}

// ---- What it says -----------------------------------------------------------------------------

// A plan is as far as the slowest of its groups here; one refused group refuses it.
static void plan_add(node_report *report, plan_report *plans, const struct stage *s)
{
    Vistter__Control__V1__PlanState state = stage_state(s);
    plan_report *p = NULL;
    for (size_t i = 0; i < report->n_plans && !p; i++)
        if (plans[i].channel == s->channel && plans[i].plan_epoch == s->epoch)
            p = &plans[i];
    if (!p) {
        p = report->plans[report->n_plans] = &plans[report->n_plans];
        report->n_plans++;
        vistter__control__v1__plan_report__init(p);
        p->channel = s->channel;
        p->plan_epoch = s->epoch;
        p->state = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED;
    }
    if (state == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED ||
        (state == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING &&
         p->state == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED))
        p->state = state;
    p->reason = "no room";
}

struct group_list {
    size_t count;
    group_state groups[DUTIES_STAGES_MAX], *list[DUTIES_STAGES_MAX];
};

// The groups of each plan.
static void groups_add(struct world *w, int peer, node_report *report, struct group_list *g)
{
    const struct duties *d = w->workers[peer - SIM_WORKER];
    for (size_t p = 0; p < report->n_plans; p++) {
        plan_report *plan = report->plans[p];
        plan->groups = &g->list[g->count];
        for (int i = 0; i < d->stage_count; i++) {
            const struct stage *s = d->stages[i];
            if (s->channel != plan->channel || s->epoch != plan->plan_epoch)
                continue;
            group_state *group = plan->groups[plan->n_groups++] = &g->groups[g->count++];
            vistter__control__v1__group_state__init(group);
            group->group = s->group;
            group->state = stage_state(s);
            if (group->state == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED)
                check_prepared(w, peer, s->channel, s->epoch, s->group);
        }
    }
}

static void report(struct world *w, int peer)
{
    const struct duties *d = w->workers[peer - SIM_WORKER];
    struct process *p = &w->processes[peer];
    node_report r = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    plan_report plans[DUTIES_STAGES_MAX], *plan_list[DUTIES_STAGES_MAX];
    uint8_t golden[32] = {1};
    r.node = p->name;
    r.instance = p->instance;
    r.sequence = ++p->sequence;
    r.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    r.frame_address = p->address;
    r.cores = 4;
    r.golden = (ProtobufCBinaryData){sizeof golden, golden};
    r.knows_optional = true;
    r.overload = p->sluggish_ns > w->now_ns ? OVERLOAD_OVERLAYS : OVERLOAD_NONE;
    r.state_epoch = d->epoch;
    r.state_version = d->version;
    r.plans = plan_list;
    for (int i = 0; i < d->stage_count; i++)
        plan_add(&r, plans, d->stages[i]);
    struct group_list groups = {0};
    groups_add(w, peer, &r, &groups);
    size_t size = vistter__control__v1__node_report__get_packed_size(&r);
    for (int c = 0; c < w->setup->coordinators; c++) {
        uint8_t *bytes = base_alloc(size);
        vistter__control__v1__node_report__pack(&r, bytes);
        world_send(w, peer, c, 0, bytes, size);
    }
}

// ---- Events -----------------------------------------------------------------------------------

void worker_event(struct world *w, const struct event *e)
{
    if (e->kind == EVENT_MESSAGE) {
        state_take(w, e);
        return;
    }
    if (e->kind == EVENT_SYNC) {
        disk_sync(w, e->to);
        return;
    }
    report(w, e->to);
    world_after(w, REPORT_NS, EVENT_REPORT, e->to, 0, 0);
}

// ---- Its links --------------------------------------------------------------------------------

bool worker_serves(struct world *w, int peer, const char *consumer, const char *link_id,
                   const uint8_t *key)
{
    uint8_t own[LINK_KEY_BYTES];
    const struct duties *d = w->workers[peer - SIM_WORKER];
    return d && duties_link_key(d, consumer, link_id, own) && !memcmp(own, key, sizeof own);
}

bool worker_gives(struct world *w, int peer, uint64_t channel, uint32_t epoch, uint32_t group)
{
    const struct duties *d = w->workers[peer - SIM_WORKER];
    for (int i = 0; d && i < d->stage_count; i++)
        if (stage_is(d->stages[i], channel, epoch, group))
            return d->stages[i]->ready_ns <= w->now_ns && !d->stages[i]->refused &&
                   d->stages[i]->committed;
    return false;
}
