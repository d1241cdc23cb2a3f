// The files of a log. Private to engine/live.
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENTS_MAX 4096

// Seqs of the first units of a folder's segments, rising. The caller frees `*ret`. -errno.
int segments_list(const char *folder, uint64_t **ret, size_t *ret_count);
const char *segment_path(const char *folder, uint64_t first_seq, char path[PATH_MAX]);
