// Where the programs stand that ours start.
#pragma once

#include "engine/base/diagnostic.h"

// Looks for `name` in VISTTER_LIBEXEC, in the folder of the running program, and in `built`, the
// folder that the build made it in. `ret` holds PATH_MAX bytes. -ENOENT. Thread: any.
int program_find(const char *name, const char *built, char *ret, struct diagnostic *reterr);
