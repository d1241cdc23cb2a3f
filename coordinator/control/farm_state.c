// Desired states: what each node needs to know, and nothing more. Built anew when a plan has
// changed, compared as bytes, sent until the node shows its version.
#include "coordinator/control/farm_private.h"
#include "engine/base/thread.h"
#include "engine/link/control_link.h"

#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__LiveLog live_log_message;
typedef Vistter__Control__V1__LiveTake live_take_message;
typedef Vistter__Control__V1__GroupPlan group_message;
typedef Vistter__Control__V1__LinkPlan link_message;
typedef Vistter__Control__V1__OutputPlan output_message;
typedef Vistter__Control__V1__Publisher publisher_message;

#define PUBLISHERS_MAX 512 // an edge runs at most 64 channels

// A plan as one node sees it: shallow copies with foreign links and outputs left out.
struct plan_view {
    channel_plan_message message;
    group_message groups[PLANNER_GROUPS_MAX], *group_list[PLANNER_GROUPS_MAX];
    link_message *links[PLANNER_GROUPS_MAX][PLAN_LINKS_MAX];
    output_message *outputs[PLANNER_OUTPUTS_MAX];
};

static void view_fill(struct plan_view *view, const struct plan *plan, const char *node)
{
    view->message = *plan->message;
    view->message.groups = view->group_list;
    for (size_t g = 0; g < view->message.n_groups; g++) {
        group_message *group = &view->groups[g];
        *group = *plan->message->groups[g];
        bool provides = !strcmp(group->provider, node);
        for (size_t k = 0; k < group->n_standbys; k++)
            provides = provides || !strcmp(group->standbys[k]->node, node);
        size_t kept = 0;
        for (size_t l = 0; l < group->n_links && kept < PLAN_LINKS_MAX; l++) {
            if (provides || !strcmp(group->links[l]->consumer, node))
                view->links[g][kept++] = group->links[l];
        }
        group->links = view->links[g];
        group->n_links = kept;
        view->group_list[g] = group;
    }
    size_t kept = 0;
    for (size_t o = 0; o < view->message.n_outputs; o++) {
        if (!strcmp(plan->message->outputs[o]->edge, node) ||
            !strcmp(plan->message->outputs[o]->backup_edge, node))
            view->outputs[kept++] = plan->message->outputs[o];
    }
    if (kept && plan->message->committed && plan->sealed)
        view->message.sealed = (ProtobufCBinaryData){plan->sealed_size, plan->sealed};
    view->message.outputs = view->outputs;
    view->message.n_outputs = kept;
}

struct takes_view {
    live_log_message log;
    live_take_message takes[TAKES_MAX], *list[TAKES_MAX];
};

struct views {
    struct plan_view *list[2 * FARM_CHANNELS_MAX];
    channel_plan_message *messages[2 * FARM_CHANNELS_MAX];
    uint64_t stopped[FARM_CHANNELS_MAX];
    size_t count, stopped_count;
    // Of an edge's channels.
    publisher_message publishers[PUBLISHERS_MAX], *publisher_list[PUBLISHERS_MAX];
    size_t publisher_count;
    // Of channels that have takes.
    struct takes_view *takes[FARM_CHANNELS_MAX];
    live_log_message *logs[FARM_CHANNELS_MAX];
    size_t log_count;
    struct source_parts *sources;
    Vistter__Control__V1__SourcePlan **source_list;
};

static void views_add(struct views *views, const struct plan *plan, const char *node)
{
    if (!plan || !plan_needs(plan, node))
        return;
    struct plan_view *view = base_alloc(sizeof *view);
    view_fill(view, plan, node);
    views->messages[views->count] = &view->message;
    views->list[views->count++] = view;
}

// `before`: how many plans the node had before those of the channel.
static void publishers_add(struct views *views, size_t before, const struct channel *channel)
{
    bool edge = false;
    for (size_t i = before; i < views->count; i++)
        edge = edge || views->messages[i]->n_outputs;
    size_t at = views->publisher_count;
    if (edge && at + PLANNER_OUTPUTS_MAX <= PUBLISHERS_MAX)
        views->publisher_count +=
            publishers_fill(channel, &views->publishers[at], &views->publisher_list[at]);
}

static void takes_add(struct views *views, const struct channel *channel)
{
    struct takes_view *view = base_alloc(sizeof *view);
    vistter__control__v1__live_log__init(&view->log);
    view->log.channel = channel->id;
    view->log.n_takes = takes_fill(channel, view->takes, view->list, &view->log.stored);
    view->log.takes = view->list;
    views->logs[views->log_count] = &view->log;
    views->takes[views->log_count++] = view;
}

static size_t sources_add(struct views *views, const struct farm *farm, const char *node)
{
    size_t count = (size_t)farm->source_count;
    if (!count)
        return 0;
    views->sources = base_alloc(count * sizeof *views->sources);
    views->source_list = base_alloc(count * sizeof(void *));
    count = sources_fill(farm, node, views->sources);
    for (size_t i = 0; i < count; i++)
        views->source_list[i] = &views->sources[i].plan;
    return count;
}

static void content_set(struct node *node, uint8_t *bytes, size_t size)
{
    if (node->content)
        explicit_bzero(node->content, node->content_size);
    free(node->content);
    node->content = bytes;
    node->content_size = size;
}

// True if what the node should do has changed.
static bool content_build(const struct farm *farm, struct node *node)
{
    uint64_t retry[FARM_CRASHES_MAX];
    struct views *views = base_alloc(sizeof *views);
    for (int i = 0; i < farm->channel_count; i++) {
        const struct channel *channel = farm->channels[i];
        size_t before = views->count;
        if (!channel->running)
            views->stopped[views->stopped_count++] = channel->id;
        views_add(views, channel->current, node->name);
        // Not before its epoch is reserved: an epoch that a node has seen is used for good.
        if (channel->phase >= PHASE_PREPARING)
            views_add(views, channel->next, node->name);
        publishers_add(views, before, channel);
        if (views->count > before && channel->take_count)
            takes_add(views, channel);
    }
    farm_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    state.epoch = farm->config.leader_epoch;
    state.media_url = (char *)farm->config.media_url;
    state.n_channels = views->count;
    state.channels = views->messages;
    state.n_retry = farm_retry_list(farm, node->name, farm->tick_ns, retry);
    state.retry = retry;
    state.n_stopped_channels = views->stopped_count;
    state.stopped_channels = views->stopped;
    state.n_publishers = views->publisher_count;
    state.publishers = views->publisher_list;
    state.n_live = views->log_count;
    state.live = views->logs;
    state.n_sources = sources_add(views, farm, node->name);
    state.sources = views->source_list;
    size_t size = vistter__control__v1__desired_state__get_packed_size(&state);
    uint8_t *bytes = base_alloc(size ? size : 1);
    vistter__control__v1__desired_state__pack(&state, bytes);
    for (size_t i = 0; i < views->count; i++)
        free(views->list[i]);
    for (size_t i = 0; i < views->log_count; i++)
        free(views->takes[i]);
    free(views->sources);
    free(views->source_list);
    free(views);
    bool changed =
        !node->content || size != node->content_size || memcmp(bytes, node->content, size) != 0;
    if (changed) {
        content_set(node, bytes, size);
    } else {
        explicit_bzero(bytes, size);
        free(bytes);
    }
    return changed;
}

void farm_plan_touch(struct farm *farm, const struct plan *plan)
{
    const char *name, *address;
    for (int i = 0; plan && (name = plan_node(plan, i, &address)); i++) {
        struct node *node = farm_node(farm, name);
        if (node)
            node->generation = 0;
    }
}

static void node_refresh(struct farm *farm, struct node *node)
{
    if (node->content && node->generation == farm->generation)
        return;
    node->generation = farm->generation;
    if (!content_build(farm, node))
        return;
    node->version++;
    node->sent_ns = 0;
}

// Tells an edge that has all which report of it was heard: what it may publish it may go on with.
static void renew(struct farm *farm, struct node *node, int64_t now_ns,
                  const struct farm_outputs *outputs)
{
    const farm_report_message *report = node->report;
    if (report->role != VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE || farm->deposed ||
        now_ns - node->renewed_ns < CONTROL_RENEW_NS)
        return;
    Vistter__Control__V1__Renewal renewal = VISTTER__CONTROL__V1__RENEWAL__INIT;
    renewal.instance = report->instance;
    renewal.sequence = report->sequence;
    renewal.n_metered = farm_metered(farm, now_ns);
    renewal.metered = farm->metered;
    farm_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    state.epoch = farm->config.leader_epoch;
    state.version = node->version;
    state.renewal = &renewal;
    outputs->send(outputs->opaque, node->name, &state);
    node->renewed_ns = now_ns;
}

void farm_states_send(struct farm *farm, int64_t now_ns, const struct farm_outputs *outputs)
{
    if (outputs->fenced)
        return; // nodes remember what they were told
    for (int i = 0; i < farm->node_count; i++) {
        struct node *node = farm->nodes[i];
        const farm_report_message *report = node->report;
        node_refresh(farm, node);
        bool ours = report->state_epoch == farm->config.leader_epoch;
        // A version from a former life of this coordinator: ours must be above, or it is ignored.
        if (ours && report->state_version > node->version) {
            node->version = report->state_version + 1;
            node->sent_ns = 0;
        }
        bool shown = ours && report->state_version == node->version && node->sent_ns != 0;
        if (node->alive && shown)
            renew(farm, node, now_ns, outputs);
        if (!node->alive || shown ||
            (node->sent_ns != 0 && now_ns - node->sent_ns < FARM_RESEND_NS))
            continue;
        farm_state_message *state =
            vistter__control__v1__desired_state__unpack(NULL, node->content_size, node->content);
        if (!state)
            continue;
        state->version = node->version;
        outputs->send(outputs->opaque, node->name, state);
        vistter__control__v1__desired_state__free_unpacked(state, NULL);
        node->sent_ns = now_ns;
        farm->states_sent++;
    }
}
