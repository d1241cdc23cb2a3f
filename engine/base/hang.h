// Whether a process that works on a file does not get on any more: a decoder may go round in
// circles over damaged or hostile input, or wait for what never comes. Pure; the caller says what
// it has used and what time it is. What is allowed is a limit on each step, not on a picture: to be
// at a picture may take a whole group of pictures, and that is many steps.
//
// Processor time is what counts, since an endless loop uses it up, and a slow disk, a busy machine
// or a stopped process do not. Of what has been used between two looks no more than HANG_LOOK_NS
// counts, for machines that stand still as a whole and call that use. The limits, beside
// HANG_PIXEL_NS for each pixel (JPEG 2000, the slowest, takes about that on slow processors):
//
//   HANG_DECODES  0.25 s a packet is decoded, a picture converted: 1 to 20 ms at 1080p, and who
//                        shows it at 25 frames a second has 40. With its pixels 0.46 s at 1080p
//   HANG_READS    2 s    a packet is read: microseconds, or as long as it takes to go on in a
//                        damaged file
//   HANG_STARTS   5 s    a file is opened or positioned. Headers of long films, files without an
//                        index that are searched; 0.1 s otherwise. Opening decodes a first picture:
//                        18 s for a file of one, which may be as large as import takes them
//
// Who waits for good uses none. Decoding waits for no disk; so it counts as hung there too
// when its main thread is asleep whenever somebody looks, which neither a page that is read nor a
// thread that is due is, and has used less than a hundredth of the time, for HANG_STILL_NS and its
// pixels' part. That leaves room for decoders that wait for threads of their own.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define HANG_LOOK_NS  INT64_C(100000000)
#define HANG_PIXEL_NS INT64_C(100)
#define HANG_STILL_NS INT64_C(500000000)

enum hang_kind { HANG_STARTS, HANG_READS, HANG_DECODES };

struct hang_step {
    uint64_t number; // another step has another one
    enum hang_kind kind;
    uint32_t pixels; // of the picture that it makes
};

struct hang_watch { // zeroed for who begins
    uint64_t number;
    int64_t looked_ns, cpu_ns; // at the last look
    int64_t used_ns;           // of processor time, in this step
    int64_t still_ns;          // how long it has been asleep
};

struct hang_sight {
    int64_t cpu_ns; // its processor time so far
    bool asleep;    // waits for an event, not for a disk or a processor, and is not stopped
};

// Who works writes what it does into a number that the watcher reads. Thread: any, but one works.
typedef _Atomic uint64_t hang_board; // where it may be NULL, nobody watches
void hang_step_begin(hang_board *board, enum hang_kind kind, int64_t pixels);
struct hang_step hang_step_read(const hang_board *board);

// To be called each 100 ms or so.
bool hang_look(struct hang_watch *watch, const struct hang_step *step,
               const struct hang_sight *sight, int64_t now_ns);
