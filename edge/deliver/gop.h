// The packets of the GOP under way, from its key picture on: who has to begin anew begins with
// them, instead of waiting for the next key picture. Thread: one at a time.
#pragma once

#include "edge/encode/packet.h"

// A longer one is not kept.
#define GOP_PACKETS 2048
#define GOP_BYTES   (16 << 20)

struct gop {
    int count;
    size_t bytes;
    struct packet *packets[GOP_PACKETS];
};

void gop_add(struct gop *gop, const struct packet *packet); // keeps a reference
void gop_clear(struct gop *gop);
void gop_destroy(struct gop **gop); // one of base_alloc, or NULL
