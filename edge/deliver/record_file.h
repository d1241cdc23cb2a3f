// The file of one recording segment: written by the sink, synced each second and in the end sealed
// by a thread of its own, which also looks at the disk's free space and reserves room ahead; and
// the recovery of segments that were not sealed.
//
// A sealed file "X.mkv" has its SHA-256 beside it in "X.mkv.sha256", as sha256sum(1) writes it.
// Thread: one, except for the one inside.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_file;
// Creates "<folder>/<channel>-<first frame>-<utc>.mkv.part" (and the folder) and locks it. Half a
// minute at `bytes_per_second` is kept reserved, so that a disk that others fill up does not tear
// the end off.
int record_file_create(const char *folder, const char *channel, int64_t first_frame,
                       int64_t bytes_per_second, struct record_file **ret);
int record_file_write(struct record_file *file, const void *bytes, size_t size);
// As lseek; `size_only`: the file's size.
int64_t record_file_seek(struct record_file *file, int64_t offset, int whence, bool size_only);
int record_file_error(struct record_file *file); // of its thread: 0 or a negative errno
// Nanoseconds since everything written was last known to be on the disk.
int64_t record_file_lag_ns(struct record_file *file);
// No more is written. `seal`: its thread syncs it, renames it to ".mkv" and writes the checksum;
// otherwise the ".part" stays for the next start to recover. Does not wait.
void record_file_end(struct record_file *file, bool seal);
bool record_file_ended(struct record_file *file); // all that is done
int record_file_close(struct record_file **file); // waits for that; returns record_file_error's

// Bytes that may still be written to the folder's disk, or a negative errno.
int64_t record_free_bytes(const char *folder);
// Copies every unsealed segment of `channel` that nobody has locked to ".recovered.mkv" as far as
// it is readable and removes it; one that holds nothing readable is renamed to ".broken". What has
// no checksum gets one. Returns how many were recovered, or a negative errno when the folder cannot
// be read. `turn` is called now and then while it works.
int record_recover(const char *folder, const char *channel, void (*turn)(void *opaque),
                   void *opaque);
