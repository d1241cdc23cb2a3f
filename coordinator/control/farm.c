#include "coordinator/control/farm_private.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct farm *farm_create(const struct farm_config *config, struct farm_time now)
{
    struct farm *farm = base_alloc(sizeof *farm);
    farm->config = *config;
    farm->config.media_url = base_strdup(config->media_url ? config->media_url : "");
    farm->start_ns = farm->tick_ns = farm->resumed_ns = now.monotonic_ns;
    farm->generation = 1;
    return farm;
}

static void channel_destroy(struct farm *farm, struct channel *channel)
{
    channel_plans_drop(farm, channel);
    plan_message_free(&channel->wanted);
    takes_drop(channel);
    timeline_unref(&channel->timeline);
    free(channel);
}

static void node_destroy(struct node *node)
{
    vistter__control__v1__node_report__free_unpacked(node->report, NULL);
    if (node->content)
        explicit_bzero(node->content, node->content_size);
    free(node->content);
    free(node);
}

void farm_destroy(struct farm **farm_of)
{
    struct farm *farm = *farm_of;
    if (!farm)
        return;
    *farm_of = NULL;
    for (int i = 0; i < farm->channel_count; i++)
        channel_destroy(farm, farm->channels[i]);
    for (int i = 0; i < farm->node_count; i++)
        node_destroy(farm->nodes[i]);
    sources_destroy(farm);
    free((char *)farm->config.media_url);
    free(farm);
}

uint64_t farm_deposed(const struct farm *farm)
{
    return farm->deposed;
}

// ---- Channels ---------------------------------------------------------------------------------

static struct channel *channel_add(struct farm *farm, uint64_t id)
{
    if (farm->channel_count == FARM_CHANNELS_MAX)
        return NULL;
    struct channel *channel = base_alloc(sizeof *channel);
    channel->id = id;
    channel->cut_count = -1;
    farm->channels[farm->channel_count++] = channel;
    farm_channels_enter(farm);
    return channel;
}

// Plans of a channel come in rising order: the newest takes the place of the next, and that one's
// the current one's.
int farm_load(struct farm *farm, const void *bytes, size_t size, struct diagnostic *reterr)
{
    struct plan *plan;
    int r = plan_load(bytes, size, &plan, reterr);
    if (r < 0)
        return r;
    struct channel *channel = farm_channel_find(farm, plan->message->channel);
    if (!channel)
        channel = channel_add(farm, plan->message->channel);
    if (!channel || (channel->next && channel->phase != PHASE_ARMED) ||
        plan->message->plan_epoch <= channel->last_plan_epoch) {
        plan_destroy(&plan);
        return diagnostic_set(reterr, -EPROTO, "plan_order", "",
                              "stored plans are loaded before channels, in rising order");
    }
    plan_seal(farm, plan);
    channel->last_plan_epoch = plan->message->plan_epoch;
    channel->last_at_frame = plan->at_frame;
    channel->running = true; // until the channel itself is set
    if (channel->next) {
        plan_destroy(&channel->current);
        channel->current = channel->next;
        channel->next = NULL;
    }
    if (channel->current) {
        channel->next = plan;
        channel->phase = PHASE_ARMED;
    } else {
        channel->current = plan;
    }
    farm_plan_touch(farm, channel->current);
    farm_plan_touch(farm, channel->next);
    return 0;
}

static int channel_check(const struct farm_channel *channel, struct diagnostic *reterr)
{
    const channel_plan_message *plan = channel->plan;
    if (plan->channel == 0)
        return diagnostic_set(reterr, -EINVAL, "channel_id", "", "a channel needs an id above 0");
    if (!channel->running)
        return 0;
    if (plan->rate_num == 0 || plan->rate_den == 0 || plan->rate_num > INT32_MAX ||
        plan->rate_den > INT32_MAX || plan->width == 0 || plan->height == 0)
        return diagnostic_set(reterr, -EINVAL, "channel_format", "",
                              "the channel has no valid picture size and rate");
    if (plan->n_outputs < 1 || plan->n_outputs > PLANNER_OUTPUTS_MAX)
        return diagnostic_set(reterr, -EINVAL, "channel_outputs", "outputs",
                              "a channel has 1 to %d outputs", PLANNER_OUTPUTS_MAX);
    if (channel->track_count < 0 || channel->track_count > PLANNER_TRACKS_MAX)
        return diagnostic_set(reterr, -EINVAL, "channel_tracks", "tracks",
                              "%d tracks; a timeline has at most %d", channel->track_count,
                              PLANNER_TRACKS_MAX);
    if (channel->cut_count >= PLANNER_TRACKS_MAX)
        return diagnostic_set(reterr, -EINVAL, "channel_cuts", "cuts", "at most %d cuts",
                              PLANNER_TRACKS_MAX - 1);
    return 0;
}

static bool placement_wish_changed(const struct channel *c, const struct farm_channel *wanted)
{
    int cuts = wanted->cut_count > 0 ? wanted->cut_count : 0;
    return c->backup_edges != wanted->backup_edges || c->cut_count != wanted->cut_count ||
           (cuts && memcmp(c->cuts, wanted->cuts, (size_t)cuts * sizeof *c->cuts));
}

static void wish_copy(struct channel *c, const struct farm_channel *wanted)
{
    c->track_count = wanted->track_count;
    c->cut_count = wanted->cut_count;
    c->backup_edges = wanted->backup_edges;
    for (int i = 0; i < wanted->track_count; i++) {
        c->tracks[i] = wanted->tracks[i];
        c->kinds[i] = wanted->kinds ? wanted->kinds[i] : PLANNER_KIND_VIDEO;
        c->optional[i] = wanted->optional && wanted->optional[i];
    }
    timeline_unref(&c->timeline);
    c->timeline = wanted->timeline ? timeline_ref(wanted->timeline) : NULL;
    if (wanted->cut_count > 0)
        memcpy(c->cuts, wanted->cuts, (size_t)wanted->cut_count * sizeof *c->cuts);
}

int farm_set_channel(struct farm *farm, const struct farm_channel *wanted,
                     struct diagnostic *reterr)
{
    int r = channel_check(wanted, reterr);
    if (r < 0)
        return r;
    struct channel *c = farm_channel_find(farm, wanted->plan->channel);
    if (!c)
        c = channel_add(farm, wanted->plan->channel);
    if (!c)
        return diagnostic_set(reterr, -ENOSPC, "channels_full", "",
                              "a farm runs at most %d channels", FARM_CHANNELS_MAX);
    if (c->adopted && channel_unstored(c))
        return 0; // the store does not know yet what is on air; then this comes again
    channel_plan_message *copy = plan_message_copy(wanted->plan);
    if (!copy)
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "no memory for a channel");
    bool first = !c->wanted;
    bool changed = placement_wish_changed(c, wanted) && !(first && c->current);
    c->adopted = false;
    plan_message_free(&c->wanted);
    c->wanted = copy;
    c->run = wanted->run;
    if (wanted->running)
        wish_copy(c, wanted);
    if (c->running != wanted->running) {
        c->running = wanted->running;
        c->switch_tries = 0;
        c->text[0] = 0;
        changed = true;
        farm->generation++; // it is, or is no more, among the stopped
    }
    if (wanted->last_plan_epoch > c->last_plan_epoch)
        c->last_plan_epoch = wanted->last_plan_epoch;
    if (wanted->last_at_frame > c->last_at_frame)
        c->last_at_frame = wanted->last_at_frame;
    const struct plan *newest = c->next ? c->next : c->current;
    c->wanted->without_optional = newest && newest->message->without_optional; // until looked at
    if (c->running && (changed || !newest || !plan_matches(newest, c))) {
        c->dirty = true;
        c->retry_ns = 0;
        memset(c->excluded, 0, sizeof c->excluded);
    }
    if (!c->running)
        channel_plans_drop(farm, c);
    return 0;
}

void farm_remove_channel(struct farm *farm, uint64_t id)
{
    for (int i = 0; i < farm->channel_count; i++) {
        if (farm->channels[i]->id != id)
            continue;
        channel_destroy(farm, farm->channels[i]);
        farm->channels[i] = farm->channels[--farm->channel_count];
        farm_channels_enter(farm);
        farm->generation++;
        return;
    }
}

void farm_tick(struct farm *farm, struct farm_time now, const struct farm_outputs *outputs)
{
    // This process has stood still (stopped, or its host slept): nobody could be heard meanwhile.
    if (now.monotonic_ns - farm->tick_ns > FARM_NODE_LOST_NS / 2)
        farm->resumed_ns = now.monotonic_ns;
    farm->tick_ns = now.monotonic_ns;
    farm->places = 0;
    farm_nodes_check(farm, now.monotonic_ns);
    bool gathers = !outputs->fenced && farm_gathers(farm, now.monotonic_ns);
    for (int i = 0; !gathers && !outputs->fenced && !farm->settled && i < farm->channel_count; i++)
        unheard_drop(farm, farm->channels[i], now);
    farm->settled = farm->settled || (!gathers && !outputs->fenced);
    farm_crashes_step(farm, now.monotonic_ns, outputs);
    takes_step(farm, now.monotonic_ns, outputs);
    for (int i = 0; i < farm->channel_count; i++)
        channel_step(farm, farm->channels[i], now, outputs);
    if (farm->settled && !outputs->fenced)
        sources_step(farm, now.monotonic_ns);
    if (!gathers)
        farm_states_send(farm, now.monotonic_ns, outputs);
    for (int i = 0; gathers && i < farm->node_count; i++)
        farm_ask(farm, farm->nodes[i], outputs);
}
