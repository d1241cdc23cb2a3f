#include "engine/link/tile_kernels.h"

#include <string.h>

#include "engine/compose/blend.h"

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

// What `predictor` expects at x. `row` is known up to x.
static int predict(int predictor, const uint8_t *row, const uint8_t *above, int x)
{
    if (predictor == PREDICT_UP || (predictor == PREDICT_GRADIENT && x == 0))
        return above[x];
    if (predictor == PREDICT_LEFT)
        return x ? row[x - 1] : above[0];
    return row[x - 1] + above[x] - above[x - 1];
}

static int bit_length(unsigned value)
{
    return value ? 32 - __builtin_clz(value) : 0;
}

// Residuals of one run with one predictor; returns the number of bit planes they need.
static int run_residuals(const struct tile_plane *p, int from, int rows, int predictor,
                         uint8_t *residual)
{
    unsigned any = 0;
    for (int y = from; y < from + rows; y++) {
        const uint8_t *row = p->samples + y * p->stride;
        const uint8_t *above = y ? row - p->stride : grey;
        for (int x = 0; x < p->width; x++) {
            *residual = zigzag(row[x] - predict(predictor, row, above, x));
            any |= *residual++;
        }
    }
    return bit_length(any);
}

static size_t run_write(uint8_t *out, int predictor, int bits, const uint8_t *residual, int count)
{
    size_t bytes = (size_t)(count + 7) / 8;
    out[0] = (uint8_t)(predictor | bits << 2);
    memset(out + 1, 0, bytes * (size_t)bits);
    for (int bit = 0; bit < bits; bit++)
        for (int i = 0; i < count; i++)
            out[1 + (size_t)bit * bytes + (size_t)i / 8] |=
                (uint8_t)((residual[i] >> bit & 1) << i % 8);
    return 1 + bytes * (size_t)bits;
}

static size_t encode(uint8_t *out, const struct tile_plane *p)
{
    uint8_t residual[PREDICTORS][RUN_SAMPLES_MAX];
    size_t size = 0;
    int rows = run_rows(p);
    for (int y = 0; y < p->height; y += rows) {
        if (rows > p->height - y)
            rows = p->height - y;
        int best = 0, best_bits = 9;
        for (int i = 0; i < PREDICTORS; i++) {
            int bits = run_residuals(p, y, rows, i, residual[i]);
            if (bits < best_bits) {
                best = i;
                best_bits = bits;
            }
        }
        size += run_write(out + size, best, best_bits, residual[best], rows * p->width);
    }
    return size;
}

static void run_decode(const uint8_t *in, int predictor, int bits, const struct tile_plane *p,
                       int from, int rows)
{
    size_t bytes = (size_t)(rows * p->width + 7) / 8;
    int i = 0;
    for (int y = from; y < from + rows; y++) {
        uint8_t *row = p->dst + y * p->stride;
        const uint8_t *above = y ? row - p->stride : grey;
        for (int x = 0; x < p->width; x++, i++) {
            int z = 0;
            for (int bit = 0; bit < bits; bit++)
                z |= (in[(size_t)bit * bytes + (size_t)i / 8] >> i % 8 & 1) << bit;
            row[x] = (uint8_t)(predict(predictor, row, above, x) + unzigzag(z));
        }
    }
}

static size_t decode(const uint8_t *in, size_t size, const struct tile_plane *p)
{
    size_t used = 0;
    int rows = run_rows(p);
    for (int y = 0; y < p->height; y += rows) {
        if (rows > p->height - y)
            rows = p->height - y;
        if (used == size)
            return 0;
        int head = in[used++], predictor = head & 3, bits = head >> 2;
        size_t bytes = (size_t)bits * ((size_t)(rows * p->width + 7) / 8);
        if (predictor == PREDICTORS || bits > 8 || bytes > size - used)
            return 0;
        run_decode(in + used, predictor, bits, p, y, rows);
        used += bytes;
    }
    return used;
}

const struct tile_kernels tile_kernels_c = {"c", encode, decode};

const struct tile_kernels *tile_kernels_get(void)
{
#ifdef __x86_64__
    // Processors with AVX-512 have AVX2 too.
    if (strcmp(compose_cpu_name(), "c"))
        return &tile_kernels_avx2;
#endif
    return &tile_kernels_c;
}
