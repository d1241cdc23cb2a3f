#include "worker/worker.h"

#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/base/watchdog.h"
#include "engine/compose/blend.h"
#include "engine/link/control_link.h"
#include "engine/link/state_file.h"
#include "engine/live/log_server.h"
#include "engine/receive/links.h"
#include "engine/source/nursery.h"
#include "proto/control.pb-c.h"
#include "worker/duties.h"
#include "worker/golden.h"
#include "worker/sources.h"
#include "worker/strain.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

// Shared with consumers on this host; beyond it frames are coded.
#define BLOCK_BYTES_MAX ((size_t)2 << 30)
#define REPORT_MS       100
#define ALARMS_MAX      (4 * DUTIES_STAGES_MAX + 3)

typedef Vistter__Control__V1__DesiredState desired_state;

struct worker {
    // -- constant after create
    struct worker_settings settings;
    char frame_address[256];
    uint8_t golden[32];
    struct media_cache *cache;
    struct block_pool *blocks; // NULL: frames are not shared
    uint64_t host;
    struct frame_server *server;
    struct log_server *logs; // of live sources, for other workers
    char live_folder[PATH_MAX], rtmp_folder[PATH_MAX];
    struct links *links; // to the providers of what lies beneath our groups
    struct control_client *control;
    struct state_file *state_file;
    int state_fd; // eventfd: a new desired state is there
    struct stage_times times;
    struct queue *ended; // stages on their way out; full: main waits
    pthread_t reaper;
    bool reaping;
    // -- guarded by state_lock
    pthread_mutex_t state_lock;
    uint8_t *newest; // packed, NULL when main has taken it
    size_t newest_size;
    // -- main thread
    double cpu_load;
    int64_t cpu_read_ns, cpu_read_at_ns, links_log_at_ns;
    struct strain strain;
    struct sources *sources;
    // -- guarded by lock; only main changes it
    pthread_mutex_t lock;
    struct duties duties;
};

// It holds the links' keys.
static void state_free(uint8_t *bytes, size_t size)
{
    if (bytes)
        explicit_bzero(bytes, size);
    free(bytes);
}

// ---- Callbacks from the links -----------------------------------------------------------------

static void on_state(void *opaque, const desired_state *state)
{
    struct worker *w = opaque;
    size_t size = vistter__control__v1__desired_state__get_packed_size(state);
    uint8_t *bytes = base_alloc(size);
    vistter__control__v1__desired_state__pack(state, bytes);
    pthread_mutex_lock(&w->state_lock);
    state_free(w->newest, w->newest_size);
    w->newest = bytes;
    w->newest_size = size;
    pthread_mutex_unlock(&w->state_lock);
    eventfd_write(w->state_fd, 1);
}

static bool link_key(void *opaque, const char *consumer, const char *link_id,
                     uint8_t ret_key[LINK_KEY_BYTES])
{
    struct worker *w = opaque;
    pthread_mutex_lock(&w->lock);
    bool found = duties_link_key(&w->duties, consumer, link_id, ret_key);
    pthread_mutex_unlock(&w->lock);
    return found;
}

static void on_want(void *opaque, struct frame_peer *peer, const struct frame_want *want)
{
    struct worker *w = opaque;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->duties.stage_count; i++)
        if (stage_is(w->duties.stages[i], want->channel, want->plan_epoch, want->group))
            stage_want(w->duties.stages[i], peer, want);
    pthread_mutex_unlock(&w->lock);
}

static void on_log_want(void *opaque, struct frame_peer *peer, const struct frame_log_want *want)
{
    struct worker *w = opaque;
    log_server_want(w->logs, peer, want);
}

static void on_gone(void *opaque, struct frame_peer *peer)
{
    struct worker *w = opaque;
    log_server_gone(w->logs, peer);
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->duties.stage_count; i++)
        stage_gone(w->duties.stages[i], peer);
    pthread_mutex_unlock(&w->lock);
}

// ---- Desired state ----------------------------------------------------------------------------

// Joins stages that have ended: one may be in the middle of something heavy, and reports must go
// on meanwhile.
static void *reap(void *opaque)
{
    struct worker *w = opaque;
    void *stage;
    while (!queue_pop(w->ended, &stage, -1))
        stage_destroy((struct stage **)&stage);
    return NULL;
}

static void follow(struct worker *w, const desired_state *state)
{
    struct stage *ended[DUTIES_STAGES_MAX];
    struct stage_config stage = {
        .cache = w->cache,
        .node = w->settings.name,
        .links = w->links,
        .blocks = w->blocks,
        .host = w->host,
        .times = &w->times,
        .live_folder = w->live_folder,
        // Wants and frames wait out the latency each; consumers repeat a little later.
        .repeat_ns = 2 * w->settings.frame_latency_ms * INT64_C(1000000),
    };
    media_cache_set_origin(w->cache, state->media_url);
    pthread_mutex_lock(&w->lock);
    int ended_count = duties_follow(&w->duties, state, &stage, ended);
    pthread_mutex_unlock(&w->lock);
    sources_follow(w->sources, state);
    for (int i = 0; i < ended_count; i++)
        (void)queue_push(w->ended, ended[i], -1); // open until the worker ends
}

// A packed DesiredState. -ESTALE: older than, or the same as, what it does already.
static int apply(struct worker *w, const uint8_t *bytes, size_t size)
{
    desired_state *state = vistter__control__v1__desired_state__unpack(NULL, size, bytes);
    if (!state)
        return -EPROTO;
    bool news = duties_news(&w->duties, state);
    for (size_t i = 0; news && i < state->n_retry; i++)
        crash_notes_forget(state->retry[i]);
    if (news)
        follow(w, state);
    vistter__control__v1__desired_state__free_unpacked(state, NULL);
    return news ? 0 : -ESTALE;
}

static int apply_remembered(void *opaque, const uint8_t *bytes, size_t size)
{
    return apply(opaque, bytes, size);
}

static void resume(struct worker *w)
{
    int error = state_file_resume(w->state_file, apply_remembered, w);
    if (!error)
        log_info("state_resume", "epoch=%" PRIu64 " version=%" PRIu64 " groups=%d", w->duties.epoch,
                 w->duties.version, w->duties.stage_count);
    else if (error != -ENOENT)
        log_warning("state_resume", "error=\"%s\"", strerror(-error));
}

static void reconcile(struct worker *w)
{
    pthread_mutex_lock(&w->state_lock);
    uint8_t *bytes = w->newest;
    size_t size = w->newest_size;
    w->newest = NULL;
    pthread_mutex_unlock(&w->state_lock);
    if (bytes && !apply(w, bytes, size))
        state_file_write(w->state_file, bytes, size);
    state_free(bytes, size);
}

// ---- Reports ----------------------------------------------------------------------------------

struct report_memory {
    struct stage_status status[DUTIES_STAGES_MAX];
    Vistter__Control__V1__StageReport stages[2 * DUTIES_STAGES_MAX],
        *stage_pointers[2 * DUTIES_STAGES_MAX];
    Vistter__Control__V1__TrackCost costs[DUTIES_STAGES_MAX][TIMELINE_TRACKS_MAX];
    Vistter__Control__V1__TrackCost *cost_pointers[DUTIES_STAGES_MAX][TIMELINE_TRACKS_MAX];
    Vistter__Control__V1__PlanReport plans[DUTIES_STAGES_MAX], *plan_pointers[DUTIES_STAGES_MAX];
    Vistter__Control__V1__GroupState groups[DUTIES_STAGES_MAX], *group_pointers[DUTIES_STAGES_MAX];
    Vistter__Control__V1__AlarmReport alarms[ALARMS_MAX], *alarm_pointers[ALARMS_MAX];
    struct crash_note notes[CRASH_NOTES_MAX];
    Vistter__Control__V1__CrashReport crashes[CRASH_NOTES_MAX], *crash_pointers[CRASH_NOTES_MAX];
    size_t stage_count, plan_count, alarm_count, crash_count;
    uint64_t logged_id; // of the newest crash that the log has
};

static void report_alarm(struct report_memory *m, uint64_t channel, const char *code,
                         const char *text, uint64_t count)
{
    Vistter__Control__V1__AlarmReport *alarm = &m->alarms[m->alarm_count];
    vistter__control__v1__alarm_report__init(alarm);
    alarm->code = (char *)(uintptr_t)code;
    alarm->text = (char *)(uintptr_t)text;
    alarm->channel = channel;
    alarm->count = count;
    m->alarm_pointers[m->alarm_count++] = alarm;
}

// Some problems have a code of their own; of others the words say what they are.
static const char *problem_code(const struct stage_status *s)
{
    bool own =
        !strcmp(s->problem_code, "asset_poisoned") || !strcmp(s->problem_code, "asset_suspect");
    return own ? s->problem_code : "clip_fallback";
}

static void report_crashes(struct report_memory *m)
{
    int count = crash_notes_list(m->notes);
    for (int i = 0; i < count; i++) {
        Vistter__Control__V1__CrashReport *crash = &m->crashes[i];
        vistter__control__v1__crash_report__init(crash);
        crash->id = m->notes[i].id;
        crash->content = m->notes[i].name;
        crash->picture = m->notes[i].place;
        crash->signal = (uint32_t)m->notes[i].signal;
        if (crash->id > m->logged_id) {
            log_error("asset_suspect", "content=%s picture=%" PRId64 " signal=%u hung=%d at=%.3f",
                      crash->content, crash->picture, crash->signal, crash->signal == CRASH_HUNG,
                      (double)crash->id / 1e9);
            m->logged_id = crash->id;
        }
        m->crash_pointers[i] = crash;
    }
    m->crash_count = (size_t)count;
}

static void report_stage(struct report_memory *m, int i)
{
    struct stage_status *s = &m->status[i];
    Vistter__Control__V1__StageReport *render = &m->stages[m->stage_count];
    vistter__control__v1__stage_report__init(render);
    render->channel = s->channel;
    render->plan_epoch = s->plan_epoch;
    render->group = s->group;
    render->kind = VISTTER__CONTROL__V1__STAGE_KIND__STAGE_KIND_RENDER;
    render->frame = s->frame;
    render->frames = s->frames;
    render->bytes = s->bytes;
    Vistter__Control__V1__StageReport *code = &m->stages[m->stage_count + 1];
    *code = *render;
    code->kind = VISTTER__CONTROL__V1__STAGE_KIND__STAGE_KIND_CODE;
    code->median_ms = s->code_median_ms;
    code->p99_ms = s->code_p99_ms;
    render->median_ms = s->render_median_ms;
    render->p99_ms = s->render_p99_ms;
    render->n_tracks = (size_t)s->track_count;
    render->tracks = m->cost_pointers[i];
    for (int k = 0; k < s->track_count; k++) {
        vistter__control__v1__track_cost__init(&m->costs[i][k]);
        m->costs[i][k].track = (uint32_t)s->track[k];
        m->costs[i][k].ms = s->track_ms[k];
        m->cost_pointers[i][k] = &m->costs[i][k];
    }
    for (int k = 0; k < 2; k++, m->stage_count++)
        m->stage_pointers[m->stage_count] = &m->stages[m->stage_count];
    if (s->problems)
        report_alarm(m, s->channel, problem_code(s), s->problem, s->problems);
    if (*s->lacks)
        report_alarm(m, s->channel, "media_waits", s->lacks, 1);
    if (s->behind)
        report_alarm(
            m, s->channel, "standby_behind",
            "this worker is short of time: it stands by without following, and would start "
            "as slowly as a cold one",
            1);
    if (s->left_out)
        report_alarm(m, s->channel, "copies_left_out",
                     "this worker is short of time: it makes no second copies for the channel, "
                     "and stands by like a warm one",
                     1);
}

static const Vistter__Control__V1__PlanState states[] = {
    [STAGE_PREPARING] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING,
    [STAGE_PREPARED] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED,
    [STAGE_REFUSED] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED,
};

// A plan is as far as the slowest of its groups on this node; one refused group refuses it.
static void report_plan(struct report_memory *m, int i)
{
    struct stage_status *s = &m->status[i];
    Vistter__Control__V1__PlanReport *plan = NULL;
    for (size_t k = 0; k < m->plan_count && !plan; k++)
        if (m->plans[k].channel == s->channel && m->plans[k].plan_epoch == s->plan_epoch)
            plan = &m->plans[k];
    if (!plan) {
        plan = &m->plans[m->plan_count];
        vistter__control__v1__plan_report__init(plan);
        plan->channel = s->channel;
        plan->plan_epoch = s->plan_epoch;
        plan->state = states[STAGE_PREPARED];
        m->plan_pointers[m->plan_count++] = plan;
    }
    if (s->state == STAGE_REFUSED ||
        (s->state == STAGE_PREPARING && plan->state == states[STAGE_PREPARED]))
        plan->state = states[s->state];
    if (s->state == STAGE_REFUSED)
        plan->reason = s->reason;
    if (*s->waits_for)
        plan->waits_for = s->waits_for;
}

// How far each group of each plan is: not all of them keep a plan waiting.
static void report_groups(struct report_memory *m, int count)
{
    size_t used = 0;
    for (size_t p = 0; p < m->plan_count; p++) {
        Vistter__Control__V1__PlanReport *plan = &m->plans[p];
        plan->groups = &m->group_pointers[used];
        for (int i = 0; i < count; i++) {
            const struct stage_status *s = &m->status[i];
            if (s->channel != plan->channel || s->plan_epoch != plan->plan_epoch)
                continue;
            Vistter__Control__V1__GroupState *group = m->group_pointers[used] = &m->groups[used];
            used++;
            vistter__control__v1__group_state__init(group);
            group->group = s->group;
            group->state = states[s->state];
            group->start_ms = (uint32_t)s->start_ms;
            plan->n_groups++;
        }
    }
}

static uint64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long long total = 0, resident = 0;
    if (file) {
        if (fscanf(file, "%llu %llu", &total, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int64_t process_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec + nursery_cpu_ns();
}

static void read_load(struct worker *w)
{
    int64_t now = clock_monotonic_ns(), cpu = process_cpu_ns();
    if (now - w->cpu_read_at_ns < 1000000000)
        return;
    w->cpu_load = (double)(cpu - w->cpu_read_ns) / (double)(now - w->cpu_read_at_ns);
    w->cpu_read_at_ns = now;
    w->cpu_read_ns = cpu;
}

// Looks at how the stages keep up, and tells them what is given up.
static void tend_strain(struct worker *w, const struct report_memory *m, int count)
{
    double share = 1;
    enum overload_level before = w->strain.overload.level;
    bool optional = false;
    for (int i = 0; i < count; i++) {
        share = m->status[i].share < share ? m->status[i].share : share;
        optional = optional || m->status[i].optional;
    }
    strain_optional(&w->strain, optional);
    enum overload_level level = strain_look(&w->strain, share, clock_monotonic_ns());
    atomic_store(&w->times.level, level);
    if (level > before)
        log_warning("overloaded", "gives_up=%s share=%.2f", overload_name(level), share);
    else if (level < before)
        log_info("takes_up", "what=%s", overload_name(before));
}

static void send_report(struct worker *w, struct report_memory *m)
{
    m->stage_count = m->plan_count = m->alarm_count = 0;
    pthread_mutex_lock(&w->lock);
    int count = w->duties.stage_count;
    for (int i = 0; i < count; i++)
        stage_read(w->duties.stages[i], &m->status[i]);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < count; i++) {
        report_stage(m, i);
        report_plan(m, i);
    }
    report_groups(m, count);
    tend_strain(w, m, count);
    char overloaded[256];
    overload_text(&w->strain.overload, "this worker does not keep up with rendering", overloaded,
                  sizeof overloaded);
    if (w->strain.overload.level)
        report_alarm(m, 0, "overloaded", overloaded, 1);
    if (state_file_error(w->state_file))
        report_alarm(m, 0, "state_unwritten",
                     "the desired state cannot be written: after a restart without a coordinator "
                     "this worker would go on with an older one",
                     1);
    read_load(w);
    Vistter__Control__V1__NodeReport report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    report.n_sources = sources_report(w->sources, &report.sources);
    const char *forked = sources_forked(w->sources, clock_monotonic_ns());
    if (forked)
        report_alarm(m, 0, "source_forked", forked, 1);
    report.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    report.version = VISTTER_VERSION;
    report.frame_address = w->frame_address;
    report.cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    report.state_epoch = w->duties.epoch;
    report.state_version = w->duties.version;
    report.golden = (ProtobufCBinaryData){sizeof w->golden, w->golden};
    report.n_stages = m->stage_count;
    report.stages = m->stage_pointers;
    report.n_plans = m->plan_count;
    report.plans = m->plan_pointers;
    report.n_alarms = m->alarm_count;
    report.alarms = m->alarm_pointers;
    report_crashes(m);
    report.n_crashes = m->crash_count;
    report.crashes = m->crash_pointers;
    report.host = w->host;
    report.overload = (uint32_t)w->strain.overload.level;
    report.knows_optional = true;
    report.cpu_load = w->cpu_load;
    report.memory_bytes = resident_bytes();
    // No coordinator in reach is no error: the next report goes out in 100 ms.
    (void)control_client_report(w->control, &report);
}

static void log_links(struct worker *w, int64_t now)
{
    struct frame_peer_stats peers[FRAME_PEERS_MAX];
    if (now < w->links_log_at_ns)
        return;
    w->links_log_at_ns = now + LINKS_LOG_NS;
    links_log(w->links);
    int count = frame_server_stats(w->server, peers);
    for (int i = 0; i < count; i++) {
        const struct frame_link_stats *s = &peers[i].link;
        log_info("frame_link_stats",
                 "link=%s consumer=%s messages=%" PRIu64 " bytes=%" PRIu64 " bad=%" PRIu64
                 " replayed=%" PRIu64 " resent=%" PRIu64 " dropped=%" PRIu64
                 " loss_percent=%.2f rtt_ms=%.1f",
                 peers[i].link_id, peers[i].consumer, s->messages, s->bytes, s->bad, s->replayed,
                 s->resent, s->dropped, s->loss_percent, s->rtt_ms);
    }
}

// All stages are asked: what each has done is looked at here.
static const char *hung_part(struct worker *w)
{
    const char *hung = NULL;
    int64_t now_ns = clock_monotonic_ns();
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->duties.stage_count; i++)
        if (stage_hung(w->duties.stages[i], now_ns))
            hung = "a group's renderer";
    pthread_mutex_unlock(&w->lock);
    return hung;
}

// ---- Life -------------------------------------------------------------------------------------

static int open_links(struct worker *w, struct diagnostic *reterr)
{
    struct media_cache_config cache = {w->settings.cache, w->settings.cache_bytes};
    struct frame_server_config server = {.listen = w->settings.frame_listen,
                                         .link_key = link_key,
                                         .on_want = on_want,
                                         .on_log_want = on_log_want,
                                         .on_gone = on_gone,
                                         .opaque = w,
                                         .srt_only = w->settings.srt_only};
    struct sources_config sources = {w->live_folder, w->settings.name, w->settings.frame_latency_ms,
                                     w->rtmp_folder, w->settings.rtmp_listen};
    struct control_client_config control = {
        .addresses = w->settings.coordinators,
        .node = w->settings.name,
        .on_state = on_state,
        .opaque = w,
    };
    int error = cluster_key_read(w->settings.cluster_key, control.key, reterr);
    if (!error)
        error = state_file_create(w->settings.state_folder, w->settings.name, control.key,
                                  &w->state_file, reterr);
    if (!error)
        error = media_cache_create(&cache, &w->cache, reterr);
    if (!error)
        error = golden_hash(w->settings.cache, w->golden, reterr);
    if (!error)
        error = sources_create(&sources, &w->sources, reterr);
    if (!error)
        error = log_server_create(w->live_folder, &w->logs, reterr);
    if (!error)
        error = frame_server_create(&server, &w->server, reterr);
    if (error)
        return error;
    if (!w->settings.srt_only && (w->host = block_host()))
        w->blocks = block_pool_create(BLOCK_BYTES_MAX);
    w->links = links_create(w->settings.name, w->settings.frame_latency_ms);
    error = frame_server_address(w->server, w->settings.frame_address, w->frame_address,
                                 sizeof w->frame_address, reterr);
    if (error)
        return error;
    return control_client_create(&control, &w->control, reterr);
}

int worker_create(const struct worker_settings *settings, struct worker **ret,
                  struct diagnostic *reterr)
{
    struct worker *w = base_alloc(sizeof *w);
    w->settings = *settings;
    snprintf(w->live_folder, sizeof w->live_folder, "%s/live", settings->cache);
    snprintf(w->rtmp_folder, sizeof w->rtmp_folder, "%s/rtmp", settings->cache);
    pthread_mutex_init(&w->lock, NULL);
    pthread_mutex_init(&w->state_lock, NULL);
    w->state_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->links_log_at_ns = clock_monotonic_ns() + LINKS_LOG_NS;
    strain_init(&w->strain);
    w->ended = queue_create(DUTIES_STAGES_MAX, NULL);
    int error = thread_start(&w->reaper, "reaper", reap, w);
    w->reaping = !error;
    error = error ? diagnostic_set(reterr, error, "thread", "", "no thread: %s", strerror(-error))
                  : open_links(w, reterr);
    if (error) {
        worker_destroy(&w);
        return error;
    }
    log_info("worker_ready", "name=%s frames=%s kernels=%s", settings->name, w->frame_address,
             compose_cpu_name());
    resume(w);
    *ret = w;
    return 0;
}

void worker_run(struct worker *w, int stop_fd)
{
    struct report_memory *memory = base_alloc(sizeof *memory);
    struct watchdog watchdog;
    int64_t next_ns = clock_monotonic_ns();
    watchdog_init(&watchdog);
    watchdog_ready();
    for (;;) {
        struct pollfd fds[] = {{stop_fd, POLLIN, 0}, {w->state_fd, POLLIN, 0}};
        int64_t left = next_ns - clock_monotonic_ns();
        int ready = poll(fds, 2, left > 0 ? (int)(left / 1000000) + 1 : 0);
        if (ready > 0 && fds[0].revents)
            break;
        if (ready > 0 && fds[1].revents) {
            eventfd_t ignored;
            eventfd_read(w->state_fd, &ignored);
            reconcile(w);
            next_ns = 0; // tells at once how far the new state is
        }
        if (clock_monotonic_ns() >= next_ns) {
            sources_step(w->sources, clock_monotonic_ns());
            send_report(w, memory);
            log_links(w, clock_monotonic_ns());
            watchdog_tend(&watchdog, hung_part(w), clock_monotonic_ns());
            next_ns = clock_monotonic_ns() + REPORT_MS * INT64_C(1000000);
        }
    }
    watchdog_stopping();
    free(memory);
}

void worker_destroy(struct worker **worker)
{
    struct worker *w = *worker;
    if (!w)
        return;
    *worker = NULL;
    control_client_destroy(&w->control);
    frame_server_destroy(&w->server);
    log_server_destroy(&w->logs);
    sources_destroy(&w->sources);
    for (int i = 0; i < w->duties.stage_count; i++)
        stage_close(w->duties.stages[i]);
    for (int i = 0; i < w->duties.stage_count; i++)
        (void)queue_push(w->ended, w->duties.stages[i], -1);
    queue_close(w->ended);
    if (w->reaping)
        thread_join(w->reaper);
    queue_destroy(&w->ended);
    links_destroy(&w->links);
    block_pool_destroy(&w->blocks);
    media_cache_destroy(&w->cache);
    state_file_destroy(&w->state_file);
    state_free(w->newest, w->newest_size);
    close(w->state_fd);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->state_lock);
    free(w);
}
