#include "engine/link/frame_body.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/thread.h"

static struct frame_body *body_create(const uint8_t *bytes, size_t size, bool stored,
                                      void (*release)(void *opaque), void *opaque)
{
    struct frame_body *body = base_alloc(sizeof *body);
    body->bytes = bytes;
    body->size = size;
    body->stored = stored;
    body->release = release;
    body->opaque = opaque;
    atomic_init(&body->references, 1);
    return body;
}

struct frame_body *frame_body_coded(uint8_t *bytes, size_t size)
{
    return body_create(bytes, size, false, free, bytes);
}

struct frame_body *frame_body_stored(const uint8_t *bytes, size_t size,
                                     void (*release)(void *opaque), void *opaque)
{
    return body_create(bytes, size, true, release, opaque);
}

struct frame_body *frame_body_ref(struct frame_body *body)
{
    atomic_fetch_add_explicit(&body->references, 1, memory_order_relaxed);
    return body;
}

void frame_body_unref(struct frame_body **body)
{
    struct frame_body *b = *body;
    if (!b)
        return;
    *body = NULL;
    if (atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    b->release(b->opaque);
    free(b);
}
