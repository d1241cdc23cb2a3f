// The decoder of one stream of a live source, in the child process that decodes it (decoders.h).
//
// Pictures come out in the farm's layout at natural size; sound as stereo in integers at its own
// rate. Only decoders that compute in integers are used, so that every node has the same bits.
// Thread: a decoder belongs to one thread.
#pragma once

#include "engine/frame/picture.h"
#include "engine/live/decoders.h"

struct live_decoder;
// -EINVAL: there is no decoder for it, or only one that computes in floating point.
int live_decoder_create(const struct unit_format *format, struct live_decoder **ret,
                        struct diagnostic *reterr);
void live_decoder_destroy(struct live_decoder **decoder);

// Gives the body of a unit, NULL for the end; what is made of it comes with its `tag`. Everything
// must have been pulled before. 0, or -EIO: it cannot be decoded.
int live_decoder_push(struct live_decoder *decoder, const uint8_t *bytes, size_t size, int64_t tag);
// 0; -EAGAIN: push more; -ENODATA: the end; -EIO: this picture is not whole (its tag is told).
// Gives a reference.
int live_decoder_picture(struct live_decoder *decoder, struct picture **ret, int64_t *ret_tag);

// As above; without the reference.
int live_decoder_sound(struct live_decoder *decoder, struct live_sound *ret, int64_t *ret_tag);
// Whether one of these would give something more.
bool live_decoder_more(struct live_decoder *decoder);
