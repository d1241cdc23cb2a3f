// Inside of index building. Private to engine/media.
#pragma once

#include "engine/media/index.h"

// One decoded picture, in order of presentation.
struct seen {
    int64_t pts, dts; // candidates for its time
    int64_t packet;   // number of its packet: decode order
    bool key, damaged;
};

// Marks the pictures that lean on what is broken: those from a broken packet up to the next key
// frame in decode order, and those after that key that are shown before it. Sorts the packets'
// list. 0 or -ENOMEM.
int damage_spread(struct seen *seen, int64_t count, int64_t *broken, int64_t broken_count);
// Makes the index's list of ranges of `damaged[picture_count]`. 0 or -ENOMEM.
int damage_list(struct media_index *index, const bool *damaged);
