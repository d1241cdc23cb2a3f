// Costs of the last frames: median and 99th percentile over a sliding window.
// Thread: any; a leaf lock inside.
#pragma once

#include <pthread.h>
#include <stdint.h>

#define TIMING_WINDOW 256

struct timing {
    pthread_mutex_t lock;
    // -- guarded by lock
    uint64_t count;
    float ms[TIMING_WINDOW];
};

void timing_init(struct timing *timing);
void timing_finish(struct timing *timing);
void timing_add(struct timing *timing, int64_t ns);
void timing_read(struct timing *timing, double *ret_median_ms, double *ret_p99_ms);
