// A farm in a box for stories by hand: simulated nodes, a network that reorders, a store that
// answers late, and a stepped clock. Checks the invariants of farm.h on everything that passes.
// tests/sim is for what nobody thought of.
#pragma once

#include "coordinator/control/farm.h"

#include "tests/check.h"

#define SIM_NODES    6 // 0..3 workers, 4..5 edges
#define SIM_EDGE     4
#define SIM_CHANNELS 2
#define SIM_PLANS    4096 // ever seen
#define SIM_PACKETS  512
#define SIM_STEP_NS  INT64_C(10000000)
#define SIM_RATE     25
#define SIM_LEAD     50

struct sim_plan { // as a node has it
    uint64_t channel;
    uint32_t epoch;
    int64_t seen_ns, ready_ns;
    bool committed, refuses, without_optional;
    int64_t at_frame;
    bool listed;
    bool takes[SIM_EDGE]; // frames of which workers
};

struct sim_node {
    char name[16], address[24];
    bool edge, alive, deaf; // deaf: the network is cut, both ways
    uint64_t instance, sequence, state_epoch, state_version;
    int64_t report_ns;
    uint64_t crash;    // that it remembers, 0: none
    uint32_t overload; // what it has given up
    bool older;        // of a version that knows nothing of optional tracks
    struct sim_plan plans[8];
    int plan_count;
    uint32_t asked[SIM_CHANNELS];      // by a leader, of an edge
    bool gops_changed, gops_unplanned; // what an edge says of channel 0's GOPs, each of 2 s
    int64_t metered_ns;                // until then an edge says how loud channel 0 is
    // Of channel 0's output 1: who publishes, as it was told, and by which leader's which word.
    char publishers[2][PLANNER_NAME_BYTES];
    uint64_t publishers_leader, publishers_epoch;
    uint64_t prepared[SIM_CHANNELS][64]; // bit sets of epochs that it has reported as prepared
};

struct sim_packet {
    int64_t at_ns;
    int node;
    bool up;
    uint8_t *bytes;
    size_t size;
};

struct sim_row {
    uint64_t channel;
    uint32_t epoch;
    int64_t at_frame;
    uint8_t *bytes;
    size_t size;
};

struct sim_job { // a write on its way
    bool used, is_commit, restored, written;
    uint32_t replaces;
    int64_t at_ns;
    uint64_t channel;
    uint32_t epoch;
    int64_t at_frame;
    uint8_t *bytes;
    size_t size;
    int result;
};

struct sim_seen { // what a plan epoch is; must never be anything else
    uint64_t channel;
    uint32_t epoch;
    uint64_t core;    // checksum without committed and at_frame, as this node sees it
    int64_t at_frame; // once committed
    bool committed;
    int node;
};

// What all channels show.
#define SIM_CONTENT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct sim {
    uint64_t random;
    struct farm_time now;
    struct farm *farm;
    uint64_t leader_epoch;
    struct sim_node nodes[SIM_NODES];
    struct sim_packet packets[SIM_PACKETS];
    int packet_count;
    struct sim_row rows[SIM_PLANS];
    int row_count;
    struct sim_row kept[SIM_PLANS]; // what edges were given to keep
    int kept_count;
    struct sim_job jobs[16];
    uint32_t reserved[SIM_CHANNELS];
    bool running[SIM_CHANNELS];
    bool backup_edges; // of all channels
    uint8_t revision[SIM_CHANNELS];
    Vistter__Control__V1__Redundancy redundancy; // of all channels
    int64_t start_us;                            // of each of their tracks
    uint64_t run[SIM_CHANNELS];                  // of the timeline; 0 unless a test says otherwise
    int optional; // this track of all channels, counted from 1; 0: none
    int track_count[SIM_CHANNELS], cut_count[SIM_CHANNELS];
    struct sim_seen seen[SIM_PLANS];
    int seen_count;
    // Faults; refuse: per mille of plans.
    int delay_ms_max, refuse;
    int prepare_ms_max;
    int crashes;                     // of SIM_CONTENT that the store has
    bool poisoned;                   // what channels are told of it
    const struct timeline *timeline; // of all channels, for takes; NULL: not known
    bool fenced;                     // the leader's lease has run out
    int64_t clock_wrong_ns;          // of the coordinator's wall clock; edges have the right one
    int sent;                        // by the farm
    bool keeps;                      // edges keep committed plans; set before sim_restart
    int unreachable;                 // worker that edges cannot take frames from, -1: none
    double track_ms[PLANNER_TRACKS_MAX]; // what workers say channel 1's tracks cost; 0: nothing
};

void sim_create(struct sim *sim, uint64_t seed);
void sim_destroy(struct sim *sim);
void sim_run(struct sim *sim, int64_t ns);
// Tells the farm what a channel should be; revision 1..255 stands for a timeline.
void sim_channel(struct sim *sim, int channel, bool running, int revision, int tracks);
void sim_kill(struct sim *sim, int node);
void sim_start(struct sim *sim, int node);
// The coordinator dies without a word and another starts from the store.
void sim_restart(struct sim *sim);
// The store forgets the newest row of a channel, and that its epoch was reserved.
void sim_lose_commit(struct sim *sim, int channel);
// Is the channel on air everywhere with the wanted revision, and all its providers alive?
bool sim_on_air(const struct sim *sim, int channel);
const struct sim_plan *sim_active(const struct sim *sim, int node, int channel);
int64_t sim_cursor(const struct sim *sim);
int sim_random(struct sim *sim, int low, int high);
// The simulation's own checks are counted beside the test's: check.h counts per source file.
int sim_failures(void);
int sim_checks(void);
