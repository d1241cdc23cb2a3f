// The control plane in a box: coordinators, workers, edges, a network and a database in one thread,
// with a virtual clock and seeded random numbers. What decides is the programs' own code; README.md
// says what stands in for the rest, which faults there are, and what is checked after every event.
//
// A run depends on its setup alone: no clock, no address, no thread and no global state takes part.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SIM_COORDINATORS_MAX 3
#define SIM_WORKERS_MAX      8
#define SIM_EDGES_MAX        3
#define SIM_CHANNELS_MAX     4
#define SIM_ACTIONS_MAX      64

// Peers of the network by number: coordinators, workers, edges, the database.
#define SIM_WORKER   SIM_COORDINATORS_MAX
#define SIM_EDGE     (SIM_WORKER + SIM_WORKERS_MAX)
#define SIM_DATABASE (SIM_EDGE + SIM_EDGES_MAX)
#define SIM_PEERS    (SIM_DATABASE + 1)

#define SIM_MS INT64_C(1000000)
#define SIM_S  INT64_C(1000000000)

enum sim_kind {
    SIM_KILL,       // peer a is killed and starts again after `for_ns`
    SIM_POWER,      // the same, and what was not synced is lost; `b`: the newest file is torn
    SIM_DARK,       // all nodes lose their power, and coordinators and database are away as well
    SIM_FREEZE,     // a stands still
    SIM_CUT,        // a is not heard by b
    SIM_PART,       // a is cut from everybody, both ways
    SIM_CLOG,       // what a sends to b waits
    SIM_STALL,      // the database answers nobody
    SIM_SLOW,       // each of its statements takes 2 s
    SIM_SESSIONS,   // its sessions are killed
    SIM_FAILOVER,   // a standby that lacks the last `a` commits takes over
    SIM_REFUSE,     // worker a refuses what it is to prepare
    SIM_SLUGGISH,   // a prepares slowly
    SIM_EDIT,       // channel a gets another revision
    SIM_TIMELINE,   // channel a gets another timeline, which begins
    SIM_START_STOP, // channel a, whichever it is
    SIM_DRAIN,      // worker a drains, and is resumed after `for_ns`
    SIM_KINDS
};

struct sim_action {
    int64_t at_ns, for_ns;
    enum sim_kind kind;
    int a, b;
};

// Faults planted into the world, to see that they are found.
enum sim_bug {
    SIM_BUG_NONE,
    SIM_BUG_UNFENCED,  // the database writes for any leader
    SIM_BUG_LOWER,     // nodes take states of lower leader epochs
    SIM_BUG_FORGETFUL, // reserved epochs are not remembered, nor told by nodes
    SIM_BUG_REUSED,    // a commit is written under the epoch before it
    SIM_BUG_EARLY,     // nodes are told at_frame one too low
    SIM_BUG_TORN,      // an edge takes a group from the plan before
    SIM_BUG_REPEAT,    // an edge sends a frame again now and then
    SIM_BUG_DEAF,      // a node that has been frozen hears no more states
    SIM_BUG_AMNESIA,   // workers remember nothing
    SIM_BUG_LONG,      // an edge's lease lasts from when it is renewed, not from what was heard
    SIM_BUGS
};
const char *sim_bug_name(enum sim_bug bug);

enum sim_profile {
    SIM_CHAOS,  // everything at once
    SIM_FAILS,  // also failovers of the database that lose commits
    SIM_LIGHTS, // the power goes everywhere; nodes are back long before coordinators and database
    SIM_APART,  // one worker at a time is in trouble, or two at once: no frame is lost
};

struct sim_setup {
    uint64_t seed;
    int coordinators, workers, edges, channels;
    int lose, repeat; // messages, per mille
    int delay_ms;     // of messages, at most
    bool buggify;     // rare failures and delays in the stand-ins
    enum sim_bug bug;
    enum sim_profile profile;
    int64_t chaos_ns;
    int action_count;
    struct sim_action actions[SIM_ACTIONS_MAX]; // by time
};

// What a seed stands for.
void sim_setup_make(uint64_t seed, enum sim_profile profile, struct sim_setup *ret);
void sim_setup_calm(struct sim_setup *setup); // a good network, nothing rare
// "12.345 s, for 3.2 s: kill worker2"
const char *sim_action_text(const struct sim_action *action, char *buffer, int size);

struct sim_result {
    uint64_t hash; // of everything that happened, in order
    uint64_t events, frames, commits, concealed;
    int64_t virtual_ns;
    int lit;         // channels found on air again after the power had gone
    int64_t heal_ns; // from the last fault until all was well
    char broken[4];  // "I3": what does not hold; "": all is well
    char text[400];  // in words
};

// `log`: what happens goes to standard error.
void sim_run(const struct sim_setup *setup, bool log, struct sim_result *ret);
// Makes a failing setup smaller, as long as the same does not hold.
void sim_shrink(struct sim_setup *setup, const char *broken);
