#include "engine/receive/intake.h"

#include "engine/base/clock.h"
#include "engine/base/cost.h"
#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/receive/payload.h"
#include "engine/receive/standby.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WISH_PERIOD_NS  INT64_C(20000000)
#define BYTES_PER_GROUP ((size_t)8 << 20) // at least
// A want and its answer wait out the latency each; sending and the wish's period come on top.
#define REPEAT_NS(latency_ms) (INT64_C(1000000) * (2 * (latency_ms) + 60))

static atomic_uint starts; // tells apart what follows each other on a link

// Whom a group is asked of. Only the decode thread changes it.
struct asked {
    struct takeover takeover;
    int other; // who would be asked next, and is told where that would be; -1: nobody
    uint32_t start;
    int64_t from;           // what lies below is here, or was asked of another
    int64_t turned_ns;      // to another, which has not answered yet; 0: no
    uint64_t arrived;       // frames until then
    struct frame_want sent; // newest
    // Where `other` is hot.
    int64_t other_from;           // what lies below was asked of others
    int64_t paired_from;          // what lies below may be of a third
    struct frame_want other_sent; // newest
};

struct intake {
    // -- constant after create
    struct intake_config config;
    pthread_t thread;
    bool running;
    struct cost cost;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t work;  // for the decode thread
    pthread_cond_t ready; // for the mix thread
    struct window *windows[INTAKE_GROUPS_MAX];
    int64_t cursor;
    bool closing, woken, dirty; // dirty: something to look at for the decode thread
    uint64_t decoded, copies, undecoded;
    bool no_samples, no_copies; // are asked for
    struct asked asked[INTAKE_GROUPS_MAX];
    struct standby standbys[INTAKE_GROUPS_MAX]; // used where samples are compared
};

// ---- Decoding ---------------------------------------------------------------------------------

// Keeps the copy of frame `n` that the other provider's is compared with. Called with the lock
// held.
static void keep_sampled(struct intake *in, int index, int64_t n)
{
    struct group_frame *frame = NULL;
    const int32_t *stem;
    if (!in->config.compared || !standby_needs(&in->standbys[index], n) ||
        !window_look(in->windows[index], n, &frame, &stem))
        return;
    size_t bytes = (size_t)rate_sample_count(in->config.rate, n) * SOUND_CHANNELS * sizeof *stem;
    int32_t *copy = base_alloc(bytes);
    memcpy(copy, stem, bytes);
    standby_own(&in->standbys[index], frame, copy);
}

// Called with the lock held, which is let go while decoding. Returns whether anything was done.
static bool decode_one(struct intake *in)
{
    int best = -1;
    struct window_job job;
    // Lowest frame first, over all groups: what is due next is never behind something later.
    for (int64_t limit = in->cursor + 1; best < 0 && limit <= in->cursor + INTAKE_AHEAD; limit++)
        for (int i = 0; i < in->config.group_count && best < 0; i++)
            if (window_next_job(in->windows[i], limit, &job))
                best = i;
    if (best < 0)
        return false;
    pthread_mutex_unlock(&in->lock);
    struct group_frame *frame = NULL;
    int32_t *stem = NULL;
    int64_t start = clock_monotonic_ns();
    const struct intake_group *group = &in->config.groups[best];
    // A broken one leaves both NULL: it is counted and asked for again.
    (void)payload_decode(job.body, group->width, group->height, job.base,
                         rate_sample_count(in->config.rate, job.frame), &frame, &stem);
    int64_t now = clock_monotonic_ns();
    cost_add(&in->cost, now - start);
    pthread_mutex_lock(&in->lock);
    int64_t n = job.frame;
    window_done(in->windows[best], &job, &frame, &stem, now);
    keep_sampled(in, best, n);
    in->decoded++;
    pthread_cond_broadcast(&in->ready);
    if (in->config.decoded) {
        pthread_mutex_unlock(&in->lock);
        in->config.decoded(in->config.opaque);
        pthread_mutex_lock(&in->lock);
    }
    return true;
}

static void compare(struct intake *in, int index, const int providers[2], struct standby_pair *pair)
{
    const struct intake_group *group = &in->config.groups[index];
    int samples = rate_sample_count(in->config.rate, pair->frame);
    struct group_frame *frame = NULL;
    int32_t *stem = NULL;
    int error =
        payload_decode(pair->body, group->width, group->height, NULL, samples, &frame, &stem);
    struct intake_sample sample = {
        .frame = pair->frame,
        .providers = {providers[0], providers[1]},
        .pictures = {pair->own, frame},
        .picture_differs = !frame || !group_frame_equal(pair->own, frame),
        .sound_differs = !stem || memcmp(pair->own_stem, stem,
                                         (size_t)samples * SOUND_CHANNELS * sizeof *stem) != 0,
    };
    if (error != -ENOMEM)
        in->config.compared(in->config.opaque, index, &sample);
    group_frame_unref(&frame);
    free(stem);
    standby_pair_finish(pair);
}

// Called with the lock held, which is let go meanwhile. Returns whether anything was done.
static bool compare_one(struct intake *in)
{
    struct standby_pair pair;
    for (int i = 0; i < in->config.group_count && in->config.compared; i++) {
        if (!standby_take(&in->standbys[i], &pair))
            continue;
        int active = in->asked[i].takeover.active;
        const int providers[2] = {pair.provider == active ? in->asked[i].other : active,
                                  pair.provider};
        pthread_mutex_unlock(&in->lock);
        compare(in, i, providers, &pair);
        pthread_mutex_lock(&in->lock);
        return true;
    }
    return false;
}

// ---- Asking -----------------------------------------------------------------------------------

static bool want_differs(const struct frame_want *a, const struct frame_want *b)
{
    return a->start != b->start || a->from != b->from || a->credit != b->credit ||
           a->missing_count != b->missing_count ||
           memcmp(a->missing, b->missing, sizeof a->missing[0] * (size_t)a->missing_count) != 0;
}

static struct frame_want ended_want(const struct intake *in, int index, uint32_t start)
{
    return (struct frame_want){.channel = in->config.channel,
                               .group = in->config.groups[index].group,
                               .plan_epoch = in->config.plan_epoch,
                               .start = start,
                               .from = in->cursor,
                               .credit = in->cursor,
                               .ended = true};
}

// Whoever would be asked next follows; one that would not be any more is let go. Called with the
// lock held, which is let go while telling.
static void choose_other(struct intake *in, int index, int next)
{
    struct asked *asked = &in->asked[index];
    struct standby *standby = &in->standbys[index];
    int before = asked->other;
    if (!in->config.compared || next == before)
        return;
    struct frame_want ended = ended_want(in, index, standby->start);
    bool told = before >= 0 && before != asked->takeover.active && standby->tells;
    asked->other = next;
    asked->other_from = in->cursor + window_slack(in->windows[index]);
    asked->paired_from = in->cursor + in->config.lead_frames;
    asked->other_sent = (struct frame_want){0};
    standby_changed(standby);
    if (!told)
        return;
    pthread_mutex_unlock(&in->lock);
    in->config.want(in->config.opaque, index, before, &ended);
    pthread_mutex_lock(&in->lock);
}

// Turns to another provider if need be. Called with the lock held, which is let go while telling.
static void look_at_provider(struct intake *in, int index, const struct frame_want *want,
                             int64_t now)
{
    const struct intake_config *c = &in->config;
    struct asked *asked = &in->asked[index];
    struct window_counts counts;
    window_counts(in->windows[index], &counts);
    int64_t slack = window_slack(in->windows[index]), missing = in->cursor + slack;
    struct takeover_view view = {
        .arrived = counts.stored, .slack = slack, .waits = want->credit > missing};
    for (int p = 0; p < c->groups[index].providers; p++) {
        enum link_life life = c->life(c->opaque, index, p);
        view.alive[p] = life != LINK_LOST;
        view.hushed[p] = life == LINK_HUSHED;
    }
    if (asked->turned_ns && counts.stored > asked->arrived) {
        int64_t after = now - asked->turned_ns;
        asked->turned_ns = 0;
        if (c->answered)
            c->answered(c->opaque, index, asked->takeover.active, after, slack);
    }
    int before = asked->takeover.active;
    enum takeover_reason why = takeover_look(&asked->takeover, &view, now);
    choose_other(in, index, asked->takeover.second);
    if (why == TAKEOVER_NONE)
        return;
    struct frame_want ended = ended_want(in, index, asked->start);
    int after = asked->takeover.active;
    asked->start = atomic_fetch_add(&starts, 1) + 1;
    asked->from = missing;
    asked->turned_ns = now;
    asked->arrived = counts.stored;
    asked->sent = (struct frame_want){0};
    pthread_mutex_unlock(&in->lock);
    c->want(c->opaque, index, before, &ended);
    if (c->turned)
        c->turned(c->opaque, index, before, after, why, missing);
    pthread_mutex_lock(&in->lock);
}

// Named ones may lie below where a provider was asked to begin: keys, and what was broken.
static void want_begin(struct frame_want *want, int64_t from)
{
    for (int i = 0; i < want->missing_count; i++)
        from = want->missing[i] < from ? want->missing[i] : from;
    want->from = from > want->from ? from : want->from;
}

// Asks a hot provider for the same. Called with the lock held, which is let go while telling.
static void tell_hot(struct intake *in, int index, const struct frame_want *wanted)
{
    struct asked *asked = &in->asked[index];
    struct frame_want want = *wanted;
    int other = asked->other;
    standby_expire(&in->standbys[index], in->cursor);
    if (other < 0)
        return;
    want.start = in->standbys[index].start;
    want.spare = true;
    want_begin(&want, asked->other_from);
    if (!want_differs(&want, &asked->other_sent))
        return;
    asked->other_sent = want;
    in->standbys[index].tells = true;
    pthread_mutex_unlock(&in->lock);
    in->config.want(in->config.opaque, index, other, &want);
    pthread_mutex_lock(&in->lock);
}

// Tells the other provider what it is to do meanwhile. Called with the lock held, which is let go
// while telling.
static void tell_standby(struct intake *in, int index, const struct frame_want *want, int64_t now)
{
    const struct intake_config *c = &in->config;
    int other = in->asked[index].other;
    if (!c->compared || other < 0)
        return;
    int64_t slack = window_slack(in->windows[index]), wished = want->credit - in->cursor;
    struct standby_view view = {
        .alive = c->life(c->opaque, index, other) != LINK_LOST,
        .calm = !in->no_samples && !in->asked[index].turned_ns && wished >= c->lead_frames / 2 &&
                slack * 4 >= wished * 3,
        .cursor = in->cursor,
        .frontier = in->cursor + slack,
    };
    struct frame_want other_want;
    if (!standby_want(&in->standbys[index], &view, now, &other_want))
        return;
    pthread_mutex_unlock(&in->lock);
    c->want(c->opaque, index, other, &other_want);
    pthread_mutex_lock(&in->lock);
}

// Called with the lock held, which is let go while telling.
static void tell_wish(struct intake *in, int index, int64_t now)
{
    struct asked *asked = &in->asked[index];
    struct frame_want want;
    window_want(in->windows[index], now, &want);
    look_at_provider(in, index, &want, now);
    if (in->config.compared && in->config.hot && !in->no_copies)
        tell_hot(in, index, &want);
    else
        tell_standby(in, index, &want, now);
    want.start = asked->start;
    want_begin(&want, asked->from);
    if (!want_differs(&want, &asked->sent))
        return;
    asked->sent = want;
    int provider = asked->takeover.active;
    pthread_mutex_unlock(&in->lock);
    in->config.want(in->config.opaque, index, provider, &want);
    pthread_mutex_lock(&in->lock);
}

static void *run(void *opaque)
{
    struct intake *in = opaque;
    int64_t next_wish = 0;
    if (in->config.urgent)
        (void)thread_set_urgent(); // the mix thread says when that is not allowed
    pthread_mutex_lock(&in->lock);
    while (!in->closing) {
        in->dirty = false;
        bool worked = decode_one(in);
        int64_t now = clock_monotonic_ns();
        if (now >= next_wish) {
            for (int i = 0; i < in->config.group_count; i++)
                tell_wish(in, i, now);
            next_wish = now + WISH_PERIOD_NS;
        }
        if (worked || in->dirty || compare_one(in))
            continue;
        struct timespec until = {next_wish / 1000000000, next_wish % 1000000000};
        pthread_cond_timedwait(&in->work, &in->lock, &until);
    }
    pthread_mutex_unlock(&in->lock);
    return NULL;
}

int intake_create(const struct intake_config *config, struct intake **ret)
{
    struct intake *in = base_alloc(sizeof *in);
    in->config = *config;
    in->cursor = config->cursor;
    mutex_init_urgent(&in->lock);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&in->work, &attr);
    pthread_cond_init(&in->ready, &attr);
    pthread_condattr_destroy(&attr);
    size_t share = config->bytes_max / (size_t)config->group_count;
    for (int i = 0; i < config->group_count; i++) {
        struct window_config window = {
            .channel = config->channel,
            .group = config->groups[i].group,
            .plan_epoch = config->plan_epoch,
            .width = config->groups[i].width,
            .height = config->groups[i].height,
            .lead_frames = config->lead_frames,
            .bytes_max = share > BYTES_PER_GROUP ? share : BYTES_PER_GROUP,
            .cursor = config->cursor,
            .repeat_ns = REPEAT_NS(config->latency_ms),
        };
        memcpy(window.revision, config->revision, sizeof window.revision);
        in->windows[i] = window_create(&window);
        window_set_end(in->windows[i], config->end);
        in->asked[i] = (struct asked){
            .other = -1, .start = atomic_fetch_add(&starts, 1) + 1, .from = config->cursor};
        standby_init(&in->standbys[i], config->channel, config->groups[i].group, config->plan_epoch,
                     config->warm || config->hot, config->cursor, &starts);
        takeover_init(&in->asked[i].takeover, config->groups[i].providers,
                      INT64_C(1000000000) * config->rate.den / config->rate.num,
                      INT64_C(2000000) * config->latency_ms,
                      config->urgent ? config->lead_frames : 0);
    }
    int result = thread_start(&in->thread, "decode", run, in);
    in->running = !result;
    if (result)
        intake_destroy(&in);
    else
        *ret = in;
    return result;
}

void intake_destroy(struct intake **intake)
{
    struct intake *in = *intake;
    if (!in)
        return;
    *intake = NULL;
    pthread_mutex_lock(&in->lock);
    in->closing = in->woken = true;
    pthread_cond_broadcast(&in->work);
    pthread_cond_broadcast(&in->ready);
    pthread_mutex_unlock(&in->lock);
    if (in->running)
        thread_join(in->thread);
    for (int i = 0; i < in->config.group_count; i++) {
        for (int p = 0; p < in->config.groups[i].providers && in->running; p++) {
            bool active = p == in->asked[i].takeover.active;
            struct frame_want ended =
                ended_want(in, i, active ? in->asked[i].start : in->standbys[i].start);
            if (active || (p == in->asked[i].other && in->standbys[i].tells))
                in->config.want(in->config.opaque, i, p, &ended);
        }
        standby_finish(&in->standbys[i]);
        window_destroy(&in->windows[i]);
    }
    pthread_cond_destroy(&in->work);
    pthread_cond_destroy(&in->ready);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

static int group_index(const struct intake *in, uint32_t group)
{
    for (int i = 0; i < in->config.group_count; i++)
        if (in->config.groups[i].group == group)
            return i;
    return -ENOENT;
}

bool intake_takes(const struct intake *in, uint64_t channel, uint32_t plan_epoch, uint32_t group)
{
    return in->config.channel == channel && in->config.plan_epoch == plan_epoch &&
           group_index(in, group) >= 0;
}

// Called with the lock held.
static bool put_sample(struct intake *in, int index, const void *source,
                       const struct frame_header *header, struct frame_body *body)
{
    int other = in->asked[index].other;
    return in->config.compared && other >= 0 && source == in->config.groups[index].sources[other] &&
           window_admits(in->windows[index], header) &&
           standby_put(&in->standbys[index], header, body, other);
}

// A second copy of what a hot provider and the other make. Called with the lock held.
static bool put_copy(struct intake *in, int index, const void *source,
                     const struct frame_header *header, struct frame_body *body)
{
    const struct asked *asked = &in->asked[index];
    const void *const *sources = in->config.groups[index].sources;
    if (!in->config.compared || !in->config.hot || asked->other < 0 ||
        !window_admits(in->windows[index], header) ||
        !window_stores(in->windows[index], header->frame))
        return false;
    int provider = source == sources[asked->other] ? asked->other : asked->takeover.active;
    in->copies++;
    // One that is decoded already would not be kept for it.
    return !in->no_samples && source == sources[provider] && header->frame >= asked->paired_from &&
           header->frame > in->cursor + INTAKE_AHEAD &&
           standby_copy(&in->standbys[index], header, body, provider);
}

// A difference to a key that is not here, of a hot provider that has begun later: the other's copy
// needs no question. Called with the lock held.
static bool is_keyless(const struct intake *in, int index, const void *source,
                       const struct frame_header *header)
{
    int other = in->asked[index].other;
    return in->config.hot && other >= 0 && source == in->config.groups[index].sources[other] &&
           window_admits(in->windows[index], header) && !window_keyed(in->windows[index], header);
}

int intake_put(struct intake *in, const void *source, const struct frame_header *header,
               struct frame_body *body)
{
    int index = group_index(in, header->group);
    if (index < 0) {
        frame_body_unref(&body);
        return index;
    }
    pthread_mutex_lock(&in->lock);
    if (is_keyless(in, index, source, header)) {
        pthread_mutex_unlock(&in->lock);
        frame_body_unref(&body);
        return -ENOKEY;
    }
    bool pairs =
        put_sample(in, index, source, header, body) || put_copy(in, index, source, header, body);
    int result = pairs ? 0 : window_put(in->windows[index], header, body, clock_monotonic_ns());
    in->dirty = true;
    pthread_cond_signal(&in->work);
    pthread_mutex_unlock(&in->lock);
    return result;
}

static bool all_decoded(struct intake *in, int64_t n)
{
    for (int i = 0; i < in->config.group_count; i++)
        if (!window_has(in->windows[i], n))
            return false;
    return true;
}

bool intake_ready(struct intake *in, int64_t n)
{
    pthread_mutex_lock(&in->lock);
    bool ready = all_decoded(in, n);
    pthread_mutex_unlock(&in->lock);
    return ready;
}

void intake_wait(struct intake *in, int64_t n, int64_t until_ns)
{
    struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    pthread_mutex_lock(&in->lock);
    int late = 0;
    while (!late && !in->woken && !all_decoded(in, n))
        late = pthread_cond_timedwait(&in->ready, &in->lock, &until);
    in->woken = in->closing;
    pthread_mutex_unlock(&in->lock);
}

void intake_wake(struct intake *in)
{
    pthread_mutex_lock(&in->lock);
    in->woken = true;
    pthread_cond_broadcast(&in->ready);
    pthread_mutex_unlock(&in->lock);
}

void intake_take(struct intake *in, int64_t n, struct intake_frame *frames)
{
    pthread_mutex_lock(&in->lock);
    for (int i = 0; i < in->config.group_count; i++) {
        struct group_frame *frame = NULL;
        int32_t *stem = NULL;
        if (!window_take(in->windows[i], n, &frame, &stem)) // both stay NULL
            in->undecoded += window_could_decode(in->windows[i], n);
        frames[i] = (struct intake_frame){.frame = frame, .stem = stem};
    }
    pthread_mutex_unlock(&in->lock);
}

void intake_release(struct intake_frame *frames, int count)
{
    for (int i = 0; i < count; i++) {
        struct group_frame *frame = (struct group_frame *)frames[i].frame;
        group_frame_unref(&frame);
        free((void *)(uintptr_t)frames[i].stem);
        frames[i] = (struct intake_frame){0};
    }
}

void intake_advance(struct intake *in, int64_t cursor)
{
    pthread_mutex_lock(&in->lock);
    if (cursor > in->cursor) {
        in->cursor = cursor;
        for (int i = 0; i < in->config.group_count; i++)
            window_advance(in->windows[i], cursor);
        in->dirty = true;
        pthread_cond_signal(&in->work);
    }
    pthread_mutex_unlock(&in->lock);
}

void intake_live(struct intake *in, const struct take_log *log)
{
    pthread_mutex_lock(&in->lock);
    for (int i = 0; i < in->config.group_count; i++)
        if (window_live(in->windows[i], log))
            standby_changed(&in->standbys[i]); // one copy may be of the old ones
    in->dirty = true;
    pthread_cond_signal(&in->work);
    pthread_mutex_unlock(&in->lock);
}

void intake_set_end(struct intake *in, int64_t end)
{
    pthread_mutex_lock(&in->lock);
    for (int i = 0; i < in->config.group_count; i++)
        window_set_end(in->windows[i], end);
    pthread_mutex_unlock(&in->lock);
}

bool intake_complete(struct intake *in, int64_t end)
{
    bool complete = true;
    pthread_mutex_lock(&in->lock);
    for (int i = 0; i < in->config.group_count; i++)
        complete = complete && window_slack(in->windows[i]) >= end - in->cursor;
    pthread_mutex_unlock(&in->lock);
    return complete;
}

int64_t intake_cursor(struct intake *in)
{
    pthread_mutex_lock(&in->lock);
    int64_t cursor = in->cursor;
    pthread_mutex_unlock(&in->lock);
    return cursor;
}

int intake_provider(struct intake *in, int index, uint32_t *ret_takeovers)
{
    pthread_mutex_lock(&in->lock);
    int provider = in->asked[index].takeover.active;
    *ret_takeovers = in->asked[index].takeover.takeovers;
    pthread_mutex_unlock(&in->lock);
    return provider;
}

void intake_ask_standbys(struct intake *in, bool samples, bool copies)
{
    pthread_mutex_lock(&in->lock);
    in->no_samples = !samples;
    in->no_copies = !copies;
    pthread_mutex_unlock(&in->lock);
}

void intake_stats(struct intake *in, struct intake_stats *ret)
{
    *ret = (struct intake_stats){.slack_frames = INT64_MAX};
    pthread_mutex_lock(&in->lock);
    for (int i = 0; i < in->config.group_count; i++) {
        struct window_counts c;
        window_counts(in->windows[i], &c);
        ret->counts.stored += c.stored;
        ret->counts.duplicate += c.duplicate;
        ret->counts.late += c.late;
        ret->counts.wrong += c.wrong;
        ret->counts.overflow += c.overflow;
        ret->counts.broken += c.broken;
        int64_t slack = window_slack(in->windows[i]);
        ret->slack_frames = slack < ret->slack_frames ? slack : ret->slack_frames;
    }
    ret->decoded = in->decoded;
    ret->copies = in->copies;
    ret->undecoded = in->undecoded;
    pthread_mutex_unlock(&in->lock);
    cost_read(&in->cost, &ret->median_ms, &ret->p99_ms);
}
