// The bits of runs (tile_kernels.h), for kernels of any level: each file that includes this
// compiles it for its processor. A mask has a bit per sample of a run, sample 0 in the lowest.
#pragma once

#include "engine/link/tile_kernels.h"

#include <stdbool.h>
#include <string.h>
#ifdef __BMI2__
#include <immintrin.h>
#endif

// The bits of `value` at the set places of `mask`, moved together; and back.
static inline uint64_t mask_compress(uint64_t value, uint64_t mask)
{
#ifdef __BMI2__
    return _pext_u64(value, mask);
#else
    uint64_t result = 0;
    for (int n = 0; mask; n++, mask &= mask - 1)
        result |= (value >> __builtin_ctzll(mask) & 1) << n;
    return result;
#endif
}

static inline uint64_t mask_expand(uint64_t value, uint64_t mask)
{
#ifdef __BMI2__
    return _pdep_u64(value, mask);
#else
    uint64_t result = 0;
    for (; mask; value >>= 1, mask &= mask - 1)
        result |= (value & 1) << __builtin_ctzll(mask);
    return result;
#endif
}

// The parameter for a run whose residuals sum to this.
static inline int run_parameter(int samples, int sum)
{
    int k = 0;
    if (!sum)
        return RUN_ZERO;
    while (k < RUN_K_MAX && sum > samples << (k + 1))
        k++;
    return k;
}

// ---- Writing ------------------------------------------------------------------------------------

#define SECOND_BYTES_MAX (PLANE_RUNS_MAX * RUN_BYTES_MAX + 8)

struct run_writer {
    uint8_t *first;         // the next byte of the first part
    uint8_t *second, *next; // the second part, and its next byte
    uint64_t word;          // bits not yet complete as a byte
    unsigned fill;          // fewer than 8
};

static inline void put_word(struct run_writer *w, uint64_t value, unsigned bits) // up to 56
{
    w->word |= value << w->fill;
    memcpy(w->next, &w->word, 8);
    w->fill += bits;
    w->next += w->fill / 8;
    w->word >>= w->fill / 8 * 8;
    w->fill %= 8;
}

static inline void put(struct run_writer *w, uint64_t value, unsigned bits)
{
    if (__builtin_expect(bits > 56, 0)) {
        put_word(w, value & UINT32_MAX, 32);
        value >>= 32;
        bits -= 32;
    }
    put_word(w, value, bits);
}

static inline __attribute__((always_inline)) uint64_t
put_level(struct run_writer *w, const void *z, uint64_t mask, int least,
          uint64_t (*greater)(const void *z, int threshold))
{
    uint64_t next = greater(z, least <= 255 ? least - 1 : 255);
    put(w, mask_compress(next, mask), (unsigned)__builtin_popcountll(mask));
    return next;
}

// `greater(z, t)`, of residuals greater than a t of at most 255, and `bit_of(z, bit)` give masks. A
// few planes and levels are made whether or not they are needed, which costs less than branches
// that nobody can foresee.
static inline __attribute__((always_inline)) void
run_write(struct run_writer *w, const void *z, int samples, int sum,
          uint64_t (*greater)(const void *z, int threshold),
          uint64_t (*bit_of)(const void *z, int bit))
{
    int k = run_parameter(samples, sum);
    size_t bytes = (size_t)(samples + 7) / 8;
    put_word(w, (uint64_t)k, 3);
    if (k == RUN_ZERO)
        return;
    for (int bit = 0; bit < 3 || bit < k; bit++) {
        uint64_t plane = bit_of(z, bit);
        memcpy(w->first + (size_t)bit * bytes, &plane, bytes);
    }
    uint64_t mask = greater(z, (1 << k) - 1);
    memcpy(w->first + (size_t)k * bytes, &mask, bytes);
    w->first += (size_t)(k + 1) * bytes;
#pragma GCC unroll 4
    for (int level = 2; level < 6; level++)
        mask = put_level(w, z, mask, level << k, greater);
    for (int level = 6; mask && level <= LEVELS; level++)
        mask = put_level(w, z, mask, level << k, greater);
    for (int bit = k; mask && bit < 8; bit++)
        put(w, mask_compress(bit_of(z, bit), mask), (unsigned)__builtin_popcountll(mask));
}

// `second`: SECOND_BYTES_MAX bytes that are nobody else's.
static inline struct run_writer writer_begin(uint8_t *out, uint8_t *second)
{
    return (struct run_writer){.first = out + 2, .second = second, .next = second};
}

static inline size_t writer_end(const struct run_writer *w, uint8_t *out, int predictor)
{
    size_t first = (size_t)(w->first - out) - 2;
    out[0] = (uint8_t)first;
    out[1] = (uint8_t)(first >> 8 | (size_t)predictor << 6);
    size_t second = (size_t)(w->next - w->second) + (w->fill > 0);
    if (w->fill)
        *w->next = (uint8_t)w->word;
    memcpy(w->first, w->second, second);
    return 2 + first + second;
}

// ---- Reading ------------------------------------------------------------------------------------

struct run_reader {
    int predictor;
    const uint8_t *first, *second; // the next byte; the second part, which begins where first ends
    size_t bytes, at; // of the second part: its size; the next bit, may be past its end
};

static inline uint64_t take(struct run_reader *r, int bits) // up to 64; past the end stand zeros
{
    size_t byte = r->at / 8, shift = r->at % 8;
    uint8_t near_end[9] = {0};
    const uint8_t *from = near_end;
    if (byte + 9 <= r->bytes)
        from = r->second + byte;
    else if (byte < r->bytes)
        memcpy(near_end, r->second + byte, r->bytes - byte);
    uint64_t value;
    memcpy(&value, from, 8);
    value >>= shift;
    if (shift)
        value |= (uint64_t)from[8] << (64 - shift);
    r->at += (size_t)bits;
    return bits == 64 ? value : value & ((UINT64_C(1) << bits) - 1);
}

// Adds up the residuals in `z`, which are 0 before: `add(z, mask, value)` adds modulo 256. Whether
// the first part was long enough.
static inline __attribute__((always_inline)) bool
run_read(struct run_reader *r, void *z, int samples, void (*add)(void *z, uint64_t mask, int value))
{
    size_t bytes = (size_t)(samples + 7) / 8;
    int k = (int)take(r, 3);
    if (k == RUN_ZERO)
        return true;
    if ((size_t)(r->second - r->first) < (size_t)(k + 1) * bytes)
        return false;
    uint64_t mask = 0, all = samples == 64 ? UINT64_MAX : (UINT64_C(1) << samples) - 1;
    for (int bit = 0; bit <= k; bit++, r->first += bytes) {
        memcpy(&mask, r->first, bytes);
        mask &= all;
        add(z, mask, 1 << bit);
    }
    for (int level = 2; mask && level <= LEVELS; level++) {
        mask = mask_expand(take(r, __builtin_popcountll(mask)), mask);
        add(z, mask, 1 << k);
    }
    if (mask)
        add(z, mask, -(LEVELS << k));
    for (int bit = k; mask && bit < 8; bit++)
        add(z, mask_expand(take(r, __builtin_popcountll(mask)), mask), 1 << bit);
    return true;
}

static inline bool reader_begin(struct run_reader *r, const uint8_t *in, size_t size)
{
    size_t first = size < 2 ? size : (size_t)in[0] | (size_t)(in[1] & 63) << 8;
    if (size < 2 || first > size - 2)
        return false;
    *r = (struct run_reader){in[1] >> 6, in + 2, in + 2 + first, size - 2 - first, 0};
    return true;
}

// The bytes used of the plane that began at `in`, or 0 where its parts do not end where they
// should.
static inline size_t reader_end(const struct run_reader *r, const uint8_t *in)
{
    size_t second = (r->at + 7) / 8;
    if (r->first != r->second || second > r->bytes)
        return 0;
    return (size_t)(r->second - in) + second;
}
