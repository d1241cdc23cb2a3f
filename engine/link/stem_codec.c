// Layout of a coded stem: first the left channel, then the right one. Per channel u8 coding: 0
// silence; 1 runs; 2 (right only) the same as left. Runs are of 64 samples, the last may be
// shorter:
//   u8 head: bits 0..5 number of bit planes (0..32), bits 6..7 order of difference (0..2)
//   then per bit plane, lowest first, (samples + 7) / 8 bytes
// Differences are modulo 2^32 and zig-zagged; before the first sample stand zeros.
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frame/sound.h"
#include "engine/link/tile_codec.h"

#define RUN    64
#define ORDERS 3

enum stem_coding { STEM_SILENCE, STEM_RUNS, STEM_AS_LEFT };

// The two samples before a run.
struct history {
    uint32_t last, before;
};

static uint32_t predict(int order, struct history h)
{
    return order == 0 ? 0 : order == 1 ? h.last : 2 * h.last - h.before;
}

static uint32_t zigzag(uint32_t residual)
{
    return residual << 1 ^ (0 - (residual >> 31));
}

static uint32_t unzigzag(uint32_t z)
{
    return z >> 1 ^ (0 - (z & 1));
}

static struct history history_next(struct history h, uint32_t sample)
{
    return (struct history){.last = sample, .before = h.last};
}

static size_t run_encode(uint8_t *out, const int32_t *samples, int count, struct history *history)
{
    uint32_t z[ORDERS][RUN];
    struct history h = *history;
    int best = 0, best_bits = 33;
    uint32_t any[ORDERS] = {0};
    for (int i = 0; i < count; i++) {
        uint32_t sample = (uint32_t)samples[i * SOUND_CHANNELS];
        for (int order = 0; order < ORDERS; order++) {
            z[order][i] = zigzag(sample - predict(order, h));
            any[order] |= z[order][i];
        }
        h = history_next(h, sample);
    }
    *history = h;
    for (int order = 0; order < ORDERS; order++) {
        int bits = any[order] ? 32 - __builtin_clz(any[order]) : 0;
        if (bits < best_bits) {
            best = order;
            best_bits = bits;
        }
    }
    size_t bytes = (size_t)(count + 7) / 8;
    *out++ = (uint8_t)(best_bits | best << 6);
    for (int bit = 0; bit < best_bits; bit++, out += bytes) {
        uint64_t word = 0;
        for (int i = 0; i < count; i++)
            word |= (uint64_t)(z[best][i] >> bit & 1) << i;
        for (size_t i = 0; i < bytes; i++)
            out[i] = (uint8_t)(word >> 8 * i);
    }
    return 1 + bytes * (size_t)best_bits;
}

static size_t channel_encode(uint8_t *out, const int32_t *samples, int count, int channel)
{
    bool silent = true, as_left = channel == 1;
    for (int i = 0; i < count && (silent || as_left); i++) {
        silent = silent && samples[i * SOUND_CHANNELS] == 0;
        as_left = as_left && samples[i * SOUND_CHANNELS] == samples[i * SOUND_CHANNELS - 1];
    }
    out[0] = silent ? STEM_SILENCE : as_left ? STEM_AS_LEFT : STEM_RUNS;
    size_t size = 1;
    struct history history = {0};
    for (int i = 0; i < count && out[0] == STEM_RUNS; i += RUN)
        size += run_encode(out + size, samples + (ptrdiff_t)i * SOUND_CHANNELS,
                           count - i < RUN ? count - i : RUN, &history);
    return size;
}

int stem_encode(const int32_t *samples, int sample_count, uint8_t **ret, size_t *ret_size)
{
    size_t runs = ((size_t)sample_count + RUN - 1) / RUN;
    uint8_t *out = malloc(SOUND_CHANNELS * (1 + runs * (1 + RUN / 8 * 32)));
    if (!out)
        return -ENOMEM;
    size_t size = 0;
    for (int channel = 0; channel < SOUND_CHANNELS; channel++)
        size += channel_encode(out + size, samples + channel, sample_count, channel);
    *ret = out;
    *ret_size = size;
    return 0;
}

// Returns the bytes used, 0 if they are not a run.
static size_t run_decode(const uint8_t *in, size_t size, int32_t *samples, int count,
                         struct history *history)
{
    if (size == 0)
        return 0;
    int bits = in[0] & 63, order = in[0] >> 6;
    size_t bytes = (size_t)(count + 7) / 8;
    if (bits > 32 || order == ORDERS || bytes * (size_t)bits > size - 1)
        return 0;
    uint32_t z[RUN] = {0};
    for (int bit = 0; bit < bits; bit++) {
        const uint8_t *plane = in + 1 + bytes * (size_t)bit;
        for (int i = 0; i < count; i++)
            z[i] |= (uint32_t)(plane[i / 8] >> i % 8 & 1) << bit;
    }
    for (int i = 0; i < count; i++) {
        uint32_t sample = predict(order, *history) + unzigzag(z[i]);
        samples[i * SOUND_CHANNELS] = (int32_t)sample;
        *history = history_next(*history, sample);
    }
    return 1 + bytes * (size_t)bits;
}

static size_t channel_decode(const uint8_t *in, size_t size, int32_t *samples, int count,
                             int channel)
{
    if (size == 0 || in[0] > STEM_AS_LEFT || (in[0] == STEM_AS_LEFT && channel == 0))
        return 0;
    size_t used = 1;
    if (in[0] != STEM_RUNS) {
        for (int i = 0; i < count; i++)
            samples[i * SOUND_CHANNELS] =
                in[0] == STEM_SILENCE ? 0 : samples[i * SOUND_CHANNELS - 1];
        return used;
    }
    struct history history = {0};
    for (int i = 0; i < count; i += RUN) {
        size_t n = run_decode(in + used, size - used, samples + (ptrdiff_t)i * SOUND_CHANNELS,
                              count - i < RUN ? count - i : RUN, &history);
        if (!n)
            return 0;
        used += n;
    }
    return used;
}

int stem_decode(const uint8_t *bytes, size_t size, int32_t *samples, int sample_count)
{
    size_t used = 0;
    for (int channel = 0; channel < SOUND_CHANNELS; channel++) {
        size_t n =
            channel_decode(bytes + used, size - used, samples + channel, sample_count, channel);
        if (!n)
            return -EPROTO;
        used += n;
    }
    return used == size ? 0 : -EPROTO;
}
