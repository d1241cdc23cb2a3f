#include "engine/compose/kernels.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/compose/blend.h"

static inline int min_int(int a, int b)
{
    return a < b ? a : b;
}

static inline uint8_t over(int dst, int colour, int alpha)
{
    return (uint8_t)(colour + divide_255(dst * (255 - alpha)));
}

void over_rows_c(const struct over_rows *rows, int from, int width, int opacity)
{
    for (int x = from; x < width; x += 2) {
        int sum = 0;
        if (!(rows->src_a[0][x] | rows->src_a[0][x + 1] | rows->src_a[1][x] |
              rows->src_a[1][x + 1]))
            continue; // the formulas change nothing then, and most of a graphics layer is empty
        for (int i = 0; i < 4; i++) {
            int row = i / 2, column = x + i % 2;
            int alpha = divide_255(rows->src_a[row][column] * opacity);
            int luma = min_int(divide_255(rows->src_y[row][column] * opacity), alpha);
            rows->dst_y[row][column] = over(rows->dst_y[row][column], luma, alpha);
            if (rows->dst_a[row])
                rows->dst_a[row][column] = over(rows->dst_a[row][column], alpha, alpha);
            sum += alpha;
        }
        int alpha = (sum + 2) >> 2;
        int cb = min_int(divide_255(rows->src_cb[x / 2] * opacity), alpha);
        int cr = min_int(divide_255(rows->src_cr[x / 2] * opacity), alpha);
        rows->dst_cb[x / 2] = over(rows->dst_cb[x / 2], cb, alpha);
        rows->dst_cr[x / 2] = over(rows->dst_cr[x / 2], cr, alpha);
    }
}

static void over_rows(const struct over_rows *rows, int width, int opacity)
{
    over_rows_c(rows, 0, width, opacity);
}

static void lerp_row(uint8_t *dst, const uint8_t *src, int count, int opacity)
{
    for (int i = 0; i < count; i++)
        dst[i] = (uint8_t)(divide_255(src[i] * opacity) + divide_255(dst[i] * (255 - opacity)));
}

static void weigh_row(uint8_t *dst, const uint8_t *src, int count, int opacity, int weight)
{
    for (int i = 0; i < count; i++)
        dst[i] = (uint8_t)min_int(255, dst[i] + divide_255(divide_255(src[i] * opacity) * weight));
}

static void mode_rows(const struct over_rows *rows, int width, int opacity, enum blend_mode mode)
{
    mode_rows_c(rows, 0, width, opacity, mode);
}

void scale_rows_c(int16_t *dst, const uint8_t *const *rows, const int16_t *weights, int taps,
                  int from, int count)
{
    for (int i = from; i < count; i++) {
        int sum = 128;
        for (int tap = 0; tap < taps; tap++)
            sum += rows[tap][i] * weights[tap];
        dst[i] = (int16_t)(sum >> 8);
    }
}

static void scale_rows(int16_t *dst, const uint8_t *const *rows, const int16_t *weights, int taps,
                       int count)
{
    scale_rows_c(dst, rows, weights, taps, 0, count);
}

static void scale_columns(uint8_t *dst, const int16_t *row, const int32_t *start,
                          const int16_t *weights, int quads, int count)
{
    for (int i = 0; i < count; i++) {
        const int16_t *quad = weights + (ptrdiff_t)(i / 4) * quads * 16 + i % 4 * 4;
        const int16_t *from = row + start[i];
        int sum = 1 << 19;
        for (int t = 0; t < 4 * quads; t += 4, quad += 16)
            for (int j = 0; j < 4; j++)
                sum += from[t + j] * quad[j];
        sum >>= 20;
        dst[i] = (uint8_t)(sum < 0 ? 0 : min_int(sum, 255));
    }
}

const struct kernels kernels_c = {
    .name = "c",
    .over_rows = over_rows,
    .lerp_row = lerp_row,
    .weigh_row = weigh_row,
    .mode_rows = mode_rows,
    .scale_rows = scale_rows,
    .scale_columns = scale_columns,
};

static _Atomic(const struct kernels *) kernels_in_use;

// The best table at or below the level `name` that this CPU can run; NULL means the best of all.
static const struct kernels *choose(const char *name)
{
#ifdef __x86_64__
    bool c_only = name && !strcmp(name, "c");
    bool avx2_only = name && !strcmp(name, "avx2");
    c_only = c_only || !__builtin_cpu_supports("bmi2"); // all with AVX2 have it, but for emulators
    if (!c_only && !avx2_only && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512;
    if (!c_only && __builtin_cpu_supports("avx2"))
        return &kernels_avx2;
#else
    (void)name;
#endif
    return &kernels_c;
}

const struct kernels *kernels_get(void)
{
    const struct kernels *k = atomic_load_explicit(&kernels_in_use, memory_order_acquire);
    if (k)
        return k;
    // Two threads that come here at once choose the same.
    k = choose(getenv("VISTTER_CPU"));
    atomic_store_explicit(&kernels_in_use, k, memory_order_release);
    return k;
}

const char *compose_cpu_name(void)
{
    return kernels_get()->name;
}

bool compose_cpu_known(const char *name)
{
    static const char *const names[] = {"c", "avx2", "avx512"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

bool compose_cpu_force(const char *name)
{
    const struct kernels *k = choose(name);
    if (strcmp(k->name, name))
        return false;
    atomic_store_explicit(&kernels_in_use, k, memory_order_release);
    return true;
}
