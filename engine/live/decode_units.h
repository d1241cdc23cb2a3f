// What the children that decode live sources are asked and answer (engine/source/decode_order.h has
// the rest): started with DECODE_UNITS and no file, a child has up to UNIT_DECODERS_MAX decoders,
// numbered by who asks, and answers each request once.
//
// In the memory that both have stand, behind the board, the bytes that go along with a request or a
// reply (UNIT_AREA_BYTES: a struct unit_format, the body of a unit, sound), then the slots.
#pragma once

#include "engine/live/unit.h"
#include "engine/source/decode_order.h"

#define UNIT_DECODERS_MAX 4
#define UNIT_AREA_BYTES   (UNIT_BODY_MAX + 65536)
#define UNIT_SLOTS_AT     (DECODE_BOARD_BYTES + UNIT_AREA_BYTES)

enum unit_request_what {
    UNIT_OPEN, // a fresh decoder of this number for the format
    UNIT_PUSH, // takes a unit of `size` bytes, or the end (-1), and answers as UNIT_PULL does
    UNIT_PULL, // what it has made next, a picture in the slot
};

struct unit_request {
    enum unit_request_what what;
    int32_t number, slot;
    int32_t slot_bytes, slot_count;
    int64_t size, tag;
};

struct unit_reply {
    // As of live_decoder_picture and live_decoder_sound; -ENOSPC: the slots are too small for a
    // picture of this size.
    int32_t error;
    bool more; // something else has been made
    int64_t tag;
    int32_t width, height; // of a picture; 0: sound
    enum picture_format format;
    int32_t count, rate; // of sound: pairs in the memory
    struct diagnostic problem;
};
