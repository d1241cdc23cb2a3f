// Lossless coding of group frames for links: sparse tiles, nothing for what is empty or unchanged.
//
// A coded frame is either a key (self-contained) or a difference to one key frame of the same
// group: per level and tile: same as in the base, empty, one constant colour, or coded planes.
// Planes are coded in runs of 64 samples: prediction, zig-zag, and Rice codes laid out for SIMD (C
// reference and SIMD give the same bytes). Decoding trusts nothing: sizes, tile numbers, levels and
// run lengths are checked; -EPROTO.
// Thread: any, on separate objects.
#pragma once

#include "engine/compose/group.h"

#include <stdint.h>

// Codes `frame` against `base` (NULL: a key) into malloc'ed memory. 0 or -ENOMEM.
int group_encode(const struct group_frame *frame, const struct group_frame *base, uint8_t **ret,
                 size_t *ret_size);
// Decodes; `base` must be the group frame the sender used. 0, -EPROTO, -ENOMEM.
int group_decode(const uint8_t *bytes, size_t size, int width, int height,
                 const struct group_frame *base, struct group_frame **ret);

// Stems ride behind the picture: delta and bit-plane coded 32-bit samples; silence costs 2 bytes.
int stem_encode(const int32_t *samples, int sample_count, uint8_t **ret, size_t *ret_size);
int stem_decode(const uint8_t *bytes, size_t size, int32_t *samples, int sample_count);
