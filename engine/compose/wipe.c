#include "engine/compose/wipe.h"

#include "engine/base/crew.h"
#include "engine/base/thread.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ONE       65536 // of times and shares
#define BAND_ROWS 32    // done by one of the crew

// ---- Times ------------------------------------------------------------------------------------

static double max_double(double a, double b)
{
    return a > b ? a : b;
}

static double min_double(double a, double b)
{
    return a < b ? a : b;
}

// arctan of 0..1 in turns: halved twice by tan(x/2) = t / (1 + sqrt(1 + t^2)), then its series.
static double arctan_turns(double t)
{
    for (int i = 0; i < 2; i++)
        t = t / (1 + sqrt(1 + t * t));
    double square = t * t, sum = 0;
    for (int n = 15; n > 0; n -= 2)
        sum = 1.0 / n - square * sum;
    return 4 * t * sum * 0.15915494309189535; // 1 / (2 pi)
}

// How far (x, y), y downwards, is turned clockwise from 12 o'clock: 0 <= turns < 1.
static double turns_of(double x, double y)
{
    double ax = fabs(x), ay = fabs(y);
    if (ax == 0 && ay == 0)
        return 0;
    double from_vertical = ax <= ay ? arctan_turns(ax / ay) : 0.25 - arctan_turns(ay / ax);
    double turns = y <= 0 ? from_vertical : 0.5 - from_vertical;
    turns = x < 0 ? 1 - turns : turns;
    return turns >= 1 ? 0 : turns;
}

static double fraction(double value)
{
    return value - floor(value);
}

// u, v: 0..1; a, b: the pixel from the middle, in units of the height.
static double time_of(enum wipe wipe, double u, double v, double a, double b, double corner)
{
    double x = fabs(2 * u - 1), y = fabs(2 * v - 1);
    switch (wipe) {
    case WIPE_LEFT_TO_RIGHT:
        return u;
    case WIPE_TOP_TO_BOTTOM:
        return v;
    case WIPE_BOX_TOP_LEFT:
        return max_double(u, v);
    case WIPE_BOX_TOP_RIGHT:
        return max_double(1 - u, v);
    case WIPE_BOX_BOTTOM_RIGHT:
        return max_double(1 - u, 1 - v);
    case WIPE_BOX_BOTTOM_LEFT:
        return max_double(u, 1 - v);
    case WIPE_FOUR_BOXES:
        return max_double(1 - x, 1 - y);
    case WIPE_BARN_DOORS_VERTICAL:
        return x;
    case WIPE_BARN_DOORS_HORIZONTAL:
        return y;
    case WIPE_BOX_TOP:
        return max_double(x, v);
    case WIPE_BOX_RIGHT:
        return max_double(1 - u, y);
    case WIPE_BOX_BOTTOM:
        return max_double(x, 1 - v);
    case WIPE_BOX_LEFT:
        return max_double(u, y);
    case WIPE_DIAGONAL_TOP_LEFT:
        return (u + v) / 2;
    case WIPE_DIAGONAL_TOP_RIGHT:
        return (1 - u + v) / 2;
    case WIPE_BOW_TIE_VERTICAL:
        return (1 + x - y) / 2;
    case WIPE_BOW_TIE_HORIZONTAL:
        return (1 + y - x) / 2;
    case WIPE_BARN_DOORS_BOTTOM_LEFT:
        return fabs(u + v - 1);
    case WIPE_BARN_DOORS_TOP_LEFT:
        return fabs(u - v);
    case WIPE_VEE_DOWN:
        return (v + x) / 2;
    case WIPE_VEE_LEFT:
        return (1 - u + y) / 2;
    case WIPE_VEE_UP:
        return (1 - v + x) / 2;
    case WIPE_VEE_RIGHT:
        return (u + y) / 2;
    case WIPE_RECTANGLE:
        return max_double(x, y);
    case WIPE_DIAMOND:
        return (x + y) / 2;
    case WIPE_CIRCLE:
        return sqrt(a * a + b * b) / corner;
    case WIPE_ELLIPSE_HORIZONTAL:
        return sqrt(x * x / 4 + y * y) / sqrt(1.25);
    case WIPE_ELLIPSE_VERTICAL:
        return sqrt(x * x + y * y / 4) / sqrt(1.25);
    case WIPE_CLOCK_12:
        return turns_of(a, b);
    case WIPE_CLOCK_3:
        return fraction(turns_of(a, b) + 0.75);
    case WIPE_CLOCK_6:
        return fraction(turns_of(a, b) + 0.5);
    case WIPE_CLOCK_9:
        return fraction(turns_of(a, b) + 0.25);
    case WIPE_PINWHEEL_VERTICAL:
        return fraction(2 * turns_of(a, b));
    case WIPE_PINWHEEL_HORIZONTAL:
        return fraction(2 * turns_of(a, b) + 0.5);
    case WIPE_PINWHEEL_FOUR:
        return fraction(4 * turns_of(a, b));
    case WIPE_FAN_TOP:
        return 2 * min_double(turns_of(a, b), 1 - turns_of(a, b));
    case WIPE_FAN_RIGHT:
        return fabs(2 * fraction(turns_of(a, b) + 0.25) - 1);
    case WIPE_COUNT:
        break;
    }
    return 0;
}

static struct wipe_map *map_alloc(int width, int height)
{
    struct wipe_map *map = calloc(1, sizeof *map);
    if (map)
        map->times = malloc(sizeof map->times[0] * (size_t)width * (size_t)height);
    if (!map || !map->times) {
        free(map);
        return NULL;
    }
    map->width = width;
    map->height = height;
    return map;
}

struct map_job {
    struct wipe_map *map;
    enum wipe wipe;
    bool reverse;
};

static int band_end(int band, int height)
{
    int end = (band + 1) * BAND_ROWS;
    return end < height ? end : height;
}

static void map_band(void *arg, int band)
{
    const struct map_job *job = arg;
    int width = job->map->width, height = job->map->height;
    double aspect = (double)width / height, corner = sqrt(aspect * aspect + 1) / 2;
    for (int row = band * BAND_ROWS; row < band_end(band, height); row++)
        for (int column = 0; column < width; column++) {
            double u = (column + 0.5) / width, v = (row + 0.5) / height;
            double time = time_of(job->wipe, u, v, (u - 0.5) * aspect, v - 0.5, corner);
            time = job->reverse ? 1 - time : time;
            job->map->times[(size_t)row * (size_t)width + (size_t)column] =
                (uint16_t)(time * (ONE - 1) + 0.5);
        }
}

struct wipe_map *wipe_map_create(enum wipe wipe, bool reverse, int width, int height)
{
    struct map_job job = {map_alloc(width, height), wipe, reverse};
    if (job.map)
        crew_share((height + BAND_ROWS - 1) / BAND_ROWS, map_band, &job);
    return job.map;
}

struct wipe_map *wipe_map_of(const struct picture *luma, bool reverse, int width, int height)
{
    struct wipe_map *map = map_alloc(width, height);
    if (!map)
        return NULL;
    for (int row = 0; row < height; row++)
        for (int column = 0; column < width; column++) {
            int64_t y = (int64_t)row * luma->height / height;
            int64_t x = (int64_t)column * luma->width / width;
            int time = (luma->plane[0][y * luma->stride[0] + x] - 16) * (ONE - 1) / 219;
            time = time < 0 ? 0 : time > ONE - 1 ? ONE - 1 : time;
            map->times[(size_t)row * (size_t)width + (size_t)column] =
                (uint16_t)(reverse ? ONE - 1 - time : time);
        }
    return map;
}

void wipe_map_destroy(struct wipe_map **map)
{
    if (*map)
        free((*map)->times);
    free(*map);
    *map = NULL;
}

// ---- Weights ----------------------------------------------------------------------------------

// m(reach) of a row; `softness` in units of times, > 0.
static void masks(const uint16_t *times, int count, int reach, int softness, uint8_t *ret)
{
    int scale = ((255 << 16) + softness - 1) / softness; // the end of the ramp is 255
    for (int i = 0; i < count; i++) {
        int over = reach - times[i];
        over = over < 0 ? 0 : over > softness ? softness : over;
        int mask = (over * scale + 32768) >> 16;
        ret[i] = (uint8_t)(mask > 255 ? 255 : mask);
    }
}

static void halve(const uint8_t *top, const uint8_t *bottom, int count, uint8_t *ret)
{
    for (int i = 0; i < count; i++)
        ret[i] =
            (uint8_t)((top[2 * i] + top[2 * i + 1] + bottom[2 * i] + bottom[2 * i + 1] + 2) >> 2);
}

static int divide_255(int x)
{
    int half = x + 128;
    return (half + (half >> 8)) >> 8; // (x + 127) / 255 for products of two bytes
}

// The weights of two rows of luma and one of chroma.
struct weights {
    uint8_t *first[3], *last[3]; // m(p) and m(p - border): the two of luma, that of chroma
};

// Adds a row of samples under their weights: 255 - m, or m.
static void weigh(uint8_t *dst, const uint8_t *src, int count, int opacity, const uint8_t *mask,
                  bool rest)
{
    int flip = rest ? 255 : 0;
    for (int i = 0; i < count; i++) {
        int sum =
            dst[i] + divide_255(divide_255((src ? src[i] : 255) * opacity) * (mask[i] ^ flip));
        dst[i] = (uint8_t)(sum > 255 ? 255 : sum);
    }
}

static void weigh_colour(uint8_t *dst, int sample, int count, const uint8_t *first,
                         const uint8_t *last)
{
    for (int i = 0; i < count; i++) {
        int sum = dst[i] + divide_255(sample * (first[i] - last[i]));
        dst[i] = (uint8_t)(sum > 255 ? 255 : sum);
    }
}

static uint8_t *row_of(const struct picture *p, int plane, int row)
{
    return p->plane[plane] + row * p->stride[plane];
}

// One row of one plane of a side, where it stands on the canvas.
static void add_side(struct picture *dst, const struct wipe_side *side, int plane, int row,
                     const uint8_t *mask, bool rest)
{
    const struct picture *p = side->picture;
    int half = plane == 1 || plane == 2;
    int x = side->x / (1 + half), y = row - side->y / (1 + half);
    if (!p || y < 0 || y >= p->height >> half)
        return;
    int from = x > 0 ? x : 0, to = x + (p->width >> half);
    to = to < dst->width >> half ? to : dst->width >> half;
    const uint8_t *src =
        plane == 3 && p->format == PICTURE_OPAQUE ? NULL : row_of(p, plane, y) + from - x;
    if (to > from)
        weigh(row_of(dst, plane, row) + from, src, to - from, side->opacity, mask + from, rest);
}

static void add_row(struct picture *dst, const struct wipe_side *from, const struct wipe_side *to,
                    const struct wipe_edge *edge, int plane, int row, const uint8_t *first,
                    const uint8_t *last)
{
    add_side(dst, from, plane, row, first, true);
    add_side(dst, to, plane, row, last, false);
    if (edge->border > 0)
        weigh_colour(row_of(dst, plane, row), edge->colour[plane],
                     plane == 1 || plane == 2 ? dst->width / 2 : dst->width, first, last);
}

struct wipe_job {
    struct picture *dst;
    const struct wipe_side *from, *to;
    const struct wipe_map *map;
    const struct wipe_edge *edge;
    int reach, softness, border;
};

static void wipe_rows(const struct wipe_job *j, int row, const struct weights *w)
{
    int width = j->dst->width;
    for (int i = 0; i < 2; i++) {
        const uint16_t *times = j->map->times + (size_t)(row + i) * (size_t)width;
        masks(times, width, j->reach, j->softness, w->first[i]);
        masks(times, width, j->reach - j->border, j->softness, w->last[i]);
    }
    halve(w->first[0], w->first[1], width / 2, w->first[2]);
    halve(w->last[0], w->last[1], width / 2, w->last[2]);
    for (int i = 0; i < 2; i++) {
        add_row(j->dst, j->from, j->to, j->edge, 0, row + i, w->first[i], w->last[i]);
        add_row(j->dst, j->from, j->to, j->edge, 3, row + i, w->first[i], w->last[i]);
    }
    add_row(j->dst, j->from, j->to, j->edge, 1, row / 2, w->first[2], w->last[2]);
    add_row(j->dst, j->from, j->to, j->edge, 2, row / 2, w->first[2], w->last[2]);
}

static void wipe_band(void *arg, int band)
{
    const struct wipe_job *j = arg;
    size_t width = (size_t)j->dst->width;
    uint8_t *rows = base_alloc(6 * width);
    struct weights w = {{rows, rows + width, rows + 2 * width},
                        {rows + 3 * width, rows + 4 * width, rows + 5 * width}};
    for (int row = band * BAND_ROWS; row < band_end(band, j->dst->height); row += 2)
        wipe_rows(j, row, &w);
    free(rows);
}

void blend_wipe(struct picture *dst, const struct wipe_side *from, const struct wipe_side *to,
                const struct wipe_map *map, const struct wipe_edge *edge, int share)
{
    assert(dst->format == PICTURE_ALPHA && dst->width == map->width && dst->height == map->height);
    assert(from->x % 2 == 0 && from->y % 2 == 0 && to->x % 2 == 0 && to->y % 2 == 0);
    int side = dst->width > dst->height ? dst->width : dst->height, least = 2 * ONE / side;
    struct wipe_job job = {.dst = dst, .from = from, .to = to, .map = map, .edge = edge};
    job.softness = (int)(edge->softness * ONE + 0.5);
    job.softness = job.softness < least ? least : job.softness;
    job.border = (int)(edge->border * ONE + 0.5);
    job.reach = (int)((int64_t)share * (ONE + job.softness + job.border) / ONE);
    picture_clear(dst);
    crew_share((dst->height + BAND_ROWS - 1) / BAND_ROWS, wipe_band, &job);
}
