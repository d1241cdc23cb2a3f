// AVX-512 kernels (F, BW, VL), 64 luma samples at a time; the end of a row is done under a mask.
// D(x) = (x + 127) / 255 is mulhi(x + 128, 257) for every product of two bytes.
#include <immintrin.h>

#include "engine/compose/kernels.h"

static inline __m512i divided(__m512i product)
{
    return _mm512_mulhi_epu16(_mm512_add_epi16(product, _mm512_set1_epi16(128)),
                              _mm512_set1_epi16(257));
}

// D(a * b) of 64 bytes each. The unpacking stays within 128-bit lanes and packing undoes it.
static inline __m512i product(__m512i a, __m512i b)
{
    __m512i zero = _mm512_setzero_si512();
    __m512i low = _mm512_mullo_epi16(_mm512_unpacklo_epi8(a, zero), _mm512_unpacklo_epi8(b, zero));
    __m512i high = _mm512_mullo_epi16(_mm512_unpackhi_epi8(a, zero), _mm512_unpackhi_epi8(b, zero));
    return _mm512_packus_epi16(divided(low), divided(high));
}

static inline __m512i over(__m512i dst, __m512i colour, __m512i alpha)
{
    __m512i rest = _mm512_xor_si512(alpha, _mm512_set1_epi8(-1));
    return _mm512_add_epi8(_mm512_min_epu8(colour, alpha), product(dst, rest));
}

// Two half vectors, for Cb and Cr side by side.
static inline __m512i load_both(__mmask32 mask, const uint8_t *low, const uint8_t *high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_maskz_loadu_epi8(mask, low)),
                              _mm256_maskz_loadu_epi8(mask, high), 1);
}

static inline void store_both(uint8_t *low, uint8_t *high, __mmask32 mask, __m512i value)
{
    _mm256_mask_storeu_epi8(low, mask, _mm512_castsi512_si256(value));
    _mm256_mask_storeu_epi8(high, mask, _mm512_extracti64x4_epi64(value, 1));
}

// The rounded means of 2x2 alphas, in both halves.
static inline __m512i mean_alpha(__m512i a0, __m512i a1)
{
    __m512i one = _mm512_set1_epi8(1);
    __m512i sum = _mm512_add_epi16(_mm512_maddubs_epi16(a0, one), _mm512_maddubs_epi16(a1, one));
    sum = _mm512_srli_epi16(_mm512_add_epi16(sum, _mm512_set1_epi16(2)), 2);
    return _mm512_broadcast_i64x4(_mm512_cvtepi16_epi8(sum));
}

static inline __mmask64 mask_of(int count)
{
    return count >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
}

static inline void copy_rows(const struct over_rows *rows, int x, __mmask64 mask, __mmask32 half)
{
    for (int row = 0; row < 2; row++) {
        _mm512_mask_storeu_epi8(rows->dst_y[row] + x, mask,
                                _mm512_maskz_loadu_epi8(mask, rows->src_y[row] + x));
        if (rows->dst_a[row])
            _mm512_mask_storeu_epi8(rows->dst_a[row] + x, mask, _mm512_set1_epi8(-1));
    }
    store_both(rows->dst_cb + x / 2, rows->dst_cr + x / 2, half,
               load_both(half, rows->src_cb + x / 2, rows->src_cr + x / 2));
}

static inline __attribute__((always_inline)) void over_vector(const struct over_rows *rows, int x,
                                                              __mmask64 mask, int opacity)
{
    const __m512i factor = _mm512_set1_epi8((char)opacity);
    const __mmask32 half =
        mask == ~(__mmask64)0 ? ~(__mmask32)0 : (__mmask32)mask_of(__builtin_popcountll(mask) / 2);
    __m512i alpha[2] = {_mm512_maskz_loadu_epi8(mask, rows->src_a[0] + x),
                        _mm512_maskz_loadu_epi8(mask, rows->src_a[1] + x)};
    __m512i any = _mm512_or_si512(alpha[0], alpha[1]);
    if (!_mm512_test_epi8_mask(any, any))
        return;
    if (opacity == 255 && _mm512_cmpeq_epi8_mask(_mm512_and_si512(alpha[0], alpha[1]),
                                                 _mm512_set1_epi8(-1)) == mask) {
        copy_rows(rows, x, mask, half);
        return;
    }
    __m512i luma[2] = {_mm512_maskz_loadu_epi8(mask, rows->src_y[0] + x),
                       _mm512_maskz_loadu_epi8(mask, rows->src_y[1] + x)};
    __m512i chroma = load_both(half, rows->src_cb + x / 2, rows->src_cr + x / 2);
    if (opacity != 255) {
        for (int row = 0; row < 2; row++) {
            alpha[row] = product(alpha[row], factor);
            luma[row] = product(luma[row], factor);
        }
        chroma = product(chroma, factor);
    }
    for (int row = 0; row < 2; row++) {
        uint8_t *y = rows->dst_y[row] + x, *a = rows->dst_a[row];
        _mm512_mask_storeu_epi8(y, mask,
                                over(_mm512_maskz_loadu_epi8(mask, y), luma[row], alpha[row]));
        if (a)
            _mm512_mask_storeu_epi8(
                a + x, mask, over(_mm512_maskz_loadu_epi8(mask, a + x), alpha[row], alpha[row]));
    }
    uint8_t *cb = rows->dst_cb + x / 2, *cr = rows->dst_cr + x / 2;
    store_both(cb, cr, half, over(load_both(half, cb, cr), chroma, mean_alpha(alpha[0], alpha[1])));
}

// Whole vectors, with the mask and the opacity known where this is inlined.
static inline __attribute__((always_inline)) int over_whole(const struct over_rows *given,
                                                            int width, int opacity)
{
    const struct over_rows rows = *given; // no store can change it: its pointers stay in registers
    int x = 0;
    for (; x + 64 <= width; x += 64)
        over_vector(&rows, x, ~(__mmask64)0, opacity);
    return x;
}

static void over_rows(const struct over_rows *rows, int width, int opacity)
{
    int x = opacity == 255 ? over_whole(rows, width, 255) : over_whole(rows, width, opacity);
    if (x < width)
        over_vector(rows, x, mask_of(width - x), opacity);
}

static inline __attribute__((always_inline)) void
lerp_vector(uint8_t *dst, const uint8_t *src, __mmask64 mask, __m512i factor, __m512i rest)
{
    __m512i from = _mm512_maskz_loadu_epi8(mask, src), to = _mm512_maskz_loadu_epi8(mask, dst);
    _mm512_mask_storeu_epi8(dst, mask, _mm512_add_epi8(product(from, factor), product(to, rest)));
}

static void lerp_row(uint8_t *dst, const uint8_t *src, int count, int opacity)
{
    const __m512i factor = _mm512_set1_epi8((char)opacity);
    const __m512i rest = _mm512_set1_epi8((char)(255 - opacity));
    int x = 0;
    for (; x + 64 <= count; x += 64)
        lerp_vector(dst + x, src + x, ~(__mmask64)0, factor, rest);
    if (x < count)
        lerp_vector(dst + x, src + x, mask_of(count - x), factor, rest);
}

static inline __attribute__((always_inline)) void
weigh_vector(uint8_t *dst, const uint8_t *src, __mmask64 mask, __m512i factor, __m512i by)
{
    __m512i from = product(_mm512_maskz_loadu_epi8(mask, src), factor);
    __m512i to = _mm512_maskz_loadu_epi8(mask, dst);
    _mm512_mask_storeu_epi8(dst, mask, _mm512_adds_epu8(to, product(from, by)));
}

static void weigh_row(uint8_t *dst, const uint8_t *src, int count, int opacity, int weight)
{
    const __m512i factor = _mm512_set1_epi8((char)opacity), by = _mm512_set1_epi8((char)weight);
    int x = 0;
    for (; x + 64 <= count; x += 64)
        weigh_vector(dst + x, src + x, ~(__mmask64)0, factor, by);
    if (x < count)
        weigh_vector(dst + x, src + x, mask_of(count - x), factor, by);
}

const struct kernels kernels_avx512 = {
    .name = "avx512",
    .over_rows = over_rows,
    .lerp_row = lerp_row,
    .weigh_row = weigh_row,
    .mode_rows = mode_rows_avx2,
    .scale_rows = scale_rows_avx2,
    .scale_columns = scale_columns_avx2,
};
