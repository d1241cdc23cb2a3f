#include "edge/meter/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SILENT_BELOW (SOUND_FULL_SCALE / 1000) // -60 dBFS
#define BLACK_LUMA   32
#define BRIGHT_SHARE 50 // one in so many may be brighter
#define NOISE        2
#define TILE_WIDTH   64
#define TILE_HEIGHT  32

void watch_init(struct watch *w, struct rate rate, const struct watch_settings *settings)
{
    *w = (struct watch){.settings = *settings,
                        .rate = rate,
                        .silent_from = INT64_MAX,
                        .black_from = INT64_MAX,
                        .still_from = INT64_MAX};
}

void watch_finish(struct watch *w)
{
    picture_unref(&w->still);
}

static bool is_silent(const struct programme_frame *f)
{
    for (int i = 0; i < f->sample_count * SOUND_CHANNELS; i++)
        if (f->samples[i] > SILENT_BELOW || f->samples[i] < -SILENT_BELOW)
            return false;
    return true;
}

// Loops of a length that the compiler knows become vectors; these are counted in bytes, and CHUNKS
// of them cannot overflow.
#define CHUNK  64
#define CHUNKS 128

static inline __attribute__((always_inline)) uint32_t difference(const uint8_t *a, const uint8_t *b,
                                                                 int count)
{
    uint32_t sum = 0;
    for (int x = 0; x < count; x++)
        sum += (uint32_t)abs(a[x] - b[x]);
    return sum;
}

static uint32_t count_bright(const uint8_t *row, int width)
{
    static const uint8_t none[CHUNK];
    uint32_t count = 0;
    int x = 0;
    while (x + CHUNK <= width) {
        uint8_t lanes[CHUNK] = {0};
        for (int k = 0; k < CHUNKS && x + CHUNK <= width; k++, x += CHUNK)
            for (int i = 0; i < CHUNK; i++)
                lanes[i] = (uint8_t)(lanes[i] + (row[x + i] > BLACK_LUMA));
        count += difference(lanes, none, CHUNK);
    }
    for (; x < width; x++)
        count += row[x] > BLACK_LUMA;
    return count;
}

static uint32_t sum_luma(const uint8_t *row, int width)
{
    static const uint8_t none[CHUNK];
    uint32_t sum = 0;
    int x = 0;
    for (; x + CHUNK <= width; x += CHUNK)
        sum += difference(row + x, none, CHUNK);
    return sum + difference(row + x, none, width - x);
}

// Most pictures are not, and their first rows show it.
static bool is_black(const struct picture *p)
{
    uint64_t sum = 0, bright = 0, all = (uint64_t)p->width * (uint64_t)p->height;
    for (int y = 0; y < p->height && bright * BRIGHT_SHARE <= all; y++) {
        const uint8_t *row = p->plane[0] + y * p->stride[0];
        bright += count_bright(row, p->width);
        sum += sum_luma(row, p->width);
    }
    return bright * BRIGHT_SHARE <= all && sum <= BLACK_LUMA * all;
}

// Tiles [from, to) of a row of tiles of one plane, `width` x `height` each; gives the first that
// has changed, or `to`. Row by row: that is how memory is read fastest.
static int first_changed(const struct picture *a, const struct picture *b, int plane, int tile_row,
                         int from, int to)
{
    int half = plane ? 2 : 1, width = TILE_WIDTH / half, height = TILE_HEIGHT / half;
    int columns = plane_width(a, plane), top = tile_row * height;
    int rows = plane_height(a, plane) - top < height ? plane_height(a, plane) - top : height;
    uint32_t sums[PICTURE_SIDE_MAX / TILE_WIDTH] = {0};
    for (int y = top; y < top + rows; y++) {
        const uint8_t *in_a = a->plane[plane] + y * a->stride[plane];
        const uint8_t *in_b = b->plane[plane] + y * b->stride[plane];
        for (int t = from; t < to; t++) {
            int x = t * width, left = columns - x;
            sums[t] += left < width ? difference(in_a + x, in_b + x, left)
                       : plane      ? difference(in_a + x, in_b + x, TILE_WIDTH / 2)
                                    : difference(in_a + x, in_b + x, TILE_WIDTH);
        }
    }
    for (int t = from; t < to; t++) {
        int left = columns - t * width;
        if (sums[t] > (uint32_t)(NOISE * rows * (left < width ? left : width)))
            return t;
    }
    return to;
}

static bool tiles_changed(const struct picture *a, const struct picture *b, int tile_row, int from,
                          int to, int *changed)
{
    for (int plane = 0; plane < 3; plane++)
        if ((*changed = first_changed(a, b, plane, tile_row, from, to)) < to)
            return true;
    return false;
}

// The tile where it moved last is looked at first: a picture that moves mostly goes on there.
static bool has_moved(const struct picture *a, const struct picture *b, int *moved_at)
{
    if (a == b)
        return false;
    if (a->width != b->width || a->height != b->height)
        return true;
    int across = (a->width + TILE_WIDTH - 1) / TILE_WIDTH;
    int down = (a->height + TILE_HEIGHT - 1) / TILE_HEIGHT;
    int last = *moved_at % (across * down), x;
    if (tiles_changed(a, b, last / across, last % across, last % across + 1, &x))
        return true;
    for (int y = 0; y < down; y++)
        if (tiles_changed(a, b, y, 0, across, &x)) {
            *moved_at = y * across + x;
            return true;
        }
    return false;
}

static void note(int64_t *from, bool is_so, int64_t n)
{
    if (!is_so)
        *from = INT64_MAX;
    else if (*from > n)
        *from = n;
}

static bool lasts(const struct watch *w, int64_t from, int64_t n, int seconds)
{
    int64_t frames = muldiv_floor(seconds, w->rate.num, w->rate.den);
    frames += muldiv_floor(frames, w->rate.den, w->rate.num) < seconds; // rounded up
    return seconds && from <= n && n - from + 1 >= frames;
}

unsigned watch_add(struct watch *w, const struct programme_frame *f)
{
    int64_t n = f->frame;
    bool black = w->settings.black_seconds && is_black(f->picture);
    note(&w->silent_from, w->settings.silent_seconds && is_silent(f), n);
    note(&w->black_from, black, n);
    if (w->settings.frozen_seconds &&
        (!w->still || has_moved(f->picture, w->still, &w->moved_at))) {
        picture_unref(&w->still);
        w->still = picture_ref(f->picture);
        w->still_from = n;
    }
    return (lasts(w, w->silent_from, n, w->settings.silent_seconds) ? WATCH_SILENT : 0) |
           (lasts(w, w->black_from, n, w->settings.black_seconds) ? WATCH_BLACK : 0) |
           (!black && lasts(w, w->still_from, n, w->settings.frozen_seconds) ? WATCH_FROZEN : 0);
}
