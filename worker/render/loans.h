// The blocks that a consumer was told of and may still read. Thread: one at a time.
#pragma once

#include "engine/link/block_pool.h"

struct loan {
    int64_t frame;
    struct block *block;
};

struct loans {
    struct loan *items;
    int count, capacity;
};

void loans_add(struct loans *loans, int64_t frame, struct block *block); // keeps a reference
void loans_end(struct loans *loans, int64_t keep); // those of frames below `keep` are read no more
// The consumer is gone, and will not tell: what it has may never be written to again.
void loans_abandon(struct loans *loans);
