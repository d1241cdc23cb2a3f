#include "engine/live/log_private.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEGMENT_NS     INT64_C(1000000000) // from here on it ends at the next key
#define SEGMENT_NS_MAX INT64_C(4000000000) // of a source without keys
#define SEGMENT_BYTES  (8 << 20)

// Keeps in mind what the next segment has to say again.
static void remember(struct live_log *log, const struct unit *u)
{
    if (u->kind == UNIT_FORMAT && u->size <= UNIT_FORMAT_BYTES) {
        memmove(log->format_body[u->stream], u->body, u->size);
        log->format[u->stream] = *u;
        log->format[u->stream].body = log->format_body[u->stream];
    } else if (u->kind == UNIT_MAP && !(u->flags & UNIT_AGAIN)) {
        if (log->map_count && log->map[0].gen != u->gen)
            log->map_count = 0;
        if (log->map_count == MAP_POINTS)
            memmove(log->map, log->map + 1, (size_t)--log->map_count * sizeof *log->map);
        log->map[log->map_count++] = *u;
    }
}

void live_log_account(struct live_log *log, const struct unit *u)
{
    struct segment *s = &log->segments[log->count - 1];
    log->seq = u->seq;
    log->crc = u->crc;
    log->gen = u->gen > log->gen ? u->gen : log->gen;
    if (u->done_ns > log->done_ns[u->stream])
        log->done_ns[u->stream] = u->done_ns;
    if (u->kind == UNIT_DATA && !(u->flags & UNIT_LATE) && u->chan_ns > log->last_ns[u->stream])
        log->last_ns[u->stream] = u->chan_ns;
    if (u->done_ns > log->now_ns)
        log->now_ns = u->done_ns;
    if (s->from_ns == INT64_MIN)
        s->from_ns = log->now_ns;
    s->bytes += (int64_t)unit_bytes(u);
    s->keys += u->kind == UNIT_DATA && u->stream == UNIT_PICTURE && u->flags & UNIT_KEY;
    remember(log, u);
}

struct segment *live_log_add_segment(struct live_log *log, uint64_t first_seq)
{
    struct segment *s = &log->segments[log->count++];
    *s = (struct segment){.first_seq = first_seq, .from_ns = INT64_MIN};
    return s;
}

// By the clock, so that a folder that was removed and made anew has another one too.
uint32_t live_log_next_history(uint32_t before)
{
    uint32_t now_s = (uint32_t)(clock_realtime_ns() / INT64_C(1000000000));
    return now_s > before ? now_s : before + 1;
}

void live_log_forget(struct live_log *log)
{
    log->seq = 0;
    log->crc = log->gen = 0;
    log->count = 0;
    log->now_ns = log->done_ns[UNIT_PICTURE] = log->done_ns[UNIT_SOUND] = INT64_MIN;
    log->last_ns[UNIT_PICTURE] = log->last_ns[UNIT_SOUND] = INT64_MIN;
    log->format[UNIT_PICTURE].size = log->format[UNIT_SOUND].size = 0;
    log->map_count = 0;
}

// What a predecessor has written.
static int adopt(struct live_log *log, struct diagnostic *reterr)
{
    uint64_t *list;
    size_t count, i = 0;
    int error = segments_list(log->folder, &log->history, &list, &count);
    if (error < 0)
        return diagnostic_set(reterr, error, "live_folder", log->folder, "cannot be read");
    if (!count)
        log->history = live_log_next_history(0);
    struct live_reader *reader;
    error = live_reader_open(log->folder, &reader, reterr);
    struct unit u;
    while (!error && !(error = live_reader_next(reader, &u))) {
        if (u.source != log->source)
            error = diagnostic_set(reterr, -EEXIST, "live_folder", log->folder,
                                   "holds the log of another source");
        while (!error && i < count && list[i] <= u.seq && log->count < SEGMENTS_MAX - 1)
            live_log_add_segment(log, list[i++]);
        if (!error && log->count)
            live_log_account(log, &u);
    }
    live_reader_close(&reader);
    for (; i < count && log->count < SEGMENTS_MAX - 1; i++)
        live_log_add_segment(log, list[i]);
    free(list);
    if (error != -EAGAIN)
        return error;
    segments_keep(log->folder, log->history);
    return 0;
}

int live_log_open(const char *folder, const char *source, struct live_log_limits limits,
                  struct live_log **ret, struct diagnostic *reterr)
{
    if (mkdir(folder, 0755) && errno != EEXIST)
        return diagnostic_set(reterr, -errno, "live_folder", folder, "cannot be made: %s",
                              strerror(errno));
    struct live_log *log = base_alloc(sizeof *log);
    log->folder = base_strdup(folder);
    log->source = unit_source_id(source);
    log->limits = limits;
    log->fd = -1;
    live_log_forget(log);
    int error = 0;
    log->lock_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->lock_fd < 0 || flock(log->lock_fd, LOCK_EX | LOCK_NB))
        error =
            diagnostic_set(reterr, errno == EWOULDBLOCK ? -EBUSY : -errno, "live_folder", folder,
                           errno == EWOULDBLOCK ? "is being written by another" : "cannot be used");
    if (!error)
        error = adopt(log, reterr);
    if (error < 0)
        live_log_destroy(&log);
    else
        *ret = log;
    return error;
}

int live_log_create(const char *folder, const char *source, struct live_log_limits limits,
                    struct live_log **ret, struct diagnostic *reterr)
{
    int error = live_log_open(folder, source, limits, ret, reterr);
    if (error < 0)
        return error;
    struct live_log *log = *ret;
    const struct segment *last = log->count ? &log->segments[log->count - 1] : NULL;
    if (last && last->first_seq > log->seq)
        log->seq = last->first_seq; // a file of which nothing can be read has that name already
    return 0;
}

void live_log_destroy(struct live_log **log)
{
    struct live_log *l = *log;
    if (!l)
        return;
    *log = NULL;
    if (l->fd >= 0)
        close(l->fd);
    if (l->lock_fd >= 0)
        close(l->lock_fd);
    free(l->folder);
    free(l);
}

uint32_t live_log_gen(const struct live_log *log)
{
    return log->gen;
}

int64_t live_log_done_ns(const struct live_log *log, enum unit_stream stream)
{
    return log->done_ns[stream];
}

int64_t live_log_last_ns(const struct live_log *log, enum unit_stream stream)
{
    return log->last_ns[stream];
}

// Whether the oldest segment is more than has to be kept.
static bool too_much(const struct live_log *log)
{
    int64_t bytes = 0;
    int keys = 0;
    for (size_t i = 0; i < log->count; i++)
        bytes += log->segments[i].bytes;
    for (size_t i = 1; i < log->count; i++)
        keys += log->segments[i].keys;
    bool has_keys = keys || log->segments[0].keys;
    int64_t from_ns = log->segments[1].from_ns;
    return bytes > log->limits.bytes_max ||
           (from_ns != INT64_MIN && log->now_ns - from_ns >= log->limits.keep_ns &&
            (!has_keys || keys > log->limits.keep_keys)); // the newest key's group is not whole
}

void live_log_trim(struct live_log *log)
{
    while (log->count > 1 && (log->count == SEGMENTS_MAX || too_much(log))) {
        char path[PATH_MAX];
        unlink(segment_path(log->folder, log->history, log->segments[0].first_seq, path));
        memmove(log->segments, log->segments + 1, --log->count * sizeof log->segments[0]);
    }
}

// One write: readers see a unit only once its last byte is there, since they look at sizes.
static int write_unit(struct live_log *log, struct unit *u)
{
    uint8_t header[UNIT_HEADER_BYTES];
    u->source = log->source;
    u->seq = log->seq + 1;
    unit_write_header(u, header);
    struct iovec parts[2] = {{header, sizeof header}, {(void *)u->body, u->size}};
    ssize_t n;
    do
        n = writev(log->fd, parts, 2);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)unit_bytes(u)) {
        live_log_account(log, u);
        return 0;
    }
    int error = n < 0 ? -errno : -ENOSPC;
    close(log->fd); // nothing may follow half a unit
    log->fd = -1;
    if (log->segments[log->count - 1].first_seq == u->seq)
        log->seq++; // its name is taken
    return error;
}

static int begin_segment(struct live_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    char path[PATH_MAX];
    log->fd = open(segment_path(log->folder, log->history, log->seq + 1, path),
                   O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (log->fd < 0)
        return -errno;
    live_log_add_segment(log, log->seq + 1);
    int error = 0;
    for (int i = 0; !error && i < UNIT_STREAMS; i++) {
        struct unit again = log->format[i];
        again.flags |= UNIT_AGAIN;
        again.done_ns = again.chan_ns = log->done_ns[i];
        if (again.size)
            error = write_unit(log, &again);
    }
    for (int i = 0; !error && i < log->map_count; i++) {
        struct unit again = log->map[i];
        again.flags |= UNIT_AGAIN;
        again.done_ns = log->done_ns[UNIT_SOUND];
        error = write_unit(log, &again);
    }
    return error;
}

static bool segment_is_full(const struct live_log *log, const struct unit *u)
{
    const struct segment *s = &log->segments[log->count - 1];
    int64_t age_ns = s->from_ns == INT64_MIN ? 0 : log->now_ns - s->from_ns;
    bool key = u->kind == UNIT_DATA && u->stream == UNIT_PICTURE && u->flags & UNIT_KEY;
    return (key && age_ns >= SEGMENT_NS) || s->bytes >= SEGMENT_BYTES ||
           (age_ns >= SEGMENT_NS_MAX && !s->keys);
}

int live_log_append(struct live_log *log, struct unit *u)
{
    int64_t done_ns = log->done_ns[u->stream];
    if (u->size > UNIT_BODY_MAX)
        return -EFBIG;
    if (u->done_ns < done_ns || (u->kind == UNIT_DATA && u->chan_ns <= done_ns))
        return -EINVAL;
    bool begins = log->fd < 0 || segment_is_full(log, u);
    int error = begins ? begin_segment(log) : 0;
    if (!error)
        error = write_unit(log, u);
    if (begins)
        live_log_trim(log); // with the key counted that it begins with
    return error;
}
