#include "worker/gateway/pace.h"

#include "engine/live/stamp.h"

#define BEHIND_NS INT64_C(2000000000)

int64_t pace_due_ns(struct pace *p, int64_t ticks, int64_t now_ns)
{
    int64_t due_ns = p->at_ns + ticks_between_ns(p->ticks, ticks);
    if (!p->started || due_ns > now_ns + STAMP_JUMP_NS || due_ns < now_ns - BEHIND_NS)
        *p = (struct pace){true, ticks, due_ns = now_ns};
    if (due_ns > p->at_ns) // so that a wrap is never far
        *p = (struct pace){true, ticks, due_ns};
    return due_ns;
}
