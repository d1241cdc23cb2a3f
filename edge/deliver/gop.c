#include "edge/deliver/gop.h"

#include <stdlib.h>

void gop_clear(struct gop *gop)
{
    while (gop->count)
        packet_unref(&gop->packets[--gop->count]);
    gop->bytes = 0;
}

void gop_destroy(struct gop **gop)
{
    if (*gop)
        gop_clear(*gop);
    free(*gop);
    *gop = NULL;
}

void gop_add(struct gop *gop, const struct packet *packet)
{
    bool key = packet->stream == PACKET_VIDEO && packet->key;
    if (key || gop->count == GOP_PACKETS || gop->bytes + packet->size > GOP_BYTES)
        gop_clear(gop);
    if (!key && !gop->count)
        return; // it has no beginning
    gop->packets[gop->count++] = packet_ref(packet);
    gop->bytes += packet->size;
}
