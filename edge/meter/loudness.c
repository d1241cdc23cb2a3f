#include "edge/meter/loudness.h"

#include "edge/meter/true_peak.h"
#include "engine/base/thread.h"

#include <ebur128.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TENTHS 10
#define FLOOR  (-144.0F) // what filters leave behind of a sound that has ended is less

struct loudness {
    struct rate rate;
    ebur128_state *state;
    struct true_peak true_peaks;
    float peak[SOUND_CHANNELS], true_peak[SOUND_CHANNELS]; // of this tenth so far, 1: full scale
    float samples[SOUND_FRAME_MAX * SOUND_CHANNELS];
};

struct loudness *loudness_create(struct rate rate)
{
    ebur128_state *state = ebur128_init(SOUND_CHANNELS, SAMPLE_RATE_HZ,
                                        EBUR128_MODE_S | EBUR128_MODE_I | EBUR128_MODE_HISTOGRAM);
    if (!state)
        return NULL;
    struct loudness *l = base_alloc(sizeof *l);
    l->rate = rate;
    l->state = state;
    return l;
}

void loudness_destroy(struct loudness **loudness)
{
    if (*loudness)
        ebur128_destroy(&(*loudness)->state);
    free(*loudness);
    *loudness = NULL;
}

static float decibels(float peak)
{
    float value = 20 * log10f(peak);
    return value > FLOOR ? value : -INFINITY;
}

static float lufs(int (*read)(ebur128_state *, double *), ebur128_state *state)
{
    double value;
    return !read(state, &value) && value > FLOOR ? (float)value : -INFINITY;
}

static int64_t tenth(const struct loudness *l, int64_t n)
{
    return muldiv_floor(n, TENTHS * (int64_t)l->rate.den, l->rate.num);
}

bool loudness_add(struct loudness *l, const struct programme_frame *f, struct loudness_values *ret)
{
    sound_to_float(l->samples, f->samples, f->sample_count);
    if (ebur128_add_frames_float(l->state, l->samples, (size_t)f->sample_count))
        return false; // no memory for its filters: nothing is known of this frame
    true_peak_add(&l->true_peaks, l->samples, f->sample_count, l->peak, l->true_peak);
    if (tenth(l, f->frame) == tenth(l, f->frame + 1))
        return false;
    *ret = (struct loudness_values){
        .frame = f->frame,
        .momentary = lufs(ebur128_loudness_momentary, l->state),
        .short_term = lufs(ebur128_loudness_shortterm, l->state),
        .integrated = lufs(ebur128_loudness_global, l->state),
    };
    for (int c = 0; c < SOUND_CHANNELS; c++) {
        ret->peak[c] = decibels(l->peak[c]);
        ret->true_peak[c] = decibels(l->true_peak[c]);
        l->peak[c] = l->true_peak[c] = 0;
    }
    return true;
}
