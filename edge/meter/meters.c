#include "edge/meter/meters.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// They keep pictures alive that encoders are done with: a third of a second at most.
#define QUEUE_BATCHES 8
// Without frames for so long nothing is known of what goes out.
#define CEASED_NS INT64_C(2000000000)

// A frame of each output.
struct batch {
    struct plan *plan;
    struct programme_frame *frames[PLAN_OUTPUTS_MAX];
};

struct meter {
    struct rate rate;
    struct loudness *loudness; // NULL: no memory
    struct watch watch;
    struct meters_output known;
};

struct meters {
    // -- constant after create
    struct watch_settings settings;
    struct queue *queue; // struct batch *
    pthread_t thread;
    _Atomic uint64_t missed;
    // -- its thread
    struct meter list[PLAN_OUTPUTS_MAX];
    int count;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct meters_output known[PLAN_OUTPUTS_MAX];
    int known_count;
    int64_t known_ns; // when the newest frames were looked at
};

static void batch_free(void *item)
{
    struct batch *b = item;
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++)
        programme_frame_unref(&b->frames[i]);
    plan_unref(&b->plan);
    free(b);
}

static void meter_finish(struct meter *m)
{
    loudness_destroy(&m->loudness);
    watch_finish(&m->watch);
}

static void meter_init(struct meter *m, const struct plan *plan, const struct plan_output *output,
                       const struct watch_settings *settings)
{
    *m = (struct meter){.rate = plan->rate, .loudness = loudness_create(plan->rate)};
    watch_init(&m->watch, plan->rate, settings);
    m->known.output = output->output;
    snprintf(m->known.name, sizeof m->known.name, "%s", output->name);
}

// Meters in the order of the plan's outputs; those that it has not go.
static void follow(struct meters *m, const struct plan *plan)
{
    struct meter next[PLAN_OUTPUTS_MAX];
    for (int i = 0; i < plan->output_count; i++) {
        const struct plan_output *o = &plan->outputs[i];
        int k = 0;
        while (k < m->count &&
               (m->list[k].known.output != o->output || m->list[k].rate.num != plan->rate.num ||
                m->list[k].rate.den != plan->rate.den))
            k++;
        if (k < m->count) {
            next[i] = m->list[k];
            m->list[k] = m->list[--m->count];
        } else {
            meter_init(&next[i], plan, o, &m->settings);
        }
    }
    while (m->count)
        meter_finish(&m->list[--m->count]);
    memcpy(m->list, next, sizeof next[0] * (size_t)plan->output_count);
    m->count = plan->output_count;
}

static void look(struct meter *m, const struct programme_frame *f)
{
    struct loudness_values values;
    m->known.watch = watch_add(&m->watch, f);
    if (!m->loudness || !loudness_add(m->loudness, f, &values))
        return;
    if (m->known.count == METERS_KEPT)
        memmove(m->known.values, m->known.values + 1, sizeof values * (size_t)--m->known.count);
    m->known.values[m->known.count++] = values;
}

static void *run(void *opaque)
{
    struct meters *m = opaque;
    void *item;
    while (!queue_pop(m->queue, &item, -1)) {
        const struct batch *b = item;
        follow(m, b->plan);
        for (int i = 0; i < m->count; i++)
            look(&m->list[i], b->frames[i]);
        pthread_mutex_lock(&m->lock);
        for (int i = 0; i < m->count; i++)
            m->known[i] = m->list[i].known;
        m->known_count = m->count;
        m->known_ns = clock_monotonic_ns();
        pthread_mutex_unlock(&m->lock);
        batch_free(item);
    }
    return NULL;
}

int meters_create(const struct watch_settings *settings, struct meters **ret)
{
    struct meters *m = base_alloc(sizeof *m);
    m->settings = *settings;
    m->queue = queue_create(QUEUE_BATCHES, batch_free);
    pthread_mutex_init(&m->lock, NULL);
    int result = thread_start(&m->thread, "meters", run, m);
    if (result) {
        queue_destroy(&m->queue);
        pthread_mutex_destroy(&m->lock);
        free(m);
        return result;
    }
    *ret = m;
    return 0;
}

void meters_destroy(struct meters **meters)
{
    struct meters *m = *meters;
    if (!m)
        return;
    *meters = NULL;
    queue_close(m->queue);
    thread_join(m->thread);
    queue_destroy(&m->queue);
    while (m->count)
        meter_finish(&m->list[--m->count]);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void meters_push(struct meters *m, const struct plan *plan, struct programme_frame *const *frames)
{
    struct batch *b = calloc(1, sizeof *b);
    if (b) {
        b->plan = plan_ref(plan);
        for (int i = 0; i < plan->output_count; i++)
            b->frames[i] = programme_frame_ref(frames[i]);
    }
    if (b && !queue_push(m->queue, b, 0))
        return;
    if (b)
        batch_free(b);
    atomic_fetch_add(&m->missed, 1);
}

int meters_read(struct meters *m, struct meters_output ret[PLAN_OUTPUTS_MAX])
{
    pthread_mutex_lock(&m->lock);
    bool ceased = clock_monotonic_ns() - m->known_ns > CEASED_NS;
    int count = ceased ? 0 : m->known_count;
    memcpy(ret, m->known, sizeof *ret * (size_t)count);
    pthread_mutex_unlock(&m->lock);
    for (int i = 0; i < count; i++)
        ret[i].missed = atomic_load(&m->missed);
    return count;
}
