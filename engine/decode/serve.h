// What a child does: decodes one file, in a jail (engine/base/jail.h).
#pragma once

#include "engine/source/decode_order.h"

// `fds` are its own. Returns when nobody asks any more.
void serve(const struct decode_order *order, const int fds[DECODE_FDS]);
