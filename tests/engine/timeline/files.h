// Reading test documents: whole files, and nested timelines beside the file that names them.
#pragma once

#include "engine/timeline/timeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// malloc'ed bytes of a file, or NULL.
static inline char *file_read(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t size = 0, room = 1 << 16;
    char *bytes = malloc(room);
    while (bytes) {
        size_t count = fread(bytes + size, 1, room - size, file);
        size += count;
        if (!count)
            break;
        if (size == room)
            bytes = realloc(bytes, room *= 2);
    }
    fclose(file);
    *ret_size = size;
    return bytes;
}

// A timeline_load_fn: "file:" paths are taken from the folder that `opaque` names.
static inline int file_load(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                            struct diagnostic *reterr)
{
    char path[4096];
    if (strncmp(uri, "file:", 5))
        return diagnostic_set(reterr, -ENOENT, "asset_missing", "",
                              "only files can be loaded here");
    snprintf(path, sizeof path, "%s/%s", (const char *)opaque, uri + 5);
    *ret_bytes = file_read(path, ret_size);
    if (!*ret_bytes)
        return diagnostic_set(reterr, -ENOENT, "asset_missing", "", "there is no such file");
    return 0;
}

// Parses the file `path`; what it nests is looked for beside it.
static inline int file_parse(const char *path, struct timeline **ret, struct diagnostic *reterr)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    snprintf(slash ? slash : folder, 2, "%s", slash ? "" : ".");
    size_t size;
    char *bytes = file_read(path, &size);
    if (!bytes)
        return diagnostic_set(reterr, -ENOENT, "file_missing", path, "cannot be read");
    int result = timeline_parse(bytes, size, file_load, folder, ret, reterr);
    free(bytes);
    return result;
}
