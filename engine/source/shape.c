// Shapes: drawn once by Cairo at the output's resolution.
#include "engine/base/thread.h"
#include "engine/source/drawing.h"
#include "engine/source/source.h"

#include <stdlib.h>

struct shape {
    struct picture *picture;
};

static void trace_ellipse(cairo_t *cr, double x, double y, double width, double height)
{
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_scale(cr, width, height);
    drawing_rounded(cr, 0, 0, 1, 1, 0.5);
    cairo_restore(cr);
}

static void trace(cairo_t *cr, const struct shape_style *s, double x, double y)
{
    if (s->kind == SHAPE_ELLIPSE) {
        trace_ellipse(cr, x, y, s->width, s->height);
    } else if (s->kind == SHAPE_RECTANGLE) {
        drawing_rounded(cr, x, y, s->width, s->height, s->radius);
    } else {
        for (size_t i = 0; i < s->point_count; i++)
            cairo_line_to(cr, x + s->points[2 * i], y + s->points[2 * i + 1]);
        cairo_close_path(cr);
    }
}

// A polygon without a size is as large as its points reach.
static void shape_extent(const struct shape_style *s, double *ret_width, double *ret_height)
{
    *ret_width = s->width;
    *ret_height = s->height;
    for (size_t i = 0; s->kind == SHAPE_POLYGON && i < s->point_count; i++) {
        if (s->points[2 * i] > *ret_width)
            *ret_width = s->points[2 * i];
        if (s->points[2 * i + 1] > *ret_height)
            *ret_height = s->points[2 * i + 1];
    }
}

static void paint(cairo_t *cr, const struct shape_style *s, double height)
{
    double margin = s->stroke / 2;
    trace(cr, s, margin, margin);
    cairo_pattern_t *gradient = NULL;
    if (s->gradient) {
        gradient = cairo_pattern_create_linear(0, margin, 0, margin + height);
        const struct colour ends[2] = {s->fill, s->fill_to};
        for (int i = 0; i < 2; i++)
            cairo_pattern_add_color_stop_rgba(gradient, i, ends[i].red / 255.0,
                                              ends[i].green / 255.0, ends[i].blue / 255.0,
                                              ends[i].alpha / 255.0);
        cairo_set_source(cr, gradient);
    } else {
        drawing_colour(cr, s->fill);
    }
    cairo_fill_preserve(cr);
    if (s->stroke > 0) {
        cairo_set_line_width(cr, s->stroke);
        drawing_colour(cr, s->stroke_colour);
        cairo_stroke(cr);
    }
    if (gradient)
        cairo_pattern_destroy(gradient);
}

static int shape_open(const struct source_config *config, void **ret_state, int *ret_width,
                      int *ret_height, struct diagnostic *reterr)
{
    const struct shape_style *s = config->clip->shape;
    double width, height;
    cairo_surface_t *surface;
    shape_extent(s, &width, &height);
    int error = drawing_create((width + s->stroke) * config->scale_x,
                               (height + s->stroke) * config->scale_y, PICTURE_SIDE_MAX,
                               config->clip->id, &surface, reterr);
    if (error)
        return error;
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, config->scale_x, config->scale_y);
    paint(cr, s, height);
    cairo_destroy(cr);
    struct shape *shape = base_alloc(sizeof *shape);
    error = drawing_picture(surface, config->clip->id, &shape->picture, reterr);
    cairo_surface_destroy(surface);
    if (error) {
        free(shape);
        return error;
    }
    *ret_width = shape->picture->width;
    *ret_height = shape->picture->height;
    *ret_state = shape;
    return 0;
}

static int shape_picture(void *state, const struct clip_instant *at, struct picture **ret,
                         uint64_t *ret_content, struct diagnostic *reterr)
{
    (void)at;
    (void)reterr;
    struct shape *shape = state;
    *ret = picture_ref(shape->picture);
    *ret_content = 1;
    return 0;
}

static void shape_destroy(void *state)
{
    struct shape *shape = state;
    picture_unref(&shape->picture);
    free(shape);
}

const struct source_ops source_shape_ops = {shape_open, shape_picture, NULL, NULL, shape_destroy};
