#include "engine/live/stamp.h"

#include "engine/base/rate.h"

#define SECOND_NS INT64_C(1000000000)
#define WRAP      (INT64_C(1) << 33)

static int64_t clamp(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

int64_t slope_loop_step(struct slope_loop *l, int64_t error_ns)
{
    l->sum_ns = clamp(l->sum_ns + error_ns, -512 * STAMP_SLOPE_MAX, 512 * STAMP_SLOPE_MAX);
    int64_t wanted = clamp(error_ns / 16 + l->sum_ns / 512, -STAMP_SLOPE_MAX, STAMP_SLOPE_MAX);
    l->slope = clamp(wanted, l->slope - STAMP_SLOPE_STEP, l->slope + STAMP_SLOPE_STEP);
    return l->slope;
}

int64_t ticks_between_ns(int64_t a, int64_t b)
{
    int64_t d = (b - a) & (WRAP - 1);
    return muldiv_floor(d >= WRAP / 2 ? d - WRAP : d, 100000, 9);
}

static int64_t farm_of(const struct stamper *s, int64_t source_ns)
{
    int64_t since = source_ns - s->base_at_ns;
    return s->base_ns + since + muldiv_floor(since, s->loop.slope, SECOND_NS);
}

static int64_t source_of(const struct stamper *s, int64_t ticks)
{
    return s->last_ns + ticks_between_ns(s->last_ticks, ticks);
}

// The end of a window: the mapping goes on from here with another slope.
static void turn(struct stamper *s, int64_t source_ns)
{
    s->base_ns = farm_of(s, source_ns);
    s->base_at_ns = source_ns;
    slope_loop_step(&s->loop, s->least_ns);
    s->begin_ns = source_ns;
    s->least_ns = INT64_MAX;
}

enum stamp_result stamper_arrive(struct stamper *s, int64_t ticks, int64_t arrival_ns)
{
    if (!s->started) {
        *s = (struct stamper){.started = true,
                              .last_ticks = ticks,
                              .base_ns = arrival_ns,
                              .least_ns = INT64_MAX,
                              .first_arrival_ns = arrival_ns};
        return STAMP_OK;
    }
    int64_t step = ticks_between_ns(s->last_ticks, ticks);
    if (step < -STAMP_JUMP_NS || step > STAMP_JUMP_NS)
        return STAMP_JUMPED;
    int64_t source_ns = s->last_ns + step;
    if (step > 0) {
        s->last_ticks = ticks;
        s->last_ns = source_ns;
    }
    int64_t late_ns = arrival_ns - farm_of(s, source_ns);
    if (!s->acquired) {
        if (late_ns < 0)
            s->base_ns += late_ns;
        s->acquired = arrival_ns - s->first_arrival_ns >= STAMP_ACQUIRE_NS;
        s->begin_ns = source_ns;
        return STAMP_OK;
    }
    s->least_ns = late_ns < s->least_ns ? late_ns : s->least_ns;
    if (source_ns - s->begin_ns < SECOND_NS)
        return STAMP_OK;
    bool off = s->least_ns > STAMP_OFF_NS || s->least_ns < -STAMP_OFF_NS;
    s->bad_windows = off ? s->bad_windows + 1 : 0;
    if (s->bad_windows == 2)
        return STAMP_JUMPED;
    turn(s, source_ns);
    return STAMP_OK;
}

int64_t stamper_farm_ns(const struct stamper *s, int64_t ticks)
{
    return farm_of(s, source_of(s, ticks));
}
