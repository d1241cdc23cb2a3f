// What text and shapes share: a Cairo surface of even size that becomes a picture. Private to
// engine/source. Thread: any, on separate objects.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/frame/picture.h"
#include "engine/timeline/timeline.h"

#include <cairo.h>

// Cairo's own limit for one surface, and ours for the memory that one may take (256 MiB).
#define DRAWING_SIDE_MAX   32766
#define DRAWING_PIXELS_MAX (1 << 26)

// An empty (transparent) surface; sizes are rounded up to even, at least 2. -EINVAL when a side is
// beyond `side_max` or the area beyond DRAWING_PIXELS_MAX; `what` names the clip.
int drawing_create(double width, double height, int side_max, const char *what,
                   cairo_surface_t **ret, struct diagnostic *reterr);
void drawing_colour(cairo_t *cr, struct colour colour);
void drawing_rounded(cairo_t *cr, double x, double y, double width, double height, double radius);
// Three box blurs of integer radius along each axis, close to a Gaussian whose standard deviation
// is half of the radius (as in CSS), on an A8 surface.
void drawing_blur(cairo_surface_t *surface, double radius_x, double radius_y);
int drawing_picture(cairo_surface_t *surface, const char *what, struct picture **ret,
                    struct diagnostic *reterr);
