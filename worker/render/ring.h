// Coded or stored frames of one group that some consumer may still want, in frame order without
// holes. Every frame is a key or a difference to a key in the ring, so frames leave from a key on
// only. Thread: the stage's.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/link/block_pool.h"

#define RING_FRAMES_MAX 1024
#define RING_BYTES_MAX  ((size_t)512 << 20)

struct coded_frame {
    int64_t base;        // frame this one is a difference to; its own number: a key
    uint8_t *payload;    // coded, or
    struct block *block; // stored; always a key
    size_t size;
    bool uncertain; // another worker may make another one
};

struct ring {
    int64_t first; // number of the oldest frame
    int count;
    size_t bytes;
    struct coded_frame frames[RING_FRAMES_MAX]; // number n at [n % RING_FRAMES_MAX]
};

void ring_clear(struct ring *ring, int64_t first); // empty, next frame is `first`
static inline int64_t ring_end(const struct ring *ring)
{
    return ring->first + ring->count;
}
void ring_cut(struct ring *ring, int64_t end); // without `end` and what follows it
bool ring_full(const struct ring *ring);
void ring_push(struct ring *ring, struct coded_frame frame); // takes payload and block
const struct coded_frame *ring_get(const struct ring *ring, int64_t frame); // NULL: not here
// Forgets what is below the key that frame `from` needs, or will need when it is the next to come.
void ring_forget(struct ring *ring, int64_t from);
