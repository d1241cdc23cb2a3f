// What is asked of the provider that would be asked next (takeover_next) while a group comes from
// the active one. A further one is asked for nothing: it is cold until it is the next.
//   1. one frame in STANDBY_SAMPLE_FRAMES, to be compared: who takes them has both, and they must
//   be
//      the same bits. Which one, channel and group say (standby_sampled). It is asked for as soon
//      as the active one has delivered it, and only while all is calm: never when little is
//      buffered or while the group changes providers. It is a spare copy: a worker that is short of
//      time makes none.
//   2. where it is to be hot, all that is asked of the active one, as spare copies. Whichever copy
//      comes first is taken; of the second ones, which are there for nothing, a key is compared
//      whenever none is being compared: instead of 1.
//   3. where it is to be warm, to be ready to begin with the first frame that has not arrived: it
//   is
//      told its number each STANDBY_TELL_NS, by a want without credit (stage.h says what it does).
// Pure; the caller locks and says what time it is. Thread: one at a time.
#pragma once

#include "engine/compose/group.h"
#include "engine/link/frame_link.h"

#include <stdatomic.h>

#define STANDBY_SAMPLE_FRAMES 300
#define STANDBY_TELL_NS       INT64_C(250000000)

// Both copies of a sampled frame, on their way to be compared.
struct standby_pair {
    int64_t frame;
    struct group_frame *own; // the one that is mixed
    int32_t *own_stem;       // malloc'ed
    struct frame_body *body; // the other one; always a key
    int provider;            // of the body
};
void standby_pair_finish(struct standby_pair *pair);

struct standby {
    // -- constant after init
    uint64_t channel;
    uint32_t group, plan_epoch;
    bool warm;
    atomic_uint *starts; // gives the numbers for frame_want.start
    // -- private
    uint32_t start;
    int64_t next;             // to be sampled, the lowest that has not been asked for
    bool asked;               // for pair.frame
    struct standby_pair pair; // frame -1: nothing is being sampled
    bool tells;               // a want of ours is in force there
    int64_t told, told_ns;    // the position last told
};

struct standby_view {
    bool alive, calm;
    int64_t cursor, frontier; // frontier: the first frame that has not arrived
};

// The first frame from `from` on that is sampled.
int64_t standby_sampled(uint64_t channel, uint32_t group, int64_t from);

void standby_init(struct standby *s, uint64_t channel, uint32_t group, uint32_t plan_epoch,
                  bool warm, int64_t cursor, atomic_uint *starts);
void standby_finish(struct standby *s);
// Another one is the standby now: what was asked of the one before is forgotten.
void standby_changed(struct standby *s);
// What to tell it now. False: nothing new.
bool standby_want(struct standby *s, const struct standby_view *view, int64_t now_ns,
                  struct frame_want *ret);
// A message that it has sent, of the right geometry. Takes the body and returns true when that is
// the frame that was asked for.
bool standby_put(struct standby *s, const struct frame_header *header, struct frame_body *body,
                 int provider);
// A second copy of a frame that is here and will be decoded. As standby_put, if it can be compared.
bool standby_copy(struct standby *s, const struct frame_header *header, struct frame_body *body,
                  int provider);
// A pair that will not be complete any more is let go.
void standby_expire(struct standby *s, int64_t cursor);
// Whether the active provider's copy of frame `n` is needed; it is then given by standby_own, which
// takes the reference and the malloc'ed stem.
bool standby_needs(const struct standby *s, int64_t n);
void standby_own(struct standby *s, struct group_frame *frame, int32_t *stem);
// Gives both copies once they are here; the caller finishes the pair.
bool standby_take(struct standby *s, struct standby_pair *ret);
