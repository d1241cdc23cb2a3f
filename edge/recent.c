#include "edge/recent.h"

#define SECOND_NS INT64_C(1000000000)

uint64_t recent_rise(struct recent *r, uint64_t total, int64_t now_ns)
{
    uint64_t newest = r->totals[(r->next + RECENT_SECONDS - 1) % RECENT_SECONDS];
    if (!r->count || total < newest) { // a counter starts at 0: all of `total` is new
        *r = (struct recent){.count = 1, .next = 1, .due_ns = now_ns + SECOND_NS};
    } else if (now_ns >= r->due_ns) {
        r->totals[r->next] = total;
        r->next = (r->next + 1) % RECENT_SECONDS;
        r->count += r->count < RECENT_SECONDS;
        r->due_ns = now_ns + SECOND_NS;
    }
    return total - r->totals[r->count < RECENT_SECONDS ? 0 : r->next];
}
