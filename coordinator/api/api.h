// The API: REST and WebSocket under /api/v1, and the first page, by civetweb.
//
// No document root, no listing, no CGI, no CORS. Every error is application/problem+json.
#pragma once

#include "coordinator/coordinator.h"

struct api;
int api_create(struct coordinator *coordinator, struct api **ret, struct diagnostic *reterr);
void api_destroy(struct api **api);
void api_announce_timeline(struct api *api, const char *name,
                           const struct store_revision *revision);
