// A first look at a timeline's JSON, before it is unpacked into memory: counts what has a limit, so
// that a hostile document costs one pass over its bytes and no memory. Syntax is not its business.
// Thread: any; pure function.
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>

// 0, or -E2BIG with the path of the array that is too long or too deep.
int timeline_scan(const char *bytes, size_t size, struct diagnostic *reterr);
