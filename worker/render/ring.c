#include "worker/render/ring.h"

#include <assert.h>
#include <stdlib.h>

static struct coded_frame *slot(struct ring *ring, int64_t frame)
{
    return &ring->frames[(uint64_t)frame % RING_FRAMES_MAX];
}

static void drop_first(struct ring *ring)
{
    struct coded_frame *f = slot(ring, ring->first);
    ring->bytes -= f->size;
    free(f->payload);
    block_unref(&f->block);
    *f = (struct coded_frame){0};
    ring->first++;
    ring->count--;
}

void ring_clear(struct ring *ring, int64_t first)
{
    while (ring->count)
        drop_first(ring);
    ring->first = first;
}

void ring_cut(struct ring *ring, int64_t end)
{
    while (ring->count && ring_end(ring) > end) {
        struct coded_frame *f = slot(ring, ring_end(ring) - 1);
        ring->bytes -= f->size;
        free(f->payload);
        block_unref(&f->block);
        *f = (struct coded_frame){0};
        ring->count--;
    }
}

bool ring_full(const struct ring *ring)
{
    return ring->count == RING_FRAMES_MAX || ring->bytes >= RING_BYTES_MAX;
}

void ring_push(struct ring *ring, struct coded_frame frame)
{
    assert(ring->count < RING_FRAMES_MAX);
    *slot(ring, ring_end(ring)) = frame;
    ring->count++;
    ring->bytes += frame.size;
}

const struct coded_frame *ring_get(const struct ring *ring, int64_t frame)
{
    if (frame < ring->first || frame >= ring_end(ring))
        return NULL;
    return &ring->frames[(uint64_t)frame % RING_FRAMES_MAX];
}

void ring_forget(struct ring *ring, int64_t from)
{
    // The next frame to come will refer to the same key as the last.
    const struct coded_frame *f = ring_get(ring, from == ring_end(ring) ? from - 1 : from);
    int64_t keep = f ? f->base : from;
    while (ring->count && ring->first < keep)
        drop_first(ring);
}
