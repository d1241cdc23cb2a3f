#include "engine/live/sound_map.h"

#include "engine/base/rate.h"

#define SECOND_NS INT64_C(1000000000)

void sound_map_begin(struct sound_map_maker *m, int rate, int64_t farm_ns,
                     struct sound_point ret[2])
{
    ret[0] = (struct sound_point){0, farm_ns};
    ret[1] = (struct sound_point){3 * (int64_t)rate, farm_ns + 3 * SECOND_NS};
    *m = (struct sound_map_maker){.rate = rate, .before = ret[0], .last = ret[1]};
}

static int64_t farm_at(struct sound_point from, struct sound_point to, int64_t index)
{
    return from.farm_ns +
           muldiv_floor(index - from.index, to.farm_ns - from.farm_ns, to.index - from.index);
}

int64_t sound_map_farm_ns(const struct sound_map_maker *m, int64_t index)
{
    // Of what lies before the last two, the line through them is as near as anybody needs.
    return farm_at(m->before, m->last, index);
}

bool sound_map_arrive(struct sound_map_maker *m, int64_t index, int64_t farm_ns,
                      struct sound_point *ret)
{
    m->error_sum_ns += farm_ns - sound_map_farm_ns(m, index);
    m->error_count++;
    // A second and a half ahead, for a unit may hold half a second of samples.
    if (m->last.index - index > (int64_t)m->rate * 3 / 2)
        return false;
    int64_t slope = slope_loop_step(&m->loop, m->error_sum_ns / m->error_count);
    m->error_sum_ns = m->error_count = 0;
    *ret = (struct sound_point){m->last.index + m->rate, m->last.farm_ns + SECOND_NS + slope};
    m->before = m->last;
    m->last = *ret;
    return true;
}

bool sound_map_skip(struct sound_map_maker *m, int64_t index, struct sound_point *ret)
{
    int64_t seconds = (index - m->last.index) / m->rate + 2;
    if (seconds < 2 || index < m->last.index - m->rate)
        return false;
    *ret = (struct sound_point){m->last.index + seconds * m->rate,
                                m->last.farm_ns + seconds * (SECOND_NS + m->loop.slope)};
    m->before = m->last;
    m->last = *ret;
    return true;
}

__int128 sound_position(struct sound_point from, struct sound_point to, __int128 time)
{
    __int128 span = (__int128)(to.farm_ns - from.farm_ns) * SAMPLE_RATE_HZ;
    __int128 since = time - (__int128)from.farm_ns * SAMPLE_RATE_HZ;
    // since < 2^31 s of 48000e9 a second would overflow only after centuries in one segment.
    __int128 scaled = (since * (to.index - from.index)) << 16;
    __int128 quotient = scaled / span;
    __int128 rest = scaled % span;
    if (rest < 0) {
        rest += span;
        quotient--;
    }
    return ((__int128)from.index << 32) + (quotient << 16) + (rest << 16) / span;
}
