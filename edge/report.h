// The edge's report to the coordinators: what is on air, at what cost, with which troubles.
// Thread: the control thread.
#pragma once

#include "edge/load.h"
#include "edge/state.h"
#include "engine/link/control_link.h"

struct report_context {
    const char *preview_url;
    struct outlet *preview; // may be NULL
    struct relay *relay;
    const struct load *load;
};

// Builds a report from what the channels say now and sends it. Returns control_client_report's
// result.
int report_send(struct control_client *client, struct state *state,
                const struct report_context *context);
