// Rotation: the picture is scaled upright into a picture of its own, and each output sample is then
// taken from where it came from, bilinearly, in fixed point. Outside of the upright picture all is
// transparent, so that its edges come out smooth.
//
// Chroma has half the resolution, and its edge would be softer than alpha's. So chroma is taken as
// if the picture's edge went on, and brought to the output's own alpha: by D(C * ac) for an opaque
// upright picture, by the ratio of alphas otherwise.
#include <assert.h>
#include <errno.h>
#include <math.h>

#include "engine/base/crew.h"
#include "engine/compose/kernels.h"
#include "engine/compose/place_draw.h"

// The upright picture is drawn no larger than this; bilinear sampling does the rest of the zoom.
#define UPRIGHT_MAX 4096
#define PART_ROWS   32 // done by one thread at a time

struct mapping mapping_of(const struct geometry *g, int64_t width, int64_t height)
{
    double s, c, x = (double)width / (double)(g->right - g->left);
    double y = (double)height / (double)(g->bottom - g->top);
    degrees_sin_cos((double)g->rotation / DEGREE_UNIT, &s, &c);
    struct mapping m = {
        .m00 = (int64_t)floor(c * x * MATRIX_ONE + 0.5),
        .m01 = (int64_t)floor(s * x * MATRIX_ONE + 0.5),
        .m10 = (int64_t)floor(-s * y * MATRIX_ONE + 0.5),
        .m11 = (int64_t)floor(c * y * MATRIX_ONE + 0.5),
    };
    double u = (double)(g->pivot_x - g->left) * x, v = (double)(g->pivot_y - g->top) * y;
    m.u0 = (int64_t)floor(u + 0.5) * MATRIX_ONE - m.m00 * g->pivot_x - m.m01 * g->pivot_y;
    m.v0 = (int64_t)floor(v + 0.5) * MATRIX_ONE - m.m10 * g->pivot_x - m.m11 * g->pivot_y;
    return m;
}

// A place between four samples: index of the upper left one, and 1/256ths on the way to the others.
struct spot {
    int x, y, part_x, part_y;
};

// `x`, `y`: output place in 1/256 pixel. `offset_x`, `offset_y`: where sample 0 stands, 1/256
// pixel; `shift`: 1 for chroma, whose samples are two pixels apart.
static inline struct spot spot_of(const struct mapping *m, int64_t x, int64_t y, int64_t offset_x,
                                  int64_t offset_y, int shift)
{
    int64_t u = ((m->m00 * x + m->m01 * y + m->u0) >> 30) - offset_x;
    int64_t v = ((m->m10 * x + m->m11 * y + m->v0) >> 30) - offset_y;
    u >>= shift;
    v >>= shift;
    return (struct spot){(int)(u >> 8), (int)(v >> 8), (int)(u & 255), (int)(v & 255)};
}

static inline int mix(const struct spot *s, int a, int b, int c, int d)
{
    int top = a * (256 - s->part_x) + b * s->part_x, low = c * (256 - s->part_x) + d * s->part_x;
    return (top * (256 - s->part_y) + low * s->part_y + 32768) >> 16;
}

static inline int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

// With the edge going on for ever.
static int sample_clamped(const struct picture *p, int plane, const struct spot *s)
{
    int x0 = clamp(s->x, 0, plane_width(p, plane) - 1);
    int x1 = clamp(s->x + 1, 0, plane_width(p, plane) - 1);
    const uint8_t *row = p->plane[plane];
    const uint8_t *a = row + clamp(s->y, 0, plane_height(p, plane) - 1) * p->stride[plane];
    const uint8_t *b = row + clamp(s->y + 1, 0, plane_height(p, plane) - 1) * p->stride[plane];
    return mix(s, a[x0], a[x1], b[x0], b[x1]);
}

static int inside(const struct picture *p, int x, int y)
{
    return x >= 0 && y >= 0 && x < p->width && y < p->height;
}

// Alpha with nothing beyond the edges.
static int sample_alpha(const struct picture *p, const struct spot *s)
{
    if (s->x < -1 || s->y < -1 || s->x >= p->width || s->y >= p->height)
        return 0;
    int corner[4];
    for (int i = 0; i < 4; i++) {
        int x = s->x + i % 2, y = s->y + i / 2;
        corner[i] = !inside(p, x, y)              ? 0
                    : p->format == PICTURE_OPAQUE ? 255
                                                  : p->plane[3][y * p->stride[3] + x];
    }
    return mix(s, corner[0], corner[1], corner[2], corner[3]);
}

// Premultiplied luma, with nothing beyond the edges.
static int sample_luma(const struct picture *p, const struct spot *s, int alpha)
{
    if (p->format == PICTURE_OPAQUE)
        return divide_255(sample_clamped(p, 0, s) * alpha);
    int corner[4];
    for (int i = 0; i < 4; i++) {
        int x = s->x + i % 2, y = s->y + i / 2;
        corner[i] = inside(p, x, y) ? p->plane[0][y * p->stride[0] + x] : 0;
    }
    int luma = mix(s, corner[0], corner[1], corner[2], corner[3]);
    return luma < alpha ? luma : alpha;
}

// All four samples around the spot exist.
static inline bool is_inner(const struct picture *p, const struct spot *s)
{
    return s->x >= 0 && s->y >= 0 && s->x < p->width - 1 && s->y < p->height - 1;
}

static inline int sample_inner(const struct picture *p, int plane, const struct spot *s)
{
    const uint8_t *a = p->plane[plane] + s->y * p->stride[plane] + s->x, *b = a + p->stride[plane];
    return mix(s, a[0], a[1], b[0], b[1]);
}

// Luma and alpha at a spot. Most spots are inside; the general way gives the same there.
static inline void sample_pixel(const struct picture *p, const struct spot *s, uint8_t *ret_luma,
                                int *ret_alpha)
{
    int luma, alpha = 255;
    if (is_inner(p, s)) {
        luma = sample_inner(p, 0, s);
        if (p->format == PICTURE_ALPHA) {
            alpha = sample_inner(p, 3, s);
            luma = luma < alpha ? luma : alpha;
        }
    } else {
        alpha = sample_alpha(p, s);
        luma = alpha ? sample_luma(p, s, alpha) : 0;
    }
    *ret_luma = (uint8_t)luma;
    *ret_alpha = alpha;
}

static int chroma_alpha(const struct picture *p, int x, int y)
{
    x = clamp(x, 0, p->width / 2 - 1) * 2;
    y = clamp(y, 0, p->height / 2 - 1) * 2;
    const uint8_t *a = p->plane[3] + y * p->stride[3] + x, *b = a + p->stride[3];
    return (a[0] + a[1] + b[0] + b[1] + 2) >> 2;
}

// Chroma premultiplied by `alpha`, the output's.
static void sample_chroma(const struct picture *p, const struct spot *s, int alpha, uint8_t *ret_cb,
                          uint8_t *ret_cr)
{
    int cb = sample_clamped(p, 1, s), cr = sample_clamped(p, 2, s), own = 255;
    if (p->format == PICTURE_ALPHA)
        own = mix(s, chroma_alpha(p, s->x, s->y), chroma_alpha(p, s->x + 1, s->y),
                  chroma_alpha(p, s->x, s->y + 1), chroma_alpha(p, s->x + 1, s->y + 1));
    // Where the upright picture has no chroma but the output has alpha: grey.
    *ret_cb = (uint8_t)clamp(own ? (cb * alpha + own / 2) / own : (alpha + 1) / 2, 0, alpha);
    *ret_cr = (uint8_t)clamp(own ? (cr * alpha + own / 2) / own : (alpha + 1) / 2, 0, alpha);
}

// Draws the 2x2 block at (x, y) of `out`, which stands at (left, top) of the canvas.
static void draw_block(struct picture *out, const struct picture *src, const struct mapping *m,
                       int left, int top, int x, int y)
{
    int sum = 0;
    for (int i = 0; i < 4; i++) {
        int column = x + i % 2, row = y + i / 2;
        struct spot s = spot_of(m, (int64_t)(left + column) * 256 + 128,
                                (int64_t)(top + row) * 256 + 128, 128, 128, 0);
        int alpha;
        sample_pixel(src, &s, &out->plane[0][row * out->stride[0] + column], &alpha);
        out->plane[3][row * out->stride[3] + column] = (uint8_t)alpha;
        sum += alpha;
    }
    uint8_t *cb = &out->plane[1][y / 2 * out->stride[1] + x / 2];
    uint8_t *cr = &out->plane[2][y / 2 * out->stride[2] + x / 2];
    *cb = *cr = 0;
    if ((sum + 2) >> 2 == 0)
        return;
    struct spot s =
        spot_of(m, (int64_t)(left + x) * 256 + 128, (int64_t)(top + y) * 256 + 256, 128, 256, 1);
    sample_chroma(src, &s, (sum + 2) >> 2, cb, cr);
}

struct turn {
    struct picture *out;
    const struct picture *src;
    struct mapping mapping;
    struct rect area;
};

static void turn_part(void *opaque, int part)
{
    const struct turn *t = opaque;
    for (int y = part * PART_ROWS; y < t->out->height && y < (part + 1) * PART_ROWS; y += 2)
        for (int x = 0; x < t->out->width; x += 2)
            draw_block(t->out, t->src, &t->mapping, t->area.x, t->area.y, x, y);
}

struct rect place_touched(const struct geometry *g, struct rect bounds)
{
    double s, c, low_x = 1e30, high_x = -1e30, low_y = 1e30, high_y = -1e30;
    degrees_sin_cos((double)g->rotation / DEGREE_UNIT, &s, &c);
    for (int i = 0; i < 4; i++) {
        double dx = (double)((i % 2 ? g->right : g->left) - g->pivot_x);
        double dy = (double)((i / 2 ? g->bottom : g->top) - g->pivot_y);
        double x = (double)g->pivot_x + c * dx - s * dy, y = (double)g->pivot_y + s * dx + c * dy;
        low_x = x < low_x ? x : low_x;
        high_x = x > high_x ? x : high_x;
        low_y = y < low_y ? y : low_y;
        high_y = y > high_y ? y : high_y;
    }
    // Half a pixel and a bit: smooth edges reach that far beyond the rectangle.
    struct rect r;
    int right, bottom;
    pixels_touched((int64_t)low_x - 192, (int64_t)high_x + 192, bounds.x, bounds.x + bounds.width,
                   &r.x, &right);
    pixels_touched((int64_t)low_y - 192, (int64_t)high_y + 192, bounds.y, bounds.y + bounds.height,
                   &r.y, &bottom);
    r.width = right - r.x;
    r.height = bottom - r.y;
    return r;
}

static struct geometry upright_of(const struct geometry *g)
{
    struct geometry upright = *g;
    int64_t limit = (int64_t)UPRIGHT_MAX * PLACE_UNIT;
    int64_t width = g->right - g->left, height = g->bottom - g->top;
    upright.left = upright.top = upright.pivot_x = upright.pivot_y = upright.rotation = 0;
    upright.right = width < limit ? width : limit;
    upright.bottom = height < limit ? height : limit;
    // Round corners become elliptical when only one side is at the limit; nobody sees one then.
    int64_t longest = width > height ? width : height;
    if (longest > limit)
        upright.radius = g->radius * limit / longest;
    return upright;
}

// Where the picture stands within its border's edge, drawn upright.
static struct geometry upright_within(const struct geometry *g, const struct border *border,
                                      const struct geometry *upright)
{
    const struct geometry *edge = &border->edge;
    struct geometry inner = upright_of(g);
    int64_t x = border->width * upright->right / (edge->right - edge->left);
    int64_t y = border->width * upright->bottom / (edge->bottom - edge->top);
    inner.left = x;
    inner.top = y;
    inner.right = upright->right - x;
    inner.bottom = upright->bottom - y;
    if (edge->radius)
        inner.radius = g->radius * upright->radius / edge->radius;
    return inner;
}

int place_rotated(struct placer *placer, const struct picture *src, const struct geometry *g,
                  const struct border *border, struct rect bounds, struct picture **ret, int *ret_x,
                  int *ret_y)
{
    struct rect area = place_touched(&border->edge, bounds);
    if (area.width <= 0 || area.height <= 0) {
        *ret = NULL;
        return 0;
    }
    struct geometry upright = upright_of(&border->edge);
    struct rect room = {0, 0, UPRIGHT_MAX, UPRIGHT_MAX};
    struct picture *scaled = NULL;
    int x, y, r;
    if (border->width) {
        struct geometry inner = upright_within(g, border, &upright);
        struct border scaled_border = *border;
        scaled_border.edge = upright;
        r = place_bordered(placer, src, &inner, &scaled_border, room, &scaled, &x, &y);
    } else {
        r = place_upright(placer, src, &upright, room, &scaled, &x, &y);
    }
    if (r < 0)
        return r;
    assert(scaled && x == 0 && y == 0);
    struct picture *out = picture_create(PICTURE_ALPHA, area.width, area.height);
    if (!out) {
        picture_unref(&scaled);
        return -ENOMEM;
    }
    struct turn turn = {out, scaled, mapping_of(&border->edge, upright.right, upright.bottom),
                        area};
    crew_share((out->height + PART_ROWS - 1) / PART_ROWS, turn_part, &turn);
    picture_unref(&scaled);
    *ret = out;
    *ret_x = area.x;
    *ret_y = area.y;
    return 0;
}
