// From the body of a PICTURE message to a group frame and its sound. A coded body is u32 picture
// bytes, u32 stem bytes, both little-endian, then group_encode's bytes, then stem_encode's; a
// stored one (stored_frame.h) is read where it stands, and kept by reference. Thread: any; pure
// functions.
#pragma once

#include "engine/compose/group.h"
#include "engine/link/frame_body.h"

// Decodes both; `base` as for group_decode. `*ret_stem` is malloc'ed, `sample_count` stereo
// samples. -EPROTO, -ENOMEM.
int payload_decode(struct frame_body *body, int width, int height, const struct group_frame *base,
                   int sample_count, struct group_frame **ret, int32_t **ret_stem);
