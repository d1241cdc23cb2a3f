// The log of a live source is made of units: what a gateway has stamped once and nobody changes any
// more. The same bytes stand in the log's files (log.h) and go from node to node.
//
// A unit's bytes: this header, little-endian, then `size` bytes of body.
//
//    at  size
//     0     4  magic, "VLU1"
//     4     4  size of the body
//     8     4  CRC-32C (RFC 3720, B.4) of all that follows, header and body
//    12     1  kind, 13: stream, 14: flags (2 bytes)
//    16     8  source: which one, unit_source_id of its name
//    24     4  gen: counts connections and jumps of the source's clock, from 1; 28: 4 zero bytes
//    32     8  seq: of this source, without holes, from 1
//    40     8  pts, 48: dts, as the source gave them, in 1/90000 s; UNIT_NO_TIME: none
//    56     8  chan_ns: when it is to be seen or heard, see below
//    64     8  done_ns: no later unit of this stream has a chan_ns at or below it
//    72     8  index, see below
//
// Times (`_ns`) are farm time: nanoseconds since 1970, UTC when the gateway started and from there
// on by its monotonic clock. Channels' epochs are on the same scale. done_ns never falls within a
// stream, over all gens.
// Thread: any; pure functions.
#pragma once

#include "engine/base/diagnostic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT_HEADER_BYTES 80
#define UNIT_BODY_MAX     (16 << 20) // a key picture of 4K at a gigabit has 4 MiB
#define UNIT_NO_TIME      INT64_MIN

enum unit_kind {
    UNIT_DATA = 1, // an access unit. Pictures in order of decoding; index: counts them in the gen.
                   // Sound: index of its first sample in the gen, at the format's rate
    UNIT_FORMAT,   // what the data of the stream is from here on (unit_format)
    UNIT_GAP,      // nothing of the stream for chan_ns < t <= done_ns, told again while it lasts
    UNIT_MAP,      // a breakpoint of the sound's map: sample `index` is heard at chan_ns
    UNIT_IDLE,     // nothing came up to done_ns, which is not long enough yet to be a gap
};
enum unit_stream { UNIT_PICTURE, UNIT_SOUND, UNIT_STREAMS };
enum unit_flags {
    UNIT_KEY = 1,     // decoding can begin here
    UNIT_DAMAGED = 2, // bytes are missing: nothing is decoded from here to the next whole key
    UNIT_AGAIN = 4,   // format or map: said before, repeated at the start of a segment
    UNIT_LATE = 8,    // a picture that came after its time was told done: decoded, never shown
};

struct unit {
    enum unit_kind kind;
    enum unit_stream stream;
    unsigned flags;
    uint64_t source, seq;
    uint32_t gen, crc; // crc: filled by unit_parse; with the seq it names a unit for sure
    int64_t pts, dts, chan_ns, done_ns, index;
    const uint8_t *body; // borrowed: of who fills the struct, or of the bytes it was parsed from
    size_t size;
};

uint64_t unit_source_id(const char *name);
static inline size_t unit_bytes(const struct unit *unit)
{
    return UNIT_HEADER_BYTES + unit->size;
}
// All bytes of a unit that was parsed.
static inline const uint8_t *unit_start(const struct unit *unit)
{
    return unit->body - UNIT_HEADER_BYTES;
}
// Writes the header; the body follows it as it is.
void unit_write_header(const struct unit *unit, uint8_t out[UNIT_HEADER_BYTES]);
// Reads one unit from the start of `bytes`. 0; -EAGAIN: it goes on after `size` bytes; -EPROTO: not
// a unit, or damaged.
int unit_parse(const uint8_t *bytes, size_t size, struct unit *ret);
uint32_t crc32c_add(uint32_t crc, const uint8_t *bytes, size_t size); // from 0 on

#define UNIT_CODEC_BYTES 24
// The body of UNIT_FORMAT.
struct unit_format {
    char codec[UNIT_CODEC_BYTES]; // FFmpeg's name: "h264", "aac"
    int width, height;            // as coded; 0: not known
    int aspect_num, aspect_den;   // of a pixel; 0: not known
    int rate_num, rate_den;       // pictures a second, about; 0: not known
    int sample_rate, channels;    // 0: pictures
    uint8_t extradata[4096];      // what the decoder needs beforehand
    size_t extradata_size;
};
// The most that a format takes.
#define UNIT_FORMAT_BYTES (UNIT_CODEC_BYTES + 8 * 4 + 4 + 4096)
size_t unit_format_write(const struct unit_format *format, uint8_t out[UNIT_FORMAT_BYTES]);
// -EPROTO: not a format, or beyond what is taken (16384 a side, 64 channels, 384 kHz).
int unit_format_parse(const uint8_t *bytes, size_t size, struct unit_format *ret);
bool unit_format_equal(const struct unit_format *a, const struct unit_format *b);
