#include "engine/frame/sound.h"

#include "engine/frame/checksum.h"

uint64_t sound_checksum(const int32_t *samples, int sample_count)
{
    return checksum_add(checksum_begin(), samples,
                        (size_t)sample_count * SOUND_CHANNELS * sizeof *samples);
}

void sound_add(int32_t *dst, const int32_t *src, int sample_count)
{
    for (int i = 0; i < sample_count * SOUND_CHANNELS; i++) {
        int64_t sum = (int64_t)dst[i] + src[i];
        dst[i] = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
    }
}

void sound_to_float(float *dst, const int32_t *src, int sample_count)
{
    for (int i = 0; i < sample_count * SOUND_CHANNELS; i++) {
        int32_t s = src[i];
        if (s > SOUND_FULL_SCALE)
            s = SOUND_FULL_SCALE;
        if (s < -SOUND_FULL_SCALE)
            s = -SOUND_FULL_SCALE;
        dst[i] = (float)s * (1.0f / SOUND_FULL_SCALE);
    }
}
