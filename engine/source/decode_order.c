#include "engine/source/decode_order.h"

#include <errno.h>
#include <stdlib.h>

#define THREADS_MAX 16
// Large pictures have fewer slots: a child's address space has a limit.
#define SLOTS_BYTES ((size_t)512 << 20)

static size_t luma_bytes(int width, int height)
{
    return (((size_t)width + 63) & ~(size_t)63) * (size_t)height;
}

static size_t chroma_bytes(int width, int height)
{
    return luma_bytes(width / 2, height / 2);
}

size_t decode_slot_bytes(int width, int height)
{
    size_t size = 2 * (luma_bytes(width, height) + chroma_bytes(width, height));
    return (size + DECODE_BOARD_BYTES - 1) / DECODE_BOARD_BYTES * DECODE_BOARD_BYTES;
}

int decode_slot_count(int width, int height)
{
    size_t count = SLOTS_BYTES / decode_slot_bytes(width, height);
    return count < 2 ? 2 : count > DECODE_SLOTS_MAX ? DECODE_SLOTS_MAX : (int)count;
}

void decode_slot_planes(uint8_t *slot, int width, int height, uint8_t *ret_plane[4],
                        ptrdiff_t ret_stride[4])
{
    size_t luma = luma_bytes(width, height), chroma = chroma_bytes(width, height);
    ret_plane[0] = slot;
    ret_plane[1] = slot + luma;
    ret_plane[2] = slot + luma + chroma;
    ret_plane[3] = slot + luma + 2 * chroma;
    ret_stride[0] = ret_stride[3] = (width + 63) & ~63;
    ret_stride[1] = ret_stride[2] = (width / 2 + 63) & ~63;
}

int decode_threads(struct diagnostic *reterr)
{
    const char *text = getenv("VISTTER_DECODER_THREADS");
    if (!text)
        return 1;
    char *end;
    long threads = strtol(text, &end, 10);
    if (end == text || *end || threads < 1 || threads > THREADS_MAX)
        return diagnostic_set(reterr, -EINVAL, "switch", "VISTTER_DECODER_THREADS",
                              "is '%.40s'; must be 1 to %d", text, THREADS_MAX);
    return (int)threads;
}
