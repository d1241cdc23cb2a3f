// Frame links: who has frames listens, who needs them calls. Messages travel over SRT by the rules
// in ARCHITECTURE.md (live mode, late drop on, clear SRT, our own authenticated encryption); within
// a host over a Unix socket, which is found by itself (link_socket.h).
//
// Consumer -> provider: WANT, the wished state, sent on every change and repeated every 100 ms, so
// that a lost or repeated one changes nothing. Provider -> consumer: PICTURE messages.
//
//   WANT(channel, group, plan_epoch, start, spare, from, credit, missing[], ended, host, keep)
//     start    another number whenever the consumer begins anew: the provider then begins at `from`
//     spare    another provider makes the same frames for this consumer: they may be left out when
//              there is no time for more important ones
//     from     first frame the consumer still needs; the provider may forget everything below
//     credit   the provider may send frames below this number (it has no clock of its own)
//     missing  frames that have not arrived, to be sent once more, each named again only after the
//              time that an answer takes; the provider lets repeats within that time pass
//     ended    the consumer needs nothing more of this group
//     host     where the consumer is, and keep: for blocks, see below
//
// A provider on the same host may send BLOCK instead of PICTURE: the frame then stands, as it is,
// in memory that it shares (block_pool.h), and only that is told. Everything else is the same.
//
// A provider tells a consumer that calls the connection's session, which wants must repeat, and
// gives a sign of life each FRAME_LIFE_MS (proto/frame-message.md).
//
// Link identity: the SRT stream id is "#!::r=<consumer node>,s=<link id>"; ids are not secret, the
// link key is, and is never sent. Both sides know the key from the plan.
#pragma once

#include "engine/link/frame_body.h"
#include "engine/link/frame_message.h"

#include <stdbool.h>

struct block_name;

#define FRAME_WANT_MISSING_MAX 64

struct frame_want {
    uint64_t channel;
    uint32_t group, plan_epoch;
    uint32_t start; // below 2^31
    int64_t from, credit;
    bool ended, spare;
    uint64_t host; // filled by the client: block_host of a consumer that reads blocks, else 0
    int64_t keep;  // filled by the client: no block with a lower frame is in use there any more
    int missing_count;
    int64_t missing[FRAME_WANT_MISSING_MAX];
};

// What the follower of a live source's log wants of the log's home, instead of frames: LOG_WANT,
// also a wished state. The home answers with LOG messages, whose payload is not the link's business
// (engine/live/log_message.h).
#define FRAME_LOG_NAME_MAX 64
struct frame_log_want {
    char source[FRAME_LOG_NAME_MAX + 1]; // [A-Za-z0-9._-]{1,64}, no dot at first
    uint32_t start; // another number whenever the follower asks anew: what was sent before is void
    uint64_t seq;   // of the unit that it has last; 0: none
    uint32_t crc;   // of that unit
    uint64_t taken; // bytes of units that have come since `start`
};
bool frame_log_name_valid(const char *source);

// What a link has seen since its client or its connection began.
struct frame_link_stats {
    uint64_t messages, bytes;    // received and valid; for a provider: sent
    uint64_t incomplete;         // messages whose parts never came, or whose block was gone
    uint64_t bad, replayed;      // refused: damaged, wrong key, kind or session; seen before
    uint64_t resent;             // datagrams that libsrt had to send again
    uint64_t dropped;            // datagrams that libsrt gave up as too late
    double rtt_ms, loss_percent; // of the last second
};

// ---- Provider -------------------------------------------------------------------------------
// One listener for all consumers of a node. Callbacks run on the server's threads, several at once,
// and must not block. Stream ids must be as above with names of [A-Za-z0-9._-]{1,64}; others get
// SRT reject reason 1400, unknown links 1403, and 1402 when there is no place. Consumers beyond
// FRAME_PEERS_MAX are closed when they prove themselves; one that does so on a new connection ends
// its older one of the same link. A peer that shows no
// valid message for 5 s is closed, one that has never shown any after 2 s. Of those at most
// FRAME_UNPROVEN_MAX are kept, beside the peers; a further one takes the place of the oldest.
#define FRAME_PEERS_MAX        64
#define FRAME_UNPROVEN_MAX     16
#define FRAME_PEER_QUEUE_BYTES (32 << 20)
struct frame_server;
struct frame_peer; // one connected consumer
struct frame_server_config {
    const char *listen; // "host:port", port 0: any
    // Key of link `link_id` if `consumer` may call now; false refuses the handshake.
    bool (*link_key)(void *opaque, const char *consumer, const char *link_id,
                     uint8_t ret_key[LINK_KEY_BYTES]);
    // A WANT from a link. `peer` is valid until on_gone for it returns. on_gone comes once for each
    // peer that an on_want or on_log_want was called for, maybe after the first on_want of its
    // successor.
    void (*on_want)(void *opaque, struct frame_peer *peer, const struct frame_want *want);
    void (*on_gone)(void *opaque, struct frame_peer *peer);
    void *opaque;
    bool srt_only; // callers on this host too
    // A LOG_WANT; as on_want in all else. NULL: there are no logs here.
    void (*on_log_want)(void *opaque, struct frame_peer *peer, const struct frame_log_want *want);
};
int frame_server_create(const struct frame_server_config *config, struct frame_server **ret,
                        struct diagnostic *reterr);
int frame_server_port(const struct frame_server *server);
// The address that others call: `told`, or where that is "" or NULL the listen address with the
// port really taken. -EINVAL when it listens on all addresses of the host and nothing was told.
int frame_server_address(const struct frame_server *server, const char *told, char *ret,
                         size_t size, struct diagnostic *reterr);
// Most bytes per second that each peer gets (default 75 MB/s = 600 Mbit/s): keep it below 60 % of
// the link, since a burst that overruns it costs more in repairs than it gains. Thread: any.
void frame_server_set_rate(struct frame_server *server, int64_t bytes_per_second);
void frame_server_destroy(struct frame_server **server); // joins its threads
struct frame_peer_stats {
    char consumer[65], link_id[65];
    struct frame_link_stats link;
};
// Of the connected consumers that have proved themselves; returns how many. Thread: any.
int frame_server_stats(struct frame_server *server, struct frame_peer_stats ret[FRAME_PEERS_MAX]);
// Seals and queues a message for a peer; takes a copy of the payload. -EAGAIN when the peer's queue
// (bounded in bytes) is full: try again when it has drained; -EPIPE when it is gone. Thread: any.
int frame_peer_send(struct frame_peer *peer, const struct frame_header *header, const void *payload,
                    size_t size);
// As frame_peer_send, of a frame that stands in a block, for the want with this `start`. The peer's
// wants say when it is done with it.
int frame_peer_send_block(struct frame_peer *peer, const struct frame_header *header,
                          const struct block_name *block, uint32_t start);
// Who a peer is, valid as long as it.
void frame_peer_name(const struct frame_peer *peer, const char **ret_consumer,
                     const char **ret_link_id);
// Keeps a peer's memory beyond on_gone for threads that may be late; they get -EPIPE. Thread: any.
struct frame_peer *frame_peer_ref(struct frame_peer *peer);
void frame_peer_unref(struct frame_peer **peer);

// ---- Consumer -------------------------------------------------------------------------------
// One per (provider, link). Connects by itself, again and again, with back-off; never blocks
// callers. A connection on which nothing valid arrives for FRAME_SILENCE_MS is closed and made
// anew: libsrt 1.5.1 can stop delivering while the connection stands.
#define FRAME_SILENCE_MS 3000
// A provider that has not been heard of for FRAME_QUIET_MS does not live, or cannot be reached.
// From FRAME_HUSH_MS on it may be so: where another is heard, asking that one costs little.
#define FRAME_LIFE_MS  50
#define FRAME_HUSH_MS  250
#define FRAME_QUIET_MS 500
struct frame_client;
struct frame_client_config {
    const char *address; // "host:port"
    const char *consumer, *link_id;
    uint8_t key[LINK_KEY_BYTES];
    int latency_ms; // SRT latency, both ways; at least 120 and 4 x RTT
    // A verified message; takes the body. Runs on the client's thread; must not block. NULL: no
    // frames are wanted.
    void (*on_frame)(void *opaque, const struct frame_header *header, struct frame_body *body);
    void (*on_state)(void *opaque, bool connected);
    void *opaque;
    // The payload of a verified LOG message, borrowed. On the client's thread too. NULL: none are
    // wanted.
    void (*on_log)(void *opaque, const uint8_t *payload, size_t size);
};
int frame_client_create(const struct frame_client_config *config, struct frame_client **ret,
                        struct diagnostic *reterr);
// Asks the client to end and to close its connection; does not wait. Thread: any.
void frame_client_close(struct frame_client *client);
// Whether one that was closed has ended: destroying it waits no more. Thread: any.
bool frame_client_ended(const struct frame_client *client);
// Joins its thread, which may be looking up a name: that can take seconds.
void frame_client_destroy(struct frame_client **client);
// Sets the wished state of one (channel, group, plan_epoch); sent at once and repeated; an ended
// one is forgotten after two seconds of repeating. Thread: any.
void frame_client_want(struct frame_client *client, const struct frame_want *want);
// Sets the one log that is wanted; repeated as wishes are, sent at once if `now`. Thread: any.
void frame_client_want_log(struct frame_client *client, const struct frame_log_want *want,
                           bool now);
// When anything valid last came, or else the connection was made; 0: there was none. Thread: any.
int64_t frame_client_heard_ns(const struct frame_client *client);
// The same of anything, a part of a message that is still on its way too.
int64_t frame_client_received_ns(const struct frame_client *client);
void frame_client_stats(struct frame_client *client, struct frame_link_stats *ret);
