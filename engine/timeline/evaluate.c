#include "engine/timeline/evaluate.h"

#include "engine/timeline/arithmetic.h"
#include "engine/timeline/property.h"

#include <string.h>

struct rational output_seconds(struct rate output_rate, int64_t n)
{
    return rational_fit((wide)n * output_rate.den, output_rate.num);
}

bool timeline_position(const struct timeline *timeline, struct rational seconds, bool loop,
                       struct rational *ret)
{
    if (seconds.num < 0)
        return false;
    wide num = (wide)seconds.num * timeline->rate.num;
    wide den = (wide)seconds.den * timeline->rate.den;
    wide end = den * timeline->duration;
    if (num >= end && !loop)
        return false;
    *ret = rational_fit(num % end, den);
    return true;
}

struct rational takes_position(const struct timeline *timeline, struct rational seconds)
{
    return rational_fit((wide)seconds.num * timeline->rate.num,
                        (wide)seconds.den * timeline->rate.den);
}

struct moment track_moment(const struct track *track, struct rational position)
{
    int64_t frame = rational_floor(position, 1);
    size_t low = 0, high = track->clip_count;
    while (low < high) { // the first clip that starts after the frame
        size_t middle = low + (high - low) / 2;
        if (track->clips[middle].start <= frame)
            low = middle + 1;
        else
            high = middle;
    }
    struct moment moment = {0};
    if (!low)
        return moment;
    const struct clip *clip = &track->clips[low - 1];
    if (frame < clip->start + clip->duration)
        moment.now = clip;
    if (frame < clip->start + clip->transition)
        moment.from = clip - 1; // the parser refuses a transition on a track's first clip
    return moment;
}

struct rational clip_local(const struct clip *clip, struct rational position)
{
    return rational_difference(position, (struct rational){clip->start, 1});
}

struct rational clip_source_time(const struct timeline *timeline, const struct clip *clip,
                                 struct rational local)
{
    // Terms: rate below 2^30, speed below 2^20, so the factor's fit below 2^50.
    struct rational factor = rational_fit((wide)clip->speed.num * timeline->rate.den,
                                          (wide)clip->speed.den * timeline->rate.num);
    return rational_sum(clip->in, rational_product(local, factor));
}

double ramp_share(struct rational local, int64_t length)
{
    if (length <= 0)
        return 1;
    double share = rational_double(local) / (double)length;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

double fade_share(struct rational local, int64_t duration, int64_t fade_in, int64_t fade_out)
{
    struct rational rest = rational_difference((struct rational){duration, 1}, local);
    return ramp_share(local, fade_in) * ramp_share(rest, fade_out);
}

// 0..1 -> 0..255, to nearest.
static int level(double share)
{
    return (int)(share * 255 + 0.5);
}

// Lengths that are to look alike in both directions take the smaller scale.
static struct shadow shadow_scaled(const struct shadow *s, double scale_x, double scale_y)
{
    return (struct shadow){
        .x = s->x * scale_x,
        .y = s->y * scale_y,
        .blur = s->blur * (scale_x < scale_y ? scale_x : scale_y),
        .colour = s->colour,
    };
}

static struct placement place(const struct clip *clip, struct rational local, double scale_x,
                              double scale_y)
{
    double position[2], size[2] = {0, 0}, anchor[2], left_top[2], right_bottom[2];
    double scale = scale_x < scale_y ? scale_x : scale_y;
    property_pair(&clip->position, local, RANGE_POSITION, position);
    property_pair(&clip->anchor, local, RANGE_ANCHOR, anchor);
    property_pair(&clip->crop_lt, local, RANGE_CROP, left_top);
    property_pair(&clip->crop_rb, local, RANGE_CROP, right_bottom);
    // A constant 0 0 is "by fit" and outside the range that keyframed sizes are clamped to.
    if (clip->size.count > 1 || clip->size.keys[0].value[0] > 0)
        property_pair(&clip->size, local, RANGE_SIZE, size);
    for (int i = 0; i < 2; i++)
        if (right_bottom[i] > 1 - left_top[i]) // curves may overshoot
            right_bottom[i] = 1 - left_top[i];
    return (struct placement){
        .x = position[0] * scale_x,
        .y = position[1] * scale_y,
        .width = size[0] * scale_x,
        .height = size[1] * scale_y,
        .anchor_x = anchor[0],
        .anchor_y = anchor[1],
        .rotation = property_single(&clip->rotation, local, RANGE_ROTATION),
        .crop_left = left_top[0],
        .crop_top = left_top[1],
        .crop_right = right_bottom[0],
        .crop_bottom = right_bottom[1],
        .radius = property_single(&clip->radius, local, RANGE_RADIUS) * scale,
        .fit = clip->fit,
        .border = property_single(&clip->border, local, RANGE_BORDER) * scale,
        .border_colour = clip->border_colour,
        .shadow = shadow_scaled(&clip->shadow, scale_x, scale_y),
    };
}

static void evaluate_clip(const struct timeline *timeline, const struct clip *clip,
                          struct rational position, double scale_x, double scale_y,
                          struct clip_instant *ret)
{
    struct rational local = clip_local(clip, position);
    double opacity = property_single(&clip->opacity, local, RANGE_OPACITY) *
                     fade_share(local, clip->duration, clip->fade_in, clip->fade_out);
    *ret = (struct clip_instant){
        .clip = clip,
        .local_frame = rational_floor(local, 1),
        .source_time = clip_source_time(timeline, clip, local),
        .placement = place(clip, local, scale_x, scale_y),
        .opacity = level(opacity),
        .brightness = property_single(&clip->brightness, local, RANGE_BRIGHTNESS),
        .contrast = property_single(&clip->contrast, local, RANGE_CONTRAST),
        .saturation = property_single(&clip->saturation, local, RANGE_SATURATION),
    };
}

void timeline_evaluate_at(const struct timeline *timeline, const struct takes *live,
                          struct rational seconds, bool loop, int width, int height,
                          struct layer *layers)
{
    memset(layers, 0, timeline->track_count * sizeof *layers);
    struct rational looped = {0, 1}, straight = takes_position(timeline, seconds);
    bool over = !timeline_position(timeline, seconds, loop, &looped);
    double scale_x = (double)width / timeline->width;
    double scale_y = (double)height / timeline->height;
    for (size_t i = 0; i < timeline->track_count; i++) {
        const struct track *track = &timeline->tracks[i];
        struct rational position = track->live ? straight : looped;
        struct layer *layer = &layers[i];
        struct moment moment = {0};
        if (track->live)
            moment = takes_moment(live, i, position, NULL);
        else if (!over)
            moment = track_moment(track, position);
        if (track->hidden || !moment.now || moment.now->kind == CLIP_AUDIO)
            continue;
        evaluate_clip(timeline, moment.now, position, scale_x, scale_y, &layer->now);
        if (!moment.from)
            continue;
        evaluate_clip(timeline, moment.from, position, scale_x, scale_y, &layer->from);
        double share = moment.manual
                           ? moment.share
                           : ramp_share(clip_local(moment.now, position), moment.now->transition);
        layer->mix = level(share);
        layer->share = (int)(share * 65536 + 0.5);
    }
}

void timeline_evaluate(const struct timeline *timeline, struct rate output_rate, int width,
                       int height, int64_t n, struct layer *layers)
{
    timeline_evaluate_at(timeline, NULL, output_seconds(output_rate, n), timeline->loop, width,
                         height, layers);
}
