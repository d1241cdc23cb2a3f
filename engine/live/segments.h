// The files of a log. Private to engine/live.
#pragma once

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENTS_MAX 4096

// Seqs of the first units of the segments of a folder's newest history, rising; 0 is the history
// where there are none. The caller frees `*ret`. -errno.
int segments_list(const char *folder, uint32_t *ret_history, uint64_t **ret, size_t *ret_count);
// Removes those of other histories.
void segments_keep(const char *folder, uint32_t history);
const char *segment_path(const char *folder, uint32_t history, uint64_t first_seq,
                         char path[PATH_MAX]);
