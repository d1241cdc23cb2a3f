// What sources of media have in common.
#pragma once

#include "engine/source/source.h"

// The file of a clip's asset; `path` holds PATH_MAX bytes.
int asset_resolve(const struct source_config *config, char *path, struct diagnostic *reterr);
// Seconds into the material, wrapped when it loops.
struct rational source_time(struct rational time, struct rational duration, bool loop);
