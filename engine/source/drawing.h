// What text and shapes share: a Cairo surface of even size that becomes a picture. Private to
// engine/source. Thread: any, on separate objects.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/frame/picture.h"
#include "engine/timeline/timeline.h"

#include <cairo.h>

// Cairo's own limit for one surface.
#define DRAWING_SIDE_MAX 32766

// An empty (transparent) surface; sizes are rounded up to even, at least 2. -EINVAL beyond the limit.
int drawing_create(double width, double height, const char *what, cairo_surface_t **ret,
                   struct diagnostic *reterr);
void drawing_colour(cairo_t *cr, struct colour colour);
void drawing_rounded(cairo_t *cr, double x, double y, double width, double height, double radius);
// Three box blurs of integer radius, close to a Gaussian of the given radius, on an A8 surface.
void drawing_blur(cairo_surface_t *surface, double radius);
int drawing_picture(cairo_surface_t *surface, struct picture **ret);
