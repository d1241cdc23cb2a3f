#include "engine/live/resample.h"

#include "engine/base/rate.h"
#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/timeline/timeline.h"

#include <math.h>
#include <stdlib.h>

#define PHASES    512
#define HALF_TAPS 32
#define UNIT_GAIN (1 << 24)
#define BETA      8.0
// Where the response is down by half, of the lower rate's half.
#define CUTOFF 0.9

struct resampler {
    int reach;
    int32_t *taps; // [PHASES + 1][2 * reach]
};

// The modified Bessel function of order 0, by its series.
static double bessel(double x)
{
    double term = 1, sum = 1;
    for (int k = 1; k < 40; k++) {
        term *= x / 2 / k;
        sum += term * term;
    }
    return sum;
}

// At x source samples from the middle.
static double response(double x, double cutoff, int reach)
{
    static const double pi = 3.14159265358979323846;
    double r = x / reach, sine = 0, cosine = 0;
    if (r <= -1 || r >= 1)
        return 0;
    degrees_sin_cos(180 * cutoff * x, &sine, &cosine);
    double sinc = x > -1e-9 && x < 1e-9 ? cutoff : sine / (pi * x);
    return sinc * bessel(BETA * sqrt(1 - r * r)) / bessel(BETA);
}

static void make_phase(int32_t *taps, double fraction, double cutoff, int reach)
{
    double sum = 0;
    for (int i = 0; i < 2 * reach; i++)
        sum += response(i - reach + 1 - fraction, cutoff, reach);
    int32_t left = UNIT_GAIN;
    for (int i = 0; i < 2 * reach; i++) {
        double value = response(i - reach + 1 - fraction, cutoff, reach) / sum * UNIT_GAIN;
        taps[i] = (int32_t)(value < 0 ? value - 0.5 : value + 0.5);
        left -= taps[i];
    }
    taps[fraction < 0.5 ? reach - 1 : reach] += left; // what stands still stays as it is
}

struct resampler *resampler_create(int rate)
{
    int times = (rate + SAMPLE_RATE_HZ - 1) / SAMPLE_RATE_HZ;
    struct resampler *r = base_alloc(sizeof *r);
    r->reach = HALF_TAPS * times;
    r->taps = malloc((size_t)(PHASES + 1) * 2 * (size_t)r->reach * sizeof *r->taps);
    if (!r->taps) {
        free(r);
        return NULL;
    }
    double cutoff = rate > SAMPLE_RATE_HZ ? CUTOFF * SAMPLE_RATE_HZ / rate : CUTOFF;
    for (int i = 0; i <= PHASES; i++)
        make_phase(r->taps + (ptrdiff_t)i * 2 * r->reach, (double)i / PHASES, cutoff, r->reach);
    return r;
}

void resampler_destroy(struct resampler **resampler)
{
    if (!*resampler)
        return;
    free((*resampler)->taps);
    free(*resampler);
    *resampler = NULL;
}

int resampler_reach(const struct resampler *resampler)
{
    return resampler->reach;
}

static int32_t rounded(int64_t sum)
{
    sum = (sum + UNIT_GAIN / 2) >> 24;
    return (int32_t)(sum > SOUND_LIMIT ? SOUND_LIMIT : sum < -SOUND_LIMIT ? -SOUND_LIMIT : sum);
}

void resampler_sample(const struct resampler *r, __int128 position, const int32_t *pairs,
                      int64_t first, int32_t ret[2])
{
    uint32_t fraction = (uint32_t)position;
    int width = 2 * r->reach;
    const int32_t *low = r->taps + (ptrdiff_t)(fraction >> 23) * width, *high = low + width;
    // Between sums, not between taps: what stands still is the same at every phase.
    int64_t between = fraction >> 11 & 0xFFF, left[2] = {0}, right[2] = {0};
    const int32_t *p = pairs + 2 * ((int64_t)(position >> 32) - r->reach + 1 - first);
    for (int i = 0; i < width; i++) {
        left[0] += (int64_t)low[i] * p[2 * i];
        right[0] += (int64_t)low[i] * p[2 * i + 1];
        left[1] += (int64_t)high[i] * p[2 * i];
        right[1] += (int64_t)high[i] * p[2 * i + 1];
    }
    ret[0] = rounded(left[0] + (((left[1] - left[0]) * between) >> 12));
    ret[1] = rounded(right[0] + (((right[1] - right[0]) * between) >> 12));
}
