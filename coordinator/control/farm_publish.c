// Who publishes: names the edge that feeds each output's first addresses, and that of the second
// ones. Another is named when the holder has shown that it knows, or its lease is over for certain
// (edge/publish.h has the other side).
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"
#include "engine/link/control_link.h"

#include <stdio.h>
#include <string.h>

#define OVER_NS (CONTROL_LEASE_NS + CONTROL_LEASE_MARGIN_NS)

typedef Vistter__Control__V1__Publisher publisher_message;

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool follows_us(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    return node && node->report->state_epoch == farm->config.leader_epoch;
}

// Until then a leader before this one may have gone on: a database that failed over may have lost
// the last renewals of its lease.
static int64_t former_ns(const struct farm *farm)
{
    return farm->start_ns + FARM_LEASE_NS;
}

// When the node was last heard, by this leader or, as far as that can be, by the one before.
static int64_t heard_ns(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    int64_t since_ns = later(farm->start_ns, farm->resumed_ns);
    if (!follows_us(farm, name))
        since_ns = later(former_ns(farm), since_ns);
    return node ? later(node->report_ns, since_ns) : since_ns;
}

static bool is_alive(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    return node && node->alive;
}

static bool is_on_air(const struct farm *farm, const char *name, uint64_t channel)
{
    const struct node *node = farm_node(farm, name);
    const Vistter__Control__V1__ChannelReport *report =
        node && node->alive ? farm_channel_report(node, channel) : NULL;
    return report && report->plan_epoch;
}

// Publishers that have outlived their edge and take the other's packets.
static bool relays(const struct farm *farm, const char *edge, uint64_t channel)
{
    const struct node *node = farm_node(farm, edge);
    const Vistter__Control__V1__ChannelReport *report =
        node && node->alive ? farm_channel_report(node, channel) : NULL;
    return report && report->relayed;
}

// No lease of this edge lasts, and its publishers are not waited for.
static bool is_over(const struct farm *farm, const struct channel *channel, const char *name,
                    const char *other)
{
    int64_t silent_ns = farm->tick_ns - heard_ns(farm, name);
    bool outlived = *other && relays(farm, other, channel->id);
    return silent_ns > (outlived ? FARM_NODE_LOST_NS + FARM_RETURN_NS : OVER_NS);
}

// Whether it has the newest state of this leader, as it is now.
static bool shows_all(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    return node && node->generation == farm->generation && node->sent_ns &&
           node->report->state_epoch == farm->config.leader_epoch &&
           node->report->state_version == node->version;
}

// ---- After a change of leader -----------------------------------------------------------------

// What was said before is known: from all edges, which take nothing from a former leader any more,
// or because no lease of that time lasts.
static bool is_known(const struct farm *farm, const struct plan *plan)
{
    const char *name, *address;
    bool all = true;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++)
        all = all && follows_us(farm, name);
    return all || farm->tick_ns - former_ns(farm) > OVER_NS;
}

// The newest that any edge was told.
static const publisher_message *newest_said(const struct farm *farm, uint64_t channel,
                                            uint32_t output)
{
    const publisher_message *best = NULL;
    for (int i = 0; i < farm->node_count; i++)
        for (size_t k = 0; k < farm->nodes[i]->report->n_publishers; k++) {
            const publisher_message *p = farm->nodes[i]->report->publishers[k];
            if (p->channel == channel && p->output == output &&
                (!best || p->leader > best->leader ||
                 (p->leader == best->leader && p->epoch > best->epoch)))
                best = p;
        }
    return best;
}

static struct publisher *publisher_of(const struct farm *farm, struct channel *channel,
                                      const struct plan *plan, uint32_t output)
{
    for (int i = 0; i < channel->publisher_count; i++)
        if (channel->publishers[i].output == output)
            return &channel->publishers[i];
    if (channel->publisher_count == PLANNER_OUTPUTS_MAX)
        return NULL;
    struct publisher *p = &channel->publishers[channel->publisher_count++];
    const publisher_message *said = newest_said(farm, channel->id, output);
    *p = (struct publisher){.output = output, .epoch = said ? said->epoch : 0};
    if (said && strlen(said->first) < PLANNER_NAME_BYTES &&
        strlen(said->second) < PLANNER_NAME_BYTES) {
        snprintf(p->holders[0], sizeof p->holders[0], "%s", said->first);
        snprintf(p->holders[1], sizeof p->holders[1], "%s", said->second);
        p->decided[0] = p->decided[1] = plan->message->plan_epoch;
    }
    p->unsaid = !said;
    p->unsent = true;
    return p;
}

// ---- Naming -----------------------------------------------------------------------------------

// The edges of output `o`; the second "" where there is none.
static void edges_of(const struct plan *plan, int o, const char *ret[2])
{
    ret[0] = plan->placement.edges[o];
    ret[1] = plan->placement.backups[o];
}

static const char *other_of(const char *const edges[2], const char *name)
{
    return strcmp(edges[0], name) != 0 ? edges[0] : edges[1];
}

// Who is to feed these addresses: by the plan when it is new, then whoever does; the other one when
// that one is gone.
static const char *choose(const struct farm *farm, const struct channel *channel,
                          const struct plan *plan, int o, const struct publisher *p, int which)
{
    const char *edges[2];
    edges_of(plan, o, edges);
    const char *best = which && *edges[1] ? edges[1] : edges[0];
    const char *has = *p->holders[which] ? p->holders[which] : p->next[which];
    bool part = *has && (!strcmp(has, edges[0]) || !strcmp(has, edges[1]));
    if (p->decided[which] == plan->message->plan_epoch && part)
        best = has;
    const char *other = other_of(edges, best);
    // One that is back takes the second addresses from an edge that feeds both.
    bool alone = which && !strcmp(p->holders[0], best) && is_on_air(farm, other, channel->id);
    bool gone = *other && is_alive(farm, other) && is_over(farm, channel, best, other);
    return alone || gone ? other : best;
}

static void name_set(char (*holder)[PLANNER_NAME_BYTES], const char *name)
{
    char copy[PLANNER_NAME_BYTES];
    snprintf(copy, sizeof copy, "%s", name); // it may be the same memory
    memcpy(*holder, copy, sizeof copy);
}

// True: what is said changes.
static bool step(const struct farm *farm, struct channel *channel, const struct plan *plan, int o,
                 struct publisher *p, int which)
{
    const char *edges[2];
    edges_of(plan, o, edges);
    const char *wanted = choose(farm, channel, plan, o, p, which);
    const char *holder = p->holders[which];
    p->decided[which] = plan->message->plan_epoch;
    if (!strcmp(holder, wanted) && *holder)
        return false;
    bool was = *holder != 0;
    const char *before = was ? holder : p->leaving[which];
    // Who was it before is not known: no lease lasts that a former leader has renewed.
    bool free = p->unsaid || (*before ? is_over(farm, channel, before, other_of(edges, before)) ||
                                            (!was && shows_all(farm, before))
                                      : farm->tick_ns - former_ns(farm) > OVER_NS);
    name_set(&p->next[which], wanted);
    if (!free && !was)
        return false;
    if (free) {
        log_info("publisher_named", "channel=%llu output=%u addresses=%s edge=%s before=%s",
                 (unsigned long long)channel->id, p->output, which ? "second" : "first",
                 p->next[which], *before ? before : "nobody");
        name_set(&p->holders[which], p->next[which]);
        *p->leaving[which] = 0;
    } else {
        name_set(&p->leaving[which], holder);
        *p->holders[which] = 0;
    }
    return true;
}

static void touch_all(struct farm *farm, const struct channel *channel, const struct publisher *p)
{
    farm_plan_touch(farm, channel->current);
    farm_plan_touch(farm, channel->next);
    for (int k = 0; k < 2; k++) { // who goes may have no part in them any more
        struct node *node = farm_node(farm, p->leaving[k]);
        if (node)
            node->generation = 0;
    }
}

void publish_step(struct farm *farm, struct channel *channel)
{
    const struct plan *plan = channel->current;
    if (!plan && channel->phase == PHASE_ARMED)
        plan = channel->next;
    if (!plan || !farm->settled || !is_known(farm, plan))
        return;
    for (int i = channel->publisher_count - 1; i >= 0; i--) {
        bool there = false;
        for (size_t o = 0; o < plan->message->n_outputs; o++)
            there = there || plan->message->outputs[o]->output == channel->publishers[i].output;
        if (!there)
            channel->publishers[i] = channel->publishers[--channel->publisher_count];
    }
    for (size_t o = 0; o < plan->message->n_outputs; o++) {
        struct publisher *p = publisher_of(farm, channel, plan, plan->message->outputs[o]->output);
        if (!p)
            continue;
        bool changed = step(farm, channel, plan, (int)o, p, 0);
        changed = step(farm, channel, plan, (int)o, p, 1) || changed;
        p->epoch += changed;
        if (changed || p->unsent)
            touch_all(farm, channel, p);
        p->unsaid = p->unsent = false;
    }
}

void publishers_leave(struct channel *channel)
{
    for (int i = 0; i < channel->publisher_count; i++) {
        struct publisher *p = &channel->publishers[i];
        for (int k = 0; k < 2; k++) {
            if (*p->holders[k])
                name_set(&p->leaving[k], p->holders[k]);
            *p->holders[k] = 0;
            p->decided[k] = 0;
        }
        p->epoch++;
    }
}

size_t publishers_fill(const struct channel *channel, publisher_message *ret,
                       publisher_message **list)
{
    for (int i = 0; i < channel->publisher_count; i++) {
        const struct publisher *p = &channel->publishers[i];
        publisher_message *m = list[i] = &ret[i];
        vistter__control__v1__publisher__init(m);
        m->channel = channel->id;
        m->output = p->output;
        m->epoch = p->epoch;
        m->first = (char *)(uintptr_t)p->holders[0];
        m->second = (char *)(uintptr_t)p->holders[1];
    }
    return (size_t)channel->publisher_count;
}
