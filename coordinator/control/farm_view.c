#include "coordinator/control/farm_private.h"
#include "engine/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MISMATCH_NS INT64_C(60000000000) // an alarm lasts after the newest

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

// `more`: alarms that are added later.
static void stages_view(const farm_report_message *report, int more, struct farm_node_view *ret)
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
    ret->alarms = list_alloc(report->n_alarms + (size_t)more, sizeof *ret->alarms);
    for (size_t i = 0; i < report->n_alarms; i++) {
        const Vistter__Control__V1__AlarmReport *a = report->alarms[i];
        struct farm_alarm_view *alarm = &ret->alarms[ret->alarm_count++];
        copy_text(alarm->code, sizeof alarm->code, a->code);
        copy_text(alarm->text, sizeof alarm->text, a->text);
        alarm->channel = a->channel;
        alarm->count = a->count;
    }
}

static void alarm_add(struct farm_node_view *ret, const char *code, uint64_t channel,
                      uint64_t count, const char *text)
{
    struct farm_alarm_view *alarm = &ret->alarms[ret->alarm_count++];
    *alarm = (struct farm_alarm_view){.channel = channel, .count = count};
    copy_text(alarm->code, sizeof alarm->code, code);
    copy_text(alarm->text, sizeof alarm->text, text);
}

// What the farm itself finds about a node: beside what it reports. Room for these is in the list.
static void alarms_find(const struct farm *farm, const struct node *node, int64_t now_ns,
                        struct farm_node_view *ret)
{
    if (!node->alive) {
        char text[96];
        snprintf(text, sizeof text, "it has not reported for %lld s",
                 (long long)((now_ns - node->report_ns) / 1000000000));
        alarm_add(ret, "node_lost", 0, 1, text);
    }
    for (int i = 0; i < farm->channel_count; i++) {
        const struct channel *c = farm->channels[i];
        if (c->gops_mismatched && now_ns - c->gops_mismatch_ns < MISMATCH_NS && c->current &&
            !strcmp(c->current->placement.edges[0], node->name))
            alarm_add(ret, "gop_mismatch", c->id, c->gops_mismatched, c->gops_text);
    }
    for (int i = 0; i < farm->source_count; i++) {
        const struct source *s = &farm->sources[i];
        char text[FARM_SOURCE_BYTES + 64];
        snprintf(text, sizeof text, "%s: what it sends ends decoders", s->name);
        if (s->quarantined && !strcmp(s->home, node->name))
            alarm_add(ret, "source_quarantined", 0, (uint64_t)s->quarantines, text);
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
    ret->overload = report->overload;
    if (report->golden.len == PLANNER_GOLDEN_BYTES)
        memcpy(ret->golden, report->golden.data, PLANNER_GOLDEN_BYTES);
    stages_view(report, 2 * farm->channel_count + 1 + farm->source_count, ret);
    alarms_find(farm, node, now_ns, ret);
}

static void standbys_view(const struct farm *farm, const struct plan *plan,
                          const struct plan_group *group, struct farm_group_view *ret)
{
    for (int k = 0; k < group->standby_count; k++) {
        const struct plan_standby *standby = &group->standbys[k];
        struct farm_standby_view *view = &ret->standbys[ret->standby_count++];
        copy_text(view->node, sizeof view->node, standby->node);
        view->ready = standby_ready(farm, plan, group->group, standby->node, standby->address);
    }
}

static void groups_view(const struct farm *farm, const struct channel *channel,
                        const struct plan *plan, struct farm_channel_view *ret)
{
    const struct plan_placement *p = &plan->placement;
    struct protection next = {.protected = true}; // what is on its way in has to be so as well
    for (int i = 0; channel->next && next.protected && i < channel->next->placement.group_count;
         i++)
        group_protection(farm, channel->next, &channel->next->placement.groups[i], &next);
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
        struct protection own;
        group_protection(farm, plan, &p->groups[i], &own);
        group->takeover_ms = own.takeover_ms;
        group->slack_ms = own.slack_ms;
        group->protected = own.protected && next.protected;
        copy_text(group->alone, sizeof group->alone, own.alone);
        if (!own.protected)
            copy_text(group->unprotected, sizeof group->unprotected, own.why);
        else if (!next.protected)
            snprintf(group->unprotected, sizeof group->unprotected, "the next plan: %s", next.why);
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
    ret->timeline = channel->timeline ? timeline_ref(channel->timeline) : NULL;
    takes_view(channel, ret->shown);
    ret->gops_compared = channel->gops_compared;
    ret->gops_explained = channel->gops_explained;
    ret->gops_mismatched = channel->gops_mismatched;
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
        ret->without_optional = channel->current->message->without_optional;
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

static struct farm_node_view *node_named(struct farm_snapshot *s, const char *name)
{
    struct farm_node_view key;
    copy_text(key.name, sizeof key.name, name);
    return s->node_count ? bsearch(&key, s->nodes, (size_t)s->node_count, sizeof key, node_order)
                         : NULL;
}

// One alarm a channel and node; it counts the groups.
static void unprotected_add(struct farm_node_view *node, const struct farm_channel_view *channel,
                            const struct farm_group_view *group)
{
    char text[256];
    for (int i = 0; i < node->alarm_count; i++)
        if (node->alarms[i].channel == channel->channel &&
            !strcmp(node->alarms[i].code, "unprotected")) {
            node->alarms[i].count++;
            return;
        }
    snprintf(text, sizeof text, "its loss would be seen: group %u: %.150s", group->group,
             group->unprotected);
    alarm_add(node, "unprotected", channel->channel, 1, text);
}

// Whether an edge of the output lives beside this one.
static bool other_edge(struct farm_snapshot *s, const struct farm_output_view *o, const char *edge)
{
    const char *other = strcmp(o->edge, edge) ? o->edge : o->backup_edge;
    const struct farm_node_view *node = *other ? node_named(s, other) : NULL;
    return node && node->alive;
}

// Counts what depends on one node alone. `s->nodes` are in order.
static void dependence_view(const struct farm *farm, const struct farm_channel_view *view,
                            int64_t now_ns, struct farm_snapshot *s)
{
    const struct channel *channel = farm_channel_find(farm, view->channel);
    bool alarm = protection_alarm(channel, now_ns);
    for (int i = 0; i < view->group_count; i++) {
        const struct farm_group_view *group = &view->groups[i];
        struct farm_node_view *node = *group->alone ? node_named(s, group->alone) : NULL;
        if (!node)
            continue;
        node->unprotected++;
        if (alarm)
            unprotected_add(node, view, group);
    }
    const struct farm_node_view *counted[2 * PLANNER_OUTPUTS_MAX];
    int count = 0;
    for (int i = 0; i < 2 * view->output_count; i++) {
        const struct farm_output_view *o = &view->outputs[i / 2];
        const char *name = i % 2 ? o->backup_edge : o->edge;
        struct farm_node_view *edge = *name ? node_named(s, name) : NULL;
        bool seen = !edge || !edge->alive || other_edge(s, o, name);
        for (int k = 0; k < count; k++)
            seen = seen || counted[k] == edge;
        if (seen)
            continue;
        edge->unprotected++;
        counted[count++] = edge;
    }
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
    for (int i = 0; i < s->channel_count; i++)
        dependence_view(farm, &s->channels[i], now.monotonic_ns, s);
    if (s->channel_count)
        qsort(s->channels, (size_t)s->channel_count, sizeof *s->channels, channel_order);
    sources_view(farm, now, s);
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
        timeline_unref(&s->channels[i].timeline);
        for (int t = 0; t < TIMELINE_TRACKS_MAX; t++)
            free(s->channels[i].shown[t].take);
    }
    for (int i = 0; i < s->source_count; i++) {
        free(s->sources[i].status);
        free(s->sources[i].followers);
    }
    free(s->sources);
    free(s->nodes);
    free(s->channels);
    free(s);
}
