// Picture lists: {"schema": "vistter.sequence/1", "rate": "25", "pictures": ["sha256:...", ...]},
// the asset of a sequence clip. Thread: any, on separate objects.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"

#include <stddef.h>

#define SEQUENCE_PICTURES_MAX 100000

struct sequence {
    struct rate rate;
    size_t count;
    char **uris; // of the pictures, as in a timeline's assets
};

// -EINVAL with the place in the document: "pictures[17]".
int sequence_load(const char *path, struct sequence *ret, struct diagnostic *reterr);
void sequence_finish(struct sequence *sequence); // accepts a zeroed one
