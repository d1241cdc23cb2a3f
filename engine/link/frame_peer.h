// One connected consumer, as its server sees it. Private to engine/link.
#pragma once

#include "engine/link/frame_want.h"
#include "engine/link/link_socket.h"

struct frame_peer_config {
    struct link_socket socket; // taken
    struct link_name name;
    uint8_t key[LINK_KEY_BYTES];
    int64_t bytes_per_second;
    void (*on_want)(void *opaque, struct frame_peer *peer, const struct frame_want *want);
    void (*on_gone)(void *opaque, struct frame_peer *peer);
    void (*on_log_want)(void *opaque, struct frame_peer *peer, const struct frame_log_want *want);
    void *opaque;
    // For the server: the peer has shown that it has the key; the peer's thread is about to end.
    void (*on_proven)(void *server, struct frame_peer *peer);
    void (*on_end)(void *server, struct frame_peer *peer);
    void *server;
};

// Starts the peer's thread. On failure the socket is closed.
int frame_peer_create(const struct frame_peer_config *config, struct frame_peer **ret);
void frame_peer_close(struct frame_peer *peer); // asks its thread to end; does not wait
void frame_peer_join(struct frame_peer **peer); // waits for the thread, gives up the reference
bool frame_peer_ended(const struct frame_peer *peer); // its thread can be joined without waiting
bool frame_peer_is(const struct frame_peer *peer, const struct frame_peer *other); // same link
void frame_peer_set_rate(struct frame_peer *peer, int64_t bytes_per_second);
bool frame_peer_proven(const struct frame_peer *peer); // it has shown that it has the key
int64_t frame_peer_created_ns(const struct frame_peer *peer);
void frame_peer_stats(struct frame_peer *peer, struct frame_peer_stats *ret);
