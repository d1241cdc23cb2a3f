// The processes that decode for this one, a child for each open file or live source
// (engine/decode). They are forked from a keeper, which has the libraries in memory already and
// sees nothing that strangers sent: a start takes a millisecond instead of the thirty of a
// program's. The keeper is started with the first child, ends with this process, and its children
// with it; one that has ended is started anew. Thread: any; a child belongs to one.
#pragma once

#include "engine/source/decode_order.h"

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct nursery_child {
    pid_t pid;
    int fd; // the channel; -1: there is none
    // -- private
    clockid_t clock;
    unsigned keeper;
    struct nursery_child *next;
};

// `fds`: of DECODE_FDS, borrowed; the channel's is made here, those from DECODE_MEDIA on may be -1.
// The child stays where it is until it is ended. Negative errno with words.
int nursery_start(const struct decode_order *order, const int fds[DECODE_FDS],
                  struct nursery_child *ret, struct diagnostic *reterr);
// Ends it if it has not ended. How it did, as waitpid says, and what it has used; -1: not known.
int nursery_end(struct nursery_child *child, int64_t *ret_cpu_ns);

int64_t nursery_child_cpu_ns(const struct nursery_child *child); // 0: not to be had
// Whether its main thread waits for an event, not for a disk or a processor, and is not stopped.
bool nursery_child_asleep(const struct nursery_child *child);
// Of all children so far.
int64_t nursery_cpu_ns(void);
// Ends the keeper and waits for it, as a program does at its end; all children have been ended.
void nursery_close(void);
