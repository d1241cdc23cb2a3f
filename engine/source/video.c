// A video clip: a thread decodes ahead in order of presentation; the renderer takes pictures.
//
//   thread         owns        waits for                     feeds
//   video-decode   decoder     room in `ready`, or a wish    ready
//   renderer       the rest    the picture that it wants     -
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/source/asset.h"
#include "engine/source/jailed.h"
#include "engine/source/source.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define READY_MAX 6
// A picture that takes this long means storage that hangs; the clip then shows its fallback, unless
// the renderer is patient: what an offline render shows must not depend on a clock.
#define WAIT_S 20

struct ready {
    int64_t i;
    struct picture *picture; // NULL: `problem` says why
    struct diagnostic problem;
};

struct video {
    // -- constant after open
    bool loop, patient;
    struct rational duration;
    const struct media_index *index; // the decoder's; immutable
    struct jailed_decoder *decoder;  // the thread's
    pthread_t thread;
    // -- the renderer's
    struct ready shown; // the last one given
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ready ready[READY_MAX];
    int first, count;
    int64_t next;    // what the thread decodes next; picture_count: nothing, it is at the end
    int64_t cost_ns; // of decoding a picture after the one before it, about; 0: not known yet
    bool closing;
};

static void ready_clear(struct ready *r)
{
    picture_unref(&r->picture);
}

static int64_t after(const struct video *v, int64_t i)
{
    return i + 1 == v->index->picture_count && v->loop ? 0 : i + 1;
}

static void *decode_ahead(void *arg)
{
    struct video *v = arg;
    int64_t last = -1;
    pthread_mutex_lock(&v->lock);
    while (!v->closing) {
        if (v->count == READY_MAX || v->next >= v->index->picture_count) {
            pthread_cond_wait(&v->changed, &v->lock);
            continue;
        }
        struct ready made = {.i = v->next};
        pthread_mutex_unlock(&v->lock);
        int64_t cpu_ns = jailed_decoder_cpu_ns(v->decoder);
        if (jailed_decoder_get(v->decoder, made.i, &made.picture, &made.problem) < 0)
            made.picture = NULL;
        cpu_ns = jailed_decoder_cpu_ns(v->decoder) - cpu_ns;
        pthread_mutex_lock(&v->lock);
        if (made.i == last + 1)
            v->cost_ns += v->cost_ns ? (cpu_ns - v->cost_ns) / 8 : cpu_ns;
        last = made.i;
        if (v->next != made.i) { // the renderer went elsewhere meanwhile
            ready_clear(&made);
            continue;
        }
        v->ready[(v->first + v->count++) % READY_MAX] = made;
        v->next = after(v, made.i);
        pthread_cond_broadcast(&v->changed);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static void drop_first(struct video *v)
{
    ready_clear(&v->ready[v->first]);
    v->first = (v->first + 1) % READY_MAX;
    v->count--;
}

// Drops what lies before picture `i`, and sends the thread there when it is not on its way.
static void go_to(struct video *v, int64_t i)
{
    int skip = 0;
    while (skip < v->count && v->ready[(v->first + skip) % READY_MAX].i != i)
        skip++;
    bool here = skip < v->count;
    for (int k = 0; k < skip; k++)
        drop_first(v);
    if (!here && v->next != i)
        v->next = i;
    if (skip || !here)
        pthread_cond_broadcast(&v->changed);
}

static int wait_for(struct video *v, int64_t i, struct ready *ret)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_S;
    int error = 0;
    pthread_mutex_lock(&v->lock);
    go_to(v, i);
    while (!error && !v->count)
        error = v->patient ? pthread_cond_wait(&v->changed, &v->lock)
                           : pthread_cond_timedwait(&v->changed, &v->lock, &until);
    if (v->count) {
        *ret = v->ready[v->first];
        v->first = (v->first + 1) % READY_MAX;
        v->count--;
        pthread_cond_broadcast(&v->changed);
        error = 0;
    }
    pthread_mutex_unlock(&v->lock);
    return -error;
}

// Past the end the last picture stands.
static int64_t picture_at(const struct video *v, const struct clip_instant *at)
{
    int64_t i = index_picture_at(v->index, source_time(at->source_time, v->duration, v->loop));
    return i < 0 ? v->index->picture_count - 1 : i;
}

static void video_prepare(void *state, const struct clip_instant *at)
{
    struct video *v = state;
    pthread_mutex_lock(&v->lock);
    go_to(v, picture_at(v, at));
    pthread_mutex_unlock(&v->lock);
}

// Decoding along for nobody costs as much as for somebody. So the decoder stays where it is until
// what it would have to catch up with is worth it: where keys are close, it never has to.
static void video_follow(void *state, const struct clip_instant *at)
{
    struct video *v = state;
    int64_t i = picture_at(v, at), start = index_start_of(v->index, i);
    pthread_mutex_lock(&v->lock);
    bool here = i < v->next && i >= v->next - READY_MAX - 1; // shown last, or among what is ready
    bool on_its_way = v->next > start && v->next <= i;
    int64_t left = i - (on_its_way ? v->next : start);
    if (!here && left * v->cost_ns > SOURCE_FOLLOW_NS)
        go_to(v, i);
    pthread_mutex_unlock(&v->lock);
}

static int video_picture(void *state, const struct clip_instant *at, struct picture **ret,
                         uint64_t *ret_content, struct diagnostic *reterr)
{
    struct video *v = state;
    int64_t i = picture_at(v, at);
    if (v->shown.i != i) {
        struct ready made;
        if (wait_for(v, i, &made) < 0)
            return diagnostic_set(
                reterr, -ETIMEDOUT, "media_slow", at->clip->id,
                "picture %lld did not come within %d s; is the storage all right?", (long long)i,
                WAIT_S);
        ready_clear(&v->shown);
        v->shown = made;
    }
    if (!v->shown.picture) {
        if (reterr)
            *reterr = v->shown.problem;
        return v->shown.problem.error;
    }
    *ret = picture_ref(v->shown.picture);
    *ret_content = (uint64_t)i + 1;
    return 0;
}

static void video_destroy(void *state)
{
    struct video *v = state;
    pthread_mutex_lock(&v->lock);
    v->closing = true;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    jailed_decoder_stop(v->decoder);
    thread_join(v->thread);
    while (v->count)
        drop_first(v);
    ready_clear(&v->shown);
    jailed_decoder_close(&v->decoder);
    pthread_cond_destroy(&v->changed);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

static int video_open(const struct source_config *config, void **ret, int *ret_width,
                      int *ret_height, struct diagnostic *reterr)
{
    char path[PATH_MAX];
    int error = asset_resolve(config, path, reterr);
    if (error < 0)
        return error;
    struct video *v = base_alloc(sizeof *v);
    error = jailed_decoder_open(path, &v->decoder, reterr);
    if (error < 0) {
        free(v);
        return error;
    }
    v->index = jailed_decoder_index(v->decoder);
    v->loop = config->clip->loop;
    v->patient = config->patient;
    v->duration = index_duration(v->index);
    v->shown.i = -1;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&v->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&v->lock, NULL);
    int64_t first = index_picture_at(v->index, source_time(config->clip->in, v->duration, v->loop));
    v->next = first < 0 ? v->index->picture_count : first;
    jailed_decoder_size(v->decoder, ret_width, ret_height);
    error = thread_start(&v->thread, "video-decode", decode_ahead, v);
    if (error < 0) {
        jailed_decoder_close(&v->decoder);
        pthread_cond_destroy(&v->changed);
        pthread_mutex_destroy(&v->lock);
        free(v);
        return diagnostic_set(reterr, error, "thread", path, "no thread can be started");
    }
    *ret = v;
    return 0;
}

const struct source_ops source_video_ops = {video_open, video_picture, video_prepare, video_follow,
                                            video_destroy};
