// Bodies of frame messages: bytes that do not change, with a counted reference.
// Thread: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct frame_body {
    const uint8_t *bytes;
    size_t size;
    bool stored; // a stored frame (stored_frame.h), else a coded one (receive/payload.h)
    // -- private to frame_body.c
    _Atomic int references;
    void (*release)(void *opaque);
    void *opaque;
};

struct frame_body *frame_body_coded(uint8_t *bytes, size_t size); // takes malloc'ed bytes
// `release(opaque)` runs, on whatever thread, when the last reference goes.
struct frame_body *frame_body_stored(const uint8_t *bytes, size_t size,
                                     void (*release)(void *opaque), void *opaque);
struct frame_body *frame_body_ref(struct frame_body *body);
void frame_body_unref(struct frame_body **body); // accepts NULL inside
