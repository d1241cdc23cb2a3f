// 64-bit checksum for comparing pictures and sound between nodes: fast and well mixed, not
// cryptographic (messages carry a MAC, assets a SHA-256). The value of a byte string depends on how
// it is cut into calls, so callers fix the cuts (a row of a plane, a frame's samples).
//
// Per 8 bytes little-endian: sum = rotl(sum ^ word * K1, 27) * K2 + K3; the tail is zero-filled and
// followed by the length. K1, K2, K3 are the odd constants in checksum.c.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t checksum_begin(void);
uint64_t checksum_add(uint64_t sum, const void *bytes, size_t size);
