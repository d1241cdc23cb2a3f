#include "edge/state.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/control_link.h"
#include "engine/link/media_cache.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef Vistter__Control__V1__DesiredState desired_state;

int state_create(const char *node, const char *folder, const struct channel_config *config,
                 struct state **ret, struct diagnostic *reterr)
{
    struct state *s = base_alloc(sizeof *s);
    s->node = node;
    s->config = *config;
    int length = snprintf(s->path, sizeof s->path, "%s/%s.state", folder, node);
    if (length >= (int)sizeof s->path - 8 || strchr(node, '/')) {
        free(s);
        return diagnostic_set(reterr, -EINVAL, "state_folder", folder, "the path is too long");
    }
    if (mkdir(folder, 0700) && errno != EEXIST) {
        int error = -errno;
        free(s);
        return diagnostic_set(reterr, error, "state_folder", folder, "cannot be made: %s",
                              strerror(-error));
    }
    *ret = s;
    return 0;
}

static void remove_channel(struct state *s, int index)
{
    log_info("channel_stop", "channel=%llu", (unsigned long long)s->channels[index].id);
    channel_destroy(&s->channels[index].channel);
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

static struct channel *find_or_create(struct state *s, uint64_t id)
{
    for (int i = 0; i < s->channel_count; i++)
        if (s->channels[i].id == id)
            return s->channels[i].channel;
    struct channel_config config = s->config;
    config.channel = id;
    struct channel *channel = NULL;
    if (s->channel_count == STATE_CHANNELS_MAX || channel_create(&config, &channel))
        return NULL;
    s->channels[s->channel_count++] = (struct state_channel){.id = id, .channel = channel};
    log_info("channel_start", "channel=%llu", (unsigned long long)id);
    return channel;
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
    struct channel *channel = count ? find_or_create(s, id) : NULL;
    if (count && !channel) {
        diagnostic_set(&d, -ENOSPC, "edge_full", "", "this edge runs as many channels as it can");
        refuse(s, id, plans[0]->epoch, &d);
    }
    if (channel && channel_set_plans(channel, (const struct plan *const *)plans, count, &d))
        refuse(s, id, plans[count - 1]->epoch, &d);
    for (int i = 0; i < count; i++)
        plan_unref(&plans[i]);
}

static int write_file(const char *path, const uint8_t *bytes, size_t size)
{
    char fresh[4112];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = 0;
    for (size_t done = 0; done < size && !result;) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n < 0)
            result = -errno;
        else
            done += (size_t)n;
    }
    if (!result && fsync(fd))
        result = -errno;
    close(fd);
    if (!result && rename(fresh, path))
        result = -errno;
    return result;
}

int state_apply(struct state *s, const uint8_t *bytes, size_t size, bool remember)
{
    desired_state *message = vistter__control__v1__desired_state__unpack(NULL, size, bytes);
    if (!message)
        return -EPROTO;
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
    if (s->config.cache)
        media_cache_set_origin(s->config.cache, message->media_url);
    for (int i = s->channel_count - 1; i >= 0; i--)
        if (!is_listed(message, s->channels[i].id))
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
    int result = remember ? write_file(s->path, bytes, size) : 0;
    if (result)
        log_error("state_write", "path=\"%s\" error=\"%s\"", s->path, strerror(-result));
    return 0;
}

int state_resume(struct state *s)
{
    int fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    uint8_t *bytes = malloc(CONTROL_MESSAGE_BYTES_MAX);
    size_t size = 0;
    ssize_t n = 0;
    while (bytes && size < CONTROL_MESSAGE_BYTES_MAX &&
           (n = read(fd, bytes + size, CONTROL_MESSAGE_BYTES_MAX - size)) > 0)
        size += (size_t)n;
    close(fd);
    int result = !bytes ? -ENOMEM : n < 0 ? -EIO : state_apply(s, bytes, size, false);
    free(bytes);
    if (!result)
        log_info("state_resume", "epoch=%llu version=%llu channels=%d",
                 (unsigned long long)s->epoch, (unsigned long long)s->version, s->channel_count);
    return result;
}
