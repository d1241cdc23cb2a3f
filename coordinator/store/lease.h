// The leader's lease as its holder knows it. Pure: the times are given.
//
// The database's clock decides who leads; the holder's own clock decides when it stops to act.
// Whoever has asked for `ttl` at some moment may act until that moment plus `ttl`, less a margin
// for clocks that run apart: nobody else can have the lease before. A holder that stood still
// (stopped, a host that slept) finds its time over when it wakes, before it hears from anybody.
//
// Thread: one takes and drops; any asks.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LEASE_MARGIN_NS INT64_C(300000000)

struct lease {
    _Atomic uint64_t epoch;   // 0: does not lead
    _Atomic int64_t until_ns; // monotonic; acts before
};

// The lease was asked for at `asked_ns`, taken before the question was sent, and given.
static inline void lease_take(struct lease *lease, uint64_t epoch, int64_t asked_ns, int64_t ttl_ns)
{
    // A short lease, of tests, is not all margin.
    int64_t margin_ns = LEASE_MARGIN_NS < ttl_ns / 10 ? LEASE_MARGIN_NS : ttl_ns / 10;
    atomic_store(&lease->epoch, epoch);
    atomic_store(&lease->until_ns, asked_ns + ttl_ns - margin_ns);
}

static inline void lease_drop(struct lease *lease)
{
    atomic_store(&lease->until_ns, INT64_MIN);
    atomic_store(&lease->epoch, 0);
}

// The epoch to act under; 0: none.
static inline uint64_t lease_epoch(const struct lease *lease, int64_t now_ns)
{
    uint64_t epoch = atomic_load(&lease->epoch);
    return now_ns < atomic_load(&lease->until_ns) ? epoch : 0;
}
