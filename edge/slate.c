#include "edge/slate.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/receive/prepare.h"
#include "engine/render/render.h"
#include "engine/sound/mix.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_WAIT_MS 200

struct slate {
    // -- constant after create
    struct media_cache *cache;
    uint8_t revision[32];
    int width, height;
    struct rate rate;
    pthread_t thread;
    _Atomic int references;
    _Atomic bool closing;
    // -- written by the thread before `ready` is set, constant afterwards
    struct picture *picture;
    int32_t *samples;
    int64_t sample_count;
    _Atomic bool ready;
    // -- guarded by lock
    pthread_mutex_t lock;
    char error[256];
};

static int render_picture(struct slate *s, const struct render_config *config,
                          struct diagnostic *reterr)
{
    struct renderer *renderer = NULL;
    struct group_frame *group = NULL;
    struct render_report report;
    int error = renderer_create(config, &renderer, reterr);
    if (error)
        return error;
    error = renderer_frame(renderer, 0, 0, NULL, &group, NULL, &report);
    if (!error)
        error = group_fold_over(NULL, group, &s->picture);
    if (error)
        diagnostic_set(reterr, error, "slate_render", "", "its first picture: %s",
                       strerror(-error));
    else if (report.problems) {
        *reterr = report.first;
        error = report.first.error ? report.first.error : -EIO;
    }
    group_frame_unref(&group);
    renderer_destroy(&renderer);
    return error;
}

// -EIO, with what is wrong, when a clip's sound cannot be read.
static int render_sound(struct slate *s, const struct timeline *timeline,
                        const struct asset_resolver *resolver, struct diagnostic *reterr)
{
    int64_t frames = muldiv_floor(timeline->duration, (int64_t)timeline->rate.den * s->rate.num,
                                  (int64_t)timeline->rate.num * s->rate.den);
    int64_t most = (int64_t)SLATE_SECONDS * s->rate.num / s->rate.den;
    frames = frames > most ? most : frames;
    int64_t count = rate_first_sample(s->rate, frames);
    if (count < 1)
        return 0;
    s->samples = calloc((size_t)count, SOUND_CHANNELS * sizeof *s->samples);
    if (!s->samples)
        return diagnostic_set(reterr, -ENOMEM, "slate_memory", "", "no memory for its sound");
    struct sound_mixer *mixer = sound_mixer_create(timeline, s->rate, resolver, NULL);
    int problems = 0;
    for (int64_t n = 0; n < frames && !problems && !atomic_load(&s->closing); n++)
        problems =
            sound_mixer_frame(mixer, n, n, 0, (int)timeline->track_count,
                              s->samples + SOUND_CHANNELS * rate_first_sample(s->rate, n), reterr);
    sound_mixer_destroy(&mixer);
    s->sample_count = count;
    return problems ? -EIO : 0;
}

static int render(struct slate *s, struct diagnostic *reterr)
{
    struct prepared *prepared = NULL;
    int missing = 0, error = -EAGAIN;
    while (error == -EAGAIN && !atomic_load(&s->closing))
        error = prepared_create(s->cache, s->revision, FETCH_WAIT_MS, &prepared, &missing, reterr);
    if (error)
        return error;
    const struct timeline *timeline = prepared_timeline(prepared);
    struct render_config config = {
        .timeline = timeline,
        .width = s->width,
        .height = s->height,
        .rate = s->rate,
        .track_to = (int)timeline->track_count,
        .base = true,
        .resolver = prepared_resolver(prepared),
    };
    error = render_picture(s, &config, reterr);
    if (!error)
        error = render_sound(s, timeline, &config.resolver, reterr);
    prepared_destroy(&prepared);
    return error;
}

static void *run(void *opaque)
{
    struct slate *s = opaque;
    struct diagnostic why = {0};
    int error = render(s, &why);
    if (!error) {
        atomic_store(&s->ready, true);
    } else if (!atomic_load(&s->closing)) {
        pthread_mutex_lock(&s->lock);
        diagnostic_format(&why, s->error, sizeof s->error);
        pthread_mutex_unlock(&s->lock);
        log_error("slate_failed", "reason=\"%s\"", s->error);
    }
    return NULL;
}

int slate_create(struct media_cache *cache, const uint8_t revision[32], int width, int height,
                 struct rate rate, struct slate **ret)
{
    struct slate *s = base_alloc(sizeof *s);
    s->cache = cache;
    memcpy(s->revision, revision, sizeof s->revision);
    s->width = width;
    s->height = height;
    s->rate = rate;
    atomic_init(&s->references, 1);
    mutex_init_urgent(&s->lock);
    int error = thread_start(&s->thread, "slate", run, s);
    if (error) {
        pthread_mutex_destroy(&s->lock);
        free(s);
        return error;
    }
    *ret = s;
    return 0;
}

struct slate *slate_ref(struct slate *s)
{
    atomic_fetch_add(&s->references, 1);
    return s;
}

void slate_unref(struct slate **slate)
{
    struct slate *s = *slate;
    *slate = NULL;
    if (!s || atomic_fetch_sub(&s->references, 1) != 1)
        return;
    atomic_store(&s->closing, true);
    thread_join(s->thread);
    picture_unref(&s->picture);
    free(s->samples);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool slate_is(const struct slate *s, const uint8_t revision[32], int width, int height,
              struct rate rate)
{
    return !memcmp(s->revision, revision, sizeof s->revision) && s->width == width &&
           s->height == height && s->rate.num == rate.num && s->rate.den == rate.den;
}

bool slate_get(const struct slate *s, struct mixer_slate *ret)
{
    if (!atomic_load(&((struct slate *)s)->ready))
        return false;
    *ret = (struct mixer_slate){s->picture, s->samples, s->sample_count};
    return true;
}

void slate_error(struct slate *s, char *ret, size_t size)
{
    pthread_mutex_lock(&s->lock);
    snprintf(ret, size, "%s", s->error);
    pthread_mutex_unlock(&s->lock);
}
