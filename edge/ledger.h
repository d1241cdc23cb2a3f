// The as-run ledger of a channel on this edge: every frame that went out otherwise than the
// timeline says, or not at all, in runs of equal frames. One JSON line per run:
//
//   {"channel":1,"output":1,"from":900,"to":903,"plan_epoch":2,"group":2,"step":"hold"}
//
// `from` and `to` are both included; `step` is hold, fallback, slate (mixer.h), skipped, or
// without_optional: whole, under a plan that leaves optional tracks out; `group` is the one that
// was worst off, 0 for the last two. A frame that no line covers went out as the timeline says. The
// file is kept below LEDGER_BYTES_MAX; what was before is in "<path>.1".
//
// Thread: ledger_note, ledger_skipped: the mix thread, and never wait for the disk; the rest: the
// control thread.
#pragma once

#include "edge/mix/desk.h"

#define LEDGER_BYTES_MAX (16 << 20)

struct ledger;
// `path` "": runs are logged but written nowhere.
struct ledger *ledger_create(uint64_t channel, const char *path);
void ledger_destroy(struct ledger **ledger); // writes what is left
void ledger_note(struct ledger *ledger, const struct plan *plan, int64_t n,
                 const struct desk_result *result);
void ledger_skipped(struct ledger *ledger, const struct plan *plan, int64_t from, int64_t to);
// Writes the runs that have ended. 0, or why the file cannot be written (said once in the log).
int ledger_write(struct ledger *ledger);
