// What must hold. README.md has the list.
#include "tests/sim/world.h"

#include "coordinator/control/farm.h"
#include "engine/frame/checksum.h"
#include "proto/control.pb-c.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// For a healthy, connected edge to do what is committed: a new leader says nothing before it has
// heard the nodes.
#define FOLLOW_NS (FARM_SETTLE_NS + 5 * SIM_S)
#define LATE_NS   (2 * SIM_S * LEAD_FRAMES / RATE_NUM) // more, where it was committed too late
#define LEAVE_NS  (12 * SIM_S)                         // and to end what it is not to do any more
#define HEAL_NS   (60 * SIM_S)
#define POLL_NS   (500 * SIM_MS)

typedef Vistter__Control__V1__ChannelPlan channel_plan;
typedef Vistter__Control__V1__GroupPlan group_plan;

void check_broken(struct world *w, const char *what, const char *format, ...)
{
    va_list list;
    if (*w->result->broken)
        return;
    snprintf(w->result->broken, sizeof w->result->broken, "%s", what);
    va_start(list, format);
    vsnprintf(w->result->text, sizeof w->result->text, format, list);
    va_end(list);
    world_say(w, "!! %s %s", what, w->result->text);
}

// ---- Plans ------------------------------------------------------------------------------------

static uint64_t add_number(uint64_t sum, uint64_t value)
{
    return checksum_add(sum, &value, sizeof value);
}

static uint64_t add_text(uint64_t sum, const char *text)
{
    return checksum_add(sum, text, strlen(text));
}

// Of what every node sees of a plan.
static uint64_t plan_core(const channel_plan *p)
{
    uint64_t sum = checksum_add(checksum_begin(), p->revision.data, p->revision.len);
    sum = add_number(sum, (uint64_t)p->start_frame);
    for (size_t i = 0; i < p->n_groups; i++) {
        const group_plan *g = p->groups[i];
        sum = add_number(sum, (uint64_t)g->track_from << 32 | g->track_to);
        sum = add_number(sum, (uint64_t)g->width << 32 | g->height);
        sum = add_text(sum, g->provider);
        for (size_t k = 0; k < g->n_standbys; k++)
            sum = add_text(sum, g->standbys[k]->node);
    }
    return sum;
}

static void check_core(struct world *w, const channel_plan *p)
{
    uint64_t core = plan_core(p);
    for (int i = w->seen_count - 1; i >= 0; i--) {
        const struct seen *s = &w->seen[i];
        if (s->channel != p->channel || s->epoch != p->plan_epoch)
            continue;
        if (s->core != core)
            check_broken(w, "I6", "channel %" PRIu64 " has two plans under epoch %u",
                         p->channel - 1, p->plan_epoch);
        return;
    }
    if (w->seen_count == SEEN_MAX) // the oldest are long past
        memmove(&w->seen[0], &w->seen[SEEN_MAX / 2],
                (size_t)(w->seen_count = SEEN_MAX / 2) * sizeof w->seen[0]);
    w->seen[w->seen_count++] = (struct seen){p->channel, core, p->plan_epoch};
}

void check_prepared(struct world *w, int peer, uint64_t channel, uint32_t epoch, uint32_t group)
{
    int *count = &w->prepared_count[peer][channel - 1];
    struct prepared *ring = w->prepared[peer][channel - 1];
    for (int i = 0; i < PREPARED_MAX; i++)
        if (ring[i].epoch == epoch && ring[i].group == group)
            return;
    ring[(*count)++ % PREPARED_MAX] = (struct prepared){epoch, group};
}

static bool has_prepared(const struct world *w, const char *name, const channel_plan *p,
                         uint32_t group)
{
    for (int i = SIM_WORKER; i < SIM_DATABASE; i++)
        for (int k = 0; k < PREPARED_MAX && !strcmp(w->processes[i].name, name); k++)
            if (w->prepared[i][p->channel - 1][k].epoch == p->plan_epoch &&
                w->prepared[i][p->channel - 1][k].group == group)
                return true;
    return false;
}

// Edges, providers, and a standby of each group that has any.
static void check_all_prepared(struct world *w, const channel_plan *p)
{
    const char *missing = NULL;
    for (size_t i = 0; i < p->n_groups; i++) {
        const group_plan *g = p->groups[i];
        bool any = !g->n_standbys;
        for (size_t k = 0; k < g->n_standbys; k++)
            any = any || has_prepared(w, g->standbys[k]->node, p, g->group);
        if (!any)
            missing = g->standbys[0]->node;
        if (!has_prepared(w, g->provider, p, g->group))
            missing = g->provider;
    }
    for (size_t i = 0; i < p->n_outputs; i++) {
        const char *backup = p->outputs[i]->backup_edge;
        if (!has_prepared(w, p->outputs[i]->edge, p, 0))
            missing = p->outputs[i]->edge;
        if (*backup && !has_prepared(w, backup, p, 0))
            missing = backup;
    }
    if (missing)
        check_broken(w, "I7",
                     "channel %" PRIu64 ": plan %u is committed, and %s has not prepared it",
                     p->channel - 1, p->plan_epoch, missing);
}

static struct commit *commit_find(struct world *w, int channel, uint32_t epoch)
{
    for (int i = w->commit_count[channel] - 1; i >= 0; i--)
        if (w->commits[channel][i].epoch == epoch)
            return &w->commits[channel][i];
    return NULL;
}

// The newest that the database has.
static const struct commit *commit_newest(const struct world *w, int channel)
{
    for (int i = w->commit_count[channel] - 1; i >= 0; i--)
        if (!w->commits[channel][i].lost)
            return &w->commits[channel][i];
    return NULL;
}

void check_lost(struct world *w, int channel, int64_t last_at_frame)
{
    for (int i = 0; i < w->commit_count[channel]; i++)
        w->commits[channel][i].lost |= w->commits[channel][i].at_frame > last_at_frame;
}

// False: that was it, since it is not new.
static bool check_again(struct world *w, const struct request *r)
{
    struct commit *c = commit_find(w, r->channel, r->plan_epoch);
    if (!c || !r->restored)
        return true;
    if (c->at_frame != r->at_frame)
        check_broken(w, "I3", "channel %d: plan %u is written again at %" PRId64 ", not %" PRId64,
                     r->channel, r->plan_epoch, r->at_frame, c->at_frame);
    c->lost = false;
    world_say(w, "channel %d: plan %u is written again", r->channel, r->plan_epoch);
    return false;
}

void check_commit(struct world *w, const struct request *r, uint32_t epoch)
{
    int channel = r->channel, count = w->commit_count[channel];
    int64_t at_frame = r->at_frame;
    uint64_t leader = r->epoch;
    const struct commit *before = commit_newest(w, channel);
    struct commit c = {.epoch = epoch, .at_frame = at_frame, .leader = leader};
    if (!check_again(w, r))
        return;
    channel_plan *p =
        vistter__control__v1__channel_plan__unpack(NULL, r->plan->size, r->plan->bytes);
    if (leader < w->database.now.lease_epoch)
        check_broken(w, "I4",
                     "channel %d: plan %u is written for leader %" PRIu64 " under %" PRIu64,
                     channel, epoch, leader, w->database.now.lease_epoch);
    if (before && (epoch <= before->epoch || at_frame <= before->at_frame))
        check_broken(w, "I3",
                     "channel %d: plan %u at %" PRId64 " is committed after %u at %" PRId64,
                     channel, epoch, at_frame, before->epoch, before->at_frame);
    check_core(w, p);
    if (w->setup->bug != SIM_BUG_REUSED)
        check_all_prepared(w, p);
    memcpy(&c.revision, p->revision.data, sizeof c.revision);
    for (size_t i = 0; i < p->n_outputs; i++)
        for (int k = 0; k < SIM_EDGES_MAX; k++)
            c.edges[k] |= !strcmp(p->outputs[i]->edge, w->processes[SIM_EDGE + k].name) ||
                          !strcmp(p->outputs[i]->backup_edge, w->processes[SIM_EDGE + k].name);
    vistter__control__v1__channel_plan__free_unpacked(p, NULL);
    if (count == COMMITS_MAX)
        memmove(&w->commits[channel][0], &w->commits[channel][1],
                (size_t)(count = COMMITS_MAX - 1) * sizeof c);
    w->commits[channel][count] = c;
    w->commit_count[channel] = count + 1;
    w->result->commits++;
    world_note(w, (uint64_t)epoch << 32 ^ (uint64_t)at_frame);
    world_say(w, "channel %d: plan %u is committed, at frame %" PRId64, channel, epoch, at_frame);
}

void check_known(struct world *w, int channel, uint32_t epoch)
{
    struct commit *c = commit_find(w, channel, epoch);
    if (!c || c->known_ns)
        return;
    c->known_ns = w->now_ns;
    for (int i = 0; i < w->setup->edges; i++)
        c->late |= w->aired[i][channel].n + LEAD_FRAMES > c->at_frame;
}

// ---- What nodes are told ----------------------------------------------------------------------

static bool gives_group(const group_plan *g, const char *node)
{
    bool gives = !strcmp(g->provider, node);
    for (size_t i = 0; i < g->n_standbys; i++)
        gives = gives || !strcmp(g->standbys[i]->node, node);
    return gives;
}

// Keys of its own links, and outputs of its own.
static void check_secrets(struct world *w, int peer, const channel_plan *p)
{
    const char *node = w->processes[peer].name;
    bool foreign = false;
    for (size_t i = 0; i < p->n_groups; i++)
        for (size_t k = 0; k < p->groups[i]->n_links; k++)
            foreign = foreign || (!gives_group(p->groups[i], node) &&
                                  strcmp(p->groups[i]->links[k]->consumer, node) != 0);
    for (size_t i = 0; i < p->n_outputs; i++)
        foreign = foreign || (strcmp(p->outputs[i]->edge, node) != 0 &&
                              strcmp(p->outputs[i]->backup_edge, node) != 0);
    if (foreign)
        check_broken(w, "I8", "%s is told secrets of others in plan %u of channel %" PRIu64, node,
                     p->plan_epoch, p->channel - 1);
}

static void check_told(struct world *w, int peer, const channel_plan *p)
{
    check_core(w, p);
    check_secrets(w, peer, p);
    if (!p->committed)
        return;
    struct commit *c = commit_find(w, (int)p->channel - 1, p->plan_epoch);
    if (c && peer >= SIM_EDGE)
        c->heard = true;
    if (!c)
        check_broken(w, "I3", "%s is told that plan %u of channel %" PRIu64 " is committed",
                     w->processes[peer].name, p->plan_epoch, p->channel - 1);
    else if (c->at_frame != p->at_frame)
        check_broken(w, "I3",
                     "%s is told %" PRId64 " for plan %u of channel %" PRIu64
                     ", which is committed at %" PRId64,
                     w->processes[peer].name, p->at_frame, p->plan_epoch, p->channel - 1,
                     c->at_frame);
}

void check_state(struct world *w, int peer, uint64_t leader, const uint8_t *bytes, size_t size)
{
    if (leader < w->accepted[peer])
        check_broken(w, "I4", "%s takes a state of leader %" PRIu64 " after one of %" PRIu64,
                     w->processes[peer].name, leader, w->accepted[peer]);
    w->accepted[peer] = leader;
    Vistter__Control__V1__DesiredState *s =
        vistter__control__v1__desired_state__unpack(NULL, size, bytes);
    for (size_t i = 0; i < s->n_channels; i++)
        check_told(w, peer, s->channels[i]);
    vistter__control__v1__desired_state__free_unpacked(s, NULL);
}

// ---- Who publishes ----------------------------------------------------------------------------

// How many edges do, by their own clocks; one that is frozen does when it wakes up.
static int holders(const struct world *w, uint64_t channel, uint32_t output, int which)
{
    int count = 0;
    for (int i = 0; i < w->setup->edges; i++)
        count += edge_publishes(w, SIM_EDGE + i, channel, output, which);
    return count;
}

void check_leases(struct world *w)
{
    for (int c = 0; c < w->setup->channels; c++)
        for (uint32_t output = 1; output <= 2; output++)
            for (int which = 0; which < 2; which++)
                if (holders(w, (uint64_t)c + 1, output, which) > 1)
                    check_broken(w, "I9",
                                 "channel %d: two edges may publish output %u to its %s addresses",
                                 c, output, which ? "second" : "first");
}

// ---- What is sent -----------------------------------------------------------------------------

// One whose lease has run out says nothing.
static int leader_of(const struct world *w)
{
    int best = -1;
    for (int c = 0; c < w->setup->coordinators; c++) {
        const struct coordinator *k = &w->coordinators[c];
        if (k->farm && world_runs(w, c) && w->now_ns - k->tick_ns < SIM_S &&
            lease_epoch(&k->lease, world_monotonic_ns(w, c)) &&
            (best < 0 || k->epoch > w->coordinators[best].epoch))
            best = c;
    }
    return best;
}

void check_reach(struct world *w)
{
    int leader = leader_of(w);
    for (int i = 0; i < w->setup->edges; i++) {
        int peer = SIM_EDGE + i;
        bool reached = leader >= 0 && world_runs(w, peer) && world_hears(w, leader, peer) &&
                       world_hears(w, peer, leader);
        if (!reached || w->reached_by[i] != leader)
            w->reached_ns[i] = w->now_ns;
        w->reached_by[i] = reached ? leader : -1;
    }
}

// The newest that is to be on air at this frame. What no edge had heard of when its leader ended is
// made anew by the next.
static const struct commit *commit_at(const struct world *w, int channel, int64_t n)
{
    const struct commit *best = NULL;
    for (int i = 0; i < w->commit_count[channel]; i++) {
        const struct commit *c = &w->commits[channel][i];
        bool binds = !c->lost && (c->heard || c->leader == w->database.now.lease_epoch);
        if (c->at_frame <= n && binds)
            best = c;
    }
    return best;
}

static void check_follows(struct world *w, const struct emission *e)
{
    const struct commit *c = commit_at(w, e->channel, e->n);
    int64_t reached_ns = w->now_ns - w->reached_ns[e->edge];
    if (!c || !c->known_ns || w->reached_by[e->edge] < 0 ||
        !w->database.now.channels[e->channel].running)
        return;
    const struct commit *own = commit_find(w, e->channel, e->epoch);
    if (own && own->lost)
        return; // until the leader has it back, or another: L
    int64_t within = FOLLOW_NS + (c->late ? LATE_NS : 0);
    if (c->edges[e->edge] && c->epoch != e->epoch && reached_ns > within &&
        w->now_ns - c->known_ns > within)
        check_broken(w, "I5", "edge%d sends frame %" PRId64 " of channel %d by plan %u, not %u",
                     e->edge, e->n, e->channel, e->epoch, c->epoch);
    if (!c->edges[e->edge] && reached_ns > LEAVE_NS && w->now_ns - c->known_ns > LEAVE_NS &&
        e->n - c->at_frame > LEAVE_NS / SIM_S * RATE_NUM)
        check_broken(w, "I5", "edge%d still sends channel %d, which plan %u has elsewhere", e->edge,
                     e->channel, c->epoch);
}

// What its nodes have heard of long before; a commit of that moment may be on one disk only.
static bool settled(const struct world *w, int channel)
{
    for (int i = 0; i < w->commit_count[channel]; i++) {
        const struct commit *c = &w->commits[channel][i];
        if (!c->known_ns || w->now_ns - c->known_ns < 5 * SIM_S)
            return false;
    }
    return true;
}

void check_darkens(struct world *w)
{
    for (int i = 0; i < w->setup->edges; i++)
        for (int k = 0; k < w->setup->channels; k++) {
            const struct aired *a = &w->aired[i][k];
            bool on_air = a->n && w->now_ns - a->at_ns < POLL_NS;
            w->dark[i][k] = on_air && settled(w, k) ? a->epoch : 0;
        }
}

void check_dark(struct world *w)
{
    int checked = 0;
    for (int i = 0; i < w->setup->edges; i++)
        for (int k = 0; k < w->setup->channels; k++) {
            const struct aired *a = &w->aired[i][k];
            bool well = w->now_ns - a->at_ns < POLL_NS && a->epoch == w->dark[i][k] &&
                        (!a->concealed_ns || w->now_ns - a->concealed_ns > SIM_S);
            checked += w->dark[i][k] != 0;
            if (w->dark[i][k] && !well)
                check_broken(w, "D",
                             "channel %d is not on air at edge%d by plan %u with all groups", k, i,
                             w->dark[i][k]);
        }
    world_say(w, "-- %d are on air again as they were", checked);
    w->result->lit += checked;
}

void check_emission(struct world *w, const struct emission *e)
{
    struct aired *a = &w->aired[e->edge][e->channel];
    w->result->frames++;
    w->result->concealed += e->concealed;
    world_note(w, (uint64_t)e->n << 20 ^ (uint64_t)e->epoch << 4 ^ (uint64_t)e->edge << 2 ^
                      (uint64_t)e->channel);
    if (a->n && e->n <= a->n)
        check_broken(w, "I1", "edge%d sends frame %" PRId64 " of channel %d after %" PRId64,
                     e->edge, e->n, e->channel, a->n);
    // What the database has lost, and an edge has forgotten, nobody knows of any more.
    const struct commit *before = commit_find(w, e->channel, a->epoch);
    bool forgotten = before && before->lost && !e->follows;
    if (a->n && e->epoch < a->epoch && !forgotten)
        check_broken(w, "I1", "edge%d sends frame %" PRId64 " of channel %d by plan %u after %u",
                     e->edge, e->n, e->channel, e->epoch, a->epoch);
    if (e->follows && e->n != a->n + 1)
        check_broken(w, "I6", "edge%d sends frame %" PRId64 " of channel %d after %" PRId64,
                     e->edge, e->n, e->channel, a->n);
    if (e->n < e->at_frame)
        check_broken(w, "I1", "edge%d sends frame %" PRId64 " of channel %d by plan %u of %" PRId64,
                     e->edge, e->n, e->channel, e->epoch, e->at_frame);
    for (int i = 0; i < e->group_count; i++)
        if (e->groups[i] != e->epoch)
            check_broken(w, "I2", "edge%d mixes frame %" PRId64 " of channel %d of plans %u and %u",
                         e->edge, e->n, e->channel, e->epoch, e->groups[i]);
    check_follows(w, e);
    if (e->concealed && w->setup->profile == SIM_APART)
        check_broken(w, "LF",
                     "edge%d has not all groups of frame %" PRId64 " of channel %d, plan %u",
                     e->edge, e->n, e->channel, e->epoch);
    if (a->epoch != e->epoch)
        world_say(w, "edge%d: channel %d by plan %u from frame %" PRId64, e->edge, e->channel,
                  e->epoch, e->n);
    if (e->concealed)
        a->concealed_ns = w->now_ns;
    a->n = e->n;
    a->epoch = e->epoch;
    a->at_ns = w->now_ns;
}

// ---- Whether all comes well -------------------------------------------------------------------

// Says what is not well.
static const char *channel_ill(struct world *w, int channel)
{
    const struct channel_row *row = &w->database.now.channels[channel];
    const struct commit *c =
        commit_find(w, channel, row->plan_count ? row->plans[row->plan_count - 1].epoch : 0);
    if (row->running && (!c || c->revision != row->revision))
        return "the wanted revision is not committed";
    for (int i = 0; i < w->setup->edges; i++) {
        const struct aired *a = &w->aired[i][channel];
        bool sends = a->n && w->now_ns - a->at_ns < POLL_NS;
        bool wanted = row->running && c->edges[i];
        if (sends != wanted)
            return sends ? "an edge sends that is not to" : "an edge does not send";
        if (wanted && a->epoch != c->epoch)
            return "an edge sends by another plan";
        if (wanted && a->concealed_ns && w->now_ns - a->concealed_ns < SIM_S)
            return "frames are missing";
    }
    if (row->running && (holders(w, (uint64_t)channel + 1, 1, 0) != 1 ||
                         holders(w, (uint64_t)channel + 1, 1, 1) != 1))
        return "no edge may publish";
    if (row->running && !coordinator_well(w, channel))
        return "the leader does not say that it is on air";
    return NULL;
}

void check_poll(struct world *w)
{
    const char *ill = NULL;
    if (!w->peace) {
        w->peace = true;
        w->peace_ns = w->now_ns;
        world_say(w, "-- peace");
    }
    int channel = 0;
    for (; channel < w->setup->channels && !ill; channel++)
        ill = channel_ill(w, channel);
    w->well = ill ? 0 : w->well + 1;
    if (!ill && w->well == 1)
        w->result->heal_ns = w->now_ns - w->peace_ns;
    if (ill && w->now_ns - w->peace_ns > HEAL_NS)
        check_broken(w, "L", "channel %d, a minute after the last fault: %s", channel - 1, ill);
    world_add(w, &(struct event){.at_ns = w->now_ns + POLL_NS, .kind = EVENT_POLL});
}
