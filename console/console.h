// The first page's files, compiled into the coordinator: nothing is read from disk, and nothing
// else can be asked for.
#pragma once

#include <stddef.h>

struct console_file {
    const char *path, *type; // "app.js", "text/javascript"
    const unsigned char *bytes;
    size_t size;
};

extern const struct console_file console_files[];
extern const size_t console_file_count;
