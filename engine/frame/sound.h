// Sound that travels between stages: 48 kHz stereo, interleaved left right, as integers.
//
// A stem is a sum of layers. Integer addition is associative, so a sum has the same bits wherever
// the z-order is cut; float addition would not. Layers are processed in float and quantised once:
// sample = round(x * 2^23), clamped to +-2^26 (8 times full scale); sums stay within int32 for 31
// layers at that limit and are clamped by the mixer's 64-bit accumulation beyond.
#pragma once

#include <stdint.h>

#define SOUND_CHANNELS   2
#define SOUND_FULL_SCALE (1 << 23)
#define SOUND_LIMIT      (1 << 26)
// Most samples that one frame can have (1 frame a second).
#define SOUND_FRAME_MAX SAMPLE_RATE_HZ

uint64_t sound_checksum(const int32_t *samples, int sample_count); // counts are per channel
// dst += src, saturating at the int32 range.
void sound_add(int32_t *dst, const int32_t *src, int sample_count);
// The programme bus: int32 stem sum -> float -1..1, clipped at full scale.
void sound_to_float(float *dst, const int32_t *src, int sample_count);
