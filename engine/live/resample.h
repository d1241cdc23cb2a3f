// Sound of any rate at exact positions, in integers: the same bits on every processor, and a
// sample's value depends on its position and on the source's samples around it, on nothing before.
// So what is read piece by piece, from wherever one began, has no seams.
//
// A windowed sinc (Kaiser, beta 8) of 64 taps, more where the source is above 48 kHz; 512 phases,
// linear in between. For 48 kHz: flat within 0.1 dB to 19 kHz, images below -80 dB. Samples are
// those of engine/frame/sound.h, stereo.
// Thread: any; constant after create.
#pragma once

#include <stdint.h>

struct resampler;
struct resampler *resampler_create(int rate); // 8000 to 384000; NULL without memory
void resampler_destroy(struct resampler **resampler);
// Output at position p needs source samples [floor(p) - reach + 1, floor(p) + reach].
int resampler_reach(const struct resampler *resampler);
// `position`: in 1/2^32 samples; `pairs`: of source samples from `first` on.
void resampler_sample(const struct resampler *resampler, __int128 position, const int32_t *pairs,
                      int64_t first, int32_t ret[2]);
