// What a stage does with the channel's takes.
#include "worker/render/stage_private.h"

#include "engine/render/render.h"

void stage_live(struct stage *s, const struct take_log *log)
{
    pthread_mutex_lock(&s->lock);
    if (!take_log_equal(s->told, log)) {
        take_log_unref(&s->told);
        s->told = take_log_ref(log);
        stage_wake(s);
    }
    pthread_mutex_unlock(&s->lock);
}

// The first frame in the ring that another log shows otherwise; what follows it may be coded as a
// difference to it, and is made again with it.
static int64_t first_changed(const struct stage *s, const struct take_log *log)
{
    int64_t n = s->ring.first;
    while (n < ring_end(&s->ring) && takes_mark(s->log, n) == takes_mark(log, n))
        n++;
    return n;
}

bool stage_take_live(struct stage *s)
{
    if (!s->committed || s->log == s->told)
        return false;
    int64_t from = first_changed(s, s->told);
    if (from < ring_end(&s->ring)) {
        ring_cut(&s->ring, from);
        coder_restart(s->coder);
        consumers_rewind(&s->consumers, from);
    }
    take_log_unref(&s->log);
    s->log = take_log_ref(s->told);
    int64_t start_frame = s->start_frame;
    pthread_mutex_unlock(&s->lock);
    struct takes *before = s->live;
    s->live = takes_create(renderer_timeline(s->renderer), s->rate, start_frame, s->log, before);
    renderer_live(s->renderer, s->live);
    takes_unref(&before);
    if (s->beneath)
        beneath_live(s->beneath, s->log);
    pthread_mutex_lock(&s->lock);
    return true;
}
