// What became of the frames of a channel that two workers made and that were compared
// (engine/receive/standby.h). Counts them; of one that differs both pictures are kept as
// "<folder>/purity-<channel>-<k>-1.pgm" and "-2.pgm", k = 0 ... PURITY_KEPT - 1 in turn, the oldest
// giving way. Each is bit for bit what its worker sent, folded over black: luma, below it Cb and Cr
// side by side, as FFmpeg's pgmyuv has it; comments in the header say which frame, from whom.
//
// Own thread: writes the files. Thread: purity_note any, and does not wait; the rest: one at a
// time.
#pragma once

#include "engine/receive/intake.h"

#define PURITY_KEPT 8

struct purity;
// `folder` "": nothing is written. NULL when there is no thread.
struct purity *purity_create(uint64_t channel, const char *folder);
void purity_destroy(struct purity **purity); // accepts NULL inside
// `nodes`: names of sample->providers. While a pair is being written others are only counted.
void purity_note(struct purity *purity, uint32_t group, const char *const nodes[2],
                 const struct intake_sample *sample);

struct purity_counts {
    uint64_t sampled, mismatched;
    char alarm[240]; // the newest mismatch in words, "": none
};
void purity_read(struct purity *purity, struct purity_counts *ret);
