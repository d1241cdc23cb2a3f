// The highest level between samples: four times as many by the filter of ITU-R BS.1770-4, Annex 2
// (order 48, four phases). libebur128 finds the same in eight times the time.
// Thread: one.
#pragma once

#include "engine/frame/sound.h"

#define TRUE_PEAK_TAPS 12

// All zero: silence before the first sample.
struct true_peak {
    float before[SOUND_CHANNELS][TRUE_PEAK_TAPS - 1]; // the newest samples, oldest first
};

// Raises `peak` (the samples themselves) and `true_peak` of each channel to what the next samples
// have; interleaved, 1 is full scale. The filter looks back: a peak is found 6 samples later.
void true_peak_add(struct true_peak *state, const float *samples, int sample_count,
                   float peak[SOUND_CHANNELS], float true_peak[SOUND_CHANNELS]);
