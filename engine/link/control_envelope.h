// Sealed envelope of control messages, and the checks before anything is unpacked. For engine/link
// and for what keeps such a message on disk (edge/state_file.c).
//
//   "VCTL" | version 1 | direction | name length | name | nonce 12 | ciphertext | tag 16
//
// AES-256-GCM with the cluster key; everything before the nonce is authenticated with it.
// Thread: any; touches only its arguments.
#pragma once

#include "engine/link/control_link.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define CONTROL_NAME_MAX       64
#define CONTROL_ENVELOPE_BYTES (7 + CONTROL_NAME_MAX + 12 + 16) // at most, around the message
#define CONTROL_DEPTH_MAX      16
#define CONTROL_ITEMS_MAX      10000

enum control_direction {
    CONTROL_UP = 1,    // NodeReport; the name is the sender
    CONTROL_DOWN = 2,  // DesiredState; the name is the addressee
    CONTROL_ALIVE = 3, // coordinator to node: instance and sequence, 8 bytes each, little-endian
};

// Seals `size` bytes into `ret`, which holds size + CONTROL_ENVELOPE_BYTES. Returns the length
// used, or -EINVAL for a bad name, -EIO when there are no random numbers.
int control_seal(const uint8_t key[CLUSTER_KEY_BYTES], enum control_direction direction,
                 const char *name, const void *plain, size_t size, uint8_t *ret);
// Opens an envelope: the message goes to `ret` (room for `size` bytes). Returns its length; -EPROTO
// for what is no envelope, -EBADMSG when the key is another or a bit has changed.
int control_open(const uint8_t key[CLUSTER_KEY_BYTES], const uint8_t *sealed, size_t size,
                 enum control_direction *ret_direction, char ret_name[CONTROL_NAME_MAX + 1],
                 uint8_t *ret);

// Walks a packed message against its type without allocating: nesting up to CONTROL_DEPTH_MAX,
// together at most CONTROL_ITEMS_MAX repeated items and unknown fields, no groups, lengths inside
// their parents, strings without NUL. 0 or -EPROTO.
int control_shape_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size);

// Tells new messages of one peer from repeated and overtaken ones. Zero-initialise.
#define CONTROL_RETIRED 8
struct replay_guard {
    uint64_t instance, sequence;
    uint64_t retired[CONTROL_RETIRED]; // instances seen before; never accepted again
    unsigned retired_next;
};
bool replay_guard_accept(struct replay_guard *guard, uint64_t instance, uint64_t sequence);
