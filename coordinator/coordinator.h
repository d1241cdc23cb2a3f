// The coordinator: joins the store (what should be), the farm (what is), and the API (people).
//
// Thread map
//   main          starts and stops; holds the leader's lease
//   farm          (control/farm_run) plans, desired states; writes commits through the store
//   control       (engine/link) receives reports
//   civetweb-N    API requests, one per connection; block in the store, never in the farm
//   live          snapshots once a second, for all WebSockets
//   live-N        one per WebSocket: sends from its bounded queue
// Locks: coordinator.lock guards the small table of what is on air; the store, the farm and the
// live hub have leaf locks of their own.
#pragma once

#include "coordinator/control/farm_run.h"
#include "coordinator/store/store.h"

struct timeline;

struct coordinator_settings {
    const char *name, *database, *secret_key, *cluster_key, *migrations, *media, *media_url;
    const char *http_listen, *control_listen;
    const char *cuts; // tracks at which every channel's z-order is cut; "": the planner chooses
    int64_t upload_bytes_max;
    bool migrate_only;
};

struct coordinator;
// Waits for the leader's lease, if another coordinator holds it, until `stop_fd` becomes readable.
int coordinator_create(const struct coordinator_settings *settings, int stop_fd,
                       struct coordinator **ret, struct diagnostic *reterr);
void coordinator_destroy(struct coordinator **coordinator);
// Renews the lease until `stop_fd` becomes readable or the lease is lost.
void coordinator_run(struct coordinator *coordinator, int stop_fd);

// ---- For the API ------------------------------------------------------------------------------
const struct coordinator_settings *coordinator_settings(const struct coordinator *coordinator);
struct store *coordinator_store(struct coordinator *coordinator);
// All channels as the store has them now; while it cannot be reached, as it had them last. False:
// the latter. Gives a malloc'ed array.
bool coordinator_channels(struct coordinator *coordinator, struct store_channel **ret,
                          size_t *ret_count);
struct farm_snapshot *coordinator_snapshot(struct coordinator *coordinator);
// Validates a timeline as nodes will see it: nested ones by content, all media and fonts known to
// the store. Tells its length in frames and its number of tracks (may be NULL).
int coordinator_check_timeline(struct coordinator *coordinator, const char *bytes, size_t size,
                               int64_t *ret_duration, int *ret_tracks, struct diagnostic *reterr);
// Tells the farm how a channel should be now. Call after every change of it in the store.
int coordinator_apply_channel(struct coordinator *coordinator, const char *name,
                              struct diagnostic *reterr);
void coordinator_forget_channel(struct coordinator *coordinator, uint64_t channel);
// Channel frame where the timeline on air began; -1 while nothing of the channel is committed.
int64_t coordinator_start_frame(struct coordinator *coordinator, uint64_t channel);
// Tells all WebSockets of a new revision.
void coordinator_announce_timeline(struct coordinator *coordinator, const char *name,
                                   const struct store_revision *revision);
