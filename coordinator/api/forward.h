// Requests to a coordinator that follows: passed to the one that leads, byte by byte, bodies and
// WebSockets included, one connection to the leader for each. Clients may know one coordinator
// only.
//
// The follower judges where a request comes from (Host, Origin); the leader is asked by its own
// address, with a mark by which it knows that it must not pass the request on again.
#pragma once

#include "coordinator/api/request.h"

// The leader sees all of them from one address, of which it takes so many connections.
#define FORWARDS_MAX (CONNECTIONS_PER_ADDRESS_MAX - 4)

struct forward;
struct forward *forward_create(struct coordinator *coordinator);
void forward_destroy(struct forward **forward); // after mg_stop; accepts NULL inside
void forward_close(struct forward *forward);    // before mg_stop: lets go of all connections
// Has the request answered by `leader`, which is another, or refuses it with 503 "no_leader";
// returns the status. Ends when the leader has answered, or leads no more.
// Thread: civetweb's, for all that time.
int forward_serve(struct forward *forward, struct request *r,
                  const struct coordinator_leader *leader);
