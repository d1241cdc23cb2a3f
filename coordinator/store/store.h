// The store: all that the coordinator keeps, in PostgreSQL. All SQL of the coordinator is in this
// folder, one function per query; there is no general query function outside.
//
// Thread: any; each call takes one of a few connections (the farm and the lease have their own) and
// blocks while the database works, at most four seconds: one to get a connection, three for the
// answer; the lease two. A lost connection is opened again by the next call; within a second after
// a failure calls fail at once. Opening needs no database.
//
// Every write is one transaction that begins with a look at the leader's lease, at ours by our own
// clock and at the database's row, so nothing is written by a coordinator that no longer leads, and
// no write is repeated by itself.
//
// Errors, always with a diagnostic for the user: -EIO the database cannot be reached (code
// "database_unsure": and it is unknown whether the change was made), -ETIMEDOUT it is busy or full,
// -EREMOTEIO it refused to work, -ENOENT, -EEXIST, -EINVAL (a constraint), -EBUSY (not possible as
// things are), -ESTALE this coordinator does not lead. `ret_json` texts are malloc'ed.
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
    const char *secret_key; // file with 64 hex digits: seals stream keys, sources and plans
    const char *holder;     // this run of this coordinator, for the lease; unique
};
int store_open(const struct store_config *config, struct store **ret, struct diagnostic *reterr);
void store_close(struct store **store);
// Applies the files NNNN_*.sql of `folder` that have not been applied, each in one transaction
// under a lock of the database. A file changed since it was applied is refused (-EINVAL). -EAGAIN:
// another coordinator is at it.
int store_migrate(struct store *store, const char *folder, struct diagnostic *reterr);

// Acquires or renews the leader's lease. 0: leads, with `*ret_epoch`; -EAGAIN: another holds it.
// Thread: one.
struct store_lease {
    int ttl_ms;
    uint64_t above;      // epochs up to this one are known to be used, whatever the database says
    const char *api_url; // where this coordinator answers
};
int store_lease(struct store *store, const struct store_lease *wanted, uint64_t *ret_epoch,
                struct diagnostic *reterr);
// Whether the lease is ours as far as our own clock can say (lease.h). Never asks the database.
bool store_leads(struct store *store);
// How often the lease was renewed at another server process than before: one that has restarted, or
// another primary, which may have lost what was committed last.
uint32_t store_server_changes(struct store *store);
// Gives the lease up, so that the next leader need not wait for it to expire.
void store_lease_release(struct store *store);

// ---- Coordinators (store_coordinators.c) ------------------------------------------------------
struct store_coordinator {
    char name[STORE_NAME_MAX + 1], api_url[256], version[32];
    int64_t age_ms; // since it was here last, by the database's clock; not read by put
};
// Who holds the lease: its name and address. -ENOENT: nobody, or it has expired.
int store_leader(struct store *store, struct store_coordinator *ret, struct diagnostic *reterr);
// That one is here. The only write that asks for no lease. Thread: the lease's.
int store_coordinator_put(struct store *store, const struct store_coordinator *coordinator,
                          struct diagnostic *reterr);
// Those of the last day, by name.
int store_coordinator_list(struct store *store, struct store_coordinator **ret, size_t *ret_count,
                           struct diagnostic *reterr);

// ---- Media (store_media.c) --------------------------------------------------------------------
int store_media_put(struct store *store, const char *sha256, const char *name, const char *facts,
                    struct diagnostic *reterr);
// 1, 0, or a negative errno.
int store_media_known(struct store *store, const char *sha256, struct diagnostic *reterr);
// What starting a file takes at its slowest place, as import measured it. -ENOENT: it is not known.
int store_media_start(struct store *store, const char *sha256, int64_t *ret_ms,
                      struct diagnostic *reterr);
// A worker's process has ended on a file. The same again changes nothing.
struct store_crash {
    const char *node, *sha256;
    uint64_t id;
    int64_t picture;
    uint32_t signal;
};
enum store_verdict { STORE_SUSPECT, STORE_POISONED, STORE_CLEARED }; // CLEARED: this crash
int store_media_crash(struct store *store, const struct store_crash *crash, enum store_verdict *ret,
                      struct diagnostic *reterr);
// Files that have ended workers twice, and nobody has cleared: nobody is to open them. malloc'ed.
struct store_poisoned {
    char sha256[65], name[128]; // name: as it was imported
    int64_t picture;            // of the first crash: a further one changes no plan
    bool hung;                  // that one was by CRASH_HUNG
};
int store_media_poisoned(struct store *store, struct store_poisoned **ret, size_t *ret_count,
                         struct diagnostic *reterr);
// All crashes of a file so far count no more. -ENOENT: there are none.
int store_media_clear(struct store *store, const char *sha256, struct diagnostic *reterr);
// With the crashes that count, and whether the file is poisoned.
int store_media_list(struct store *store, char **ret_json, struct diagnostic *reterr);
int store_media_get(struct store *store, const char *sha256, char **ret_json,
                    struct diagnostic *reterr);

// ---- Takes (store_takes.c) --------------------------------------------------------------------
struct store_take {
    uint64_t sequence;
    int64_t at_frame;
    const char *track, *text; // text: JSON
    uint64_t channel;         // filled by list; put is told it
};
// The same again changes nothing.
int store_take_put(struct store *store, uint64_t channel, const struct store_take *take,
                   struct diagnostic *reterr);
// Of all channels the newest of each track, by channel and sequence. For store_takes_free.
int store_take_list(struct store *store, struct store_take **ret, size_t *ret_count,
                    struct diagnostic *reterr);
void store_takes_free(struct store_take *takes, size_t count);

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
// What stands by for each group.
enum store_redundancy {
    STORE_WARM, // a worker whose decoders follow
    STORE_COLD, // one that opens its files when it is asked
    STORE_NONE,
    STORE_HOT, // one that makes every frame too
};
// "warm"; and back: -EINVAL for what is none.
const char *store_redundancy_name(enum store_redundancy redundancy);
int store_redundancy_parse(const char *name, enum store_redundancy *ret);

struct store_channel {
    uint64_t id;
    char name[STORE_NAME_MAX + 1];
    int width, height;
    struct rate rate;
    int64_t epoch_ns;
    // The fold of the log: what has been asked for.
    bool on_air;
    char revision[65]; // SHA-256
    char timeline[STORE_NAME_MAX + 1];
    int64_t number;           // of the revision
    uint64_t run;             // seq of the event that began the timeline; 0: none ever
    int64_t start_frame;      // where its frame 0 stands; -1 before the first plan of the run
    uint32_t last_plan_epoch; // highest ever used or reserved
    int64_t last_at_frame;    // of the newest commit ever
    char slate_timeline[STORE_NAME_MAX + 1],
        slate[65]; // name, and SHA-256 of its revision; "": none
    enum store_redundancy redundancy;
    int edges; // how many make each output, where there are so many: 1 or 2
};

int store_channel_create(struct store *store, const struct store_channel *channel, uint64_t *ret_id,
                         struct diagnostic *reterr);
// -EBUSY: it is on air.
int store_channel_delete(struct store *store, const char *name, uint64_t *ret_id,
                         struct diagnostic *reterr);
// Gives a malloc'ed array.
int store_channel_list(struct store *store, struct store_channel **ret, size_t *ret_count,
                       struct diagnostic *reterr);
int store_channel_get(struct store *store, const char *name, struct store_channel *ret,
                      struct diagnostic *reterr);

enum store_event {
    STORE_STARTED,
    STORE_STOPPED,
    STORE_REVISION, // of the timeline on air: it goes on
    STORE_TIMELINE, // another timeline, from its first frame
};
struct store_change {
    enum store_event kind; // STORE_REVISION for both of what is shown
    // Unless stopped: what to show.
    char timeline[STORE_NAME_MAX + 1], revision[65];
    int64_t number;
    int64_t at_frame; // stopped only: the first frame that is not emitted any more
};
// Appends to the channel's log, if the change is possible as things are: -EBUSY with code "on_air"
// or "not_on_air". What is so already is success and leaves no event.
int store_channel_change(struct store *store, const char *name, const struct store_change *change,
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
// -EBUSY, code "outputs_full": the channel has STORE_OUTPUTS_MAX.
#define STORE_OUTPUTS_MAX 7
int store_output_add(struct store *store, const struct store_output *output,
                     struct diagnostic *reterr);
// Its destinations go with it.
int store_output_remove(struct store *store, uint64_t channel, const char *name,
                        struct diagnostic *reterr);
// Gives a malloc'ed array, in the order in which they were added.
int store_output_list(struct store *store, uint64_t channel, struct store_output **ret,
                      size_t *ret_count, struct diagnostic *reterr);
// Of all channels, by channel.
int store_output_list_all(struct store *store, struct store_output **ret, size_t *ret_count,
                          struct diagnostic *reterr);
int store_channel_set_redundancy(struct store *store, uint64_t channel,
                                 enum store_redundancy redundancy, struct diagnostic *reterr);
int store_channel_set_edges(struct store *store, uint64_t channel, int edges,
                            struct diagnostic *reterr);
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
    char url[1024];        // without the key
    char backup_url[1024]; // the platform's second address, likewise; "": it has none
    char key[512];         // secret: filled by store_destination_list only, never shown
};
int store_destination_add(struct store *store, const struct store_destination *destination,
                          uint64_t *ret_id, struct diagnostic *reterr);
int store_destination_remove(struct store *store, uint64_t channel, const char *name,
                             struct diagnostic *reterr);
// Of one channel, with their keys.
int store_destination_list(struct store *store, uint64_t channel, struct store_destination **ret,
                           size_t *ret_count, struct diagnostic *reterr);
// Of all channels, by channel, without keys.
int store_destination_list_all(struct store *store, struct store_destination **ret,
                               size_t *ret_count, struct diagnostic *reterr);

// ---- Sources (store_sources.c) ----------------------------------------------------------------
// A live source: where pictures and sound come from.
struct store_source {
    uint64_t id; // not read by put
    char name[STORE_NAME_MAX + 1];
    char worker[STORE_NAME_MAX + 1]; // that takes it in; "": any
    // How it comes, JSON of engine/live/input.h; secret, malloc'ed. From list NULL where it does
    // not open with this secret key file.
    char *input;
    int64_t created_ms, changed_ms; // since 1970, by the database's clock; not read by put
};
// Creates it, or replaces the one of that name, which keeps its id.
int store_source_put(struct store *store, const struct store_source *source,
                     struct diagnostic *reterr);
int store_source_delete(struct store *store, const char *name, struct diagnostic *reterr);
// By name. For store_sources_free.
int store_source_list(struct store *store, struct store_source **ret, size_t *ret_count,
                      struct diagnostic *reterr);
void store_sources_free(struct store_source *sources, size_t count); // wipes them

// ---- Plans (store_plans.c) --------------------------------------------------------------------
// Makes sure that no plan epoch up to this one is ever used again.
int store_plan_reserve(struct store *store, uint64_t channel, uint32_t plan_epoch,
                       struct diagnostic *reterr);
struct store_commit {
    uint64_t channel;
    uint32_t plan_epoch;
    int64_t at_frame, start_frame;
    const char *revision; // SHA-256, 64 digits
    const uint8_t *bytes; // secret: holds link keys
    size_t size;
    bool restored;     // committed before: written again where it is lost, with its event
    uint32_t replaces; // a committed plan that never took effect; its event does so with this one
    bool without_optional; // the timeline's optional tracks are not shown
};
// Writes a committed plan, and into the log where the event that asked for it takes effect. The
// same again changes nothing. -ESTALE: this coordinator does not lead, or the channel has been
// stopped. Older plans of the channel than the one before it are dropped.
// A restored one that is known, or older than what is, changes nothing; with one that is not, the
// log says again what was on air from its frame on. Where optional tracks go or come, the log gets
// an event that says so; -ESTALE if it has changed meanwhile.
int store_plan_put(struct store *store, const struct store_commit *commit,
                   struct diagnostic *reterr);
// What is written, for others to keep who cannot read it; and back. malloc'ed. 0 or negative.
int store_plan_seal(struct store *store, uint64_t channel, uint32_t plan_epoch, const void *bytes,
                    size_t size, uint8_t **ret, size_t *ret_size);
int store_plan_unseal(struct store *store, uint64_t channel, uint32_t plan_epoch,
                      const void *sealed, size_t size, uint8_t **ret, size_t *ret_size);
struct store_plan {
    uint64_t channel;
    uint32_t plan_epoch;
    uint8_t *bytes; // malloc'ed
    size_t size;
};
// Gives a malloc'ed array, by channel and plan epoch; the caller frees each plan's bytes.
int store_plan_list(struct store *store, struct store_plan **ret, size_t *ret_count,
                    struct diagnostic *reterr);

// ---- Nodes (store_nodes.c) --------------------------------------------------------------------
struct store_node {
    char name[65], role[8], version[32], frame_address[256], preview_url[256];
    int64_t seen_ms; // since 1970, by the database's clock; not read by put
    bool draining;   // not read by put either
};
int store_node_drain(struct store *store, const char *name, bool draining,
                     struct diagnostic *reterr); // -ENOENT
int store_node_put(struct store *store, const struct store_node *node, struct diagnostic *reterr);
int store_node_list(struct store *store, struct store_node **ret, size_t *ret_count,
                    struct diagnostic *reterr);
