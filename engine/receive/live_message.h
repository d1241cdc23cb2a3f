// The takes of a channel, from what its nodes are told. Thread: any; pure.
#pragma once

#include "engine/timeline/takes.h"
#include "proto/control.pb-c.h"

// A new reference; NULL: there are none. What is out of order is left out. `known` (may be NULL):
// what the node knew before; of that, what the leader does not know and nobody has written is kept:
// the leader hears of it by reports. `*ret_stored` (may be NULL): up to which takes are written.
struct take_log *live_message_read(const Vistter__Control__V1__DesiredState *state,
                                   uint64_t channel, const struct take_log *known,
                                   uint64_t *ret_stored);
