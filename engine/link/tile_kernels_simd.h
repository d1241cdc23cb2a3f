// Picture coding in vectors of 32 bytes, for AVX2 and for processors that have masks of bytes too
// (AVX-512): each of two files includes this and is compiled for its processor. Full runs of 64
// samples only, either one row of 64 or two rows of 32, as two vectors; planes of other widths go
// through C.
#pragma once
#ifdef __AVX2__ // nothing for others

#include "engine/link/tile_kernels.h"
#include "engine/link/tile_run.h"

#include <immintrin.h>

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

// ---- Masks --------------------------------------------------------------------------------------

static inline uint64_t joined(uint32_t low, uint32_t high)
{
    return low | (uint64_t)high << 32;
}

#ifdef __AVX512BW__
static inline uint64_t greater(const void *opaque, int threshold)
{
    const struct pair *z = opaque;
    __m256i t = _mm256_set1_epi8((char)threshold);
    return joined(_mm256_cmpgt_epu8_mask(z->v[0], t), _mm256_cmpgt_epu8_mask(z->v[1], t));
}

static inline uint64_t bit_of(const void *opaque, int bit)
{
    const struct pair *z = opaque;
    __m256i b = _mm256_set1_epi8((char)(1 << bit));
    return joined(_mm256_test_epi8_mask(z->v[0], b), _mm256_test_epi8_mask(z->v[1], b));
}

static inline void add(void *opaque, uint64_t mask, int value)
{
    struct pair *z = opaque;
    __m256i v = _mm256_set1_epi8((char)value);
    for (int i = 0; i < 2; i++)
        z->v[i] = _mm256_mask_add_epi8(z->v[i], (__mmask32)(mask >> 32 * i), z->v[i], v);
}
#else
static inline uint64_t greater(const void *opaque, int threshold)
{
    const struct pair *z = opaque;
    __m256i t = _mm256_set1_epi8((char)threshold);
    uint32_t mask[2];
    for (int i = 0; i < 2; i++)
        mask[i] = (uint32_t)_mm256_movemask_epi8(
            _mm256_cmpeq_epi8(_mm256_min_epu8(z->v[i], t), z->v[i])); // at most t
    return ~joined(mask[0], mask[1]);
}

static inline uint64_t bit_of(const void *opaque, int bit)
{
    const struct pair *z = opaque;
    __m128i up = _mm_cvtsi32_si128(7 - bit);
    return joined((uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(z->v[0], up)),
                  (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(z->v[1], up)));
}

static inline void add(void *opaque, uint64_t mask, int value)
{
    struct pair *z = opaque;
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2,
                                           2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
    const __m256i bits = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i v = _mm256_set1_epi8((char)value);
    for (int i = 0; i < 2; i++) {
        __m256i m = _mm256_shuffle_epi8(_mm256_set1_epi32((int)(mask >> 32 * i)), bytes);
        m = _mm256_cmpeq_epi8(_mm256_and_si256(m, bits), bits);
        z->v[i] = _mm256_add_epi8(z->v[i], _mm256_and_si256(m, v));
    }
}
#endif

// ---- Neighbours ---------------------------------------------------------------------------------

// Each sample's neighbour to the left; `wide`: the two vectors are one row, else two rows. At the
// left edge stands that of `edge`.
static inline struct pair left_of(const struct pair *c, const struct pair *edge, int wide)
{
    const __m256i first = _mm256_zextsi128_si256(_mm_cvtsi32_si128(255));
    struct pair ret;
    __m256i low = _mm256_permute2x128_si256(c->v[0], c->v[0], 0x08); // zero, low half
    ret.v[0] = _mm256_blendv_epi8(_mm256_alignr_epi8(c->v[0], low, 15), edge->v[0], first);
    low = _mm256_permute2x128_si256(c->v[0], c->v[1], 0x21); // high half of 0, low half of 1
    ret.v[1] = _mm256_alignr_epi8(c->v[1], low, 15);
    if (!wide)
        ret.v[1] = _mm256_blendv_epi8(
            _mm256_alignr_epi8(c->v[1], _mm256_permute2x128_si256(c->v[1], c->v[1], 0x08), 15),
            edge->v[1], first);
    return ret;
}

// Each sample's neighbour to the right; at the right edge the sample itself.
static inline struct pair right_of(const struct pair *c, int wide)
{
    const __m256i last = _mm256_setr_epi64x(0, 0, 0, (long long)0xff00000000000000);
    struct pair ret;
    __m256i high = _mm256_permute2x128_si256(c->v[1], c->v[1], 0x81); // high half, zero
    ret.v[1] = _mm256_blendv_epi8(_mm256_alignr_epi8(high, c->v[1], 1), c->v[1], last);
    high = _mm256_permute2x128_si256(c->v[0], c->v[1], 0x21);
    ret.v[0] = _mm256_alignr_epi8(high, c->v[0], 1);
    if (!wide)
        ret.v[0] = _mm256_blendv_epi8(
            _mm256_alignr_epi8(_mm256_permute2x128_si256(c->v[0], c->v[0], 0x81), c->v[0], 1),
            c->v[0], last);
    return ret;
}

static inline struct pair smooth(const struct pair *above, int wide)
{
    struct pair left = left_of(above, above, wide), right = right_of(above, wide), ret;
    for (int i = 0; i < 2; i++)
        ret.v[i] = _mm256_avg_epu8(_mm256_avg_epu8(left.v[i], right.v[i]), above->v[i]);
    return ret;
}

// ---- Encoding -----------------------------------------------------------------------------------

static inline __m256i zigzag(__m256i residual)
{
    __m256i negative = _mm256_cmpgt_epi8(_mm256_setzero_si256(), residual);
    return _mm256_xor_si256(_mm256_add_epi8(residual, residual), negative);
}

static inline __attribute__((always_inline)) struct pair
residuals(const struct pair *c, const struct pair *above, int wide, int predictor)
{
    const struct pair zero = {{_mm256_setzero_si256(), _mm256_setzero_si256()}};
    struct pair from = *c, expected = *above;
    if (predictor == PREDICT_LEFT)
        expected = left_of(c, above, wide);
    if (predictor == PREDICT_SMOOTH)
        expected = smooth(above, wide);
    // left + above - above-left: the difference of neighbouring differences to the row above.
    if (predictor == PREDICT_GRADIENT) {
        for (int i = 0; i < 2; i++)
            from.v[i] = _mm256_sub_epi8(c->v[i], above->v[i]);
        expected = left_of(&from, &zero, wide);
    }
    for (int i = 0; i < 2; i++)
        from.v[i] = zigzag(_mm256_sub_epi8(from.v[i], expected.v[i]));
    return from;
}

// The sum of all residuals, in four parts.
static inline __m256i sums_of(struct pair z)
{
    __m256i zero = _mm256_setzero_si256();
    return _mm256_add_epi64(_mm256_sad_epu8(z.v[0], zero), _mm256_sad_epu8(z.v[1], zero));
}

static inline int whole(__m256i sums)
{
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    return _mm_cvtsi128_si32(half) + _mm_extract_epi32(half, 2);
}

// Rows from y on. Those above a run are the rows from y - 1 on.
static inline struct pair run_load(const struct tile_plane *p, int y, int wide)
{
    const uint8_t *row = p->samples + y * p->stride;
    return (struct pair){{load(row), load(wide ? row + 32 : row + p->stride)}};
}

static inline int choose_predictor(const struct tile_plane *p, int wide)
{
    __m256i sums[PREDICTORS] = {_mm256_setzero_si256(), _mm256_setzero_si256(),
                                _mm256_setzero_si256(), _mm256_setzero_si256()};
    int rows = wide ? 1 : 2;
    for (int y = rows; y < p->height; y += 8 * rows) {
        struct pair c = run_load(p, y, wide), above = run_load(p, y - 1, wide);
        for (int i = 0; i < PREDICTORS; i++)
            sums[i] = _mm256_add_epi64(sums[i], sums_of(residuals(&c, &above, wide, i)));
    }
    int best = 0, best_sum = whole(sums[0]);
    for (int i = 1; i < PREDICTORS; i++) {
        int sum = whole(sums[i]);
        if (sum < best_sum) {
            best = i;
            best_sum = sum;
        }
    }
    return best;
}

static inline __attribute__((always_inline)) void run_encode(struct run_writer *w,
                                                             const struct pair *c,
                                                             const struct pair *above, int wide,
                                                             int predictor)
{
    struct pair z = residuals(c, above, wide, predictor);
    run_write(w, &z, RUN_SAMPLES_MAX, whole(sums_of(z)), greater, bit_of);
}

// All runs but the first.
static inline __attribute__((always_inline)) void
runs_encode(struct run_writer *w, const struct tile_plane *p, int wide, int predictor)
{
    for (int y = wide ? 1 : 2; y < p->height; y += wide ? 1 : 2) {
        struct pair c = run_load(p, y, wide), above = run_load(p, y - 1, wide);
        run_encode(w, &c, &above, wide, predictor);
    }
}

static size_t encode(uint8_t *out, const struct tile_plane *p)
{
    int wide = p->width == 64;
    if (!wide && (p->width != 32 || p->height % 2))
        return tile_kernels_c.encode(out, p);
    uint8_t second[SECOND_BYTES_MAX];
    struct run_writer w = writer_begin(out, second);
    struct pair c = run_load(p, 0, wide), above;
    above.v[0] = above.v[1] = _mm256_set1_epi8((char)128);
    if (!wide)
        above.v[1] = c.v[0];
    run_encode(&w, &c, &above, wide, PREDICT_LEFT);
    int predictor = choose_predictor(p, wide);
    switch (predictor) { // each with a loop of its own
    case PREDICT_UP:
        runs_encode(&w, p, wide, PREDICT_UP);
        break;
    case PREDICT_LEFT:
        runs_encode(&w, p, wide, PREDICT_LEFT);
        break;
    case PREDICT_GRADIENT:
        runs_encode(&w, p, wide, PREDICT_GRADIENT);
        break;
    default:
        runs_encode(&w, p, wide, PREDICT_SMOOTH);
        break;
    }
    return writer_end(&w, out, predictor);
}

// ---- Decoding -----------------------------------------------------------------------------------

static inline __m256i unzigzag(__m256i z)
{
    __m256i half = _mm256_and_si256(_mm256_srli_epi16(z, 1), _mm256_set1_epi8(127));
    __m256i odd = _mm256_and_si256(z, _mm256_set1_epi8(1));
    return _mm256_xor_si256(half, _mm256_sub_epi8(_mm256_setzero_si256(), odd));
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
    if (predictor == PREDICT_LEFT || predictor == PREDICT_GRADIENT) {
        r.v[0] = prefix_sum(r.v[0]);
        r.v[1] = _mm256_add_epi8(prefix_sum(r.v[1]), last_everywhere(r.v[0]));
    }
    if (predictor == PREDICT_LEFT)
        above.v[0] = above.v[1] = first_everywhere(above.v[0]);
    if (predictor == PREDICT_SMOOTH)
        above = smooth(&above, 1);
    r.v[0] = _mm256_add_epi8(r.v[0], above.v[0]);
    r.v[1] = _mm256_add_epi8(r.v[1], above.v[1]);
    return r;
}

static inline __m256i row_of_32(__m256i r, __m256i above, int predictor)
{
    if (predictor == PREDICT_LEFT || predictor == PREDICT_GRADIENT)
        r = prefix_sum(r);
    if (predictor == PREDICT_LEFT)
        above = first_everywhere(above);
    if (predictor == PREDICT_SMOOTH) {
        struct pair alone = {{above, above}};
        above = smooth(&alone, 0).v[0];
    }
    return _mm256_add_epi8(r, above);
}

static size_t decode(const uint8_t *in, size_t size, const struct tile_plane *p)
{
    int wide = p->width == 64;
    if (!wide && (p->width != 32 || p->height % 2))
        return tile_kernels_c.decode(in, size, p);
    const __m256i grey = _mm256_set1_epi8((char)128);
    struct pair above = {{grey, grey}}; // the second vector is the row above when not wide
    struct run_reader reader;
    if (!reader_begin(&reader, in, size))
        return 0;
    for (int y = 0; y < p->height; y += wide ? 1 : 2) {
        struct pair r = {{_mm256_setzero_si256(), _mm256_setzero_si256()}};
        int predictor = y ? reader.predictor : PREDICT_LEFT;
        if (!run_read(&reader, &r, RUN_SAMPLES_MAX, add))
            return 0;
        r.v[0] = unzigzag(r.v[0]);
        r.v[1] = unzigzag(r.v[1]);
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
    return reader_end(&reader, in);
}
#endif
