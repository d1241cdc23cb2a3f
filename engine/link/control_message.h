// Sealed control messages: the cluster's envelope around a packed protobuf, and the checks before
// it is unpacked. Private to engine/link. Thread: any.
//
//   "VSC1", u8 direction, u8 length of node name, node name, 12 bytes nonce, ciphertext, 16 bytes
//   tag
// AES-256-GCM with the cluster key and a random nonce; all before the ciphertext is authenticated.
#pragma once

#include "engine/link/control_link.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define CONTROL_NODE_MAX 64

enum control_direction { CONTROL_UP = 1, CONTROL_DOWN = 2 };

// Packs and seals. Gives malloc'ed bytes. 0, -E2BIG, -ENOMEM, -EINVAL (node name).
int control_seal(const uint8_t key[CLUSTER_KEY_BYTES], enum control_direction direction,
                 const char *node, const ProtobufCMessage *message, uint8_t **ret,
                 size_t *ret_size);
// Opens, checks the shape and unpacks; free with protobuf_c_message_free_unpacked. `ret_node` has
// room for CONTROL_NODE_MAX + 1 bytes. -EPROTO malformed, -EBADMSG wrong key or altered.
int control_open(const uint8_t key[CLUSTER_KEY_BYTES], enum control_direction direction,
                 const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *type,
                 char *ret_node, ProtobufCMessage **ret);
// Walks the fields of a packed message as its type says: at most 20,000 fields, lengths inside
// their message, and depth as deep as the schema (which has no recursive type).
bool control_shape_ok(const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *type);
