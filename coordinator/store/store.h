// The store: all that the coordinator keeps, in PostgreSQL. All SQL of the coordinator is in this
// folder, one function per query; there is no general query function outside.
//
// Thread: any; each call takes one of a few connections and blocks while the database works
// (bounded by statement_timeout). A lost connection is opened again by the next call. Errors: -EIO
// the database cannot be reached or refused to work, -ENOENT, -EEXIST, -EINVAL (a constraint),
// -ESTALE (the lease is lost: another coordinator leads); always with a diagnostic for the user.
// `ret_json` texts are malloc'ed.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_NAME_MAX 64

struct store;
struct store_config {
    const char *database;   // libpq connection string
    const char *secret_key; // file with 64 hex digits: seals stream keys and plans
    const char *holder;     // this run of this coordinator, for the lease; unique
};
int store_open(const struct store_config *config, struct store **ret, struct diagnostic *reterr);
void store_close(struct store **store);
// Applies the files NNNN_*.sql of `folder` that have not been applied, each in one transaction. A
// file changed since it was applied is refused.
int store_migrate(struct store *store, const char *folder, struct diagnostic *reterr);

// Acquires or renews the leader's lease for `ttl_ms`. 0: leads, with `*ret_epoch`; -EAGAIN: another
// holds it.
int store_lease(struct store *store, int ttl_ms, uint64_t *ret_epoch, struct diagnostic *reterr);

// Gives the lease up, so that the next leader need not wait for it to expire.
void store_lease_release(struct store *store, uint64_t epoch);

// ---- Media (store_media.c) --------------------------------------------------------------------
int store_media_put(struct store *store, const char *sha256, const char *name, const char *facts,
                    struct diagnostic *reterr);
bool store_media_known(struct store *store, const char *sha256);
int store_media_list(struct store *store, char **ret_json, struct diagnostic *reterr);
int store_media_get(struct store *store, const char *sha256, char **ret_json,
                    struct diagnostic *reterr);

// ---- Timelines (store_timelines.c) ------------------------------------------------------------
struct store_revision {
    int64_t number;
    char sha256[65];
};
// Adds a revision; the same bytes as the newest give that one again.
int store_timeline_put(struct store *store, const char *name, const char *bytes, size_t size,
                       const char *sha256, struct store_revision *ret, struct diagnostic *reterr);
int store_timeline_list(struct store *store, char **ret_json, struct diagnostic *reterr);
// number 0: the newest.
int store_timeline_get(struct store *store, const char *name, int64_t number,
                       struct store_revision *ret, char **ret_bytes, size_t *ret_size,
                       struct diagnostic *reterr);
int store_revision_get(struct store *store, const char *sha256, char **ret_bytes, size_t *ret_size,
                       struct diagnostic *reterr);

// ---- Channels (store_channels.c) --------------------------------------------------------------
struct store_channel {
    uint64_t id;
    char name[STORE_NAME_MAX + 1];
    int width, height;
    struct rate rate;
    int64_t epoch_ns;
    // The fold of the log: what is on air from `at_frame` on.
    bool on_air;
    char revision[65]; // SHA-256
    char timeline[STORE_NAME_MAX + 1];
    int64_t number;           // of the revision
    int64_t start_frame;      // where the timeline's frame 0 stands; < 0: where it takes effect
    uint32_t last_plan_epoch; // highest ever used or reserved
    int64_t last_at_frame;    // of the newest commit ever
    char slate_timeline[STORE_NAME_MAX + 1],
        slate[65]; // name, and SHA-256 of its revision; "": none
};
enum store_event { STORE_STARTED, STORE_STOPPED, STORE_REVISION };

int store_channel_create(struct store *store, const struct store_channel *channel, uint64_t *ret_id,
                         struct diagnostic *reterr);
int store_channel_delete(struct store *store, const char *name, struct diagnostic *reterr);
// Gives a malloc'ed array.
int store_channel_list(struct store *store, struct store_channel **ret, size_t *ret_count,
                       struct diagnostic *reterr);
int store_channel_get(struct store *store, const char *name, struct store_channel *ret,
                      struct diagnostic *reterr);
// Appends to the channel's log. For started and revision: the revision put on air, and for started
// its start_frame.
int store_event_append(struct store *store, uint64_t channel, enum store_event kind,
                       int64_t at_frame, const struct store_channel *state,
                       struct diagnostic *reterr);
int store_event_list(struct store *store, uint64_t channel, char **ret_json,
                     struct diagnostic *reterr);

// ---- Outputs and slates (store_outputs.c) -----------------------------------------------------
// What a channel makes beside its programme.
struct store_output {
    uint64_t id, channel;
    char name[STORE_NAME_MAX + 1];
    int width, height;
    int tracks; // the lowest so many; 0: all
};
int store_output_add(struct store *store, const struct store_output *output, uint64_t *ret_id,
                     struct diagnostic *reterr);
// Its destinations go with it.
int store_output_remove(struct store *store, uint64_t channel, const char *name,
                        struct diagnostic *reterr);
// Gives a malloc'ed array, in the order in which they were added.
int store_output_list(struct store *store, uint64_t channel, struct store_output **ret,
                      size_t *ret_count, struct diagnostic *reterr);
// "" and "": none.
int store_channel_set_slate(struct store *store, uint64_t channel, const char *timeline,
                            const char *sha256, struct diagnostic *reterr);

// ---- Destinations (store_destinations.c) ------------------------------------------------------
enum store_destination_kind { STORE_RTMP, STORE_RECORDING, STORE_PREVIEW };
struct store_destination {
    uint64_t id, channel;
    uint64_t output; // id of the output that goes there; 0: the programme
    char name[STORE_NAME_MAX + 1];
    enum store_destination_kind kind;
    char url[1024]; // without the key
    char key[512];  // secret: filled by store_destination_list only, never shown
};
int store_destination_add(struct store *store, const struct store_destination *destination,
                          uint64_t *ret_id, struct diagnostic *reterr);
int store_destination_remove(struct store *store, uint64_t channel, const char *name,
                             struct diagnostic *reterr);
int store_destination_list(struct store *store, uint64_t channel, struct store_destination **ret,
                           size_t *ret_count, struct diagnostic *reterr);

// ---- Plans and nodes (store_plans.c) ----------------------------------------------------------
// Makes sure that no plan epoch up to this one is ever used again.
int store_plan_reserve(struct store *store, uint64_t channel, uint32_t plan_epoch,
                       struct diagnostic *reterr);
// Writes a committed plan, if this coordinator still leads with `epoch`. Older plans of the channel
// than the one before it are dropped.
int store_plan_put(struct store *store, uint64_t epoch, uint64_t channel, uint32_t plan_epoch,
                   int64_t at_frame, const uint8_t *bytes, size_t size, struct diagnostic *reterr);
struct store_plan {
    uint64_t channel;
    uint32_t plan_epoch;
    uint8_t *bytes; // malloc'ed
    size_t size;
};
// Gives a malloc'ed array, by channel and plan epoch; the caller frees each plan's bytes.
int store_plan_list(struct store *store, struct store_plan **ret, size_t *ret_count,
                    struct diagnostic *reterr);
int store_node_seen(struct store *store, const char *name, const char *role, const char *facts,
                    struct diagnostic *reterr);
