// The second source of a publisher: takes the units of the channel's other edge from its relay
// (edge/relay.h), in order, each once.
// Threads: callbacks on the link's own; the rest the caller's, which is one.
#pragma once

#include "edge/deliver/message.h"
#include "edge/deliver/unit.h"

struct second_config {
    struct deliver_second link;
    void (*on_unit)(void *opaque, struct unit *unit); // cleared afterwards
    // No more comes by this link. `taken`: since that edge is to publish itself, by this id; else
    // NULL.
    void (*on_end)(void *opaque, const struct publish_id *taken);
    void *opaque;
};

struct second;
int second_create(const struct second_config *config, struct second **ret);
void second_destroy(struct second **second);
// The same without waiting for the link, which may be in a name lookup: no callback comes any more.
void second_leave(struct second **second);
const struct deliver_second *second_link(const struct second *second);
// Ten times a second: says what is wanted.
void second_tick(struct second *second, int64_t now_ns);
// Whether the other edge gives a sign of life, and has not ended.
bool second_alive(struct second *second, int64_t now_ns);
// Whether it has given one within the last second, whatever it said.
bool second_heard(struct second *second, int64_t now_ns);
