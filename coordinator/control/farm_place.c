#include "coordinator/control/farm_private.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool channel_excludes(const struct channel *channel, const char *node, int64_t now_ns)
{
    for (int i = 0; i < FARM_EXCLUDED_MAX; i++) {
        if (channel->excluded[i].until_ns > now_ns && !strcmp(channel->excluded[i].node, node))
            return true;
    }
    return false;
}

// Given, else measured with this revision, else a guess by kind.
void channel_tracks(const struct channel *channel, struct planner_track *ret)
{
    const channel_plan_message *wanted = channel->wanted;
    bool measured = wanted->revision.len == sizeof channel->measured_revision &&
                    !memcmp(channel->measured_revision, wanted->revision.data,
                            sizeof channel->measured_revision);
    for (int i = 0; i < channel->track_count; i++) {
        ret[i] = channel->tracks[i];
        if (ret[i].cost_us <= 0 && measured)
            ret[i].cost_us = channel->measured_us[i];
        if (ret[i].cost_us <= 0)
            ret[i].cost_us = planner_default_us(channel->kinds[i], wanted->width, wanted->height);
    }
}

static uint64_t host_of(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    return node ? node->report->host : 0;
}

static struct planner_node *entry_of(const struct farm *farm, const char *name)
{
    const struct node *node = farm_node(farm, name);
    return node ? node->entry : NULL;
}

// What the provider of a group does for it.
static int64_t group_us(const struct farm *farm, const struct plan *plan,
                        const struct plan_group *g, const struct planner_track *tracks,
                        uint64_t host)
{
    const struct plan_placement *p = &plan->placement;
    int64_t pixels = (int64_t)g->width * g->height;
    struct planner_output programme = plan_output_read(plan->message, 0);
    int64_t reference = (int64_t)programme.width * programme.height;
    bool shared = host;
    for (int i = 0; i < p->output_count && shared; i++) {
        struct planner_output output = plan_output_read(plan->message, (size_t)i);
        if (output.width == g->width && output.height == g->height)
            shared = host_of(farm, p->edges[i]) == host &&
                     (!*p->backups[i] || host_of(farm, p->backups[i]) == host);
    }
    int64_t us = planner_group_link_us(g->width, g->height, g->from_base, g->needs_beneath, shared);
    for (uint32_t t = g->track_from; t < g->track_to && t < PLANNER_TRACKS_MAX; t++)
        us += tracks[t].cost_us * pixels / (reference ? reference : 1);
    return us;
}

// What nodes do for one other channel.
static void load_add(const struct farm *farm, const struct channel *channel)
{
    const struct plan *plan = channel->next ? channel->next : channel->current;
    struct planner_track tracks[PLANNER_TRACKS_MAX] = {0};
    if (!plan)
        return;
    if (channel->wanted)
        channel_tracks(channel, tracks);
    const struct plan_placement *p = &plan->placement;
    for (int i = 0; i < p->output_count; i++) {
        struct planner_node *edge = entry_of(farm, p->edges[i]);
        struct planner_node *backup = *p->backups[i] ? entry_of(farm, p->backups[i]) : NULL;
        if (edge)
            edge->outputs++;
        if (backup && backup != edge)
            backup->outputs++;
    }
    for (int g = 0; g < p->group_count; g++) {
        struct planner_node *worker = entry_of(farm, p->groups[g].provider);
        if (worker)
            worker->busy_us += group_us(farm, plan, &p->groups[g], tracks, worker->host);
        bool hot = plan->message->redundancy == VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_HOT;
        worker = hot && p->groups[g].standby_count ? entry_of(farm, p->groups[g].standbys[0].node)
                                                   : NULL;
        if (worker)
            worker->busy_us += group_us(farm, plan, &p->groups[g], tracks, worker->host);
    }
}

// The nodes of a role that the channel may have, as their `entry`.
static int nodes_list(const struct farm *farm, const struct channel *channel, int64_t now_ns,
                      Vistter__Control__V1__NodeRole role, struct planner_node *ret)
{
    int count = 0;
    for (int i = 0; i < farm->node_count; i++) {
        struct node *node = farm->nodes[i];
        if (node->report->role != role)
            continue;
        node->entry = NULL;
        if (!node->alive || channel_excludes(channel, node->name, now_ns) ||
            farm_node_drains(farm, node->name))
            continue;
        struct planner_node *entry = node->entry = &ret[count++];
        *entry = (struct planner_node){.name = node->name,
                                       .frame_address = node->report->frame_address,
                                       .host = node->report->host,
                                       .cores = node->report->cores};
        if (node->report->golden.len == PLANNER_GOLDEN_BYTES)
            memcpy(entry->golden, node->report->golden.data, PLANNER_GOLDEN_BYTES);
    }
    return count;
}

int farm_place(const struct farm *farm, const struct channel *channel, uint32_t plan_epoch,
               int64_t now_ns, struct plan_placement *ret, struct diagnostic *reterr)
{
    const channel_plan_message *wanted = channel->wanted;
    struct planner_track tracks[PLANNER_TRACKS_MAX];
    struct planner_output outputs[PLANNER_OUTPUTS_MAX];
    struct planner_node *nodes = base_alloc((size_t)(farm->node_count + 1) * sizeof *nodes);
    int worker_count =
        nodes_list(farm, channel, now_ns, VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER, nodes);
    struct planner_node *edges = nodes + worker_count;
    int edge_count =
        nodes_list(farm, channel, now_ns, VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE, edges);
    for (int i = 0; i < farm->channel_count; i++)
        if (farm->channels[i] != channel)
            load_add(farm, farm->channels[i]);
    channel_tracks(channel, tracks);
    for (size_t i = 0; i < wanted->n_outputs && i < PLANNER_OUTPUTS_MAX; i++)
        outputs[i] = plan_output_read(wanted, i);
    struct planner_request request = {
        .channel = channel->id,
        .plan_epoch = plan_epoch,
        .frame_us = INT64_C(1000000) * wanted->rate_den / wanted->rate_num,
        .tracks = tracks,
        .track_count = channel->track_count,
        .workers = nodes,
        .edges = edges,
        .worker_count = worker_count,
        .edge_count = edge_count,
        .outputs = outputs,
        .output_count = (int)wanted->n_outputs,
        .no_standbys = wanted->redundancy == VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_NONE,
        .backup_edges = channel->backup_edges,
        .previous = channel->current ? &channel->current->placement : NULL,
        .cuts = channel->cuts,
        .cut_count = channel->cut_count,
    };
    int r = plan_place(&request, ret, reterr);
    if (r == -EHOSTUNREACH && farm->draining_count) {
        const char *kind = request.worker_count ? "edge" : "worker";
        diagnostic_set(reterr, r, request.worker_count ? "no_edge" : "no_worker", "",
                       "no %s is up that may have work: %s is draining", kind, farm->draining[0]);
    }
    free(nodes);
    return r;
}
