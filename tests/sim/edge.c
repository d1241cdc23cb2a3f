// An edge: which state it follows (edge/state.c), which plan does what (edge/roster.c,
// edge/plan.c), when frames are due (edge/mix/playout.c) and whom it takes a group from
// (receive/takeover.c) are the program's. Channels' threads, links, intakes and reports stand in.
#include "edge/mix/playout.h"
#include "edge/roster.h"
#include "edge/state.h"
#include "engine/base/thread.h"
#include "engine/receive/intake.h"
#include "proto/control.pb-c.h"
#include "tests/sim/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_NS       (100 * SIM_MS)
#define LOOK_NS         (50 * SIM_MS)
#define QUIET_NS        (500 * SIM_MS) // without a sign of life a link is not alive
#define HUSH_NS         (250 * SIM_MS) // nor heard
#define OPEN_NS         (80 * SIM_MS)  // from the first question to the first frame
#define RATE_TIMES      3              // faster than a frame lasts
#define START_MARGIN_NS (1 * SIM_S)

typedef Vistter__Control__V1__NodeReport node_report;
typedef Vistter__Control__V1__PlanReport plan_report;
typedef Vistter__Control__V1__ChannelReport channel_report;

struct flow { // of one group
    struct takeover takeover;
    int64_t next; // all below has arrived
    int64_t part; // of a frame, in 1/1000
    uint64_t arrived;
    int64_t heard_ns[TAKEOVER_PROVIDERS_MAX], asked_ns[TAKEOVER_PROVIDERS_MAX];
};

// Stands for engine/receive/intake.c: frames arrive as fast as a worker gives them.
struct intake {
    int64_t cursor, end;
    int group_count;
    struct flow groups[MIXER_GROUPS_MAX];
};

// Stands for edge/channel.c around the roster.
struct channel {
    struct world *world;
    int peer;
    uint64_t id, serial;
    struct slot *slots[CHANNEL_PLANS_MAX];
    int slot_count;
    struct slot *mixing; // what frame `playout.next` will be mixed from
    bool started, waits, torn;
    struct playout playout;
    uint32_t on_air;
    int64_t sent_ns;
    uint64_t frames;
};

// ---- Intakes and slots ------------------------------------------------------------------------

void intake_set_end(struct intake *intake, int64_t end)
{
    intake->end = end;
}

bool intake_complete(struct intake *intake, int64_t end)
{
    for (int i = 0; i < intake->group_count; i++)
        if (intake->groups[i].next < end)
            return false;
    return true;
}

static bool intake_has(const struct intake *intake, int64_t n)
{
    for (int i = 0; i < intake->group_count; i++)
        if (intake->groups[i].next <= n)
            return false;
    return true;
}

static int peer_at(const struct world *w, const char *address)
{
    for (int i = SIM_WORKER; i < SIM_EDGE; i++)
        if (!strcmp(w->processes[i].address, address))
            return i;
    return -1;
}

// Connected, or could be at once: the worker is there and knows the link's key.
static bool reaches(const struct channel *c, const struct link_target *t)
{
    struct world *w = c->world;
    int worker = peer_at(w, t->address);
    return worker >= 0 && world_runs(w, worker) && world_hears(w, c->peer, worker) &&
           world_hears(w, worker, c->peer) &&
           worker_serves(w, worker, w->processes[c->peer].name, t->link_id, t->key);
}

static bool waits_for(const struct channel *c, const struct slot *s, char *ret, size_t size)
{
    for (int i = 0; i < s->plan->group_count; i++) {
        const struct plan_group *g = &s->plan->groups[i];
        bool reached[TAKEOVER_PROVIDERS_MAX];
        for (int k = 0; k < g->provider_count; k++)
            reached[k] = reaches(c, &g->providers[k]);
        int awaited = links_await(reached, g->provider_count);
        if (awaited >= 0) {
            snprintf(ret, size, "%s", g->providers[awaited].address);
            return true;
        }
    }
    return false;
}

static bool shows_life(const struct channel *c, struct flow *f, const struct plan_group *g, int k)
{
    struct world *w = c->world;
    int worker = peer_at(w, g->providers[k].address);
    if (reaches(c, &g->providers[k]))
        f->heard_ns[k] = w->now_ns;
    else if (worker < 0 || (!w->processes[worker].alive && world_hears(w, worker, c->peer)))
        f->heard_ns[k] = 0; // its connection is closed
    return f->heard_ns[k] && w->now_ns - f->heard_ns[k] < QUIET_NS;
}

// What has come since the look before.
static void flow_step(struct channel *c, const struct slot *s, int index)
{
    struct world *w = c->world;
    struct flow *f = &s->intake->groups[index];
    const struct plan_group *g = &s->armed->groups[index];
    int64_t most = s->intake->cursor + s->armed->lead_frames;
    most = most < s->intake->end ? most : s->intake->end;
    if (f->next < s->intake->cursor)
        f->next = s->intake->cursor;
    bool waits = f->next < most;
    int k = f->takeover.active, worker = peer_at(w, g->providers[k].address);
    bool gives = waits && reaches(c, &g->providers[k]) &&
                 worker_gives(w, worker, c->id, s->armed->epoch, g->group);
    if (!gives)
        f->asked_ns[k] = 0;
    else if (!f->asked_ns[k])
        f->asked_ns[k] = w->now_ns;
    if (gives && w->now_ns - f->asked_ns[k] >= OPEN_NS) {
        f->part += LOOK_NS / SIM_MS * RATE_NUM * RATE_TIMES;
        int64_t frames = f->part / 1000 < most - f->next ? f->part / 1000 : most - f->next;
        f->part %= 1000;
        f->next += frames;
        f->arrived += (uint64_t)frames;
    }
    struct takeover_view view = {
        .arrived = f->arrived, .slack = f->next - s->intake->cursor, .waits = waits};
    for (int i = 0; i < g->provider_count; i++) {
        view.alive[i] = shows_life(c, f, g, i);
        view.hushed[i] = view.alive[i] && w->now_ns - f->heard_ns[i] >= HUSH_NS;
    }
    (void)takeover_look(&f->takeover, &view, world_monotonic_ns(w, c->peer));
}

static void slot_end(struct slot *s)
{
    plan_unref(&s->plan);
    plan_unref(&s->armed);
    free(s->intake);
    free(s);
}

// ---- A channel's plans, as edge/channel.c has them --------------------------------------------

static void retire(void *opaque)
{
    struct channel *c = opaque;
    struct slot *on_air = roster_in_force(c->slots, c->slot_count, c->playout.next);
    for (int i = c->slot_count - 1; i >= 0; i--) {
        struct slot *s = c->slots[i];
        if (!roster_retires(s, on_air))
            continue;
        c->slots[i] = c->slots[--c->slot_count];
        c->mixing = c->mixing == s ? NULL : c->mixing;
        slot_end(s);
        roster_share_credit(c->slots, c->slot_count, c->playout.next);
    }
}

static int add(void *opaque, const struct plan *plan, struct diagnostic *reterr)
{
    struct channel *c = opaque;
    if (c->slot_count == CHANNEL_PLANS_MAX)
        return diagnostic_set(reterr, -ENOSPC, "plan_resources", "", "no room");
    struct slot *s = base_alloc(sizeof *s);
    s->plan = plan_ref(plan);
    c->slots[c->slot_count++] = s;
    return 0;
}

static void replace(void *opaque, struct slot *slot, const struct plan *plan)
{
    (void)opaque;
    struct plan *old = slot->plan;
    slot->plan = plan_ref(plan);
    plan_unref(&old);
}

static void frame_wait(struct channel *c, int64_t at_ns)
{
    world_add(c->world, &(struct event){.at_ns = at_ns,
                                        .kind = EVENT_FRAME,
                                        .to = c->peer,
                                        .life = c->world->processes[c->peer].life,
                                        .a = c->id,
                                        .b = ++c->serial});
}

static int arm(void *opaque, struct slot *s, struct diagnostic *reterr)
{
    struct channel *c = opaque;
    struct world *w = c->world;
    (void)reterr;
    if (!s->plan->committed || s->intake)
        return 0;
    const struct plan *p = s->plan;
    if (!c->started)
        playout_start(&c->playout, p->rate, p->epoch_ns, p->playout_delay_ns, p->at_frame,
                      START_MARGIN_NS, world_monotonic_ns(w, c->peer),
                      world_realtime_ns(w, c->peer));
    s->from = roster_from(p, c->playout.next, c->on_air);
    s->armed = plan_ref(p);
    s->intake = base_alloc(sizeof *s->intake);
    s->intake->cursor = s->from > c->playout.next ? s->from : c->playout.next;
    s->intake->end = s->from;
    s->intake->group_count = p->group_count;
    for (int i = 0; i < p->group_count; i++) {
        s->intake->groups[i].next = s->intake->cursor;
        takeover_init(&s->intake->groups[i].takeover, p->groups[i].provider_count,
                      rate_frame_time_ns(p->rate, 1), 120 * SIM_MS, p->lead_frames);
    }
    roster_share_credit(c->slots, c->slot_count, c->playout.next);
    if (!c->started || c->waits)
        frame_wait(c, w->now_ns);
    c->started = c->waits = true;
    return 0;
}

int channel_create(const struct channel_config *config, struct channel **ret)
{
    struct channel *c = base_alloc(sizeof *c);
    c->world = config->links->world;
    c->peer = config->links->peer;
    c->id = config->channel;
    c->serial = ++c->world->serial << 32;
    *ret = c;
    return 0;
}

void channel_destroy(struct channel **channel)
{
    struct channel *c = *channel;
    *channel = NULL;
    for (int i = 0; i < c->slot_count; i++)
        slot_end(c->slots[i]);
    free(c);
}

int channel_set_plans(struct channel *c, const struct plan *const *plans, int count,
                      struct diagnostic *reterr)
{
    const struct roster_steps steps = {
        .opaque = c, .retire = retire, .add = add, .replace = replace, .arm = arm};
    int r = roster_apply(c->slots, &c->slot_count, plans, count, &steps, reterr);
    retire(c);
    return r;
}

void channel_live(struct channel *c, const struct take_log *log)
{
    (void)c; // the simulated farm takes nothing
    (void)log;
}

// ---- Frames -----------------------------------------------------------------------------------

static void frame_emit(struct channel *c, struct slot *s, int64_t n, bool follows)
{
    struct world *w = c->world;
    const struct plan *p = s->armed;
    struct emission e = {.edge = c->peer - SIM_EDGE,
                         .channel = (int)c->id - 1,
                         .n = n,
                         .epoch = p->epoch,
                         .at_frame = p->at_frame,
                         .follows = follows,
                         .concealed = !intake_has(s->intake, n),
                         .group_count = p->group_count};
    memcpy(&e.revision, p->revision, sizeof e.revision);
    for (int i = 0; i < p->group_count; i++)
        e.groups[i] = p->epoch;
    if (w->setup->bug == SIM_BUG_TORN && c->on_air && c->on_air != p->epoch)
        e.groups[0] = c->on_air;
    c->on_air = p->epoch;
    c->frames++;
    check_emission(w, &e);
}

// Chooses what the next frame is mixed from, and waits until it is due.
static void frame_next(struct channel *c)
{
    struct world *w = c->world;
    c->mixing = roster_in_force(c->slots, c->slot_count, c->playout.next);
    c->waits = !c->mixing;
    frame_wait(c, c->waits
                      ? w->now_ns + 100 * SIM_MS
                      : world_when_ns(w, c->peer, playout_due_ns(&c->playout, c->playout.next)));
}

static void frame_due(struct channel *c)
{
    struct world *w = c->world;
    int64_t until, n = c->playout.next;
    struct slot *s = c->mixing;
    if (!s) { // waited, or the plan has gone
        frame_next(c);
        return;
    }
    enum playout_action action =
        playout_step(&c->playout, world_monotonic_ns(w, c->peer), intake_has(s->intake, n), &until);
    if (c->playout.next != n) { // frames were left out: another plan may be in force now
        frame_next(c);
        return;
    }
    if (action == PLAYOUT_WAIT || until > world_monotonic_ns(w, c->peer)) {
        frame_wait(c, world_when_ns(w, c->peer, until));
        return;
    }
    frame_emit(c, s, n, c->sent_ns > w->processes[c->peer].thawed_ns);
    c->sent_ns = w->now_ns;
    if (w->setup->bug != SIM_BUG_REPEAT || world_between(w, 0, 999))
        playout_sent(&c->playout);
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->intake && c->slots[i]->intake->cursor < c->playout.next)
            c->slots[i]->intake->cursor = c->playout.next;
    roster_share_credit(c->slots, c->slot_count, c->playout.next);
    (void)playout_slew(&c->playout, world_monotonic_ns(w, c->peer), world_realtime_ns(w, c->peer));
    frame_next(c);
}

void media_cache_set_origin(struct media_cache *cache, const char *url)
{
    (void)cache;
    (void)url;
}

// ---- Life -------------------------------------------------------------------------------------

// That the plan is committed.
static bool remembers(const struct state *s, uint64_t id, uint32_t epoch)
{
    for (int i = 0; i < s->channel_count; i++) {
        const struct channel *c = s->channels[i].channel;
        for (int k = 0; s->channels[i].id == id && k < c->slot_count; k++)
            if (c->slots[k]->plan->epoch == epoch && c->slots[k]->plan->committed)
                return true;
    }
    return false;
}

void edge_start(struct world *w, int peer)
{
    struct channel_config config = {.links = &w->links[peer]};
    struct state *s = state_create(w->processes[peer].name, &w->files[peer], &config);
    w->edges[peer - SIM_EDGE] = s;
    publish_start(&s->publish, w->processes[peer].name, world_monotonic_ns(w, peer));
    (void)state_resume(s);
    for (int i = 0; i < w->setup->channels; i++)
        if (!remembers(s, (uint64_t)i + 1, w->aired[peer - SIM_EDGE][i].epoch))
            w->aired[peer - SIM_EDGE][i].epoch = 0;
    w->accepted[peer] = s->epoch;
    world_after(w, world_between(w, 0, REPORT_NS), EVENT_REPORT, peer, 0, 0);
    world_after(w, world_between(w, 0, LOOK_NS), EVENT_LOOK, peer, 0, 0);
}

void edge_end(struct world *w, int peer)
{
    state_destroy(&w->edges[peer - SIM_EDGE]);
    disk_lose(w, peer, false);
}

// ---- What it says, as edge/report.c -----------------------------------------------------------

#define PLANS_MAX (SIM_CHANNELS_MAX * (CHANNEL_PLANS_MAX + 1))

struct report {
    node_report message;
    int plan_count;
    plan_report plans[PLANS_MAX], *plan_list[PLANS_MAX];
    char waits[PLANS_MAX][64];
    channel_report channels[SIM_CHANNELS_MAX], *channel_list[SIM_CHANNELS_MAX];
    Vistter__Control__V1__HeldPlan held[HELD_MAX], *held_list[HELD_MAX];
    Vistter__Control__V1__Publisher publishers[PUBLISH_GRANTS_MAX],
        *publisher_list[PUBLISH_GRANTS_MAX];
};

static plan_report *plan_add(struct report *r, uint64_t channel, uint32_t epoch,
                             Vistter__Control__V1__PlanState state)
{
    plan_report *p = r->plan_list[r->message.n_plans] = &r->plans[r->message.n_plans];
    r->message.n_plans++;
    vistter__control__v1__plan_report__init(p);
    p->channel = channel;
    p->plan_epoch = epoch;
    p->state = state;
    return p;
}

static void channel_add(struct report *r, const struct channel *c)
{
    static const Vistter__Control__V1__PlanState states[] = {
        [CHANNEL_PLAN_PREPARING] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING,
        [CHANNEL_PLAN_PREPARED] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED,
        [CHANNEL_PLAN_ARMED] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ARMED,
        [CHANNEL_PLAN_ACTIVE] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE,
    };
    for (int i = 0; i < c->slot_count; i++) {
        const struct slot *s = c->slots[i];
        char *waits = r->waits[r->message.n_plans];
        plan_report *p =
            plan_add(r, c->id, s->plan->epoch, states[roster_state(s, c->playout.next, c->on_air)]);
        if (!s->intake && waits_for(c, s, waits, sizeof r->waits[0])) {
            p->state = states[CHANNEL_PLAN_PREPARING];
            p->waits_for = waits;
        } else {
            check_prepared(c->world, c->peer, c->id, s->plan->epoch, 0);
        }
    }
    channel_report *m = r->channel_list[r->message.n_channels] =
        &r->channels[r->message.n_channels];
    r->message.n_channels++;
    vistter__control__v1__channel_report__init(m);
    m->channel = c->id;
    m->cursor = c->playout.next;
    m->plan_epoch = c->on_air;
    m->frames = c->frames;
}

static void report(struct world *w, int peer)
{
    struct state *s = w->edges[peer - SIM_EDGE];
    struct process *p = &w->processes[peer];
    struct report r;
    vistter__control__v1__node_report__init(&r.message);
    r.message.node = p->name;
    r.message.instance = p->instance;
    r.message.sequence = ++p->sequence;
    r.message.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    r.message.cores = 4;
    r.message.state_epoch = s->epoch;
    r.message.state_version = s->version;
    r.message.plans = r.plan_list;
    r.message.channels = r.channel_list;
    r.message.n_held = held_report(&s->held, r.held, r.held_list);
    r.message.held = r.held_list;
    r.message.n_publishers = publish_report(&s->publish, r.publishers, r.publisher_list);
    r.message.publishers = r.publisher_list;
    publish_sent(&s->publish, p->instance, p->sequence, world_monotonic_ns(w, peer));
    for (int i = 0; i < s->channel_count; i++)
        channel_add(&r, s->channels[i].channel);
    for (int i = 0; i < s->refusal_count && i < SIM_CHANNELS_MAX; i++)
        plan_add(&r, s->refusals[i].channel, s->refusals[i].epoch,
                 VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED)
            ->reason = "as it says";
    size_t size = vistter__control__v1__node_report__get_packed_size(&r.message);
    for (int c = 0; c < w->setup->coordinators; c++) {
        uint8_t *bytes = base_alloc(size);
        vistter__control__v1__node_report__pack(&r.message, bytes);
        world_send(w, peer, c, 0, bytes, size);
    }
}

// ---- What it is told --------------------------------------------------------------------------

static void state_take(struct world *w, const struct event *e)
{
    struct state *s = w->edges[e->to - SIM_EDGE];
    bool deaf = w->setup->bug == SIM_BUG_DEAF && w->processes[e->to].thawed_ns;
    uint64_t epoch = s->epoch, version = s->version;
    int64_t lease_ns = s->publish.lease_ns;
    if (w->setup->bug == SIM_BUG_LOWER && e->leader < epoch)
        s->epoch = 0;
    if (!deaf && !state_apply(s, e->bytes, e->size, true) &&
        (s->epoch != epoch || s->version != version))
        check_state(w, e->to, e->leader, e->bytes, e->size);
    s->epoch = s->epoch ? s->epoch : epoch; // it was a renewal
    if (w->setup->bug == SIM_BUG_LONG && s->publish.lease_ns != lease_ns)
        s->publish.lease_ns = world_monotonic_ns(w, e->to);
    check_leases(w);
}

bool edge_publishes(const struct world *w, int peer, uint64_t channel, uint32_t output, int which)
{
    const struct state *s = w->processes[peer].alive ? w->edges[peer - SIM_EDGE] : NULL;
    const struct publish_grant *g = s ? publish_find(&s->publish, channel, output) : NULL;
    return g && publish_holds(&s->publish, g, which, world_monotonic_ns(w, peer));
}

static void look(struct world *w, int peer)
{
    const struct state *s = w->edges[peer - SIM_EDGE];
    for (int i = 0; i < s->channel_count; i++) {
        struct channel *c = s->channels[i].channel;
        for (int k = 0; k < c->slot_count; k++)
            for (int g = 0; c->slots[k]->intake && g < c->slots[k]->intake->group_count; g++)
                flow_step(c, c->slots[k], g);
    }
    world_after(w, LOOK_NS, EVENT_LOOK, peer, 0, 0);
}

static void frame(struct world *w, const struct event *e)
{
    const struct state *s = w->edges[e->to - SIM_EDGE];
    for (int i = 0; i < s->channel_count; i++)
        if (s->channels[i].id == e->a && s->channels[i].channel->serial == e->b)
            frame_due(s->channels[i].channel);
}

void edge_event(struct world *w, const struct event *e)
{
    const struct state *s = w->edges[e->to - SIM_EDGE];
    switch (e->kind) {
    case EVENT_MESSAGE:
        state_take(w, e);
        break;
    case EVENT_LOOK:
        look(w, e->to);
        break;
    case EVENT_FRAME:
        frame(w, e);
        break;
    case EVENT_SYNC:
        disk_sync(w, e->to);
        break;
    default:
        for (int i = 0; i < s->channel_count; i++)
            retire(s->channels[i].channel);
        report(w, e->to);
        world_after(w, REPORT_NS, EVENT_REPORT, e->to, 0, 0);
        break;
    }
}
