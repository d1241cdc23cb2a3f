#include "coordinator/control/farm_run.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TICK_NS     INT64_C(50000000)
#define TICK_MIN_NS INT64_C(10000000) // reports of many nodes share a tick

// A channel, or a crash, waits for one answer at a time.
#define JOBS_MAX (2 * FARM_CHANNELS_MAX + FARM_CRASHES_MAX)

// A write that the farm has asked for.
struct job {
    bool is_commit, is_crash, is_take;
    struct farm_take take; // its texts are owned; channel: commit's
    struct farm_crash crash;
    struct farm_commit commit; // for a reserve: channel and plan_epoch
    uint8_t *plan;             // owned copy
};

struct farm_run {
    struct farm_run_config config; // constant after create; texts are the caller's until start
    char *listen;
    struct control_server *server; // constant after start
    struct queue *jobs;            // for the store's thread
    pthread_t thread, store_thread;
    bool started, store_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // -- guarded by lock
    struct farm *farm;
    bool stopping, wanted; // a tick is wanted soon
    // -- written by the farm's thread, atomic
    _Atomic uint64_t turns;
};

static struct farm_time time_now(void)
{
    return (struct farm_time){clock_monotonic_ns(), clock_realtime_ns()};
}

static int on_random(void *opaque, uint8_t *bytes, size_t size)
{
    (void)opaque; // the library's generator has no state of ours
    return RAND_bytes(bytes, (int)size) == 1 ? 0 : -EIO;
}

static void tick_want(struct farm_run *run)
{
    run->wanted = true;
    pthread_cond_signal(&run->changed);
}

// ---- What the farm asks for -------------------------------------------------------------------

static bool leads(const struct farm_run *run)
{
    return !run->config.leads || run->config.leads(run->config.opaque);
}

static void on_send(void *opaque, const char *node, const farm_state_message *state)
{
    struct farm_run *run = opaque;
    // We may have stood still since the tick began.
    if (!leads(run))
        return;
    int r = control_server_send(run->server, node, state);
    // -ENOENT and -EAGAIN mend themselves: the next tick sends again until the node shows it.
    if (r < 0)
        log_debug("state_not_sent", "node=%s error=%d", node, r);
}

static void job_free(void *item)
{
    struct job *job = item;
    if (job->plan)
        OPENSSL_cleanse(job->plan, job->commit.plan_bytes);
    free(job->plan);
    free((char *)(uintptr_t)job->take.track);
    free((char *)(uintptr_t)job->take.text);
    free(job);
}

// Full, or ended: dropped, and asked for again by a later tick of a farm that goes on.
static void job_add(struct farm_run *run, bool is_commit, const struct farm_commit *commit)
{
    struct job *job = base_alloc(sizeof *job);
    job->is_commit = is_commit;
    job->commit = *commit;
    if (is_commit) {
        job->plan = base_alloc(commit->plan_bytes ? commit->plan_bytes : 1);
        memcpy(job->plan, commit->plan, commit->plan_bytes);
        job->commit.plan = job->plan;
    }
    if (queue_push(run->jobs, job, 0))
        job_free(job);
}

static void on_reserve(void *opaque, uint64_t channel, uint32_t plan_epoch)
{
    job_add(opaque, false, &(struct farm_commit){.channel = channel, .plan_epoch = plan_epoch});
}

static void on_commit(void *opaque, const struct farm_commit *commit)
{
    job_add(opaque, true, commit);
}

static void on_crash(void *opaque, const struct farm_crash *crash)
{
    struct farm_run *run = opaque;
    struct job *job = base_alloc(sizeof *job);
    job->is_crash = true;
    job->crash = *crash;
    if (queue_push(run->jobs, job, 0))
        job_free(job);
}

static void on_take(void *opaque, uint64_t channel, const struct farm_take *take)
{
    struct farm_run *run = opaque;
    struct job *job = base_alloc(sizeof *job);
    job->is_take = true;
    job->commit.channel = channel;
    job->take = *take;
    job->take.track = base_strdup(take->track);
    job->take.text = base_strdup(take->text);
    if (queue_push(run->jobs, job, 0)) {
        farm_taken(run->farm, channel, take->sequence, -EAGAIN);
        job_free(job);
    }
}

static void take_run(struct farm_run *run, const struct job *job)
{
    uint64_t channel = job->commit.channel;
    int r = run->config.take(run->config.opaque, channel, &job->take);
    if (r < 0)
        log_warning("take_not_stored", "channel=%llu sequence=%llu error=%d",
                    (unsigned long long)channel, (unsigned long long)job->take.sequence, r);
    pthread_mutex_lock(&run->lock);
    farm_taken(run->farm, channel, job->take.sequence, r);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

static void crash_run(struct farm_run *run, const struct farm_crash *crash)
{
    enum farm_verdict verdict = FARM_SUSPECT;
    int r = run->config.crash(run->config.opaque, crash, &verdict);
    if (r < 0)
        log_warning("crash_not_stored", "node=%s content=%s error=%d", crash->node, crash->content,
                    r);
    pthread_mutex_lock(&run->lock);
    farm_crashed(run->farm, crash->node, crash->id, r, verdict);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

static void job_run(struct farm_run *run, const struct job *job)
{
    if (job->is_crash) {
        crash_run(run, &job->crash);
        return;
    }
    if (job->is_take) {
        take_run(run, job);
        return;
    }
    const struct farm_run_config *config = &run->config;
    uint64_t channel = job->commit.channel;
    uint32_t epoch = job->commit.plan_epoch;
    int r = 0;
    if (job->is_commit)
        r = config->commit(config->opaque, &job->commit);
    else if (config->reserve)
        r = config->reserve(config->opaque, channel, epoch);
    if (r < 0)
        log_warning("plan_not_stored", "channel=%llu plan_epoch=%u error=%d",
                    (unsigned long long)channel, epoch, r);
    pthread_mutex_lock(&run->lock);
    if (job->is_commit)
        farm_committed(run->farm, channel, epoch, r, time_now());
    else
        farm_reserved(run->farm, channel, epoch, r);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

// ---- The threads ------------------------------------------------------------------------------

static void *store_thread(void *opaque)
{
    struct farm_run *run = opaque;
    void *job;
    while (!queue_pop(run->jobs, &job, -1)) {
        job_run(run, job);
        atomic_fetch_add(&run->turns, 1);
        job_free(job);
    }
    return NULL;
}

static void wait_until(struct farm_run *run, int64_t deadline_ns, bool even_if_wanted)
{
    struct timespec at = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    while (!run->stopping && (even_if_wanted || !run->wanted)) {
        if (pthread_cond_timedwait(&run->changed, &run->lock, &at) == ETIMEDOUT)
            break;
    }
}

static void *farm_thread(void *opaque)
{
    struct farm_run *run = opaque;
    struct farm_outputs outputs = {
        .opaque = run, .send = on_send, .reserve = on_reserve, .commit = on_commit};
    outputs.crash = run->config.crash ? on_crash : NULL;
    outputs.take = run->config.take ? on_take : NULL;
    pthread_mutex_lock(&run->lock);
    while (!run->stopping) {
        int64_t start_ns = clock_monotonic_ns();
        run->wanted = false;
        atomic_fetch_add(&run->turns, 1);
        outputs.fenced = !leads(run);
        farm_tick(run->farm, time_now(), &outputs);
        wait_until(run, start_ns + TICK_MIN_NS, true);
        wait_until(run, start_ns + TICK_NS, false);
    }
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

static void on_report(void *opaque, const node_report_message *report)
{
    struct farm_run *run = opaque;
    pthread_mutex_lock(&run->lock);
    int r = farm_report(run->farm, report, time_now());
    if (r == 0 && !run->wanted) {
        run->wanted = true;
        pthread_cond_signal(&run->changed);
    }
    pthread_mutex_unlock(&run->lock);
    if (r < 0 && r != -ESTALE)
        log_debug("report_refused", "node=%s error=%d", report->node, r);
}

static void on_gone(void *opaque, const char *node)
{
    struct farm_run *run = opaque;
    pthread_mutex_lock(&run->lock);
    farm_gone(run->farm, node);
    pthread_mutex_unlock(&run->lock);
}

// ---- Life and calls ---------------------------------------------------------------------------

int farm_run_create(const struct farm_run_config *config, struct farm_run **ret,
                    struct diagnostic *reterr)
{
    if (!config->commit || !config->listen)
        return diagnostic_set(reterr, -EINVAL, "farm_config", "",
                              "a farm needs an address to listen on and a store");
    struct farm_run *run = base_alloc(sizeof *run);
    run->config = *config;
    run->listen = base_strdup(config->listen);
    run->config.listen = run->listen;
    run->jobs = queue_create(JOBS_MAX, job_free);
    struct farm_config farm = {
        .leader_epoch = config->leader_epoch,
        .media_url = config->media_url,
        .random = on_random,
        .seal = config->seal,
        .unseal = config->unseal,
        .opaque = config->opaque,
        .epoch_gap = config->epoch_gap,
    };
    run->farm = farm_create(&farm, time_now());
    run->config.media_url = NULL; // the farm has its copy
    pthread_mutex_init(&run->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&run->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    *ret = run;
    return 0;
}

int farm_run_start(struct farm_run *run, struct diagnostic *reterr)
{
    struct control_server_config config = {
        .listen = run->listen, .on_report = on_report, .on_gone = on_gone, .opaque = run};
    memcpy(config.key, run->config.cluster_key, sizeof config.key);
    int r = control_server_create(&config, &run->server, reterr);
    OPENSSL_cleanse(config.key, sizeof config.key);
    if (r < 0)
        return r;
    r = thread_start(&run->store_thread, "farm-store", store_thread, run);
    run->store_started = !r;
    if (!r)
        r = thread_start(&run->thread, "farm", farm_thread, run);
    run->started = !r;
    return r ? diagnostic_set(reterr, r, "thread", "", "no thread for the farm") : 0;
}

void farm_run_destroy(struct farm_run **run_of)
{
    struct farm_run *run = *run_of;
    if (!run)
        return;
    *run_of = NULL;
    pthread_mutex_lock(&run->lock);
    run->stopping = true;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->lock);
    if (run->started)
        thread_join(run->thread);
    queue_close(run->jobs);
    if (run->store_started)
        thread_join(run->store_thread);
    control_server_destroy(&run->server); // its thread calls on_report until here
    farm_destroy(&run->farm);
    queue_destroy(&run->jobs);
    OPENSSL_cleanse(run->config.cluster_key, sizeof run->config.cluster_key);
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->lock);
    free(run->listen);
    free(run);
}

int farm_run_load(struct farm_run *run, const void *plan, size_t size, struct diagnostic *reterr)
{
    pthread_mutex_lock(&run->lock);
    int r = farm_load(run->farm, plan, size, reterr);
    pthread_mutex_unlock(&run->lock);
    return r;
}

int farm_run_set_channel(struct farm_run *run, const struct farm_channel *channel,
                         struct diagnostic *reterr)
{
    pthread_mutex_lock(&run->lock);
    int r = farm_set_channel(run->farm, channel, reterr);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
    return r;
}

void farm_run_remove_channel(struct farm_run *run, uint64_t channel)
{
    pthread_mutex_lock(&run->lock);
    farm_remove_channel(run->farm, channel);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

void farm_run_set_draining(struct farm_run *run, const char *node, bool draining)
{
    pthread_mutex_lock(&run->lock);
    farm_set_draining(run->farm, node, draining);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

void farm_run_load_take(struct farm_run *run, uint64_t channel, const struct farm_take *take)
{
    pthread_mutex_lock(&run->lock);
    farm_load_take(run->farm, channel, take);
    pthread_mutex_unlock(&run->lock);
}

int farm_run_take(struct farm_run *run, const char *channel, const char *take,
                  struct farm_took *ret, struct diagnostic *reterr)
{
    if (!leads(run))
        return diagnostic_set(reterr, -ESTALE, "not_leading", "",
                              "this coordinator has lost its lease; ask again");
    pthread_mutex_lock(&run->lock);
    int r = farm_take(run->farm, channel, take, time_now(), ret, reterr);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
    return r;
}

int farm_run_set_sources(struct farm_run *run, const struct farm_source *sources, size_t count)
{
    pthread_mutex_lock(&run->lock);
    int r = farm_set_sources(run->farm, sources, count);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
    return r;
}

void farm_run_clear_asset(struct farm_run *run, const char *content)
{
    pthread_mutex_lock(&run->lock);
    farm_clear_asset(run->farm, content);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

uint64_t farm_run_turns(const struct farm_run *run)
{
    return atomic_load(&run->turns);
}

void farm_run_recommit(struct farm_run *run)
{
    pthread_mutex_lock(&run->lock);
    farm_recommit(run->farm);
    tick_want(run);
    pthread_mutex_unlock(&run->lock);
}

uint64_t farm_run_deposed(struct farm_run *run)
{
    pthread_mutex_lock(&run->lock);
    uint64_t epoch = farm_deposed(run->farm);
    pthread_mutex_unlock(&run->lock);
    return epoch;
}

void farm_run_read_meters(struct farm_run *run, struct farm_meters *list, int count)
{
    pthread_mutex_lock(&run->lock);
    farm_read_meters(run->farm, list, count, clock_monotonic_ns());
    pthread_mutex_unlock(&run->lock);
}

struct farm_snapshot *farm_run_snapshot(struct farm_run *run)
{
    pthread_mutex_lock(&run->lock);
    struct farm_snapshot *snapshot = farm_snapshot_create(run->farm, time_now());
    pthread_mutex_unlock(&run->lock);
    return snapshot;
}
