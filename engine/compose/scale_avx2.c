// AVX2 kernels of the scaler. Sums are of integers, so their order does not matter.
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "engine/compose/kernels.h"

static inline __m256i load_32(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline __m256i sum_pairs(__m256i sum, __m256i samples, __m256i weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(samples, weights));
}

// 32 samples. Unpacking stays within 128-bit lanes: sums[0] has samples 0-3 and 16-19, and so on.
static inline void scale_rows_32(int16_t *dst, const uint8_t *const *rows, const int16_t *weights,
                                 int taps, int x)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums[4];
    for (int i = 0; i < 4; i++)
        sums[i] = _mm256_set1_epi32(128);
    for (int tap = 0; tap < taps; tap += 2) {
        bool pair = tap + 1 < taps;
        int32_t two = (uint16_t)weights[tap];
        if (pair)
            memcpy(&two, weights + tap, sizeof two);
        __m256i by = _mm256_set1_epi32(two), a = load_32(rows[tap] + x);
        __m256i b = pair ? load_32(rows[tap + 1] + x) : zero;
        __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
        sums[0] = sum_pairs(sums[0], _mm256_unpacklo_epi8(low, zero), by);
        sums[1] = sum_pairs(sums[1], _mm256_unpackhi_epi8(low, zero), by);
        sums[2] = sum_pairs(sums[2], _mm256_unpacklo_epi8(high, zero), by);
        sums[3] = sum_pairs(sums[3], _mm256_unpackhi_epi8(high, zero), by);
    }
    for (int i = 0; i < 4; i++)
        sums[i] = _mm256_srai_epi32(sums[i], 8);
    __m256i first = _mm256_packs_epi32(sums[0], sums[1]); // samples 0-7 and 16-23
    __m256i second = _mm256_packs_epi32(sums[2], sums[3]);
    _mm256_storeu_si256((__m256i *)(void *)(dst + x),
                        _mm256_permute2x128_si256(first, second, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(dst + x + 16),
                        _mm256_permute2x128_si256(first, second, 0x31));
}

void scale_rows_avx2(int16_t *dst, const uint8_t *const *rows, const int16_t *weights, int taps,
                     int count)
{
    int x = 0;
    for (; x + 32 <= count; x += 32)
        scale_rows_32(dst, rows, weights, taps, x);
    if (x < count && count >= 32)
        scale_rows_32(dst, rows, weights, taps, count - 32); // some of them once more
    else
        scale_rows_c(dst, rows, weights, taps, x, count);
}

static inline __m128i load_quad(const int16_t *at)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)at);
}

// Four outputs: eight sums, two neighbouring ones for each output.
static inline __m256i sum_four(const int16_t *row, const int32_t *start, const int16_t *weights,
                               int quads)
{
    const int16_t *a = row + start[0], *b = row + start[1];
    const int16_t *c = row + start[2], *d = row + start[3];
    __m256i sum = _mm256_setzero_si256();
    for (int q = 0; q < quads; q++) {
        __m128i low = _mm_unpacklo_epi64(load_quad(a + 4 * q), load_quad(b + 4 * q));
        __m128i high = _mm_unpacklo_epi64(load_quad(c + 4 * q), load_quad(d + 4 * q));
        __m256i samples = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
        __m256i by = _mm256_loadu_si256((const __m256i *)(const void *)(weights + 16 * q));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(samples, by));
    }
    return sum;
}

void scale_columns_avx2(uint8_t *dst, const int16_t *row, const int32_t *start,
                        const int16_t *weights, int quads, int count)
{
    for (int i = 0; i < count; i += 8, start += 8, weights += 2 * 16 * quads) {
        __m256i first = sum_four(row, start, weights, quads);
        __m256i second = sum_four(row, start + 4, weights + 16 * quads, quads);
        __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0xd8);
        sums = _mm256_srai_epi32(_mm256_add_epi32(sums, _mm256_set1_epi32(1 << 19)), 20);
        __m128i words =
            _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        int64_t bytes = _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
        memcpy(dst + i, &bytes, count - i < 8 ? (size_t)(count - i) : 8);
    }
}
