// Units: what one step of a rendition's encoder gave, as bytes: one picture's packet and the sound
// packets before it. An edge keeps them for a while and gives them to the other edge's publishers.
//
// Layout of each packet, little-endian: u8 stream, u8 key, u16 0, u32 size, i64 pts, i64 dts, i64
// duration; then its bytes. What says that no more comes is a u8 0, or a u8 1, u64 leader, u64
// epoch: who gives them publishes itself now (edge/publish.h). Thread: any, on separate objects.
#pragma once

#include "edge/encode/packet.h"
#include "edge/publish.h"

#define UNIT_PACKETS_MAX 256

struct unit {
    int64_t number; // the picture's dts: rises by 1
    bool key;
    int count;
    struct packet *packets[UNIT_PACKETS_MAX]; // owned
};

// Adds a packet (a reference is kept). True: the unit is complete, with this picture. Sound beyond
// UNIT_PACKETS_MAX is left out.
bool unit_add(struct unit *unit, const struct packet *packet);
void unit_clear(struct unit *unit);
// Malloc'ed bytes; NULL without memory.
uint8_t *unit_pack(const struct unit *unit, size_t *ret_size);
// Fills an empty unit. 0, -EPROTO (left empty), -ENOMEM.
int unit_unpack(const uint8_t *bytes, size_t size, struct unit *ret);

#define UNIT_END_BYTES 17
// The last word: `taken` NULL, or why. Returns its size.
size_t unit_end_pack(const struct publish_id *taken, uint8_t ret[UNIT_END_BYTES]);
int unit_end_unpack(const uint8_t *bytes, size_t size, struct publish_id *ret); // -ENOENT: no why
