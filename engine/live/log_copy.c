// Copies of logs: the same units in the same segments as at home, so that whoever reads here sees
// and keeps what readers there do, and a gateway can go on where the home's ended.
#include "engine/live/log_private.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

// Opens the last segment, without what is torn at its end: the home goes on in it. Readers that had
// begun to read that see the file shrink, or another CRC.
static int open_last(struct live_log *log)
{
    char path[PATH_MAX];
    const struct segment *s = &log->segments[log->count - 1];
    int fd = open(segment_path(log->folder, log->history, s->first_seq, path),
                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0 && ftruncate(fd, s->bytes)) {
        close(fd);
        fd = -1;
    }
    log->fd = fd;
    return fd < 0 ? -errno : 0;
}

int live_log_copy(const char *folder, const char *source, struct live_log_limits limits,
                  struct live_log **ret, struct diagnostic *reterr)
{
    return live_log_open(folder, source, limits, ret, reterr);
}

void live_log_newest(const struct live_log *log, uint64_t *ret_seq, uint32_t *ret_crc)
{
    *ret_seq = log->seq;
    *ret_crc = log->crc;
}

void live_log_anew(struct live_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    log->history = live_log_next_history(log->history);
    live_log_forget(log);
}

static int begin_segment(struct live_log *log, uint64_t segment)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    live_log_add_segment(log, segment);
    return open_last(log);
}

// One write, as the gateway's: readers look at sizes.
static int write_bytes(struct live_log *log, const uint8_t *bytes, size_t size)
{
    ssize_t n;
    do
        n = write(log->fd, bytes, size);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)size)
        return 0;
    int error = n < 0 ? -errno : -ENOSPC;
    close(log->fd); // opened again without the half unit
    log->fd = -1;
    return error;
}

int live_log_append_copy(struct live_log *log, uint64_t segment, const uint8_t *bytes, size_t size,
                         size_t *ret_size)
{
    struct unit u;
    const struct segment *last = log->count ? &log->segments[log->count - 1] : NULL;
    if (unit_parse(bytes, size, &u) || u.source != log->source || u.seq <= log->seq ||
        segment > u.seq)
        return -EPROTO;
    bool begins = !last || segment != last->first_seq;
    if (begins && (segment <= log->seq || (last && segment <= last->first_seq)))
        return -EPROTO;
    int error = begins ? begin_segment(log, segment) : log->fd < 0 ? open_last(log) : 0;
    if (!error)
        error = write_bytes(log, bytes, unit_bytes(&u));
    if (error)
        return error;
    bool first = !log->seq;
    live_log_account(log, &u);
    if (first)
        segments_keep(log->folder, log->history);
    if (begins)
        live_log_trim(log);
    *ret_size = unit_bytes(&u);
    return 0;
}
