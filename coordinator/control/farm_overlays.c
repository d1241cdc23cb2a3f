// Optional tracks: while a worker that makes one does not keep up, and has nothing else to give up,
// the channel's plans leave them all out. A plan has a frame, so every node shows the same.
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"
#include "engine/base/overload.h"

#include <string.h>

// One that does not know would go on showing them, beside others that do not.
static bool all_know(const struct farm *farm)
{
    for (int i = 0; i < farm->node_count; i++) {
        const struct node *node = farm->nodes[i];
        if (node->alive &&
            node->report->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER &&
            !node->report->knows_optional)
            return false;
    }
    return true;
}

static bool asks(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    return node && node->alive && node->report->overload >= OVERLOAD_OVERLAYS;
}

// Whoever an edge takes the group from, or would; a standby that has only others' work is not
// asked.
static bool maker_asks(const struct farm *farm, const struct channel *channel,
                       const struct plan_group *group)
{
    const char *name, *address;
    bool any = asks(farm, group->provider);
    for (int i = 0; !any && (name = plan_edge(channel->current, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        const Vistter__Control__V1__ChannelReport *report =
            edge && edge->alive ? farm_channel_report(edge, channel->id) : NULL;
        for (size_t k = 0; report && k < report->n_groups; k++)
            any = any ||
                  (report->groups[k]->group == group->group && asks(farm, report->groups[k]->node));
    }
    return any;
}

static bool left_out(const struct farm *farm, const struct channel *channel)
{
    if (!channel->current || !all_know(farm))
        return false;
    const struct plan_placement *p = &channel->current->placement;
    for (int g = 0; g < p->group_count; g++) {
        const struct plan_group *group = &p->groups[g];
        bool optional = false;
        for (uint32_t t = group->track_from; t < group->track_to && t < PLANNER_TRACKS_MAX; t++)
            optional = optional || ((int)t < channel->track_count && channel->optional[t]);
        if (optional && maker_asks(farm, channel, group))
            return true;
    }
    return false;
}

void overlays_step(const struct farm *farm, struct channel *channel)
{
    bool wanted = left_out(farm, channel);
    if (!channel->wanted || (bool)channel->wanted->without_optional == wanted)
        return;
    channel->wanted->without_optional = wanted;
    channel->dirty = true;
    channel->retry_ns = 0;
    log_info(wanted ? "overlays_left_out" : "overlays_come_back", "channel=%llu",
             (unsigned long long)channel->id);
}
