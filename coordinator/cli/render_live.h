// Takes for an offline render, from a file. Thread: any.
#pragma once

#include "engine/timeline/takes.h"

// Reads a JSON array of takes, each with an "at_frame" of the channel that does not fall from one
// to the next. -EINVAL with the place of what is wrong, -errno of the file.
int render_live_load(const char *path, const struct timeline *timeline, struct rate rate,
                     int64_t start_frame, struct takes **ret, struct diagnostic *reterr);
