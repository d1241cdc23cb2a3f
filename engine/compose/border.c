// The border: a ring around the picture, of what its outer edge covers and the picture's edge does
// not. Where both cover parts of a pixel they stand side by side, so that samples are added and no
// seam shows.
#include <errno.h>
#include <stdlib.h>

#include "engine/compose/kernels.h"
#include "engine/compose/outline.h"
#include "engine/compose/place_draw.h"

struct ring {
    struct picture *out;
    const struct geometry *inner;
    const struct border *border;
    struct rect area;                // of `out`
    uint8_t *outside[2], *inside[2]; // coverage of two rows of pixels
};

// sample + more, at most `limit`.
static void add(uint8_t *sample, int more, int limit)
{
    int sum = *sample + more;
    *sample = (uint8_t)(sum < limit ? sum : limit);
}

static void add_block(const struct ring *r, int x, int y)
{
    const struct picture *out = r->out;
    const uint8_t *colour = r->border->colour;
    int ring = 2, all = 2;
    for (int i = 0; i < 4; i++) {
        int row = i / 2, column = x + i % 2;
        int cover = r->outside[row][column] - r->inside[row][column];
        int alpha = cover > 0 ? divide_255(cover * colour[3]) : 0;
        uint8_t *to = &out->plane[3][(y + row) * out->stride[3] + column];
        add(to, alpha, 255);
        add(&out->plane[0][(y + row) * out->stride[0] + column], divide_255(colour[0] * alpha),
            *to);
        ring += alpha;
        all += *to;
    }
    for (int i = 1; i < 3; i++)
        add(&out->plane[i][y / 2 * out->stride[i] + x / 2], divide_255(colour[i] * (ring >> 2)),
            all >> 2);
}

static void add_rows(const struct ring *r, int y, int from, int to)
{
    for (int i = 0; i < 2 && from < to; i++) {
        outline_row(r->outside[i], &r->border->edge, r->area.x, r->area.y + y + i, from, to);
        outline_row(r->inside[i], r->inner, r->area.x, r->area.y + y + i, from, to);
    }
    for (int x = from; x < to; x += 2)
        add_block(r, x, y);
}

static int add_ring(struct picture *out, const struct geometry *inner, const struct border *border,
                    struct rect area)
{
    size_t width = (size_t)out->width;
    uint8_t *rows = malloc(4 * width);
    if (!rows)
        return -ENOMEM;
    struct ring r = {
        out, inner, border, area, {rows, rows + width}, {rows + 2 * width, rows + 3 * width}};
    int full, full_to;
    outline_columns_full(inner, area.x, out->width, &full, &full_to);
    for (int y = 0; y < out->height; y += 2) {
        bool beside = outline_rows_full(inner, area.y + y); // the picture fills the middle
        add_rows(&r, y, 0, beside ? full : out->width);
        add_rows(&r, y, beside ? full_to : out->width, out->width);
    }
    free(rows);
    return 0;
}

static bool fills(const struct picture *p, int x, int y, struct rect bounds)
{
    return p->format == PICTURE_OPAQUE && x <= bounds.x && y <= bounds.y &&
           x + p->width >= bounds.x + bounds.width && y + p->height >= bounds.y + bounds.height;
}

int place_bordered(struct placer *placer, const struct picture *src, const struct geometry *g,
                   const struct border *border, struct rect bounds, struct picture **ret,
                   int *ret_x, int *ret_y)
{
    struct picture *picture = NULL, *out = NULL;
    const struct geometry *edge = &border->edge;
    struct rect area;
    int x = 0, y = 0, right, bottom, r = 0;
    *ret = NULL;
    pixels_touched(edge->left, edge->right, bounds.x, bounds.x + bounds.width, &area.x, &right);
    pixels_touched(edge->top, edge->bottom, bounds.y, bounds.y + bounds.height, &area.y, &bottom);
    area.width = right - area.x;
    area.height = bottom - area.y;
    if (area.width <= 0 || area.height <= 0)
        return 0;
    if (geometry_visible(g)) // a thin one may vanish where it is drawn smaller
        r = place_upright(placer, src, g, bounds, &picture, &x, &y);
    if (r < 0)
        return r;
    if (picture && fills(picture, x, y, bounds)) {
        *ret = picture;
        *ret_x = x;
        *ret_y = y;
        return 0;
    }
    if ((out = picture_create(PICTURE_ALPHA, area.width, area.height))) {
        picture_clear(out);
        if (picture)
            blend_picture(out, picture, x - area.x, y - area.y, 255, BLEND_NORMAL, NULL);
    }
    picture_unref(&picture);
    if (!out || add_ring(out, g, border, area) < 0) {
        picture_unref(&out);
        return -ENOMEM;
    }
    *ret = out;
    *ret_x = area.x;
    *ret_y = area.y;
    return 0;
}
