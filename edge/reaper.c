#include "edge/reaper.h"

#include "engine/base/thread.h"

#include <stdlib.h>

#define WAITING_MAX 256

struct job {
    void (*end)(void *object);
    void *object;
};

struct reaper {
    // -- constant after create
    struct queue *queue; // struct job *
    pthread_t thread;
};

static void do_job(void *opaque)
{
    struct job *job = opaque;
    job->end(job->object);
    free(job);
}

static void *run(void *opaque)
{
    struct reaper *r = opaque;
    void *job;
    while (!queue_pop(r->queue, &job, -1))
        do_job(job);
    return NULL;
}

int reaper_create(struct reaper **ret)
{
    struct reaper *r = base_alloc(sizeof *r);
    r->queue = queue_create(WAITING_MAX, do_job);
    int result = thread_start(&r->thread, "reaper", run, r);
    if (result) {
        queue_destroy(&r->queue);
        free(r);
        return result;
    }
    *ret = r;
    return 0;
}

void reaper_destroy(struct reaper **reaper)
{
    struct reaper *r = *reaper;
    if (!r)
        return;
    *reaper = NULL;
    queue_close(r->queue);
    thread_join(r->thread);
    queue_destroy(&r->queue);
    free(r);
}

void reaper_give(struct reaper *r, void (*end)(void *object), void *object)
{
    struct job *job = base_alloc(sizeof *job);
    *job = (struct job){end, object};
    if (!r || queue_push(r->queue, job, 0))
        do_job(job);
}
