// AVX2 multiply, screen and add: 8 pixels of two rows at a time, in 32-bit lanes, over opaque
// backdrops; blend_modes.c has the formulas and does the rest.
//
// Divisions by alpha are done in floats: numerators below 2^17 over divisors of at most 255 are at
// least 1/255 away from the integer above, far more than a rounding, so truncation is exact.
#include <immintrin.h>
#include <string.h>

#include "engine/compose/blend_modes.h"

#define EACH(v) _mm256_set1_epi32(v)

struct colours {
    __m256i red, green, blue;
};

// Bytes to 32-bit lanes: eight, and four of which each fills two lanes.
static inline __m256i load_8(const uint8_t *at)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)at));
}

static inline __m256i load_4_twice(const uint8_t *at)
{
    int32_t four;
    memcpy(&four, at, sizeof four);
    __m128i bytes = _mm_cvtsi32_si128(four);
    return _mm256_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes));
}

// Products of numbers that fit in 16 bits, one of them not negative.
static inline __m256i times(__m256i a, __m256i b)
{
    return _mm256_madd_epi16(a, b);
}

static inline __m256i divided(__m256i x)
{
    x = _mm256_add_epi32(x, EACH(128));
    return _mm256_srli_epi32(_mm256_add_epi32(x, _mm256_srli_epi32(x, 8)), 8);
}

static inline __m256i straight(__m256i colour, __m256i alpha, int if_empty)
{
    __m256i above = _mm256_add_epi32(times(colour, EACH(255)), _mm256_srli_epi32(alpha, 1));
    __m256 quotient = _mm256_div_ps(_mm256_cvtepi32_ps(above), _mm256_cvtepi32_ps(alpha));
    __m256i empty = _mm256_cmpeq_epi32(alpha, _mm256_setzero_si256());
    __m256i result = _mm256_min_epi32(_mm256_cvttps_epi32(quotient), EACH(255));
    return _mm256_blendv_epi8(result, EACH(if_empty), empty);
}

static inline __m256i to_byte(__m256i v)
{
    v = _mm256_srai_epi32(v, 14);
    return _mm256_min_epi32(_mm256_max_epi32(v, _mm256_setzero_si256()), EACH(255));
}

static inline struct colours to_rgb(__m256i y, __m256i cb, __m256i cr)
{
    y = _mm256_mullo_epi32(_mm256_sub_epi32(y, EACH(16)), EACH(RGB_FROM_Y));
    y = _mm256_add_epi32(y, EACH(1 << 13));
    cb = _mm256_sub_epi32(cb, EACH(128));
    cr = _mm256_sub_epi32(cr, EACH(128));
    __m256i green = _mm256_add_epi32(_mm256_mullo_epi32(cb, EACH(GREEN_FROM_CB)),
                                     _mm256_mullo_epi32(cr, EACH(GREEN_FROM_CR)));
    return (struct colours){
        .red = to_byte(_mm256_add_epi32(y, _mm256_mullo_epi32(cr, EACH(RED_FROM_CR)))),
        .green = to_byte(_mm256_add_epi32(y, green)),
        .blue = to_byte(_mm256_add_epi32(y, _mm256_mullo_epi32(cb, EACH(BLUE_FROM_CB)))),
    };
}

// weight * (B(b, s) - b)
static inline __m256i delta(enum blend_mode mode, __m256i b, __m256i s, __m256i weight)
{
    __m256i sum = _mm256_add_epi32(b, s), result;
    if (mode == BLEND_ADD) {
        result = _mm256_min_epi32(sum, EACH(255));
    } else {
        __m256i product = divided(times(b, s));
        result = mode == BLEND_MULTIPLY ? product : _mm256_sub_epi32(sum, product);
    }
    return times(weight, _mm256_sub_epi32(result, b));
}

static inline __m256i rounded(__m256i v)
{
    return _mm256_srai_epi32(_mm256_add_epi32(v, EACH(1 << (DELTA_SHIFT - 1))), DELTA_SHIFT);
}

static inline __m256i weighted(struct colours c, int red, int green, int blue)
{
    __m256i sum = _mm256_add_epi32(_mm256_mullo_epi32(c.red, EACH(red)),
                                   _mm256_mullo_epi32(c.green, EACH(green)));
    return rounded(_mm256_add_epi32(sum, _mm256_mullo_epi32(c.blue, EACH(blue))));
}

// Sums of neighbouring lanes, in both.
static inline __m256i pairs(__m256i v)
{
    return _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0xb1));
}

// Eight lanes to bytes, saturated.
static inline __m128i to_bytes(__m256i v)
{
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_packus_epi16(words, words);
}

static inline void store_8(uint8_t *at, __m256i v)
{
    _mm_storel_epi64((__m128i *)(void *)at, to_bytes(v));
}

// The even lanes.
static inline void store_4(uint8_t *at, __m256i v)
{
    __m128i bytes = to_bytes(v);
    bytes = _mm_shuffle_epi8(
        bytes, _mm_setr_epi8(0, 2, 4, 6, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    int32_t four = _mm_cvtsi128_si32(bytes);
    memcpy(at, &four, sizeof four);
}

static inline __m256i source(const uint8_t *at, bool chroma, __m256i factor, __m256i alpha)
{
    __m256i v = chroma ? load_4_twice(at) : load_8(at);
    return _mm256_min_epi32(divided(times(v, factor)), alpha);
}

static inline void blend_8(const struct over_rows *rows, int x, int opacity, enum blend_mode mode)
{
    const __m256i factor = EACH(opacity);
    __m256i alpha[2];
    for (int i = 0; i < 2; i++)
        alpha[i] = divided(times(rows->src_a[i] ? load_8(rows->src_a[i] + x) : EACH(255), factor));
    __m256i mean = pairs(_mm256_add_epi32(alpha[0], alpha[1]));
    mean = _mm256_srli_epi32(_mm256_add_epi32(mean, EACH(2)), 2);
    __m256i cb = straight(source(rows->src_cb + x / 2, true, factor, mean), mean, 128);
    __m256i cr = straight(source(rows->src_cr + x / 2, true, factor, mean), mean, 128);
    __m256i dst_cb = load_4_twice(rows->dst_cb + x / 2);
    __m256i dst_cr = load_4_twice(rows->dst_cr + x / 2);
    struct colours sum = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int i = 0; i < 2; i++) {
        __m256i luma = source(rows->src_y[i] + x, false, factor, alpha[i]);
        __m256i dst_y = load_8(rows->dst_y[i] + x);
        struct colours s = to_rgb(straight(luma, alpha[i], 16), cb, cr);
        struct colours b = to_rgb(dst_y, dst_cb, dst_cr);
        struct colours d = {
            .red = delta(mode, b.red, s.red, alpha[i]),
            .green = delta(mode, b.green, s.green, alpha[i]),
            .blue = delta(mode, b.blue, s.blue, alpha[i]),
        };
        dst_y = _mm256_add_epi32(
            dst_y, weighted(d, DELTA_Y_FROM_RED, DELTA_Y_FROM_GREEN, DELTA_Y_FROM_BLUE));
        store_8(rows->dst_y[i] + x, dst_y);
        sum.red = _mm256_add_epi32(sum.red, d.red);
        sum.green = _mm256_add_epi32(sum.green, d.green);
        sum.blue = _mm256_add_epi32(sum.blue, d.blue);
    }
    sum = (struct colours){pairs(sum.red), pairs(sum.green), pairs(sum.blue)};
    __m256i to_cb = weighted(sum, DELTA_CB_FROM_RED, DELTA_CB_FROM_GREEN, DELTA_CB_FROM_BLUE);
    __m256i to_cr = weighted(sum, DELTA_CR_FROM_RED, DELTA_CR_FROM_GREEN, DELTA_CR_FROM_BLUE);
    store_4(rows->dst_cb + x / 2, _mm256_add_epi32(dst_cb, to_cb));
    store_4(rows->dst_cr + x / 2, _mm256_add_epi32(dst_cr, to_cr));
}

static inline uint64_t load_64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

void mode_rows_avx2(const struct over_rows *rows, int width, int opacity, enum blend_mode mode)
{
    int x = 0;
    for (; x + 8 <= width; x += 8) {
        if (rows->src_a[0] && !(load_64(rows->src_a[0] + x) | load_64(rows->src_a[1] + x)))
            continue;
        if (rows->dst_a[0] &&
            (load_64(rows->dst_a[0] + x) & load_64(rows->dst_a[1] + x)) != UINT64_MAX)
            mode_rows_c(rows, x, x + 8, opacity, mode);
        else
            blend_8(rows, x, opacity, mode);
    }
    mode_rows_c(rows, x, width, opacity, mode);
}
