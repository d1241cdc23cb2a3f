// The immutable log of one live source, as files in a folder: one gateway appends, any number of
// readers in other processes follow.
//
// A segment is a file of units (unit.h), named by the log's history and the seq of its first unit:
// "%08x-%016x.units". It begins with the formats and the sound map in force (UNIT_AGAIN), and where
// the source has keys with one, so that reading can begin at any segment. What has been written
// never changes. A writer that starts anew begins another segment, so what its predecessor left
// half written at the end of a file stays there and is passed over. Oldest segments are removed.
//
// On other nodes stand copies of the log, of the same units in the same segments. One gateway at a
// time appends, at the log's home; when it is gone another may go on in a copy. A copy that turns
// out to be other than the home's log begins anew as another history: the newest history in a
// folder is the only one that counts.
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
// Makes the folder if need be, and goes on after what is there already, also where that is a copy.
// -EBUSY: another process, or a copier, writes this log; -EEXIST: it is another source's.
int live_log_create(const char *folder, const char *source, struct live_log_limits limits,
                    struct live_log **ret, struct diagnostic *reterr);
void live_log_destroy(struct live_log **log);
// The newest gen that the log has had, 0 in a new one; and the newest done_ns of a stream,
// INT64_MIN when there is none.
uint32_t live_log_gen(const struct live_log *log);
int64_t live_log_done_ns(const struct live_log *log, enum unit_stream stream);
// The greatest chan_ns of data of a stream that is still there; INT64_MIN when there is none.
int64_t live_log_last_ns(const struct live_log *log, enum unit_stream stream);
// Appends, after filling in source and seq. -EINVAL: done_ns falls, or data is stamped at or below
// the done_ns before it; -EFBIG: the body is too large; -ENOSPC and others: it could not be
// written. In all these cases the log goes on as if there had been no such unit.
int live_log_append(struct live_log *log, struct unit *unit);

// ---- Copies ----------------------------------------------------------------------------------
//
// As live_log_create, for what another node's log has: goes on behind what is whole in the folder,
// whoever wrote that. What is torn there is cut off.
int live_log_copy(const char *folder, const char *source, struct live_log_limits limits,
                  struct live_log **ret, struct diagnostic *reterr);
// The newest unit, which the home is told to send on behind; seq 0: none, send from the beginning.
void live_log_newest(const struct live_log *log, uint64_t *ret_seq, uint32_t *ret_crc);
// Appends the unit at the start of `bytes` as it stands at home, in the segment that bears this seq
// there; `*ret_size`: what it takes. 0; -EPROTO: no unit, another source's, or not one that can
// follow; -ENOSPC and others: it could not be written. Then the log goes on as if there had been no
// such unit.
int live_log_append_copy(struct live_log *log, uint64_t segment, const uint8_t *bytes, size_t size,
                         size_t *ret_size);
// What is there is not what the home has: the next unit begins another history, and takes its
// place. From now on there is no newest.
void live_log_anew(struct live_log *log);

// ---- Reading ---------------------------------------------------------------------------------

struct live_reader;
// Begins at the oldest segment. A folder that does not exist yet is made, so that it can be waited
// for.
int live_reader_open(const char *folder, struct live_reader **ret, struct diagnostic *reterr);
void live_reader_close(struct live_reader **reader);
// The next unit; its body is good until the next call. A seq that is not one above the last tells
// that units are missing: their writer ended while it wrote, or they were removed before they were
// read. -EAGAIN: nothing yet; -ESTALE, once: another history has begun, what was read so far counts
// no more, and the next call gives the first of its units; or a negative errno of reading.
int live_reader_next(struct live_reader *reader, struct unit *ret);
// Waits until something may have been written since the last -EAGAIN, or the time is over.
void live_reader_wait(struct live_reader *reader, int64_t timeout_ns);
void live_reader_rewind(struct live_reader *reader); // goes on with the oldest segment
// Goes on with the newest segment that begins at or before `seq`, or the oldest one.
int live_reader_seek(struct live_reader *reader, uint64_t seq);
// Becomes readable when something may have been written, until live_reader_wait; -1: not to be had.
int live_reader_fd(const struct live_reader *reader);
// The segment that the last unit was in, and whether that is still in the folder: if so, no unit
// behind it has been removed.
uint64_t live_reader_segment(const struct live_reader *reader);
bool live_reader_holds(const struct live_reader *reader, uint64_t segment);
