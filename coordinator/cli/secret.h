// Reads a secret without leaving it in arguments, on a screen or in memory.
//
// Thread: one, of a program that handles no signals of its own meanwhile.
#pragma once

#include "engine/base/diagnostic.h"

#include <stdbool.h>

#define SECRET_BYTES_MAX 2047

struct secret_kind {
    const char *what;    // "stream key", for people
    bool may_have_blank; // within
};

// The first line of a file (NULL: of standard input; on a terminal it is not echoed). `ret` holds
// SECRET_BYTES_MAX + 1 bytes; wipe it with explicit_bzero. -EINVAL: empty, too long, or not one
// line of printable text.
int secret_read(const char *path, struct secret_kind kind, char *ret, struct diagnostic *reterr);
