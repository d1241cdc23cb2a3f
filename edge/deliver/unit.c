#include "edge/deliver/unit.h"

#include "engine/link/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 32

bool unit_add(struct unit *unit, const struct packet *packet)
{
    bool picture = packet->stream == PACKET_VIDEO;
    if (unit->count < UNIT_PACKETS_MAX - !picture)
        unit->packets[unit->count++] = packet_ref(packet);
    if (!picture)
        return false;
    unit->number = packet->dts;
    unit->key = packet->key;
    return true;
}

void unit_clear(struct unit *unit)
{
    for (int i = 0; i < unit->count; i++)
        packet_unref(&unit->packets[i]);
    unit->count = 0;
}

uint8_t *unit_pack(const struct unit *unit, size_t *ret_size)
{
    size_t size = 0;
    for (int i = 0; i < unit->count; i++)
        size += HEADER_BYTES + unit->packets[i]->size;
    uint8_t *bytes = malloc(size ? size : 1), *at = bytes;
    for (int i = 0; bytes && i < unit->count; i++) {
        const struct packet *p = unit->packets[i];
        at[0] = (uint8_t)p->stream;
        at[1] = p->key;
        put_u16(at + 2, 0);
        put_u32(at + 4, (uint32_t)p->size);
        put_u64(at + 8, (uint64_t)p->pts);
        put_u64(at + 16, (uint64_t)p->dts);
        put_u64(at + 24, (uint64_t)p->duration);
        memcpy(at + HEADER_BYTES, p->data, p->size);
        at += HEADER_BYTES + p->size;
    }
    *ret_size = size;
    return bytes;
}

static int read_packet(const uint8_t *at, size_t left, struct packet **ret)
{
    if (left < HEADER_BYTES || at[0] > PACKET_AUDIO || at[1] > 1 || get_u16(at + 2))
        return -EPROTO;
    size_t size = get_u32(at + 4);
    if (size > left - HEADER_BYTES)
        return -EPROTO;
    struct packet *p = packet_create(size);
    if (!p)
        return size > PACKET_BYTES_MAX ? -EPROTO : -ENOMEM;
    p->stream = at[0];
    p->key = at[1];
    p->pts = (int64_t)get_u64(at + 8);
    p->dts = (int64_t)get_u64(at + 16);
    p->duration = (int64_t)get_u64(at + 24);
    memcpy(p->data, at + HEADER_BYTES, size);
    *ret = p;
    return 0;
}

int unit_unpack(const uint8_t *bytes, size_t size, struct unit *ret)
{
    size_t at = 0;
    int error = 0;
    bool complete = false;
    while (!error && at < size) {
        struct packet *p = NULL;
        error = complete || ret->count == UNIT_PACKETS_MAX ? -EPROTO // the picture comes last
                                                           : read_packet(bytes + at, size - at, &p);
        if (error)
            break;
        at += HEADER_BYTES + p->size;
        complete = unit_add(ret, p);
        packet_unref(&p);
    }
    if (!error && !complete)
        error = -EPROTO;
    if (error)
        unit_clear(ret);
    return error;
}

size_t unit_end_pack(const struct publish_id *taken, uint8_t ret[UNIT_END_BYTES])
{
    ret[0] = taken != NULL;
    if (!taken)
        return 1;
    put_u64(ret + 1, taken->leader);
    put_u64(ret + 9, taken->epoch);
    return UNIT_END_BYTES;
}

int unit_end_unpack(const uint8_t *bytes, size_t size, struct publish_id *ret)
{
    if (size != UNIT_END_BYTES || bytes[0] != 1)
        return -ENOENT;
    *ret = (struct publish_id){get_u64(bytes + 1), get_u64(bytes + 9)};
    return 0;
}
