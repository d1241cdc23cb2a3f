// Measured cost of a repeated piece of work over its last COST_WINDOW runs: median and 99th
// percentile, as nodes report them for each stage.
// Thread: cost_add by one thread, cost_read by any.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define COST_WINDOW 512

struct cost {
    _Atomic uint32_t microseconds[COST_WINDOW];
    _Atomic uint64_t count;
};

void cost_add(struct cost *cost, int64_t nanoseconds);
// Takes the value number `count` (1 or more) into a mean over about the last `window` values: exact
// up to there, then exponential, a value's weight falling to 37 % after `window` more.
// Thread: the caller's.
void cost_mean_add(double *mean, uint64_t count, uint64_t window, double value);
// In milliseconds; 0 before the first run.
void cost_read(const struct cost *cost, double *ret_median_ms, double *ret_p99_ms);
