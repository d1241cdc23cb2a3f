// What people and programs put on live tracks, by REST and over the WebSocket alike. Thread: any.
#pragma once

#include "coordinator/coordinator.h"

#include <jansson.h>

// Puts `take` (its members as POST /channels/{channel}/takes has them) into the channel's log, and
// tells all WebSockets. 0, or negative with a diagnostic.
int command_take(struct coordinator *coordinator, const char *channel, const json_t *take,
                 struct farm_took *ret, struct diagnostic *reterr);

#define COMMAND_MAX 4096 // bytes of a command

// A command as a client of the WebSocket has sent it, and the text to answer: malloc'ed, NULL for
// want of memory.
//     {"type": "take", "id": 7, "channel": "demo", "track": "programme", "clip": "wide"}
//     {"type": "taken", "id": 7, "sequence": 12, "at_frame": 5710}
//     {"type": "refused", "id": 7, "code": "live_unknown_clip", "path": "clip", "detail": "..."}
// `id` is what the client likes, and comes back. `text` NULL: it was longer than COMMAND_MAX.
char *command_answer(struct coordinator *coordinator, const char *text, size_t size);
