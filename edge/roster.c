#include "edge/roster.h"

#include "engine/receive/intake.h"

static bool armed_before(const struct slot *a, const struct slot *b)
{
    if (a->armed->at_frame != b->armed->at_frame)
        return a->armed->at_frame < b->armed->at_frame;
    return a->armed->epoch < b->armed->epoch;
}

struct slot *roster_in_force(struct slot *const *slots, int count, int64_t n)
{
    struct slot *best = NULL;
    for (int i = 0; i < count; i++)
        if (slots[i]->intake && slots[i]->from <= n && (!best || armed_before(best, slots[i])))
            best = slots[i];
    return best;
}

int64_t roster_from(const struct plan *plan, int64_t cursor, bool sends)
{
    int64_t lead = plan->lead_frames, late = cursor - plan->at_frame;
    if (!sends || late + lead * 3 / 4 <= 0)
        return plan->at_frame;
    return plan->at_frame + (late + 2 * lead - 1) / lead * lead;
}

struct slot *roster_after(struct slot *const *slots, int count, const struct slot *slot)
{
    struct slot *best = NULL;
    for (int i = 0; i < count; i++) {
        struct slot *other = slots[i];
        if (other->intake && (!slot || armed_before(slot, other)) &&
            (!best || armed_before(other, best)))
            best = other;
    }
    return best;
}

// Where the first of those that follow begins.
static int64_t end_of(struct slot *const *slots, int count, const struct slot *slot)
{
    int64_t end = INT64_MAX;
    for (const struct slot *s = slot; (s = roster_after(slots, count, s));)
        end = s->from < end ? s->from : end;
    return end;
}

void roster_share_credit(struct slot *const *slots, int count, int64_t cursor)
{
    bool waits = false;
    for (struct slot *s = roster_after(slots, count, NULL), *after; s; s = after) {
        int64_t end = end_of(slots, count, s);
        after = roster_after(slots, count, s);
        intake_set_end(s->intake, waits ? s->from : end);
        waits = after && cursor < end - after->armed->lead_frames / 2 &&
                !intake_complete(s->intake, end);
    }
}

bool roster_retires(const struct slot *slot, const struct slot *on_air)
{
    bool superseded =
        on_air && slot->plan->committed && slot->plan->at_frame <= on_air->plan->at_frame;
    return slot != on_air && (!slot->listed || superseded);
}

enum channel_plan_state roster_state(const struct slot *slot, int64_t cursor, uint32_t on_air)
{
    if (!slot->intake)
        return CHANNEL_PLAN_PREPARED;
    bool active = slot->plan->at_frame <= cursor && slot->plan->epoch == on_air;
    return active ? CHANNEL_PLAN_ACTIVE : CHANNEL_PLAN_ARMED;
}

static struct slot *find(struct slot *const *slots, int count, uint32_t epoch)
{
    for (int i = 0; i < count; i++)
        if (slots[i]->plan->epoch == epoch)
            return slots[i];
    return NULL;
}

int roster_apply(struct slot *const *slots, const int *count, const struct plan *const *plans,
                 int plan_count, const struct roster_steps *steps, struct diagnostic *reterr)
{
    int result = 0;
    for (int i = 0; i < *count; i++)
        slots[i]->listed = false;
    for (int i = 0; i < plan_count; i++) {
        struct slot *slot = find(slots, *count, plans[i]->epoch);
        if (slot)
            slot->listed = true;
    }
    steps->retire(steps->opaque);
    for (int i = 0; i < plan_count; i++) {
        struct slot *slot = find(slots, *count, plans[i]->epoch);
        if (slot && slot->plan->group_count != plans[i]->group_count)
            continue; // an epoch never changes its groups
        int error = 0;
        if (slot)
            steps->replace(steps->opaque, slot, plans[i]);
        else
            error = steps->add(steps->opaque, plans[i], result ? NULL : reterr);
        slot = find(slots, *count, plans[i]->epoch);
        if (!error) {
            slot->listed = true;
            error = steps->arm(steps->opaque, slot, result ? NULL : reterr);
        }
        result = result ? result : error;
    }
    return result;
}
