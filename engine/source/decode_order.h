// What a program and the children that decode for it (engine/decode) say to each other. Both are of
// one build, so messages are structures as they are in memory.
//
// The keeper gets orders, one a packet, over descriptor DECODE_KEEPER_FD: DECODE_FILE or
// DECODE_UNITS with the descriptors of DECODE_FDS, or DECODE_END; it gives an answer to each. A
// child gets requests over its channel and gives a reply to each, and of a file one before all that
// says whether it could be opened; where it was given no index, that one is followed by
// `index_bytes` of it. What is asked of those that decode units of live sources stands in
// engine/live/decode_units.h.
//
// Pictures go through memory that both map: the child's board, then slots, whose size and count
// follow from the size of the pictures.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/frame/picture.h"

#include <stddef.h>
#include <stdint.h>

#define DECODE_KEEPER_FD 3

enum decode_what { DECODE_FILE, DECODE_UNITS, DECODE_END };
// Its end of the channel, the memory; the file, and the file's index where there is one.
enum { DECODE_CHANNEL, DECODE_MEMORY, DECODE_MEDIA, DECODE_INDEX, DECODE_FDS };

struct decode_order {
    enum decode_what what;
    int32_t pid; // to be ended, whether it has by itself or not
    int32_t threads, cpu_flags;
    char path[256]; // for messages
};

struct decode_answer {
    int32_t pid;    // started, or a negative errno
    int32_t status; // how it ended, as waitpid says; -1: not known
    int64_t cpu_ns; // that it has used
};

struct decode_request {
    int64_t picture;
    int32_t slot;
};

struct decode_reply {
    int32_t error;         // then `problem` says more
    int32_t width, height; // of all pictures
    enum picture_format format;
    int64_t index_bytes;
    struct diagnostic problem;
};

// The board stands in the first bytes (engine/base/hang.h); a page of any machine.
#define DECODE_BOARD_BYTES 65536
#define DECODE_SLOTS_MAX   12

size_t decode_slot_bytes(int width, int height);
int decode_slot_count(int width, int height);
// Where the planes of a picture in `slot` stand.
void decode_slot_planes(uint8_t *slot, int width, int height, uint8_t *ret_plane[4],
                        ptrdiff_t ret_stride[4]);

// Threads of a decoder that is not told otherwise: 1, since one for each clip leaves room for other
// clips. For tests of purity VISTTER_DECODER_THREADS=1..16 in the environment asks for others;
// -EINVAL when it says anything else.
int decode_threads(struct diagnostic *reterr);
