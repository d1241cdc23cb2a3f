// Messages as SRT datagrams: cutting into parts and joining them. Private to engine/link.
// Layout: proto/frame-message.md. Thread: any, on separate objects.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PART_BYTES_MAX    1456
#define PART_HEADER_BYTES 8
#define PART_DATA_MAX     (PART_BYTES_MAX - PART_HEADER_BYTES)

// Number of parts of a message of `size` bytes (1 or more).
int part_count(size_t size);
// Writes part `part` of a message; returns its size.
size_t part_write(uint8_t out[PART_BYTES_MAX], uint32_t number, int part, const uint8_t *message,
                  size_t size);

// Joins parts in any order, a bounded number of messages at a time: a newer one drops the oldest.
struct part_joiner;
struct part_joiner *part_joiner_create(size_t message_bytes_max);
void part_joiner_destroy(struct part_joiner **joiner);
// Takes one datagram. 1: a message is complete and given (free); 0: more is needed, or it was a
// copy; -EPROTO: not a part; -ENOMEM.
int part_joiner_add(struct part_joiner *joiner, const uint8_t *bytes, size_t size, uint8_t **ret,
                    size_t *ret_size);
uint64_t part_joiner_incomplete(const struct part_joiner *joiner); // messages given up so far
