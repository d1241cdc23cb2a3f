#include "coordinator/coordinator_private.h"

#include "coordinator/api/api.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/timeline/timeline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct coordinator_settings *coordinator_settings(const struct coordinator *c)
{
    return &c->settings;
}

struct store *coordinator_store(struct coordinator *c)
{
    return c->store;
}

void coordinator_leader(struct coordinator *c, struct coordinator_leader *ret)
{
    pthread_mutex_lock(&c->lock);
    *ret = (struct coordinator_leader){.here = c->farm, .waits_for = c->waits_for};
    snprintf(ret->name, sizeof ret->name, "%s", c->leader.name);
    snprintf(ret->api_url, sizeof ret->api_url, "%s", c->leader.api_url);
    pthread_mutex_unlock(&c->lock);
}

struct farm_run *farm_borrow(struct coordinator *c)
{
    pthread_mutex_lock(&c->lock);
    struct farm_run *farm = c->farm;
    c->farm_users += farm != NULL;
    pthread_mutex_unlock(&c->lock);
    return farm;
}

void farm_give(struct coordinator *c, const struct farm_run *farm)
{
    if (!farm)
        return;
    pthread_mutex_lock(&c->lock);
    if (--c->farm_users == 0)
        pthread_cond_broadcast(&c->farm_free);
    pthread_mutex_unlock(&c->lock);
}

struct farm_snapshot *coordinator_snapshot(struct coordinator *c)
{
    struct farm_run *farm = farm_borrow(c);
    struct farm_snapshot *snapshot = farm ? farm_run_snapshot(farm) : base_alloc(sizeof *snapshot);
    farm_give(c, farm);
    return snapshot;
}

void coordinator_read_meters(struct coordinator *c, struct farm_meters *list, int count)
{
    struct farm_run *farm = farm_borrow(c);
    if (farm)
        farm_run_read_meters(farm, list, count);
    farm_give(c, farm);
}

void coordinator_announce_timeline(struct coordinator *c, const char *name,
                                   const struct store_revision *revision)
{
    api_announce_timeline(c->api, name, revision);
}

void coordinator_announce_take(struct coordinator *c, const char *channel,
                               const struct json_t *take, const struct farm_took *took)
{
    api_announce_take(c->api, channel, take, took);
}

// ---- What is known ----------------------------------------------------------------------------

static void *copy_list(const void *list, size_t count, size_t size)
{
    void *copy = base_alloc((count + 1) * size);
    if (count)
        memcpy(copy, list, count * size);
    return copy;
}

static void copy_nodes(const struct coordinator_view *from, struct coordinator_view *ret)
{
    ret->nodes = copy_list(from->nodes, from->node_count, sizeof *from->nodes);
    ret->node_count = from->node_count;
    ret->coordinators =
        copy_list(from->coordinators, from->coordinator_count, sizeof *from->coordinators);
    ret->coordinator_count = from->coordinator_count;
}

static void copy_channels(const struct coordinator_view *from, struct coordinator_view *ret)
{
    ret->channels = copy_list(from->channels, from->channel_count, sizeof *from->channels);
    ret->channel_count = from->channel_count;
    ret->outputs = copy_list(from->outputs, from->output_count, sizeof *from->outputs);
    ret->output_count = from->output_count;
    ret->destinations =
        copy_list(from->destinations, from->destination_count, sizeof *from->destinations);
    ret->destination_count = from->destination_count;
    ret->sources = copy_list(from->sources, from->source_count, sizeof *from->sources);
    ret->source_count = from->source_count;
}

int coordinator_view(struct coordinator *c, struct coordinator_view *ret, struct diagnostic *reterr)
{
    *ret = (struct coordinator_view){0};
    int error = store_channel_list(c->store, &ret->channels, &ret->channel_count, reterr);
    if (!error)
        error = store_output_list_all(c->store, &ret->outputs, &ret->output_count, reterr);
    if (!error)
        error = store_destination_list_all(c->store, &ret->destinations, &ret->destination_count,
                                           reterr);
    if (!error)
        error = sources_read(c, &ret->sources, &ret->source_count, reterr);
    pthread_mutex_lock(&c->lock);
    if (error) {
        free(ret->channels);
        free(ret->outputs);
        free(ret->destinations);
        copy_channels(&c->known, ret);
    } else {
        free(c->known.channels);
        free(c->known.outputs);
        free(c->known.destinations);
        free(c->known.sources);
        copy_channels(ret, &c->known);
    }
    copy_nodes(&c->known, ret);
    pthread_mutex_unlock(&c->lock);
    return error;
}

void coordinator_view_nodes(struct coordinator *c, struct coordinator_view *ret)
{
    *ret = (struct coordinator_view){0};
    pthread_mutex_lock(&c->lock);
    copy_nodes(&c->known, ret);
    pthread_mutex_unlock(&c->lock);
}

void coordinator_view_finish(struct coordinator_view *view)
{
    free(view->channels);
    free(view->outputs);
    free(view->destinations);
    free(view->sources);
    free(view->nodes);
    free(view->coordinators);
    *view = (struct coordinator_view){0};
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
    int known = store_media_known(c->store, uri + 7, reterr);
    if (known < 0)
        return known;
    if (!known)
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

int timeline_load(struct coordinator *c, const char *sha256, struct timeline **ret,
                  struct diagnostic *reterr)
{
    char *bytes;
    size_t size;
    int error = store_revision_get(c->store, sha256, &bytes, &size, reterr);
    if (error)
        return error;
    error = parse_timeline(c, bytes, size, ret, reterr);
    free(bytes);
    return error;
}

// ---- Life -------------------------------------------------------------------------------------

// Where others reach this API, unless a person says so: where it listens, or this host's name.
static void set_api_url(struct coordinator *c)
{
    const char *listen = c->settings.http_listen, *port = strrchr(listen, ':');
    char host[128];
    snprintf(host, sizeof host, "%.*s", port ? (int)(port - listen) : 0, listen);
    if (!*host || !strcmp(host, "0.0.0.0") || !strcmp(host, "[::]"))
        gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = 0;
    if (c->settings.api_url && *c->settings.api_url)
        snprintf(c->api_url, sizeof c->api_url, "%s", c->settings.api_url);
    else
        snprintf(c->api_url, sizeof c->api_url, "http://%s:%.64s", host, port ? port + 1 : listen);
}

static int open_store(const struct coordinator_settings *settings, struct store **ret,
                      struct diagnostic *reterr)
{
    // A restarted coordinator is another holder: what it says must not be taken for its former
    // life's.
    char holder[STORE_NAME_MAX + 1];
    snprintf(holder, sizeof holder, "%.40s/%" PRIx64, settings->name,
             (uint64_t)clock_realtime_ns());
    struct store_config config = {settings->database, settings->secret_key, holder};
    return store_open(&config, ret, reterr);
}

int coordinator_migrate(const struct coordinator_settings *settings, struct diagnostic *reterr)
{
    struct store *store;
    int error = open_store(settings, &store, reterr);
    if (error)
        return error;
    error = store_migrate(store, settings->migrations, reterr);
    store_close(&store);
    return error;
}

int coordinator_create(const struct coordinator_settings *settings, struct coordinator **ret,
                       struct diagnostic *reterr)
{
    struct coordinator *c = base_alloc(sizeof *c);
    c->settings = *settings;
    c->waits_for = "its start";
    set_api_url(c);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->changing, NULL);
    pthread_cond_init(&c->farm_free, NULL);
    int error = open_store(settings, &c->store, reterr);
    if (!error)
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
    if (c->store)
        lead_end(c);
    store_close(&c->store);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->changing);
    pthread_cond_destroy(&c->farm_free);
    coordinator_view_finish(&c->known);
    free(c);
}
