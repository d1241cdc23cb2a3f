// The immutable log of one live source, as files in a folder: one gateway appends, any number of
// readers in other processes follow.
//
// A segment is a file of units (unit.h), named by the seq of its first: "%016x.units". It begins
// with the formats and the sound map in force (UNIT_AGAIN), and where the source has keys with one,
// so that reading can begin at any segment. What has been written never changes. A writer that
// starts anew begins another segment, so what its predecessor left half written at the end of a
// file stays there and is passed over. Oldest segments are removed.
// Thread: a writer or a reader belongs to one thread.
#pragma once

#include "engine/live/unit.h"

// What a writer keeps at least: what is needed longer of the two, within `bytes_max`.
struct live_log_limits {
    int64_t keep_ns;
    int keep_keys; // whole groups of pictures
    int64_t bytes_max;
};
#define LIVE_LOG_LIMITS ((struct live_log_limits){INT64_C(15000000000), 2, INT64_C(256) << 20})

struct live_log;
// Makes the folder if need be, and goes on after what is there already. -EBUSY: another process
// writes this log; -EEXIST: it is another source's.
int live_log_create(const char *folder, const char *source, struct live_log_limits limits,
                    struct live_log **ret, struct diagnostic *reterr);
void live_log_destroy(struct live_log **log);
// The newest gen that the log has had, 0 in a new one; and the newest done_ns of a stream,
// INT64_MIN when there is none.
uint32_t live_log_gen(const struct live_log *log);
int64_t live_log_done_ns(const struct live_log *log, enum unit_stream stream);
// Appends, after filling in source and seq. -EINVAL: done_ns falls, or data is stamped at or below
// the done_ns before it; -EFBIG: the body is too large; -ENOSPC and others: it could not be
// written. In all these cases the log goes on as if there had been no such unit.
int live_log_append(struct live_log *log, struct unit *unit);

struct live_reader;
// Begins at the oldest segment. A folder that does not exist yet is made, so that it can be waited
// for.
int live_reader_open(const char *folder, struct live_reader **ret, struct diagnostic *reterr);
void live_reader_close(struct live_reader **reader);
// The next unit; its body is good until the next call. A seq that is not one above the last tells
// that units are missing: their writer ended while it wrote, or they were removed before they were
// read. -EAGAIN: nothing yet; or a negative errno of reading.
int live_reader_next(struct live_reader *reader, struct unit *ret);
// Waits until something may have been written since the last -EAGAIN, or the time is over.
void live_reader_wait(struct live_reader *reader, int64_t timeout_ns);
void live_reader_rewind(struct live_reader *reader); // goes on with the oldest segment
