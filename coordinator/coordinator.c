#include "coordinator/coordinator_private.h"

#include "coordinator/api/api.h"
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
#define LEASE_WAIT_MS  500
// Longer than a database that has just stopped answering holds a thread, several calls in a row.
#define HUNG_NS INT64_C(15000000000)

const struct coordinator_settings *coordinator_settings(const struct coordinator *c)
{
    return &c->settings;
}

struct store *coordinator_store(struct coordinator *c)
{
    return c->store;
}

const char *coordinator_waits_for(struct coordinator *c)
{
    pthread_mutex_lock(&c->lock);
    const char *what = c->waits_for;
    pthread_mutex_unlock(&c->lock);
    return what;
}

struct farm_run *coordinator_farm(struct coordinator *c)
{
    pthread_mutex_lock(&c->lock);
    struct farm_run *farm = c->farm;
    pthread_mutex_unlock(&c->lock);
    return farm;
}

struct farm_snapshot *coordinator_snapshot(struct coordinator *c)
{
    return farm_run_snapshot(coordinator_farm(c));
}

void coordinator_announce_timeline(struct coordinator *c, const char *name,
                                   const struct store_revision *revision)
{
    api_announce_timeline(c->api, name, revision);
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
    pthread_mutex_lock(&c->lock);
    if (error) {
        free(ret->channels);
        free(ret->outputs);
        copy_channels(&c->known, ret);
    } else {
        free(c->known.channels);
        free(c->known.outputs);
        free(c->known.destinations);
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
    free(view->nodes);
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

// ---- Leading ----------------------------------------------------------------------------------

static int on_reserve(void *opaque, uint64_t channel, uint32_t plan_epoch)
{
    struct coordinator *c = opaque;
    return store_plan_reserve(c->store, channel, plan_epoch, NULL);
}

static int on_commit(void *opaque, const struct farm_commit *commit)
{
    struct coordinator *c = opaque;
    char revision[65];
    channel_plan_message *plan =
        vistter__control__v1__channel_plan__unpack(NULL, commit->plan_bytes, commit->plan);
    if (!plan)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof commit->revision; i++)
        snprintf(revision + 2 * i, 3, "%02x", commit->revision[i]);
    struct store_commit row = {commit->channel,   commit->plan_epoch, commit->at_frame,
                               plan->start_frame, revision,           commit->plan,
                               commit->plan_bytes};
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    return store_plan_put(c->store, &row, NULL);
}

static int start_farm(struct coordinator *c, struct farm_run **ret, struct diagnostic *reterr)
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
        error = farm_run_create(&config, ret, reterr);
    if (!error)
        error = channels_load(c, *ret, reterr);
    if (!error)
        error = farm_run_start(*ret, reterr);
    if (error)
        farm_run_destroy(ret);
    return error;
}

// Mends itself, or is mended by others, while we wait.
static bool may_pass(int error)
{
    return error == -EIO || error == -ETIMEDOUT || error == -EAGAIN;
}

static void wait_for(struct coordinator *c, const char *what)
{
    pthread_mutex_lock(&c->lock);
    bool news = c->waits_for != what;
    c->waits_for = what;
    pthread_mutex_unlock(&c->lock);
    if (news && what)
        log_info("coordinator_waits", "name=%s for=\"%s\"", c->settings.name, what);
}

// One step towards leading: 0, or why not, which may pass.
static int lead(struct coordinator *c, struct diagnostic *reterr)
{
    static const char database[] = "the database", other[] = "the coordinator that leads to end";
    struct farm_run *farm = NULL;
    int error = c->migrated ? 0 : store_migrate(c->store, c->settings.migrations, reterr);
    c->migrated = !error;
    if (!error)
        error = store_lease(c->store, LEASE_TTL_MS, &c->epoch, reterr);
    if (error) {
        c->epoch = 0;
        wait_for(c, error == -EAGAIN && c->migrated ? other : database);
        return error;
    }
    error = start_farm(c, &farm, reterr);
    if (error) {
        c->epoch = 0; // the lease stays ours for the next attempt
        return error;
    }
    api_remove_uploads(c->settings.media);
    pthread_mutex_lock(&c->lock);
    c->farm = farm;
    pthread_mutex_unlock(&c->lock);
    error = upkeep_create(c, &c->upkeep);
    if (error)
        return diagnostic_set(reterr, error, "thread", "", "no thread for the upkeep");
    wait_for(c, NULL);
    log_info("coordinator_leads", "name=%s epoch=%" PRIu64, c->settings.name, c->epoch);
    return 0;
}

// An unreachable database is no loss: nobody else can take the lease there either.
static int renew(struct coordinator *c, struct diagnostic *reterr)
{
    uint64_t epoch;
    int error = store_lease(c->store, LEASE_TTL_MS, &epoch, NULL);
    if (error != -EAGAIN && (error || epoch == c->epoch))
        return 0;
    log_error("lease_lost", "name=%s epoch=%" PRIu64, c->settings.name, c->epoch);
    return diagnostic_set(reterr, -ESTALE, "lease_lost", "", "another coordinator leads now");
}

// All threads are asked: what each has done is looked at here.
static const char *hung_part(struct coordinator *c, int64_t now_ns)
{
    const char *hung = NULL;
    if (c->farm && liveness_hung(&c->farm_mark, farm_run_turns(c->farm), true, now_ns, HUNG_NS))
        hung = "the farm's thread";
    if (liveness_hung(&c->api_mark, api_turns(c->api), true, now_ns, HUNG_NS))
        hung = "the API's thread";
    return hung;
}

int coordinator_run(struct coordinator *c, int stop_fd, struct diagnostic *reterr)
{
    watchdog_init(&c->watchdog);
    watchdog_ready(); // it answers, though it may wait before it leads
    for (;;) {
        int64_t now_ns = clock_monotonic_ns();
        watchdog_tend(&c->watchdog, hung_part(c, now_ns), now_ns);
        int error = c->epoch ? renew(c, reterr) : lead(c, reterr);
        if (error && (c->epoch || !may_pass(error)))
            return error;
        struct pollfd fd = {stop_fd, POLLIN, 0};
        if (poll(&fd, 1, c->epoch ? LEASE_RENEW_MS : LEASE_WAIT_MS) > 0) {
            watchdog_stopping();
            return 0;
        }
    }
}

// ---- Life -------------------------------------------------------------------------------------

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
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->changing, NULL);
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
    upkeep_destroy(&c->upkeep);
    farm_run_destroy(&c->farm);
    if (c->store)
        store_lease_release(c->store);
    store_close(&c->store);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->changing);
    coordinator_view_finish(&c->known);
    free(c);
}
