#include "edge/encode/packet.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int64_t outstanding;

struct packet *packet_create(size_t size)
{
    if (size > PACKET_BYTES_MAX)
        return NULL;
    struct packet *p = malloc(sizeof *p + size + PACKET_PADDING);
    if (!p)
        return NULL;
    *p = (struct packet){.size = size};
    atomic_init(&p->references, 1);
    memset(p->data + size, 0, PACKET_PADDING);
    atomic_fetch_add(&outstanding, 1);
    return p;
}

struct packet *packet_ref(const struct packet *packet)
{
    struct packet *p = (struct packet *)packet;
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void packet_unref(struct packet **packet)
{
    struct packet *p = *packet;
    if (!p)
        return;
    *packet = NULL;
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub(&outstanding, 1);
    free(p);
}

int64_t packet_outstanding(void)
{
    return atomic_load(&outstanding);
}
