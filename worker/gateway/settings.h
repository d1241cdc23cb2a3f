// What one gateway is told, as JSON on a descriptor: it holds secrets, which thereby reach no
// command line, no environment and no file.
//
//   {"source": "cam1", "folder": "/var/lib/vistter/live/cam1", "quarantined": false,
//    "input": {...}}
//
// input: as engine/live/input.h has it, but for "rtmp", whose senders the worker's RTMP server
// takes in (worker/rtmp.h): that is pulled, with "relay": true beside, since its senders come and
// go. quarantined: nothing is taken in, its log has a gap; false if it is not said.
#pragma once

#include "engine/live/input.h"

#include <stdbool.h>
#include <stddef.h>

struct gateway_settings {
    char source[65], folder[512];
    bool quarantined;
    struct live_input input; // secret
    bool relay;              // the server to pull from is always there, and waits for a sender
};

// Reads up to the end of the descriptor. -EINVAL names the member that is wrong, never its value.
int gateway_settings_read(int fd, struct gateway_settings *ret, struct diagnostic *reterr);
int gateway_settings_parse(const char *text, size_t size, struct gateway_settings *ret,
                           struct diagnostic *reterr);
