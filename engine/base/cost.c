#include "engine/base/cost.h"

#include <stdlib.h>

void cost_add(struct cost *cost, int64_t nanoseconds)
{
    uint64_t count = atomic_load_explicit(&cost->count, memory_order_relaxed);
    int64_t us = nanoseconds < 0 ? 0 : nanoseconds / 1000;
    atomic_store_explicit(&cost->microseconds[count % COST_WINDOW],
                          us > UINT32_MAX ? UINT32_MAX : (uint32_t)us, memory_order_relaxed);
    atomic_store_explicit(&cost->count, count + 1, memory_order_release);
}

void cost_mean_add(double *mean, uint64_t count, uint64_t window, double value)
{
    *mean += (value - *mean) / (double)(count < window ? count : window);
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

void cost_read(const struct cost *cost, double *ret_median_ms, double *ret_p99_ms)
{
    uint64_t count = atomic_load_explicit(&((struct cost *)cost)->count, memory_order_acquire);
    size_t n = count < COST_WINDOW ? (size_t)count : COST_WINDOW;
    *ret_median_ms = *ret_p99_ms = 0;
    if (!n)
        return;
    uint32_t sorted[COST_WINDOW];
    for (size_t i = 0; i < n; i++)
        sorted[i] =
            atomic_load_explicit(&((struct cost *)cost)->microseconds[i], memory_order_relaxed);
    qsort(sorted, n, sizeof sorted[0], compare);
    *ret_median_ms = sorted[n / 2] / 1000.0;
    *ret_p99_ms = sorted[n * 99 / 100] / 1000.0;
}
