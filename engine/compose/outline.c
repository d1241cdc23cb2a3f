#include "engine/compose/outline.h"

#include <math.h>

static int64_t centre_of(int pixel)
{
    return (int64_t)pixel * PLACE_UNIT + PLACE_UNIT / 2;
}

static int covered(int64_t from, int64_t to, int pixel)
{
    return (int)outline_overlap(from, to, centre_of(pixel));
}

// What a round corner leaves of `cover`; dx, dy: how deep in its zone, both > 0.
static int64_t rounded(int64_t cover, int64_t radius, int64_t dx, int64_t dy)
{
    int64_t distance = (int64_t)sqrt((double)(dx * dx + dy * dy));
    int64_t inside = radius - distance + PLACE_UNIT / 2;
    inside = inside < 0 ? 0 : inside > PLACE_UNIT ? PLACE_UNIT : inside;
    return cover * inside / PLACE_UNIT;
}

int64_t outline_cover(const struct geometry *g, int64_t x, int64_t y)
{
    int64_t cover = outline_overlap(g->left, g->right, x) * outline_overlap(g->top, g->bottom, y);
    if (!cover)
        return 0;
    int64_t dx = outline_depth(g->left, g->right, g->radius, x);
    int64_t dy = outline_depth(g->top, g->bottom, g->radius, y);
    return dx > 0 && dy > 0 ? rounded(cover, g->radius, dx, dy) : cover;
}

void outline_row(uint8_t *mask, const struct geometry *g, int first, int y, int from, int to)
{
    int rows = covered(g->top, g->bottom, y);
    int64_t dy = outline_depth(g->top, g->bottom, g->radius, centre_of(y));
    for (int i = from; i < to; i++) {
        int64_t cover = (int64_t)rows * covered(g->left, g->right, first + i); // of 65536
        int64_t dx = outline_depth(g->left, g->right, g->radius, centre_of(first + i));
        if (dx > 0 && dy > 0)
            cover = rounded(cover, g->radius, dx, dy);
        mask[i] = (uint8_t)((cover * 255 + 32768) >> 16);
    }
}

bool outline_rows_full(const struct geometry *g, int y)
{
    for (int row = y; row < y + 2; row++)
        if (covered(g->top, g->bottom, row) < PLACE_UNIT ||
            (g->radius > 0 && outline_depth(g->top, g->bottom, g->radius, centre_of(row)) > 0))
            return false;
    return true;
}

void outline_columns_full(const struct geometry *g, int first, int count, int *ret_from,
                          int *ret_to)
{
    int from = 0, to = count;
    while (from < count &&
           covered(g->left, g->right, first + from) + covered(g->left, g->right, first + from + 1) <
               2 * PLACE_UNIT)
        from += 2;
    while (to > from &&
           covered(g->left, g->right, first + to - 1) + covered(g->left, g->right, first + to - 2) <
               2 * PLACE_UNIT)
        to -= 2;
    *ret_from = from;
    *ret_to = to;
}
