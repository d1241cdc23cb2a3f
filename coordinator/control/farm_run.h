// The farm at work: a thread that ticks every 50 ms and on reports, with the control server that
// nodes dial, and another for what the store is asked, so that a slow database delays plans and
// nothing else.
//
// Use: farm_run_create, farm_run_load for each stored plan, farm_run_set_channel for each channel,
// farm_run_start; later farm_run_set_channel on every change. Destroy joins the threads.
//
// Threads: "farm" (tick, sends), "farm-store" (reserve, commit, crash), the link's own (reports are
// posted to the farm).
#pragma once

#include "coordinator/control/farm.h"
#include "engine/link/control_link.h"

struct farm_run;

struct farm_run_config {
    const char *listen; // "host:port" for nodes
    uint8_t cluster_key[CLUSTER_KEY_BYTES];
    uint64_t leader_epoch;
    const char *media_url;
    void *opaque;
    // Whether the leader's lease lets us act, now. Thread: farm; must not block. May be NULL:
    // always.
    bool (*leads)(void *opaque);
    // Thread: farm-store; may block (bounded, please: a few seconds). See farm.h for what results
    // mean.
    int (*reserve)(void *opaque, uint64_t channel, uint32_t plan_epoch); // may be NULL
    int (*commit)(void *opaque, const struct farm_commit *commit);
    // Writes what a worker has ended on, and says what is to be thought of that file. May be NULL.
    int (*crash)(void *opaque, const struct farm_crash *crash, enum farm_verdict *ret);
    // Writes a take, once however often. May be NULL.
    int (*take)(void *opaque, uint64_t channel, const struct farm_take *take);
    // See farm.h. Thread: any; must not block.
    int (*seal)(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *plan, size_t size,
                uint8_t **ret, size_t *ret_size);
    int (*unseal)(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *sealed,
                  size_t size, uint8_t **ret, size_t *ret_size);
    uint32_t epoch_gap;
};

int farm_run_create(const struct farm_run_config *config, struct farm_run **ret,
                    struct diagnostic *reterr);
int farm_run_start(struct farm_run *run, struct diagnostic *reterr);
void farm_run_destroy(struct farm_run **run);

// As the functions of farm.h. Thread: any.
int farm_run_load(struct farm_run *run, const void *plan, size_t size, struct diagnostic *reterr);
int farm_run_set_channel(struct farm_run *run, const struct farm_channel *channel,
                         struct diagnostic *reterr);
void farm_run_remove_channel(struct farm_run *run, uint64_t channel);
void farm_run_set_draining(struct farm_run *run, const char *node, bool draining);
void farm_run_load_take(struct farm_run *run, uint64_t channel, const struct farm_take *take);
// -ESTALE also when the lease has run out.
int farm_run_take(struct farm_run *run, const char *channel, const char *take,
                  struct farm_took *ret, struct diagnostic *reterr);
// Moves with every tick and every write: while it stands still, the farm's thread does.
uint64_t farm_run_turns(const struct farm_run *run);
int farm_run_set_sources(struct farm_run *run, const struct farm_source *sources, size_t count);
void farm_run_clear_asset(struct farm_run *run, const char *content);
void farm_run_recommit(struct farm_run *run);
uint64_t farm_run_deposed(struct farm_run *run);
void farm_run_read_meters(struct farm_run *run, struct farm_meters *list, int count);
struct farm_snapshot *farm_run_snapshot(struct farm_run *run);
