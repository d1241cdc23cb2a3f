// Frame messages: one group frame (or stem, or request) between two nodes, as bytes.
//
// Layout, version 1, little-endian; the header is authenticated but not encrypted, the payload is
// encrypted and authenticated (AES-256-GCM):
//   0  u32 magic "VSF1"        4  u8 version  5  u8 kind  6  u16 flags (0)
//   8  u64 channel            16  u32 group  20  u32 plan_epoch
//  24  i64 frame              32  i64 base_frame (frame this one is a difference to; = frame: key)
//  40  u16 width  42 u16 height  44 u32 payload bytes
//  48  u32 boot  52 u64 counter   (nonce: boot, counter; a sender never repeats one under a key)
//  60  u8 revision[8] (first bytes of the timeline revision's SHA-256)
//  68  payload, then 16 bytes of tag
// Payload of a PICTURE: u32 picture bytes, u32 stem bytes, then group_encode's bytes (tile_codec.h)
// of the frame against base_frame, then stem_encode's of the frame's samples.
// Over SRT (live mode, payload 1456) a message is cut into parts of at most 1456 bytes:
//   u32 message number, u16 part, u16 parts, then bytes.
// Messages are idempotent: identity is (channel, group, plan_epoch, revision, frame); any copy will
// do. Thread: any, on separate objects.
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>
#include <stdint.h>

#define FRAME_MESSAGE_HEADER_BYTES 68
#define FRAME_MESSAGE_TAG_BYTES    16
#define FRAME_MESSAGE_BYTES_MAX    (64 << 20)
#define LINK_KEY_BYTES             32

enum frame_message_kind {
    FRAME_MESSAGE_PICTURE = 1, // a group frame coded by tile_codec.h, then its stem
    FRAME_MESSAGE_WANT = 2,    // consumer -> provider: see frame_link.h
};

struct frame_header {
    enum frame_message_kind kind;
    uint64_t channel;
    uint32_t group, plan_epoch;
    int64_t frame, base_frame;
    int width, height;
    uint8_t revision[8];
    // -- filled by seal and open
    uint32_t payload_bytes, boot;
    uint64_t counter;
};

// Sender's side of a key: random boot number, rising counter. Thread: one.
struct frame_sealer;
struct frame_sealer *frame_sealer_create(const uint8_t key[LINK_KEY_BYTES]);
void frame_sealer_destroy(struct frame_sealer **sealer);
// Gives the complete message in malloc'ed memory.
int frame_seal(struct frame_sealer *sealer, const struct frame_header *header, const void *payload,
               size_t size, uint8_t **ret, size_t *ret_size);

// Receiver's side. Refuses (-EPROTO) wrong magic, version, lengths; (-EBADMSG) a wrong tag;
// (-ESTALE) a replay: a counter of the same boot already seen within a window of 4096, or older.
struct frame_opener;
struct frame_opener *frame_opener_create(const uint8_t key[LINK_KEY_BYTES]);
void frame_opener_destroy(struct frame_opener **opener);
// Decrypts into a malloc'ed payload. The header is valid only when 0 is returned.
int frame_open(struct frame_opener *opener, const uint8_t *message, size_t size,
               struct frame_header *ret_header, uint8_t **ret_payload, size_t *ret_size);
