// The API: REST and WebSocket under /api/v1, and the first page, by civetweb.
//
// Answers from its creation on: while this coordinator leads, by itself; else as the leader answers
// (forward.h), or with 503 while there is none.
// No document root, no listing, no CGI, no CORS. Every error is application/problem+json.
#pragma once

#include "coordinator/coordinator.h"

struct api;
int api_create(struct coordinator *coordinator, struct api **ret, struct diagnostic *reterr);
void api_destroy(struct api **api);
// Moves every second: while it stands still, what tells all WebSockets does.
uint64_t api_turns(const struct api *api);
// Removes what uploads of a coordinator that was killed have left in the media store. Call when no
// other coordinator can be at it.
void api_remove_uploads(const char *media);
// Lets go of all WebSockets: their clients come again, and reach the leader.
void api_disconnect(struct api *api);
void api_announce_timeline(struct api *api, const char *name,
                           const struct store_revision *revision);
struct json_t;
void api_announce_take(struct api *api, const char *channel, const struct json_t *take,
                       const struct farm_took *took);
