#include "engine/link/tile_kernels.h"

#include <string.h>

#include "engine/compose/blend.h"
#include "engine/link/tile_run.h"

static const uint8_t grey[RUN_SAMPLES_MAX] = {
    128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
    128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
    128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
    128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
};

static uint8_t zigzag(int residual)
{
    int r = (int8_t)(uint8_t)residual;
    return (uint8_t)(r < 0 ? -2 * r - 1 : 2 * r);
}

static int unzigzag(int z)
{
    return z & 1 ? -(z / 2) - 1 : z / 2;
}

// What `predictor` expects at x of a row of this width. `row` is known up to x.
static int predict(int predictor, const uint8_t *row, const uint8_t *above, int x, int width)
{
    int before = x ? x - 1 : 0, after = x + 1 < width ? x + 1 : x;
    if (predictor == PREDICT_SMOOTH)
        return ((above[before] + above[after] + 1) / 2 + above[x] + 1) / 2;
    if (predictor == PREDICT_UP || (predictor == PREDICT_GRADIENT && x == 0))
        return above[x];
    if (predictor == PREDICT_LEFT)
        return x ? row[x - 1] : above[0];
    return row[x - 1] + above[x] - above[x - 1];
}

// Residuals of one run with one predictor; returns their sum.
static int run_residuals(const struct tile_plane *p, int from, int rows, int predictor,
                         uint8_t *residual)
{
    int sum = 0;
    for (int y = from; y < from + rows; y++) {
        const uint8_t *row = p->samples + y * p->stride;
        const uint8_t *above = y ? row - p->stride : grey;
        for (int x = 0; x < p->width; x++) {
            *residual = zigzag(row[x] - predict(predictor, row, above, x, p->width));
            sum += *residual++;
        }
    }
    return sum;
}

struct run {
    uint8_t residual[RUN_SAMPLES_MAX];
    int samples;
};

static uint64_t greater(const void *z, int threshold)
{
    const struct run *run = z;
    uint64_t mask = 0;
    for (int i = 0; i < run->samples; i++)
        mask |= (uint64_t)(run->residual[i] > threshold) << i;
    return mask;
}

static uint64_t bit_of(const void *z, int bit)
{
    const struct run *run = z;
    uint64_t mask = 0;
    for (int i = 0; i < run->samples; i++)
        mask |= (uint64_t)(run->residual[i] >> bit & 1) << i;
    return mask;
}

static void add(void *z, uint64_t mask, int value)
{
    struct run *run = z;
    for (; mask; mask &= mask - 1)
        run->residual[__builtin_ctzll(mask)] += (uint8_t)value;
}

static int choose_predictor(const struct tile_plane *p)
{
    int best = 0, best_sum = 0, rows = run_rows(p);
    for (int i = 0; i < PREDICTORS; i++) {
        uint8_t residual[RUN_SAMPLES_MAX];
        int sum = 0;
        for (int y = rows; y < p->height; y += 8 * rows)
            sum += run_residuals(p, y, rows < p->height - y ? rows : p->height - y, i, residual);
        if (i == 0 || sum < best_sum) {
            best = i;
            best_sum = sum;
        }
    }
    return best;
}

static size_t encode(uint8_t *out, const struct tile_plane *p)
{
    uint8_t second[SECOND_BYTES_MAX];
    struct run_writer w = writer_begin(out, second);
    int rows = run_rows(p), predictor = choose_predictor(p);
    for (int y = 0; y < p->height; y += rows) {
        if (rows > p->height - y)
            rows = p->height - y;
        struct run run = {.samples = rows * p->width};
        int sum = run_residuals(p, y, rows, y ? predictor : PREDICT_LEFT, run.residual);
        run_write(&w, &run, run.samples, sum, greater, bit_of);
    }
    return writer_end(&w, out, predictor);
}

static size_t decode(const uint8_t *in, size_t size, const struct tile_plane *p)
{
    struct run_reader r;
    if (!reader_begin(&r, in, size))
        return 0;
    int rows = run_rows(p);
    for (int y = 0; y < p->height; y += rows) {
        struct run run = {0};
        if (rows > p->height - y)
            rows = p->height - y;
        int predictor = y ? r.predictor : PREDICT_LEFT, i = 0;
        if (!run_read(&r, &run, rows * p->width, add))
            return 0;
        for (int n = y; n < y + rows; n++) {
            uint8_t *row = p->dst + n * p->stride;
            const uint8_t *above = n ? row - p->stride : grey;
            for (int x = 0; x < p->width; x++, i++)
                row[x] = (uint8_t)(predict(predictor, row, above, x, p->width) +
                                   unzigzag(run.residual[i]));
        }
    }
    return reader_end(&r, in);
}

const struct tile_kernels tile_kernels_c = {"c", encode, decode};

const struct tile_kernels *tile_kernels_get(void)
{
#ifdef __x86_64__
    const char *level = compose_cpu_name();
    if (!strcmp(level, "avx512"))
        return &tile_kernels_avx512;
    if (!strcmp(level, "avx2"))
        return &tile_kernels_avx2;
#endif
    return &tile_kernels_c;
}
