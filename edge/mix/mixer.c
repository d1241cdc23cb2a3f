#include "edge/mix/mixer.h"

#include "engine/base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct group_state {
    struct mixer_group group;
    struct group_frame *last; // last good frame
    int64_t last_frame;
    int32_t last_sample[SOUND_CHANNELS]; // end of the last good stem; 0 once faded
    bool silent;                         // the sound before has been faded out
    bool on_slate, was_bed;              // the slate stands in for it; so did its sound before
};

struct mixer {
    // -- constant after create
    int width, height;
    struct rate rate;
    int64_t hold_frames;
    struct picture *black;
    int32_t *bed; // room for one frame's samples
    // -- owner thread
    int count;
    struct group_state groups[MIXER_GROUPS_MAX];
    bool arrived;            // some group of this plan has been there
    struct picture *picture; // last programme
    int64_t clean_frame;     // newest frame that was complete; INT64_MIN: none
};

struct mixer *mixer_create(int width, int height, struct rate rate)
{
    struct mixer *m = base_alloc(sizeof *m);
    m->width = width;
    m->height = height;
    m->rate = rate;
    m->hold_frames = muldiv_floor(MIXER_HOLD_NS, rate.num, rate.den * INT64_C(1000000000));
    m->clean_frame = INT64_MIN;
    m->black = picture_create(PICTURE_OPAQUE, width, height);
    if (!m->black) {
        free(m);
        return NULL;
    }
    picture_clear(m->black);
    m->bed = base_alloc((size_t)SOUND_FRAME_MAX * SOUND_CHANNELS * sizeof *m->bed);
    return m;
}

static void release_groups(struct mixer *m)
{
    for (int i = 0; i < m->count; i++)
        group_frame_unref(&m->groups[i].last);
    m->count = 0;
}

void mixer_destroy(struct mixer **mixer)
{
    struct mixer *m = *mixer;
    if (!m)
        return;
    *mixer = NULL;
    release_groups(m);
    picture_unref(&m->picture);
    picture_unref(&m->black);
    free(m->bed);
    free(m);
}

void mixer_set_groups(struct mixer *m, const struct mixer_group *groups, int count)
{
    assert(count <= MIXER_GROUPS_MAX);
    release_groups(m);
    for (int i = 0; i < count; i++)
        m->groups[i] = (struct group_state){.group = groups[i], .last_frame = INT64_MIN};
    m->count = count;
    m->arrived = false;
}

static bool recent(const struct mixer *m, int64_t n, int64_t then)
{
    return then != INT64_MIN && n - then <= m->hold_frames;
}

// sample * i / MIXER_FADE_SAMPLES, rounded towards zero.
static int32_t scale(int32_t sample, int i)
{
    return (int32_t)((int64_t)sample * i / MIXER_FADE_SAMPLES);
}

static void add_fade_out(struct group_state *g, int32_t *dst, int sample_count)
{
    int32_t fade[MIXER_FADE_SAMPLES * SOUND_CHANNELS];
    int count = sample_count < MIXER_FADE_SAMPLES ? sample_count : MIXER_FADE_SAMPLES;
    for (int i = 0; i < count; i++)
        for (int c = 0; c < SOUND_CHANNELS; c++)
            fade[SOUND_CHANNELS * i + c] = scale(g->last_sample[c], MIXER_FADE_SAMPLES - 1 - i);
    if (!g->silent)
        sound_add(dst, fade, count);
    memset(g->last_sample, 0, sizeof g->last_sample);
    g->silent = true;
}

static void add_stem(struct group_state *g, int32_t *dst, const int32_t *stem, int sample_count)
{
    int faded = 0;
    if (g->silent) {
        int32_t fade[MIXER_FADE_SAMPLES * SOUND_CHANNELS];
        faded = sample_count < MIXER_FADE_SAMPLES ? sample_count : MIXER_FADE_SAMPLES;
        for (int i = 0; i < faded * SOUND_CHANNELS; i++)
            fade[i] = scale(stem[i], i / SOUND_CHANNELS);
        sound_add(dst, fade, faded);
    }
    sound_add(dst + faded * SOUND_CHANNELS, stem + faded * SOUND_CHANNELS, sample_count - faded);
    memcpy(g->last_sample, stem + (sample_count - 1) * SOUND_CHANNELS, sizeof g->last_sample);
    g->silent = false;
}

// Chooses what group `i` shows and takes note of it.
static const struct group_frame *choose(struct mixer *m, int i, int64_t n,
                                        const struct intake_frame *input,
                                        struct mixer_result *result)
{
    struct group_state *g = &m->groups[i];
    if (input->frame) {
        struct group_frame *fresh = group_frame_ref(input->frame);
        group_frame_unref(&g->last);
        g->last = fresh;
        g->last_frame = n;
        g->on_slate = false;
        m->arrived = true;
        return fresh;
    }
    enum mixer_step step = recent(m, n, g->last_frame) ? MIXER_HOLD
                           : g->group.from_base        ? MIXER_SLATE
                                                       : MIXER_FALLBACK;
    result->late++;
    result->concealed = true;
    if (step > result->worst) {
        result->worst = step;
        result->worst_group = g->group.group;
    }
    if (step > MIXER_HOLD)
        group_frame_unref(&g->last); // never again
    g->on_slate = step == MIXER_SLATE;
    return g->last;
}

// The slate's samples that belong to frame `f`; sample 0 of the channel is its first.
static void copy_bed(const struct mixer_slate *slate, const struct programme_frame *f, int32_t *dst)
{
    int64_t at = f->first_sample % slate->sample_count;
    for (int i = 0; i < f->sample_count; i++) {
        memcpy(dst + SOUND_CHANNELS * i, slate->samples + SOUND_CHANNELS * at,
               SOUND_CHANNELS * sizeof *dst);
        at = at + 1 == slate->sample_count ? 0 : at + 1;
    }
}

// The group's sound or, on the slate, the slate's. What changes over fades out and in.
static void add_sound(struct mixer *m, struct group_state *g, struct programme_frame *f,
                      const int32_t *stem, const struct mixer_slate *slate)
{
    bool bed = !stem && g->on_slate && slate && slate->samples;
    if (bed)
        copy_bed(slate, f, m->bed);
    if (bed != g->was_bed || !(stem || bed))
        add_fade_out(g, f->samples, f->sample_count);
    if (stem || bed)
        add_stem(g, f->samples, bed ? m->bed : stem, f->sample_count);
    g->was_bed = bed;
}

int mixer_frame(struct mixer *m, int64_t n, const struct intake_frame *inputs,
                const struct mixer_slate *slate, struct programme_frame **ret,
                struct mixer_result *ret_result)
{
    int sample_count = rate_sample_count(m->rate, n);
    struct programme_frame *f =
        programme_frame_create(n, rate_first_sample(m->rate, n), sample_count);
    if (!f)
        return -ENOMEM;
    struct mixer_result result = {.worst = MIXER_FRESH};
    const struct group_frame *frames[MIXER_GROUPS_MAX];
    const struct picture *beneath = m->black;
    for (int i = 0; i < m->count; i++) {
        frames[i] = choose(m, i, n, &inputs[i], &result);
        add_sound(m, &m->groups[i], f, inputs[i].stem, slate);
        if (m->groups[i].on_slate && slate && slate->picture)
            beneath = slate->picture;
    }
    result.programme_held = !m->arrived && m->count && m->picture && recent(m, n, m->clean_frame);
    int error = 0;
    if (result.programme_held) {
        result.worst = MIXER_HOLD;
        f->picture = picture_ref(m->picture);
    } else {
        error = group_fold_all(beneath, frames, m->count, &f->picture);
    }
    if (error) {
        programme_frame_unref(&f);
        return error;
    }
    if (!result.concealed)
        m->clean_frame = n;
    picture_unref(&m->picture);
    m->picture = picture_ref(f->picture);
    *ret = f;
    *ret_result = result;
    return 0;
}
