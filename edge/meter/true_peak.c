#include "edge/meter/true_peak.h"

#include <math.h>
#include <string.h>

#define PHASES 4
#define TAPS   TRUE_PEAK_TAPS
#define BLOCK  64 // samples; loops of a length that the compiler knows become vectors

static const float filter[PHASES][TAPS] = {
    {0.0017089843750F, 0.0109863281250F, -0.0196533203125F, 0.0332031250000F, -0.0594482421875F,
     0.1373291015625F, 0.9721679687500F, -0.1022949218750F, 0.0476074218750F, -0.0266113281250F,
     0.0148925781250F, -0.0083007812500F},
    {-0.0291748046875F, 0.0292968750000F, -0.0517578125000F, 0.0891113281250F, -0.1665039062500F,
     0.4650878906250F, 0.7797851562500F, -0.2003173828125F, 0.1015625000000F, -0.0582275390625F,
     0.0330810546875F, -0.0189208984375F},
    {-0.0189208984375F, 0.0330810546875F, -0.0582275390625F, 0.1015625000000F, -0.2003173828125F,
     0.7797851562500F, 0.4650878906250F, -0.1665039062500F, 0.0891113281250F, -0.0517578125000F,
     0.0292968750000F, -0.0291748046875F},
    {-0.0083007812500F, 0.0148925781250F, -0.0266113281250F, 0.0476074218750F, -0.1022949218750F,
     0.9721679687500F, 0.1373291015625F, -0.0594482421875F, 0.0332031250000F, -0.0196533203125F,
     0.0109863281250F, 0.0017089843750F},
};

static inline void raise_all(float highest[BLOCK], const float values[BLOCK])
{
    for (int i = 0; i < BLOCK; i++) {
        float level = fabsf(values[i]);
        highest[i] = highest[i] > level ? highest[i] : level;
    }
}

static float highest_of(const float values[BLOCK], float highest)
{
    for (int i = 0; i < BLOCK; i++)
        highest = fmaxf(highest, values[i]);
    return highest;
}

// `samples` has TAPS - 1 earlier ones before the block.
static void add_block(const float samples[TAPS - 1 + BLOCK], float highest[BLOCK])
{
    for (int phase = 0; phase < PHASES; phase++) {
        float between[BLOCK] = {0};
        for (int k = 0; k < TAPS; k++)
            for (int i = 0; i < BLOCK; i++)
                between[i] += filter[phase][k] * samples[TAPS - 1 - k + i];
        raise_all(highest, between);
    }
}

void true_peak_add(struct true_peak *t, const float *samples, int sample_count,
                   float peak[SOUND_CHANNELS], float true_peak[SOUND_CHANNELS])
{
    for (int c = 0; c < SOUND_CHANNELS; c++) {
        float block[TAPS - 1 + BLOCK], at[BLOCK] = {0}, between[BLOCK] = {0};
        memcpy(block, t->before[c], sizeof t->before[c]);
        for (int done = 0; done < sample_count; done += BLOCK) {
            int count = sample_count - done < BLOCK ? sample_count - done : BLOCK;
            memset(block + TAPS - 1, 0, BLOCK * sizeof *block);
            for (int i = 0; i < count; i++)
                block[TAPS - 1 + i] = samples[SOUND_CHANNELS * (done + i) + c];
            raise_all(at, block + TAPS - 1);
            if (count == BLOCK) {
                add_block(block, between);
            } else { // behind the last sample nothing is known yet
                float part[BLOCK] = {0};
                add_block(block, part);
                memset(part + count, 0, (size_t)(BLOCK - count) * sizeof *part);
                raise_all(between, part);
            }
            memmove(block, block + count, (TAPS - 1) * sizeof *block);
        }
        memcpy(t->before[c], block, sizeof t->before[c]);
        peak[c] = highest_of(at, peak[c]);
        true_peak[c] = fmaxf(highest_of(between, true_peak[c]), peak[c]);
    }
}
