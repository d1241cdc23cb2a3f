// Whom to ask for a group: its provider, or another when that one fails. Whoever needs the frames
// judges by what reaches it, so no coordinator is asked: frames are the same bits from everybody,
// and asking two costs work, never correctness. Pure: the caller says what time it is.
//
// Turns to the next one that shows life, before others to one that has not failed lately, when the
// one that is asked
//   1. shows no life any more, or not yet after TAKEOVER_START_NS,
//   2. sends nothing that is asked for, for as long as a quarter of what is buffered lasts, at
//   least
//      max(4 frames, 150 ms) and no longer than 1 s; a newly asked one gets TAKEOVER_START_NS
//      more, for opening files, and links' latency counts on top until frames flow,
//   3. is too slow: less than half of the lead is buffered, and no more than half a second before.
//      Not to one that 1, 2 or 3 was said of within TAKEOVER_AGAIN_NS: if all are slow, turning to
//      and fro makes it worse.
//   4. has not been heard at all for a moment (FRAME_HUSH_MS), though it has brought frames since
//   it
//      was asked, while more are asked for and the other one is heard. It is lost in most cases,
//      and if not, another has done its work for nothing: so no more than once within
//      TAKEOVER_AGAIN_NS, and never to one of which it was said.
//
// Who takes frames without a clock, as fast as they come, buffers nothing: for it the limit of 2 is
// half a second, and 3 says nothing.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TAKEOVER_PROVIDERS_MAX 3 // a provider and two standbys
#define TAKEOVER_START_NS      INT64_C(1000000000)
#define TAKEOVER_AGAIN_NS      INT64_C(10000000000)

enum takeover_reason {
    TAKEOVER_NONE,
    TAKEOVER_GONE,
    TAKEOVER_SILENT,
    TAKEOVER_SLOW,
    TAKEOVER_HUSHED
};
const char *takeover_reason_name(enum takeover_reason reason);

struct takeover {
    int count, active;  // providers, and which is asked
    int second;         // who would be asked next, as of the last look; -1: nobody yet
    int64_t frame_ns;   // how long a frame lasts
    int64_t latency_ns; // of a question and its answer
    int lead_frames;    // asked for ahead of a clock; 0: there is no clock
    uint32_t takeovers; // how often it has turned
    // -- private
    bool met;         // the active one has shown life
    int64_t since_ns; // when it became so; 0: not looked yet
    uint64_t arrived;
    int64_t asked_ns; // since when the active one has been asked without an answer; 0: is not
    int64_t heard_ns; // when it last answered; 0: not yet
    int64_t trend_ns, trend_frames;            // what was buffered half a second ago
    int64_t slow_ns[TAKEOVER_PROVIDERS_MAX];   // when 3 was last said of each; 0: never
    int64_t failed_ns[TAKEOVER_PROVIDERS_MAX]; // 1 or 2
    int64_t hushed_ns[TAKEOVER_PROVIDERS_MAX]; // 4
};

// Lost: not connected, or its provider has given no sign of life for FRAME_QUIET_MS. Hushed:
// nothing at all has come for FRAME_HUSH_MS.
enum link_life { LINK_LOST, LINK_HUSHED, LINK_LIVES };

struct takeover_view {
    bool alive[TAKEOVER_PROVIDERS_MAX];  // connected, and heard of
    bool hushed[TAKEOVER_PROVIDERS_MAX]; // but not in the last moment
    uint64_t arrived;                    // frames so far, from anybody
    int64_t slack;                       // frames buffered without a hole
    bool waits;                          // for frames that are asked for
};

void takeover_init(struct takeover *t, int count, int64_t frame_ns, int64_t latency_ns,
                   int lead_frames);
// Whom it would turn to now if the active one failed; -1: nobody else that may be asked shows life.
int takeover_next(const struct takeover *t, const struct takeover_view *view, int64_t now_ns);
// To be called each 20 ms or so. Says why `active` has changed, or TAKEOVER_NONE.
enum takeover_reason takeover_look(struct takeover *t, const struct takeover_view *view,
                                   int64_t now_ns);
