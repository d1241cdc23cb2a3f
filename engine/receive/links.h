// Connections to providers: one frame client per (address, link id), shared by the groups and plans
// that use it, and the way of a message to the intakes that take it.
//
// Thread: links_acquire and links_release: the control thread; the rest any.
#pragma once

#include "engine/receive/intake.h"

// Where a group is fetched.
struct link_target {
    char address[128]; // "host:port" of its provider
    char link_id[64];
    uint8_t key[LINK_KEY_BYTES];
};

struct links;
// `node`: this node's name, as providers know it.
struct links *links_create(const char *node);
void links_destroy(struct links **links); // all are released by then

struct link;
// -EINVAL ... with a diagnostic when the client cannot be made; it connects by itself later.
int links_acquire(struct links *links, const struct link_target *target, struct link **ret,
                  struct diagnostic *reterr);
void links_release(struct links *links, struct link **link);
void link_want(struct link *link, const struct frame_want *want);

// What an intake takes goes to it until it is removed; after links_remove_intake has returned no
// call into it is under way. -ENOSPC.
int links_add_intake(struct links *links, struct intake *intake);
void links_remove_intake(struct links *links, struct intake *intake);
uint64_t links_stray(struct links *links); // messages that belonged to nobody
