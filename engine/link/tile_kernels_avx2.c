// AVX2: full runs of 64 samples, either one row of 64 or two rows of 32, as two vectors. Planes of
// other widths go through C.
#include <immintrin.h>
#include <string.h>

#include "engine/link/tile_kernels.h"

struct pair {
    __m256i v[2];
};

static inline __m256i load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline void store(uint8_t *at, __m256i value)
{
    _mm256_storeu_si256((__m256i *)(void *)at, value);
}

// Moves all 32 bytes one place up; `first` (in byte 0, else zero) comes in.
static inline __m256i shifted(__m256i value, __m256i first)
{
    __m256i low = _mm256_permute2x128_si256(value, value, 0x08); // zero, low half
    return _mm256_or_si256(_mm256_alignr_epi8(value, low, 15), first);
}

static inline __m256i first_byte(int value)
{
    return _mm256_zextsi128_si256(_mm_cvtsi32_si128(value & 255));
}

static inline __m256i zigzag(__m256i residual)
{
    __m256i negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), residual);
    return _mm256_xor_si256(_mm256_add_epi8(residual, residual), negative);
}

static inline __m256i unzigzag(__m256i z)
{
    __m256i half = _mm256_and_si256(_mm256_srli_epi16(z, 1), _mm256_set1_epi8(127));
    __m256i odd = _mm256_and_si256(z, _mm256_set1_epi8(1));
    return _mm256_xor_si256(half, _mm256_sub_epi8(_mm256_setzero_si256(), odd));
}

static inline int bits_needed(const struct pair *z)
{
    __m256i any = _mm256_or_si256(z->v[0], z->v[1]);
    __m128i half = _mm_or_si128(_mm256_castsi256_si128(any), _mm256_extracti128_si256(any, 1));
    uint64_t word = (uint64_t)_mm_cvtsi128_si64(_mm_or_si128(half, _mm_srli_si128(half, 8)));
    word |= word >> 32;
    word |= word >> 16;
    word |= word >> 8;
    unsigned byte = word & 255;
    return byte ? 32 - __builtin_clz(byte) : 0;
}

static inline uint64_t bit_plane(const struct pair *z, int bit)
{
    __m128i up = _mm_cvtsi32_si128(7 - bit);
    uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(z->v[0], up));
    uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(z->v[1], up));
    return low | (uint64_t)high << 32;
}

// The three candidates. `wide`: the two vectors are one row, else two rows.
static inline void residuals(const struct pair *c, const struct pair *above, int wide,
                             struct pair ret[PREDICTORS])
{
    struct pair up, carry_up, carry;
    for (int i = 0; i < 2; i++)
        up.v[i] = _mm256_sub_epi8(c->v[i], above->v[i]);
    carry.v[0] = first_byte(_mm256_cvtsi256_si32(above->v[0]));
    carry_up.v[0] = _mm256_setzero_si256();
    if (wide) {
        carry.v[1] = first_byte(_mm256_extract_epi8(c->v[0], 31));
        carry_up.v[1] = first_byte(_mm256_extract_epi8(up.v[0], 31));
    } else {
        carry.v[1] = first_byte(_mm256_cvtsi256_si32(above->v[1]));
        carry_up.v[1] = _mm256_setzero_si256();
    }
    for (int i = 0; i < 2; i++) {
        ret[PREDICT_UP].v[i] = zigzag(up.v[i]);
        ret[PREDICT_LEFT].v[i] = zigzag(_mm256_sub_epi8(c->v[i], shifted(c->v[i], carry.v[i])));
        // left + above - above-left: the difference of neighbouring differences to the row above.
        ret[PREDICT_GRADIENT].v[i] =
            zigzag(_mm256_sub_epi8(up.v[i], shifted(up.v[i], carry_up.v[i])));
    }
}

static inline size_t run_encode(uint8_t *out, const struct pair *c, const struct pair *above,
                                int wide)
{
    struct pair z[PREDICTORS];
    residuals(c, above, wide, z);
    int best = 0, best_bits = bits_needed(&z[0]);
    for (int i = 1; i < PREDICTORS; i++) {
        int bits = bits_needed(&z[i]);
        if (bits < best_bits) {
            best = i;
            best_bits = bits;
        }
    }
    *out++ = (uint8_t)(best | best_bits << 2);
    const struct pair chosen = z[best];
    for (int bit = 0; bit < best_bits; bit++, out += 8) {
        uint64_t word = bit_plane(&chosen, bit);
        memcpy(out, &word, 8);
    }
    return 1 + 8 * (size_t)best_bits;
}

static size_t encode(uint8_t *out, const struct tile_plane *p)
{
    int wide = p->width == 64;
    if (!wide && (p->width != 32 || p->height % 2))
        return tile_kernels_c.encode(out, p);
    const __m256i grey = _mm256_set1_epi8((char)128);
    struct pair above = {{grey, grey}}, c;
    size_t size = 0;
    for (int y = 0; y < p->height; y += wide ? 1 : 2) {
        const uint8_t *row = p->samples + y * p->stride;
        c.v[0] = load(row);
        c.v[1] = load(wide ? row + 32 : row + p->stride);
        if (!wide) {
            above.v[0] = above.v[1];
            above.v[1] = c.v[0];
        }
        size += run_encode(out + size, &c, &above, wide);
        above = wide ? c : (struct pair){{above.v[1], c.v[1]}};
    }
    return size;
}

// One bit of 32 samples, as `bit` or 0 in each byte.
static inline __m256i spread(uint32_t word, __m256i bit)
{
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i masks = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i v = _mm256_shuffle_epi8(_mm256_set1_epi32((int)word), bytes);
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, masks), masks);
    return _mm256_and_si256(v, bit);
}

static inline struct pair run_residuals(const uint8_t *in, int bits)
{
    struct pair z = {{_mm256_setzero_si256(), _mm256_setzero_si256()}};
    for (int bit = 0; bit < bits; bit++, in += 8) {
        uint32_t word[2];
        memcpy(word, in, 8);
        __m256i value = _mm256_set1_epi8((char)(1 << bit));
        for (int i = 0; i < 2; i++)
            z.v[i] = _mm256_or_si256(z.v[i], spread(word[i], value));
    }
    return (struct pair){{unzigzag(z.v[0]), unzigzag(z.v[1])}};
}

static inline __m256i prefix_sum(__m256i v)
{
    v = _mm256_add_epi8(v, _mm256_slli_si256(v, 1));
    v = _mm256_add_epi8(v, _mm256_slli_si256(v, 2));
    v = _mm256_add_epi8(v, _mm256_slli_si256(v, 4));
    v = _mm256_add_epi8(v, _mm256_slli_si256(v, 8));
    __m256i low = _mm256_permute2x128_si256(v, v, 0x08);
    return _mm256_add_epi8(v, _mm256_shuffle_epi8(low, _mm256_set1_epi8(15)));
}

static inline __m256i last_everywhere(__m256i v)
{
    return _mm256_shuffle_epi8(_mm256_permute2x128_si256(v, v, 0x11), _mm256_set1_epi8(15));
}

static inline __m256i first_everywhere(__m256i v)
{
    return _mm256_broadcastb_epi8(_mm256_castsi256_si128(v));
}

static inline struct pair row_of_64(struct pair r, struct pair above, int predictor)
{
    if (predictor != PREDICT_UP) {
        r.v[0] = prefix_sum(r.v[0]);
        r.v[1] = _mm256_add_epi8(prefix_sum(r.v[1]), last_everywhere(r.v[0]));
    }
    if (predictor == PREDICT_LEFT)
        above.v[0] = above.v[1] = first_everywhere(above.v[0]);
    r.v[0] = _mm256_add_epi8(r.v[0], above.v[0]);
    r.v[1] = _mm256_add_epi8(r.v[1], above.v[1]);
    return r;
}

static inline __m256i row_of_32(__m256i r, __m256i above, int predictor)
{
    if (predictor != PREDICT_UP)
        r = prefix_sum(r);
    if (predictor == PREDICT_LEFT)
        above = first_everywhere(above);
    return _mm256_add_epi8(r, above);
}

static size_t decode(const uint8_t *in, size_t size, const struct tile_plane *p)
{
    int wide = p->width == 64;
    if (!wide && (p->width != 32 || p->height % 2))
        return tile_kernels_c.decode(in, size, p);
    const __m256i grey = _mm256_set1_epi8((char)128);
    struct pair above = {{grey, grey}}; // the second vector is the row above when not wide
    size_t used = 0;
    for (int y = 0; y < p->height; y += wide ? 1 : 2) {
        if (used == size)
            return 0;
        int head = in[used++], predictor = head & 3, bits = head >> 2;
        size_t bytes = (size_t)bits * 8;
        if (predictor == PREDICTORS || bits > 8 || bytes > size - used)
            return 0;
        struct pair r = run_residuals(in + used, bits);
        used += bytes;
        if (wide) {
            r = row_of_64(r, above, predictor);
        } else {
            r.v[0] = row_of_32(r.v[0], above.v[1], predictor);
            r.v[1] = row_of_32(r.v[1], r.v[0], predictor);
        }
        uint8_t *row = p->dst + y * p->stride;
        store(row, r.v[0]);
        store(wide ? row + 32 : row + p->stride, r.v[1]);
        above = r;
    }
    return used;
}

const struct tile_kernels tile_kernels_avx2 = {"avx2", encode, decode};
