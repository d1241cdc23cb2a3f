// Relay: gives what this edge has coded to the publishers of the channel's other edge, which make
// one stream of both (deliver/splice.h). Over frame links: a unit (deliver/unit.h) is the payload
// of a PICTURE message with the channel, group = output << 8 | rendition, plan epoch 0 and the
// unit's number as frame; an empty unit says that no more comes.
//
// The last RELAY_UNITS units of each rendition are kept, so that a publisher that connects finds
// the GOP under way, and one that lost a unit can have it again.
// Threads: relay_stream_push one at a time (the rendition's lanes), the rest any; none blocks but
// relay_destroy.
#pragma once

#include "edge/encode/packet.h"
#include "edge/publish.h"
#include "engine/base/diagnostic.h"
#include "engine/receive/links.h"

#define RELAY_UNITS 512
#define RELAY_BYTES (32 << 20) // of a rendition

struct relay;
// `listen` "host:port"; `told` the same as others reach it, "" when it does not differ.
int relay_create(const char *listen, const char *told, struct relay **ret,
                 struct diagnostic *reterr);
void relay_destroy(struct relay **relay); // streams are gone by then
const char *relay_address(const struct relay *relay);
// How many publishers take packets of this channel now.
int relay_takers(struct relay *relay, uint64_t channel);

struct relay_stream;
struct relay_stream *relay_stream_create(struct relay *relay, uint64_t channel, uint32_t output,
                                         uint32_t rendition);
void relay_stream_destroy(struct relay_stream **stream); // tells its takers
// Who may take it: publishers of edge `other->node` that have this link's key, each by an id of its
// own: the link's, a dot, the destination's number, and "b" if it is of a second address; NULL:
// nobody. Those that may no more are told.
void relay_stream_allow(struct relay_stream *stream, const struct link_target *other);
// Whether this edge publishes to the first (0) or second (1) addresses itself, by this id: the
// other edge's publishers of these get no packets then, but the id.
void relay_stream_claim(struct relay_stream *stream, int which, bool claims, struct publish_id id);
void relay_stream_push(struct relay_stream *stream, const struct packet *packet); // borrowed

// The group number of a rendition's units.
static inline uint32_t relay_group(uint32_t output, uint32_t rendition)
{
    return output << 8 | (rendition & 255);
}
