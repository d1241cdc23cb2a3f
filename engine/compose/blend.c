#include "engine/compose/blend.h"

#include <assert.h>
#include <string.h>

#include "engine/compose/kernels.h"

// Sample (x, y) in luma coordinates of plane `i`.
static uint8_t *plane_at(const struct picture *p, int i, int x, int y)
{
    int half = i == 1 || i == 2;
    return p->plane[i] + (y >> half) * p->stride[i] + (x >> half);
}

static struct over_rows rows_at(struct picture *dst, int x, int y, const struct picture *src,
                                int src_x, int src_y)
{
    struct over_rows rows = {
        .dst_cb = plane_at(dst, 1, x, y),
        .dst_cr = plane_at(dst, 2, x, y),
        .src_cb = plane_at(src, 1, src_x, src_y),
        .src_cr = plane_at(src, 2, src_x, src_y),
    };
    for (int row = 0; row < 2; row++) {
        rows.dst_y[row] = plane_at(dst, 0, x, y + row);
        rows.src_y[row] = plane_at(src, 0, src_x, src_y + row);
        if (dst->format == PICTURE_ALPHA)
            rows.dst_a[row] = plane_at(dst, 3, x, y + row);
        if (src->format == PICTURE_ALPHA)
            rows.src_a[row] = plane_at(src, 3, src_x, src_y + row);
    }
    return rows;
}

// An OPAQUE source at full opacity replaces what is there.
static void copy_area(struct picture *dst, const struct picture *src, int x, int y,
                      struct rect area)
{
    for (int i = 0; i < 3; i++) {
        int half = i > 0, rows = area.height >> half, width = area.width >> half;
        uint8_t *to = plane_at(dst, i, area.x, area.y);
        const uint8_t *from = plane_at(src, i, area.x - x, area.y - y);
        // Whole rows that stand alike go in one: memcpy is quicker with what is long.
        if (area.width == dst->width && dst->stride[i] == src->stride[i] && src->stride[i] > 0) {
            width += (rows - 1) * (int)src->stride[i];
            rows = 1;
        }
        for (int row = 0; row < rows; row++)
            memcpy(to + row * dst->stride[i], from + row * src->stride[i], (size_t)width);
    }
    for (int row = 0; dst->format == PICTURE_ALPHA && row < area.height; row++)
        memset(plane_at(dst, 3, area.x, area.y + row), 255, (size_t)area.width);
}

static void lerp_area(struct picture *dst, const struct picture *src, int x, int y,
                      struct rect area, int opacity)
{
    const struct kernels *k = kernels_get();
    for (int i = 0; i < 3; i++) {
        int half = i > 0;
        for (int row = 0; row < area.height >> half; row++)
            k->lerp_row(plane_at(dst, i, area.x, area.y) + row * dst->stride[i],
                        plane_at(src, i, area.x - x, area.y - y) + row * src->stride[i],
                        area.width >> half, opacity);
    }
    if (dst->format != PICTURE_ALPHA)
        return;
    uint8_t full[256];
    memset(full, 255, sizeof full);
    for (int row = 0; row < area.height; row++)
        for (int from = 0; from < area.width; from += 256) {
            int count = area.width - from < 256 ? area.width - from : 256;
            k->lerp_row(plane_at(dst, 3, area.x + from, area.y + row), full, count, opacity);
        }
}

static void blend_area(struct picture *dst, const struct picture *src, int x, int y, int opacity,
                       enum blend_mode mode, struct rect area)
{
    const struct kernels *k = kernels_get();
    for (int row = area.y; row < area.y + area.height; row += 2) {
        struct over_rows rows = rows_at(dst, area.x, row, src, area.x - x, row - y);
        if (mode == BLEND_NORMAL)
            k->over_rows(&rows, area.width, opacity);
        else
            k->mode_rows(&rows, area.width, opacity, mode);
    }
}

// As blend_area, by what the source covers: where that is nothing there is nothing to do, where it
// is everything its samples are copied. Tiles side by side that are alike go in one.
static void blend_covered(struct picture *dst, const struct picture *src, int x, int y, int opacity,
                          enum blend_mode mode, struct rect area, const uint8_t *cover)
{
    int stride = picture_cover_stride(src);
    int left = area.x - x, right = left + area.width, bottom = area.y - y + area.height;
    for (int top = area.y - y, next; top < bottom; top = next) {
        next = (top / COVER_HEIGHT + 1) * COVER_HEIGHT;
        next = next < bottom ? next : bottom;
        const uint8_t *tiles = cover + top / COVER_HEIGHT * stride;
        for (int from = left, to; from < right; from = to) {
            enum cover kind = (enum cover)tiles[from / COVER_WIDTH];
            to = (from / COVER_WIDTH + 1) * COVER_WIDTH;
            while (to < right && tiles[to / COVER_WIDTH] == kind)
                to += COVER_WIDTH;
            to = to < right ? to : right;
            struct rect part = {x + from, y + top, to - from, next - top};
            if (kind == COVER_FULL && opacity == 255 && mode == BLEND_NORMAL)
                copy_area(dst, src, x, y, part);
            else if (kind != COVER_EMPTY)
                blend_area(dst, src, x, y, opacity, mode, part);
        }
    }
}

void blend_picture(struct picture *dst, const struct picture *src, int x, int y, int opacity,
                   enum blend_mode mode, const struct rect *clip)
{
    assert(x % 2 == 0 && y % 2 == 0 && opacity >= 0 && opacity <= 255);
    struct rect area = rect_intersect((struct rect){0, 0, dst->width, dst->height},
                                      (struct rect){x, y, src->width, src->height});
    if (clip) {
        assert(clip->x % 2 == 0 && clip->y % 2 == 0 && clip->width % 2 == 0 &&
               clip->height % 2 == 0);
        area = rect_intersect(area, *clip);
    }
    if (opacity == 0 || area.width <= 0)
        return;
    if (mode == BLEND_NORMAL && src->format == PICTURE_OPAQUE) {
        if (opacity == 255)
            copy_area(dst, src, x, y, area);
        else
            lerp_area(dst, src, x, y, area, opacity);
        return;
    }
    const uint8_t *cover = picture_cover(src);
    if (cover)
        blend_covered(dst, src, x, y, opacity, mode, area, cover);
    else
        blend_area(dst, src, x, y, opacity, mode, area);
}

// dst += picture at its place, under its opacity, times weight / 255.
static void weigh(struct picture *dst, const struct picture *src, int x, int y, int opacity,
                  int weight)
{
    assert(x % 2 == 0 && y % 2 == 0 && opacity >= 0 && opacity <= 255);
    struct rect area = rect_intersect((struct rect){0, 0, dst->width, dst->height},
                                      (struct rect){x, y, src->width, src->height});
    const struct kernels *k = kernels_get();
    uint8_t full[256];
    memset(full, 255, sizeof full);
    for (int i = 0; i < 4; i++) {
        int half = i == 1 || i == 2, width = area.width >> half;
        for (int row = 0; row < area.height >> half; row++) {
            uint8_t *to = plane_at(dst, i, area.x, area.y) + row * dst->stride[i];
            if (i < 3 || src->format == PICTURE_ALPHA) {
                k->weigh_row(to, plane_at(src, i, area.x - x, area.y - y) + row * src->stride[i],
                             width, opacity, weight);
                continue;
            }
            for (int from = 0; from < width; from += 256)
                k->weigh_row(to + from, full, width - from < 256 ? width - from : 256, opacity,
                             weight);
        }
    }
}

void blend_dissolve(struct picture *dst, const struct picture *from, int from_x, int from_y,
                    int from_opacity, const struct picture *to, int to_x, int to_y, int to_opacity,
                    int mix)
{
    assert(dst->format == PICTURE_ALPHA && mix >= 0 && mix <= 255);
    picture_clear(dst);
    if (from && mix < 255)
        weigh(dst, from, from_x, from_y, from_opacity, 255 - mix);
    if (to && mix > 0)
        weigh(dst, to, to_x, to_y, to_opacity, mix);
}
