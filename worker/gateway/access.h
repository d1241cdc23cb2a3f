// Whether an SRT caller may publish here, by its stream id in the access-control syntax of libsrt's
// docs/features/access-control.md: "#!::r=cam1,m=publish,u=anna". Pure; called on a thread of
// libsrt's, which must not wait.
#pragma once

#include <stdbool.h>

struct access_rule {
    const char *resource; // that it must name
    const char *user;     // NULL: anybody
    bool occupied;        // somebody publishes, and nobody may take his place
};
// 0, or libsrt's reason (srt/access_control.h) to refuse. An id in no such syntax is a resource, as
// hardware sends it. Ids travel in clear: they say who is meant, the passphrase proves it.
int access_check(const struct access_rule *rule, const char *stream_id);
// In words, for the operator; of libsrt's own reasons too.
const char *access_reason(int reason);
