// How much a counter has risen during the last minute: for alarms that end when what they are about
// has ended. Zero-initialise. Thread: the owner's.
#pragma once

#include <stdint.h>

#define RECENT_SECONDS 60

struct recent {
    uint64_t totals[RECENT_SECONDS]; // at the end of each second; the oldest at `next`
    int next, count;
    int64_t due_ns;
};

// `total` is the counter's value now; one that is lower than before has started again. Called at
// least once a second; seconds without a call count as none.
uint64_t recent_rise(struct recent *recent, uint64_t total, int64_t now_ns);
