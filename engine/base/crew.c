#include "engine/base/crew.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <sched.h>
#include <stdlib.h>

#define HANDS_MAX 8 // more would wait for memory

static struct {
    // -- constant between crew_start and crew_end
    pthread_t *threads;
    int thread_count;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t begun, done;
    bool ended;
    void (*part)(void *arg, int i); // NULL: nobody is served
    void *arg;
    int count, next, finished;
    int64_t helped_ns;
} crew = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .begun = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static _Thread_local int64_t helped_ns;

// Does parts until all are taken. Called with the lock held.
static void take_parts(bool helper)
{
    while (crew.part && crew.next < crew.count) {
        void (*part)(void *, int) = crew.part;
        void *arg = crew.arg;
        int i = crew.next++;
        pthread_mutex_unlock(&crew.lock);
        int64_t start_ns = clock_monotonic_ns();
        part(arg, i);
        int64_t took_ns = clock_monotonic_ns() - start_ns;
        pthread_mutex_lock(&crew.lock);
        crew.helped_ns += helper ? took_ns : 0;
        if (++crew.finished == crew.count)
            pthread_cond_signal(&crew.done);
    }
}

static void *hand_main(void *unused)
{
    pthread_mutex_lock(&crew.lock);
    while (!crew.ended) {
        take_parts(true);
        if (!crew.ended)
            pthread_cond_wait(&crew.begun, &crew.lock);
    }
    pthread_mutex_unlock(&crew.lock);
    return unused;
}

void crew_start(int hands)
{
    crew.ended = false;
    crew.threads = base_alloc((size_t)(hands > 1 ? hands : 1) * sizeof *crew.threads);
    while (crew.thread_count < hands - 1 &&
           !thread_start(&crew.threads[crew.thread_count], "crew", hand_main, NULL))
        crew.thread_count++;
}

void crew_end(void)
{
    pthread_mutex_lock(&crew.lock);
    crew.ended = true;
    pthread_cond_broadcast(&crew.begun);
    pthread_mutex_unlock(&crew.lock);
    while (crew.thread_count)
        thread_join(crew.threads[--crew.thread_count]);
    free(crew.threads);
    crew.threads = NULL;
}

void crew_start_all(void)
{
    cpu_set_t set;
    int processors = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    crew_start(processors < HANDS_MAX ? processors : HANDS_MAX);
}

void crew_share(int count, void (*part)(void *arg, int i), void *arg)
{
    bool served = false;
    if (count > 1 && crew.thread_count) {
        pthread_mutex_lock(&crew.lock);
        served = !crew.part;
        if (served) {
            crew.part = part;
            crew.arg = arg;
            crew.count = count;
            crew.next = crew.finished = 0;
            crew.helped_ns = 0;
            pthread_cond_broadcast(&crew.begun);
            take_parts(false);
            while (crew.finished < crew.count)
                pthread_cond_wait(&crew.done, &crew.lock);
            crew.part = NULL;
            helped_ns += crew.helped_ns;
        }
        pthread_mutex_unlock(&crew.lock);
    }
    for (int i = 0; !served && i < count; i++)
        part(arg, i);
}

int64_t crew_helped_ns(void)
{
    return helped_ns;
}
