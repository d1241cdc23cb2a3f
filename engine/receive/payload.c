#include "engine/receive/payload.h"

#include "engine/frame/sound.h"
#include "engine/link/stored_frame.h"
#include "engine/link/tile_codec.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t read_u32(const uint8_t *b)
{
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

int payload_decode(struct frame_body *body, int width, int height, const struct group_frame *base,
                   int sample_count, struct group_frame **ret, int32_t **ret_stem)
{
    const uint8_t *bytes = body->bytes;
    size_t size = body->size, at = body->stored ? 0 : 8;
    uint64_t picture = stored_frame_picture_bytes(width, height), stem = size - picture;
    if (size < (body->stored ? picture : at))
        return -EPROTO;
    if (!body->stored) {
        picture = read_u32(bytes);
        stem = read_u32(bytes + 4);
    }
    if (at + picture + stem != size)
        return -EPROTO;
    int32_t *samples = calloc((size_t)sample_count, SOUND_CHANNELS * sizeof *samples);
    if (!samples)
        return -ENOMEM;
    struct group_frame *frame = NULL;
    int result = body->stored
                     ? stored_frame_read(body, width, height, &frame)
                     : group_decode(bytes + at, (size_t)picture, width, height, base, &frame);
    if (!result)
        result = stem_decode(bytes + at + picture, (size_t)stem, samples, sample_count);
    if (result) {
        group_frame_unref(&frame);
        free(samples);
        return result;
    }
    *ret = frame;
    *ret_stem = samples;
    return 0;
}
