// Clocks. Everything on air runs on the monotonic clock; civil time is read only where a channel's
// epoch is tied to it (edge start, schedule). Thread: any.
#pragma once

#include <stdint.h>

int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);   // since 1970-01-01 UTC
int64_t clock_thread_cpu_ns(void); // processor time of the calling thread
// Returns at or after `deadline_ns` on the monotonic clock.
void clock_sleep_until_ns(int64_t deadline_ns);
