#include "coordinator/coordinator.h"

#include "coordinator/api/api.h"
#include "coordinator/channel_plan.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/timeline/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_TTL_MS   3000
#define LEASE_RENEW_MS 1000

// What the farm has committed of a channel. -- guarded by coordinator.lock
struct committed {
    uint64_t channel;
    int64_t start_frame;
};

struct coordinator {
    // -- constant after create
    struct coordinator_settings settings;
    struct store *store;
    struct farm_run *farm;
    struct api *api;
    uint64_t epoch;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct committed *committed;
    size_t committed_count;
    struct store_channel *known; // channels as last read
    size_t known_count;
};

const struct coordinator_settings *coordinator_settings(const struct coordinator *c)
{
    return &c->settings;
}

struct store *coordinator_store(struct coordinator *c)
{
    return c->store;
}

struct farm_snapshot *coordinator_snapshot(struct coordinator *c)
{
    return farm_run_snapshot(c->farm);
}

bool coordinator_channels(struct coordinator *c, struct store_channel **ret, size_t *ret_count)
{
    bool up = !store_channel_list(c->store, ret, ret_count, NULL);
    pthread_mutex_lock(&c->lock);
    size_t count = up ? *ret_count : c->known_count;
    struct store_channel *copy = calloc(count + 1, sizeof *copy);
    if (copy && count)
        memcpy(copy, up ? *ret : c->known, count * sizeof *copy);
    if (up && copy) {
        free(c->known);
        c->known = copy;
        c->known_count = count;
    } else if (!up) {
        *ret = copy;
        *ret_count = copy ? count : 0;
    }
    pthread_mutex_unlock(&c->lock);
    return up;
}

// ---- What is committed ------------------------------------------------------------------------

static void note_committed(struct coordinator *c, const void *bytes, size_t size)
{
    channel_plan_message *plan = vistter__control__v1__channel_plan__unpack(NULL, size, bytes);
    if (!plan)
        return;
    pthread_mutex_lock(&c->lock);
    size_t i = 0;
    while (i < c->committed_count && c->committed[i].channel != plan->channel)
        i++;
    if (i == c->committed_count) {
        struct committed *grown = realloc(c->committed, (i + 1) * sizeof *grown);
        if (grown) {
            c->committed = grown;
            c->committed_count++;
        }
    }
    if (i < c->committed_count)
        c->committed[i] = (struct committed){plan->channel, plan->start_frame};
    pthread_mutex_unlock(&c->lock);
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
}

int64_t coordinator_start_frame(struct coordinator *c, uint64_t channel)
{
    int64_t frame = -1;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->committed_count; i++)
        if (c->committed[i].channel == channel)
            frame = c->committed[i].start_frame;
    pthread_mutex_unlock(&c->lock);
    return frame;
}

static int on_reserve(void *opaque, uint64_t channel, uint32_t plan_epoch)
{
    struct coordinator *c = opaque;
    return store_plan_reserve(c->store, channel, plan_epoch, NULL);
}

static int on_commit(void *opaque, const struct farm_commit *commit)
{
    struct coordinator *c = opaque;
    int error = store_plan_put(c->store, c->epoch, commit->channel, commit->plan_epoch,
                               commit->at_frame, commit->plan, commit->plan_bytes, NULL);
    if (!error)
        note_committed(c, commit->plan, commit->plan_bytes);
    return error;
}

// ---- Timelines --------------------------------------------------------------------------------

static int load_nested(void *opaque, const char *uri, char **ret, size_t *ret_size,
                       struct diagnostic *reterr)
{
    struct coordinator *c = opaque;
    if (!strncmp(uri, "sha256:", 7))
        return store_revision_get(c->store, uri + 7, ret, ret_size, reterr);
    return diagnostic_set(reterr, -EINVAL, "asset_uri", uri,
                          "must be sha256:<64 hexadecimal digits> of an imported file");
}

static int parse_timeline(struct coordinator *c, const char *bytes, size_t size,
                          struct timeline **ret, struct diagnostic *reterr)
{
    return timeline_parse(bytes, size, load_nested, c, ret, reterr);
}

static int check_content(struct coordinator *c, const char *uri, const char *path,
                         struct diagnostic *reterr)
{
    if (strncmp(uri, "sha256:", 7) || strlen(uri) != 71)
        return diagnostic_set(reterr, -EINVAL, "asset_uri", path,
                              "'%s' must be sha256:<64 hexadecimal digits> of an imported file; "
                              "`vistter timeline put` imports files and fills this in",
                              uri);
    if (!store_media_known(c->store, uri + 7))
        return diagnostic_set(reterr, -EINVAL, "asset_unknown", path,
                              "%s has not been imported; `vistter import FILE` does that", uri);
    return 0;
}

int coordinator_check_timeline(struct coordinator *c, const char *bytes, size_t size,
                               int64_t *ret_duration, int *ret_tracks, struct diagnostic *reterr)
{
    struct timeline *t = NULL;
    char path[192];
    int error = parse_timeline(c, bytes, size, &t, reterr);
    for (size_t i = 0; !error && i < t->asset_count; i++) {
        snprintf(path, sizeof path, "assets.%s", t->assets[i].name);
        error = check_content(c, t->assets[i].uri, path, reterr);
    }
    for (size_t i = 0; !error && i < t->font_count; i++) {
        snprintf(path, sizeof path, "fonts[%zu]", i);
        error = check_content(c, t->fonts[i], path, reterr);
    }
    if (!error && ret_duration)
        *ret_duration = t->duration;
    if (!error && ret_tracks)
        *ret_tracks = (int)t->track_count;
    timeline_unref(&t);
    return error;
}

// ---- Channels ---------------------------------------------------------------------------------

int coordinator_apply_channel(struct coordinator *c, const char *name, struct diagnostic *reterr)
{
    struct store_channel channel;
    struct store_destination *destinations = NULL;
    struct store_output *outputs = NULL;
    struct timeline *timeline = NULL;
    size_t destination_count = 0, output_count = 0, size;
    char *bytes = NULL;
    int error = store_channel_get(c->store, name, &channel, reterr);
    if (!error)
        error =
            store_destination_list(c->store, channel.id, &destinations, &destination_count, reterr);
    if (!error)
        error = store_output_list(c->store, channel.id, &outputs, &output_count, reterr);
    if (!error && channel.on_air) {
        error = store_revision_get(c->store, channel.revision, &bytes, &size, reterr);
        if (!error)
            error = parse_timeline(c, bytes, size, &timeline, reterr);
    }
    if (!error) {
        struct channel_plan plan;
        struct channel_parts parts = {&channel, outputs, output_count, destinations,
                                      destination_count};
        channel_plan_init(&plan, &parts, timeline, c->settings.cuts);
        error = farm_run_set_channel(c->farm, &plan.channel, reterr);
        channel_plan_finish(&plan);
    }
    timeline_unref(&timeline);
    free(bytes);
    if (destinations)
        explicit_bzero(destinations, destination_count * sizeof *destinations);
    free(destinations);
    free(outputs);
    return error;
}

void coordinator_forget_channel(struct coordinator *c, uint64_t channel)
{
    farm_run_remove_channel(c->farm, channel);
}

void coordinator_announce_timeline(struct coordinator *c, const char *name,
                                   const struct store_revision *revision)
{
    api_announce_timeline(c->api, name, revision);
}

static int load_channels(struct coordinator *c, struct diagnostic *reterr)
{
    struct store_plan *plans = NULL;
    struct store_channel *channels = NULL;
    size_t plan_count = 0, channel_count = 0;
    int error = store_plan_list(c->store, &plans, &plan_count, reterr);
    if (!error)
        error = store_channel_list(c->store, &channels, &channel_count, reterr);
    for (size_t i = 0; i < plan_count && !error; i++) {
        bool on_air = false;
        for (size_t k = 0; k < channel_count; k++)
            on_air = on_air || (channels[k].id == plans[i].channel && channels[k].on_air);
        if (!on_air)
            continue;
        error = farm_run_load(c->farm, plans[i].bytes, plans[i].size, reterr);
        note_committed(c, plans[i].bytes, plans[i].size);
    }
    for (size_t i = 0; i < channel_count && !error; i++) {
        // One channel that cannot be loaded must not keep the others off air.
        struct diagnostic why;
        char text[1024];
        if (coordinator_apply_channel(c, channels[i].name, &why))
            log_error("channel_refused", "channel=%s reason=\"%s\"", channels[i].name,
                      diagnostic_format(&why, text, sizeof text));
    }
    for (size_t i = 0; i < plan_count; i++)
        free(plans[i].bytes);
    free(plans);
    free(channels);
    return error;
}

// ---- Life -------------------------------------------------------------------------------------

// Waits for the database and for the lease: another coordinator may lead, or a former life of this
// one may not have expired yet.
static int acquire_lease(struct coordinator *c, int stop_fd, struct diagnostic *reterr)
{
    for (int attempt = 0;; attempt++) {
        int error = store_lease(c->store, LEASE_TTL_MS, &c->epoch, reterr);
        if (error != -EAGAIN)
            return error;
        if (attempt == 0)
            log_info("lease_waiting", "name=%s", c->settings.name);
        struct pollfd fd = {stop_fd, POLLIN, 0};
        if (poll(&fd, 1, LEASE_RENEW_MS / 2) > 0)
            return diagnostic_set(reterr, -EINTR, "interrupted", "",
                                  "stopped while waiting to lead");
    }
}

static int start_farm(struct coordinator *c, struct diagnostic *reterr)
{
    struct farm_run_config config = {
        .listen = c->settings.control_listen,
        .leader_epoch = c->epoch,
        .media_url = c->settings.media_url,
        .opaque = c,
        .reserve = on_reserve,
        .commit = on_commit,
    };
    int error = cluster_key_read(c->settings.cluster_key, config.cluster_key, reterr);
    if (!error)
        error = farm_run_create(&config, &c->farm, reterr);
    if (!error)
        error = load_channels(c, reterr);
    if (!error)
        error = farm_run_start(c->farm, reterr);
    return error;
}

int coordinator_create(const struct coordinator_settings *settings, int stop_fd,
                       struct coordinator **ret, struct diagnostic *reterr)
{
    struct coordinator *c = base_alloc(sizeof *c);
    c->settings = *settings;
    pthread_mutex_init(&c->lock, NULL);
    // A restarted coordinator is another holder: what it says must not be taken for its former
    // life's.
    char holder[STORE_NAME_MAX + 1];
    snprintf(holder, sizeof holder, "%.40s/%" PRIx64, settings->name,
             (uint64_t)clock_realtime_ns());
    struct store_config config = {settings->database, settings->secret_key, holder};
    int error = store_open(&config, &c->store, reterr);
    if (!error)
        error = store_migrate(c->store, settings->migrations, reterr);
    if (!error && !settings->migrate_only)
        error = acquire_lease(c, stop_fd, reterr);
    if (!error && !settings->migrate_only)
        error = start_farm(c, reterr);
    if (!error && !settings->migrate_only)
        error = api_create(c, &c->api, reterr);
    if (error) {
        coordinator_destroy(&c);
        return error;
    }
    *ret = c;
    return 0;
}

void coordinator_destroy(struct coordinator **coordinator)
{
    struct coordinator *c = *coordinator;
    if (!c)
        return;
    *coordinator = NULL;
    api_destroy(&c->api);
    farm_run_destroy(&c->farm);
    if (c->epoch)
        store_lease_release(c->store, c->epoch);
    store_close(&c->store);
    pthread_mutex_destroy(&c->lock);
    free(c->committed);
    free(c->known);
    free(c);
}

void coordinator_run(struct coordinator *c, int stop_fd)
{
    struct pollfd fd = {stop_fd, POLLIN, 0};
    bool lost = false;
    while (poll(&fd, 1, LEASE_RENEW_MS) == 0 && !lost) {
        uint64_t epoch;
        int error = store_lease(c->store, LEASE_TTL_MS, &epoch, NULL);
        // An unreachable database is no loss: nobody else can take the lease there either.
        lost = error == -EAGAIN || (!error && epoch != c->epoch);
    }
    if (lost)
        log_error("lease_lost", "name=%s epoch=%" PRIu64, c->settings.name, c->epoch);
}
