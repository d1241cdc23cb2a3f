// Which picture of a live source stands at a frame of a channel: one rule, the same on every node
// that has the log, whatever it has shown before.
//
// Frame n is taken from the source's time t = epoch + frame time + half a frame - delay: the middle
// of what it covers, so that pictures of a source whose clock is another are at most half a frame
// early or late, beside sound that is neither. It shows the picture with the greatest chan_ns <= t;
// so a source that is too slow repeats, one that is too fast drops, and where, is the same for all.
// From a gap on, until there is another picture, the one before it is held for `hold_ns` after its
// chan_ns, then the source is lost. Before the log is done up to t nothing can be said.
//
// Thread: pure.
#pragma once

#include "engine/base/rate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum show_state {
    SHOW_NOT_YET, // the log is not done up to there
    SHOW_NOTHING, // no picture has come yet
    SHOW_LIVE,
    SHOW_HELD,
    SHOW_LOST, // what it would hold is older than that
};

// Of a log: pictures, or gaps (`until_ns` > chan_ns); by rising chan_ns.
struct show_entry {
    int64_t chan_ns, until_ns; // until: of gaps; 0: a picture
    uint64_t seq;
};

struct show {
    enum show_state state;
    size_t entry; // of LIVE and HELD: the picture's place
};

int64_t show_time_ns(struct rate rate, int64_t epoch_ns, int64_t n, int64_t delay_ns);
struct show show_at(const struct show_entry *entries, size_t count, int64_t done_ns, int64_t t_ns,
                    int64_t hold_ns);
