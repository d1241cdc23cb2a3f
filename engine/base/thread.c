#include "engine/base/thread.h"

#include "engine/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct start {
    void *(*run)(void *);
    void *arg;
    char name[16];
};

static void *thread_main(void *opaque)
{
    struct start start = *(struct start *)opaque;
    free(opaque);
    pthread_setname_np(pthread_self(), start.name);
    return start.run(start.arg);
}

// Blocked, they would end the process without a word.
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg)
{
    struct start *start = base_alloc(sizeof *start);
    start->run = run;
    start->arg = arg;
    snprintf(start->name, sizeof start->name, "%s", name);
    sigset_t others, old;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&others, faults[i]);
    pthread_sigmask(SIG_SETMASK, &others, &old);
    int error = pthread_create(ret, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error)
        free(start);
    return -error;
}

void thread_join(pthread_t thread)
{
    int error = pthread_join(thread, NULL);
    assert(!error);
}

bool thread_set_urgent(void)
{
    const struct sched_param lowest = {.sched_priority = sched_get_priority_min(SCHED_RR)};
    return !sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest);
}

void mutex_init_urgent(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

void *base_alloc(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (!memory) {
        static const char text[] = "out of memory for a small object\n";
        fwrite(text, 1, sizeof text - 1, stderr);
        abort();
    }
    return memory;
}

char *base_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(base_alloc(size), text, size);
}

struct queue {
    // -- constant after create
    size_t capacity;
    void (*release)(void *item);
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    size_t head, count;
    bool closed;
    void *items[];
};

struct queue *queue_create(size_t capacity, void (*release)(void *item))
{
    struct queue *q = base_alloc(sizeof *q + capacity * sizeof q->items[0]);
    q->capacity = capacity;
    q->release = release;
    mutex_init_urgent(&q->lock);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->not_full, &attr);
    pthread_cond_init(&q->not_empty, &attr);
    pthread_condattr_destroy(&attr);
    return q;
}

void queue_destroy(struct queue **queue)
{
    struct queue *q = *queue;
    if (!q)
        return;
    *queue = NULL;
    for (size_t i = 0; q->release && i < q->count; i++)
        q->release(q->items[(q->head + i) % q->capacity]);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->not_full);
    pthread_cond_destroy(&q->not_empty);
    free(q);
}

// Called with the lock held. Returns false when the deadline has passed.
static bool wait_for(struct queue *q, pthread_cond_t *cond, int64_t timeout_ns, int64_t deadline)
{
    if (timeout_ns == 0)
        return false;
    if (timeout_ns < 0) {
        pthread_cond_wait(cond, &q->lock);
        return true;
    }
    struct timespec t = {deadline / 1000000000, deadline % 1000000000};
    return pthread_cond_timedwait(cond, &q->lock, &t) != ETIMEDOUT;
}

int queue_push(struct queue *q, void *item, int64_t timeout_ns)
{
    int64_t deadline = timeout_ns > 0 ? clock_monotonic_ns() + timeout_ns : 0;
    pthread_mutex_lock(&q->lock);
    int error = 0;
    while (!q->closed && q->count == q->capacity && !error)
        if (!wait_for(q, &q->not_full, timeout_ns, deadline))
            error = q->count == q->capacity && !q->closed ? -EAGAIN : 0;
    if (q->closed)
        error = -EPIPE;
    if (!error) {
        q->items[(q->head + q->count++) % q->capacity] = item;
        pthread_cond_signal(&q->not_empty);
    }
    pthread_mutex_unlock(&q->lock);
    return error;
}

int queue_pop(struct queue *q, void **ret_item, int64_t timeout_ns)
{
    int64_t deadline = timeout_ns > 0 ? clock_monotonic_ns() + timeout_ns : 0;
    pthread_mutex_lock(&q->lock);
    int error = 0;
    while (!q->closed && !q->count && !error)
        if (!wait_for(q, &q->not_empty, timeout_ns, deadline))
            error = !q->count && !q->closed ? -EAGAIN : 0;
    if (!error && !q->count)
        error = -EPIPE;
    if (!error) {
        *ret_item = q->items[q->head];
        q->head = (q->head + 1) % q->capacity;
        q->count--;
        pthread_cond_signal(&q->not_full);
    }
    pthread_mutex_unlock(&q->lock);
    return error;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_broadcast(&q->not_full);
    pthread_cond_broadcast(&q->not_empty);
    pthread_mutex_unlock(&q->lock);
}

size_t queue_count(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    size_t count = q->count;
    pthread_mutex_unlock(&q->lock);
    return count;
}
