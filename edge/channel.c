#include "edge/channel.h"

#include "edge/ledger.h"
#include "edge/mix/desk.h"
#include "edge/mix/hash_file.h"
#include "edge/mix/playout.h"
#include "edge/roster.h"
#include "engine/base/clock.h"
#include "engine/base/cost.h"
#include "engine/base/liveness.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/control_link.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Time that workers get for the first frames when a channel starts in the middle.
#define START_MARGIN_NS INT64_C(1000000000)
// Three times as late as the playout ever is before it leaves frames out.
#define HUNG_NS (3 * PLAYOUT_SKIP_NS)
// How long an edge that stood still, or begins in the middle, may take until it has frames, before
// it shows a slate: longer than a coordinator needs to notice that it is back and to plan anew. A
// picture that lacks less than that may be the best there is, and is shown sooner.
#define WOKEN_NS      INT64_C(10000000000)
#define WOKEN_PART_NS INT64_C(2000000000)

struct hash_target {
    uint32_t output; // number
    struct hash_file *file;
};

struct channel {
    // -- constant after create
    struct channel_config config;
    struct outputs *outputs;
    pthread_t thread;
    bool running;
    struct cost cost;
    struct ledger *ledger;
    struct purity *purity;
    struct meters *meters;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot *slots[CHANNEL_PLANS_MAX];
    int slot_count;
    struct slot *mixing; // the mix thread uses it without the lock
    bool started, closing;
    const struct slot *dropping; // the mix thread is to let go of it at once
    struct hash_target hashes[PLAN_OUTPUTS_MAX];
    char alarm[192];
    // -- the control thread
    struct liveness mixing_mark;
    uint64_t undecoded;       // as last counted
    uint32_t undecoded_epoch; // of the plan whose intake has counted
    struct take_log *live;
    struct plan *applied; // outputs follow this one; a reference, so that its address stays its own
    // -- the mix thread, after `started`
    struct playout playout;
    struct desk *desk;
    struct log_limit clock_alarm;
    int64_t woken_ns; // when frames were left out; 0: one has been whole since
    bool sent;        // one has, since then
    // -- written by the mix thread, atomic
    _Atomic int64_t cursor, difference_ns;
    _Atomic int64_t late_ns; // the most since it was read
    _Atomic int64_t due_ns;  // of the frame at the cursor; INT64_MAX: no plan is in force
    _Atomic uint64_t frames, late, concealed, skipped;
    _Atomic uint32_t epoch;
};

// ---- The mix thread ----------------------------------------------------------------------------

// Called with the lock held.
static struct slot *slot_in_force(struct channel *c, int64_t n)
{
    return roster_in_force(c->slots, c->slot_count, n);
}

// Called with the lock held.
static void share_credit(struct channel *c)
{
    roster_share_credit(c->slots, c->slot_count, atomic_load(&c->cursor));
}

// Waits for something to do; gives the slot for frame `next`, which stays valid until the next
// call.
static struct slot *take_slot(struct channel *c)
{
    pthread_mutex_lock(&c->lock);
    c->mixing = NULL;
    pthread_cond_broadcast(&c->changed); // for a control thread that waits to free it
    while (!c->closing && !(c->started && (c->mixing = slot_in_force(c, c->playout.next)))) {
        atomic_store(&c->due_ns, INT64_MAX);
        int64_t at = clock_monotonic_ns() + 100000000;
        struct timespec until = {at / 1000000000, at % 1000000000};
        pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    struct slot *slot = c->closing ? NULL : c->mixing;
    pthread_mutex_unlock(&c->lock);
    return slot;
}

// Waits until a frame is due. False: the channel ends or the plan goes, and the frame is not to be
// sent.
static bool wait_due(struct channel *c, const struct slot *slot, int64_t due_ns)
{
    struct timespec until = {due_ns / 1000000000, due_ns % 1000000000};
    pthread_mutex_lock(&c->lock);
    int late = 0;
    while (!late && !c->closing && c->dropping != slot)
        late = pthread_cond_timedwait(&c->changed, &c->lock, &until);
    bool send = !c->closing && c->dropping != slot;
    pthread_mutex_unlock(&c->lock);
    return send;
}

// Hands the frames of all outputs on.
static void give_frames(struct channel *c, const struct plan *p, struct programme_frame **frames)
{
    for (int i = 0; i < p->output_count; i++)
        outputs_push(c->outputs, p->outputs[i].output, frames[i]);
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < p->output_count; i++)
        for (int k = 0; k < PLAN_OUTPUTS_MAX; k++)
            if (c->hashes[k].file && c->hashes[k].output == p->outputs[i].output)
                hash_file_push(c->hashes[k].file, frames[i]);
    pthread_mutex_unlock(&c->lock);
    meters_push(c->meters, p, frames);
}

static void check_clock(struct channel *c)
{
    int64_t difference = playout_slew(&c->playout, clock_monotonic_ns(), clock_realtime_ns());
    atomic_store(&c->difference_ns, difference);
    bool far = difference > PLAYOUT_STEP_NS || difference < -PLAYOUT_STEP_NS;
    if (far && log_limit(&c->clock_alarm, clock_monotonic_ns(), INT64_C(60000000000)))
        log_warning("clock_stepped", "channel=%llu difference_ms=%lld",
                    (unsigned long long)c->config.channel, (long long)(difference / 1000000));
}

// Frame `next` of the playout is behind us, sent or not.
static void step_on(struct channel *c)
{
    playout_sent(&c->playout);
    int64_t next = c->playout.next;
    atomic_store(&c->cursor, next);
    pthread_mutex_lock(&c->lock);
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->intake)
            intake_advance(c->slots[i]->intake, next);
    share_credit(c);
    pthread_mutex_unlock(&c->lock);
    check_clock(c);
}

static int mix(struct channel *c, const struct slot *slot, int64_t n,
               struct programme_frame **frames, struct desk_result *ret_result)
{
    const struct plan *p = slot->armed;
    struct intake_frame inputs[MIXER_GROUPS_MAX];
    struct mixer_slate slates[PLAN_OUTPUTS_MAX] = {0};
    int64_t start = clock_monotonic_ns();
    for (int i = 0; i < p->output_count; i++)
        if (slot->slates[i])
            (void)slate_get(slot->slates[i], &slates[i]); // not there yet: black
    intake_take(slot->intake, n, inputs);
    int error = desk_follow(c->desk, p);
    if (!error)
        error = desk_mix(c->desk, n, inputs, slates, frames, ret_result);
    intake_release(inputs, p->group_count);
    cost_add(&c->cost, clock_monotonic_ns() - start);
    return error;
}

static bool has_other(const struct plan *p)
{
    bool other = false;
    for (int i = 0; i < p->output_count; i++)
        other = other || *p->outputs[i].other.node;
    return other;
}

// An edge that stood still or is new has nothing in store: what the other edge sends meanwhile is
// better than a slate, which publishers would take for the programme. The plan may be one that the
// others have left, by which workers give nothing any more; whether the other edge is heard says
// nothing then.
static bool leaves_to_other(struct channel *c, const struct plan *p,
                            const struct desk_result *result)
{
    bool slate = false;
    for (int i = 0; i < p->output_count; i++)
        slate = slate || result->output[i].worst == MIXER_SLATE;
    int64_t most = slate ? WOKEN_NS : WOKEN_PART_NS;
    if (!result->concealed || clock_monotonic_ns() - c->woken_ns > most)
        c->woken_ns = 0;
    return c->woken_ns && has_other(p);
}

static void mix_and_send(struct channel *c, struct slot *slot, int64_t due_ns)
{
    const struct plan *p = slot->armed;
    int64_t n = c->playout.next;
    struct programme_frame *frames[PLAN_OUTPUTS_MAX] = {0};
    struct desk_result result;
    int error = mix(c, slot, n, frames, &result);
    bool send = wait_due(c, slot, due_ns);
    // Without memory this frame is lost, the next one may not be.
    if (send && (error || leaves_to_other(c, p, &result))) {
        atomic_fetch_add(&c->skipped, 1);
        ledger_skipped(c->ledger, p, n, n);
        outputs_unplanned(c->outputs, n, n + 1);
        step_on(c);
    } else if (send) {
        int64_t late_ns = clock_monotonic_ns() - due_ns;
        // What was waited for until it was due is somebody else's lateness.
        if (!result.late && late_ns > atomic_load(&c->late_ns))
            atomic_store(&c->late_ns, late_ns);
        c->sent = true;
        if (atomic_exchange(&c->epoch, p->epoch) != p->epoch)
            log_info("plan_on_air", "channel=%llu plan_epoch=%u frame=%lld",
                     (unsigned long long)c->config.channel, p->epoch, (long long)n);
        if (result.concealed) // before its GOP is coded
            outputs_unplanned(c->outputs, n, n + 1);
        give_frames(c, p, frames);
        atomic_fetch_add(&c->frames, 1);
        atomic_fetch_add(&c->late, (uint64_t)result.late);
        atomic_fetch_add(&c->concealed, result.concealed);
        ledger_note(c->ledger, p, n, &result);
        step_on(c);
    }
    for (int i = 0; i < p->output_count; i++)
        programme_frame_unref(&frames[i]);
}

static void *run(void *opaque)
{
    struct channel *c = opaque;
    struct slot *slot;
    if (!thread_set_urgent())
        log_info("clock_not_urgent",
                 "channel=%llu reason=\"may not: give it CAP_SYS_NICE or "
                 "LimitRTPRIO=1 where other programs share the processors\"",
                 (unsigned long long)c->config.channel);
    while ((slot = take_slot(c))) {
        int64_t until, n = c->playout.next;
        bool ready = intake_ready(slot->intake, n);
        int64_t late = clock_monotonic_ns() - playout_due_ns(&c->playout, n);
        enum playout_action action = playout_step(&c->playout, clock_monotonic_ns(), ready, &until);
        atomic_store(&c->due_ns, until);
        if (c->playout.next != n) { // frames were left out: another plan may be in force now
            atomic_fetch_add(&c->skipped, (uint64_t)(c->playout.next - n));
            ledger_skipped(c->ledger, slot->armed, n, c->playout.next - 1);
            outputs_unplanned(c->outputs, n, c->playout.next);
            if (late > CONTROL_LEASE_NS && has_other(slot->armed)) // it may publish by now
                outputs_stale(c->outputs, c->playout.next);
            if (c->sent) // else it lasts since then: nobody is dark for ever
                c->woken_ns = clock_monotonic_ns();
            c->sent = false;
            continue;
        }
        if (action == PLAYOUT_WAIT)
            intake_wait(slot->intake, n, until);
        else
            mix_and_send(c, slot, until);
    }
    return NULL;
}

// ---- The control thread ------------------------------------------------------------------------

// One that another plan has already, or a new one.
static struct slate *find_slate(struct channel *c, const struct plan *p,
                                const struct plan_output *o)
{
    static const uint8_t none[32];
    struct slate *slate = NULL;
    if (!c->config.cache || !memcmp(p->slate, none, sizeof none))
        return NULL;
    for (int i = 0; i < c->slot_count; i++)
        for (int k = 0; k < PLAN_OUTPUTS_MAX; k++)
            if (c->slots[i]->slates[k] &&
                slate_is(c->slots[i]->slates[k], p->slate, o->width, o->height, p->rate))
                return slate_ref(c->slots[i]->slates[k]);
    if (slate_create(c->config.cache, p->slate, o->width, o->height, p->rate, &slate))
        log_error("slate_failed", "channel=%llu reason=\"no thread\"",
                  (unsigned long long)p->channel);
    return slate;
}

static void start_playout(struct channel *c, const struct plan *p)
{
    if (c->started)
        return;
    playout_start(&c->playout, p->rate, p->epoch_ns, p->playout_delay_ns, p->at_frame,
                  START_MARGIN_NS, clock_monotonic_ns(), clock_realtime_ns());
    c->sent = true;
    if (c->playout.next > p->at_frame) // the channel was on air before
        c->woken_ns = clock_monotonic_ns();
    atomic_store(&c->cursor, c->playout.next);
}

// A plan that became committed gets its intake; with the first one the channel starts.
static int arm(void *opaque, struct slot *slot, struct diagnostic *reterr)
{
    struct channel *c = opaque;
    if (!slot->plan->committed || slot->intake)
        return 0;
    start_playout(c, slot->plan);
    int64_t cursor = atomic_load(&c->cursor);
    slot->from = roster_from(slot->plan, cursor, atomic_load(&c->epoch) != 0);
    if (slot->from > slot->plan->at_frame)
        outputs_unplanned(c->outputs, slot->plan->at_frame, slot->from);
    if (slot->from != slot->plan->at_frame)
        log_warning("plan_late", "channel=%llu plan_epoch=%u at_frame=%lld from=%lld",
                    (unsigned long long)c->config.channel, slot->plan->epoch,
                    (long long)slot->plan->at_frame, (long long)slot->from);
    struct intake *intake = NULL;
    int result =
        slot_make_intake(slot, c->config.links, cursor, c->config.window_bytes, &intake, reterr);
    if (result)
        return result;
    intake_live(intake, c->live);
    pthread_mutex_lock(&c->lock);
    slot->intake = intake;
    share_credit(c);
    c->started = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return 0;
}

// Takes slot `index` out and frees it, once the mix thread has let go of it.
static void drop_slot(struct channel *c, int index)
{
    pthread_mutex_lock(&c->lock);
    struct slot *slot = c->slots[index];
    c->slots[index] = c->slots[--c->slot_count];
    c->dropping = slot;
    pthread_cond_broadcast(&c->changed);
    while (c->mixing == slot) {
        if (slot->intake)
            intake_wake(slot->intake);
        int64_t at = clock_monotonic_ns() + 20000000;
        struct timespec until = {at / 1000000000, at % 1000000000};
        pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    c->dropping = NULL;
    share_credit(c);
    pthread_mutex_unlock(&c->lock);
    slot_destroy(&slot, c->config.links);
}

static void replace_plan(void *opaque, struct slot *slot, const struct plan *plan)
{
    struct channel *c = opaque;
    pthread_mutex_lock(&c->lock);
    struct plan *old = slot->plan;
    slot->plan = plan_ref(plan);
    pthread_mutex_unlock(&c->lock);
    plan_unref(&old);
}

static int add_slot(void *opaque, const struct plan *plan, struct diagnostic *reterr)
{
    struct channel *c = opaque;
    if (c->slot_count == CHANNEL_PLANS_MAX)
        return diagnostic_set(reterr, -ENOSPC, "plan_resources", "",
                              "this edge holds three plans of the channel already");
    struct slot *slot = NULL;
    int result = slot_create(plan, c->config.links, c->purity, &slot, reterr);
    if (result)
        return result;
    for (int i = 0; i < plan->output_count; i++)
        slot->slates[i] = find_slate(c, plan, &plan->outputs[i]);
    pthread_mutex_lock(&c->lock);
    c->slots[c->slot_count++] = slot;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

static void retire(void *opaque)
{
    struct channel *c = opaque;
    pthread_mutex_lock(&c->lock);
    struct slot *on_air = slot_in_force(c, atomic_load(&c->cursor));
    pthread_mutex_unlock(&c->lock);
    for (int i = c->slot_count - 1; i >= 0; i--)
        if (roster_retires(c->slots[i], on_air))
            drop_slot(c, i);
}

int channel_set_plans(struct channel *c, const struct plan *const *plans, int count,
                      struct diagnostic *reterr)
{
    const struct roster_steps steps = {
        .opaque = c, .retire = retire, .add = add_slot, .replace = replace_plan, .arm = arm};
    int result = roster_apply(c->slots, &c->slot_count, plans, count, &steps, reterr);
    channel_tend(c);
    return result;
}

static struct hash_file *open_hash_file(struct channel *c, const struct plan_output *output)
{
    char path[PATH_MAX];
    struct diagnostic d;
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++)
        if (c->hashes[i].file && c->hashes[i].output == output->output)
            return c->hashes[i].file;
    struct hash_file *file = NULL;
    snprintf(path, sizeof path, "%s%s%s", c->config.hash_file, *output->name ? "." : "",
             output->name);
    if (hash_file_create(path, &file, &d))
        log_error("hash_file", "path=\"%s\" error=\"%s\"", path, d.text);
    return file;
}

static void set_hash_files(struct channel *c, const struct plan *p)
{
    struct hash_target next[PLAN_OUTPUTS_MAX] = {0}, old[PLAN_OUTPUTS_MAX];
    for (int i = 0; i < p->output_count && *c->config.hash_file; i++)
        next[i] = (struct hash_target){p->outputs[i].output, open_hash_file(c, &p->outputs[i])};
    pthread_mutex_lock(&c->lock);
    memcpy(old, c->hashes, sizeof old);
    memcpy(c->hashes, next, sizeof next);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++) {
        bool kept = false;
        for (int k = 0; k < PLAN_OUTPUTS_MAX; k++)
            kept = kept || next[k].file == old[i].file;
        if (!kept)
            hash_file_destroy(&old[i].file);
    }
}

static void follow_outputs(struct channel *c, const struct plan *p)
{
    struct diagnostic d = {0};
    char alarm[192] = "";
    if (outputs_apply(c->outputs, p, &d)) {
        snprintf(alarm, sizeof alarm, "%.180s", d.text);
        log_error("output_failed", "channel=%llu error=\"%s\"", (unsigned long long)p->channel,
                  d.text);
    }
    pthread_mutex_lock(&c->lock);
    memcpy(c->alarm, alarm, sizeof c->alarm);
    pthread_mutex_unlock(&c->lock);
    set_hash_files(c, p);
    plan_unref(&c->applied);
    c->applied = plan_ref(p);
}

void channel_tend(struct channel *c)
{
    retire(c);
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->listed)
            (void)arm(c, c->slots[i], NULL); // there may have been no thread for it
    (void)ledger_write(c->ledger);           // said in the log
    pthread_mutex_lock(&c->lock);
    struct slot *slot = slot_in_force(c, atomic_load(&c->cursor));
    // Before the first frame the encoders and connections of what is armed are made ready.
    for (int i = 0; i < c->slot_count && !slot; i++)
        slot = c->slots[i]->intake ? c->slots[i] : NULL;
    struct plan *plan = slot ? plan_ref(slot->plan) : NULL;
    pthread_mutex_unlock(&c->lock);
    if (plan && plan != c->applied)
        follow_outputs(c, plan);
    outputs_tend(c->outputs);
    plan_unref(&plan);
}

int channel_create(const struct channel_config *config, struct channel **ret)
{
    struct channel *c = base_alloc(sizeof *c);
    c->config = *config;
    atomic_store(&c->due_ns, INT64_MAX);
    mutex_init_urgent(&c->lock);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
    c->outputs = outputs_create(&config->outputs);
    c->desk = desk_create();
    char path[PATH_MAX] = "";
    if (config->ledger_folder && *config->ledger_folder)
        snprintf(path, sizeof path, "%s/as-run-%llu.jsonl", config->ledger_folder,
                 (unsigned long long)config->channel);
    c->ledger = ledger_create(config->channel, path);
    c->purity = purity_create(config->channel, config->ledger_folder ? config->ledger_folder : "");
    int result = c->purity ? meters_create(&config->watch, &c->meters) : -EAGAIN;
    if (!result)
        result = thread_start(&c->thread, "mix", run, c);
    c->running = !result;
    if (result)
        channel_destroy(&c);
    else
        *ret = c;
    return result;
}

void channel_destroy(struct channel **channel)
{
    struct channel *c = *channel;
    if (!c)
        return;
    *channel = NULL;
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->intake)
            intake_wake(c->slots[i]->intake);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (c->running)
        thread_join(c->thread);
    c->mixing = NULL;
    while (c->slot_count)
        drop_slot(c, c->slot_count - 1);
    outputs_destroy(&c->outputs);
    meters_destroy(&c->meters);
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++)
        hash_file_destroy(&c->hashes[i].file);
    plan_unref(&c->applied);
    desk_destroy(&c->desk);
    ledger_destroy(&c->ledger);
    purity_destroy(&c->purity);
    take_log_unref(&c->live);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

// Frames that are here without a hole, also of the plans that follow. The control thread.
static int64_t slack(struct channel *c, const struct slot *slot, int64_t cursor)
{
    int64_t here = cursor;
    for (const struct slot *s = slot; s; s = roster_after(c->slots, c->slot_count, s)) {
        struct intake_stats stats;
        if (s->from > here)
            break;
        intake_stats(s->intake, &stats);
        here = (s->from > cursor ? s->from : cursor) + stats.slack_frames;
    }
    return here - cursor;
}

void channel_live(struct channel *c, const struct take_log *log)
{
    if (take_log_equal(c->live, log))
        return;
    take_log_unref(&c->live);
    c->live = take_log_ref(log);
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->intake)
            intake_live(c->slots[i]->intake, log);
}

bool channel_hung(struct channel *c, int64_t now_ns)
{
    return liveness_hung(&c->mixing_mark, (uint64_t)atomic_load(&c->cursor),
                         atomic_load(&c->due_ns) < now_ns, now_ns, HUNG_NS);
}

void channel_pressure(struct channel *c, struct channel_pressure *ret)
{
    struct rendition_stats encode;
    outputs_stats(c->outputs, &encode);
    *ret = (struct channel_pressure){.waiting = encode.waiting,
                                     .late_ns = atomic_exchange(&c->late_ns, 0)};
    pthread_mutex_lock(&c->lock);
    const struct slot *slot = slot_in_force(c, atomic_load(&c->cursor));
    pthread_mutex_unlock(&c->lock);
    if (!slot)
        return;
    struct intake_stats stats;
    intake_stats(slot->intake, &stats);
    if (slot->armed->epoch == c->undecoded_epoch)
        ret->undecoded = stats.undecoded - c->undecoded;
    c->undecoded_epoch = slot->armed->epoch;
    c->undecoded = stats.undecoded;
}

void channel_give_up(struct channel *c, enum overload_level level)
{
    outputs_rest(c->outputs, level >= OVERLOAD_PREVIEWS);
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->intake)
            intake_ask_standbys(c->slots[i]->intake, level < OVERLOAD_SAMPLES,
                                level < OVERLOAD_COPIES);
}

void channel_stats(struct channel *c, struct channel_stats *ret)
{
    *ret = (struct channel_stats){
        .cursor = atomic_load(&c->cursor),
        .plan_epoch = atomic_load(&c->epoch),
        .frames = atomic_load(&c->frames),
        .late = atomic_load(&c->late),
        .concealed = atomic_load(&c->concealed),
        .skipped = atomic_load(&c->skipped),
        .clock_difference_ns = atomic_load(&c->difference_ns),
    };
    cost_read(&c->cost, &ret->mix_median_ms, &ret->mix_p99_ms);
    outputs_stats(c->outputs, &ret->encode);
    purity_read(c->purity, &ret->purity);
    pthread_mutex_lock(&c->lock);
    struct slot *slot = slot_in_force(c, ret->cursor);
    memcpy(ret->alarm, c->alarm, sizeof ret->alarm);
    pthread_mutex_unlock(&c->lock);
    if (slot) { // slots go on this thread only
        intake_stats(slot->intake, &ret->intake);
        ret->slack_frames = slack(c, slot, ret->cursor);
        ret->group_count = slot->armed->group_count;
        for (int i = 0; i < ret->group_count; i++)
            slot_group(slot, i, &ret->groups[i]);
        for (int i = 0; i < PLAN_OUTPUTS_MAX && !*ret->slate_alarm; i++)
            if (slot->slates[i])
                slate_error(slot->slates[i], ret->slate_alarm, sizeof ret->slate_alarm);
    }
}

int channel_plans(struct channel *c, struct channel_plan_report *ret, int max)
{
    int64_t cursor = atomic_load(&c->cursor);
    uint32_t on_air = atomic_load(&c->epoch);
    int count = 0;
    for (int i = 0; i < c->slot_count && count < max; i++) {
        const struct slot *s = c->slots[i];
        struct channel_plan_report *r = &ret[count++];
        *r = (struct channel_plan_report){.epoch = s->plan->epoch,
                                          .state = roster_state(s, cursor, on_air)};
        if (!s->intake && slot_waits_for(s, r->waits_for, sizeof r->waits_for))
            r->state = CHANNEL_PLAN_PREPARING;
    }
    return count;
}

int channel_meters(struct channel *c, struct meters_output ret[PLAN_OUTPUTS_MAX])
{
    return meters_read(c->meters, ret);
}

int channel_destinations(struct channel *c, struct outputs_destination *ret, int max)
{
    return outputs_destinations(c->outputs, ret, max);
}

int channel_gops(struct channel *c, struct outputs_gop *ret, int max)
{
    return outputs_gops(c->outputs, ret, max);
}
