// Stored frames: an opaque group of depth 1 and its sound as they are, for consumers on the same
// host. No coding: the picture is put down once, and read where it stands.
//
// Layout: Y, Cb and Cr, rows STORED_ALIGN apart or a multiple of it, each plane right behind the
// other; then the coded stem (tile_codec.h). The geometry comes with the message. Thread: any, on
// separate objects.
#pragma once

#include "engine/compose/group.h"
#include "engine/link/frame_body.h"

#define STORED_ALIGN 64

// Whether such a group can be stored.
static inline bool stored_frame_fits(const struct group_frame *group)
{
    return group->opaque && group->depth == 1;
}
// Bytes of the picture; the stem follows.
size_t stored_frame_picture_bytes(int width, int height);
void stored_frame_write(const struct group_frame *group, uint8_t *bytes);
// Gives a group whose picture stands in `body`, which it keeps by reference. -EPROTO (too short),
// -ENOMEM.
int stored_frame_read(struct frame_body *body, int width, int height, struct group_frame **ret);
