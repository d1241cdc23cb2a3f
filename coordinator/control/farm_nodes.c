#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int draining_index(const struct farm *farm, const char *name)
{
    int i = 0;
    while (i < farm->draining_count && strcmp(farm->draining[i], name))
        i++;
    return i;
}

bool farm_node_drains(const struct farm *farm, const char *name)
{
    return draining_index(farm, name) < farm->draining_count;
}

void farm_set_draining(struct farm *farm, const char *node, bool draining)
{
    int i = draining_index(farm, node);
    if (draining == (i < farm->draining_count) || (draining && i == FARM_NODES_MAX))
        return;
    if (draining)
        snprintf(farm->draining[farm->draining_count++], sizeof farm->draining[0], "%s", node);
    else
        memmove(farm->draining[i], farm->draining[--farm->draining_count],
                sizeof farm->draining[0]);
    for (int k = 0; k < farm->channel_count; k++)
        farm->channels[k]->dirty = true;
    log_info(draining ? "node_draining" : "node_resumed", "node=%s", node);
}

static bool node_silent(const struct farm *farm, const struct node *node, int64_t now_ns)
{
    int64_t heard_ns = node->report_ns > farm->resumed_ns ? node->report_ns : farm->resumed_ns;
    return now_ns - heard_ns > FARM_NODE_LOST_NS;
}

bool farm_node_lost(const struct farm *farm, const char *name, int64_t now_ns)
{
    const struct node *node = farm_node(farm, name);
    if (node)
        return node_silent(farm, node, now_ns);
    return now_ns - farm->start_ns > FARM_GRACE_NS;
}

bool farm_node_serves(const struct farm *farm, const char *name, const char *address)
{
    const struct node *node = farm_node(farm, name);
    return node && node->alive && !strcmp(node->report->frame_address, address);
}

const Vistter__Control__V1__PlanReport *farm_plan_report(const struct node *node, uint64_t channel,
                                                         uint32_t plan_epoch)
{
    static const Vistter__Control__V1__PlanReport nothing = VISTTER__CONTROL__V1__PLAN_REPORT__INIT;
    for (size_t i = 0; node && i < node->report->n_plans; i++) {
        const Vistter__Control__V1__PlanReport *plan = node->report->plans[i];
        if (plan->channel == channel && plan->plan_epoch == plan_epoch)
            return plan;
    }
    return &nothing;
}

static bool is_prepared(Vistter__Control__V1__PlanState state)
{
    return state >= VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED &&
           state != VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED;
}

bool farm_group_prepared(const struct node *node, const struct plan *plan, uint32_t group)
{
    const Vistter__Control__V1__PlanReport *report =
        farm_plan_report(node, plan->message->channel, plan->message->plan_epoch);
    for (size_t i = 0; i < report->n_groups; i++)
        if (report->groups[i]->group == group)
            return is_prepared(report->groups[i]->state);
    return is_prepared(report->state);
}

const Vistter__Control__V1__ChannelReport *farm_channel_report(const struct node *node,
                                                               uint64_t channel)
{
    for (size_t i = 0; i < node->report->n_channels; i++) {
        if (node->report->channels[i]->channel == channel)
            return node->report->channels[i];
    }
    return NULL;
}

// ---- Reports ----------------------------------------------------------------------------------

static int report_check(const farm_report_message *report)
{
    size_t name = strlen(report->node), address = strlen(report->frame_address);
    bool role = report->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER ||
                report->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    bool worker = report->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    if (name == 0 || name >= PLANNER_NAME_BYTES || address >= PLANNER_ADDRESS_BYTES || !role ||
        (worker && address == 0) || report->instance == 0)
        return -EINVAL;
    return 0;
}

static farm_report_message *report_copy(const farm_report_message *report)
{
    size_t size = vistter__control__v1__node_report__get_packed_size(report);
    uint8_t *bytes = malloc(size ? size : 1);
    farm_report_message *copy = NULL;
    if (bytes) {
        vistter__control__v1__node_report__pack(report, bytes);
        copy = vistter__control__v1__node_report__unpack(NULL, size, bytes);
    }
    free(bytes);
    return copy;
}

// Whether a group has the size of the programme, which costs are kept for.
static bool has_programme_size(const channel_plan_message *message, uint32_t group)
{
    struct planner_output programme = plan_output_read(message, 0);
    for (size_t i = 0; i < message->n_groups; i++) {
        const Vistter__Control__V1__GroupPlan *g = message->groups[i];
        if (g->group == group)
            return !g->width || (g->width == programme.width && g->height == programme.height);
    }
    return false;
}

// Measured costs count for the revision that they were measured with.
static void costs_take(struct channel *channel, const Vistter__Control__V1__StageReport *stage)
{
    const struct plan *plan = channel->current;
    if (!plan || plan->message->plan_epoch != stage->plan_epoch)
        plan = channel->next;
    if (!plan || plan->message->plan_epoch != stage->plan_epoch || !stage->frames)
        return;
    const ProtobufCBinaryData *revision = &plan->message->revision;
    // What is left out costs nothing then, and is to be given its time all the same.
    if (revision->len != sizeof channel->measured_revision || plan->message->n_outputs < 1 ||
        plan->message->without_optional || !has_programme_size(plan->message, stage->group))
        return;
    if (memcmp(channel->measured_revision, revision->data, revision->len)) {
        memcpy(channel->measured_revision, revision->data, revision->len);
        memset(channel->measured_us, 0, sizeof channel->measured_us);
    }
    for (size_t i = 0; i < stage->n_tracks; i++) {
        const Vistter__Control__V1__TrackCost *cost = stage->tracks[i];
        if (cost->track < PLANNER_TRACKS_MAX && isfinite(cost->ms) && cost->ms >= 0 &&
            cost->ms < 10000)
            channel->measured_us[cost->track] = (int64_t)(cost->ms * 1000) + 1;
    }
}

static void report_note(struct farm *farm, const farm_report_message *report)
{
    for (size_t i = 0; i < report->n_stages; i++) {
        struct channel *channel = farm_channel_find(farm, report->stages[i]->channel);
        if (channel)
            costs_take(channel, report->stages[i]);
    }
    // No epoch that any node has seen is used again, whatever the store remembers.
    for (size_t i = 0; i < report->n_plans; i++) {
        struct channel *channel = farm_channel_find(farm, report->plans[i]->channel);
        if (channel && report->plans[i]->plan_epoch > channel->last_plan_epoch &&
            report->plans[i]->plan_epoch < UINT32_MAX / 2)
            channel->last_plan_epoch = report->plans[i]->plan_epoch;
    }
    if (report->state_epoch > farm->config.leader_epoch && report->state_epoch > farm->deposed) {
        farm->deposed = report->state_epoch;
        log_warning("coordinator_deposed", "node=%s epoch=%llu own_epoch=%llu", report->node,
                    (unsigned long long)report->state_epoch,
                    (unsigned long long)farm->config.leader_epoch);
    }
}

int farm_report(struct farm *farm, const farm_report_message *report, struct farm_time now)
{
    int r = report_check(report);
    if (r < 0)
        return r;
    struct node *node = farm_node(farm, report->node);
    if (node && node->report->instance == report->instance &&
        report->sequence <= node->report->sequence) {
        farm->reports_stale++;
        return -ESTALE;
    }
    if (!node && farm->node_count == FARM_NODES_MAX)
        return -ENOSPC;
    farm_report_message *copy = report_copy(report);
    if (!copy)
        return -ENOMEM;
    if (!node) {
        node = base_alloc(sizeof *node);
        snprintf(node->name, sizeof node->name, "%s", report->node);
        farm->nodes[farm->node_count++] = node;
        farm_node_enter(farm, node);
    } else {
        if (node->report->instance != report->instance)
            node->sent_ns = 0; // it may have forgotten
        vistter__control__v1__node_report__free_unpacked(node->report, NULL);
    }
    node->report = copy;
    node->report_ns = now.monotonic_ns;
    node->gone = false;
    farm->reports++;
    report_note(farm, copy);
    farm_crashes_take(farm, copy, now.monotonic_ns);
    farm_adopt(farm, copy);
    takes_adopt(farm, copy);
    sources_adopt(farm, copy, now.monotonic_ns);
    farm_gops(farm, node);
    return 0;
}

void farm_gone(struct farm *farm, const char *name)
{
    struct node *node = farm_node(farm, name);
    if (node)
        node->gone = true;
}

// ---- Coming and going -------------------------------------------------------------------------

static void channels_touch(struct farm *farm, const struct node *node)
{
    for (int i = 0; i < farm->channel_count; i++) {
        struct channel *channel = farm->channels[i];
        bool concerned = channel->current && plan_needs(channel->current, node->name);
        // One that comes may be of use to everybody; while the nodes of stored plans gather after a
        // start, it is no reason to touch what is on air.
        if (node->alive)
            concerned = !channel->current || farm->tick_ns - farm->start_ns > FARM_GRACE_NS;
        if (concerned) {
            channel->dirty = true;
            channel->retry_ns = 0;
        }
    }
}

void farm_nodes_check(struct farm *farm, int64_t now_ns)
{
    for (int i = 0; i < farm->node_count; i++) {
        struct node *node = farm->nodes[i];
        bool alive = !node_silent(farm, node, now_ns);
        if (alive == node->alive)
            continue;
        node->alive = alive;
        if (alive)
            log_info("node_up", "node=%s version=%s", node->name, node->report->version);
        else
            log_warning("node_lost", "node=%s silent_ms=%lld", node->name,
                        (long long)((now_ns - node->report_ns) / 1000000));
        channels_touch(farm, node);
    }
}
