// A channel on this edge: its plans, its mix thread, its outputs.
//
// The mix thread sends frame after frame on the frame clock. For frame n it takes the plan in force
// at n, waits for that plan's groups until n is due and no longer, mixes each output, and gives the
// frames to the encoders at the due time. It waits for nobody else: everything behind it has a
// queue that refuses. Threads: channel_* are called by the control thread.
#pragma once

#include "edge/meter/meters.h"
#include "edge/outputs.h"
#include "edge/purity.h"
#include "engine/base/overload.h"
#include "engine/receive/links.h"

#define CHANNEL_PLANS_MAX 3

struct channel_config {
    uint64_t channel;
    struct links *links;
    struct media_cache *cache; // for slates
    struct outputs_config outputs;
    size_t window_bytes; // frames held ahead, per plan
    // Not empty: checksums of every mixed frame; outputs other than the programme go to a file of
    // this name with a dot and the output's name after it.
    const char *hash_file;
    struct watch_settings watch;
    const char *ledger_folder; // for the as-run ledgers and what purity.h keeps, "": none
};

// How it has kept up since that was last asked.
struct channel_pressure {
    uint64_t waiting;   // pictures for the slowest encoder, beyond what its lanes explain: now
    uint64_t undecoded; // group frames that were here when they were due, and not decoded
    int64_t late_ns;    // the latest frame left so long after it was due
};

struct channel_group {
    uint32_t group, takeovers; // takeovers: how often it has turned under this plan
    char node[65];             // whom it is taken from
    bool standby;              // which is not its provider
};

struct channel_stats {
    int64_t cursor;
    uint32_t plan_epoch; // on air, 0: none
    uint64_t frames, late, concealed, skipped;
    int64_t slack_frames;
    double mix_median_ms, mix_p99_ms;
    struct intake_stats intake; // of the plan on air
    struct purity_counts purity;
    int group_count;
    struct channel_group groups[MIXER_GROUPS_MAX]; // of the plan on air
    struct rendition_stats encode;
    int64_t clock_difference_ns; // system's clock - channel's
    char alarm[192];             // an output that could not be made; "": none
    char slate_alarm[192];       // why the slate is not there; "": none
};

// Prepared: connected to the providers of all groups, and to a standby of each that has any.
enum channel_plan_state {
    CHANNEL_PLAN_PREPARING,
    CHANNEL_PLAN_PREPARED,
    CHANNEL_PLAN_ARMED,
    CHANNEL_PLAN_ACTIVE
};

struct channel_plan_report {
    uint32_t epoch;
    enum channel_plan_state state;
    char waits_for[128]; // PREPARING: address of a provider that is not connected
};

struct channel;
int channel_create(const struct channel_config *config, struct channel **ret);
void channel_destroy(struct channel **channel);
// Makes these the channel's plans: new ones get connections, ones that became committed are armed,
// ones not listed go, except the one on air while nothing that is listed has taken over.
int channel_set_plans(struct channel *channel, const struct plan *const *plans, int count,
                      struct diagnostic *reterr);
// The channel's takes, as far as they are known.
void channel_live(struct channel *channel, const struct take_log *log);
// Control thread, ten times a second: retires plans, follows a plan switch with the outputs.
void channel_tend(struct channel *channel);
// Whether a frame is due and its mix thread has sent none for seconds. Control thread, all the
// time.
bool channel_hung(struct channel *channel, int64_t now_ns);
void channel_pressure(struct channel *channel, struct channel_pressure *ret);
// What is given up of it, ten times a second.
void channel_give_up(struct channel *channel, enum overload_level level);
void channel_stats(struct channel *channel, struct channel_stats *ret);
int channel_plans(struct channel *channel, struct channel_plan_report *ret, int max);
// See meters.h.
int channel_meters(struct channel *channel, struct meters_output ret[PLAN_OUTPUTS_MAX]);
int channel_destinations(struct channel *channel, struct outputs_destination *ret, int max);
int channel_gops(struct channel *channel, struct outputs_gop *ret, int max);
