// Whether this edge keeps up, and what it gives up while it does not (engine/base/overload.h).
//
// Behind: pictures wait for an encoder beyond what its lanes explain, group frames are here and not
// decoded when they are due, or frames leave late. Frames that have not come are no sign of it:
// they are a worker's or a link's. Thread: the control thread.
#pragma once

#include "edge/channel.h"
#include "engine/base/overload.h"

enum load_sign { LOAD_ROOM, LOAD_NEITHER, LOAD_BEHIND };
// Of one channel, over the last tenth of a second. Pure.
enum load_sign load_of(const struct channel_pressure *pressure);

struct load {
    struct overload overload;
    struct outlet *preview; // may be NULL
    struct channel_pressure worst;
};

void load_init(struct load *load, struct outlet *preview);
// Ten times a second: looks at all channels, and tells them and the preview what is given up. Says
// each step in the log.
void load_tend(struct load *load, struct channel *const *channels, int count, int64_t now_ns);
// The alarm's words; "" while nothing is given up.
void load_text(const struct load *load, char *ret, size_t size);
