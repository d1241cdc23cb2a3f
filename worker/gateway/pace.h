// What a server gives as fast as it can (HTTP files, HLS segments) is let through at the pace of
// its own time stamps, so that it arrives like something live.
// Thread: pure, apart from the struct.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pace {
    bool started;
    int64_t ticks, at_ns; // this stamp was, or is, due then
};
// When a unit with this stamp (1/90000 s, modulo 2^33) is due: at once if that is past. A stamp
// that is far from those before, or a server that has fallen behind by seconds, begins anew.
int64_t pace_due_ns(struct pace *pace, int64_t ticks, int64_t now_ns);
