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
    case CLIP_CAMERA:
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

// One clip's part over one output frame: [0] where the frame starts, [1] where it ends.
struct part {
    const struct clip *clip;
    enum side side;
    double share[2]; // of the dissolve that is over
    struct rational position[2];
};

// The powers of both sides of a dissolve add up to 1.
static double gain_at(const struct part *part, int end)
{
    const struct clip *clip = part->clip;
    struct rational local = clip_local(clip, part->position[end]);
    double gain = decibel_to_gain(property_single(&clip->gain_db, local, RANGE_GAIN)) *
                  fade_share(local, clip->duration, clip->sound_fade_in, clip->sound_fade_out);
    if (part->side == SIDE_ALONE)
        return gain;
    double share = part->share[end];
    return gain * sqrt(part->side == SIDE_RISING ? share : 1 - share);
}

// Fills `*ret` and returns 1, or 0 when nothing is to be heard.
static size_t evaluate_part(const struct timeline *timeline, const struct part *part,
                            struct layer_sound *ret)
{
    const struct clip *clip = part->clip;
    if (!clip_sounds(clip))
        return 0;
    double gain_start = gain_at(part, 0);
    double gain_end = gain_at(part, 1);
    struct rational local = clip_local(clip, part->position[0]);
    // At another rate than the timeline's, a clip's first output frame starts some way into the
    // clip. What rises from nothing still begins at nothing, or there would be a click.
    bool rises = part->side == SIDE_RISING || clip->sound_fade_in > 0;
    struct rational length = rational_difference(part->position[1], part->position[0]);
    if (rises && rational_compare(local, length) < 0)
        gain_start = 0;
    if (gain_start == 0 && gain_end == 0)
        return 0;
    *ret = (struct layer_sound){
        .clip = clip,
        .source_time = clip_source_time(timeline, clip, local),
        .gain_start = gain_start,
        .gain_end = gain_end,
        .pan_start = property_single(&clip->pan, local, RANGE_PAN),
        .pan_end = property_single(&clip->pan, clip_local(clip, part->position[1]), RANGE_PAN),
    };
    return 1;
}

// What goes and how, on a live track, at `now` where that is no matter of time: by the fader, from
// where it was a frame before, or within the first frame after a cut. Whether `now` comes in.
static bool live_parts(const struct takes *live, size_t index, struct moment *moment,
                       struct rational cut, struct part *now)
{
    struct rational position = now->position[0], end = now->position[1];
    struct rational earlier = rational_difference(rational_sum(position, position), end);
    struct moment before = takes_moment(live, index, earlier, NULL);
    bool first = rational_compare(cut, earlier) > 0;
    if (moment->manual || (before.manual && !first)) {
        now->share[0] = first ? 0 : before.share;
        now->share[1] = moment->manual ? moment->share : 1;
        moment->from = moment->manual ? moment->from : before.from;
        return true;
    }
    if (first)
        moment->from = before.now;
    return first;
}

// What sounds on a track from `position` to `end`: at most two, what goes first.
static size_t track_parts(const struct timeline *timeline, const struct takes *live, size_t index,
                          struct rational position, struct rational end, struct part parts[2])
{
    const struct track *track = &timeline->tracks[index];
    struct rational cut;
    struct moment moment =
        track->live ? takes_moment(live, index, position, &cut) : track_moment(track, position);
    if (!moment.now)
        return 0;
    struct part now = {.clip = moment.now, .position = {position, end}, .share = {0, 1}};
    bool rises = moment.from && !moment.manual;
    if (rises) {
        now.share[0] = ramp_share(clip_local(moment.now, position), moment.now->transition);
        now.share[1] = ramp_share(clip_local(moment.now, end), moment.now->transition);
    } else if (track->live) {
        rises = live_parts(live, index, &moment, cut, &now);
    }
    size_t count = 0;
    if (moment.from) {
        parts[count] = now;
        parts[count].clip = moment.from;
        parts[count++].side = SIDE_FALLING;
    }
    now.side = rises ? SIDE_RISING : SIDE_ALONE;
    parts[count++] = now;
    return count;
}

size_t timeline_evaluate_sound_at(const struct timeline *timeline, const struct takes *live,
                                  struct rational seconds, struct rational length, bool loop,
                                  int track_from, int track_to, struct layer_sound *sounds,
                                  size_t max)
{
    struct rational looped = {0, 1}, straight = takes_position(timeline, seconds);
    bool over = !timeline_position(timeline, seconds, loop, &looped);
    // The ramp goes on past the end of a loop or clip; the next frame starts afresh.
    struct rational rate = {timeline->rate.num, timeline->rate.den};
    struct rational frame = rational_product(length, rate);
    size_t count = 0;
    for (int i = track_from < 0 ? 0 : track_from; i < track_to && (size_t)i < timeline->track_count;
         i++) {
        const struct track *track = &timeline->tracks[i];
        struct rational position = track->live ? straight : looped;
        struct part parts[2];
        if (track->muted || (over && !track->live))
            continue;
        size_t part_count =
            track_parts(timeline, live, (size_t)i, position, rational_sum(position, frame), parts);
        for (size_t k = 0; k < part_count && count < max; k++)
            count += evaluate_part(timeline, &parts[k], &sounds[count]);
    }
    return count;
}

size_t timeline_evaluate_sound(const struct timeline *timeline, const struct takes *live,
                               struct rate output_rate, int64_t n, int track_from, int track_to,
                               struct layer_sound *sounds, size_t max)
{
    struct rational length = {output_rate.den, output_rate.num};
    return timeline_evaluate_sound_at(timeline, live, output_seconds(output_rate, n), length,
                                      timeline->loop, track_from, track_to, sounds, max);
}
