// Coded packets: what encoders give and destinations take; counted references, const once made.
//
// Times are absolute: video in frames of the channel's rate (frame n has pts n), audio in samples
// at 48 kHz since the channel's epoch. A destination chooses its own zero. Thread: reference counts
// are atomic; the content is constant after packet_create's caller filled it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum packet_stream { PACKET_VIDEO, PACKET_AUDIO };

#define PACKET_PADDING   64 // zero bytes behind the data, as FFmpeg's readers want
#define PACKET_BYTES_MAX (32 << 20)

struct packet {
    enum packet_stream stream;
    bool key; // video: an IDR picture; audio: always
    int64_t pts, dts, duration;
    size_t size;
    _Atomic int references; // private
    uint8_t data[];
};

// `size` bytes of undefined content. NULL when there is no memory or size > PACKET_BYTES_MAX.
struct packet *packet_create(size_t size);
struct packet *packet_ref(const struct packet *packet);
void packet_unref(struct packet **packet); // accepts NULL inside
// Packets alive in the whole process; tests end by asserting zero.
int64_t packet_outstanding(void);

// Takes a packet.
typedef void packet_sink_fn(void *opaque, struct packet *packet);
