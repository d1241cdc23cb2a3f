#include "engine/link/control_socket.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>

struct closing {
    nng_socket socket;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // -- guarded by lock
    bool done, abandoned;
};

static void closing_free(struct closing *closing)
{
    pthread_cond_destroy(&closing->changed);
    pthread_mutex_destroy(&closing->lock);
    free(closing);
}

static void *close_thread(void *opaque)
{
    struct closing *closing = opaque;
    nng_close(closing->socket);
    pthread_mutex_lock(&closing->lock);
    closing->done = true;
    bool abandoned = closing->abandoned;
    pthread_cond_signal(&closing->changed);
    pthread_mutex_unlock(&closing->lock);
    if (abandoned)
        closing_free(closing);
    return NULL;
}

bool control_socket_close(nng_socket socket)
{
    struct closing *closing = base_alloc(sizeof *closing);
    closing->socket = socket;
    pthread_mutex_init(&closing->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&closing->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_t thread;
    if (thread_start(&thread, "control-close", close_thread, closing) < 0) {
        closing_free(closing);
        return false;
    }
    int64_t deadline_ns = clock_monotonic_ns() + CONTROL_CLOSE_NS;
    struct timespec at = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    pthread_mutex_lock(&closing->lock);
    while (!closing->done &&
           pthread_cond_timedwait(&closing->changed, &closing->lock, &at) != ETIMEDOUT)
        ;
    bool done = closing->done;
    closing->abandoned = !done;
    pthread_mutex_unlock(&closing->lock);
    if (done) {
        thread_join(thread);
        closing_free(closing);
    } else {
        pthread_detach(thread);
        log_debug("control_close_stuck", "library=nng");
    }
    return done;
}
