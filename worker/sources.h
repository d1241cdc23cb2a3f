// The live sources of a worker: a gateway for each that it is home to, a copy of the home's log for
// each that it follows, all in one folder of logs, and an RTMP server (worker/rtmp.h) while any is
// sent to it. As the newest desired state has them.
// Thread: main.
#pragma once

#include "engine/base/diagnostic.h"
#include "proto/control.pb-c.h"

#define SOURCES_MAX 256

struct sources;
struct sources_config {
    const char *folder; // of the logs; is made
    const char *node;   // this worker's name
    int latency_ms;     // of links to other workers
    const char *rtmp_folder, *rtmp_listen;
};
int sources_create(const struct sources_config *config, struct sources **ret,
                   struct diagnostic *reterr);
// Ends what the state does not name any more, and begins what it names.
void sources_follow(struct sources *sources, const Vistter__Control__V1__DesiredState *state);
// What goes on by itself: gateways that have ended are started again, what could not begin is tried
// again. Every 100 ms or so; does not wait.
void sources_step(struct sources *sources, int64_t now_ns);
// For a report; valid until the next call. Gives how many.
size_t sources_report(struct sources *sources, Vistter__Control__V1__SourceReport ***ret);
// In words, for a minute: a log here went on apart from its home, and has been given up for the
// home's. NULL: none has. Valid until the next call.
const char *sources_forked(const struct sources *sources, int64_t now_ns);
void sources_destroy(struct sources **sources); // accepts NULL inside
