// WANT messages as bytes, and the stream ids of frame links. Private to engine/link and its tests.
//
// Payload, version 1, little-endian; the message header repeats channel, group, plan_epoch:
//   0 u8 version  1 u8 ended  2 u16 missing_count  4 u32 0
//   8 u64 channel  16 u32 group  20 u32 plan_epoch  24 i64 from  32 i64 credit  40 i64 missing[]
// An empty payload is a sign of life of a consumer that wants nothing at present.
#pragma once

#include "engine/link/frame_link.h"

#define WANT_BYTES_MAX (40 + 8 * FRAME_WANT_MISSING_MAX)

size_t frame_want_write(const struct frame_want *want, uint8_t out[WANT_BYTES_MAX]);
int frame_want_read(const uint8_t *bytes, size_t size, struct frame_want *ret); // 0, -EPROTO

// Names in stream ids: [A-Za-z0-9._-], 1 to 64 of them.
#define LINK_NAME_MAX 64
struct link_name {
    char consumer[LINK_NAME_MAX + 1], link_id[LINK_NAME_MAX + 1];
};
#define STREAM_ID_MAX (9 + 2 * LINK_NAME_MAX)

// "#!::r=<consumer>,s=<link id>" and nothing else; -EINVAL.
int stream_id_parse(const char *text, struct link_name *ret);
int stream_id_format(const char *consumer, const char *link_id, char ret[STREAM_ID_MAX + 1]);
