// The second source of a publisher: takes the units of the channel's other edge from its relay
// (edge/relay.h), in order, each once.
// Threads: callbacks on the link's own; the rest the caller's, which is one.
#pragma once

#include "edge/deliver/message.h"
#include "edge/deliver/unit.h"

struct second_config {
    struct deliver_second link;
    void (*on_unit)(void *opaque, struct unit *unit); // cleared afterwards
    void (*on_end)(void *opaque);                     // no more comes by this link
    void *opaque;
};

struct second;
int second_create(const struct second_config *config, struct second **ret);
void second_destroy(struct second **second);
const struct deliver_second *second_link(const struct second *second);
// Ten times a second: says what is wanted.
void second_tick(struct second *second, int64_t now_ns);
// Whether the other edge gives a sign of life, and has not ended.
bool second_alive(struct second *second, int64_t now_ns);
