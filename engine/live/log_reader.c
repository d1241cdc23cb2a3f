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
    int inotify; // -1: none to be had, waiting is by time
    int fd;      // of the segment; -1: none open
    uint64_t first_seq;
    int64_t offset; // in the file, of buffer[start]
    uint8_t *buffer;
    size_t capacity, start, end;
};

// ---- Files -----------------------------------------------------------------------------------

const char *segment_path(const char *folder, uint64_t first_seq, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%016" PRIx64 ".units", folder, first_seq);
    return path;
}

static int compare_seqs(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

int segments_list(const char *folder, uint64_t **ret, size_t *ret_count)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return -errno;
    uint64_t *list = base_alloc(SEGMENTS_MAX * sizeof *list);
    size_t count = 0;
    for (const struct dirent *entry; count < SEGMENTS_MAX && (entry = readdir(dir));) {
        char *end;
        uint64_t seq = strtoull(entry->d_name, &end, 16);
        if (end == entry->d_name + 16 && !strcmp(end, ".units"))
            list[count++] = seq;
    }
    closedir(dir);
    qsort(list, count, sizeof *list, compare_seqs);
    *ret = list;
    *ret_count = count;
    return 0;
}

// ---- Reading ---------------------------------------------------------------------------------

int live_reader_open(const char *folder, struct live_reader **ret, struct diagnostic *reterr)
{
    if (mkdir(folder, 0755) && errno != EEXIST)
        return diagnostic_set(reterr, -errno, "live_folder", folder, "cannot be made: %s",
                              strerror(errno));
    struct live_reader *r = base_alloc(sizeof *r);
    r->folder = base_strdup(folder);
    r->fd = -1;
    r->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (r->inotify >= 0 && inotify_add_watch(r->inotify, folder, IN_CREATE | IN_MODIFY) < 0) {
        close(r->inotify);
        r->inotify = -1;
    }
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

// Opens the oldest segment that is newer than the present one. 1: done; 0: there is none.
static int next_segment(struct live_reader *r)
{
    uint64_t *list;
    size_t count, i = 0;
    int error = segments_list(r->folder, &list, &count);
    if (error < 0)
        return error;
    while (i < count && list[i] <= r->first_seq)
        i++;
    int fd = -1;
    for (; fd < 0 && i < count; i++) { // one that has been removed meanwhile is passed over
        char path[PATH_MAX];
        fd = open(segment_path(r->folder, list[i], path), O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            leave_segment(r);
            r->fd = fd;
            r->first_seq = list[i];
        }
    }
    free(list);
    return fd >= 0;
}

static bool newer_segment(struct live_reader *r)
{
    uint64_t *list;
    size_t count;
    if (segments_list(r->folder, &list, &count) < 0)
        return false;
    bool newer = count && list[count - 1] > r->first_seq;
    free(list);
    return newer;
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
            if (!newer_segment(r))
                return -EAGAIN;
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
