#include "worker/strain.h"

#define SHARE_BEHIND 0.5  // as for a single stage (consumers_wait)
#define SHARE_ROOM   0.75 // edges ask for samples from here on
#define SHARE_GROWS  0.02 // in a second

void strain_init(struct strain *strain)
{
    *strain =
        (struct strain){.overload.has = {[OVERLOAD_SAMPLES] = true, [OVERLOAD_COPIES] = true}};
}

void strain_optional(struct strain *strain, bool optional)
{
    strain->overload.has[OVERLOAD_OVERLAYS] = optional;
}

enum overload_level strain_look(struct strain *s, double share, int64_t now)
{
    double lowest = share;
    for (int i = 0; i < s->count; i++)
        lowest = s->shares[i] < lowest ? s->shares[i] : lowest;
    s->shares[s->next] = share;
    s->next = (s->next + 1) % STRAIN_SHARES;
    s->count += s->count < STRAIN_SHARES;
    bool behind = share < SHARE_BEHIND && share < lowest + SHARE_GROWS;
    return overload_step(&s->overload, behind, share >= SHARE_ROOM, now);
}
