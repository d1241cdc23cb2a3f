#include "coordinator/control/farm_private.h"
#include "engine/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// From a worker's last frame to the first of its standby, what starting takes aside: half a second
// of silence (FRAME_QUIET_MS), a look each 20 ms, the links' latency there and back, a frame.
#define TAKEOVER_FIXED_MS (500 + 20 + 240 + 40)

const char *farm_channel_state_name(enum farm_channel_state state)
{
    static const char *const names[] = {
        [FARM_CHANNEL_STOPPED] = "stopped",     [FARM_CHANNEL_WAITING] = "waiting",
        [FARM_CHANNEL_PREPARING] = "preparing", [FARM_CHANNEL_ARMED] = "armed",
        [FARM_CHANNEL_ON_AIR] = "on_air",       [FARM_CHANNEL_OFF_AIR] = "off_air",
    };
    return names[state];
}

static void copy_text(char *ret, size_t size, const char *text)
{
    snprintf(ret, size, "%s", text);
}

// base_alloc of nothing is nothing.
static void *list_alloc(size_t count, size_t size)
{
    return count ? base_alloc(count * size) : NULL;
}

static void stages_view(const farm_report_message *report, struct farm_node_view *ret)
{
    ret->stages = list_alloc(report->n_stages, sizeof *ret->stages);
    for (size_t i = 0; i < report->n_stages; i++) {
        const Vistter__Control__V1__StageReport *s = report->stages[i];
        ret->stages[ret->stage_count++] = (struct farm_stage_view){.channel = s->channel,
                                                                   .plan_epoch = s->plan_epoch,
                                                                   .group = s->group,
                                                                   .kind = s->kind,
                                                                   .median_ms = s->median_ms,
                                                                   .p99_ms = s->p99_ms,
                                                                   .frame = s->frame,
                                                                   .frames = s->frames,
                                                                   .bytes = s->bytes};
    }
    ret->alarms = list_alloc(report->n_alarms, sizeof *ret->alarms);
    for (size_t i = 0; i < report->n_alarms; i++) {
        const Vistter__Control__V1__AlarmReport *a = report->alarms[i];
        struct farm_alarm_view *alarm = &ret->alarms[ret->alarm_count++];
        copy_text(alarm->code, sizeof alarm->code, a->code);
        copy_text(alarm->text, sizeof alarm->text, a->text);
        alarm->channel = a->channel;
        alarm->count = a->count;
    }
}

static void node_view(const struct farm *farm, const struct node *node, int64_t now_ns,
                      struct farm_node_view *ret)
{
    const farm_report_message *report = node->report;
    copy_text(ret->name, sizeof ret->name, node->name);
    copy_text(ret->version, sizeof ret->version, report->version);
    copy_text(ret->frame_address, sizeof ret->frame_address, report->frame_address);
    copy_text(ret->preview_url, sizeof ret->preview_url, report->preview_url);
    ret->role = report->role;
    ret->alive = node->alive;
    ret->draining = farm_node_drains(farm, node->name);
    ret->report_age_ns = now_ns - node->report_ns;
    ret->instance = report->instance;
    ret->memory_bytes = report->memory_bytes;
    ret->cores = report->cores;
    ret->cpu_load = report->cpu_load;
    if (report->golden.len == PLANNER_GOLDEN_BYTES)
        memcpy(ret->golden, report->golden.data, PLANNER_GOLDEN_BYTES);
    stages_view(report, ret);
}

static int64_t takeover_ms(const struct plan_group *group)
{
    return group->standby_count ? TAKEOVER_FIXED_MS + group->start_us / 1000 : 0;
}

// There, where the plan says, and with the plan: one that is started anew has to be told first.
static bool is_ready(const struct farm *farm, const struct plan *plan, uint32_t group,
                     const char *name, const char *address)
{
    return farm_node_serves(farm, name, address) &&
           farm_group_prepared(farm_node(farm, name), plan, group);
}

// Whether any one of the group's workers may go.
static bool is_protected(const struct farm *farm, const struct plan *plan,
                         const struct plan_group *group)
{
    const channel_plan_message *m = plan->message;
    int ready = is_ready(farm, plan, group->group, group->provider, group->provider_address);
    for (int i = 0; i < group->standby_count; i++)
        ready +=
            is_ready(farm, plan, group->group, group->standbys[i].node, group->standbys[i].address);
    return ready > 1 && takeover_ms(group) <= m->lead_frames * 1000 * m->rate_den / m->rate_num;
}

static void standbys_view(const struct farm *farm, const struct plan *plan,
                          const struct plan_group *group, struct farm_group_view *ret)
{
    for (int k = 0; k < group->standby_count; k++) {
        const struct plan_standby *standby = &group->standbys[k];
        struct farm_standby_view *view = &ret->standbys[ret->standby_count++];
        copy_text(view->node, sizeof view->node, standby->node);
        view->ready = is_ready(farm, plan, group->group, standby->node, standby->address);
    }
}

static void groups_view(const struct farm *farm, const struct channel *channel,
                        const struct plan *plan, struct farm_channel_view *ret)
{
    const struct plan_placement *p = &plan->placement;
    bool next = true; // what is on its way in has to be protected as well
    for (int i = 0; channel->next && i < channel->next->placement.group_count; i++)
        next = next && is_protected(farm, channel->next, &channel->next->placement.groups[i]);
    ret->groups = list_alloc((size_t)p->group_count, sizeof *ret->groups);
    for (int i = 0; i < p->group_count; i++) {
        const struct node *node = farm_node(farm, p->groups[i].provider);
        struct farm_group_view *group = &ret->groups[ret->group_count++];
        group->group = p->groups[i].group;
        group->track_from = p->groups[i].track_from;
        group->track_to = p->groups[i].track_to;
        group->width = p->groups[i].width;
        group->height = p->groups[i].height;
        group->provider_alive = node && node->alive;
        copy_text(group->provider, sizeof group->provider, p->groups[i].provider);
        group->takeover_ms = takeover_ms(&p->groups[i]);
        group->protected = next && is_protected(farm, plan, &p->groups[i]);
        standbys_view(farm, plan, &p->groups[i], group);
    }
}

static void destinations_view(const Vistter__Control__V1__ChannelReport *report,
                              struct farm_channel_view *ret)
{
    for (size_t i = 0; i < report->n_destinations; i++) {
        const Vistter__Control__V1__DestinationReport *d = report->destinations[i];
        struct farm_destination_view *view = &ret->destinations[ret->destination_count++];
        view->destination = d->destination;
        view->backup = d->backup;
        view->state = d->state;
        view->bytes = d->bytes;
        view->dropped = d->dropped;
        view->reconnects = d->reconnects;
        copy_text(view->error, sizeof view->error, d->error);
    }
}

// An edge that has turned to a standby is more worth knowing than one that has not.
static void actives_view(const Vistter__Control__V1__ChannelReport *report,
                         struct farm_channel_view *ret)
{
    for (size_t i = 0; i < report->n_groups; i++)
        for (int k = 0; k < ret->group_count; k++) {
            const Vistter__Control__V1__GroupReport *from = report->groups[i];
            struct farm_group_view *group = &ret->groups[k];
            if (group->group != from->group ||
                (*group->active && from->takeovers <= group->takeovers))
                continue;
            copy_text(group->active, sizeof group->active, from->node);
            group->takeovers = from->takeovers;
        }
}

// Each edge of the plan once, the programme's first.
static int edges_of(const struct farm *farm, const struct plan *plan, const struct node **ret)
{
    int count = 0;
    const char *name, *address;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        bool seen = !edge;
        for (int k = 0; k < count; k++)
            seen = seen || ret[k] == edge;
        if (!seen)
            ret[count++] = edge;
    }
    return count;
}

// Who makes the programme: its edge, or the backup while that one is lost. NULL: nobody.
static const struct node *programme_edge(const struct farm *farm, const struct plan *plan)
{
    const struct node *edge = farm_node(farm, plan->placement.edges[0]);
    const struct node *backup = farm_node(farm, plan->placement.backups[0]);
    if (edge && edge->alive)
        return edge;
    return backup && backup->alive ? backup : NULL;
}

static void reports_view(const struct farm *farm, const struct channel *channel,
                         const struct plan *plan, struct farm_channel_view *ret)
{
    const struct node *edges[2 * PLANNER_OUTPUTS_MAX];
    const Vistter__Control__V1__ChannelReport *reports[2 * PLANNER_OUTPUTS_MAX];
    int edge_count = edges_of(farm, plan, edges), count = 0;
    size_t destinations = 0;
    for (int i = 0; i < edge_count; i++) {
        reports[count] = edges[i]->alive ? farm_channel_report(edges[i], channel->id) : NULL;
        if (reports[count])
            destinations += reports[count++]->n_destinations;
    }
    ret->destinations = list_alloc(destinations, sizeof *ret->destinations);
    for (int i = 0; i < count; i++) {
        const Vistter__Control__V1__ChannelReport *r = reports[i];
        ret->late += r->late;
        ret->concealed += r->concealed;
        ret->skipped += r->skipped;
        ret->sampled += r->sampled;
        ret->mismatched += r->mismatched;
        ret->copies += r->copies;
        if (i == 0 || r->slack_frames < ret->slack_frames)
            ret->slack_frames = r->slack_frames;
        destinations_view(r, ret);
        actives_view(r, ret);
    }
    const struct node *programme = programme_edge(farm, plan);
    const Vistter__Control__V1__ChannelReport *first =
        programme ? farm_channel_report(programme, channel->id) : NULL;
    if (!first)
        return;
    ret->cursor = first->cursor;
    ret->frames = first->frames;
    ret->mix_median_ms = first->mix_median_ms;
    ret->mix_p99_ms = first->mix_p99_ms;
}

static void outputs_view(const struct plan *plan, struct farm_channel_view *ret)
{
    for (int i = 0; i < plan->placement.output_count; i++) {
        struct farm_output_view *output = &ret->outputs[ret->output_count++];
        output->output = plan->message->outputs[i]->output;
        copy_text(output->edge, sizeof output->edge, plan->placement.edges[i]);
        copy_text(output->backup_edge, sizeof output->backup_edge, plan->placement.backups[i]);
    }
}

static enum farm_channel_state state_view(const struct farm *farm, const struct channel *channel,
                                          const struct node *edge,
                                          const Vistter__Control__V1__ChannelReport *report,
                                          struct farm_time now)
{
    if (!channel->running)
        return FARM_CHANNEL_STOPPED;
    if (report && report->plan_epoch)
        return FARM_CHANNEL_ON_AIR;
    const struct plan *armed = channel->current;
    if (!armed && channel->phase == PHASE_ARMED)
        armed = channel->next;
    if (armed) {
        // A plan that the edge has and that is not yet due, or was due a moment ago.
        int64_t due = armed->at_frame + armed->message->rate_num / armed->message->rate_den;
        return edge && channel_cursor(farm, channel, now) < due ? FARM_CHANNEL_ARMED
                                                                : FARM_CHANNEL_OFF_AIR;
    }
    return channel->next ? FARM_CHANNEL_PREPARING : FARM_CHANNEL_WAITING;
}

static void channel_view(const struct farm *farm, const struct channel *channel,
                         struct farm_time now, struct farm_channel_view *ret)
{
    const struct plan *plan = channel->current ? channel->current : channel->next;
    const struct node *edge = NULL;
    const Vistter__Control__V1__ChannelReport *report = NULL;
    ret->channel = channel->id;
    copy_text(ret->text, sizeof ret->text, channel->text);
    if (channel->wanted)
        copy_text(ret->name, sizeof ret->name, channel->wanted->channel_name);
    if (plan) {
        const channel_plan_message *m = plan->message;
        copy_text(ret->name, sizeof ret->name, m->channel_name);
        copy_text(ret->edge, sizeof ret->edge, plan->placement.edges[0]);
        copy_text(ret->backup_edge, sizeof ret->backup_edge, plan->placement.backups[0]);
        if (m->revision.len == sizeof ret->revision)
            memcpy(ret->revision, m->revision.data, sizeof ret->revision);
        groups_view(farm, channel, plan, ret);
        outputs_view(plan, ret);
        reports_view(farm, channel, plan, ret);
        edge = programme_edge(farm, plan);
        report = edge ? farm_channel_report(edge, channel->id) : NULL;
        const struct node *shown = edge ? edge : farm_node(farm, ret->edge);
        if (shown)
            copy_text(ret->preview_url, sizeof ret->preview_url, shown->report->preview_url);
    }
    if (channel->current) {
        ret->plan_epoch = channel->current->message->plan_epoch;
        ret->at_frame = channel->current->at_frame;
    }
    if (channel->next) {
        ret->next_plan_epoch = channel->next->message->plan_epoch;
        ret->next_at_frame = channel->phase == PHASE_ARMED ? channel->next->at_frame : 0;
    }
    ret->state = state_view(farm, channel, edge, report, now);
}

static int node_order(const void *a, const void *b)
{
    return strcmp(((const struct farm_node_view *)a)->name,
                  ((const struct farm_node_view *)b)->name);
}

static int channel_order(const void *a, const void *b)
{
    uint64_t x = ((const struct farm_channel_view *)a)->channel;
    uint64_t y = ((const struct farm_channel_view *)b)->channel;
    return x < y ? -1 : x > y;
}

struct farm_snapshot *farm_snapshot_create(const struct farm *farm, struct farm_time now)
{
    struct farm_snapshot *s = base_alloc(sizeof *s);
    s->nodes = list_alloc((size_t)farm->node_count, sizeof *s->nodes);
    s->channels = list_alloc((size_t)farm->channel_count, sizeof *s->channels);
    for (int i = 0; i < farm->node_count; i++)
        node_view(farm, farm->nodes[i], now.monotonic_ns, &s->nodes[s->node_count++]);
    for (int i = 0; i < farm->channel_count; i++)
        channel_view(farm, farm->channels[i], now, &s->channels[s->channel_count++]);
    if (s->node_count)
        qsort(s->nodes, (size_t)s->node_count, sizeof *s->nodes, node_order);
    if (s->channel_count)
        qsort(s->channels, (size_t)s->channel_count, sizeof *s->channels, channel_order);
    s->deposed = farm->deposed;
    s->reports = farm->reports;
    s->reports_stale = farm->reports_stale;
    s->states_sent = farm->states_sent;
    s->plans_proposed = farm->plans_proposed;
    s->plans_committed = farm->plans_committed;
    s->plans_given_up = farm->plans_given_up;
    return s;
}

void farm_snapshot_destroy(struct farm_snapshot **snapshot_of)
{
    struct farm_snapshot *s = *snapshot_of;
    if (!s)
        return;
    *snapshot_of = NULL;
    for (int i = 0; i < s->node_count; i++) {
        free(s->nodes[i].stages);
        free(s->nodes[i].alarms);
    }
    for (int i = 0; i < s->channel_count; i++) {
        free(s->channels[i].groups);
        free(s->channels[i].destinations);
    }
    free(s->nodes);
    free(s->channels);
    free(s);
}
