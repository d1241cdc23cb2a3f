#include "edge/state.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/media_cache.h"
#include "engine/receive/live_message.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__DesiredState desired_state;

struct state *state_create(const char *node, struct state_file *file,
                           const struct channel_config *config)
{
    struct state *s = base_alloc(sizeof *s);
    s->node = node;
    s->file = file;
    s->config = *config;
    s->config.outputs.publish = &s->publish;
    return s;
}

static void remove_channel(struct state *s, int index)
{
    log_info("channel_stop", "channel=%llu", (unsigned long long)s->channels[index].id);
    channel_destroy(&s->channels[index].channel);
    take_log_unref(&s->channels[index].live);
    s->channels[index] = s->channels[--s->channel_count];
}

void state_destroy(struct state **state)
{
    struct state *s = *state;
    if (!s)
        return;
    *state = NULL;
    while (s->channel_count)
        remove_channel(s, s->channel_count - 1);
    held_finish(&s->held);
    free(s);
}

static void refuse(struct state *s, uint64_t channel, uint32_t epoch, const struct diagnostic *d)
{
    char text[200];
    diagnostic_format(d, text, sizeof text);
    log_error("plan_refused", "channel=%llu plan_epoch=%u reason=\"%s\"",
              (unsigned long long)channel, epoch, text);
    if (s->refusal_count == STATE_CHANNELS_MAX)
        return;
    struct state_refusal *r = &s->refusals[s->refusal_count++];
    *r = (struct state_refusal){.channel = channel, .epoch = epoch};
    snprintf(r->reason, sizeof r->reason, "%s", text);
}

static bool is_stopped(const desired_state *message, uint64_t channel)
{
    for (size_t i = 0; i < message->n_stopped_channels; i++)
        if (message->stopped_channels[i] == channel)
            return true;
    return false;
}

static bool is_listed(const desired_state *message, uint64_t channel)
{
    for (size_t i = 0; i < message->n_channels; i++)
        if (message->channels[i]->channel == channel)
            return !is_stopped(message, channel);
    return false;
}

// One whose committed plans are gone has another place by now, or was stopped, though the state
// that said so may have been lost: what it is to prepare begins anew.
static bool goes_on(const struct state_channel *channel, const desired_state *message)
{
    if (!is_listed(message, channel->id))
        return false;
    for (size_t i = 0; i < message->n_channels; i++)
        if (message->channels[i]->channel == channel->id && message->channels[i]->committed)
            return true;
    return !channel->committed;
}

static struct state_channel *find_or_create(struct state *s, uint64_t id)
{
    for (int i = 0; i < s->channel_count; i++)
        if (s->channels[i].id == id)
            return &s->channels[i];
    struct channel_config config = s->config;
    config.channel = id;
    struct channel *channel = NULL;
    if (s->channel_count == STATE_CHANNELS_MAX || channel_create(&config, &channel))
        return NULL;
    s->channels[s->channel_count] = (struct state_channel){.id = id, .channel = channel};
    log_info("channel_start", "channel=%llu", (unsigned long long)id);
    return &s->channels[s->channel_count++];
}

static void apply_takes(struct state_channel *channel, const desired_state *message)
{
    struct take_log *known = channel->live;
    channel->live = live_message_read(message, channel->id, known, &channel->stored);
    take_log_unref(&known);
    channel_live(channel->channel, channel->live);
}

// All plans of channel `id`.
static void apply_channel(struct state *s, const desired_state *message, uint64_t id)
{
    struct plan *plans[CHANNEL_PLANS_MAX];
    int count = 0;
    struct diagnostic d = {0};
    for (size_t i = 0; i < message->n_channels && count < CHANNEL_PLANS_MAX; i++) {
        const Vistter__Control__V1__ChannelPlan *m = message->channels[i];
        if (m->channel != id)
            continue;
        if (plan_parse(m, s->node, &plans[count], &d))
            refuse(s, id, m->plan_epoch, &d);
        else
            count++;
    }
    // A channel none of whose plans can be read goes on with what it has.
    struct state_channel *channel = count ? find_or_create(s, id) : NULL;
    if (count && !channel) {
        diagnostic_set(&d, -ENOSPC, "edge_full", "", "this edge runs as many channels as it can");
        refuse(s, id, plans[0]->epoch, &d);
    }
    for (int i = 0; channel && i < count; i++)
        channel->committed |= plans[i]->committed;
    if (channel &&
        channel_set_plans(channel->channel, (const struct plan *const *)plans, count, &d))
        refuse(s, id, plans[count - 1]->epoch, &d);
    for (int i = 0; i < count; i++)
        plan_unref(&plans[i]);
    if (channel)
        apply_takes(channel, message);
}

static void note_metered(struct state *s, const Vistter__Control__V1__Renewal *renewal)
{
    for (size_t i = 0; i < renewal->n_metered; i++)
        for (int k = 0; k < s->channel_count; k++)
            if (s->channels[k].id == renewal->metered[i])
                s->channels[k].metered_ns = clock_monotonic_ns() + STATE_METERED_NS;
}

int state_apply(struct state *s, const uint8_t *bytes, size_t size, bool remember)
{
    desired_state *message = vistter__control__v1__desired_state__unpack(NULL, size, bytes);
    if (!message)
        return -EPROTO;
    if (message->n_asked) { // of a new leader; what it wants comes later
        if (message->epoch >= s->epoch)
            held_ask(&s->held, message);
        vistter__control__v1__desired_state__free_unpacked(message, NULL);
        return 0;
    }
    if (message->renewal) {
        if (message->epoch == s->epoch && message->version == s->version) {
            publish_renew(&s->publish, message->epoch, message->renewal->instance,
                          message->renewal->sequence);
            note_metered(s, message->renewal);
        }
        vistter__control__v1__desired_state__free_unpacked(message, NULL);
        return 0;
    }
    bool older =
        message->epoch < s->epoch || (message->epoch == s->epoch && message->version < s->version);
    bool same = message->epoch == s->epoch && message->version == s->version;
    if (older || (same && remember)) {
        vistter__control__v1__desired_state__free_unpacked(message, NULL);
        return older ? -ESTALE : 0;
    }
    s->epoch = message->epoch;
    s->version = message->version;
    s->refusal_count = 0;
    held_take(&s->held, message);
    publish_take(&s->publish, message);
    if (s->config.cache)
        media_cache_set_origin(s->config.cache, message->media_url);
    for (int i = s->channel_count - 1; i >= 0; i--)
        if (!goes_on(&s->channels[i], message))
            remove_channel(s, i);
    for (size_t i = 0; i < message->n_channels; i++) {
        uint64_t id = message->channels[i]->channel;
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first = first && message->channels[k]->channel != id;
        if (first && is_listed(message, id))
            apply_channel(s, message, id);
    }
    vistter__control__v1__desired_state__free_unpacked(message, NULL);
    if (remember)
        state_file_write(s->file, bytes, size);
    return 0;
}

static int resume(void *opaque, const uint8_t *bytes, size_t size)
{
    return state_apply(opaque, bytes, size, false);
}

int state_resume(struct state *s)
{
    int error = state_file_resume(s->file, resume, s);
    if (!error)
        log_info("state_resume", "epoch=%llu version=%llu channels=%d",
                 (unsigned long long)s->epoch, (unsigned long long)s->version, s->channel_count);
    return error;
}
