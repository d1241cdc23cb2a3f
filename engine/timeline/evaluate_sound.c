#include "engine/timeline/arithmetic.h"
#include "engine/timeline/evaluate.h"
#include "engine/timeline/property.h"

#include <math.h>

static bool clip_sounds(const struct clip *clip)
{
    switch (clip->kind) {
    case CLIP_VIDEO:
    case CLIP_AUDIO:
    case CLIP_TIMELINE:
        return !clip->muted;
    case CLIP_PATTERN:
        return !clip->muted && clip->pattern->tone_hz > 0;
    case CLIP_IMAGE:
    case CLIP_SEQUENCE:
    case CLIP_TEXT:
    case CLIP_SHAPE:
    case CLIP_ADJUST:
        break;
    }
    return false;
}

enum side { SIDE_ALONE, SIDE_RISING, SIDE_FALLING };

// Gain of a clip at a position. `ramp` is the clip that dissolves in: its own for the rising side,
// the next one for the falling side. The powers of both sides add up to 1.
static double gain_at(const struct clip *clip, struct rational position, enum side side,
                      const struct clip *ramp)
{
    struct rational local = clip_local(clip, position);
    double gain = decibel_to_gain(property_single(&clip->gain_db, local, RANGE_GAIN)) *
                  fade_share(local, clip->duration, clip->sound_fade_in, clip->sound_fade_out);
    if (side == SIDE_ALONE)
        return gain;
    double share = ramp_share(clip_local(ramp, position), ramp->transition);
    return gain * sqrt(side == SIDE_RISING ? share : 1 - share);
}

// Fills `*ret` and returns 1, or 0 when nothing is to be heard.
static size_t evaluate_clip_sound(const struct timeline *timeline, const struct clip *clip,
                                  struct rational position, struct rational end, enum side side,
                                  const struct clip *ramp, struct layer_sound *ret)
{
    if (!clip_sounds(clip))
        return 0;
    double gain_start = gain_at(clip, position, side, ramp);
    double gain_end = gain_at(clip, end, side, ramp);
    struct rational local = clip_local(clip, position);
    // At another rate than the timeline's, a clip's first output frame starts some way into the
    // clip. What rises from nothing still begins at nothing, or there would be a click.
    bool rises = side == SIDE_RISING || clip->sound_fade_in > 0;
    if (rises && rational_compare(local, rational_difference(end, position)) < 0)
        gain_start = 0;
    if (gain_start == 0 && gain_end == 0)
        return 0;
    *ret = (struct layer_sound){
        .clip = clip,
        .source_time = clip_source_time(timeline, clip, local),
        .gain_start = gain_start,
        .gain_end = gain_end,
        .pan_start = property_single(&clip->pan, local, RANGE_PAN),
        .pan_end = property_single(&clip->pan, clip_local(clip, end), RANGE_PAN),
    };
    return 1;
}

size_t timeline_evaluate_sound_at(const struct timeline *timeline, struct rational seconds,
                                  struct rational length, bool loop, int track_from, int track_to,
                                  struct layer_sound *sounds, size_t max)
{
    struct rational position;
    if (!timeline_position(timeline, seconds, loop, &position))
        return 0;
    // The ramp goes on past the end of a loop or clip; the next frame starts afresh.
    struct rational rate = {timeline->rate.num, timeline->rate.den};
    struct rational end = rational_sum(position, rational_product(length, rate));
    size_t count = 0;
    for (int i = track_from < 0 ? 0 : track_from;
         i < track_to && (size_t)i < timeline->track_count && count < max; i++) {
        const struct track *track = &timeline->tracks[i];
        struct moment moment = track->muted ? (struct moment){0} : track_moment(track, position);
        if (!moment.now)
            continue;
        if (moment.from)
            count += evaluate_clip_sound(timeline, moment.from, position, end, SIDE_FALLING,
                                         moment.now, &sounds[count]);
        if (count < max)
            count += evaluate_clip_sound(timeline, moment.now, position, end,
                                         moment.from ? SIDE_RISING : SIDE_ALONE, moment.now,
                                         &sounds[count]);
    }
    return count;
}

size_t timeline_evaluate_sound(const struct timeline *timeline, struct rate output_rate, int64_t n,
                               int track_from, int track_to, struct layer_sound *sounds, size_t max)
{
    struct rational length = {output_rate.den, output_rate.num};
    return timeline_evaluate_sound_at(timeline, output_seconds(output_rate, n), length,
                                      timeline->loop, track_from, track_to, sounds, max);
}
