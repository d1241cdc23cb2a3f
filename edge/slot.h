// One plan of a channel with what it needs: links to the providers and standbys of its groups, the
// slates of its outputs, and, once it is committed, the intake of its frames.
//
// Thread: a slot belongs to the channel's control thread, which makes and frees it. Under the
// channel's lock it sets `intake` and changes `plan`; the mix thread reads them under that lock,
// and `armed` whenever it has seen an intake.
#pragma once

#include "edge/channel.h"
#include "edge/purity.h"
#include "edge/slate.h"

struct slot {
    struct plan *plan; // newest version of this epoch; changed under lock
    struct link *links[MIXER_GROUPS_MAX][TAKEOVER_PROVIDERS_MAX];
    struct slate *slates[PLAN_OUTPUTS_MAX]; // NULL: none
    struct purity *purity;                  // the channel's
    struct intake *intake;                  // once committed; set under lock
    struct plan *armed; // the version that became committed: what the mix thread follows
    int64_t from;       // the first frame that it is on air at here; set before `intake`
    bool listed;
};

// Connects to all providers; without slates yet. `purity` outlives the slot. Errors of
// links_acquire.
int slot_create(const struct plan *plan, struct links *links, struct purity *purity,
                struct slot **ret, struct diagnostic *reterr);
// Nobody uses it any more.
void slot_destroy(struct slot **slot, struct links *links);
// Sets `armed` to the plan, and gives an intake of its frames from `cursor` on, or from `from`,
// that asks for nothing yet. The caller makes it the slot's.
int slot_make_intake(struct slot *slot, struct links *links, int64_t cursor, size_t window_bytes,
                     struct intake **ret, struct diagnostic *reterr);
// Gives the address of one that keeps the edge from being ready (links_await).
bool slot_waits_for(const struct slot *slot, char *ret, size_t size);
// Whom group `index` is taken from; of a slot with an intake.
void slot_group(const struct slot *slot, int index, struct channel_group *ret);
