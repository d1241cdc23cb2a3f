// Payload of a PICTURE message (frame_message.h): u32 picture bytes, u32 stem bytes, both
// little-endian, then group_encode's bytes, then stem_encode's.
// Thread: any; pure functions.
#pragma once

#include "engine/compose/group.h"

// Decodes both; `base` as for group_decode. `*ret_stem` is malloc'ed, `sample_count` stereo
// samples. -EPROTO, -ENOMEM.
int payload_decode(const uint8_t *bytes, size_t size, int width, int height,
                   const struct group_frame *base, int sample_count, struct group_frame **ret,
                   int32_t **ret_stem);
