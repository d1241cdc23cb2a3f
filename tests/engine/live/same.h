// Whether two folders hold the same log. Included once per test.
#pragma once

#include "engine/live/segments.h"
#include "tests/check.h"

#include <dirent.h>
#include <stdbool.h>

static inline char *read_file_of(const char *of, uint32_t history, uint64_t segment,
                                 size_t *ret_size)
{
    char file[PATH_MAX];
    FILE *f = fopen(segment_path(of, history, segment, file), "rb");
    static const size_t most = (size_t)64 << 20;
    char *bytes = malloc(most);
    *ret_size = f ? fread(bytes, 1, most, f) : 0;
    if (f)
        fclose(f);
    return bytes;
}

static inline int count_files(const char *of)
{
    DIR *dir = opendir(of);
    int count = 0;
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

// The same segments, and no other files, byte for byte. Their histories' numbers
// are each folder's own. Returns how many there are.
static inline int check_same_files(const char *a, const char *b)
{
    uint64_t *left, *right;
    size_t left_count = 0, right_count = 0;
    uint32_t left_history, right_history;
    CHECK_OK(segments_list(a, &left_history, &left, &left_count));
    CHECK_OK(segments_list(b, &right_history, &right, &right_count));
    CHECK(left_count, ==, right_count);
    CHECK(count_files(a), ==, left_count);
    CHECK(count_files(b), ==, right_count);
    for (size_t i = 0; i < left_count && i < right_count; i++) {
        size_t left_size, right_size;
        char *left_bytes = read_file_of(a, left_history, left[i], &left_size);
        char *right_bytes = read_file_of(b, right_history, right[i], &right_size);
        CHECK(left[i], ==, right[i]);
        CHECK(left_size, ==, right_size);
        CHECK_BYTES(left_bytes, right_bytes, left_size < right_size ? left_size : right_size);
        free(left_bytes);
        free(right_bytes);
    }
    free(left);
    free(right);
    return (int)left_count;
}
