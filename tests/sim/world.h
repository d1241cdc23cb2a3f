// Inside of the simulation: the world and its parts.
#pragma once

#include "coordinator/store/lease.h"
#include "engine/link/state_file.h"
#include "tests/sim/sim.h"

#include <stddef.h>

#define RATE_NUM     25
#define LEAD_FRAMES  50
#define PLAYOUT_NS   (1600 * SIM_MS)
#define TRACKS_MAX   6
#define COMMITS_MAX  512 // of a channel
#define SEEN_MAX     1024
#define PREPARED_MAX 64
#define SESSIONS     (SIM_COORDINATORS_MAX * 3)
#define LEASE_TTL_NS FARM_LEASE_NS

enum event_kind {
    EVENT_ACTION,   // a: index
    EVENT_RESTART,  // of process `to`
    EVENT_REPORT,   // a node's timer
    EVENT_MESSAGE,  // a report or a state
    EVENT_TICK,     // of a coordinator's farm
    EVENT_LEASE,    // a coordinator's main loop
    EVENT_UPKEEP,   // a coordinator's second
    EVENT_DEADLINE, // of a request; a: its id, b: lane
    EVENT_QUERY,    // at the database
    EVENT_ANSWER,   // back at the coordinator
    EVENT_IDLE,     // a: transaction that may have been left open
    EVENT_LOOK,     // at an edge's intakes
    EVENT_FRAME,    // a: channel, b: its serial
    EVENT_SYNC,     // a node's disk
    EVENT_USER,     // a: action that waits for a leader
    EVENT_DARK,     // whether nodes that have been off do what they did
    EVENT_POLL,     // whether all is well
};

struct event {
    int64_t at_ns;
    uint64_t order; // of events of one instant
    enum event_kind kind;
    int from, to;
    uint32_t life;         // of process `to`; 0: any
    uint64_t a, b, leader; // leader: a state's leader epoch as it was sent
    void *bytes;           // owned
    size_t size;
};

struct process {
    bool exists, alive;
    uint32_t life; // counts starts
    uint64_t instance, sequence;
    int64_t frozen_ns;                     // until then
    int64_t thawed_ns;                     // the end of the newest freeze
    int64_t base_ns, offset_ns, drift_ppb; // of its clocks
    int64_t refuse_ns, sluggish_ns;        // until then
    char name[16], address[24];
};

// ---- The database -----------------------------------------------------------------------------

struct blob { // a plan's bytes; shared, constant
    int references;
    size_t size;
    uint8_t bytes[];
};

struct plan_row {
    uint32_t epoch;
    int64_t at_frame;
    struct blob *plan;
};

struct channel_row {
    bool running;
    uint32_t revision;
    uint64_t run;
    int64_t start_frame; // of the run; FARM_START_AT_SWITCH: not committed yet
    int64_t stop_frame;  // of the newest stop
    int tracks, outputs;
    bool backup_edges, single_address;
    uint32_t last_epoch;
    int64_t last_at_frame;
    int plan_count;
    struct plan_row plans[2]; // by epoch
};

struct tables {
    uint64_t lease_holder, lease_epoch;
    int64_t lease_expires_ns;
    struct channel_row channels[SIM_CHANNELS_MAX];
    bool draining[SIM_WORKERS_MAX];
};

enum request_kind { REQUEST_LEASE, REQUEST_LOAD, REQUEST_RESERVE, REQUEST_COMMIT, REQUEST_CHANGE };
enum lane { LANE_LEASE, LANE_FARM, LANE_API, LANES };

struct request {
    uint64_t id;
    enum lane lane;
    enum request_kind kind;
    bool commits;    // second step of a transaction
    uint64_t holder; // leases, and of the transaction
    uint64_t epoch;
    int channel;
    uint32_t plan_epoch;
    int64_t at_frame, start_frame;
    struct blob *plan;
    bool restored;
    uint32_t replaces, revision;
    uint64_t above; // of a lease: its epoch is to be
    int action;     // of a change
    bool ends;      // the second half of a drain
};

struct answer {
    uint64_t id;
    enum lane lane;
    int result;
    bool open;             // the transaction waits for its commit
    uint64_t epoch;        // of the lease
    int server;            // that has given it
    struct tables *tables; // a copy; for a load
};

struct session { // a transaction that is open
    bool open;
    uint64_t id;
    int coordinator;
    uint32_t life;
};

struct database {
    struct tables now, past[2]; // past[0]: before the newest commit
    struct session sessions[SESSIONS];
    int64_t stalled_ns, slow_ns; // until then
    int server;                  // rises with failovers
};

// ---- Coordinators -----------------------------------------------------------------------------

struct farm;
struct coordinator {
    struct farm *farm; // NULL: does not lead
    uint64_t holder, epoch, epoch_above;
    struct lease lease;
    int64_t asked_ns;     // for the lease, by its own clock
    int server;           // of the database, when it began to lead or wrote all again
    int64_t tick_ns;      // when it last ticked
    bool tick_soon, busy; // busy: its store's thread waits for the database
    bool changing, unapplied;
    struct request lanes[LANES]; // id 0: free
    int job_count;
    struct request jobs[2 * SIM_CHANNELS_MAX];
};

// ---- What is known to be true -----------------------------------------------------------------

struct commit {
    uint32_t epoch, revision;
    int64_t at_frame;
    int64_t known_ns; // when the leader learnt of it; 0: not yet
    bool late;        // then
    uint64_t leader;  // that has written it
    bool heard;       // by an edge
    bool lost;        // with the database's primary
    bool edges[SIM_EDGES_MAX];
};

struct seen { // a plan epoch
    uint64_t channel, core;
    uint32_t epoch;
};

struct aired { // of one channel by one edge, over all its lives
    int64_t n, at_ns;
    uint32_t epoch;       // 0: none, or its disk has lost it
    int64_t concealed_ns; // when a group was last missing
};

struct duties;
struct state;
struct links { // stands for the programs' links; tells a stand-in where it is
    struct world *world;
    int peer;
};

struct state_file {
    struct world *world;
    int peer;
};

struct disk {
    struct blob *generations[2]; // NULL: not there, or torn
    struct blob *waiting;
};

struct prepared {
    uint32_t epoch, group;
};

struct world {
    const struct sim_setup *setup;
    struct sim_result *result;
    bool log, peace;
    int64_t now_ns;
    uint64_t order, random, serial;
    int event_count, event_size;
    struct event *events; // a heap
    struct process processes[SIM_PEERS];
    int64_t cut_ns[SIM_PEERS][SIM_PEERS], clog_ns[SIM_PEERS][SIM_PEERS];
    struct database database;
    struct coordinator coordinators[SIM_COORDINATORS_MAX];
    struct links links[SIM_PEERS];
    struct duties *workers[SIM_WORKERS_MAX];
    struct state *edges[SIM_EDGES_MAX];
    struct state_file files[SIM_PEERS];
    struct disk disks[SIM_PEERS];
    // -- for the checks
    int commit_count[SIM_CHANNELS_MAX];
    struct commit commits[SIM_CHANNELS_MAX][COMMITS_MAX];
    int seen_count;
    struct seen seen[SEEN_MAX];
    // Epochs and groups (of an edge: 0) as reported, a ring.
    struct prepared prepared[SIM_PEERS][SIM_CHANNELS_MAX][PREPARED_MAX];
    int prepared_count[SIM_PEERS][SIM_CHANNELS_MAX];
    struct aired aired[SIM_EDGES_MAX][SIM_CHANNELS_MAX];
    uint32_t dark[SIM_EDGES_MAX][SIM_CHANNELS_MAX]; // on air when the power went, 0: nothing
    uint64_t accepted[SIM_PEERS]; // highest leader epoch of a state, in this life or on its disk
    int64_t reached_ns[SIM_EDGES_MAX]; // since when the leader and the edge hear each other
    int reached_by[SIM_EDGES_MAX];
    int64_t peace_ns;
    int well; // polls in a row that found all well
};

// ---- world.c ----------------------------------------------------------------------------------

uint64_t world_random(struct world *w);
int64_t world_between(struct world *w, int64_t low, int64_t high);
bool world_chance(struct world *w, int per_mille); // never in peace
bool world_buggify(struct world *w, int per_mille);
void world_add(struct world *w, const struct event *event); // takes the bytes
void world_after(struct world *w, int64_t ns, enum event_kind kind, int to, uint64_t a, uint64_t b);
int64_t world_monotonic_ns(const struct world *w, int peer);
int64_t world_realtime_ns(const struct world *w, int peer);
// When the clock of `peer` will be there.
int64_t world_when_ns(const struct world *w, int peer, int64_t monotonic_ns);
bool world_runs(const struct world *w, int peer);          // alive and not frozen
bool world_hears(const struct world *w, int from, int to); // neither cut nor clogged
void world_send(struct world *w, int from, int to, uint64_t leader, uint8_t *bytes, size_t size);
void world_say(const struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void world_note(struct world *w, uint64_t value); // into the hash
void world_kill(struct world *w, int peer, int64_t for_ns);

struct blob *blob_make(const void *bytes, size_t size);
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob **blob);

// ---- database.c -------------------------------------------------------------------------------

void database_start(struct world *w);
void database_query(struct world *w, const struct event *event);
void database_idle(struct world *w, uint64_t id);
void database_sessions_kill(struct world *w, int coordinator); // -1: all
void database_failover(struct world *w, int commits);
void tables_copy(const struct tables *from, struct tables *ret);
void tables_finish(struct tables *tables);
void database_finish(struct world *w);

// ---- coordinator.c ----------------------------------------------------------------------------

void coordinator_start(struct world *w, int c);
void coordinator_end(struct world *w, int c);
void coordinator_event(struct world *w, const struct event *event);
// Whether a leader has taken it up; else it is to be asked again.
bool coordinator_change(struct world *w, int action, bool ends);
// All is well with the farm, as the leader tells it.
bool coordinator_well(struct world *w, int channel);

// ---- disk.c -----------------------------------------------------------------------------------

void disk_sync(struct world *w, int peer);
void disk_lose(struct world *w, int peer, bool newest); // what waits; `newest`: that file is torn
void disk_finish(struct world *w, int peer);

// ---- worker.c, edge.c -------------------------------------------------------------------------

void worker_start(struct world *w, int peer);
void worker_end(struct world *w, int peer);
void worker_event(struct world *w, const struct event *event);
// Whether it serves a link with this key, and whether it has that group ready.
bool worker_serves(struct world *w, int peer, const char *consumer, const char *link_id,
                   const uint8_t *key);
bool worker_gives(struct world *w, int peer, uint64_t channel, uint32_t epoch, uint32_t group);

void edge_start(struct world *w, int peer);
void edge_end(struct world *w, int peer);
void edge_event(struct world *w, const struct event *event);
// Whether it lives and holds the lease of an output's first or second addresses.
bool edge_publishes(const struct world *w, int peer, uint64_t channel, uint32_t output, int which);

// ---- check.c ----------------------------------------------------------------------------------

void check_broken(struct world *w, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// A worker says that it has prepared a group of a plan, or an edge (group 0) the plan.
void check_prepared(struct world *w, int peer, uint64_t channel, uint32_t epoch, uint32_t group);
// I3, I4, I7: a plan is written, or written again. `epoch`: under which.
void check_commit(struct world *w, const struct request *request, uint32_t epoch);
// A commit is not in the database any more.
void check_lost(struct world *w, int channel, int64_t last_at_frame);
void check_known(struct world *w, int channel, uint32_t epoch);
// I3, I4, I6, I8: a node has taken a state.
void check_state(struct world *w, int peer, uint64_t leader, const uint8_t *bytes, size_t size);
// I1, I2, I5, I6. `epochs`: under which each group was rendered.
struct emission {
    int edge, channel;
    int64_t n;
    uint32_t epoch, revision;
    int64_t at_frame;
    bool follows; // nothing has held the edge up since the frame before
    bool concealed;
    int group_count;
    uint32_t groups[64];
};
void check_emission(struct world *w, const struct emission *emission);
// I9: an edge has heard of leases.
void check_leases(struct world *w);
void check_reach(struct world *w);
// The power goes, and coordinators and database with it; and whether all is on air again.
void check_darkens(struct world *w);
void check_dark(struct world *w);
void check_poll(struct world *w);
