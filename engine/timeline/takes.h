// Live tracks: a channel's log of takes, made ready for one timeline revision.
//
// A take puts one clip of a live track on air from a frame on, or takes off what is there:
//     {"track": "programme", "clip": "wide", "transition": {"kind": "push", "duration": 25}}
// Track is the track's name, clip the id of one of its clips (null: nothing, so that what lies
// beneath is seen), transition as in a timeline, in frames of the timeline's rate; without one it
// is a cut. The clip starts at its beginning where it is taken, and stands until the next take of
// its track; a take during a transition ends that transition first. With "manual": true the
// transition goes as a fader says instead of by time, from 0 on, and is over for good at 1:
//     {"track": "programme", "fader": 0.4}
//
// Purity: what frame n shows follows from the takes with at_frame <= n, of those from the last two
// of each track and the last two positions of its fader. A log that is shorter, or from which older
// ones have been left out, gives the same. takes_mark names that part of a log, so that frames made
// of a log that was too short can be told.
//
// Thread: logs and takes are immutable; create from one thread, use on any.
#pragma once

#include "engine/timeline/timeline.h"

#define TAKES_MAX      512  // of one channel that nodes keep in mind
#define TAKE_BYTES_MAX 2048 // bytes of JSON

// A take in the channel's log. Both numbers rise from one to the next; at_frame may stay the same.
struct take_event {
    uint64_t sequence;
    int64_t at_frame; // of the channel
    const char *take; // JSON
};

// The log itself, with its own copies. NULL is the empty one everywhere below.
struct take_log {
    _Atomic int references;
    size_t count; // <= TAKES_MAX
    struct take_event events[];
};
struct take_log *take_log_create(const struct take_event *events, size_t count);
struct take_log *take_log_ref(const struct take_log *log);
void take_log_unref(struct take_log **log); // accepts NULL inside
bool take_log_equal(const struct take_log *a, const struct take_log *b);
// What frame `n` of the channel follows from: 0 with no take, else another for other takes.
uint64_t takes_mark(const struct take_log *log, int64_t n);
// The revision that frame `n` shows: that of its timeline, with the mark mixed in. 8 bytes each.
void takes_revision(const struct take_log *log, int64_t n, const uint8_t timeline[8],
                    uint8_t ret[8]);

struct take_facts {
    int track;    // index
    bool manual;  // a fader goes through its transition
    bool fades;   // it is a position of the fader:
    double fader; // 0..1
};
// Checks a take against the timeline that is on air. `ret` may be NULL. -EINVAL with a path inside
// the take.
int take_check(const struct timeline *timeline, const char *take, struct take_facts *ret,
               struct diagnostic *reterr);

// The name of the track that a take names, malloc'ed, whatever timeline it is for; NULL: it is
// none. `ret` (may be NULL) gets all but the track's index.
char *take_track(const char *take, struct take_facts *ret);

// The log for a timeline whose frame 0 stands at channel frame `start_frame`. Takes of tracks or
// clips that this revision does not have count as "nothing" there. Those that `before` (may be
// NULL) has too keep their clips. Takes a reference to the timeline.
struct takes *takes_create(const struct timeline *timeline, struct rate rate, int64_t start_frame,
                           const struct take_log *log, const struct takes *before);
struct takes *takes_ref(const struct takes *live);
void takes_unref(struct takes **live); // accepts NULL inside
// Whether one of its takes shows with this clip (clips of takes are copies of the track's).
bool takes_hold(const struct takes *live, const struct clip *clip);
