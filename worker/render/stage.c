#include "worker/render/stage_private.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/receive/prepare.h"
#include "engine/render/render.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREPARE_WAIT_MS 500
#define LINKS_LOOK_NS   20000000
// Whoever stands by does nothing for so long after a stage of this worker was short of time.
#define SHORT_NS INT64_C(2000000000)
// Nor gives up following before spare copies have been left out for so long.
#define SPARE_NS  INT64_C(1000000000)
#define BEHIND_NS INT64_C(5000000000) // and says so when it has not followed for so long
// How long a full peer queue is given to drain before it is tried again.
#define PEER_RETRY_NS 4000000
// Logs of live sources grow with each of their pictures.
#define LOG_LOOK_NS INT64_C(5000000)
// Who has waited for one is behind for no fault of its own; who is too slow for a log waits no
// more.
#define LOG_LATELY_NS INT64_C(1000000000)
// Longer than the slowest start of a source.
#define HUNG_NS INT64_C(20000000000)
// Tracks' costs are means over about so many seconds of programme.
#define COST_SECONDS 10

bool stage_is(const struct stage *s, uint64_t channel, uint32_t plan_epoch, uint32_t group)
{
    return s->channel == channel && s->plan_epoch == plan_epoch && s->group == group;
}

// ---- Consumers --------------------------------------------------------------------------------

void stage_wake(struct stage *s)
{
    s->woken = true;
    pthread_cond_signal(&s->changed);
}

void stage_want(struct stage *s, struct frame_peer *peer, const struct frame_want *want)
{
    pthread_mutex_lock(&s->lock);
    if (!want->ended) {
        consumers_note(&s->consumers, peer, want);
    } else {
        struct consumer *c = consumers_find(&s->consumers, peer);
        if (c)
            loans_end(&c->loans, want->keep);
        if (c && c->start == want->start)
            consumer_clear(c);
    }
    stage_wake(s);
    pthread_mutex_unlock(&s->lock);
}

void stage_gone(struct stage *s, struct frame_peer *peer)
{
    pthread_mutex_lock(&s->lock);
    struct consumer *c = consumers_find(&s->consumers, peer);
    if (c)
        consumer_clear(c);
    pthread_mutex_unlock(&s->lock);
}

// ---- Rendering --------------------------------------------------------------------------------

static void note_problems(struct stage *s, const struct render_report *report)
{
    if (report->problems) {
        s->status.problems++;
        diagnostic_format(&report->first, s->status.problem, sizeof s->status.problem);
        snprintf(s->status.problem_code, sizeof s->status.problem_code, "%s", report->first.code);
    }
}

static void note_report(struct stage *s, int64_t frame, const struct render_report *report)
{
    uint64_t window = COST_SECONDS * (uint64_t)s->rate.num / (uint64_t)s->rate.den;
    pthread_mutex_lock(&s->lock);
    s->status.frame = frame;
    s->status.frames++;
    for (int i = 0; i < s->status.track_count; i++)
        cost_mean_add(&s->status.track_ms[i], s->status.frames, window,
                      (double)report->track_ns[s->track_from + i] / 1e6);
    note_problems(s, report);
    pthread_mutex_unlock(&s->lock);
}

// -EAGAIN: what lies beneath, or a camera's log, is still on its way.
static int render_one(struct stage *s, int64_t frame, int64_t credit, int64_t start_frame,
                      bool store)
{
    struct group_frame *group = NULL;
    struct picture *beneath = NULL;
    struct render_report report;
    int64_t local = frame - start_frame;
    int64_t start_ns = clock_monotonic_ns();
    if (s->waits_log && renderer_waits(s->renderer, frame))
        return -EAGAIN;
    int error = s->beneath ? beneath_picture(s->beneath, frame, credit, &beneath) : 0;
    s->waits_beneath = error == -EAGAIN;
    s->waits_log = false;
    if (error == -EAGAIN)
        return error;
    if (!error)
        error = renderer_frame(s->renderer, local < 0 ? 0 : local, frame, beneath, &group, s->sound,
                               &report);
    picture_unref(&beneath);
    s->waits_log = error == -EAGAIN;
    stage_note_log(s, s->waits_log ? &report.first : NULL);
    if (s->waits_log)
        return error;
    int64_t rendered_ns = clock_monotonic_ns();
    struct coded_frame coded = {0};
    // Consumers take another provider's frame of a key's number for that key.
    if (!error && (report.uncertain || s->uncertain))
        coder_restart(s->coder);
    s->uncertain = !error && report.uncertain;
    if (!error)
        error = coder_frame(s->coder,
                            &(struct coder_input){.frame = frame,
                                                  .group = group,
                                                  .unchanged = report.unchanged,
                                                  .sound = s->sound,
                                                  .store = store},
                            &coded);
    group_frame_unref(&group);
    if (error) {
        log_error("render_failed",
                  "channel=%" PRIu64 " group=%" PRIu32 " frame=%" PRId64 " error=%d", s->channel,
                  s->group, frame, error);
        return error;
    }
    s->position = frame;
    cost_add(&s->render_cost, rendered_ns - start_ns);
    cost_add(&s->code_cost, clock_monotonic_ns() - rendered_ns);
    coded.uncertain = report.uncertain;
    ring_push(&s->ring, coded);
    note_report(s, frame, &report);
    return 0;
}

// ---- The thread -------------------------------------------------------------------------------

void stage_wait(struct stage *s, int64_t timeout_ns)
{
    if (s->woken || s->closing)
        return;
    int64_t due = clock_monotonic_ns() + timeout_ns;
    struct timespec t = {due / 1000000000, due % 1000000000};
    s->busy = false;
    pthread_cond_timedwait(&s->changed, &s->lock, &t);
}

static bool is_closing(struct stage *s)
{
    pthread_mutex_lock(&s->lock);
    bool closing = s->closing;
    pthread_mutex_unlock(&s->lock);
    return closing;
}

static void set_state(struct stage *s, enum stage_state state, const struct diagnostic *why)
{
    pthread_mutex_lock(&s->lock);
    s->status.state = state;
    if (why)
        diagnostic_format(why, s->status.reason, sizeof s->status.reason);
    pthread_mutex_unlock(&s->lock);
}

// Opens and positions the sources of the frame where the plan will probably take effect, so that
// the first credit finds them warm. What is wrong there is known before it is on air.
static int warm_up(struct stage *s, struct diagnostic *reterr)
{
    struct group_frame *group = NULL;
    struct picture *black = NULL;
    struct render_report report;
    if (s->beneath && !(black = picture_create(PICTURE_OPAQUE, s->width, s->height)))
        return diagnostic_set(reterr, -ENOMEM, "render_memory", "", "out of memory");
    if (black)
        picture_clear(black);
    int64_t start_ns = clock_monotonic_ns();
    int error =
        renderer_frame(s->renderer, s->warm_local, s->warm_frame, black, &group, s->sound, &report);
    group_frame_unref(&group);
    picture_unref(&black);
    if (error == -EAGAIN) {
        report.problems = 0;
        error = stage_await_logs(s);
        if (error)
            return error;
    }
    if (error)
        return diagnostic_set(reterr, error, "render_failed", "", "the first frame: %s",
                              strerror(-error));
    pthread_mutex_lock(&s->lock);
    s->status.start_ms = (int)((clock_monotonic_ns() - start_ns) / 1000000) + 1;
    note_problems(s, &report);
    pthread_mutex_unlock(&s->lock);
    s->position = s->warm_frame;
    return 0;
}

// What has ended two decoders is opened by nobody: the plan says so, to all the same.
static void bar_poisoned(struct stage *s)
{
    for (size_t i = 0; i < s->poisoned_count; i++) {
        const struct poisoned *p = &s->poisoned[i];
        struct diagnostic why;
        diagnostic_set(&why, -EPERM, "asset_poisoned", p->name,
                       "has %s its decoder twice (at picture %lld): its clips show their "
                       "fallbacks. Put a mended file into the timeline, or have it tried again: "
                       "vistter media clear %s",
                       p->hung ? "hung" : "ended", (long long)p->picture, p->name);
        prepared_bar(s->prepared, p->content, &why);
    }
}

static int open_renderer(struct stage *s, struct diagnostic *reterr)
{
    bar_poisoned(s);
    const struct timeline *timeline = prepared_timeline(s->prepared);
    pthread_mutex_lock(&s->lock);
    s->status.optional = timeline_has_optional(timeline, s->track_from, s->track_to);
    pthread_mutex_unlock(&s->lock);
    if (s->without_optional)
        prepared_leave_optional(s->prepared);
    struct render_config config = {
        .timeline = timeline,
        .width = s->width,
        .height = s->height,
        .rate = s->rate,
        .track_from = s->track_from,
        .track_to = s->track_to,
        .base = s->base,
        .sound = true,
        .resolver = prepared_resolver(s->prepared),
        .live_folder = s->live_folder,
        .epoch_ns = s->epoch_ns,
    };
    int error = renderer_create(&config, &s->renderer, reterr);
    return error || s->third ? error : warm_up(s, reterr);
}

// Waits until the providers of what lies beneath are connected.
static int await_links(struct stage *s)
{
    const char *address = NULL;
    pthread_mutex_lock(&s->lock);
    while (s->beneath && !s->closing && (address = beneath_waits_for(s->beneath))) {
        snprintf(s->status.waits_for, sizeof s->status.waits_for, "%s", address);
        s->woken = false;
        stage_wait(s, LINKS_LOOK_NS);
    }
    s->status.waits_for[0] = 0;
    int result = s->closing ? -EAGAIN : 0;
    pthread_mutex_unlock(&s->lock);
    return result;
}

// Fetches the revision and its media. What cannot be had is told: after a restart without a
// coordinator only what is in the cache is to be had.
static int fetch(struct stage *s, int *ret_missing, struct diagnostic *reterr)
{
    int error = -EAGAIN;
    bool told = false;
    while (error == -EAGAIN && !is_closing(s)) {
        char text[512] = "";
        error = prepared_create(s->cache, s->revision, PREPARE_WAIT_MS, &s->prepared, ret_missing,
                                reterr);
        if (error == -EAGAIN && strcmp(reterr->code, "media_coming") != 0)
            diagnostic_format(reterr, text, sizeof text);
        if (*text && !told)
            log_warning("stage_waits",
                        "channel=%" PRIu64 " plan=%" PRIu32 " group=%" PRIu32 " for=\"%s\"",
                        s->channel, s->plan_epoch, s->group, text);
        told = told || *text;
        stage_set_lacks(s, text);
    }
    return error;
}

static void refuse(struct stage *s, const struct diagnostic *why)
{
    char text[1024];
    log_error("stage_refused",
              "channel=%" PRIu64 " plan=%" PRIu32 " group=%" PRIu32 " reason=\"%s\"", s->channel,
              s->plan_epoch, s->group, diagnostic_format(why, text, sizeof text));
    set_state(s, STAGE_REFUSED, why);
}

static bool prepare(struct stage *s)
{
    struct diagnostic why = s->refused;
    int missing = 0, error = *why.code ? -EINVAL : fetch(s, &missing, &why);
    if (!error)
        error = open_renderer(s, &why);
    if (!error)
        error = await_links(s);
    if (error && error != -EAGAIN) {
        refuse(s, &why);
        return false;
    }
    if (missing)
        log_warning("media_missing", "channel=%" PRIu64 " group=%" PRIu32 " count=%d", s->channel,
                    s->group, missing);
    if (!error)
        set_state(s, STAGE_PREPARED, NULL);
    return !error;
}

static bool is_short(const struct stage *s, int64_t now)
{
    return now - atomic_load(&s->times->short_ns) < SHORT_NS;
}

static bool leaves_copies(const struct stage *s, int64_t now)
{
    return is_short(s, now) || atomic_load(&s->times->level) >= OVERLOAD_COPIES;
}

// Copies of what another worker makes are the first thing that is left out when a worker is short
// of time. Called with the lock held.
static void leave_out(struct stage *s)
{
    int64_t now = clock_monotonic_ns();
    bool any, copies = consumers_spare(&s->consumers, &any);
    if (!leaves_copies(s, now)) {
        s->copied_ns = now;
        if (copies)
            atomic_store(&s->times->copied_ns, now);
        if (atomic_load(&s->times->level) >= OVERLOAD_SAMPLES)
            consumers_skip_spare(&s->consumers, true);
    } else {
        consumers_skip_spare(&s->consumers, false);
    }
    s->status.left_out = any && now - s->copied_ns > BEHIND_NS;
}

// Stands where a consumer would go on if need be: clips open, decoders near. The next thing that a
// worker leaves out when it is short of time. Called with the lock held, which is let go meanwhile.
// Returns whether anything was done.
static bool follow(struct stage *s)
{
    int64_t now = clock_monotonic_ns();
    int64_t at = consumers_stand_at(&s->consumers, leaves_copies(s, now));
    if (at < 0 || !s->committed || at == s->position)
        s->followed_ns = now;
    s->status.behind = now - s->followed_ns > BEHIND_NS;
    bool copies = now - atomic_load(&s->times->copied_ns) < SPARE_NS;
    if (s->followed_ns == now || (is_short(s, now) && !copies))
        return false;
    int64_t local = at - s->start_frame;
    pthread_mutex_unlock(&s->lock);
    renderer_follow(s->renderer, local < 0 ? 0 : local, at);
    pthread_mutex_lock(&s->lock);
    s->position = at;
    return true;
}

static void *stage_main(void *opaque)
{
    struct stage *s = opaque;
    if (!prepare(s))
        return NULL;
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        s->woken = false;
        s->busy = true;
        s->turns++;
        if (stage_take_live(s))
            continue;
        leave_out(s);
        bool full = stage_serve(s);
        int64_t credit, frame = stage_next(s, &credit);
        bool late = clock_monotonic_ns() - s->log_waited_ns < LOG_LATELY_NS;
        bool waits = s->waits_beneath || late;
        s->status.share = frame < 0 || waits ? 1 : consumers_share(&s->consumers, true);
        if (frame < 0 && follow(s))
            continue;
        if (frame < 0) {
            stage_wait(s, full ? PEER_RETRY_NS : 1000000000);
            continue;
        }
        if (!late && consumers_wait(&s->consumers))
            atomic_store(&s->times->short_ns, clock_monotonic_ns());
        int64_t start_frame = s->start_frame;
        bool store = consumers_all_share(&s->consumers);
        pthread_mutex_unlock(&s->lock);
        int error = render_one(s, frame, credit, start_frame, store);
        pthread_mutex_lock(&s->lock);
        if (s->waits_log)
            s->log_waited_ns = clock_monotonic_ns();
        if (error && error != -EAGAIN)
            s->woken = false; // out of memory: gives the rest of the node time to let some go
        if (error)
            stage_wait(s, s->waits_log ? LOG_LOOK_NS : 100000000);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// From the thread that decodes what comes from beneath.
static void on_arrived(void *opaque)
{
    struct stage *s = opaque;
    pthread_mutex_lock(&s->lock);
    stage_wake(s);
    pthread_mutex_unlock(&s->lock);
}

static void take_poisoned(struct stage *s, const Vistter__Control__V1__ChannelPlan *plan)
{
    s->poisoned = plan->n_poisoned ? base_alloc(plan->n_poisoned * sizeof *s->poisoned) : NULL;
    for (size_t i = 0; i < plan->n_poisoned; i++) {
        struct poisoned *p = &s->poisoned[s->poisoned_count++];
        snprintf(p->content, sizeof p->content, "%s", plan->poisoned[i]->content);
        snprintf(p->name, sizeof p->name, "%s", plan->poisoned[i]->name);
        p->picture = plan->poisoned[i]->picture;
        p->hung = plan->poisoned[i]->hung;
    }
}

// Who is asked last of three hardly ever is (engine/receive/takeover.h).
static bool is_third(const Vistter__Control__V1__GroupPlan *group, const char *node)
{
    for (size_t i = 1; node && i < group->n_standbys; i++)
        if (!strcmp(group->standbys[i]->node, node))
            return true;
    return false;
}

struct stage *stage_create(const struct stage_config *config)
{
    const Vistter__Control__V1__ChannelPlan *plan = config->plan;
    const Vistter__Control__V1__GroupPlan *group = plan->groups[config->group];
    struct stage *s = base_alloc(sizeof *s);
    s->channel = plan->channel;
    s->plan_epoch = plan->plan_epoch;
    s->group = group->group;
    s->width = (int)(group->width ? group->width : plan->width);
    s->height = (int)(group->height ? group->height : plan->height);
    s->track_from = (int)group->track_from;
    s->track_to = (int)group->track_to;
    s->base = group->from_base;
    s->rate = (struct rate){(int32_t)plan->rate_num, (int32_t)plan->rate_den};
    memcpy(s->revision, plan->revision.data, sizeof s->revision);
    take_poisoned(s, plan);
    s->without_optional = plan->without_optional;
    s->third = is_third(group, config->node);
    s->cache = config->cache;
    s->live_folder = config->live_folder ? base_strdup(config->live_folder) : NULL;
    s->epoch_ns = plan->epoch_ns;
    s->log_waited_ns = INT64_MIN / 2;
    s->times = config->times;
    s->consumers.host = config->blocks ? config->host : 0;
    s->consumers.repeat_ns = config->repeat_ns;
    s->warm_frame = plan->at_frame > 0 ? plan->at_frame : 0;
    bool later = plan->start_frame != INT64_MIN && plan->start_frame < s->warm_frame;
    s->warm_local = later ? s->warm_frame - plan->start_frame : 0;
    s->coder = coder_create(s->width, s->height, s->rate, config->blocks);
    s->sound = base_alloc(SOUND_FRAME_MAX * SOUND_CHANNELS * sizeof *s->sound);
    s->status = (struct stage_status){
        .channel = s->channel,
        .plan_epoch = s->plan_epoch,
        .group = s->group,
        .frame = -1,
        .share = 1,
        .track_count = s->track_to - s->track_from,
    };
    for (int i = 0; i < s->status.track_count; i++)
        s->status.track[i] = s->track_from + i;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (group->needs_beneath && !group->from_base) {
        struct beneath_config beneath = {.plan = plan,
                                         .group = config->group,
                                         .node = config->node,
                                         .links = config->links,
                                         .arrived = on_arrived,
                                         .opaque = s};
        (void)beneath_create(&beneath, &s->beneath, &s->refused); // the thread tells
    }
    char name[16];
    snprintf(name, sizeof name, "render-%" PRIu64 "-%" PRIu32, s->channel % 1000, s->group % 1000);
    s->started = !thread_start(&s->thread, name, stage_main, s);
    if (!s->started) {
        diagnostic_set(&s->refused, -EAGAIN, "thread", "", "no thread to render with");
        refuse(s, &s->refused);
    }
    return s;
}

void stage_commit(struct stage *s, int64_t at_frame, int64_t start_frame)
{
    pthread_mutex_lock(&s->lock);
    s->committed = true;
    s->start_frame = start_frame == INT64_MIN ? at_frame : start_frame;
    stage_wake(s);
    pthread_mutex_unlock(&s->lock);
}

void stage_close(struct stage *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    consumers_clear(&s->consumers);
    stage_wake(s);
    pthread_mutex_unlock(&s->lock);
}

void stage_destroy(struct stage **stage)
{
    struct stage *s = *stage;
    if (!s)
        return;
    *stage = NULL;
    stage_close(s);
    if (s->started)
        thread_join(s->thread);
    beneath_destroy(&s->beneath);
    renderer_destroy(&s->renderer);
    takes_unref(&s->live);
    take_log_unref(&s->log);
    take_log_unref(&s->told);
    prepared_destroy(&s->prepared);
    coder_destroy(&s->coder);
    ring_clear(&s->ring, 0);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s->sound);
    free(s->live_folder);
    free(s->poisoned);
    free(s);
}

bool stage_hung(struct stage *s, int64_t now_ns)
{
    pthread_mutex_lock(&s->lock);
    uint64_t turns = s->turns;
    bool busy = s->busy || s->woken;
    pthread_mutex_unlock(&s->lock);
    return s->started && liveness_hung(&s->mark, turns, busy, now_ns, HUNG_NS);
}

void stage_read(struct stage *s, struct stage_status *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->status;
    pthread_mutex_unlock(&s->lock);
    cost_read(&s->render_cost, &ret->render_median_ms, &ret->render_p99_ms);
    cost_read(&s->code_cost, &ret->code_median_ms, &ret->code_p99_ms);
}
