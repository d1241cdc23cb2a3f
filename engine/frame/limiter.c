#include "engine/frame/limiter.h"

#include "engine/base/thread.h"
#include "engine/frame/sound.h"

#include <stdlib.h>
#include <string.h>

#define ONE    (INT64_C(1) << 30) // a gain of 1
#define HALF   (LIMITER_ATTACK / 2)
#define TAPS   12
#define AHEAD  6   // of the filter
#define RECENT 512 // samples kept: a power of 2, above LIMITER_DELAY
#define WINDOW (LIMITER_HOLD + LIMITER_ATTACK + 1)

// A mean over the last `length` values, which are ONE at first.
struct box {
    int64_t *values, sum;
    int length, at;
};

struct limiter {
    int64_t ceiling;
    int64_t count; // samples taken since the start
    int32_t recent[RECENT][SOUND_CHANNELS];
    // Candidates for the least r of the window, rising: the first is it.
    struct {
        int64_t at, gain;
    } least[WINDOW];
    int least_first, least_count;
    struct box attack[2], release;
    int64_t values[2 * HALF + LIMITER_RELEASE];
};

// BS.1770-4, annex 2, times 8192; the other two phases are these backwards.
static const int16_t phases[2][TAPS] = {
    {14, 90, -161, 272, -487, 1125, 7964, -838, 390, -218, 122, -68},
    {-239, 240, -424, 730, -1364, 3810, 6388, -1641, 832, -477, 271, -155},
};

static void box_reset(struct box *box, int64_t *values, int length)
{
    *box = (struct box){.values = values, .sum = length * ONE, .length = length};
    for (int i = 0; i < length; i++)
        values[i] = ONE;
}

static int64_t box_mean(struct box *box, int64_t value)
{
    box->sum += value - box->values[box->at];
    box->values[box->at] = value;
    box->at = (box->at + 1) % box->length;
    return box->sum / box->length;
}

struct limiter *limiter_create(int32_t ceiling)
{
    struct limiter *l = base_alloc(sizeof *l);
    l->ceiling = ceiling;
    limiter_reset(l);
    return l;
}

void limiter_destroy(struct limiter **limiter)
{
    free(*limiter);
    *limiter = NULL;
}

void limiter_reset(struct limiter *l)
{
    memset(l->recent, 0, sizeof l->recent);
    l->count = l->least_first = l->least_count = 0;
    box_reset(&l->attack[0], l->values, HALF);
    box_reset(&l->attack[1], l->values + HALF, HALF);
    box_reset(&l->release, l->values + 2 * HALF, LIMITER_RELEASE);
}

static int64_t magnitude(int64_t value)
{
    return value < 0 ? -value : value;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

// The peak about sample t, both channels, given all up to t + AHEAD.
static int64_t peak_at(const struct limiter *l, int64_t t)
{
    int64_t peak = 0, around = 0;
    for (int k = 0; k < TAPS; k++)
        for (int c = 0; c < SOUND_CHANNELS; c++)
            around =
                larger(around, magnitude(l->recent[(t + k - TAPS + 1 + AHEAD) & (RECENT - 1)][c]));
    if (9 * around < 4 * l->ceiling) // the filters gain 2.03 at most
        return 0;
    for (int c = 0; c < SOUND_CHANNELS; c++) {
        int64_t sums[4] = {0};
        for (int k = 0; k < TAPS; k++) {
            int64_t sample = l->recent[(t + k - TAPS + 1 + AHEAD) & (RECENT - 1)][c];
            for (int p = 0; p < 2; p++) {
                sums[p] += sample * phases[p][k];
                sums[3 - p] += sample * phases[p][TAPS - 1 - k];
            }
        }
        for (int p = 0; p < 4; p++)
            peak = larger(peak, (magnitude(sums[p]) + 4096) / 8192);
        peak = larger(peak, magnitude(l->recent[t & (RECENT - 1)][c]));
    }
    return peak;
}

// Takes r(t); gives m(t - LIMITER_ATTACK).
static int64_t least_gain(struct limiter *l, int64_t t, int64_t gain)
{
    while (l->least_count && l->least[(l->least_first + l->least_count - 1) % WINDOW].gain >= gain)
        l->least_count--;
    if (l->least_count && l->least[l->least_first].at <= t - WINDOW) {
        l->least_first = (l->least_first + 1) % WINDOW;
        l->least_count--;
    }
    int last = (l->least_first + l->least_count++) % WINDOW;
    l->least[last].at = t;
    l->least[last].gain = gain;
    return l->least[l->least_first].gain;
}

void limiter_sound(struct limiter *l, int32_t *dst, const int32_t *src, int count)
{
    for (int i = 0; i < count; i++, l->count++) {
        int32_t *taken = l->recent[l->count & (RECENT - 1)];
        for (int c = 0; c < SOUND_CHANNELS; c++)
            taken[c] = src ? src[i * SOUND_CHANNELS + c] : 0;
        int64_t peak = peak_at(l, l->count - AHEAD);
        int64_t wanted = peak > l->ceiling ? l->ceiling * ONE / peak : ONE;
        int64_t gain = least_gain(l, l->count - AHEAD, wanted);
        gain = box_mean(&l->attack[1], box_mean(&l->attack[0], gain));
        int64_t slow = box_mean(&l->release, gain);
        gain = slow < gain ? slow : gain;
        const int32_t *given = l->recent[(l->count - LIMITER_DELAY) & (RECENT - 1)];
        for (int c = 0; c < SOUND_CHANNELS; c++)
            dst[i * SOUND_CHANNELS + c] = (int32_t)((given[c] * gain + ONE / 2) >> 30);
    }
}
