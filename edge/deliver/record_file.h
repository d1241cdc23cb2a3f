// The file of one recording segment: written, synced each second by a thread of its own, sealed by
// renaming; and the recovery of segments that were not sealed.
// Thread: one, except for the sync thread inside.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_file;
// Creates "<folder>/<channel>-<first frame>-<utc>.mkv.part" (and the folder) and locks it.
int record_file_create(const char *folder, const char *channel, int64_t first_frame,
                       struct record_file **ret);
int record_file_write(struct record_file *file, const void *bytes, size_t size);
// As lseek; `size_only`: the file's size.
int64_t record_file_seek(struct record_file *file, int64_t offset, int whence, bool size_only);
int record_file_error(struct record_file *file); // of the sync thread: 0 or a negative errno
// `seal`: syncs and renames to ".mkv"; otherwise leaves the ".part" for the next start to recover.
int record_file_close(struct record_file **file, bool seal);
// Copies every unsealed segment of `channel` that nobody has locked to ".recovered.mkv" as far as
// it is readable and removes it; one that holds nothing readable is renamed to ".broken". Returns
// how many were recovered, or a negative errno when the folder cannot be read.
int record_recover(const char *folder, const char *channel);
