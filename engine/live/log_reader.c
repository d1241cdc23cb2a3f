#include "engine/live/log.h"

#include "engine/base/thread.h"
#include "engine/live/segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (256 << 10)

struct live_reader {
    char *folder;
    int inotify;      // -1: none to be had, waiting is by time
    int fd;           // of the segment; -1: none open
    uint32_t history; // 0: none has been seen yet
    uint64_t first_seq;
    int64_t offset; // in the file, of buffer[start]
    uint8_t *buffer;
    size_t capacity, start, end;
};

// ---- Files -----------------------------------------------------------------------------------

const char *segment_path(const char *folder, uint32_t history, uint64_t first_seq,
                         char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%08" PRIx32 "-%016" PRIx64 ".units", folder, history, first_seq);
    return path;
}

static bool segment_parse(const char *name, uint32_t *ret_history, uint64_t *ret_first_seq)
{
    char *end;
    *ret_history = (uint32_t)strtoul(name, &end, 16);
    if (end != name + 8 || *end != '-')
        return false;
    *ret_first_seq = strtoull(name + 9, &end, 16);
    return end == name + 25 && !strcmp(end, ".units");
}

static int compare_seqs(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

int segments_list(const char *folder, uint32_t *ret_history, uint64_t **ret, size_t *ret_count)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return -errno;
    uint64_t *list = base_alloc(SEGMENTS_MAX * sizeof *list);
    size_t count = 0;
    uint32_t newest = 0, history;
    uint64_t seq;
    for (const struct dirent *entry; count < SEGMENTS_MAX && (entry = readdir(dir));) {
        if (!segment_parse(entry->d_name, &history, &seq) || history < newest)
            continue;
        if (history > newest)
            count = 0;
        newest = history;
        list[count++] = seq;
    }
    closedir(dir);
    qsort(list, count, sizeof *list, compare_seqs);
    *ret_history = newest;
    *ret = list;
    *ret_count = count;
    return 0;
}

void segments_keep(const char *folder, uint32_t keep)
{
    DIR *dir = opendir(folder);
    uint32_t history;
    uint64_t seq;
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        if (segment_parse(entry->d_name, &history, &seq) && history != keep)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
}

// ---- Reading ---------------------------------------------------------------------------------

// Also of a folder that has been made anew in place of the one that was watched.
static void watch(struct live_reader *r)
{
    if (r->inotify >= 0 && inotify_add_watch(r->inotify, r->folder, IN_CREATE | IN_MODIFY) < 0) {
        close(r->inotify);
        r->inotify = -1;
    }
}

int live_reader_open(const char *folder, struct live_reader **ret, struct diagnostic *reterr)
{
    if (mkdir(folder, 0755) && errno != EEXIST)
        return diagnostic_set(reterr, -errno, "live_folder", folder, "cannot be made: %s",
                              strerror(errno));
    struct live_reader *r = base_alloc(sizeof *r);
    r->folder = base_strdup(folder);
    r->fd = -1;
    r->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    watch(r);
    *ret = r;
    return 0;
}

static void leave_segment(struct live_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->offset = 0;
    r->start = r->end = 0;
}

void live_reader_close(struct live_reader **reader)
{
    struct live_reader *r = *reader;
    if (!r)
        return;
    *reader = NULL;
    leave_segment(r);
    if (r->inotify >= 0)
        close(r->inotify);
    free(r->buffer);
    free(r->folder);
    free(r);
}

void live_reader_rewind(struct live_reader *r)
{
    leave_segment(r);
    r->first_seq = 0;
}

// As segments_list. -ESTALE: they are another history's than what has been read.
static int list_segments(struct live_reader *r, uint64_t **ret, size_t *ret_count)
{
    uint32_t history;
    int error = segments_list(r->folder, &history, ret, ret_count);
    if (error < 0 || !history || history == r->history)
        return error;
    bool first = !r->history;
    r->history = history;
    if (first)
        return 0;
    free(*ret);
    live_reader_rewind(r);
    watch(r);
    return -ESTALE;
}

// Opens the oldest segment that is newer than the present one. 1: done; 0: there is none.
static int next_segment(struct live_reader *r)
{
    uint64_t *list;
    size_t count, i = 0;
    int error = list_segments(r, &list, &count);
    if (error < 0)
        return error;
    while (i < count && list[i] <= r->first_seq)
        i++;
    int fd = -1;
    for (; fd < 0 && i < count; i++) { // one that has been removed meanwhile is passed over
        char path[PATH_MAX];
        fd = open(segment_path(r->folder, r->history, list[i], path), O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            leave_segment(r);
            r->fd = fd;
            r->first_seq = list[i];
        }
    }
    free(list);
    return fd >= 0;
}

// 1: there is a newer segment; 0: there is none.
static int newer_segment(struct live_reader *r)
{
    uint64_t *list;
    size_t count;
    int error = list_segments(r, &list, &count);
    if (error < 0)
        return error == -ESTALE ? error : 0;
    bool newer = count && list[count - 1] > r->first_seq;
    free(list);
    return newer;
}

int live_reader_seek(struct live_reader *r, uint64_t seq)
{
    uint64_t *list;
    size_t count, i = 0;
    live_reader_rewind(r);
    int error = list_segments(r, &list, &count);
    if (error < 0)
        return error;
    while (i + 1 < count && list[i + 1] <= seq)
        i++;
    r->first_seq = count ? list[i] - 1 : 0; // the one that follows is it
    free(list);
    return 0;
}

uint64_t live_reader_segment(const struct live_reader *r)
{
    return r->first_seq;
}

bool live_reader_holds(const struct live_reader *r, uint64_t segment)
{
    char path[PATH_MAX];
    return !access(segment_path(r->folder, r->history, segment, path), F_OK);
}

int live_reader_fd(const struct live_reader *r)
{
    return r->inotify;
}

// Reads on in the segment. Returns how many bytes came, or a negative errno.
static int64_t read_more(struct live_reader *r)
{
    if (r->start) {
        memmove(r->buffer, r->buffer + r->start, r->end - r->start);
        r->offset += (int64_t)r->start;
        r->end -= r->start;
        r->start = 0;
    }
    if (r->capacity - r->end < READ_BYTES) {
        size_t capacity = r->capacity ? 2 * r->capacity : 2 * (size_t)READ_BYTES;
        uint8_t *buffer = realloc(r->buffer, capacity);
        if (!buffer)
            return -ENOMEM;
        r->buffer = buffer;
        r->capacity = capacity;
    }
    ssize_t n = pread(r->fd, r->buffer + r->end, r->capacity - r->end,
                      (off_t)(r->offset + (int64_t)r->end));
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    struct stat now;
    if (!n && r->end && !fstat(r->fd, &now) && now.st_size < r->offset + (int64_t)r->end)
        r->end = 0; // a torn end that we had begun to read was cut off
    r->end += (size_t)n;
    return n;
}

// 0: a unit; -EAGAIN: the segment has no more, now; -EPROTO: nor ever, what follows is torn.
static int next_in_segment(struct live_reader *r, struct unit *ret)
{
    for (;;) {
        int error = unit_parse(r->buffer + r->start, r->end - r->start, ret);
        if (!error) {
            r->start += unit_bytes(ret);
            return 0;
        }
        if (error == -EPROTO) {
            r->end = r->start; // is read again the next time
            return error;
        }
        int64_t n = read_more(r);
        if (n <= 0)
            return n < 0 ? (int)n : -EAGAIN;
    }
}

int live_reader_next(struct live_reader *r, struct unit *ret)
{
    for (;;) {
        int error = r->fd >= 0 ? next_in_segment(r, ret) : -EAGAIN;
        if (error != -EAGAIN && error != -EPROTO)
            return error;
        // A segment is complete once there is a newer one: only then what it lacks will not come.
        // It may have got its last units between our look at its end and our look at the folder.
        if (r->fd >= 0) {
            int newer = newer_segment(r);
            if (newer <= 0)
                return newer < 0 ? newer : -EAGAIN;
            error = next_in_segment(r, ret);
            if (error != -EAGAIN && error != -EPROTO)
                return error;
        }
        error = next_segment(r);
        if (error <= 0)
            return error < 0 ? error : -EAGAIN;
    }
}

void live_reader_wait(struct live_reader *r, int64_t timeout_ns)
{
    struct pollfd wake = {.fd = r->inotify, .events = POLLIN};
    (void)poll(&wake, 1, (int)((timeout_ns + 999999) / 1000000));
    uint8_t events[4096];
    while (r->inotify >= 0 && read(r->inotify, events, sizeof events) > 0)
        continue;
}
