// AVX2 kernels, 32 luma samples at a time. D(x) = (x + 127) / 255 is mulhi(x + 128, 257) for every
// product of two bytes.
#include <immintrin.h>
#include <string.h>

#include "engine/compose/kernels.h"

static inline __m256i divided(__m256i product)
{
    return _mm256_mulhi_epu16(_mm256_add_epi16(product, _mm256_set1_epi16(128)),
                              _mm256_set1_epi16(257));
}

// D(a * b) of 32 bytes each. The unpacking stays within 128-bit lanes and packing undoes it.
static inline __m256i product(__m256i a, __m256i b)
{
    __m256i zero = _mm256_setzero_si256();
    __m256i low = _mm256_mullo_epi16(_mm256_unpacklo_epi8(a, zero), _mm256_unpacklo_epi8(b, zero));
    __m256i high = _mm256_mullo_epi16(_mm256_unpackhi_epi8(a, zero), _mm256_unpackhi_epi8(b, zero));
    return _mm256_packus_epi16(divided(low), divided(high));
}

static inline __m256i load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline void store(uint8_t *at, __m256i value)
{
    _mm256_storeu_si256((__m256i *)(void *)at, value);
}

// Two half vectors, for Cb and Cr side by side.
static inline __m256i load_both(const uint8_t *low, const uint8_t *high)
{
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
        _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

static inline __m256i over(__m256i dst, __m256i colour, __m256i alpha)
{
    __m256i rest = _mm256_xor_si256(alpha, _mm256_set1_epi8(-1));
    return _mm256_add_epi8(_mm256_min_epu8(colour, alpha), product(dst, rest));
}

// The rounded means of 2x2 alphas, in both lanes.
static inline __m256i mean_alpha(__m256i a0, __m256i a1)
{
    __m256i one = _mm256_set1_epi8(1);
    __m256i sum = _mm256_add_epi16(_mm256_maddubs_epi16(a0, one), _mm256_maddubs_epi16(a1, one));
    sum = _mm256_srli_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16(2)), 2);
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(sum, sum), 0x88);
}

static inline void copy_rows(const struct over_rows *rows, int x)
{
    for (int row = 0; row < 2; row++) {
        store(rows->dst_y[row] + x, load(rows->src_y[row] + x));
        if (rows->dst_a[row])
            store(rows->dst_a[row] + x, _mm256_set1_epi8(-1));
    }
    memcpy(rows->dst_cb + x / 2, rows->src_cb + x / 2, 16);
    memcpy(rows->dst_cr + x / 2, rows->src_cr + x / 2, 16);
}

static void over_rows(const struct over_rows *rows, int width, int opacity)
{
    const __m256i full = _mm256_set1_epi8(-1), factor = _mm256_set1_epi8((char)opacity);
    int x = 0;
    for (; x + 32 <= width; x += 32) {
        __m256i alpha[2] = {load(rows->src_a[0] + x), load(rows->src_a[1] + x)};
        __m256i any = _mm256_or_si256(alpha[0], alpha[1]);
        if (_mm256_testz_si256(any, any))
            continue;
        if (opacity == 255 && _mm256_testc_si256(_mm256_and_si256(alpha[0], alpha[1]), full)) {
            copy_rows(rows, x);
            continue;
        }
        __m256i luma[2] = {load(rows->src_y[0] + x), load(rows->src_y[1] + x)};
        __m256i chroma = load_both(rows->src_cb + x / 2, rows->src_cr + x / 2);
        if (opacity != 255) {
            for (int row = 0; row < 2; row++) {
                alpha[row] = product(alpha[row], factor);
                luma[row] = product(luma[row], factor);
            }
            chroma = product(chroma, factor);
        }
        for (int row = 0; row < 2; row++) {
            store(rows->dst_y[row] + x, over(load(rows->dst_y[row] + x), luma[row], alpha[row]));
            if (rows->dst_a[row])
                store(rows->dst_a[row] + x,
                      over(load(rows->dst_a[row] + x), alpha[row], alpha[row]));
        }
        chroma = over(load_both(rows->dst_cb + x / 2, rows->dst_cr + x / 2), chroma,
                      mean_alpha(alpha[0], alpha[1]));
        _mm_storeu_si128((__m128i *)(void *)(rows->dst_cb + x / 2), _mm256_castsi256_si128(chroma));
        _mm_storeu_si128((__m128i *)(void *)(rows->dst_cr + x / 2),
                         _mm256_extracti128_si256(chroma, 1));
    }
    over_rows_c(rows, x, width, opacity);
}

static void lerp_row(uint8_t *dst, const uint8_t *src, int count, int opacity)
{
    const __m256i factor = _mm256_set1_epi8((char)opacity);
    const __m256i rest = _mm256_set1_epi8((char)(255 - opacity));
    int x = 0;
    for (; x + 32 <= count; x += 32)
        store(dst + x,
              _mm256_add_epi8(product(load(src + x), factor), product(load(dst + x), rest)));
    kernels_c.lerp_row(dst + x, src + x, count - x, opacity);
}

static void weigh_row(uint8_t *dst, const uint8_t *src, int count, int opacity, int weight)
{
    const __m256i factor = _mm256_set1_epi8((char)opacity), by = _mm256_set1_epi8((char)weight);
    int x = 0;
    for (; x + 32 <= count; x += 32)
        store(dst + x,
              _mm256_adds_epu8(load(dst + x), product(product(load(src + x), factor), by)));
    kernels_c.weigh_row(dst + x, src + x, count - x, opacity, weight);
}

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .over_rows = over_rows,
    .lerp_row = lerp_row,
    .weigh_row = weigh_row,
    .mode_rows = mode_rows_avx2,
    .scale_rows = scale_rows_avx2,
    .scale_columns = scale_columns_avx2,
};
