// Connections to providers: one frame client per (address, link id), shared by the groups and plans
// that use it, and the way of a message to the intake it belongs to.
//
// Thread: links_acquire and links_release: the control thread; the rest any.
#pragma once

#include "edge/receive/intake.h"

struct links;
// `node`: this edge's name, as providers know it.
struct links *links_create(const char *node);
void links_destroy(struct links **links); // all are released by then

struct link;
// -EINVAL ... with a diagnostic when the client cannot be made; it connects by itself later.
int links_acquire(struct links *links, const struct plan_group *group, struct link **ret,
                  struct diagnostic *reterr);
void links_release(struct links *links, struct link **link);
void link_want(struct link *link, const struct frame_want *want);

// Messages for (channel, plan_epoch) go to `intake` until it is removed; after links_remove_intake
// has returned no call into it is under way.
int links_add_intake(struct links *links, struct intake *intake);
void links_remove_intake(struct links *links, struct intake *intake);
uint64_t links_stray(struct links *links); // messages that belonged to nobody
