// A folder for one test's media, and the ffmpeg program to make them with.
#pragma once

#include "engine/media/media.h"
#include "tests/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

static char maker_folder[64];

static inline int maker_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int maker_run(const char *format, ...)
{
    char command[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    int status = system(command);
    if (status)
        fprintf(stderr, "failed: %s\n", command);
    return status;
}

static inline void maker_begin(void)
{
    strcpy(maker_folder, "/tmp/vistter-media-XXXXXX");
    if (!mkdtemp(maker_folder) || system("ffmpeg -version > /dev/null 2>&1"))
        exit(77);
    maker_run("mkdir %s/store", maker_folder);
}

static inline void maker_end(void)
{
    maker_run("rm -rf %s", maker_folder);
}

// Path of a file in the folder; one of eight buffers in turn.
static inline const char *maker_path(const char *name)
{
    static char paths[8][256];
    static unsigned turn;
    char *path = paths[turn++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", maker_folder, name);
    return path;
}

static inline void maker_write(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(maker_path(name), "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f))
        exit(EXIT_FAILURE);
}

static inline int maker_import(const char *name, struct media_info *ret, struct diagnostic *reterr)
{
    return media_import(maker_path(name), maker_path("store"), ret, NULL, NULL, reterr);
}
