#include "engine/render/clip_view.h"

#include "engine/base/thread.h"
#include "engine/compose/convert.h"
#include "engine/compose/shadow.h"
#include "engine/frame/checksum.h"
#include "engine/render/composition.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// A source that could not be opened is tried again this many calls later: it may still be on its
// way to this node.
#define RETRY_CALLS 32

struct clip_view {
    struct clip_context context;
    const struct clip *clip;
    struct source *source;           // kinds with a source of their own
    struct composition *composition; // CLIP_TIMELINE
    struct source *fallback_source;
    struct clip fallback_clip; // what source_open is told for a FALLBACK_ASSET
    struct picture *fallback_picture;
    struct diagnostic problem; // of the last open
    struct diagnostic notice;  // `error` != 0: the clip shows, but not as it was asked for
    int calls_until_retry;
    // The last picture placed, and what it was made of.
    struct placed last;
    uint64_t last_content, last_placement;
    // The last shadow drawn (NULL: none to be seen), which outlasts the pictures that cast it.
    struct picture *shadow;
    int shadow_x, shadow_y;
    uint64_t shadow_key; // 0: none was drawn
};

static void source_config_fill(const struct clip_view *view, const struct clip *clip,
                               struct source_config *ret)
{
    const struct clip_context *c = &view->context;
    *ret = (struct source_config){
        .timeline = c->timeline,
        .clip = clip,
        .scale_x = c->scale_x,
        .scale_y = c->scale_y,
        .output_width = c->width,
        .output_height = c->height,
        .output_rate = c->config->rate,
        .resolver = c->config->resolver,
        .patient = c->config->patient,
        .fonts = c->fonts,
        .field = c->config->field,
        .field_opaque = c->config->field_opaque,
    };
}

static int open_material(struct clip_view *view)
{
    if (view->clip->kind == CLIP_TIMELINE) {
        int width, height;
        composition_natural_size(&view->context, view->clip->nested, &width, &height);
        return composition_create(view->context.config, view->context.cameras, view->clip->nested,
                                  width, height, view->context.depth + 1, &view->composition,
                                  &view->problem);
    }
    if (view->clip->kind == CLIP_CAMERA)
        return 0; // the renderer's cameras have it
    struct source_config config;
    source_config_fill(view, view->clip, &config);
    return source_open(&config, &view->source, &view->problem);
}

struct clip_view *clip_view_create(const struct clip_context *context, const struct clip *clip)
{
    struct clip_view *view = base_alloc(sizeof *view);
    view->context = *context;
    view->clip = clip;
    if (clip->kind == CLIP_TEXT && context->fonts)
        (void)font_set_check(context->fonts, clip->text->font, &view->notice);
    if (open_material(view))
        view->calls_until_retry = RETRY_CALLS;
    return view;
}

static void forget_last(struct clip_view *view)
{
    picture_unref(&view->last.picture);
    view->last = (struct placed){0};
    view->last_content = 0;
}

void clip_view_destroy(struct clip_view **view)
{
    struct clip_view *v = *view;
    if (!v)
        return;
    *view = NULL;
    forget_last(v);
    picture_unref(&v->shadow);
    source_destroy(&v->source);
    source_destroy(&v->fallback_source);
    composition_destroy(&v->composition);
    picture_unref(&v->fallback_picture);
    free(v);
}

static int nested_picture(struct clip_view *view, const struct clip_instant *at,
                          struct picture **ret, uint64_t *ret_content, struct render_report *report)
{
    bool loop = view->clip->nested->loop || view->clip->loop;
    return composition_picture(view->composition, at->source_time, loop, ret, ret_content, report);
}

static int material_picture(struct clip_view *view, const struct clip_instant *at,
                            struct picture **ret, uint64_t *ret_content,
                            struct render_report *report, struct diagnostic *reterr)
{
    return view->composition ? nested_picture(view, at, ret, ret_content, report)
                             : source_picture(view->source, at, ret, ret_content, reterr);
}

// A clip whose material is missing or broken shows its fallback.
static int fallback_picture(struct clip_view *view, const struct clip_instant *at,
                            struct picture **ret, uint64_t *ret_content)
{
    const struct fallback *f = &view->clip->fallback;
    if (f->kind == FALLBACK_TRANSPARENT)
        return -ENOENT;
    if (f->kind == FALLBACK_ASSET) {
        if (!view->fallback_source) {
            view->fallback_clip = *view->clip;
            view->fallback_clip.kind = CLIP_IMAGE;
            view->fallback_clip.asset = f->asset;
            struct source_config config;
            source_config_fill(view, &view->fallback_clip, &config);
            int error = source_open(&config, &view->fallback_source, NULL);
            if (error)
                return error;
        }
        return source_picture(view->fallback_source, at, ret, ret_content, NULL);
    }
    if (!view->fallback_picture) {
        uint8_t colour[4];
        convert_colour(f->colour, colour);
        view->fallback_picture = picture_create(colour[3] == 255 ? PICTURE_OPAQUE : PICTURE_ALPHA,
                                                view->context.width, view->context.height);
        if (!view->fallback_picture)
            return -ENOMEM;
        picture_fill(view->fallback_picture, colour);
    }
    *ret = picture_ref(view->fallback_picture);
    *ret_content = 1;
    return 0;
}

static void note_problem(const struct clip_view *view, const struct diagnostic *problem,
                         struct render_report *report)
{
    if (!report->problems++)
        clip_problem(view->context.timeline, view->clip, problem, &report->first);
}

// What a file's index or the plan says, all nodes know alike; a file may be missing on one alone.
static bool is_everywhere(const struct diagnostic *problem)
{
    return !strcmp(problem->code, "media_damaged") || !strcmp(problem->code, "asset_poisoned");
}

static int mark_fallback(int error, uint64_t *ret_content)
{
    if (!error)
        *ret_content |= UINT64_C(1) << 63; // never the key of real material
    return error;
}

// That the source is not there is in its log, and no problem; -EAGAIN: the log does not say yet.
static int camera_view_picture(struct clip_view *view, const struct clip_instant *at,
                               struct picture **ret, uint64_t *ret_content,
                               struct render_report *report)
{
    struct diagnostic problem;
    int error = cameras_picture(view->context.cameras, view->clip, ret, ret_content, &problem);
    if (!error || error == -EAGAIN)
        return error;
    bool gone = error == -ENODATA;
    error = fallback_picture(view, at, ret, ret_content);
    if (gone && error && view->clip->fallback.kind != FALLBACK_TRANSPARENT) {
        diagnostic_set(&problem, error, "fallback", "", "the fallback cannot be shown");
        gone = false;
    }
    if (!gone) {
        note_problem(view, &problem, report);
        report->uncertain++;
    }
    return mark_fallback(error, ret_content);
}

// Material or fallback, whichever there is.
static int view_picture(struct clip_view *view, const struct clip_instant *at, struct picture **ret,
                        uint64_t *ret_content, struct render_report *report)
{
    struct diagnostic problem = view->problem;
    if (view->clip->kind == CLIP_CAMERA)
        return camera_view_picture(view, at, ret, ret_content, report);
    if (!view->source && !view->composition && --view->calls_until_retry <= 0) {
        if (open_material(view))
            view->calls_until_retry = RETRY_CALLS;
        problem = view->problem;
    }
    if (view->notice.error)
        note_problem(view, &view->notice, report);
    if (view->source || view->composition) {
        int error = material_picture(view, at, ret, ret_content, report, &problem);
        if (!error || (view->composition && error == -EAGAIN))
            return error;
    }
    note_problem(view, &problem, report);
    report->uncertain += !is_everywhere(&problem);
    return mark_fallback(fallback_picture(view, at, ret, ret_content), ret_content);
}

// Puts what was placed, if anything, over its shadow, if it has one.
static int cast_shadow(struct clip_view *view, const struct placement *placement,
                       struct placed *placed)
{
    const struct clip_context *c = &view->context;
    uint64_t key = shadow_key(placement);
    if (!key)
        return 0;
    if (key != view->shadow_key || c->config->plain) {
        picture_unref(&view->shadow);
        view->shadow_key = 0;
        int error = shadow_draw(placement, c->width, c->height, &view->shadow, &view->shadow_x,
                                &view->shadow_y);
        if (error)
            return error;
        view->shadow_key = key;
    }
    return view->shadow ? shadow_put(view->shadow, view->shadow_x, view->shadow_y, c->width,
                                     c->height, &placed->picture, &placed->x, &placed->y)
                        : 0;
}

void clip_view_place(struct clip_view *view, const struct clip_instant *at, struct placed *ret,
                     struct render_report *report)
{
    *ret = (struct placed){0};
    struct picture *picture = NULL;
    uint64_t content;
    if (view_picture(view, at, &picture, &content, report))
        return;
    struct placement placement = placement_resolve(&at->placement, picture->width, picture->height,
                                                   view->context.width, view->context.height);
    uint64_t placement_hash = placement_key(&placement);
    if (!view->context.config->plain && view->last.picture && view->last_content == content &&
        view->last_placement == placement_hash) {
        picture_unref(&picture);
        *ret = view->last;
        ret->picture = picture_ref(ret->picture);
        return;
    }
    int error = placer_place(view->context.placer, picture, &placement, view->context.width,
                             view->context.height, &ret->picture, &ret->x, &ret->y);
    picture_unref(&picture);
    if (!error)
        error = cast_shadow(view, &placement, ret);
    if (error) {
        picture_unref(&ret->picture);
        struct diagnostic problem;
        diagnostic_set(&problem, error, "render_memory", view->clip->id,
                       "no memory to place this clip");
        note_problem(view, &problem, report);
        return;
    }
    uint64_t parts[2] = {content, placement_hash};
    ret->key = checksum_add(checksum_begin(), parts, sizeof parts);
    forget_last(view);
    if (ret->picture) {
        view->last = *ret;
        view->last.picture = picture_ref(ret->picture);
        view->last_content = content;
        view->last_placement = placement_hash;
    }
}

void clip_view_prepare(struct clip_view *view, const struct clip_instant *at)
{
    if (view->clip->kind == CLIP_CAMERA)
        cameras_follow(view->context.cameras, view->clip);
    else if (view->source)
        source_prepare(view->source, at);
    else if (view->composition)
        composition_prepare(view->composition, at->source_time,
                            view->clip->nested->loop || view->clip->loop, 0,
                            (int)view->clip->nested->track_count);
}

void clip_view_follow(struct clip_view *view, const struct clip_instant *at, int64_t frames)
{
    if (view->clip->kind == CLIP_CAMERA)
        cameras_follow(view->context.cameras, view->clip);
    else if (view->source)
        source_follow(view->source, at);
    else if (view->composition)
        composition_follow(view->composition, at->source_time,
                           view->clip->nested->loop || view->clip->loop, 0,
                           (int)view->clip->nested->track_count, frames);
}
