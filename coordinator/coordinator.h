// The coordinator: joins the store (what should be), the farm (what is), and the API (people).
//
// Life: the API answers at once, with 503 until a coordinator leads; the database is waited for,
// then brought up to date, then the leader's lease. Who has it leads: the farm runs, with an epoch
// of its own. The others follow: they forward requests to the leader, and wait. Who loses the lease
// follows again; nothing on air is touched by that.
//
// Thread map
// clang-format off
//   main        starts and stops; holds the leader's lease; gives signs of life while farm and API move
//   farm        (control/farm_run) plans, desired states
//   farm-store  (control/farm_run) writes commits through the store
//   control     (engine/link) receives reports
//   upkeep      notes nodes in the store; brings to the farm what could not be when it was changed
//   civetweb-N  API requests and WebSockets, one per connection; block in the store, never in the farm
//   live        snapshots once a second, for all WebSockets
//   meters      asks for levels twenty times a second, for WebSockets that watch some
// clang-format on
//
// Locks: coordinator.changing is held around every change of a channel or a source, from the store
// to the farm, so that what the farm was told last is what the store says; coordinator.lock guards
// the small tables of what was known last. The store, the farm and the live hub have leaf locks of
// their own.
#pragma once

#include "coordinator/control/farm_run.h"
#include "coordinator/store/store.h"
#include "engine/live/input.h"

struct timeline;

struct coordinator_settings {
    const char *name, *database, *secret_key, *cluster_key, *migrations, *media, *media_url;
    const char *http_listen, *control_listen;
    const char *api_url;    // where other coordinators reach the API; "": as http_listen says
    const char *http_names; // under which people and nodes reach the API, with commas
    const char *cuts; // tracks at which every channel's z-order is cut; "": the planner chooses
    int64_t upload_bytes_max;
    bool migrate_only;
};

struct coordinator;
int coordinator_create(const struct coordinator_settings *settings, struct coordinator **ret,
                       struct diagnostic *reterr);
void coordinator_destroy(struct coordinator **coordinator);
// Waits for the database and the lease, leads, renews the lease, and follows when it is lost, until
// `stop_fd` becomes readable: 0. Others: what cannot mend itself, before it has ever led.
int coordinator_run(struct coordinator *coordinator, int stop_fd, struct diagnostic *reterr);
// Only brings the database up to date.
int coordinator_migrate(const struct coordinator_settings *settings, struct diagnostic *reterr);

// ---- For the API ------------------------------------------------------------------------------
const struct coordinator_settings *coordinator_settings(const struct coordinator *coordinator);
struct store *coordinator_store(struct coordinator *coordinator);
// Who leads. `here`: this coordinator; everything below is for then.
struct coordinator_leader {
    bool here;
    char name[STORE_NAME_MAX + 1], api_url[256]; // "" and "": none is known
    const char *waits_for;                       // what this one waits for, in words; NULL: leads
};
void coordinator_leader(struct coordinator *coordinator, struct coordinator_leader *ret);

// A live source, without its secrets.
struct coordinator_source {
    char name[STORE_NAME_MAX + 1];
    char worker[STORE_NAME_MAX + 1]; // "": any
    bool opens; // false: sealed with another secret key, or saved by a newer version: no input
    struct live_input input;        // live_input_hide
    int64_t created_ms, changed_ms; // since 1970
};

// All channels with all destinations (without keys), sources, and nodes that have ever been there.
struct coordinator_view {
    struct store_channel *channels;
    struct store_output *outputs;           // by channel
    struct store_destination *destinations; // by channel
    struct coordinator_source *sources;     // by name
    struct store_node *nodes;
    struct store_coordinator *coordinators;
    size_t channel_count, output_count, destination_count, source_count, node_count,
        coordinator_count;
};
// As the store has it now: 0; while it does not answer, as it was known last: negative errno.
// Filled in any case.
int coordinator_view(struct coordinator *coordinator, struct coordinator_view *ret,
                     struct diagnostic *reterr);
void coordinator_view_finish(struct coordinator_view *view);
// The nodes and coordinators of a view only, without asking the store.
void coordinator_view_nodes(struct coordinator *coordinator, struct coordinator_view *ret);
// Of nothing, when it leads no more.
struct farm_snapshot *coordinator_snapshot(struct coordinator *coordinator);
// See farm_read_meters; nothing, when it leads no more.
void coordinator_read_meters(struct coordinator *coordinator, struct farm_meters *list, int count);

// Validates a timeline as nodes will see it: nested ones by content, all media and fonts known to
// the store. Tells its length in frames and its number of tracks (may be NULL).
int coordinator_check_timeline(struct coordinator *coordinator, const char *bytes, size_t size,
                               int64_t *ret_duration, int *ret_tracks, struct diagnostic *reterr);
// Tells all WebSockets of a new revision.
void coordinator_announce_timeline(struct coordinator *coordinator, const char *name,
                                   const struct store_revision *revision);

// And of a take: {"type": "broadcast:take", "channel", "sequence", "at_frame", "take"}.
struct json_t;
void coordinator_announce_take(struct coordinator *coordinator, const char *channel,
                               const struct json_t *take, const struct farm_took *took);

// ---- Changes (channels.c) ---------------------------------------------------------------------
// Each writes to the store and then tells the farm how the channel is, whether the write succeeded
// or not: what is there counts. One change at a time.
int coordinator_create_channel(struct coordinator *coordinator, const struct store_channel *channel,
                               struct diagnostic *reterr);
int coordinator_delete_channel(struct coordinator *coordinator, const char *name,
                               struct diagnostic *reterr);
// `change`: its at_frame is filled in here.
int coordinator_change_channel(struct coordinator *coordinator, const struct store_channel *channel,
                               const struct store_change *change, struct diagnostic *reterr);
// Puts something on a live track (farm_take); the store is not asked.
int coordinator_take(struct coordinator *coordinator, const char *channel, const char *take,
                     struct farm_took *ret, struct diagnostic *reterr);
int coordinator_add_output(struct coordinator *coordinator, const struct store_channel *channel,
                           const struct store_output *output, struct diagnostic *reterr);
int coordinator_remove_output(struct coordinator *coordinator, const struct store_channel *channel,
                              const char *name, struct diagnostic *reterr);
// "" and "": none.
// A worker gives its work to others and gets none, or may have some again. -ENOENT, -EEXIST (an
// edge).
int coordinator_drain_node(struct coordinator *coordinator, const char *node, bool draining,
                           struct diagnostic *reterr);
// What a file has done to workers counts no more: they may open it again. -ENOENT: it has done
// nothing.
int coordinator_clear_media(struct coordinator *coordinator, const char *sha256,
                            struct diagnostic *reterr);
int coordinator_set_redundancy(struct coordinator *coordinator, const struct store_channel *channel,
                               enum store_redundancy redundancy, struct diagnostic *reterr);
int coordinator_set_edges(struct coordinator *coordinator, const struct store_channel *channel,
                          int edges, struct diagnostic *reterr);
int coordinator_set_slate(struct coordinator *coordinator, const struct store_channel *channel,
                          const char *timeline, const char *revision, struct diagnostic *reterr);
int coordinator_add_destination(struct coordinator *coordinator,
                                const struct store_channel *channel,
                                const struct store_destination *destination,
                                struct diagnostic *reterr);
int coordinator_remove_destination(struct coordinator *coordinator,
                                   const struct store_channel *channel, const char *name,
                                   struct diagnostic *reterr);

// ---- Sources (sources.c) ----------------------------------------------------------------------
// `source`: its input has been parsed (live_input_parse).
int coordinator_put_source(struct coordinator *coordinator, const struct store_source *source,
                           struct diagnostic *reterr);
int coordinator_delete_source(struct coordinator *coordinator, const char *name,
                              struct diagnostic *reterr);
