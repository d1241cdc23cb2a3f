#include "engine/render/transition.h"

#include "engine/base/thread.h"
#include "engine/compose/convert.h"

#include <errno.h>
#include <stdlib.h>

struct transition_view {
    struct clip_context context;
    const struct clip *clip;
    struct wipe_map *map;
    // Luma: the image as a clip that fills the canvas, and what the map was made of.
    struct clip image;
    struct clip_view *image_view;
    uint64_t image_key;
};

struct transition_view *transition_view_create(const struct clip_context *context,
                                               const struct clip *clip)
{
    struct transition_view *v = base_alloc(sizeof *v);
    v->context = *context;
    v->clip = clip;
    if (clip->how->kind == TRANSITION_LUMA) {
        v->image = (struct clip){.kind = CLIP_IMAGE,
                                 .id = clip->id,
                                 .asset = clip->how->asset,
                                 .in = {0, 1},
                                 .speed = {1, 1},
                                 .fallback.asset = -1};
        v->image_view = clip_view_create(&v->context, &v->image);
    }
    return v;
}

void transition_view_destroy(struct transition_view **view)
{
    struct transition_view *v = *view;
    if (!v)
        return;
    *view = NULL;
    clip_view_destroy(&v->image_view);
    wipe_map_destroy(&v->map);
    free(v);
}

static void luma_map(struct transition_view *v, struct render_report *report)
{
    const struct clip_instant at = {
        .clip = &v->image,
        .placement = {.x = v->context.width / 2.0,
                      .y = v->context.height / 2.0,
                      .anchor_x = 0.5,
                      .anchor_y = 0.5,
                      .fit = FIT_FILL},
        .opacity = 255,
    };
    struct placed placed;
    clip_view_place(v->image_view, &at, &placed, report);
    if (!placed.picture || placed.key != v->image_key)
        wipe_map_destroy(&v->map);
    if (placed.picture && !v->map)
        v->map =
            wipe_map_of(placed.picture, v->clip->how->reverse, v->context.width, v->context.height);
    v->image_key = placed.key;
    picture_unref(&placed.picture);
}

bool transition_colours(const struct clip *clip)
{
    const struct transition *how = clip ? clip->how : NULL;
    return how && (how->kind == TRANSITION_DIP || how->border > 0);
}

// Without memory it is shown otherwise than on other nodes.
static void note_memory(const struct transition_view *v, struct render_report *report)
{
    struct diagnostic problem;
    diagnostic_set(&problem, -ENOMEM, "render_memory", v->clip->id, "no memory for its transition");
    if (!report->problems++)
        clip_problem(v->context.timeline, v->clip, &problem, &report->first);
    report->uncertain++;
}

static void draw_dissolve(struct picture *canvas, const struct wipe_side *from,
                          const struct wipe_side *to, int mix)
{
    blend_dissolve(canvas, from->picture, from->x, from->y, from->opacity, to->picture, to->x,
                   to->y, to->opacity, mix);
}

// Moved by (x, y), both even. What lies beyond the canvas does not come in.
static void draw_over(struct picture *canvas, const struct wipe_side *side, int x, int y,
                      enum blend_mode mode, int weight)
{
    struct rect all = {0, 0, canvas->width, canvas->height};
    struct rect moved = rect_intersect(all, (struct rect){x, y, canvas->width, canvas->height});
    if (side->picture)
        blend_picture(canvas, side->picture, side->x + x, side->y + y,
                      (side->opacity * weight + 127) / 255, mode, &moved);
}

static void draw_add(struct picture *canvas, const struct wipe_side *from,
                     const struct wipe_side *to, int mix)
{
    int out = mix < 128 ? 255 : 2 * (255 - mix), in = mix < 128 ? 2 * mix : 255;
    picture_clear(canvas);
    draw_over(canvas, from, 0, 0, BLEND_NORMAL, out);
    draw_over(canvas, to, 0, 0, BLEND_ADD, in);
}

static void draw_dip(const struct transition_view *v, struct picture *canvas,
                     const struct wipe_side *from, const struct wipe_side *to, int mix,
                     struct render_report *report)
{
    uint8_t colour[4];
    struct wipe_side dipped = {
        .picture = picture_create(PICTURE_ALPHA, canvas->width, canvas->height), .opacity = 255};
    struct picture *picture = (struct picture *)dipped.picture;
    if (!picture) {
        note_memory(v, report);
        draw_dissolve(canvas, from, to, mix);
        return;
    }
    convert_colour(v->clip->how->colour, colour);
    picture_fill(picture, colour);
    if (mix < 128)
        draw_dissolve(canvas, from, &dipped, 2 * mix);
    else
        draw_dissolve(canvas, &dipped, to, 2 * mix - 255);
    picture_unref(&picture);
}

// Where what is `left` of the way, 0..65536, from the outside to its place; even, as places are.
static void offset_of(const struct clip_context *c, enum direction direction, int left, int *ret_x,
                      int *ret_y)
{
    int x = (int)((int64_t)c->width * left / 65536) & ~1;
    int y = (int)((int64_t)c->height * left / 65536) & ~1;
    *ret_x = direction == DIRECTION_LEFT ? x : direction == DIRECTION_RIGHT ? -x : 0;
    *ret_y = direction == DIRECTION_UP ? y : direction == DIRECTION_DOWN ? -y : 0;
}

static void draw_move(const struct transition_view *v, struct picture *canvas,
                      const struct wipe_side *from, const struct wipe_side *to, int share)
{
    const struct transition *how = v->clip->how;
    int in_x, in_y, out_x = 0, out_y = 0;
    offset_of(&v->context, how->direction, 65536 - share, &in_x, &in_y);
    if (how->kind == TRANSITION_PUSH) {
        out_x = in_x - (how->direction == DIRECTION_LEFT    ? v->context.width
                        : how->direction == DIRECTION_RIGHT ? -v->context.width
                                                            : 0);
        out_y = in_y - (how->direction == DIRECTION_UP     ? v->context.height
                        : how->direction == DIRECTION_DOWN ? -v->context.height
                                                           : 0);
    }
    picture_clear(canvas);
    draw_over(canvas, from, out_x, out_y, BLEND_NORMAL, 255);
    draw_over(canvas, to, in_x, in_y, BLEND_NORMAL, 255);
}

static void draw_zoom(const struct transition_view *v, struct picture *canvas,
                      const struct wipe_side *from, const struct wipe_side *to, int share,
                      struct render_report *report)
{
    int width = v->context.width, height = v->context.height;
    struct picture *whole = picture_create(PICTURE_ALPHA, width, height);
    struct wipe_side small = {.opacity = 255};
    struct placement at = {.x = width / 2.0,
                           .y = height / 2.0,
                           .width = width * (share / 65536.0),
                           .height = height * (share / 65536.0),
                           .anchor_x = 0.5,
                           .anchor_y = 0.5};
    picture_clear(canvas);
    draw_over(canvas, from, 0, 0, BLEND_NORMAL, 255);
    if (!whole)
        note_memory(v, report);
    if (!whole || share < 65536 / 512) {
        picture_unref(&whole);
        return;
    }
    picture_clear(whole);
    draw_over(whole, to, 0, 0, BLEND_NORMAL, 255);
    at = placement_resolve(&at, width, height, width, height);
    struct picture *placed = NULL;
    if (placer_place(v->context.placer, whole, &at, width, height, &placed, &small.x, &small.y))
        note_memory(v, report);
    small.picture = placed;
    draw_over(canvas, &small, 0, 0, BLEND_NORMAL, 255);
    picture_unref(&placed);
    picture_unref(&whole);
}

static void draw_wipe(struct transition_view *v, struct picture *canvas,
                      const struct wipe_side *from, const struct wipe_side *to,
                      const struct layer *layer, struct render_report *report)
{
    const struct transition *how = v->clip->how;
    struct wipe_edge edge = {.softness = how->softness, .border = how->border};
    convert_colour(how->colour, edge.colour);
    if (how->kind == TRANSITION_LUMA)
        luma_map(v, report);
    else if (!v->map)
        v->map = wipe_map_create(how->wipe, how->reverse, v->context.width, v->context.height);
    if (v->map) {
        blend_wipe(canvas, from, to, v->map, &edge, layer->share);
        return;
    }
    if (how->kind == TRANSITION_WIPE || v->image_key) // else its image is missing: that was noted
        note_memory(v, report);
    draw_dissolve(canvas, from, to, layer->mix);
}

void transition_view_draw(struct transition_view *v, const struct layer *layer,
                          const struct wipe_side *from, const struct wipe_side *to,
                          struct picture *canvas, uint64_t *ret_key, struct render_report *report)
{
    switch (v->clip->how->kind) {
    case TRANSITION_ADD:
        draw_add(canvas, from, to, layer->mix);
        break;
    case TRANSITION_DIP:
        draw_dip(v, canvas, from, to, layer->mix, report);
        break;
    case TRANSITION_WIPE:
    case TRANSITION_LUMA:
        draw_wipe(v, canvas, from, to, layer, report);
        break;
    case TRANSITION_SLIDE:
    case TRANSITION_PUSH:
        draw_move(v, canvas, from, to, layer->share);
        break;
    case TRANSITION_ZOOM:
        draw_zoom(v, canvas, from, to, layer->share, report);
        break;
    case TRANSITION_DISSOLVE:
        draw_dissolve(canvas, from, to, layer->mix);
    }
    *ret_key = v->image_key;
}
