// The last fragments of a programme, shared by its viewers: one writer, many readers at their own
// pace, bounded in fragments and bytes. Thread: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct preview_bytes; // counted, const
struct preview_bytes *preview_bytes_create(const void *bytes,
                                           size_t size); // a copy; NULL: no memory
void preview_bytes_unref(struct preview_bytes **bytes);
const uint8_t *preview_bytes_data(const struct preview_bytes *bytes, size_t *ret_size);

struct preview_ring;
struct preview_ring *preview_ring_create(void);
struct preview_ring *preview_ring_ref(struct preview_ring *ring);
void preview_ring_unref(struct preview_ring **ring);
void preview_ring_close(struct preview_ring *ring); // readers get -EPIPE
void preview_ring_set_init(struct preview_ring *ring, struct preview_bytes **init);
void preview_ring_add(struct preview_ring *ring, struct preview_bytes **fragment, bool key);
// `*next` is the reader's place; -1 at first: it gets the init segment, then the fragments from the
// newest key on. A reader whose place has left the ring goes on at the newest key. Waits up to
// `timeout_ms`. 0, -EAGAIN or -EPIPE.
int preview_ring_next(struct preview_ring *ring, int64_t *next, int timeout_ms,
                      struct preview_bytes **ret);
