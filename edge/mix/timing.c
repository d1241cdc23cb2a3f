#include "edge/mix/timing.h"

#include <stdlib.h>
#include <string.h>

void timing_init(struct timing *timing)
{
    memset(timing, 0, sizeof *timing);
    pthread_mutex_init(&timing->lock, NULL);
}

void timing_finish(struct timing *timing)
{
    pthread_mutex_destroy(&timing->lock);
}

void timing_add(struct timing *timing, int64_t ns)
{
    pthread_mutex_lock(&timing->lock);
    timing->ms[timing->count++ % TIMING_WINDOW] = (float)ns / 1e6f;
    pthread_mutex_unlock(&timing->lock);
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void timing_read(struct timing *timing, double *ret_median_ms, double *ret_p99_ms)
{
    float sorted[TIMING_WINDOW];
    pthread_mutex_lock(&timing->lock);
    size_t count = timing->count < TIMING_WINDOW ? (size_t)timing->count : TIMING_WINDOW;
    memcpy(sorted, timing->ms, count * sizeof sorted[0]);
    pthread_mutex_unlock(&timing->lock);
    qsort(sorted, count, sizeof sorted[0], compare);
    *ret_median_ms = count ? sorted[count / 2] : 0;
    *ret_p99_ms = count ? sorted[(count * 99) / 100] : 0;
}
