#include "engine/live/show.h"

int64_t show_time_ns(struct rate rate, int64_t epoch_ns, int64_t n, int64_t delay_ns)
{
    int64_t half_ns = rate.den * INT64_C(500000000) / rate.num;
    return epoch_ns + rate_frame_time_ns(rate, n) + half_ns - delay_ns;
}

// How many entries have chan_ns <= t.
static size_t count_until(const struct show_entry *entries, size_t count, int64_t t_ns)
{
    size_t from = 0, to = count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (entries[middle].chan_ns <= t_ns)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct show show_at(const struct show_entry *entries, size_t count, int64_t done_ns, int64_t t_ns,
                    int64_t hold_ns)
{
    if (done_ns < t_ns)
        return (struct show){.state = SHOW_NOT_YET};
    bool absent = false;
    for (size_t i = count_until(entries, count, t_ns); i-- > 0;) {
        if (entries[i].until_ns) {
            absent = absent || entries[i].chan_ns < t_ns; // until another picture comes
            continue;
        }
        if (absent && t_ns - entries[i].chan_ns > hold_ns)
            return (struct show){.state = SHOW_LOST};
        return (struct show){absent ? SHOW_HELD : SHOW_LIVE, i};
    }
    return (struct show){.state = absent ? SHOW_LOST : SHOW_NOTHING};
}
