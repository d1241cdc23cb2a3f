// Inside of the coordinator: coordinator.c, channels.c, upkeep.c.
#pragma once

#include "coordinator/coordinator.h"
#include "engine/base/liveness.h"
#include "engine/base/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>

struct coordinator {
    // -- constant after create
    struct coordinator_settings settings;
    struct store *store;
    struct api *api;
    struct upkeep *upkeep; // constant once it leads
    // -- owned by main
    bool migrated;
    uint64_t epoch; // 0: does not lead
    struct watchdog watchdog;
    struct liveness farm_mark, api_mark;
    // -- held around every change of a channel, from the store to the farm
    pthread_mutex_t changing;
    // -- written by any thread, atomic
    _Atomic bool unapplied; // what the store has may not have reached the farm
    // -- guarded by lock
    pthread_mutex_t lock;
    const char *waits_for;         // NULL: leads
    struct farm_run *farm;         // NULL until it leads, then constant
    struct coordinator_view known; // as last read
};

// ---- channels.c -------------------------------------------------------------------------------
// Before the farm runs: stored plans, then all channels.
int channels_load(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr);
// Tells the farm of all channels. False: the store did not answer; to be tried again.
bool channels_apply(struct coordinator *c);

// ---- coordinator.c ----------------------------------------------------------------------------
struct farm_run *coordinator_farm(struct coordinator *c);
int timeline_load(struct coordinator *c, const char *sha256, struct timeline **ret,
                  struct diagnostic *reterr);

// ---- upkeep.c ---------------------------------------------------------------------------------
// What the store knows of nodes; takes the list.
void nodes_note(struct coordinator *c, struct store_node *nodes, size_t count);
int upkeep_create(struct coordinator *c, struct upkeep **ret);
void upkeep_destroy(struct upkeep **upkeep); // accepts NULL inside
