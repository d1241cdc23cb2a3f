// Control link: node -> coordinator reports, coordinator -> node desired state, over NNG.
//
// State, not commands: either side may lose, repeat or reorder messages. Nodes dial every address
// of the coordinators and report to all that answer; raw req/rep sockets, so that nothing waits for
// a reply and a coordinator may push whenever state changes. Each message is sealed with the
// cluster key (AES-256-GCM over the packed protobuf, random 96-bit nonce; the node's name and
// direction are authenticated), size-limited before anything else and shape-checked before
// unpacking. Replays: a message carries its sender's instance and a rising sequence; older ones are
// dropped. A coordinator answers reports at least once a second, if only with an empty message: a
// node that hears nothing for CONTROL_SILENCE_NS drops the connection and dials anew (a peer that
// lost power closes nothing, and TCP alone would notice only after many minutes).
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>
#include <stdint.h>

#define CONTROL_MESSAGE_BYTES_MAX (1 << 20)
#define CLUSTER_KEY_BYTES         32
#define CONTROL_NODES_MAX         4096
#define CONTROL_SILENCE_NS        INT64_C(5000000000)
// How long an edge may publish after a report that the leader has heard (edge/publish.h), and how
// much longer the leader waits, whose clock may run faster.
#define CONTROL_LEASE_NS        INT64_C(3000000000)
#define CONTROL_LEASE_MARGIN_NS INT64_C(100000000)
#define CONTROL_RENEW_NS        INT64_C(500000000)

// Reads a key file: 64 hex digits. Refuses files that others can read.
int cluster_key_read(const char *path, uint8_t ret[CLUSTER_KEY_BYTES], struct diagnostic *reterr);

typedef struct Vistter__Control__V1__NodeReport node_report_message;
typedef struct Vistter__Control__V1__DesiredState desired_state_message;

// What a link has seen since it was created.
struct control_link_stats {
    uint64_t sent, received; // messages, accepted ones
    uint64_t refused;        // not ours: wrong key, wrong direction, no envelope
    uint64_t malformed;      // sealed with our key, but no message that we would unpack
    uint64_t replayed;       // repeated or overtaken
};

// ---- Node side ------------------------------------------------------------------------------
struct control_client;
struct control_client_config {
    const char *addresses; // comma separated "host:port"
    uint8_t key[CLUSTER_KEY_BYTES];
    const char *node; // own name
    // Newest desired state; the message belongs to the link and lasts for the call. Link's thread.
    void (*on_state)(void *opaque, const desired_state_message *state);
    void *opaque;
};
int control_client_create(const struct control_client_config *config, struct control_client **ret,
                          struct diagnostic *reterr);
void control_client_destroy(struct control_client **client);
// Sends a report to all connected coordinators; fills in node, instance and sequence. Never blocks.
// 0, -EAGAIN when no coordinator took it (not connected yet, or busy: the next report replaces it),
// -EMSGSIZE beyond CONTROL_MESSAGE_BYTES_MAX. Thread: any.
int control_client_report(struct control_client *client, node_report_message *report);
void control_client_stats(struct control_client *client, struct control_link_stats *ret);

// ---- Coordinator side -----------------------------------------------------------------------
struct control_server;
struct control_server_config {
    const char *listen; // "host:port"
    uint8_t key[CLUSTER_KEY_BYTES];
    void (*on_report)(void *opaque, const node_report_message *report); // link's thread
    // The connection that the node's newest report came by has closed: it ended, or has to call
    // again. Told once more behind a report that was still on its way. NULL: nobody asks. Any of
    // the link's threads.
    void (*on_gone)(void *opaque, const char *node);
    void *opaque;
};
int control_server_create(const struct control_server_config *config, struct control_server **ret,
                          struct diagnostic *reterr);
void control_server_destroy(struct control_server **server);
int control_server_port(const struct control_server *server);
// Sends to the pipe that the node's newest report came from; fills in node, coordinator_instance
// and sequence. -ENOENT if there is no such pipe, -EAGAIN when it is busy. Never blocks. Thread:
// any.
int control_server_send(struct control_server *server, const char *node,
                        const desired_state_message *state);
void control_server_stats(struct control_server *server, struct control_link_stats *ret);
