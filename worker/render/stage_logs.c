// What a stage does while the log of a live source does not know a frame yet.
#include "worker/render/stage_private.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/render/render.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define AWAIT_NS 100000000
// Longer than sources' delays mostly are.
#define LATE_NS INT64_C(1000000000)

void stage_set_lacks(struct stage *s, const char text[512])
{
    pthread_mutex_lock(&s->lock);
    memcpy(s->status.lacks, text, sizeof s->status.lacks);
    pthread_mutex_unlock(&s->lock);
}

void stage_note_log(struct stage *s, const struct diagnostic *lacks)
{
    char text[512] = "";
    int64_t now = clock_monotonic_ns();
    if (!lacks) {
        if (s->log_told)
            stage_set_lacks(s, text);
        s->log_wait_ns = 0;
        s->log_told = false;
        return;
    }
    if (!s->log_wait_ns)
        s->log_wait_ns = now;
    if (s->log_told || now - s->log_wait_ns < LATE_NS)
        return;
    s->log_told = true;
    stage_set_lacks(s, diagnostic_format(lacks, text, sizeof text));
    log_warning("log_late", "channel=%" PRIu64 " group=%" PRIu32 " for=\"%s\"", s->channel,
                s->group, text);
}

int stage_await_logs(struct stage *s)
{
    for (bool closing = false; !closing;) {
        char text[512] = "";
        struct diagnostic lacks;
        renderer_follow(s->renderer, s->warm_local, s->warm_frame);
        bool waits = renderer_lacks(s->renderer, &lacks);
        if (waits)
            diagnostic_format(&lacks, text, sizeof text);
        stage_set_lacks(s, text);
        if (!waits)
            return 0;
        pthread_mutex_lock(&s->lock);
        s->woken = false;
        stage_wait(s, AWAIT_NS);
        closing = s->closing;
        pthread_mutex_unlock(&s->lock);
    }
    return -EAGAIN;
}
