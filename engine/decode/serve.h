// What a child does: decodes one file, or the units of one live source, in a jail
// (engine/base/jail.h).
#pragma once

#include "engine/source/decode_order.h"

// As much memory as an import may use.
#define SERVE_MEMORY_BYTES_MAX ((size_t)4 << 30)

// `fds` are its own. These return when nobody asks any more.
void serve(const struct decode_order *order, const int fds[DECODE_FDS]);
void serve_units(const struct decode_order *order, const int fds[DECODE_FDS]);
bool serve_send(int fd, const void *bytes, size_t size);
