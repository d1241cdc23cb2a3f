// Changes of channels: the store first, then the farm.
#include "coordinator/channel_plan.h"
#include "coordinator/coordinator_private.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/timeline/timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool store_failed(int error)
{
    return error == -EIO || error == -ETIMEDOUT || error == -EREMOTEIO;
}

// Of what was imported before starts were measured.
#define START_UNKNOWN_MS 1000
// What a clip takes of a standby that follows: SOURCE_FOLLOW_NS of decoding, and what has come
// since it was last told where to be.
#define START_WARM_US 400000

static int64_t clips_start_us(struct coordinator *c, const struct timeline *t,
                              const struct track *track, bool warm)
{
    int64_t slowest = 0;
    for (size_t i = 0; i < track->clip_count; i++) {
        const struct clip *clip = &track->clips[i];
        int64_t ms = START_UNKNOWN_MS, us = 0;
        if (clip->asset >= 0) {
            (void)store_media_start(c->store, t->assets[clip->asset].uri + strlen("sha256:"), &ms,
                                    NULL);
            us = warm && ms * 1000 > START_WARM_US ? START_WARM_US : ms * 1000;
        }
        for (size_t k = 0; clip->nested && k < clip->nested->track_count; k++)
            us += clips_start_us(c, clip->nested, &clip->nested->tracks[k], warm);
        slowest = us > slowest ? us : slowest;
    }
    return slowest;
}

// Tells the farm how a channel is now.
static int apply(struct coordinator *c, struct farm_run *farm, const char *name,
                 struct diagnostic *reterr)
{
    struct store_channel channel;
    struct store_output *outputs = NULL;
    struct store_destination *destinations = NULL;
    struct store_poisoned *poisoned = NULL;
    struct timeline *timeline = NULL;
    size_t count = 0, output_count = 0, poisoned_count = 0;
    int error = store_channel_get(c->store, name, &channel, reterr);
    if (!error)
        error = store_destination_list(c->store, channel.id, &destinations, &count, reterr);
    if (!error)
        error = store_output_list(c->store, channel.id, &outputs, &output_count, reterr);
    if (!error)
        error = store_media_poisoned(c->store, &poisoned, &poisoned_count, reterr);
    if (!error && channel.on_air)
        error = timeline_load(c, channel.revision, &timeline, reterr);
    if (!error) {
        struct channel_plan plan;
        int64_t start_us[TIMELINE_TRACKS_MAX];
        struct channel_parts parts = {.channel = &channel,
                                      .outputs = outputs,
                                      .output_count = output_count,
                                      .destinations = destinations,
                                      .destination_count = count,
                                      .poisoned = poisoned,
                                      .poisoned_count = poisoned_count,
                                      .start_us = start_us};
        for (size_t i = 0; timeline && i < timeline->track_count; i++)
            start_us[i] =
                clips_start_us(c, timeline, &timeline->tracks[i],
                               channel.redundancy == STORE_WARM || channel.redundancy == STORE_HOT);
        channel_plan_init(&plan, &parts, timeline, c->settings.cuts);
        error = farm_run_set_channel(farm, &plan.channel, reterr);
        channel_plan_finish(&plan);
    }
    timeline_unref(&timeline);
    if (destinations)
        explicit_bzero(destinations, count * sizeof *destinations);
    free(destinations);
    free(outputs);
    free(poisoned);
    return error;
}

// The end of a change: `error` is what became of the write. A write whose answer was lost may still
// be made after this look at the store, so that there has to be another. Who leads no more has
// written nevertheless: the next leader reads it.
static int finish(struct coordinator *c, const char *name, int error, struct diagnostic *reterr)
{
    struct farm_run *farm = farm_borrow(c);
    int applied = farm ? apply(c, farm, name, error ? NULL : reterr) : 0;
    farm_give(c, farm);
    if (store_failed(error) || store_failed(applied))
        atomic_store(&c->unapplied, true);
    pthread_mutex_unlock(&c->changing);
    return error ? error : applied;
}

int coordinator_create_channel(struct coordinator *c, const struct store_channel *channel,
                               struct diagnostic *reterr)
{
    uint64_t id;
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name, store_channel_create(c->store, channel, &id, reterr), reterr);
}

int coordinator_delete_channel(struct coordinator *c, const char *name, struct diagnostic *reterr)
{
    uint64_t id;
    pthread_mutex_lock(&c->changing);
    int error = store_channel_delete(c->store, name, &id, reterr);
    if (error)
        return finish(c, name, error, reterr);
    struct farm_run *farm = farm_borrow(c);
    if (farm)
        farm_run_remove_channel(farm, id);
    farm_give(c, farm);
    pthread_mutex_unlock(&c->changing);
    return 0;
}

// The next frame that the edge will emit: it ends a channel as soon as it hears of it.
static int64_t frame_now(const struct store_channel *channel)
{
    int64_t frame = rate_frame_at_ns(channel->rate, clock_realtime_ns() - channel->epoch_ns -
                                                        CHANNEL_PLAYOUT_DELAY_NS);
    return frame < 0 ? 0 : frame;
}

int coordinator_change_channel(struct coordinator *c, const struct store_channel *channel,
                               const struct store_change *change, struct diagnostic *reterr)
{
    struct store_change wanted = *change;
    pthread_mutex_lock(&c->changing);
    wanted.at_frame = frame_now(channel);
    int error = change->kind == STORE_STOPPED ? 0 : sources_check(c, change->revision, reterr);
    if (!error)
        error = store_channel_change(c->store, channel->name, &wanted, reterr);
    return finish(c, channel->name, error, reterr);
}

int coordinator_take(struct coordinator *c, const char *channel, const char *take,
                     struct farm_took *ret, struct diagnostic *reterr)
{
    struct farm_run *farm = farm_borrow(c);
    int error = farm ? farm_run_take(farm, channel, take, ret, reterr)
                     : diagnostic_set(reterr, -ESTALE, "not_leading", "",
                                      "this coordinator leads no more; ask again");
    farm_give(c, farm);
    return error;
}

int coordinator_add_output(struct coordinator *c, const struct store_channel *channel,
                           const struct store_output *output, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name, store_output_add(c->store, output, reterr), reterr);
}

int coordinator_remove_output(struct coordinator *c, const struct store_channel *channel,
                              const char *name, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name, store_output_remove(c->store, channel->id, name, reterr),
                  reterr);
}

int coordinator_set_redundancy(struct coordinator *c, const struct store_channel *channel,
                               enum store_redundancy redundancy, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name,
                  store_channel_set_redundancy(c->store, channel->id, redundancy, reterr), reterr);
}

int coordinator_set_edges(struct coordinator *c, const struct store_channel *channel, int edges,
                          struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name, store_channel_set_edges(c->store, channel->id, edges, reterr),
                  reterr);
}

int coordinator_set_slate(struct coordinator *c, const struct store_channel *channel,
                          const char *timeline, const char *revision, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name,
                  store_channel_set_slate(c->store, channel->id, timeline, revision, reterr),
                  reterr);
}

int coordinator_add_destination(struct coordinator *c, const struct store_channel *channel,
                                const struct store_destination *destination,
                                struct diagnostic *reterr)
{
    uint64_t id;
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name, store_destination_add(c->store, destination, &id, reterr),
                  reterr);
}

int coordinator_remove_destination(struct coordinator *c, const struct store_channel *channel,
                                   const char *name, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, channel->name, store_destination_remove(c->store, channel->id, name, reterr),
                  reterr);
}

// Tells the farm which nodes are to have no work.
static int apply_draining(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr)
{
    struct store_node *nodes;
    size_t count;
    int error = store_node_list(c->store, &nodes, &count, reterr);
    if (error)
        return error;
    for (size_t i = 0; i < count; i++)
        farm_run_set_draining(farm, nodes[i].name, nodes[i].draining);
    nodes_note(c, nodes, count);
    return 0;
}

int coordinator_drain_node(struct coordinator *c, const char *node, bool draining,
                           struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    int error = store_node_drain(c->store, node, draining, reterr);
    struct farm_run *farm = farm_borrow(c);
    int applied = farm ? apply_draining(c, farm, error ? NULL : reterr) : 0;
    farm_give(c, farm);
    if (store_failed(error) || store_failed(applied))
        atomic_store(&c->unapplied, true);
    pthread_mutex_unlock(&c->changing);
    return error ? error : applied;
}

int coordinator_clear_media(struct coordinator *c, const char *sha256, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    int error = store_media_clear(c->store, sha256, reterr);
    struct farm_run *farm = farm_borrow(c);
    if (farm && !error)
        farm_run_clear_asset(farm, sha256);
    farm_give(c, farm);
    pthread_mutex_unlock(&c->changing);
    if (!error || store_failed(error))
        atomic_store(&c->unapplied, true); // all channels that show it
    return error;
}

// ---- All channels -----------------------------------------------------------------------------

// One channel that cannot be shown must not keep the others off air.
static int apply_all(struct coordinator *c, struct farm_run *farm,
                     const struct store_channel *channels, size_t count, struct diagnostic *reterr)
{
    for (size_t i = 0; i < count; i++) {
        struct diagnostic why;
        char text[1024];
        pthread_mutex_lock(&c->changing);
        int error = apply(c, farm, channels[i].name, &why);
        pthread_mutex_unlock(&c->changing);
        if (store_failed(error)) {
            if (reterr)
                *reterr = why;
            return error;
        }
        if (error && error != -ENOENT)
            log_error("channel_refused", "channel=%s reason=\"%s\"", channels[i].name,
                      diagnostic_format(&why, text, sizeof text));
    }
    return 0;
}

bool channels_apply(struct coordinator *c)
{
    struct store_channel *channels;
    size_t count;
    if (store_channel_list(c->store, &channels, &count, NULL))
        return false;
    struct farm_run *farm = farm_borrow(c);
    bool ok =
        !farm || (!sources_apply(c, farm, NULL) && !apply_all(c, farm, channels, count, NULL) &&
                  !apply_draining(c, farm, NULL));
    farm_give(c, farm);
    free(channels);
    return ok;
}

static int load_plans(struct farm_run *farm, const struct store_plan *plans, size_t plan_count,
                      const struct store_channel *channels, size_t channel_count,
                      struct diagnostic *reterr)
{
    int error = 0;
    for (size_t i = 0; i < plan_count && !error; i++) {
        bool on_air = false;
        for (size_t k = 0; k < channel_count; k++)
            on_air = on_air || (channels[k].id == plans[i].channel && channels[k].on_air);
        if (on_air)
            error = farm_run_load(farm, plans[i].bytes, plans[i].size, reterr);
    }
    return error;
}

static int load_takes(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr)
{
    struct store_take *takes;
    size_t count;
    int error = store_take_list(c->store, &takes, &count, reterr);
    if (error)
        return error;
    for (size_t i = 0; i < count; i++)
        farm_run_load_take(farm, takes[i].channel,
                           &(struct farm_take){takes[i].sequence, takes[i].at_frame, takes[i].track,
                                               takes[i].text});
    store_takes_free(takes, count);
    return 0;
}

int channels_load(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr)
{
    struct store_plan *plans = NULL;
    struct store_channel *channels = NULL;
    size_t plan_count = 0, channel_count = 0;
    int error = store_plan_list(c->store, &plans, &plan_count, reterr);
    if (!error)
        error = store_channel_list(c->store, &channels, &channel_count, reterr);
    if (!error)
        error = load_plans(farm, plans, plan_count, channels, channel_count, reterr);
    if (!error)
        error = apply_draining(c, farm, reterr);
    if (!error)
        error = sources_apply(c, farm, reterr);
    if (!error)
        error = apply_all(c, farm, channels, channel_count, reterr);
    if (!error)
        error = load_takes(c, farm, reterr);
    for (size_t i = 0; i < plan_count; i++)
        free(plans[i].bytes);
    free(plans);
    free(channels);
    return error;
}
