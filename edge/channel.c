#include "edge/channel.h"

#include "edge/mix/hash_file.h"
#include "edge/mix/playout.h"
#include "engine/base/clock.h"
#include "engine/base/cost.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Time that workers get for the first frames when a channel starts in the middle.
#define START_MARGIN_NS INT64_C(1000000000)
#define LEDGER_NS       INT64_C(1000000000)

// One plan with what it needs. Created and destroyed by the control thread.
struct slot {
    struct plan *plan; // newest version of this epoch; changed under lock
    struct link *links[MIXER_GROUPS_MAX];
    struct intake *intake; // once committed; set under lock, and `armed` with it
    struct plan *armed;    // the version that became committed: what the mix thread follows
    bool listed;
};

struct channel {
    // -- constant after create
    struct channel_config config;
    struct outputs *outputs;
    pthread_t thread;
    bool running;
    struct cost cost;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct slot *slots[CHANNEL_PLANS_MAX];
    int slot_count;
    struct slot *mixing; // the mix thread uses it without the lock
    bool started, closing;
    struct hash_file *hash;
    char alarm[192];
    // -- the control thread
    struct plan *applied; // outputs follow this one; a reference, so that its address stays its own
    char hash_path[PATH_MAX];
    // -- the mix thread, after `started`
    struct playout playout;
    struct mixer *mixer;
    int mixer_width, mixer_height;
    uint32_t mixer_epoch;
    struct log_limit ledger, clock_alarm;
    // -- written by the mix thread, atomic
    _Atomic int64_t cursor, difference_ns;
    _Atomic uint64_t frames, late, concealed, skipped;
    _Atomic uint32_t epoch;
};

// ---- The mix thread ----------------------------------------------------------------------------

// Called with the lock held.
static struct slot *slot_in_force(struct channel *c, int64_t n)
{
    const struct plan *plans[CHANNEL_PLANS_MAX];
    struct slot *slots[CHANNEL_PLANS_MAX];
    int count = 0;
    for (int i = 0; i < c->slot_count; i++) {
        if (!c->slots[i]->intake)
            continue;
        plans[count] = c->slots[i]->plan;
        slots[count++] = c->slots[i];
    }
    int best = plan_in_force(plans, count, n);
    return best < 0 ? NULL : slots[best];
}

// Waits for something to do; gives the slot for frame `next`, which stays valid until the next
// call.
static struct slot *take_slot(struct channel *c)
{
    pthread_mutex_lock(&c->lock);
    c->mixing = NULL;
    pthread_cond_broadcast(&c->changed); // for a control thread that waits to free it
    while (!c->closing && !(c->started && (c->mixing = slot_in_force(c, c->playout.next)))) {
        int64_t at = clock_monotonic_ns() + 100000000;
        struct timespec until = {at / 1000000000, at % 1000000000};
        pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    struct slot *slot = c->closing ? NULL : c->mixing;
    pthread_mutex_unlock(&c->lock);
    return slot;
}

// Makes the mixer fit the plan. Differences to the plan before take effect with this frame.
static int follow_plan(struct channel *c, const struct plan *p)
{
    if (c->mixer && (p->width != c->mixer_width || p->height != c->mixer_height))
        mixer_destroy(&c->mixer);
    if (c->mixer && c->mixer_epoch == p->epoch)
        return 0;
    if (!c->mixer)
        c->mixer = mixer_create(p->width, p->height, p->rate);
    if (!c->mixer)
        return -ENOMEM;
    struct mixer_group groups[MIXER_GROUPS_MAX];
    for (int i = 0; i < p->group_count; i++)
        groups[i] = (struct mixer_group){p->groups[i].group, p->groups[i].from_base};
    mixer_set_groups(c->mixer, groups, p->group_count);
    c->mixer_width = p->width;
    c->mixer_height = p->height;
    c->mixer_epoch = p->epoch;
    return 0;
}

// Writes the as-run ledger's line about a frame that is not what the plan says.
static void note_concealment(struct channel *c, int64_t n, const struct mixer_result *r)
{
    static const char *const steps[] = {"fresh", "hold", "fallback"};
    atomic_fetch_add(&c->late, (uint64_t)r->late);
    if (!r->concealed)
        return;
    atomic_fetch_add(&c->concealed, 1);
    uint64_t count = log_limit(&c->ledger, clock_monotonic_ns(), LEDGER_NS);
    if (count)
        log_warning("as_run",
                    "channel=%llu frame=%lld plan_epoch=%u group=%u step=%s late=%d "
                    "programme_held=%d frames=%llu",
                    (unsigned long long)c->config.channel, (long long)n, c->mixer_epoch,
                    r->worst_group, steps[r->worst], r->late, r->programme_held,
                    (unsigned long long)count);
}

static void send_frame(struct channel *c, struct programme_frame *frame, int64_t due_ns)
{
    clock_sleep_until_ns(due_ns);
    if (atomic_exchange(&c->epoch, c->mixer_epoch) != c->mixer_epoch)
        log_info("plan_on_air", "channel=%llu plan_epoch=%u frame=%lld",
                 (unsigned long long)c->config.channel, c->mixer_epoch, (long long)frame->frame);
    outputs_push(c->outputs, frame);
    int64_t next = frame->frame + 1;
    playout_sent(&c->playout);
    atomic_store(&c->cursor, next);
    atomic_fetch_add(&c->frames, 1);
    atomic_store(&c->skipped, c->playout.skipped);
    pthread_mutex_lock(&c->lock);
    if (c->hash)
        hash_file_push(c->hash, frame);
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->intake)
            intake_advance(c->slots[i]->intake, next);
    pthread_mutex_unlock(&c->lock);
    int64_t difference = playout_slew(&c->playout, clock_monotonic_ns(), clock_realtime_ns());
    atomic_store(&c->difference_ns, difference);
    bool far = difference > PLAYOUT_STEP_NS || difference < -PLAYOUT_STEP_NS;
    if (far && log_limit(&c->clock_alarm, clock_monotonic_ns(), INT64_C(60000000000)))
        log_warning("clock_stepped", "channel=%llu difference_ms=%lld",
                    (unsigned long long)c->config.channel, (long long)(difference / 1000000));
}

static void mix_and_send(struct channel *c, struct slot *slot, int64_t due_ns)
{
    const struct plan *p = slot->armed;
    int64_t n = c->playout.next, start = clock_monotonic_ns();
    struct intake_frame inputs[MIXER_GROUPS_MAX];
    struct programme_frame *frame = NULL;
    struct mixer_result result = {0};
    intake_take(slot->intake, n, inputs);
    int error = follow_plan(c, p);
    if (!error)
        error = mixer_frame(c->mixer, n, inputs, &frame, &result);
    intake_release(inputs, p->group_count);
    cost_add(&c->cost, clock_monotonic_ns() - start);
    if (error) { // no memory: this frame is lost, the next one may not be
        playout_sent(&c->playout);
        clock_sleep_until_ns(due_ns);
        return;
    }
    send_frame(c, frame, due_ns);
    note_concealment(c, n, &result);
    programme_frame_unref(&frame);
}

static void *run(void *opaque)
{
    struct channel *c = opaque;
    struct slot *slot;
    while ((slot = take_slot(c))) {
        int64_t until, n = c->playout.next;
        bool ready = intake_ready(slot->intake, n);
        enum playout_action action = playout_step(&c->playout, clock_monotonic_ns(), ready, &until);
        if (c->playout.next != n)
            continue; // frames were left out: another plan may be in force now
        if (action == PLAYOUT_WAIT)
            intake_wait(slot->intake, n, until);
        else
            mix_and_send(c, slot, until);
    }
    return NULL;
}

// ---- The control thread ------------------------------------------------------------------------

static void on_want(void *opaque, int index, const struct frame_want *want)
{
    struct slot *slot = opaque;
    link_want(slot->links[index], want);
}

static void slot_destroy(struct channel *c, struct slot *slot)
{
    if (slot->intake)
        links_remove_intake(c->config.links, slot->intake);
    intake_destroy(&slot->intake);
    for (int i = 0; i < slot->plan->group_count; i++)
        links_release(c->config.links, &slot->links[i]);
    plan_unref(&slot->plan);
    plan_unref(&slot->armed);
    free(slot);
}

static int slot_create(struct channel *c, const struct plan *plan, struct slot **ret,
                       struct diagnostic *reterr)
{
    struct slot *slot = base_alloc(sizeof *slot);
    slot->plan = plan_ref(plan);
    for (int i = 0; i < plan->group_count; i++) {
        int result = links_acquire(c->config.links, &plan->groups[i].from, &slot->links[i], reterr);
        if (result) {
            slot_destroy(c, slot);
            return result;
        }
    }
    *ret = slot;
    return 0;
}

static void start_playout(struct channel *c, const struct plan *p)
{
    if (c->started)
        return;
    playout_start(&c->playout, p->rate, p->epoch_ns, p->playout_delay_ns, p->at_frame,
                  START_MARGIN_NS, clock_monotonic_ns(), clock_realtime_ns());
    atomic_store(&c->cursor, c->playout.next);
}

// A plan that became committed gets its intake; with the first one the channel starts.
static int arm(struct channel *c, struct slot *slot, struct diagnostic *reterr)
{
    if (!slot->plan->committed || slot->intake)
        return 0;
    start_playout(c, slot->plan);
    int64_t cursor = atomic_load(&c->cursor);
    const struct plan *p = slot->plan;
    struct intake_config config = {
        .channel = p->channel,
        .plan_epoch = p->epoch,
        .rate = p->rate,
        .lead_frames = p->lead_frames,
        .group_count = p->group_count,
        .cursor = p->at_frame > cursor ? p->at_frame : cursor,
        .bytes_max = c->config.window_bytes,
        .latency_ms = links_latency_ms(c->config.links),
        .want = on_want,
        .opaque = slot,
    };
    memcpy(config.revision, p->revision, sizeof config.revision);
    for (int i = 0; i < p->group_count; i++)
        config.groups[i] = (struct intake_group){p->groups[i].group, p->width, p->height};
    struct intake *intake = NULL;
    int result = intake_create(&config, &intake);
    if (!result && (result = links_add_intake(c->config.links, intake)))
        intake_destroy(&intake);
    if (result)
        return diagnostic_set(reterr, result, "plan_resources", "",
                              "this edge has no room for another plan");
    pthread_mutex_lock(&c->lock);
    slot->intake = intake;
    slot->armed = plan_ref(p);
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
    while (c->mixing == slot) {
        if (slot->intake)
            intake_wake(slot->intake);
        int64_t at = clock_monotonic_ns() + 20000000;
        struct timespec until = {at / 1000000000, at % 1000000000};
        pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
    slot_destroy(c, slot);
}

static struct slot *find_slot(struct channel *c, uint32_t epoch)
{
    for (int i = 0; i < c->slot_count; i++)
        if (c->slots[i]->plan->epoch == epoch)
            return c->slots[i];
    return NULL;
}

// The same epoch again: it may have been committed, or have other destinations.
static void replace_plan(struct channel *c, struct slot *slot, const struct plan *plan)
{
    pthread_mutex_lock(&c->lock);
    struct plan *old = slot->plan;
    slot->plan = plan_ref(plan);
    pthread_mutex_unlock(&c->lock);
    plan_unref(&old);
}

static int add_slot(struct channel *c, const struct plan *plan, struct diagnostic *reterr)
{
    if (c->slot_count == CHANNEL_PLANS_MAX)
        return diagnostic_set(reterr, -ENOSPC, "plan_resources", "",
                              "this edge holds three plans of the channel already");
    struct slot *slot = NULL;
    int result = slot_create(c, plan, &slot, reterr);
    if (result)
        return result;
    pthread_mutex_lock(&c->lock);
    c->slots[c->slot_count++] = slot;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

static void retire(struct channel *c)
{
    pthread_mutex_lock(&c->lock);
    struct slot *on_air = slot_in_force(c, atomic_load(&c->cursor));
    pthread_mutex_unlock(&c->lock);
    for (int i = c->slot_count - 1; i >= 0; i--) {
        const struct slot *s = c->slots[i];
        bool superseded = on_air && s != on_air && s->plan->committed &&
                          s->plan->at_frame <= on_air->plan->at_frame;
        if (s != on_air && (!s->listed || superseded))
            drop_slot(c, i);
    }
}

int channel_set_plans(struct channel *c, const struct plan *const *plans, int count,
                      struct diagnostic *reterr)
{
    int result = 0;
    for (int i = 0; i < c->slot_count; i++)
        c->slots[i]->listed = false;
    for (int i = 0; i < count; i++) {
        struct slot *slot = find_slot(c, plans[i]->epoch);
        if (slot)
            slot->listed = true;
    }
    retire(c);
    for (int i = 0; i < count; i++) {
        struct slot *slot = find_slot(c, plans[i]->epoch);
        if (slot && slot->plan->group_count != plans[i]->group_count)
            continue; // an epoch never changes its groups
        int error = 0;
        if (slot)
            replace_plan(c, slot, plans[i]);
        else
            error = add_slot(c, plans[i], result ? NULL : reterr);
        slot = find_slot(c, plans[i]->epoch);
        if (!error) {
            slot->listed = true;
            error = arm(c, slot, result ? NULL : reterr);
        }
        result = result ? result : error;
    }
    channel_tend(c);
    return result;
}

static void set_hash_file(struct channel *c, const struct plan *p)
{
    char path[PATH_MAX] = "";
    if (*c->config.hash_file)
        snprintf(path, sizeof path, "%s", c->config.hash_file);
    else if (*c->config.hash_folder && *p->hash_file)
        snprintf(path, sizeof path, "%s/%s", c->config.hash_folder, p->hash_file);
    if (!strcmp(path, c->hash_path))
        return;
    snprintf(c->hash_path, sizeof c->hash_path, "%s", path);
    struct hash_file *next = NULL;
    struct diagnostic d;
    if (*path && hash_file_create(path, &next, &d))
        log_error("hash_file", "path=\"%s\" error=\"%s\"", path, d.text);
    pthread_mutex_lock(&c->lock);
    struct hash_file *old = c->hash;
    c->hash = next;
    pthread_mutex_unlock(&c->lock);
    hash_file_destroy(&old);
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
    set_hash_file(c, p);
    plan_unref(&c->applied);
    c->applied = plan_ref(p);
}

void channel_tend(struct channel *c)
{
    retire(c);
    pthread_mutex_lock(&c->lock);
    struct slot *slot = slot_in_force(c, atomic_load(&c->cursor));
    // Before the first frame the encoders and connections of what is armed are made ready.
    for (int i = 0; i < c->slot_count && !slot; i++)
        slot = c->slots[i]->intake ? c->slots[i] : NULL;
    struct plan *plan = slot ? plan_ref(slot->plan) : NULL;
    pthread_mutex_unlock(&c->lock);
    if (plan && plan != c->applied)
        follow_outputs(c, plan);
    plan_unref(&plan);
}

int channel_create(const struct channel_config *config, struct channel **ret)
{
    struct channel *c = base_alloc(sizeof *c);
    c->config = *config;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attr);
    pthread_condattr_destroy(&attr);
    c->outputs = outputs_create(&config->outputs);
    int result = thread_start(&c->thread, "mix", run, c);
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
    hash_file_destroy(&c->hash);
    plan_unref(&c->applied);
    mixer_destroy(&c->mixer);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->changed);
    free(c);
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
    pthread_mutex_lock(&c->lock);
    struct slot *slot = slot_in_force(c, ret->cursor);
    memcpy(ret->alarm, c->alarm, sizeof ret->alarm);
    pthread_mutex_unlock(&c->lock);
    if (slot) // slots go on this thread only
        intake_stats(slot->intake, &ret->intake);
    ret->slack_frames = slot ? ret->intake.slack_frames : 0;
}

int channel_plans(struct channel *c, struct channel_plan_report *ret, int max)
{
    int64_t cursor = atomic_load(&c->cursor);
    uint32_t on_air = atomic_load(&c->epoch);
    int count = 0;
    for (int i = 0; i < c->slot_count && count < max; i++) {
        const struct slot *s = c->slots[i];
        bool active = s->intake && s->plan->at_frame <= cursor && s->plan->epoch == on_air;
        ret[count++] = (struct channel_plan_report){
            .epoch = s->plan->epoch,
            .state = active      ? CHANNEL_PLAN_ACTIVE
                     : s->intake ? CHANNEL_PLAN_ARMED
                                 : CHANNEL_PLAN_PREPARED,
        };
    }
    return count;
}

int channel_destinations(struct channel *c, struct outputs_destination *ret, int max)
{
    return outputs_destinations(c->outputs, ret, max);
}
