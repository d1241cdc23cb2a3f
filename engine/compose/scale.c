#include "engine/compose/scale.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crew.h"
#include "engine/base/thread.h"
#include "engine/compose/kernels.h"

#define WEIGHT_ONE (1 << 14)
// Tables kept: four for each of the last pictures (luma and chroma, rows and columns).
#define AXES_KEPT 64
// What is worth waking another thread for: about 0.1 ms.
#define PART_SAMPLES (128 << 10)

// `columns` tables are laid out for kernels.scale_columns: taps a multiple of 4, outputs in groups
// of 8; tables for rows hold `taps` weights per output, one output after the other.
struct axis {
    struct axis_key key;
    bool columns, plain; // plain: output i is source sample start[0] + i
    int taps;
    int left, right; // source samples touched, both included
    int32_t *start;
    int16_t *weights;
    uint64_t used;
};

struct scaler {
    struct axis axis[AXES_KEPT];
    uint64_t clock;
};

struct scaler *scaler_create(void)
{
    return base_alloc(sizeof(struct scaler));
}

static void axis_finish(struct axis *axis)
{
    free(axis->start);
    free(axis->weights);
    *axis = (struct axis){0};
}

void scaler_destroy(struct scaler **scaler)
{
    struct scaler *s = *scaler;
    if (!s)
        return;
    *scaler = NULL;
    for (int i = 0; i < AXES_KEPT; i++)
        axis_finish(&s->axis[i]);
    free(s);
}

// Keys, Cubic convolution interpolation for digital image processing (1981), a = -1/2.
static double catmull_rom(double t)
{
    if (t < 0)
        t = -t;
    if (t < 1)
        return (1.5 * t - 2.5) * t * t + 1;
    return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

// Weights of one output, as integers in `ret` (room for `room`). Returns how many from *ret_start
// on. The running sum is rounded, not each weight, so that they sum to 1 however many there are.
static int output_weights(const struct axis_key *key, int i, double *real, int16_t *ret, int room,
                          int32_t *ret_start)
{
    double centre = key->first + i * key->step, wide = key->step > 1 ? key->step : 1;
    int first = (int)ceil(centre - 2 * wide), last = (int)floor(centre + 2 * wide);
    int start = clamp(first, key->low, key->high), count = clamp(last, key->low, key->high) - start;
    count++;
    assert(count <= room);
    memset(real, 0, (size_t)count * sizeof *real);
    double sum = 0;
    for (int k = first; k <= last; k++) {
        double w = catmull_rom((k - centre) / wide);
        real[clamp(k, key->low, key->high) - start] += w;
        sum += w;
    }
    double running = 0;
    int before = 0;
    for (int k = 0; k < count; k++) {
        running += real[k];
        int now = (int)floor(running / sum * WEIGHT_ONE + 0.5);
        ret[k] = (int16_t)(now - before);
        before = now;
    }
    assert(before == WEIGHT_ONE);
    int skip = 0;
    while (ret[skip] == 0)
        skip++;
    while (ret[count - 1] == 0)
        count--;
    memmove(ret, ret + skip, (size_t)(count - skip) * sizeof *ret);
    *ret_start = start + skip;
    return count - skip;
}

// Where weight `tap` of output `i` stands in a table for columns.
static size_t column_index(int taps, int i, int tap)
{
    return ((size_t)(i / 4 * (taps / 4) + tap / 4) * 4 + (size_t)(i % 4)) * 4 + (size_t)(tap % 4);
}

static void axis_measure(struct axis *axis)
{
    axis->plain = axis->taps == 1;
    axis->left = axis->key.high;
    axis->right = axis->key.low;
    for (int i = 0; i < axis->key.count; i++) {
        int first = axis->start[i], last = clamp(first + axis->taps - 1, first, axis->key.high);
        axis->left = first < axis->left ? first : axis->left;
        axis->right = last > axis->right ? last : axis->right;
        axis->plain = axis->plain && first == axis->start[0] + i;
    }
}

static int axis_fill(struct axis *axis, int16_t *one, double *real, int room)
{
    const struct axis_key *key = &axis->key;
    int padded = (key->count + 7) / 8 * 8;
    int16_t *loose = calloc((size_t)key->count * (size_t)room, sizeof *loose);
    axis->start = calloc((size_t)padded, sizeof *axis->start);
    if (!loose || !axis->start) {
        free(loose);
        return -ENOMEM;
    }
    axis->taps = 1;
    for (int i = 0; i < key->count; i++) {
        int taps = output_weights(key, i, real, one, room, &axis->start[i]);
        memcpy(loose + (size_t)i * (size_t)room, one, (size_t)taps * sizeof *one);
        axis->taps = taps > axis->taps ? taps : axis->taps;
    }
    axis_measure(axis);
    int stored = axis->columns ? (axis->taps + 3) / 4 * 4 : axis->taps;
    axis->weights = calloc((size_t)padded * (size_t)stored, sizeof *axis->weights);
    for (int i = 0; axis->weights && i < key->count; i++)
        for (int tap = 0; tap < axis->taps; tap++) {
            size_t at = axis->columns ? column_index(stored, i, tap)
                                      : (size_t)i * (size_t)stored + (size_t)tap;
            axis->weights[at] = loose[(size_t)i * (size_t)room + (size_t)tap];
        }
    free(loose);
    return axis->weights ? 0 : -ENOMEM;
}

static int axis_make(struct axis *axis, const struct axis_key *key, bool columns)
{
    *axis = (struct axis){.key = *key, .columns = columns};
    int room = (int)ceil(4 * (key->step > 1 ? key->step : 1)) + 2;
    int16_t *one = calloc((size_t)room, sizeof *one);
    double *real = calloc((size_t)room, sizeof *real);
    int r = one && real ? axis_fill(axis, one, real, room) : -ENOMEM;
    free(one);
    free(real);
    if (r < 0)
        axis_finish(axis);
    return r;
}

static bool key_equal(const struct axis_key *a, const struct axis_key *b)
{
    return a->first == b->first && a->step == b->step && a->count == b->count && a->low == b->low &&
           a->high == b->high;
}

// The table for `key`, from the cache or made in place of the one unused for longest.
static int axis_get(struct scaler *s, const struct axis_key *key, bool columns,
                    const struct axis **ret)
{
    struct axis *oldest = &s->axis[0];
    for (int i = 0; i < AXES_KEPT; i++) {
        struct axis *axis = &s->axis[i];
        if (axis->weights && axis->columns == columns && key_equal(&axis->key, key)) {
            axis->used = ++s->clock;
            *ret = axis;
            return 0;
        }
        if (axis->used < oldest->used)
            oldest = axis;
    }
    axis_finish(oldest);
    int r = axis_make(oldest, key, columns);
    if (r < 0)
        return r;
    oldest->used = ++s->clock;
    *ret = oldest;
    return 0;
}

// Whole source samples, no filter: dst = src at each output's start.
static void pick_row(uint8_t *dst, const uint8_t *src, const struct axis *columns)
{
    if (columns->plain) {
        memcpy(dst, src + columns->start[0], (size_t)columns->key.count);
        return;
    }
    for (int i = 0; i < columns->key.count; i++)
        dst[i] = src[columns->start[i]];
}

// A plane at work. Parts of rows are shared out, each with scratch of its own.
struct pass {
    uint8_t *dst;
    const uint8_t *src;
    ptrdiff_t dst_stride, src_stride;
    const struct axis *columns, *rows;
    int part_rows;
    // Of each part: one row of 16-bit samples, with zeros after it that weights of 0 may meet; the
    // rows that it is made of.
    int16_t *row;
    const uint8_t **from;
    size_t row_size;
};

static void scale_part(void *opaque, int part)
{
    const struct pass *p = opaque;
    const struct kernels *k = kernels_get();
    const struct axis *columns = p->columns, *rows = p->rows;
    int16_t *row = p->row + (size_t)part * p->row_size;
    const uint8_t **from = p->from + part * rows->taps;
    int left = columns->left, width = columns->right - left + 1;
    int first = part * p->part_rows, end = first + p->part_rows;
    for (int i = first; i < end && i < rows->key.count; i++) {
        uint8_t *dst = p->dst + i * p->dst_stride;
        int start = rows->start[i];
        if (columns->taps == 1 && rows->taps == 1) {
            pick_row(dst, p->src + start * p->src_stride, columns);
            continue;
        }
        for (int tap = 0; tap < rows->taps; tap++)
            from[tap] =
                p->src + clamp(start + tap, rows->key.low, rows->key.high) * p->src_stride + left;
        k->scale_rows(row + left, from, rows->weights + (ptrdiff_t)i * rows->taps, rows->taps,
                      width);
        k->scale_columns(dst, row, columns->start, columns->weights, (columns->taps + 3) / 4,
                         columns->key.count);
    }
}

int scaler_plane(struct scaler *s, uint8_t *dst, ptrdiff_t dst_stride, const uint8_t *src,
                 ptrdiff_t src_stride, struct axis_key x, struct axis_key y)
{
    struct pass pass = {.dst = dst, .src = src, .dst_stride = dst_stride, .src_stride = src_stride};
    int r = axis_get(s, &x, true, &pass.columns);
    if (r == 0)
        r = axis_get(s, &y, false, &pass.rows);
    if (r < 0)
        return r;
    pass.part_rows = PART_SAMPLES / x.count + 1;
    int parts = (y.count + pass.part_rows - 1) / pass.part_rows;
    pass.row_size = (size_t)(x.high + pass.columns->taps + 4);
    pass.row = calloc((size_t)parts * pass.row_size, sizeof *pass.row);
    pass.from = calloc((size_t)parts * (size_t)pass.rows->taps, sizeof *pass.from);
    if (pass.row && pass.from)
        crew_share(parts, scale_part, &pass);
    else
        r = -ENOMEM;
    free(pass.row);
    free(pass.from);
    return r;
}
