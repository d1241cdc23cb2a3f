// The WebSocket at /api/v1/live: the whole status once a second and on connecting, and new
// revisions as they come. A hub thread makes each text once; every client has a bounded queue and a
// thread that sends from it, so that a slow one loses its own messages (and then its connection),
// nobody else's.
#pragma once

#include "coordinator/coordinator.h"

#include <civetweb.h>

#define LIVE_CLIENTS_MAX 64

struct live;
int live_create(struct coordinator *coordinator, struct live **ret);
void live_destroy(struct live **live); // after mg_stop
void live_close(struct live *live);    // before mg_stop: lets go of all clients
void live_register(struct live *live, struct mg_context *context);
void live_send(struct live *live, const char *text); // to all; any thread
