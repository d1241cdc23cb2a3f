#include "engine/compose/shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crew.h"
#include "engine/base/thread.h"
#include "engine/compose/group.h"
#include "engine/compose/kernels.h"
#include "engine/compose/outline.h"
#include "engine/compose/place_draw.h"
#include "engine/frame/checksum.h"

#define PASSES     3
#define PART_ROWS  16 // done by one thread at a time
#define LANES      32 // columns blurred side by side
#define FULL       65535
#define EVERYWHERE ((struct rect){-(1 << 24), -(1 << 24), 1 << 25, 1 << 25})

// Pixels of one direction. The middle of an upright shape is the same all along: of the pixels
// from + cut on, `gap` beyond the first are left out.
struct axis {
    int from, count, cut, gap;
};

static int pixel_of(const struct axis *a, int index)
{
    return a->from + index + (index > a->cut ? a->gap : 0);
}

static int index_of(const struct axis *a, int pixel)
{
    int i = pixel - a->from;
    return i <= a->cut ? i : i <= a->cut + a->gap ? a->cut : i - a->gap;
}

struct stencil {
    struct geometry shape; // drawn upright, or turned by `mapping`
    struct mapping mapping;
    bool turned;
    struct axis x, y;
    int box;
    ptrdiff_t stride; // samples, a multiple of LANES
    uint16_t *cover;  // [y.count][stride], 0..FULL
};

// The pixels from..to (of the canvas, or left and right of it) of a shape that reaches from `low`
// to `high`. Left out is what is at least the blur's reach away from all that changes.
static struct axis axis_of(int from, int to, int64_t low, int64_t high, int64_t radius, int reach)
{
    int64_t first = -divide_floor(-(low + radius), PLACE_UNIT);
    int64_t last = divide_floor(high - radius, PLACE_UNIT);
    first = (first > from ? first : from) + reach;
    last = (last < to ? last : to) - reach;
    struct axis a = {.from = from, .count = to - from, .cut = to - from};
    if (last - first > 1) {
        a.cut = (int)(first - from);
        a.gap = (int)(last - first) - 1;
        a.count -= a.gap;
    }
    return a;
}

static int64_t cover_at(const struct stencil *s, int64_t x, int64_t y)
{
    const struct geometry *g = &s->shape;
    if (s->turned) {
        const struct mapping *m = &s->mapping;
        int64_t u = (m->m00 * x + m->m01 * y + m->u0) >> 30;
        y = (m->m10 * x + m->m11 * y + m->v0) >> 30;
        x = u;
    }
    // Most pixels are far outside or well inside; what follows gives the same there.
    int64_t inner = g->radius > PLACE_UNIT / 2 ? g->radius : PLACE_UNIT / 2;
    if (x > g->left + inner && x < g->right - inner && y > g->top + PLACE_UNIT / 2 &&
        y < g->bottom - PLACE_UNIT / 2)
        return PLACE_UNIT * PLACE_UNIT;
    return outline_cover(g, x, y);
}

// One box blur along lines of `count` samples that are `step` apart, `lanes` lines side by side;
// outside is nothing. Divides by multiplying: exact for these sums, at most FULL times 1025.
static inline __attribute__((always_inline)) void
blur_lines(uint16_t *data, ptrdiff_t step, int count, int lanes, int box, uint16_t *scratch)
{
    uint32_t sums[LANES] = {0}, width = 2 * (uint32_t)box + 1;
    uint64_t inverse = ((UINT64_C(1) << 40) + width - 1) / width;
    for (int i = 0; i < count; i++)
        for (int lane = 0; lane < lanes; lane++)
            scratch[i * lanes + lane] = data[i * step + lane];
    for (int i = 0; i < box && i < count; i++)
        for (int lane = 0; lane < lanes; lane++)
            sums[lane] += scratch[i * lanes + lane];
    for (int i = 0; i < count; i++) {
        if (i + box < count)
            for (int lane = 0; lane < lanes; lane++)
                sums[lane] += scratch[(i + box) * lanes + lane];
        if (i - box - 1 >= 0)
            for (int lane = 0; lane < lanes; lane++)
                sums[lane] -= scratch[(i - box - 1) * lanes + lane];
        for (int lane = 0; lane < lanes; lane++)
            data[i * step + lane] = (uint16_t)((sums[lane] + width / 2) * inverse >> 40);
    }
}

static void cover_row(const struct stencil *s, int y, uint16_t *row)
{
    int64_t at_y = (int64_t)pixel_of(&s->y, y) * PLACE_UNIT + PLACE_UNIT / 2;
    for (int x = 0; x < s->x.count; x++) {
        int64_t at_x = (int64_t)pixel_of(&s->x, x) * PLACE_UNIT + PLACE_UNIT / 2;
        int64_t cover = cover_at(s, at_x, at_y); // of 65536
        row[x] = (uint16_t)(cover - (cover >> 16));
    }
    memset(row + s->x.count, 0, (size_t)(s->stride - s->x.count) * sizeof *row);
}

static void rows_part(void *opaque, int part)
{
    const struct stencil *s = opaque;
    uint16_t *scratch = base_alloc((size_t)s->x.count * sizeof *scratch);
    for (int y = part * PART_ROWS; y < s->y.count && y < (part + 1) * PART_ROWS; y++) {
        uint16_t *row = s->cover + y * s->stride;
        cover_row(s, y, row);
        for (int pass = 0; pass < PASSES && s->box; pass++)
            blur_lines(row, 1, s->x.count, 1, s->box, scratch);
    }
    free(scratch);
}

static void columns_part(void *opaque, int part)
{
    const struct stencil *s = opaque;
    uint16_t *scratch = base_alloc((size_t)s->y.count * LANES * sizeof *scratch);
    for (int pass = 0; pass < PASSES; pass++)
        blur_lines(s->cover + part * LANES, s->stride, s->y.count, LANES, s->box, scratch);
    free(scratch);
}

// Draws two rows of the stencil in colour.
static void colour_rows(struct picture *out, const struct stencil *s, struct rect area, int y,
                        const uint8_t colour[4])
{
    const uint16_t *rows[2];
    for (int i = 0; i < 2; i++)
        rows[i] = s->cover + index_of(&s->y, area.y + y + i) * s->stride;
    for (int x = 0; x < out->width; x += 2) {
        int sum = 2;
        for (int i = 0; i < 4; i++) {
            int row = i / 2, column = x + i % 2;
            uint32_t cover = rows[row][index_of(&s->x, area.x + column)];
            int alpha = (int)((cover * colour[3] + FULL / 2) / FULL);
            out->plane[3][(y + row) * out->stride[3] + column] = (uint8_t)alpha;
            out->plane[0][(y + row) * out->stride[0] + column] =
                (uint8_t)divide_255(colour[0] * alpha);
            sum += alpha;
        }
        for (int i = 1; i < 3; i++)
            out->plane[i][y / 2 * out->stride[i] + x / 2] =
                (uint8_t)divide_255(colour[i] * (sum >> 2));
    }
}

// Copies the two rows above.
static void repeat_rows(struct picture *out, int y)
{
    for (int i = 0; i < 4; i++) {
        bool half = i == 1 || i == 2;
        int rows = half ? 1 : 2;
        uint8_t *to = out->plane[i] + (half ? y / 2 : y) * out->stride[i];
        for (int row = 0; row < rows; row++, to += out->stride[i])
            memcpy(to, to - rows * out->stride[i], (size_t)plane_width(out, i));
    }
}

static struct picture *coloured(const struct stencil *s, struct rect area, const uint8_t colour[4])
{
    struct picture *out = picture_create(PICTURE_ALPHA, area.width, area.height);
    for (int y = 0; out && y < out->height; y += 2)
        if (y > 0 && index_of(&s->y, area.y + y - 2) == index_of(&s->y, area.y + y + 1))
            repeat_rows(out, y);
        else
            colour_rows(out, s, area, y, colour);
    return out;
}

static int max(int a, int b)
{
    return a > b ? a : b;
}

static int min(int a, int b)
{
    return a < b ? a : b;
}

// `rect` with `more` on each side.
static struct rect grown(struct rect rect, int more)
{
    return (struct rect){rect.x - more, rect.y - more, rect.width + 2 * more,
                         rect.height + 2 * more};
}

uint64_t shadow_key(const struct placement *p)
{
    struct geometry g = geometry_of(p);
    struct border b = border_of(p, &g);
    struct cast cast;
    if (!cast_of(p, &cast) || !geometry_visible(&g))
        return 0;
    int64_t numbers[] = {b.edge.left,    b.edge.top,     b.edge.right,    b.edge.bottom,
                         b.edge.pivot_x, b.edge.pivot_y, b.edge.rotation, b.edge.radius,
                         cast.x,         cast.y,         cast.box};
    uint64_t key = checksum_add(checksum_begin(), numbers, sizeof numbers);
    key = checksum_add(key, cast.colour, sizeof cast.colour);
    return key ? key : 1;
}

int shadow_draw(const struct placement *p, int canvas_width, int canvas_height,
                struct picture **ret, int *ret_x, int *ret_y)
{
    struct geometry g = geometry_of(p);
    struct cast cast;
    *ret = NULL;
    if (!cast_of(p, &cast) || !geometry_visible(&g))
        return 0;
    struct stencil s = {.shape = border_of(p, &g).edge, .turned = g.rotation, .box = cast.box};
    s.shape.left += cast.x;
    s.shape.right += cast.x;
    s.shape.top += cast.y;
    s.shape.bottom += cast.y;
    s.shape.pivot_x += g.rotation ? cast.x : 0;
    s.shape.pivot_y += g.rotation ? cast.y : 0;
    // Nothing is further from the shape than `reach`, and nothing that is further decides.
    int reach = PASSES * cast.box;
    struct rect all = grown(place_touched(&s.shape, EVERYWHERE), (reach + 1) & ~1);
    struct rect area = rect_intersect(all, (struct rect){0, 0, canvas_width, canvas_height});
    if (area.width <= 0 || area.height <= 0)
        return 0;
    struct rect seen = rect_intersect(all, grown(area, reach));
    int right = seen.x + seen.width, bottom = seen.y + seen.height;
    if (s.turned) {
        int64_t width = s.shape.right - s.shape.left, height = s.shape.bottom - s.shape.top;
        s.mapping = mapping_of(&s.shape, width, height);
        s.shape = (struct geometry){.right = width, .bottom = height, .radius = s.shape.radius};
        s.x = (struct axis){seen.x, seen.width, seen.width, 0};
        s.y = (struct axis){seen.y, seen.height, seen.height, 0};
    } else {
        s.x = axis_of(seen.x, right, s.shape.left, s.shape.right, s.shape.radius, reach);
        s.y = axis_of(seen.y, bottom, s.shape.top, s.shape.bottom, s.shape.radius, reach);
    }
    s.stride = (s.x.count + LANES - 1) / LANES * LANES;
    s.cover = malloc((size_t)s.stride * (size_t)s.y.count * sizeof *s.cover);
    if (!s.cover)
        return -ENOMEM;
    crew_share((s.y.count + PART_ROWS - 1) / PART_ROWS, rows_part, &s);
    if (s.box)
        crew_share((int)(s.stride / LANES), columns_part, &s);
    *ret = coloured(&s, area, cast.colour);
    free(s.cover);
    *ret_x = area.x;
    *ret_y = area.y;
    return *ret ? 0 : -ENOMEM;
}

static void copy_rows(struct picture *out, const struct picture *src, int x, int y)
{
    for (int i = 0; i < 4; i++) {
        int shift = i == 1 || i == 2;
        uint8_t *to = out->plane[i] + (y >> shift) * out->stride[i] + (x >> shift);
        for (int row = 0; row < plane_height(src, i); row++)
            memcpy(to + row * out->stride[i], src->plane[i] + row * src->stride[i],
                   (size_t)plane_width(src, i));
    }
}

int shadow_put(const struct picture *shadow, int shadow_x, int shadow_y, int canvas_width,
               int canvas_height, struct picture **picture, int *x, int *y)
{
    struct picture *over = *picture;
    if (over && group_layer_hides(canvas_width, canvas_height, over, *x, *y, 255, BLEND_NORMAL))
        return 0;
    int left = over ? *x : shadow_x, top = over ? *y : shadow_y;
    *x = max(0, min(shadow_x, left));
    *y = max(0, min(shadow_y, top));
    if (!over) {
        *picture = picture_ref(shadow);
        return 0;
    }
    int right = min(canvas_width, max(shadow_x + shadow->width, left + over->width));
    int bottom = min(canvas_height, max(shadow_y + shadow->height, top + over->height));
    *picture = picture_create(PICTURE_ALPHA, right - *x, bottom - *y);
    if (*picture) {
        if (right - *x > shadow->width || bottom - *y > shadow->height)
            picture_clear(*picture);
        copy_rows(*picture, shadow, shadow_x - *x, shadow_y - *y);
        blend_picture(*picture, over, left - *x, top - *y, 255, BLEND_NORMAL, NULL);
    }
    picture_unref(&over);
    return *picture ? 0 : -ENOMEM;
}
