// WANT, LOG_WANT and BLOCK messages as bytes, and the stream ids of frame links. Private to
// engine/link and its tests. Layout: proto/frame-message.md.
#pragma once

#include "engine/link/block_pool.h"
#include "engine/link/frame_link.h"

#define WANT_BYTES_MAX (56 + 8 * FRAME_WANT_MISSING_MAX)

size_t frame_want_write(const struct frame_want *want, uint8_t out[WANT_BYTES_MAX]);
int frame_want_read(const uint8_t *bytes, size_t size, struct frame_want *ret); // 0, -EPROTO

#define LOG_WANT_BYTES_MAX (32 + FRAME_LOG_NAME_MAX)
size_t log_want_write(const struct frame_log_want *want, uint8_t out[LOG_WANT_BYTES_MAX]);
int log_want_read(const uint8_t *bytes, size_t size, struct frame_log_want *ret); // 0, -EPROTO

// The payload of BLOCK messages: where the frame stands, and the `start` of the want that it
// answers.
#define BLOCK_NAME_BYTES 36
void block_name_write(const struct block_name *name, uint32_t start, uint8_t out[BLOCK_NAME_BYTES]);
// 0, -EPROTO.
int block_name_read(const uint8_t *bytes, size_t size, struct block_name *ret, uint32_t *ret_start);

// Names in stream ids: [A-Za-z0-9._-], 1 to 64 of them.
#define LINK_NAME_MAX 64
struct link_name {
    char consumer[LINK_NAME_MAX + 1], link_id[LINK_NAME_MAX + 1];
};
#define STREAM_ID_MAX (9 + 2 * LINK_NAME_MAX)

// "#!::r=<consumer>,s=<link id>" and nothing else; -EINVAL.
int stream_id_parse(const char *text, struct link_name *ret);
int stream_id_format(const char *consumer, const char *link_id, char ret[STREAM_ID_MAX + 1]);
