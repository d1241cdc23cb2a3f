// A child that decodes (nursery.h), seen from the program that it decodes for: the memory that both
// have, what it says, whether it gets on, and what it is to be blamed for at its end.
//
// The memory begins with the child's board and ends with slots for pictures. Who has taken over a
// child may go on changing pictures; nothing that reads them takes sizes or places from samples.
// Thread: a child belongs to one thread; its pictures to whoever holds them.
#pragma once

#include "engine/base/hang.h"
#include "engine/source/nursery.h"

// In place of an error: the child is to be buried. It has ended, does not get on, or says what no
// decoder of ours would.
enum { CHILD_ENDS = 1, CHILD_HANGS, CHILD_LIES };

struct decode_slots;
struct decode_child {
    struct nursery_child process; // fd -1: there is none
    int memory;                   // descriptor; -1: there is none
    const hang_board *board;
    struct decode_slots *slots; // NULL: none made yet
    _Atomic bool stopped;       // nobody wants what it makes. Thread: any
    int64_t ended_ns;           // processor time of the children before
};

// Makes the memory with the board. `path` is for words.
int decode_child_init(struct decode_child *child, const char *path, struct diagnostic *reterr);
// Ends what runs. Pictures that somebody holds stay.
void decode_child_finish(struct decode_child *child);
// Slots of `slot_bytes` each from `at` on. From then on the memory keeps its size: no child can
// take away what is read here. Negative errno.
int decode_child_make_slots(struct decode_child *child, size_t at, size_t slot_bytes, int count);

// `fds` as in nursery_start; what is made here is filled in.
int decode_child_start(struct decode_child *child, const struct decode_order *order,
                       int fds[DECODE_FDS], struct diagnostic *reterr);
// All of it, or what is to be done with the child; -ECANCELED: nobody wants it any more.
int decode_child_write(struct decode_child *child, const void *bytes, size_t size);
int decode_child_read(struct decode_child *child, void *ret, size_t size);
// Cuts off what it says in words where there is room for no more.
void decode_child_trim(struct diagnostic *words);
// How it did, as waitpid says; -1: not known.
int decode_child_end(struct decode_child *child);
// Ends it for `why`. What it is to be blamed for: a signal, CRASH_HUNG; 0: it was killed from
// outside.
int decode_child_bury(struct decode_child *child, int why);
// Of all its processes so far.
int64_t decode_child_cpu_ns(const struct decode_child *child);

// A slot that nobody has. Gives how many there are besides.
int decode_child_slot(struct decode_child *child, int32_t *ret);
// The picture that it has put there; a copy where `last`, the only slot. NULL without memory.
struct picture *decode_child_picture(struct decode_child *child, int32_t slot,
                                     enum picture_format format, int width, int height, bool last);
