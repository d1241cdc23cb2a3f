#include "edge/mix/playout.h"

// Latest frame whose time is not after `monotonic_ns`.
static int64_t frame_due_at(const struct playout *p, int64_t monotonic_ns)
{
    return rate_frame_at_ns(p->rate, monotonic_ns + p->offset_ns - p->epoch_ns - p->delay_ns);
}

void playout_start(struct playout *p, struct rate rate, int64_t epoch_ns, int64_t delay_ns,
                   int64_t at_frame, int64_t margin_ns, int64_t monotonic_ns, int64_t realtime_ns)
{
    *p = (struct playout){
        .rate = rate,
        .epoch_ns = epoch_ns,
        .delay_ns = delay_ns,
        .offset_ns = realtime_ns - monotonic_ns,
        .updated_ns = monotonic_ns,
    };
    int64_t first = frame_due_at(p, monotonic_ns + margin_ns) + 1;
    p->next = at_frame > first ? at_frame : first;
}

int64_t playout_slew(struct playout *p, int64_t monotonic_ns, int64_t realtime_ns)
{
    int64_t difference = realtime_ns - (monotonic_ns + p->offset_ns);
    int64_t elapsed = monotonic_ns - p->updated_ns;
    p->updated_ns = monotonic_ns;
    if (difference > PLAYOUT_STEP_NS || difference < -PLAYOUT_STEP_NS)
        return difference;
    int64_t limit =
        elapsed / 1000000 * PLAYOUT_SLEW_PPM + elapsed % 1000000 * PLAYOUT_SLEW_PPM / 1000000;
    p->offset_ns += difference > limit ? limit : difference < -limit ? -limit : difference;
    return difference;
}

int64_t playout_due_ns(const struct playout *p, int64_t n)
{
    return p->epoch_ns + rate_frame_time_ns(p->rate, n) + p->delay_ns - p->offset_ns;
}

enum playout_action playout_step(struct playout *p, int64_t monotonic_ns, bool ready,
                                 int64_t *ret_until_ns)
{
    int64_t due = playout_due_ns(p, p->next);
    if (monotonic_ns - due > PLAYOUT_SKIP_NS) {
        int64_t now = frame_due_at(p, monotonic_ns);
        p->skipped += (uint64_t)(now - p->next);
        p->next = now;
        due = playout_due_ns(p, now);
    }
    *ret_until_ns = due;
    return ready || monotonic_ns >= due ? PLAYOUT_MIX : PLAYOUT_WAIT;
}

void playout_sent(struct playout *p)
{
    p->next++;
}
