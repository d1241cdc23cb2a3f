// Splice: one stream of packets out of two sources that make the same (GOP-identical encoders of
// two edges). One is followed as long as it gives; when it ends, or is silent while the other goes
// on, the other's packets follow from exactly where its own ended. There is no way back without
// need: the sources are equals.
//
// Within a GOP packets of both are mixed only where all pictures that were given of the GOP are, by
// checksum, what the other has too; else the other follows at its next key frame, and a hole is
// counted. Each packet is given once, in order.
//
// Pure: no clock, no thread; the caller says what time it is and holds a lock.
#pragma once

#include "edge/encode/packet.h"

// So long nothing came from the source that is followed while the other had the next picture
// already: it is left. Longer than edges differ by, shorter than what players have in store.
#define SPLICE_SILENT_NS INT64_C(400000000)
// Longer than an encoder's pauses.
#define SPLICE_BURST_NS INT64_C(3000000000)

enum splice_source { SPLICE_FIRST, SPLICE_SECOND };

struct splice_stats {
    bool follows;
    enum splice_source source; // the one that is followed, or was last
    uint64_t turns;            // from one to the other
    uint64_t holes;            // turns at which pictures were left out
};

struct splice;
// `on_packet` takes the packet.
struct splice *splice_create(packet_sink_fn *on_packet, void *opaque);
void splice_destroy(struct splice **splice);
// The next packet of a source; the caller's reference is taken.
void splice_add(struct splice *splice, enum splice_source source, struct packet *packet,
                int64_t now_ns);
// Nothing more comes from the source, until it begins anew with a key frame.
void splice_ended(struct splice *splice, enum splice_source source, int64_t now_ns);
// Ten times a second.
void splice_tick(struct splice *splice, int64_t now_ns);
void splice_stats(const struct splice *splice, struct splice_stats *ret);
