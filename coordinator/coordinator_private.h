// Inside of the coordinator: coordinator.c, lead.c, channels.c, sources.c, upkeep.c.
#pragma once

#include "coordinator/coordinator.h"
#include "engine/base/liveness.h"
#include "engine/base/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>

struct coordinator {
    // -- constant after create
    struct coordinator_settings settings;
    char api_url[256]; // where others reach the API
    struct store *store;
    struct api *api;
    // -- owned by main
    bool migrated, has_led;
    uint64_t epoch;          // 0: does not lead
    uint64_t epoch_above;    // that nodes have seen
    uint32_t server_changes; // of the store, as dealt with
    int64_t present_ns;      // when the store was told last that this coordinator is here
    struct upkeep *upkeep;   // while it leads
    struct watchdog watchdog;
    struct liveness farm_mark, api_mark;
    // -- held around every change of a channel or a source, from the store to the farm
    pthread_mutex_t changing;
    // -- written by any thread, atomic
    _Atomic bool unapplied; // what the store has may not have reached the farm
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t farm_free;
    const char *waits_for;           // NULL: leads
    struct store_coordinator leader; // as known last; "": none
    struct farm_run *farm;           // NULL while it does not lead; set by main
    int farm_users;
    struct coordinator_view known; // as last read
};

// Whether the store did not answer: what was asked may have been done nevertheless.
bool store_failed(int error);

// ---- channels.c -------------------------------------------------------------------------------
// Before the farm runs: stored plans, then all channels.
int channels_load(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr);
// Tells the farm of all channels. False: the store did not answer; to be tried again.
bool channels_apply(struct coordinator *c);

// ---- sources.c --------------------------------------------------------------------------------
// As the store has them now, their secrets hidden. Gives a malloc'ed array.
int sources_read(struct coordinator *c, struct coordinator_source **ret, size_t *ret_count,
                 struct diagnostic *reterr);
// Tells the farm of all sources.
int sources_apply(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr);
// -EINVAL: this revision of a timeline names a source that there is not.
int sources_check(struct coordinator *c, const char *revision, struct diagnostic *reterr);

// ---- coordinator.c ----------------------------------------------------------------------------
// The farm, to be given back soon; NULL: this coordinator does not lead.
struct farm_run *farm_borrow(struct coordinator *c);
void farm_give(struct coordinator *c, const struct farm_run *farm); // accepts NULL
int timeline_load(struct coordinator *c, const char *sha256, struct timeline **ret,
                  struct diagnostic *reterr);

// ---- lead.c -----------------------------------------------------------------------------------
// Ends the farm, if there is one, and gives the lease up.
void lead_end(struct coordinator *c);

// ---- upkeep.c ---------------------------------------------------------------------------------
// What the store knows of nodes, and of coordinators; take the list.
void nodes_note(struct coordinator *c, struct store_node *nodes, size_t count);
void coordinators_note(struct coordinator *c, struct store_coordinator *list, size_t count);
int upkeep_create(struct coordinator *c, struct upkeep **ret);
void upkeep_destroy(struct upkeep **upkeep); // accepts NULL inside
