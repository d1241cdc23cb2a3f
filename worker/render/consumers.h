// Who takes a stage's frames: the newest wish of each, how far it has been served, and what follows
// from all of them together. Pure but for the time at which something was sent again. The stage
// guards it by its lock.
#pragma once

#include "engine/link/frame_link.h"
#include "worker/render/loans.h"

#define CONSUMERS_MAX                                                                              \
    19 // two edges for each of eight outputs, and the three workers of a group above

// A frame to be sent once more, and when that was done; 0: not yet. Kept for a while, so that the
// same wish, repeated, is not answered twice.
struct again {
    int64_t frame, sent_ns;
};

// One consumer's wished state and how far it has been served.
struct consumer {
    struct frame_peer *peer; // NULL: free slot
    uint32_t start;
    int64_t from, credit, next;
    int64_t first; // where serving began, and
    int64_t key;   // the key below it that was sent too
    int again_count;
    struct again again[FRAME_WANT_MISSING_MAX];
    bool shares; // it is on this host, and reads blocks
    bool spare;  // another one makes the same frames for it
    struct loans loans;
};

struct consumers {
    uint64_t host;     // 0: memory is not shared
    int64_t repeat_ns; // a frame that was sent again is not sent again to that peer for so long
    struct consumer list[CONSUMERS_MAX];
};

// NULL: it has no slot.
struct consumer *consumers_find(struct consumers *consumers, const struct frame_peer *peer);
void consumers_note(struct consumers *consumers, struct frame_peer *peer,
                    const struct frame_want *want); // dropped when there is no slot
void consumer_clear(struct consumer *consumer);
void consumers_clear(struct consumers *consumers);
// Frames from `frame` on are to be sent again: they are other ones now.
void consumers_rewind(struct consumers *consumers, int64_t frame);
// Whether there are any, and all of them read blocks.
bool consumers_all_share(const struct consumers *consumers);
// Whether one that takes frames ahead of time, and not as a spare copy, has used up more than half
// of those: whoever renders for it is short of time.
bool consumers_wait(const struct consumers *consumers);
// How much of the frames that it takes ahead of time the worst served of those has, 0..1; 1: there
// is none.
// `begun`: only those that have had a frame, since a start takes its time on an idle processor too.
double consumers_share(const struct consumers *consumers, bool begun);
// Whether somebody may have spare copies now. `*ret_any`: whether anybody takes such at all. A
// single one is a sample, and counts for neither.
bool consumers_spare(const struct consumers *consumers, bool *ret_any);
// Leaves out the spare copies that might be made now; or samples only.
void consumers_skip_spare(struct consumers *consumers, bool samples_only);
// The frame from which on some would take frames if need be, when nobody takes any now; -1: none.
// `skipped`: copies are being left out, who would take them takes none.
int64_t consumers_stand_at(const struct consumers *consumers, bool skipped);
