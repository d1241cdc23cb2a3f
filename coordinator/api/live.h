// The WebSocket at /api/v1/live: the whole status once a second and on connecting, and new
// revisions as they come. A hub thread makes each text once; every client has a bounded queue that
// its own thread sends from, so that a slow one loses its own messages (and then its connection),
// nobody else's.
//
// Who connects with ?meters=NAME,... gets the levels of these channels as well, ten times a second,
// from a thread of their own that no database holds up. When they are not taken fast enough the
// oldest go.
//
// The protocol (RFC 6455) is spoken here, not by civetweb 1.15, which allocates whatever length a
// frame's header claims, up to 2 GiB, before anybody sees it, and waits for ever for the rest of a
// frame. Texts that clients send are commands (commands.h), answered to them; all else is read
// past, without being kept.
#pragma once

#include "coordinator/api/request.h"

#define LIVE_CLIENTS_MAX 64
#define LIVE_METERED_MAX 8 // channels of a client

struct live;
int live_create(struct coordinator *coordinator, struct live **ret);
void live_destroy(struct live **live);   // after mg_stop
void live_close(struct live *live);      // before mg_stop: lets go of all clients
void live_disconnect(struct live *live); // lets go of those that are there now
// Serves one client until it goes; returns the status. Thread: civetweb's, for all that time.
int live_serve(struct live *live, struct request *r);
uint64_t live_turns(const struct live *live);        // moves every second
void live_send(struct live *live, const char *text); // to all; any thread
