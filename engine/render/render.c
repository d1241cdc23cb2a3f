#include "engine/render/render.h"

#include "engine/base/thread.h"
#include "engine/compose/convert.h"
#include "engine/live/cameras.h"
#include "engine/render/composition.h"
#include "engine/sound/mix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct renderer {
    struct render_config config;
    struct timeline *timeline;
    struct composition *composition;
    struct group_builder *builder;
    struct cameras *cameras;    // NULL: the timeline has none
    struct sound_mixer *mixer;  // NULL without sound
    struct picture *background; // for base groups
    bool needs_beneath;
    // The last frame, reused while nothing changes.
    struct group_frame *last;
    uint64_t last_keys[TIMELINE_TRACKS_MAX];
    int64_t at; // where it was last
};

bool renderer_needs_beneath(const struct timeline *timeline, int track_from, int track_to)
{
    for (int track = track_from; track < track_to; track++)
        for (size_t i = 0; i < timeline->tracks[track].clip_count; i++)
            if (timeline->tracks[track].clips[i].kind == CLIP_ADJUST)
                return true;
    return false;
}

int renderer_create(const struct render_config *config, struct renderer **ret,
                    struct diagnostic *reterr)
{
    const struct timeline *t = config->timeline;
    if (config->track_from < 0 || config->track_from > config->track_to ||
        config->track_to > (int)t->track_count || config->width < 2 || config->height < 2 ||
        config->width % 2 || config->height % 2 || config->width > PICTURE_SIDE_MAX ||
        config->height > PICTURE_SIDE_MAX)
        return diagnostic_set(reterr, -EINVAL, "render_config", "",
                              "tracks %d to %d at %dx%d cannot be rendered", config->track_from,
                              config->track_to, config->width, config->height);
    if (timeline_has_camera(t) && !config->live_folder)
        return diagnostic_set(
            reterr, -EINVAL, "live_folder", "",
            "the timeline shows the live source \"%s\", and there is no folder of "
            "logs here",
            t->sources[0]);
    struct renderer *r = base_alloc(sizeof *r);
    r->config = *config;
    if (timeline_has_camera(t))
        r->cameras = cameras_create(config->live_folder, config->rate, config->epoch_ns);
    r->timeline = timeline_ref(t);
    r->config.timeline = r->timeline;
    r->builder = group_builder_create(config->width, config->height);
    r->needs_beneath = renderer_needs_beneath(t, config->track_from, config->track_to);
    int error = composition_create(&r->config, r->cameras, t, config->width, config->height, 0,
                                   &r->composition, reterr);
    if (error)
        goto fail;
    if (config->base) {
        r->background = picture_create(PICTURE_OPAQUE, config->width, config->height);
        if (!r->background) {
            error = diagnostic_set(reterr, -ENOMEM, "render_memory", "", "out of memory");
            goto fail;
        }
        struct colour opaque = t->background;
        opaque.alpha = 255;
        uint8_t colour[4];
        convert_colour(opaque, colour);
        picture_fill(r->background, colour);
    }
    if (config->sound)
        r->mixer = sound_mixer_create(r->timeline, config->rate, &r->config.resolver, r->cameras);
    *ret = r;
    return 0;
fail:
    renderer_destroy(&r);
    return error;
}

void renderer_destroy(struct renderer **renderer)
{
    struct renderer *r = *renderer;
    if (!r)
        return;
    *renderer = NULL;
    group_frame_unref(&r->last);
    group_builder_destroy(&r->builder);
    composition_destroy(&r->composition);
    sound_mixer_destroy(&r->mixer);
    cameras_destroy(&r->cameras);
    picture_unref(&r->background);
    timeline_unref(&r->timeline);
    free(r);
}

// Puts an adjustment over what the builder has so far, and starts the group anew from the result.
static int apply_adjust(struct renderer *r, const struct clip_instant *at)
{
    struct group_frame *below = NULL;
    struct picture *picture = NULL, *adjusted = NULL;
    int error = group_builder_finish(r->builder, &below);
    if (!error)
        error = group_fold_over(NULL, below, &picture);
    if (!error) {
        adjusted = picture_create(PICTURE_OPAQUE, r->config.width, r->config.height);
        error = adjusted ? 0 : -ENOMEM;
    }
    if (!error) {
        convert_adjust(adjusted, picture, at->brightness, at->contrast, at->saturation,
                       at->opacity);
        group_builder_begin(r->builder, adjusted);
    }
    picture_unref(&adjusted);
    picture_unref(&picture);
    group_frame_unref(&below);
    return error;
}

static int build(struct renderer *r, const struct composed_layer *layers, int count,
                 const struct picture *beneath)
{
    if (r->config.plain)
        group_builder_forget(r->builder);
    group_builder_begin(r->builder, r->config.base     ? r->background
                                    : r->needs_beneath ? beneath
                                                       : NULL);
    for (int i = 0; i < count; i++) {
        const struct composed_layer *layer = &layers[i];
        int error = 0;
        if (layer->adjust)
            error = apply_adjust(r, layer->adjust);
        else if (layer->placed.picture)
            group_builder_add(r->builder, layer->placed.picture, layer->placed.x, layer->placed.y,
                              layer->opacity, layer->mode);
        if (error)
            return error;
    }
    group_frame_unref(&r->last);
    return group_builder_finish(r->builder, &r->last);
}

const struct timeline *renderer_timeline(const struct renderer *r)
{
    return r->timeline;
}

void renderer_live(struct renderer *r, const struct takes *live)
{
    composition_live(r->composition, live);
    if (r->mixer)
        sound_mixer_live(r->mixer, live);
    // Clips of takes that are forgotten may stand where new ones do: their names say nothing.
    group_builder_forget(r->builder);
    group_frame_unref(&r->last);
}

int renderer_frame(struct renderer *r, int64_t n, int64_t absolute_frame,
                   const struct picture *beneath, struct group_frame **ret, int32_t *sound,
                   struct render_report *ret_report)
{
    memset(ret_report, 0, sizeof *ret_report);
    bool takes_beneath = r->needs_beneath && !r->config.base;
    if (takes_beneath && !beneath)
        return -EINVAL;
    if (r->cameras && cameras_begin(r->cameras, absolute_frame, &ret_report->first) < 0)
        return -EAGAIN;
    // The sound first: what cannot be known yet shows before much has been done.
    struct diagnostic sound_problem;
    int sound_problems = 0;
    if (sound && r->mixer)
        sound_problems = sound_mixer_frame(r->mixer, n, absolute_frame, r->config.track_from,
                                           r->config.track_to, sound, &sound_problem);
    if (r->cameras && cameras_wait(r->cameras, &ret_report->first))
        return -EAGAIN;
    struct composed_layer layers[TIMELINE_TRACKS_MAX];
    int count = r->config.track_to - r->config.track_from;
    struct rational seconds = rational_make(n * r->config.rate.den, r->config.rate.num);
    composition_layers(r->composition, seconds, r->timeline->loop, r->config.track_from,
                       r->config.track_to, layers, ret_report);
    if (r->cameras && cameras_wait(r->cameras, &ret_report->first)) {
        composition_release(layers, count);
        return -EAGAIN;
    }
    r->at = n;
    // What lies beneath has no key: a group that takes it is always made anew.
    bool same = r->last && !takes_beneath && !r->config.plain;
    for (int i = 0; i < count; i++) {
        same = same && layers[i].key == r->last_keys[i];
        r->last_keys[i] = layers[i].key;
    }
    int error = same ? 0 : build(r, layers, count, beneath);
    composition_release(layers, count);
    if (error)
        return error;
    if (sound_problems && !ret_report->problems)
        ret_report->first = sound_problem;
    ret_report->problems += sound_problems;
    ret_report->unchanged = same;
    *ret = group_frame_ref(r->last);
    return 0;
}

void renderer_follow(struct renderer *r, int64_t n, int64_t absolute_frame)
{
    if (r->cameras)
        (void)cameras_begin(r->cameras, absolute_frame, NULL);
    struct rational seconds = rational_make(n * r->config.rate.den, r->config.rate.num);
    int64_t frames = n - r->at;
    r->at = n;
    composition_follow(r->composition, seconds, r->timeline->loop, r->config.track_from,
                       r->config.track_to, frames);
}

bool renderer_waits(struct renderer *r, int64_t absolute_frame)
{
    return r->cameras && cameras_begin(r->cameras, absolute_frame, NULL) < 0;
}

bool renderer_lacks(const struct renderer *r, struct diagnostic *ret)
{
    return r->cameras && cameras_lack(r->cameras, ret);
}
