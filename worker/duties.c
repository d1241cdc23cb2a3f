#include "worker/duties.h"

#include "engine/base/log.h"
#include "engine/frame/picture.h"
#include "engine/receive/live_message.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef Vistter__Control__V1__DesiredState desired_state;
typedef Vistter__Control__V1__ChannelPlan channel_plan;
typedef Vistter__Control__V1__GroupPlan group_plan;

static bool size_valid(uint32_t width, uint32_t height)
{
    return width >= 2 && height >= 2 && width % 2 == 0 && height % 2 == 0 &&
           width <= PICTURE_SIDE_MAX && height <= PICTURE_SIDE_MAX;
}

// What a plan must be for this node to touch it; everything later may then rely on it.
static bool plan_valid(const channel_plan *p)
{
    bool ok = p->revision.len == 32 && size_valid(p->width, p->height) && p->rate_num > 0 &&
              p->rate_den > 0 && p->rate_num <= INT32_MAX && p->rate_den <= INT32_MAX &&
              p->rate_num / p->rate_den <= 240 && p->rate_num >= p->rate_den;
    for (size_t i = 0; ok && i < p->n_groups; i++) {
        const group_plan *g = p->groups[i];
        ok = g->track_from <= g->track_to && g->track_to <= TIMELINE_TRACKS_MAX &&
             ((!g->width && !g->height) || size_valid(g->width, g->height));
    }
    if (!ok)
        log_error("plan_malformed", "channel=%" PRIu64 " plan=%" PRIu32, p->channel, p->plan_epoch);
    return ok;
}

// As its provider or its standby: a standby is prepared in the same way, and renders when asked.
static bool group_is_ours(const group_plan *g, const char *node)
{
    bool ours = !strcmp(g->provider, node);
    for (size_t i = 0; i < g->n_standbys; i++)
        ours = ours || !strcmp(g->standbys[i]->node, node);
    return ours;
}

static bool wanted(const desired_state *state, const char *node, const struct stage *stage)
{
    for (size_t i = 0; i < state->n_channels; i++) {
        const channel_plan *p = state->channels[i];
        for (size_t k = 0; k < p->n_groups; k++)
            if (group_is_ours(p->groups[k], node) &&
                stage_is(stage, p->channel, p->plan_epoch, p->groups[k]->group))
                return true;
    }
    return false;
}

static int end_unwanted(struct duties *d, const desired_state *state, const char *node,
                        struct stage **ended)
{
    int kept = 0, ended_count = 0;
    for (int i = 0; i < d->stage_count; i++) {
        struct stage *stage = d->stages[i];
        if (wanted(state, node, stage)) {
            d->stages[kept++] = stage;
        } else {
            stage_close(stage); // no callback reaches it any more
            ended[ended_count++] = stage;
        }
    }
    d->stage_count = kept;
    return ended_count;
}

static void take_links(struct duties *d, Vistter__Control__V1__LinkPlan *const *links, size_t count)
{
    for (size_t i = 0; i < count && d->key_count < DUTIES_LINKS_MAX; i++) {
        const Vistter__Control__V1__LinkPlan *l = links[i];
        if (l->key.len != LINK_KEY_BYTES)
            continue;
        struct duties_key *k = &d->keys[d->key_count++];
        snprintf(k->consumer, sizeof k->consumer, "%s", l->consumer);
        snprintf(k->link_id, sizeof k->link_id, "%s", l->link_id);
        memcpy(k->key, l->key.data, LINK_KEY_BYTES);
    }
}

static struct stage *find_stage(const struct duties *d, const channel_plan *p, const group_plan *g)
{
    for (int i = 0; i < d->stage_count; i++)
        if (stage_is(d->stages[i], p->channel, p->plan_epoch, g->group))
            return d->stages[i];
    return NULL;
}

static struct stage *start_stage(struct duties *d, const channel_plan *p, size_t group,
                                 const struct stage_config *common)
{
    if (d->stage_count == DUTIES_STAGES_MAX)
        return NULL;
    const group_plan *g = p->groups[group];
    struct stage_config config = *common;
    config.plan = p;
    config.group = group;
    log_info("stage_started",
             "channel=%s plan=%" PRIu32 " group=%" PRIu32 " tracks=%" PRIu32 "..%" PRIu32,
             p->channel_name, p->plan_epoch, g->group, g->track_from, g->track_to);
    return d->stages[d->stage_count++] = stage_create(&config);
}

static void start_missing(struct duties *d, const desired_state *state,
                          const struct stage_config *common)
{
    d->key_count = 0;
    for (size_t i = 0; i < state->n_sources; i++)
        if (!strcmp(state->sources[i]->home, common->node))
            take_links(d, state->sources[i]->links, state->sources[i]->n_links);
    for (size_t i = 0; i < state->n_channels; i++) {
        const channel_plan *p = state->channels[i];
        if (!plan_valid(p))
            continue;
        struct take_log *log = live_message_read(state, p->channel, NULL, NULL);
        for (size_t k = 0; k < p->n_groups; k++) {
            const group_plan *g = p->groups[k];
            if (!group_is_ours(g, common->node))
                continue;
            take_links(d, g->links, g->n_links);
            struct stage *stage = find_stage(d, p, g);
            if (!stage)
                stage = start_stage(d, p, k, common);
            if (stage && p->committed)
                stage_commit(stage, p->at_frame, p->start_frame);
            if (stage)
                stage_live(stage, log);
        }
        take_log_unref(&log);
    }
}

bool duties_news(const struct duties *d, const desired_state *state)
{
    return state->epoch > d->epoch || (state->epoch == d->epoch && state->version > d->version);
}

int duties_follow(struct duties *d, const desired_state *state, const struct stage_config *stage,
                  struct stage **ret_ended)
{
    int ended = end_unwanted(d, state, stage->node, ret_ended);
    start_missing(d, state, stage);
    d->epoch = state->epoch;
    d->version = state->version;
    return ended;
}

bool duties_link_key(const struct duties *d, const char *consumer, const char *link_id,
                     uint8_t ret_key[LINK_KEY_BYTES])
{
    for (int i = 0; i < d->key_count; i++) {
        if (strcmp(d->keys[i].consumer, consumer) || strcmp(d->keys[i].link_id, link_id))
            continue;
        memcpy(ret_key, d->keys[i].key, LINK_KEY_BYTES);
        return true;
    }
    return false;
}
