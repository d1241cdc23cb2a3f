// Frame messages: one group frame with its sound, a request, or units of a live log, between two
// nodes, as bytes. Their layout, and what of it a receiver believes, stands in
// proto/frame-message.md.
//
// Messages about frames are idempotent. Thread: any, on separate objects.
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>
#include <stdint.h>

#define FRAME_MESSAGE_HEADER_BYTES 68
#define FRAME_MESSAGE_TAG_BYTES    16
#define FRAME_MESSAGE_BYTES_MAX    (64 << 20)
#define FRAME_SESSION_BYTES        8
#define LINK_KEY_BYTES             32

enum frame_message_kind {
    FRAME_MESSAGE_PICTURE = 1,  // a group frame and its stem; without payload: a sign of life
    FRAME_MESSAGE_WANT = 2,     // consumer -> provider: see frame_link.h
    FRAME_MESSAGE_BLOCK = 3,    // as PICTURE; the payload names the block that it stands in
    FRAME_MESSAGE_LOG_WANT = 4, // follower of a live log -> its home: see frame_link.h
    FRAME_MESSAGE_LOG = 5,      // home -> follower: units of the log
};

struct frame_header {
    enum frame_message_kind kind;
    uint64_t channel;
    uint32_t group, plan_epoch;
    int64_t frame, base_frame;
    int width, height;
    uint8_t revision[FRAME_SESSION_BYTES]; // or the session
    // -- filled by seal and open
    uint32_t payload_bytes, boot;
    uint64_t counter;
};

// Draws the session of a connection.
void frame_session_draw(uint8_t ret[FRAME_SESSION_BYTES]);

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
