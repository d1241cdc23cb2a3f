// Connections to providers: one frame client per (address, link id), shared by the groups and plans
// that use it, and the way of a message to the intakes that take it.
//
// Own thread: ends the clients of links that were released.
// Thread: all functions any.
#pragma once

#include "engine/receive/intake.h"

// Where a group is fetched.
struct link_target {
    char node[65];     // its provider's name, for people
    char address[128]; // "host:port" of its provider
    char link_id[64];
    uint8_t key[LINK_KEY_BYTES];
};

struct Vistter__Control__V1__GroupPlan;
// From whom `node` takes this group, in the order in which they are asked: writes up to
// TAKEOVER_PROVIDERS_MAX and returns how many. -EINVAL with a diagnostic for a group without a link
// to `node`, or with one that cannot be.
int link_targets(const struct Vistter__Control__V1__GroupPlan *group, const char *node,
                 struct link_target *ret, struct diagnostic *reterr);

// Who keeps a taker from being ready, by which of a group's providers are connected: the first, or
// a standby while there is none of them. -1: nobody; another standby joins when it can.
int links_await(const bool connected[], int count);

struct links;
// `node`: this node's name, as providers know it. `latency_ms`: of SRT, one way; at least 120 and
// four round trips. What libsrt cannot repair within it is asked for again by number.
struct links *links_create(const char *node, int latency_ms);
// All are released by then. Waits for clients that are looking up a name, which can take seconds.
void links_destroy(struct links **links);
int links_latency_ms(const struct links *links);

struct link;
// -EINVAL ... with a diagnostic when the client cannot be made; it connects by itself later.
int links_acquire(struct links *links, const struct link_target *target, struct link **ret,
                  struct diagnostic *reterr);
void links_release(struct links *links, struct link **link); // does not wait
void link_want(struct link *link, const struct frame_want *want);
bool link_connected(const struct link *link); // now
enum link_life link_life(const struct link *link);
const char *link_address(const struct link *link);

// What an intake takes goes to it, with the link as its source, until it is removed; after
// links_remove_intake has returned no call into it is under way. -ENOSPC.
int links_add_intake(struct links *links, struct intake *intake);
void links_remove_intake(struct links *links, struct intake *intake);
// What each link has seen, as a line `frame_link_stats` each. Programs call it once a minute.
void links_log(struct links *links);
#define LINKS_LOG_NS INT64_C(60000000000)
