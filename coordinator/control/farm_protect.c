// Whether a worker of a group may be lost without a lost frame: what a takeover takes, from
// measured costs, beside what is buffered.
#include "coordinator/control/farm_private.h"
#include "engine/base/overload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// From a worker's last frame to the question that its standby gets, at most: half a second of
// silence (FRAME_QUIET_MS), a look each 20 ms.
#define DETECT_MS  500
#define DECIDE_MS  20
#define LATENCY_MS 120 // of links, one way, as nodes have it by default

#define CLASS_HOT  VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_HOT
#define CLASS_COLD VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_COLD
#define CLASS_NONE VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_NONE

bool standby_ready(const struct farm *farm, const struct plan *plan, uint32_t group,
                   const char *name, const char *address)
{
    return farm_node_serves(farm, name, address) &&
           farm_group_prepared(farm_node(farm, name), plan, group);
}

// Milliseconds a frame that a worker takes for the group; 0: it has made none yet.
static double frame_ms(const struct node *node, const struct plan *plan, uint32_t group)
{
    double ms = 0;
    for (size_t i = 0; node && i < node->report->n_stages; i++) {
        const Vistter__Control__V1__StageReport *s = node->report->stages[i];
        if (s->channel == plan->message->channel && s->plan_epoch == plan->message->plan_epoch &&
            s->group == group && s->frames && s->median_ms > 0 && s->median_ms < 10000)
            ms += s->median_ms;
    }
    return ms;
}

// How long the worker took to open the group's files and make its first frame; 0: it does not say.
static int64_t prepared_ms(const struct node *node, const struct plan *plan, uint32_t group)
{
    const Vistter__Control__V1__PlanReport *report =
        farm_plan_report(node, plan->message->channel, plan->message->plan_epoch);
    for (size_t i = 0; i < report->n_groups; i++)
        if (report->groups[i]->group == group)
            return report->groups[i]->start_ms;
    return 0;
}

static bool says(const struct node *node, uint64_t channel, const char *code)
{
    for (size_t i = 0; i < node->report->n_alarms; i++)
        if (node->report->alarms[i]->channel == channel &&
            !strcmp(node->report->alarms[i]->code, code))
            return true;
    return false;
}

// Whether a hot standby makes its copies, and edges take them: who is overloaded gives them up.
static bool is_copied(const struct farm *farm, const struct plan *plan, const struct node *standby)
{
    const char *name, *address;
    bool given_up = standby->report->overload >= OVERLOAD_COPIES;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        given_up = given_up || (edge && edge->report->overload >= OVERLOAD_COPIES);
    }
    return !given_up && !says(standby, plan->message->channel, "copies_left_out");
}

// `standby` is the one that would be asked next, which follows, or makes copies.
static int64_t takeover_ms(const struct farm *farm, const struct plan *plan,
                           const struct plan_group *group, const struct node *standby, double ms)
{
    const channel_plan_message *m = plan->message;
    if (m->redundancy == CLASS_HOT && is_copied(farm, plan, standby))
        return 0;
    // What one that follows takes is in start_us, by import's measurement.
    bool follows = m->redundancy != CLASS_COLD;
    int64_t start = group->start_us / 1000;
    int64_t own = prepared_ms(standby, plan, group->group);
    if (own > start && (!follows || says(standby, m->channel, "standby_behind")))
        start = own;
    return DETECT_MS + DECIDE_MS + start + (int64_t)ms + 1 + 2 * LATENCY_MS;
}

// Whom an edge takes the group from, if one says so.
static const char *active_of(const struct farm *farm, const struct plan *plan, uint32_t group)
{
    const char *name, *address, *active = NULL;
    uint32_t takeovers = 0;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        const Vistter__Control__V1__ChannelReport *report =
            edge && edge->alive ? farm_channel_report(edge, plan->message->channel) : NULL;
        for (size_t k = 0;
             report && report->plan_epoch == plan->message->plan_epoch && k < report->n_groups; k++)
            if (report->groups[k]->group == group &&
                (!active || report->groups[k]->takeovers > takeovers)) {
                active = report->groups[k]->node;
                takeovers = report->groups[k]->takeovers;
            }
    }
    return active;
}

static void why_alone(const struct farm *farm, const struct plan *plan,
                      const struct plan_group *group, struct protection *ret)
{
    bool none = plan->message->redundancy == CLASS_NONE;
    const char *other = group->standby_count ? group->standbys[0].node : "";
    if (group->standby_count && !strcmp(other, ret->alone))
        other = group->provider;
    const struct node *node = *other ? farm_node(farm, other) : NULL;
    if (!group->standby_count)
        snprintf(ret->why, sizeof ret->why, "%s",
                 none ? "the channel's redundancy is none"
                      : "there is no second worker that makes the same bits");
    else
        snprintf(ret->why, sizeof ret->why, "%s %s", other,
                 node && node->alive ? "has not prepared it" : "is not there");
}

void group_protection(const struct farm *farm, const struct plan *plan,
                      const struct plan_group *group, struct protection *ret)
{
    const channel_plan_message *m = plan->message;
    const char *names[1 + PLANNER_STANDBYS_MAX], *active = active_of(farm, plan, group->group);
    int ready = 0;
    if (standby_ready(farm, plan, group->group, group->provider, group->provider_address))
        names[ready++] = group->provider;
    for (int i = 0; i < group->standby_count; i++)
        if (standby_ready(farm, plan, group->group, group->standbys[i].node,
                          group->standbys[i].address))
            names[ready++] = group->standbys[i].node;
    // The one that is asked, and who would be asked next.
    int first = 0;
    for (int i = 0; i < ready; i++)
        if (active && !strcmp(names[i], active))
            first = i;
    *ret = (struct protection){.alone = ready ? names[first] : ""};
    const struct node *worker = ready ? farm_node(farm, names[first]) : NULL;
    double ms = frame_ms(worker, plan, group->group);
    if (ms <= 0)
        ms = 1000.0 * m->rate_den / m->rate_num;
    ret->slack_ms = m->lead_frames * 1000 * m->rate_den / m->rate_num - (int64_t)ms - LATENCY_MS;
    if (ready < 2) {
        why_alone(farm, plan, group, ret);
        return;
    }
    const char *next = names[(first + 1) % ready];
    ret->takeover_ms = takeover_ms(farm, plan, group, farm_node(farm, next), ms);
    ret->protected = ret->takeover_ms <= ret->slack_ms;
    if (ret->protected)
        ret->alone = "";
    else
        snprintf(ret->why, sizeof ret->why,
                 "%s would need %" PRId64 " ms, and %" PRId64 " ms are buffered", next,
                 ret->takeover_ms, ret->slack_ms);
}

static bool all_protected(const struct farm *farm, const struct plan *plan)
{
    struct protection p;
    for (int i = 0; plan && i < plan->placement.group_count; i++) {
        group_protection(farm, plan, &plan->placement.groups[i], &p);
        if (!p.protected)
            return false;
    }
    return true;
}

void protection_look(const struct farm *farm, struct channel *channel, int64_t now_ns)
{
    if (now_ns < channel->protection_ns)
        return;
    channel->protection_ns = now_ns + PROTECTION_LOOK_NS;
    const struct plan *plan = channel->current;
    bool wished = plan && plan->message->redundancy != CLASS_NONE;
    if (!wished || all_protected(farm, plan))
        channel->unprotected_ns = 0;
    else if (!channel->unprotected_ns)
        channel->unprotected_ns = now_ns;
}

bool protection_alarm(const struct channel *channel, int64_t now_ns)
{
    return channel->unprotected_ns && now_ns - channel->unprotected_ns > PROTECTION_ALARM_NS;
}
