#include "engine/compose/placement.h"

#include <math.h>

#include "engine/compose/convert.h"
#include "engine/compose/shadow.h"
#include "engine/frame/checksum.h"

// A blur that reaches further is cut to this: memory for it is bounded.
#define BOX_MAX 512
// Positions and sizes are kept within what 64-bit products of the rotation can hold.
#define SIDE_LIMIT (1 << 21)

// value * unit, rounded; what is not a number counts as 0.
static int64_t fixed(double value, double limit, int unit)
{
    if (!(value > -limit))
        return value <= -limit ? (int64_t)(-limit * unit) : 0;
    return (int64_t)floor((value < limit ? value : limit) * unit + 0.5);
}

static int64_t fixed_crop(double fraction)
{
    int64_t f = fixed(fraction, 1, CROP_ONE);
    return f < 0 ? 0 : f;
}

struct geometry geometry_of(const struct placement *p)
{
    int64_t width = fixed(p->width, SIDE_LIMIT, PLACE_UNIT);
    int64_t height = fixed(p->height, SIDE_LIMIT, PLACE_UNIT);
    int64_t full = (int64_t)360 * DEGREE_UNIT;
    struct geometry g = {
        .left = fixed(p->x - p->anchor_x * p->width, SIDE_LIMIT, PLACE_UNIT),
        .top = fixed(p->y - p->anchor_y * p->height, SIDE_LIMIT, PLACE_UNIT),
        .rotation = (fixed(p->rotation, 1e9, DEGREE_UNIT) % full + full) % full,
        .radius = fixed(p->radius, SIDE_LIMIT, PLACE_UNIT),
        .crop_left = fixed_crop(p->crop_left),
        .crop_top = fixed_crop(p->crop_top),
        .crop_right = fixed_crop(p->crop_right),
        .crop_bottom = fixed_crop(p->crop_bottom),
    };
    g.right = g.left + width;
    g.bottom = g.top + height;
    int64_t side = width < height ? width : height;
    g.radius = g.radius < 0 ? 0 : g.radius > side / 2 ? side / 2 : g.radius;
    if (g.rotation) {
        g.pivot_x = fixed(p->x, SIDE_LIMIT, PLACE_UNIT);
        g.pivot_y = fixed(p->y, SIDE_LIMIT, PLACE_UNIT);
    }
    return g;
}

bool geometry_visible(const struct geometry *g)
{
    // Thinner than a sixteenth of a pixel is nothing: no alpha would be left, and the filter would
    // have to take in the whole source.
    return g->right - g->left >= PLACE_UNIT / 16 && g->bottom - g->top >= PLACE_UNIT / 16 &&
           g->crop_left + g->crop_right < CROP_ONE && g->crop_top + g->crop_bottom < CROP_ONE;
}

// Code values that are not premultiplied, and alpha.
static void straight_colour(struct colour colour, uint8_t ret[4])
{
    uint8_t alpha = colour.alpha;
    colour.alpha = 255;
    convert_colour(colour, ret);
    ret[3] = alpha;
}

struct border border_of(const struct placement *p, const struct geometry *g)
{
    struct border b = {.edge = *g};
    int64_t width = fixed(p->border, PICTURE_SIDE_MAX, PLACE_UNIT);
    if (width <= 0 || !p->border_colour.alpha)
        return b;
    b.width = width;
    b.edge.left -= width;
    b.edge.top -= width;
    b.edge.right += width;
    b.edge.bottom += width;
    b.edge.radius += g->radius ? width : 0;
    straight_colour(p->border_colour, b.colour);
    return b;
}

bool cast_of(const struct placement *p, struct cast *ret)
{
    const struct shadow *s = &p->shadow;
    *ret = (struct cast){0};
    if (!s->colour.alpha)
        return false;
    ret->x = fixed(s->x, SIDE_LIMIT, PLACE_UNIT);
    ret->y = fixed(s->y, SIDE_LIMIT, PLACE_UNIT);
    // Three boxes that reach r to each side have the variance r^2 + r.
    ret->box = (int)((fixed(s->blur, 2 * BOX_MAX, PLACE_UNIT) + PLACE_UNIT) / (2 * PLACE_UNIT));
    ret->box = ret->box < 0 ? 0 : ret->box;
    straight_colour(s->colour, ret->colour);
    return true;
}

uint64_t placement_key(const struct placement *p)
{
    struct geometry g = geometry_of(p);
    struct border b = border_of(p, &g);
    uint64_t key = checksum_add(checksum_begin(), &g, sizeof g), shadow = shadow_key(p);
    if (b.width)
        key = checksum_add(checksum_add(key, &b.width, sizeof b.width), b.colour, sizeof b.colour);
    return shadow ? checksum_add(key, &shadow, sizeof shadow) : key;
}

static double limited(double v, double low, double high)
{
    return v > low ? (v < high ? v : high) : low;
}

// Cuts `by` (a share of what is left) off both sides of one direction.
static void crop_evenly(double *before, double *after, double by)
{
    double rest = 1 - *before - *after;
    *before += rest * by / 2;
    *after += rest * by / 2;
}

struct placement placement_resolve(const struct placement *p, int nw, int nh, int canvas_width,
                                   int canvas_height)
{
    struct placement r = *p;
    r.crop_left = limited(p->crop_left, 0, 1);
    r.crop_top = limited(p->crop_top, 0, 1);
    r.crop_right = limited(p->crop_right, 0, 1);
    r.crop_bottom = limited(p->crop_bottom, 0, 1);
    double width = nw * (1 - r.crop_left - r.crop_right);
    double height = nh * (1 - r.crop_top - r.crop_bottom);
    bool by_width = p->width > 0, by_height = p->height > 0;
    if ((by_width && by_height) || !(width > 0) || !(height > 0))
        return r;
    if (by_width || by_height) { // the other side follows
        r.width = by_width ? p->width : p->height * width / height;
        r.height = by_height ? p->height : p->width * height / width;
        return r;
    }
    // Compares width / height with canvas_width / canvas_height without dividing.
    bool wider = width * canvas_height > height * canvas_width;
    r.width = p->fit == FIT_NONE ? width : canvas_width;
    r.height = p->fit == FIT_NONE ? height : canvas_height;
    if (p->fit == FIT_CONTAIN && wider)
        r.height = canvas_width * height / width;
    else if (p->fit == FIT_CONTAIN)
        r.width = canvas_height * width / height;
    else if (p->fit == FIT_COVER && wider)
        crop_evenly(&r.crop_left, &r.crop_right,
                    1 - canvas_width * height / (canvas_height * width));
    else if (p->fit == FIT_COVER)
        crop_evenly(&r.crop_top, &r.crop_bottom,
                    1 - canvas_height * width / (canvas_width * height));
    return r;
}
