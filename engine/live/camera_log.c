#include "engine/live/camera_log.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_KEPT 64 // breakpoints lie a second apart

// Makes room for one more. False: no memory.
static bool make_room(void **list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    size_t more = *capacity ? 2 * *capacity : 64;
    void *grown = realloc(*list, more * size);
    if (!grown)
        return false;
    *list = grown;
    *capacity = more;
    return true;
}

static void units_clear(struct camera_units *u)
{
    for (size_t i = 0; i < u->count; i++)
        free(u->units[i].body);
    u->first += (int64_t)u->count;
    u->count = 0;
}

int64_t units_find(const struct camera_units *u, uint64_t seq)
{
    size_t from = 0, to = u->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (u->units[middle].seq < seq)
            from = middle + 1;
        else
            to = middle;
    }
    return from < u->count && u->units[from].seq == seq ? u->first + (int64_t)from : -1;
}

static void clear(struct camera_log *log)
{
    for (int i = 0; i < UNIT_STREAMS; i++) {
        units_clear(&log->streams[i]);
        log->done_ns[i] = INT64_MIN;
        log->format[i] = NULL;
        log->forgotten_ns[i] = INT64_MIN;
    }
    log->entry_count = log->point_count = 0;
    log->seq = log->first_seq = 0;
    log->run = 0;
}

void camera_log_init(struct camera_log *log, struct live_reader *reader)
{
    *log = (struct camera_log){.reader = reader};
    clear(log);
}

void camera_log_finish(struct camera_log *log)
{
    clear(log);
    for (int i = 0; i < UNIT_STREAMS; i++)
        free(log->streams[i].units);
    for (struct camera_format *f = log->formats, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    free(log->entries);
    free(log->points);
    live_reader_close(&log->reader);
}

void camera_log_rewind(struct camera_log *log)
{
    clear(log);
    live_reader_rewind(log->reader);
}

// ---- What comes ------------------------------------------------------------------------------

static int take_format(struct camera_log *log, const struct unit *u)
{
    struct unit_format format;
    int error = unit_format_parse(u->body, u->size, &format);
    if (error < 0)
        return error;
    const struct unit_format *now = log->format[u->stream];
    if (now && unit_format_equal(now, &format))
        return 0;
    struct camera_format *f = log->formats;
    while (f && !unit_format_equal(&f->format, &format))
        f = f->next;
    if (!f) {
        f = base_alloc(sizeof *f);
        *f = (struct camera_format){log->formats, format};
        log->formats = f;
    }
    log->format[u->stream] = &f->format;
    if (u->stream == UNIT_PICTURE)
        log->run = 0;
    return 0;
}

// By rising chan_ns; nearly always at the end.
static int add_entry(struct camera_log *log, struct show_entry entry)
{
    if (!make_room((void **)&log->entries, log->entry_count, &log->entry_capacity, sizeof entry))
        return -ENOMEM;
    size_t i = log->entry_count++;
    for (; i && log->entries[i - 1].chan_ns > entry.chan_ns; i--)
        log->entries[i] = log->entries[i - 1];
    log->entries[i] = entry;
    return 0;
}

static int take_gap(struct camera_log *log, const struct unit *u)
{
    if (u->stream != UNIT_PICTURE || u->done_ns <= u->chan_ns)
        return 0;
    for (size_t i = log->entry_count; i-- > 0;)
        if (log->entries[i].until_ns && log->entries[i].chan_ns == u->chan_ns) {
            log->entries[i].until_ns = u->done_ns;
            return 0;
        }
    return add_entry(log, (struct show_entry){u->chan_ns, u->done_ns, u->seq});
}

static int take_point(struct camera_log *log, const struct unit *u)
{
    struct camera_point point = {u->gen, {u->index, u->chan_ns}};
    const struct camera_point *last = log->point_count ? &log->points[log->point_count - 1] : NULL;
    if (last && (last->gen > point.gen ||
                 (last->gen == point.gen && last->point.index >= point.point.index)))
        return 0; // said again
    if (log->point_count == POINTS_KEPT)
        memmove(log->points, log->points + 1, --log->point_count * sizeof point);
    if (!make_room((void **)&log->points, log->point_count, &log->point_capacity, sizeof point))
        return -ENOMEM;
    log->points[log->point_count++] = point;
    return 0;
}

// Which run a picture belongs to.
static int64_t run_of(struct camera_log *log, const struct unit *u)
{
    if (u->gen != log->gen || u->flags & UNIT_DAMAGED)
        log->run = 0;
    log->gen = u->gen;
    if (!log->run && u->flags & UNIT_KEY && !(u->flags & UNIT_DAMAGED))
        log->run = ++log->runs;
    return log->run;
}

static int take_data(struct camera_log *log, const struct unit *u)
{
    struct camera_units *list = &log->streams[u->stream];
    if (!log->format[u->stream])
        return 0;
    struct camera_unit unit = {
        .seq = u->seq,
        .gen = u->gen,
        .crc = u->crc,
        .flags = u->flags,
        .chan_ns = u->chan_ns,
        .index = u->index,
        .run = u->stream == UNIT_PICTURE ? run_of(log, u) : 0,
        .format = log->format[u->stream],
        .size = u->size,
    };
    if (u->stream == UNIT_PICTURE && !unit.run)
        return 0;
    unit.body = malloc(u->size ? u->size : 1);
    if (!unit.body ||
        !make_room((void **)&list->units, list->count, &list->capacity, sizeof unit) ||
        (u->stream == UNIT_PICTURE && !(u->flags & UNIT_LATE) &&
         add_entry(log, (struct show_entry){u->chan_ns, 0, u->seq}) < 0)) {
        free(unit.body);
        return -ENOMEM;
    }
    if (u->size)
        memcpy(unit.body, u->body, u->size);
    list->units[list->count++] = unit;
    return 0;
}

static int take(struct camera_log *log, const struct unit *u)
{
    if (log->seq && u->seq != log->seq + 1)
        log->run = 0; // units are missing
    log->seq = u->seq;
    if (!log->first_seq)
        log->first_seq = u->seq;
    int error = 0;
    switch (u->kind) {
    case UNIT_FORMAT:
        error = take_format(log, u);
        break;
    case UNIT_GAP:
        error = take_gap(log, u);
        break;
    case UNIT_MAP:
        error = take_point(log, u);
        break;
    case UNIT_DATA:
        error = take_data(log, u);
        break;
    case UNIT_IDLE:
        break;
    }
    if (u->done_ns > log->done_ns[u->stream])
        log->done_ns[u->stream] = u->done_ns;
    return error;
}

int camera_log_read(struct camera_log *log)
{
    struct unit u;
    int error;
    while (!(error = live_reader_next(log->reader, &u))) {
        error = take(log, &u);
        if (error < 0 && error != -EPROTO)
            return error;
    }
    if (error == -ESTALE)
        clear(log);
    return error == -EAGAIN ? 0 : error;
}

// ---- What goes -------------------------------------------------------------------------------

void camera_log_forget(struct camera_log *log, enum unit_stream stream, int64_t i)
{
    struct camera_units *list = &log->streams[stream];
    if (i <= list->first || i > units_end(list))
        return;
    size_t gone = (size_t)(i - list->first);
    int64_t last_ns = list->units[gone - 1].chan_ns;
    for (size_t k = 0; k < gone; k++)
        free(list->units[k].body);
    list->count -= gone;
    list->first = i;
    memmove(list->units, list->units + gone, list->count * sizeof *list->units);
    // The last picture stands until the first one that is kept.
    if (stream == UNIT_PICTURE && list->count)
        log->forgotten_ns[stream] = list->units[0].chan_ns - 1;
    else if (last_ns > log->forgotten_ns[stream])
        log->forgotten_ns[stream] = last_ns;
    if (stream != UNIT_PICTURE)
        return;
    size_t old = 0;
    while (old < log->entry_count && log->entries[old].chan_ns <= last_ns)
        old++;
    log->entry_count -= old;
    memmove(log->entries, log->entries + old, log->entry_count * sizeof *log->entries);
}

void camera_log_refuse(struct camera_log *log, uint64_t seq)
{
    for (size_t i = 0; i < log->entry_count; i++)
        if (!log->entries[i].until_ns && log->entries[i].seq == seq) {
            memmove(log->entries + i, log->entries + i + 1,
                    (--log->entry_count - i) * sizeof *log->entries);
            return;
        }
}
