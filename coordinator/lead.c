// Leading and following: the lease, and what comes and goes with it. Main thread.
#include "coordinator/api/api.h"
#include "coordinator/coordinator_private.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

// Longer than a database that has just stopped answering holds a thread, several calls in a row.
#define HUNG_NS        INT64_C(15000000000)
#define LEASE_TTL_MS   (FARM_LEASE_NS / 1000000)
#define LEASE_RENEW_MS 1000
#define LEASE_WAIT_MS  250
#define EPOCH_GAP      100 // plans that a primary may have lost: far more than are made in seconds
#define PRESENT_NS     INT64_C(1000000000)

// ---- What the farm asks for -------------------------------------------------------------------

static bool on_leads(void *opaque)
{
    struct coordinator *c = opaque;
    return store_leads(c->store);
}

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
    struct store_commit row = {commit->channel,       commit->plan_epoch, commit->at_frame,
                               plan->start_frame,     revision,           commit->plan,
                               commit->plan_bytes,    commit->restored,   commit->replaces,
                               plan->without_optional};
    vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    int error = store_plan_put(c->store, &row, NULL);
    if (commit->restored)
        atomic_store(&c->unapplied, true); // the channel may be another than we were told
    return error;
}

static int on_seal(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *plan,
                   size_t size, uint8_t **ret, size_t *ret_size)
{
    struct coordinator *c = opaque;
    return store_plan_seal(c->store, channel, plan_epoch, plan, size, ret, ret_size);
}

static int on_unseal(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *sealed,
                     size_t size, uint8_t **ret, size_t *ret_size)
{
    struct coordinator *c = opaque;
    return store_plan_unseal(c->store, channel, plan_epoch, sealed, size, ret, ret_size);
}

static int on_crash(void *opaque, const struct farm_crash *crash, enum farm_verdict *ret)
{
    static const enum farm_verdict verdicts[] = {[STORE_SUSPECT] = FARM_SUSPECT,
                                                 [STORE_POISONED] = FARM_POISONED,
                                                 [STORE_CLEARED] = FARM_CLEARED};
    struct coordinator *c = opaque;
    enum store_verdict verdict;
    struct store_crash row = {crash->node, crash->content, crash->id, crash->picture,
                              crash->signal};
    int error = store_media_crash(c->store, &row, &verdict, NULL);
    if (error)
        return error;
    *ret = verdicts[verdict];
    if (verdict == STORE_POISONED) {
        log_error("asset_poisoned", "content=%s node=%s picture=%" PRId64, crash->content,
                  crash->node, crash->picture);
        atomic_store(&c->unapplied, true); // plans are to say so
    }
    return 0;
}

static int on_take(void *opaque, uint64_t channel, const struct farm_take *take)
{
    struct coordinator *c = opaque;
    struct store_take row = {take->sequence, take->at_frame, take->track, take->text, channel};
    return store_take_put(c->store, channel, &row, NULL);
}

static int start_farm(struct coordinator *c, struct farm_run **ret, struct diagnostic *reterr)
{
    struct farm_run_config config = {
        .listen = c->settings.control_listen,
        .leader_epoch = c->epoch,
        .media_url = c->settings.media_url,
        .opaque = c,
        .leads = on_leads,
        .reserve = on_reserve,
        .commit = on_commit,
        .crash = on_crash,
        .take = on_take,
        .seal = on_seal,
        .unseal = on_unseal,
        .epoch_gap = EPOCH_GAP,
    };
    int error = cluster_key_read(c->settings.cluster_key, config.cluster_key, reterr);
    if (!error)
        error = farm_run_create(&config, ret, reterr);
    if (!error)
        error = channels_load(c, *ret, reterr);
    if (!error)
        error = farm_run_start(*ret, reterr);
    explicit_bzero(config.cluster_key, sizeof config.cluster_key);
    if (error)
        farm_run_destroy(ret);
    return error;
}

// ---- Following --------------------------------------------------------------------------------

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

// Says in the store that this coordinator is here, and learns where the leader is. What is known of
// it stays known while the store does not answer.
static void look_around(struct coordinator *c)
{
    struct store_coordinator own = {.version = VISTTER_VERSION}, leader;
    int64_t now_ns = clock_monotonic_ns();
    snprintf(own.name, sizeof own.name, "%s", c->settings.name);
    snprintf(own.api_url, sizeof own.api_url, "%s", c->api_url);
    if (now_ns - c->present_ns >= PRESENT_NS && !store_coordinator_put(c->store, &own, NULL))
        c->present_ns = now_ns;
    if (c->epoch)
        leader = own;
    else if (store_leader(c->store, &leader, NULL))
        return;
    else if (!strcmp(leader.api_url, c->api_url))
        leader = (struct store_coordinator){0}; // a former life of this one
    pthread_mutex_lock(&c->lock);
    c->leader = leader;
    pthread_mutex_unlock(&c->lock);
}

static int ask_lease(struct coordinator *c, uint64_t *ret_epoch, struct diagnostic *reterr)
{
    struct store_lease wanted = {LEASE_TTL_MS, c->epoch_above, c->api_url};
    return store_lease(c->store, &wanted, ret_epoch, reterr);
}

static int begin_farm(struct coordinator *c, struct diagnostic *reterr)
{
    struct farm_run *farm = NULL;
    c->server_changes = store_server_changes(c->store);
    int error = start_farm(c, &farm, reterr);
    if (error)
        return error;
    api_remove_uploads(c->settings.media);
    pthread_mutex_lock(&c->lock);
    c->farm = farm;
    pthread_mutex_unlock(&c->lock);
    error = upkeep_create(c, &c->upkeep);
    return error ? diagnostic_set(reterr, error, "thread", "", "no thread for the upkeep") : 0;
}

// One step towards leading: 0, or why not, which may pass.
static int lead(struct coordinator *c, struct diagnostic *reterr)
{
    static const char database[] = "the database", other[] = "the coordinator that leads to end";
    int error = c->migrated ? 0 : store_migrate(c->store, c->settings.migrations, reterr);
    c->migrated = !error;
    if (!error)
        error = ask_lease(c, &c->epoch, reterr);
    if (error) {
        c->epoch = 0;
        wait_for(c, error == -EAGAIN && c->migrated ? other : database);
        if (c->migrated)
            look_around(c);
        return error;
    }
    error = begin_farm(c, reterr);
    if (error) {
        c->epoch = 0; // the lease stays ours for the next attempt
        return error;
    }
    c->has_led = true;
    look_around(c);
    wait_for(c, NULL);
    log_info("coordinator_leads", "name=%s epoch=%" PRIu64, c->settings.name, c->epoch);
    return 0;
}

// ---- Leading ----------------------------------------------------------------------------------

// Nobody finds the farm any more; who has it lets go of it.
static void drop_farm(struct coordinator *c)
{
    pthread_mutex_lock(&c->lock);
    struct farm_run *farm = c->farm;
    c->farm = NULL;
    pthread_mutex_unlock(&c->lock);
    upkeep_destroy(&c->upkeep);
    pthread_mutex_lock(&c->lock);
    while (c->farm_users)
        pthread_cond_wait(&c->farm_free, &c->lock);
    pthread_mutex_unlock(&c->lock);
    farm_run_destroy(&farm);
}

void lead_end(struct coordinator *c)
{
    drop_farm(c);
    store_lease_release(c->store);
}

// From a leader to one that follows. By now the lease lets nothing through.
static void follow(struct coordinator *c, const char *reason)
{
    log_warning("coordinator_follows", "name=%s epoch=%" PRIu64 " reason=\"%s\"", c->settings.name,
                c->epoch, reason);
    store_lease_release(c->store);
    c->epoch = 0;
    pthread_mutex_lock(&c->lock);
    c->leader = (struct store_coordinator){0};
    pthread_mutex_unlock(&c->lock);
    wait_for(c, "the coordinator that leads to end");
    drop_farm(c);
    api_disconnect(c->api); // who listened here would hear nothing any more
    look_around(c);
}

// An unreachable database is no loss: nobody else can take the lease there either. But what the
// lease allows ends with it (farm_run.h, store.h).
static void renew(struct coordinator *c)
{
    uint64_t epoch, higher = farm_run_deposed(c->farm); // set by this thread only
    int error = ask_lease(c, &epoch, NULL);
    if (error == -EAGAIN || (!error && epoch != c->epoch)) {
        follow(c, "another coordinator leads");
    } else if (higher) {
        // The database has forgotten a leader that nodes know.
        c->epoch_above = higher;
        follow(c, "a node knows a later leader");
    } else if (!error) {
        if (c->server_changes != store_server_changes(c->store)) {
            c->server_changes = store_server_changes(c->store);
            farm_run_recommit(c->farm);
            atomic_store(&c->unapplied, true); // what people have asked for may be lost, too
        }
        look_around(c);
    }
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
        int error = 0;
        int64_t now_ns = clock_monotonic_ns();
        watchdog_tend(&c->watchdog, hung_part(c, now_ns), now_ns);
        if (c->epoch)
            renew(c);
        else
            error = lead(c, reterr);
        if (error && !may_pass(error)) {
            // Somebody has to mend it; one that has led before goes on trying, and lets others.
            if (!c->has_led)
                return error;
            drop_farm(c);
            store_lease_release(c->store);
            log_error("coordinator_cannot_lead", "name=%s code=%s reason=\"%s\"", c->settings.name,
                      reterr->code, reterr->text);
        }
        struct pollfd fd = {stop_fd, POLLIN, 0};
        if (poll(&fd, 1, c->epoch ? LEASE_RENEW_MS : LEASE_WAIT_MS) > 0) {
            watchdog_stopping();
            return 0;
        }
    }
}
