#include "engine/compose/place.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/thread.h"
#include "engine/compose/kernels.h"
#include "engine/compose/outline.h"
#include "engine/compose/place_draw.h"
#include "engine/compose/scale.h"

struct placer {
    struct scaler *scaler;
    uint8_t *mask[2]; // coverage of two rows of pixels
    int mask_width;
};

struct placer *placer_create(void)
{
    struct placer *placer = base_alloc(sizeof *placer);
    placer->scaler = scaler_create();
    return placer;
}

void placer_destroy(struct placer **placer)
{
    struct placer *p = *placer;
    if (!p)
        return;
    *placer = NULL;
    scaler_destroy(&p->scaler);
    free(p->mask[0]);
    free(p->mask[1]);
    free(p);
}

// One direction of an upright placement, in luma samples.
struct stretch {
    int64_t from, to;         // of the drawn rectangle, 1/256 pixel
    double source, source_to; // window of the source, pixels
    int first, count;         // output pixels, even
};

// How output samples of one direction map to source samples. Chroma samples stand on the left of
// their two luma samples horizontally (offset 1/2 of luma's from the edge), in the middle
// vertically (offset 1).
static struct axis_key axis_key_of(const struct stretch *s, bool chroma, bool vertical)
{
    double scale = (s->source_to - s->source) / (double)(s->to - s->from); // per 1/256 pixel
    double offset = chroma && vertical ? 1 : 0.5;
    double at =
        s->source + ((double)s->first * PLACE_UNIT + offset * PLACE_UNIT - (double)s->from) * scale;
    int size = chroma ? 2 : 1;
    return (struct axis_key){
        .first = (at - offset) / size,
        .step = scale * PLACE_UNIT,
        .count = s->count / size,
        .low = (int)floor(s->source / size),
        .high = (int)ceil(s->source_to / size) - 1,
    };
}

static int draw_planes(struct placer *placer, struct picture *out, const struct picture *src,
                       const struct stretch *x, const struct stretch *y)
{
    for (int i = 0; i < picture_planes(src); i++) {
        bool chroma = i == 1 || i == 2;
        int r = scaler_plane(placer->scaler, out->plane[i], out->stride[i], src->plane[i],
                             src->stride[i], axis_key_of(x, chroma, false),
                             axis_key_of(y, chroma, true));
        if (r < 0)
            return r;
    }
    return 0;
}

static void multiply(uint8_t *sample, int by)
{
    *sample = (uint8_t)divide_255(*sample * by);
}

// Multiplies two rows of pixels, from..to (even), by the mask. Alpha of an opaque source has been
// set to 255.
static void mask_apply(struct picture *out, uint8_t *const mask[2], int y, int from, int to)
{
    for (int x = from; x < to; x += 2) {
        int sum = 2;
        for (int i = 0; i < 4; i++) {
            int row = i / 2, column = x + i % 2;
            int by = mask[row][column];
            multiply(&out->plane[0][(y + row) * out->stride[0] + column], by);
            multiply(&out->plane[3][(y + row) * out->stride[3] + column], by);
            sum += by;
        }
        multiply(&out->plane[1][y / 2 * out->stride[1] + x / 2], sum >> 2);
        multiply(&out->plane[2][y / 2 * out->stride[2] + x / 2], sum >> 2);
    }
}

static int mask_reserve(struct placer *placer, int width)
{
    if (width <= placer->mask_width)
        return 0;
    placer->mask_width = 0;
    for (int i = 0; i < 2; i++) {
        free(placer->mask[i]);
        placer->mask[i] = malloc((size_t)width);
        if (!placer->mask[i])
            return -ENOMEM;
    }
    placer->mask_width = width;
    return 0;
}

// Puts the rectangle's edges and round corners into the alpha of `out`.
static int mask_edges(struct placer *placer, struct picture *out, const struct geometry *g,
                      const struct stretch *x, const struct stretch *y)
{
    int r = mask_reserve(placer, out->width);
    if (r < 0)
        return r;
    int full, full_to; // columns that need nothing, in rows that are full
    outline_columns_full(g, x->first, out->width, &full, &full_to);
    for (int row = 0; row < out->height; row += 2) {
        bool inner = outline_rows_full(g, y->first + row);
        int ranges[2][2] = {{0, inner ? full : out->width}, {full_to, inner ? out->width : 0}};
        for (int i = 0; i < 2; i++) {
            if (ranges[i][0] >= ranges[i][1])
                continue;
            for (int j = 0; j < 2; j++)
                outline_row(placer->mask[j], g, x->first, y->first + row + j, ranges[i][0],
                            ranges[i][1]);
            mask_apply(out, placer->mask, row, ranges[i][0], ranges[i][1]);
        }
    }
    return 0;
}

static void limit_chroma_row(uint8_t *row, const uint8_t *a0, const uint8_t *a1, int count)
{
    for (int i = 0; i < count; i++) {
        int alpha = (a0[2 * i] + a0[2 * i + 1] + a1[2 * i] + a1[2 * i + 1] + 2) >> 2;
        row[i] = (uint8_t)(row[i] < alpha ? row[i] : alpha);
    }
}

// The filter overshoots: brings colour back under its alpha.
static void limit_colour(struct picture *p)
{
    for (int y = 0; y < p->height; y++) {
        uint8_t *luma = p->plane[0] + y * p->stride[0];
        const uint8_t *alpha = p->plane[3] + y * p->stride[3];
        for (int x = 0; x < p->width; x++)
            luma[x] = luma[x] < alpha[x] ? luma[x] : alpha[x];
        if (y % 2)
            continue;
        for (int i = 1; i < 3; i++)
            limit_chroma_row(p->plane[i] + y / 2 * p->stride[i], alpha, alpha + p->stride[3],
                             p->width / 2);
    }
}

static bool is_identity(const struct picture *src, const struct geometry *g)
{
    return g->crop_left + g->crop_top + g->crop_right + g->crop_bottom == 0 && g->radius == 0 &&
           g->left % (2 * PLACE_UNIT) == 0 && g->top % (2 * PLACE_UNIT) == 0 &&
           g->right - g->left == (int64_t)src->width * PLACE_UNIT &&
           g->bottom - g->top == (int64_t)src->height * PLACE_UNIT;
}

static int draw(struct placer *placer, const struct picture *src, const struct geometry *g,
                const struct stretch *x, const struct stretch *y, struct picture **ret)
{
    bool whole = g->radius == 0 && g->left <= (int64_t)x->first * PLACE_UNIT &&
                 g->right >= (int64_t)(x->first + x->count) * PLACE_UNIT &&
                 g->top <= (int64_t)y->first * PLACE_UNIT &&
                 g->bottom >= (int64_t)(y->first + y->count) * PLACE_UNIT;
    enum picture_format format = whole ? src->format : PICTURE_ALPHA;
    struct picture *out = picture_create(format, x->count, y->count);
    if (!out)
        return -ENOMEM;
    int r = draw_planes(placer, out, src, x, y);
    for (int row = 0; format != src->format && row < out->height; row++)
        memset(out->plane[3] + row * out->stride[3], 255, (size_t)out->width);
    if (r == 0 && !whole)
        r = mask_edges(placer, out, g, x, y);
    if (r == 0 && src->format == PICTURE_ALPHA)
        limit_colour(out);
    if (r == 0)
        *ret = out;
    else
        picture_unref(&out);
    return r;
}

int place_upright(struct placer *placer, const struct picture *src, const struct geometry *g,
                  struct rect bounds, struct picture **ret, int *ret_x, int *ret_y)
{
    int right, bottom;
    struct stretch x = {
        .from = g->left,
        .to = g->right,
        .source = (double)g->crop_left * src->width / CROP_ONE,
        .source_to = (double)(CROP_ONE - g->crop_right) * src->width / CROP_ONE,
    };
    struct stretch y = {
        .from = g->top,
        .to = g->bottom,
        .source = (double)g->crop_top * src->height / CROP_ONE,
        .source_to = (double)(CROP_ONE - g->crop_bottom) * src->height / CROP_ONE,
    };
    pixels_touched(g->left, g->right, bounds.x, bounds.x + bounds.width, &x.first, &right);
    pixels_touched(g->top, g->bottom, bounds.y, bounds.y + bounds.height, &y.first, &bottom);
    if (right <= x.first || bottom <= y.first) {
        *ret = NULL;
        return 0;
    }
    x.count = right - x.first;
    y.count = bottom - y.first;
    *ret_x = x.first;
    *ret_y = y.first;
    if (is_identity(src, g)) {
        *ret = picture_ref(src);
        *ret_x = (int)(g->left / PLACE_UNIT);
        *ret_y = (int)(g->top / PLACE_UNIT);
        return 0;
    }
    return draw(placer, src, g, &x, &y, ret);
}

int placer_place(struct placer *placer, const struct picture *src, const struct placement *p,
                 int canvas_width, int canvas_height, struct picture **ret, int *ret_x, int *ret_y)
{
    assert(canvas_width % 2 == 0 && canvas_height % 2 == 0);
    struct geometry g = geometry_of(p);
    struct border border = border_of(p, &g);
    struct rect canvas = {0, 0, canvas_width, canvas_height};
    *ret_x = *ret_y = 0;
    if (!geometry_visible(&g)) {
        *ret = NULL;
        return 0;
    }
    if (g.rotation)
        return place_rotated(placer, src, &g, &border, canvas, ret, ret_x, ret_y);
    if (border.width)
        return place_bordered(placer, src, &g, &border, canvas, ret, ret_x, ret_y);
    return place_upright(placer, src, &g, canvas, ret, ret_x, ret_y);
}
