// What a node gives up when its processor does not keep up, and when it takes that up again: one
// thing after the other in a fixed order, in the reverse order back. Never the clock, never the
// sound. What is seen no node gives up by itself: all are to show the same (OVERLOAD_OVERLAYS).
// Pure; the caller says what time it is, and whether it keeps up. Thread: one at a time.
//
// Down fast: another thing after each OVERLOAD_DOWN_NS of being behind. Back slowly: after each
// OVERLOAD_UP_NS with room, in all since it was last behind: what is neither does not count and
// starts nothing anew. Whether there is room for a thing shows only once it is done again, so
// who is behind again within OVERLOAD_AGAIN_NS of taking one up waits twice as long the next time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVERLOAD_DOWN_NS   INT64_C(1000000000)
#define OVERLOAD_UP_NS     INT64_C(5000000000)
#define OVERLOAD_UP_MAX_NS INT64_C(80000000000)
#define OVERLOAD_AGAIN_NS  INT64_C(30000000000)

// At each level all those below are given up too. Nodes report the number.
enum overload_level {
    OVERLOAD_NONE,
    OVERLOAD_PREVIEWS, // of an edge: what is encoded for nobody else, and what viewers are sent
    OVERLOAD_SAMPLES,  // frames made by a standby too, to be compared
    OVERLOAD_COPIES,   // frames that a hot standby makes too; it follows like a warm one then
    OVERLOAD_OVERLAYS, // of a worker: it asks the leader for plans without optional tracks
    OVERLOAD_LEVELS
};

struct overload {
    bool has[OVERLOAD_LEVELS]; // what this program does at all; other levels are passed over
    // -- private
    enum overload_level level;
    bool behind, room;          // as last told
    int64_t behind_ns;          // since when, or since the last step; 0: not so
    int64_t room_ns, looked_ns; // how long there was room since then; when that was last told
    int64_t wait_ns, back_ns;   // before the next step back; when the last was. 0: none yet
};

// Neither behind nor with room: stays as it is. Returns the level from now on.
enum overload_level overload_step(struct overload *overload, bool behind, bool room,
                                  int64_t now_ns);
// "previews"; "" of OVERLOAD_NONE and of what is no level.
const char *overload_name(unsigned level);
// The alarm's words: what is given up, whether anything is left, `why` it does not keep up, and how
// to mend it.
void overload_text(const struct overload *overload, const char *why, char *ret, size_t size);
