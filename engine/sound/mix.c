#include "engine/sound/mix.h"

#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/sound/sound_source.h"
#include "engine/timeline/arithmetic.h"
#include "engine/timeline/takes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Sounds at one instant: two per track in a dissolve.
#define SOUNDS_MAX (2 * TIMELINE_TRACKS_MAX)
// The flash pattern's beep: 20 ms.
#define BEEP_SAMPLES 960
// A sound that could not be opened is tried again after this many frames.
#define RETRY_FRAMES 32

struct open_sound {
    const char *uri; // borrowed from a timeline of the tree
    struct sound_source *source;
    struct diagnostic problem; // of the last try to open it
    int frames_until_retry;
};

struct sound_mixer {
    struct timeline *timeline;
    struct takes *live;
    struct rate rate;
    struct asset_resolver resolver;
    struct cameras *cameras;
    struct open_sound *open;
    size_t open_count;
    float *buffers[TIMELINE_NESTING_MAX + 2]; // one clip's samples, per depth of nesting
};

// One frame as all clips see it.
struct instant {
    int64_t absolute_frame;
    int count;             // samples
    struct rational speed; // of the nested timelines around the clip
    int problems;
    struct diagnostic first;
};

struct sound_mixer *sound_mixer_create(const struct timeline *timeline, struct rate output_rate,
                                       const struct asset_resolver *resolver,
                                       struct cameras *cameras)
{
    struct sound_mixer *m = base_alloc(sizeof *m);
    m->timeline = timeline_ref(timeline);
    m->rate = output_rate;
    m->resolver = *resolver;
    m->cameras = cameras;
    return m;
}

void sound_mixer_destroy(struct sound_mixer **mixer)
{
    struct sound_mixer *m = *mixer;
    if (!m)
        return;
    *mixer = NULL;
    for (size_t i = 0; i < m->open_count; i++)
        sound_source_close(&m->open[i].source);
    free(m->open);
    for (size_t i = 0; i < sizeof m->buffers / sizeof m->buffers[0]; i++)
        free(m->buffers[i]);
    takes_unref(&m->live);
    timeline_unref(&m->timeline);
    free(m);
}

void sound_mixer_live(struct sound_mixer *m, const struct takes *live)
{
    takes_unref(&m->live);
    m->live = takes_ref(live);
}

static float *buffer_at(struct sound_mixer *m, int depth)
{
    assert(depth < TIMELINE_NESTING_MAX + 2);
    if (!m->buffers[depth])
        m->buffers[depth] = base_alloc(SOUND_FRAME_MAX * SOUND_CHANNELS * sizeof(float));
    return m->buffers[depth];
}

// What there is of an asset; its `source` is NULL when it cannot be read.
static const struct open_sound *sound_for(struct sound_mixer *m, const char *uri)
{
    struct open_sound *o = NULL;
    for (size_t i = 0; i < m->open_count && !o; i++)
        if (!strcmp(m->open[i].uri, uri))
            o = &m->open[i];
    if (!o) {
        m->open = realloc(m->open, (m->open_count + 1) * sizeof *m->open);
        assert(m->open);
        o = &m->open[m->open_count++];
        *o = (struct open_sound){.uri = uri};
    }
    if (!o->source && --o->frames_until_retry <= 0) {
        if (sound_source_open(&m->resolver, uri, &o->source, &o->problem))
            o->frames_until_retry = RETRY_FRAMES;
    }
    return o;
}

static void note_problem(struct instant *at, const struct timeline *t, const struct clip *clip,
                         const struct diagnostic *problem)
{
    if (!at->problems++)
        clip_problem(t, clip, problem, &at->first);
}

// The place in the source, in samples, of the frame's first sample. The frame's first sample lies
// up to one sample before the frame's exact time; taking that into account makes consecutive frames
// read consecutive samples, whatever the cadence.
static struct rational source_position(const struct sound_mixer *m, const struct layer_sound *s,
                                       const struct instant *at)
{
    struct rational exact = rational_product(s->source_time, (struct rational){SAMPLE_RATE_HZ, 1});
    int64_t absolute = at->absolute_frame, first = rate_first_sample(m->rate, absolute);
    // The frame's time less its first sample's, in [0, 1) samples.
    wide rest = (wide)absolute * m->rate.den * SAMPLE_RATE_HZ - (wide)first * m->rate.num;
    struct rational speed = rational_product(at->speed, s->clip->speed);
    return rational_difference(exact, rational_product(speed, rational_fit(rest, m->rate.num)));
}

// The beep starts with the first sample of the first frame of each second.
static void read_flash(const struct sound_mixer *m, const struct layer_sound *s,
                       const struct instant *at, float *dst)
{
    int64_t second = rational_floor(s->source_time, 1);
    wide since = (wide)s->source_time.num - (wide)second * s->source_time.den; // of its den
    int64_t frames = (int64_t)(since * m->rate.num / ((wide)s->source_time.den * m->rate.den));
    int64_t offset = rate_first_sample(m->rate, at->absolute_frame) -
                     rate_first_sample(m->rate, at->absolute_frame - frames);
    int64_t left = BEEP_SAMPLES - offset;
    int count = left < 0 ? 0 : left < at->count ? (int)left : at->count;
    const struct pattern_style *p = s->clip->pattern;
    sound_tone((double)offset, 1, p->tone_hz, decibel_to_gain(p->tone_db), count, dst);
    memset(dst + count * SOUND_CHANNELS, 0,
           (size_t)(at->count - count) * SOUND_CHANNELS * sizeof *dst);
}

static void read_pattern(const struct sound_mixer *m, const struct layer_sound *s,
                         const struct instant *at, float *dst)
{
    const struct pattern_style *p = s->clip->pattern;
    if (p->kind == PATTERN_FLASH) {
        read_flash(m, s, at, dst);
        return;
    }
    struct rational position = source_position(m, s, at);
    double speed = rational_double(rational_product(at->speed, s->clip->speed));
    sound_tone(speed == 1 ? (double)rational_floor(position, 1) : rational_double(position), speed,
               p->tone_hz, decibel_to_gain(p->tone_db), at->count, dst);
}

static double read_sound(struct sound_mixer *m, const struct timeline *t,
                         const struct layer_sound *s, struct instant *at, int depth, float *dst);

// Level, gain and balance, ramped linearly over the frame, in place.
static void apply_ramp(const struct layer_sound *s, double level, int count, float *samples)
{
    for (int i = 0; i < count; i++) {
        double share = (double)i / count;
        double gain = (s->gain_start + (s->gain_end - s->gain_start) * share) * level;
        double pan = s->pan_start + (s->pan_end - s->pan_start) * share;
        double left = pan > 0 ? gain * (1 - pan) : gain, right = pan < 0 ? gain * (1 + pan) : gain;
        samples[2 * i] = (float)((double)samples[2 * i] * left);
        samples[2 * i + 1] = (float)((double)samples[2 * i + 1] * right);
    }
}

// A nested timeline's sound is the sum of its own, in the order of its tracks.
static void read_nested(struct sound_mixer *m, const struct layer_sound *outer, struct instant *at,
                        int depth, float *dst)
{
    const struct timeline *t = outer->clip->nested;
    struct layer_sound sounds[SOUNDS_MAX];
    struct rational around = at->speed;
    at->speed = rational_product(around, outer->clip->speed);
    struct rational length =
        rational_product(at->speed, (struct rational){m->rate.den, m->rate.num});
    size_t count = timeline_evaluate_sound_at(t, NULL, outer->source_time, length,
                                              t->loop || outer->clip->loop, 0, (int)t->track_count,
                                              sounds, SOUNDS_MAX);
    memset(dst, 0, (size_t)at->count * SOUND_CHANNELS * sizeof *dst);
    float *part = buffer_at(m, depth + 1);
    for (size_t i = 0; i < count; i++) {
        double level = read_sound(m, t, &sounds[i], at, depth + 1, part);
        apply_ramp(&sounds[i], level, at->count, part);
        for (int k = 0; k < at->count * SOUND_CHANNELS; k++)
            dst[k] += part[k];
    }
    at->speed = around;
}

static void read_camera(struct sound_mixer *m, const struct timeline *t, const struct clip *clip,
                        struct instant *at, float *dst)
{
    const int32_t *samples;
    struct diagnostic problem;
    int error = cameras_sound(m->cameras, clip, &samples, &problem);
    if (error && error != -EAGAIN)
        note_problem(at, t, clip, &problem);
    for (int i = 0; i < at->count * SOUND_CHANNELS; i++)
        dst[i] = error ? 0 : (float)samples[i] / SOUND_FULL_SCALE;
}

// One clip's samples, before gain and pan; returns the factor that levels them.
static double read_sound(struct sound_mixer *m, const struct timeline *t,
                         const struct layer_sound *s, struct instant *at, int depth, float *dst)
{
    const struct clip *clip = s->clip;
    if (clip->kind == CLIP_TIMELINE) {
        read_nested(m, s, at, depth, dst);
        return 1;
    }
    if (clip->kind == CLIP_PATTERN) {
        read_pattern(m, s, at, dst);
        return 1;
    }
    if (clip->kind == CLIP_CAMERA) {
        read_camera(m, t, clip, at, dst);
        return 1;
    }
    const struct open_sound *open = sound_for(m, t->assets[clip->asset].uri);
    static const struct diagnostic silent = {
        .error = -EINVAL, .code = "sound_none", .text = "has no sound"};
    if (clip->kind == CLIP_AUDIO && (!open->source || sound_source_is_silent(open->source)))
        note_problem(at, t, clip, open->source ? &silent : &open->problem);
    if (!open->source) {
        memset(dst, 0, (size_t)at->count * SOUND_CHANNELS * sizeof *dst);
        return 1;
    }
    sound_source_read(open->source, source_position(m, s, at),
                      rational_product(at->speed, clip->speed), clip->loop, at->count, dst);
    return t->loudness_lufs < 0 ? sound_source_level(open->source, t->loudness_lufs) : 1;
}

static int32_t quantise(float sample)
{
    float scaled = sample * SOUND_FULL_SCALE;
    if (!(scaled < SOUND_LIMIT)) // also NaN
        return scaled >= SOUND_LIMIT ? SOUND_LIMIT : 0;
    if (scaled < -SOUND_LIMIT)
        return -SOUND_LIMIT;
    // Half away from zero, without the rounding mode.
    return (int32_t)(scaled < 0 ? scaled - 0.5f : scaled + 0.5f);
}

// As sound_add: 128 sounds at the limit are more than an int32 holds.
static int32_t add_saturated(int32_t a, int32_t b)
{
    int64_t sum = (int64_t)a + b;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

int sound_mixer_frame(struct sound_mixer *m, int64_t n, int64_t absolute_frame, int track_from,
                      int track_to, int32_t *dst, struct diagnostic *ret_first)
{
    struct layer_sound sounds[SOUNDS_MAX];
    struct instant at = {.absolute_frame = absolute_frame,
                         .count = rate_sample_count(m->rate, absolute_frame),
                         .speed = {1, 1}};
    size_t count = timeline_evaluate_sound(m->timeline, m->live, m->rate, n, track_from, track_to,
                                           sounds, SOUNDS_MAX);
    memset(dst, 0, (size_t)at.count * SOUND_CHANNELS * sizeof *dst);
    float *part = buffer_at(m, 0);
    for (size_t i = 0; i < count; i++) {
        double level = read_sound(m, m->timeline, &sounds[i], &at, 0, part);
        apply_ramp(&sounds[i], level, at.count, part);
        for (int k = 0; k < at.count * SOUND_CHANNELS; k++)
            dst[k] = add_saturated(dst[k], quantise(part[k]));
    }
    if (at.problems && ret_first)
        *ret_first = at.first;
    return at.problems;
}
