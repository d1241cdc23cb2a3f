#include "engine/media/loudness.h"

#include "engine/base/rate.h"

#include <ebur128.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_PAIRS 4096
#define HOP_PAIRS   (SAMPLE_RATE_HZ / 10) // of the gate's blocks, which overlap by 75 %
#define FLUSH_PAIRS 64                    // more than the interpolation's delay
#define SAMPLE_MAX  1e6f

struct loudness_meter {
    ebur128_state *state;
    float block[2 * BLOCK_PAIRS];
};

int loudness_meter_create(struct loudness_meter **ret)
{
    struct loudness_meter *m = calloc(1, sizeof *m);
    if (m)
        m->state = ebur128_init(2, SAMPLE_RATE_HZ, EBUR128_MODE_I | EBUR128_MODE_TRUE_PEAK);
    if (!m || !m->state) {
        free(m);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

void loudness_meter_destroy(struct loudness_meter **meter)
{
    struct loudness_meter *m = *meter;
    if (!m)
        return;
    *meter = NULL;
    ebur128_destroy(&m->state);
    free(m);
}

static int add_block(struct loudness_meter *m, int64_t count)
{
    return ebur128_add_frames_float(m->state, m->block, (size_t)count) ? -ENOMEM : 0;
}

int loudness_meter_add(struct loudness_meter *m, const float *pairs, int64_t count)
{
    int error = 0;
    for (int64_t done = 0, part; done < count && !error; done += part) {
        part = count - done < BLOCK_PAIRS ? count - done : BLOCK_PAIRS;
        // One infinity would stay in the filters for good.
        for (int64_t i = 0; i < 2 * part; i++) {
            float sample = pairs[2 * done + i];
            m->block[i] = sample > -SAMPLE_MAX && sample < SAMPLE_MAX ? sample : 0;
        }
        error = add_block(m, part);
    }
    return error;
}

// After a second the filters are at rest, and whole blocks of nothing are below the gate: only
// where the blocks stand has to be kept.
int loudness_meter_add_silence(struct loudness_meter *m, int64_t count)
{
    int error = 0;
    if (count > 2 * SAMPLE_RATE_HZ)
        count = SAMPLE_RATE_HZ + count % HOP_PAIRS;
    memset(m->block, 0, sizeof m->block);
    for (int64_t part; count > 0 && !error; count -= part) {
        part = count < BLOCK_PAIRS ? count : BLOCK_PAIRS;
        error = add_block(m, part);
    }
    return error;
}

static double rounded(double value)
{
    return value > LOUDNESS_NOTHING ? floor(value * 100 + 0.5) / 100 : -HUGE_VAL;
}

void loudness_meter_finish(struct loudness_meter *m, double *ret_lufs, double *ret_dbtp)
{
    double lufs = -HUGE_VAL, peak = 0;
    (void)ebur128_loudness_global(m->state, &lufs);   // fails in modes that are not ours
    (void)loudness_meter_add_silence(m, FLUSH_PAIRS); // at worst the last samples' peak is missed
    for (unsigned i = 0; i < 2; i++) {
        double channel = 0;
        (void)ebur128_true_peak(m->state, i, &channel);
        peak = channel > peak ? channel : peak;
    }
    *ret_lufs = rounded(lufs);
    *ret_dbtp = rounded(peak > 0 ? 20 * log10(peak) : -HUGE_VAL);
}
