#include "engine/source/drawing.h"

#include "engine/base/thread.h"
#include "engine/compose/convert.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int drawing_create(double width, double height, int side_max, const char *what,
                   cairo_surface_t **ret, struct diagnostic *reterr)
{
    if (!(width <= side_max) || !(height <= side_max) || !(width * height <= DRAWING_PIXELS_MAX))
        return diagnostic_set(reterr, -EINVAL, "drawing_size", what,
                              "would be drawn as %.0f x %.0f pixels; a side may have %d, the area "
                              "%d; make it smaller or split it into several clips",
                              width, height, side_max, DRAWING_PIXELS_MAX);
    int w = width < 2 ? 2 : ((int)ceil(width) + 1) & ~1;
    int h = height < 2 ? 2 : ((int)ceil(height) + 1) & ~1;
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_ARGB32, w, h);
    if (cairo_surface_status(surface) != CAIRO_STATUS_SUCCESS) {
        cairo_surface_destroy(surface);
        return diagnostic_set(reterr, -ENOMEM, "drawing_memory", what, "out of memory");
    }
    *ret = surface;
    return 0;
}

void drawing_colour(cairo_t *cr, struct colour c)
{
    cairo_set_source_rgba(cr, c.red / 255.0, c.green / 255.0, c.blue / 255.0, c.alpha / 255.0);
}

// Quarter circles as Bezier curves (error below 0.03 %), so that no libm sine is called.
void drawing_rounded(cairo_t *cr, double x, double y, double width, double height, double radius)
{
    double limit = (width < height ? width : height) / 2;
    double r = radius > limit ? limit : radius, k = r * (1 - 0.5522847498307936);
    double right = x + width, bottom = y + height;
    cairo_new_sub_path(cr);
    cairo_move_to(cr, x + r, y);
    cairo_line_to(cr, right - r, y);
    cairo_curve_to(cr, right - k, y, right, y + k, right, y + r);
    cairo_line_to(cr, right, bottom - r);
    cairo_curve_to(cr, right, bottom - k, right - k, bottom, right - r, bottom);
    cairo_line_to(cr, x + r, bottom);
    cairo_curve_to(cr, x + k, bottom, x, bottom - k, x, bottom - r);
    cairo_line_to(cr, x, y + r);
    cairo_curve_to(cr, x, y + k, x + k, y, x + r, y);
    cairo_close_path(cr);
}

// One box blur along a line of `count` samples, `step` bytes apart; outside is transparent.
static void blur_line(uint8_t *line, ptrdiff_t step, int count, int radius, uint8_t *scratch)
{
    int width = 2 * radius + 1, sum = 0;
    for (int i = 0; i < count; i++)
        scratch[i] = line[i * step];
    for (int i = 0; i < radius && i < count; i++)
        sum += scratch[i];
    for (int i = 0; i < count; i++) {
        if (i + radius < count)
            sum += scratch[i + radius];
        if (i - radius - 1 >= 0)
            sum -= scratch[i - radius - 1];
        line[i * step] = (uint8_t)((sum + width / 2) / width);
    }
}

void drawing_blur(cairo_surface_t *surface, double radius_x, double radius_y)
{
    int box_x = (int)(radius_x / 2 + 0.5), box_y = (int)(radius_y / 2 + 0.5);
    if (box_x < 1 && box_y < 1)
        return;
    cairo_surface_flush(surface);
    uint8_t *data = cairo_image_surface_get_data(surface);
    ptrdiff_t stride = cairo_image_surface_get_stride(surface);
    int width = cairo_image_surface_get_width(surface);
    int height = cairo_image_surface_get_height(surface);
    uint8_t *scratch = base_alloc((size_t)(width > height ? width : height));
    for (int pass = 0; data && pass < 3; pass++) {
        for (int y = 0; y < height && box_x > 0; y++)
            blur_line(data + y * stride, 1, width, box_x, scratch);
        for (int x = 0; x < width && box_y > 0; x++)
            blur_line(data + x, stride, height, box_y, scratch);
    }
    free(scratch);
    cairo_surface_mark_dirty(surface);
}

int drawing_picture(cairo_surface_t *surface, const char *what, struct picture **ret,
                    struct diagnostic *reterr)
{
    cairo_surface_flush(surface);
    struct picture *p = NULL;
    if (cairo_surface_status(surface) == CAIRO_STATUS_SUCCESS)
        p = picture_create(PICTURE_ALPHA, cairo_image_surface_get_width(surface),
                           cairo_image_surface_get_height(surface));
    if (!p)
        return diagnostic_set(reterr, -ENOMEM, "drawing_memory", what, "out of memory");
    convert_argb32(p, cairo_image_surface_get_data(surface),
                   cairo_image_surface_get_stride(surface));
    *ret = p;
    return 0;
}
