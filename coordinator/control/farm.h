// The farm as the leading coordinator sees it: channels that should be on air, nodes that report,
// and the plans in between. Pure step logic: no threads, no sockets, no clock, no SQL; farm_run.h
// has those. What goes in are channels, reports and the time; what comes out are desired states to
// send and plans to commit.
//
// Life of a plan (one channel):
//
//   changed -> PROPOSED (plan_epoch + 1, sent uncommitted) -> PREPARED by those who must
//           -> COMMITTING (at_frame chosen; the store writes the row: the row is the truth)
//           -> COMMITTED (sent to all) -> ACTIVE on all -> the plan before it is dropped
//
//   Those who must are the edges, and of each group the provider and one of its standbys, where it
//   has any. Another standby does not hold a plan up: it joins when it can.
//
//   A lost node is a reason to plan again at once, unless others do its work already (its groups'
//   standbys, its outputs' other edges) and no node could take its place: then it gets
//   FARM_RETURN_NS to come back, since a plan without it would not survive a second loss.
//
//   A node that refuses, or that has not answered after FARM_PREPARE_NS, is left out of the next
//   try. A channel holds at most two plans: the one on air and the next.
//
// What is on air wins: before a new leader says anything, it hears the nodes for FARM_SETTLE_NS. A
// committed plan that edges hold and the store has lost (a change of primary) is asked back from
// them, taken as it is, and written, before anything new is planned; what the channel should be is
// then told anew (farm_set_channel). A stored plan that no edge has heard of, and that would come
// too late at its frame, is dropped and made anew.
//
// The poison rule. A worker tells what file a decoder of its has ended on, by a crash or because it
// hung (engine/base/crash_note.h). The store counts: the second crash marks the file as poisoned,
// by which it comes into the plans of all channels that show it, and nobody opens it. One that no
// other has ended on is forgotten after FARM_SUSPECT_NS.
//
// Overload. A worker that does not keep up and has given up all else (engine/base/overload.h) says
// so; plans of the channels whose optional tracks it makes leave those out then, and the plan after
// has them again. So it is at one frame for all nodes. Not while a worker is up that does not know
// how (an older version).
//
// Live sources. Each has a home, the worker that takes it in: the one that it is pinned to, as long
// as that lives and its log is as far as the log until then; else who is, while it lives; else who
// has the newest log. All workers of plans that show the source follow the home's log, and one more
// where nobody else does. Who is home is not stored: nodes report it, and a new leader goes on with
// that.
//
// Invariants: per channel plan_epoch and at_frame of commits strictly rise; nothing is committed
// that one who must has not prepared; no epoch is ever used for two different plans (uncommitted
// and committed differ only in `committed` and `at_frame`); plans loaded from the store go out byte
// for byte as they were committed.
//
// What nodes get: a worker sees only the links that it serves, also as a standby, or calls, and no
// outputs (they hold stream keys); an edge sees its own outputs.
//
// Thread: one at a time; farm_run holds a lock around it.
#pragma once

#include "coordinator/planner/planner.h"
#include "engine/base/diagnostic.h"
#include "engine/timeline/takes.h"
#include "proto/control.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FARM_NODES_MAX     4096
#define FARM_CHANNELS_MAX  2048
#define FARM_KEY_BYTES     32
#define FARM_CRASHES_MAX   256
#define FARM_CONTENT_BYTES 65
#define FARM_SOURCES_MAX   256
#define FARM_SOURCE_BYTES  65

#define FARM_NODE_LOST_NS INT64_C(800000000)   // no report for so long: lost
#define FARM_PREPARE_NS   INT64_C(10000000000) // to prepare a plan
#define FARM_FETCH_NS     INT64_C(120000000000)
#define FARM_LINK_NS      INT64_C(5000000000) // to be reached by those who take its frames
#define FARM_EXCLUDE_NS   INT64_C(30000000000)
#define FARM_RETRY_NS                                                                              \
    INT64_C(3000000000) // after "cannot place" or a refusal, unless something changes
#define FARM_SETTLE_NS                                                                             \
    INT64_C(1500000000) // after a start, for nodes to report before anything is placed
#define FARM_LEASE_NS    INT64_C(3000000000)  // a leader's, unless it is renewed
#define FARM_ASK_NS      INT64_C(3000000000)  // for edges to give back what the store has lost
#define FARM_REVIEW_NS   INT64_C(30000000000) // between looks whether measured costs ask for a move
#define FARM_RETURN_NS   INT64_C(5000000000) // for a lost node to come back while others do its work
#define FARM_GRACE_NS    INT64_C(8000000000) // after a start, for the nodes of stored plans
#define FARM_WORD_NS     INT64_C(2000000000) // for a lost worker to come back, since its last report
#define FARM_SUSPECT_NS  INT64_C(60000000000)
#define FARM_TAKE_FRAMES 3  // beyond lead_frames until a take is seen
#define FARM_MARGIN      15 // frames beyond lead_frames between commit and at_frame

// start_frame of a channel whose timeline begins at the frame where the first plan of its run takes
// effect. Later plans of the same run, of other revisions too, go on from there: an edit does not
// restart a timeline.
#define FARM_START_AT_SWITCH INT64_MIN

typedef Vistter__Control__V1__ChannelPlan channel_plan_message;
typedef Vistter__Control__V1__NodeReport farm_report_message;
typedef Vistter__Control__V1__DesiredState farm_state_message;

struct farm;

struct farm_config {
    uint64_t leader_epoch; // of the lease; 1 without leases. Nodes ignore lower ones
    const char *media_url; // "http://host:8080/api/v1/media", as nodes reach it
    // Fills `bytes` with random bytes (link keys). 0 or negative errno.
    int (*random)(void *opaque, uint8_t *bytes, size_t size);
    // Seals a packed plan for edges to keep, and opens what they give back: malloc'ed. 0 or
    // negative. May be NULL: edges keep nothing.
    int (*seal)(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *plan, size_t size,
                uint8_t **ret, size_t *ret_size);
    int (*unseal)(void *opaque, uint64_t channel, uint32_t plan_epoch, const void *sealed,
                  size_t size, uint8_t **ret, size_t *ret_size);
    void *opaque;
    // Plan epochs that a leader leaves out at least before its first plan of each channel: so many
    // may have been reserved where the store has forgotten it. 0: none.
    uint32_t epoch_gap;
};

struct farm_time {
    int64_t monotonic_ns, realtime_ns;
};

struct farm *farm_create(const struct farm_config *config, struct farm_time now);
void farm_destroy(struct farm **farm);

// ---- From the store and the API ---------------------------------------------------------------

// A channel as it should be. `plan` is a template and is copied: channel, channel_name, width,
// height, rate, epoch_ns, revision, start_frame, outputs (with renditions and destinations, `edge`
// empty), playout_delay_ns, lead_frames, assets. The farm fills plan_epoch, committed, at_frame,
// groups and edges.
struct farm_channel {
    const channel_plan_message *plan;
    bool running;
    // Another one: the timeline begins anew. Looked at with FARM_START_AT_SWITCH only. Loaded plans
    // have run 0, so a run that has a start_frame already is given with that.
    uint64_t run;
    const struct planner_track
        *tracks;     // of the revision, bottom to top; copied. cost_us 0: unknown,
    int track_count; // then a default by `kinds` (may be NULL: video)
    const enum planner_kind *kinds;
    // Of each track: whether it may be left out when a worker is overloaded (it is given its time
    // all the same); copied. May be NULL: none.
    const bool *optional;
    const struct timeline *timeline; // of the revision; a reference is taken. May be NULL: no takes
    bool backup_edges;               // two edges for each output, where there are two
    const uint32_t *cuts;            // forced cuts, for tests; copied
    int cut_count;                   // < 0: the planner chooses
    uint32_t last_plan_epoch; // from the channel's row: the newest ever used or reserved, 0 if none
    int64_t last_at_frame;    // from the channel's row: of the newest commit ever, 0 if none
};

// Start of the process, before farm_set_channel: a committed plan as the store has it. For each
// running channel load the newest, and the one before if the newest's at_frame may be in the
// future; in rising order. They go out again exactly as they are. 0, or -EPROTO for bytes that are
// no plan.
int farm_load(struct farm *farm, const void *plan, size_t size, struct diagnostic *reterr);
// Channel created, started, stopped, or its revision, format or destinations changed. The same
// again changes nothing. -EINVAL with words for what cannot be, -ENOSPC beyond FARM_CHANNELS_MAX.
int farm_set_channel(struct farm *farm, const struct farm_channel *channel,
                     struct diagnostic *reterr);
// A take as the store has it.
struct farm_take {
    uint64_t sequence;
    int64_t at_frame;
    const char *track, *text; // text: JSON
};
// A take of the store, after farm_set_channel, by sequence.
void farm_load_take(struct farm *farm, uint64_t channel, const struct farm_take *take);
// Puts something on a live track of the channel of this name (takes.h), whether the store answers
// or not. `take` is JSON. -ENOENT, -EINVAL, -EBUSY: it is not on air, or has too many takes;
// -ESTALE: edges have not been heard yet.
struct farm_took {
    uint64_t sequence;
    int64_t
        at_frame; // where it takes effect: lead_frames + FARM_TAKE_FRAMES from what goes out now
};
int farm_take(struct farm *farm, const char *channel, const char *take, struct farm_time now,
              struct farm_took *ret, struct diagnostic *reterr);
// A node that is to have no work, or may have some again; by name, known or not yet. What it does
// is planned anew with the others.
void farm_set_draining(struct farm *farm, const char *node, bool draining);
// A live source. `worker`: that it is pinned to, "" for none. `input`: JSON, secret.
struct farm_source {
    const char *name, *worker, *input;
};
// All sources that there are; copied. -ENOSPC beyond FARM_SOURCES_MAX: the others are not taken in.
int farm_set_sources(struct farm *farm, const struct farm_source *sources, size_t count);
// Channel deleted: as stopped, then forgotten.
void farm_remove_channel(struct farm *farm, uint64_t channel);

// ---- From nodes and the clock -----------------------------------------------------------------

// A report (already authenticated). Returns 0, -ESTALE for a repeated or overtaken one, -EINVAL for
// nonsense, -ENOSPC beyond FARM_NODES_MAX.
int farm_report(struct farm *farm, const farm_report_message *report, struct farm_time now);
// The connection has closed that the node's newest report came by (control_link.h).
void farm_gone(struct farm *farm, const char *node);

// A plan to be written in one transaction: channel's plan_epoch and at_frame, and the bytes
// (secret: they hold link keys and stream addresses). The same commit is handed out again until its
// result is known, so the write must be idempotent: the same (channel, plan_epoch) again is
// success.
struct farm_commit {
    uint64_t channel;
    uint32_t plan_epoch;
    // Committed before, as those say who have it; written again, if the store has lost it. The
    // channel is to be set again afterwards, whatever becomes of it.
    bool restored;
    uint32_t
        replaces; // a stored plan that nobody had heard of: what was to begin with it begins now
    int64_t at_frame;
    uint8_t revision[32];
    const void *plan; // packed ChannelPlan; the farm's memory, valid until the next call into it
    size_t plan_bytes;
};

// A worker's process has ended while it was at a file.
struct farm_crash {
    char node[PLANNER_NAME_BYTES], content[FARM_CONTENT_BYTES];
    uint64_t id;
    int64_t picture;
    uint32_t signal;
};
enum farm_verdict {
    FARM_SUSPECT,  // the first
    FARM_POISONED, // two or more
    FARM_CLEARED,  // somebody has called it a false alarm
};

struct farm_outputs {
    void *opaque;
    // The leader's lease has run out by our own clock: nothing new is decided and nothing new is
    // said.
    bool fenced;
    // Send to a node; `state` lasts for the call. A send that fails is repeated by a later tick.
    void (*send)(void *opaque, const char *node, const farm_state_message *state);
    // Epochs of this channel up to `plan_epoch` are used: to be made durable before the plan goes
    // out, so that a restarted coordinator never reuses one. May be NULL. Answer with
    // farm_reserved.
    void (*reserve)(void *opaque, uint64_t channel, uint32_t plan_epoch);
    // Write the crash, once however often it is handed out; answer with farm_crashed. May be NULL.
    void (*crash)(void *opaque, const struct farm_crash *crash);
    // Write the take, once however often it is handed out; answer with farm_taken. May be NULL.
    void (*take)(void *opaque, uint64_t channel, const struct farm_take *take);
    // Write the commit; answer with farm_committed, now or later.
    void (*commit)(void *opaque, const struct farm_commit *commit);
};

// Advances everything; call every 50 ms and after reports. Callbacks run inside the call.
void farm_tick(struct farm *farm, struct farm_time now, const struct farm_outputs *outputs);
// The store may have lost what was committed last: all committed plans are to be written again.
void farm_recommit(struct farm *farm);
// What the store says of a crash; a negative `result` is tried again.
void farm_crashed(struct farm *farm, const char *node, uint64_t id, int result,
                  enum farm_verdict verdict);
// The store has cleared a content: nodes may open it again.
void farm_clear_asset(struct farm *farm, const char *content);
// Result of a reserve: 0 or negative (then tried again by a later tick).
void farm_reserved(struct farm *farm, uint64_t channel, uint32_t plan_epoch, int result);
// Result of a take's write: 0 or negative (then tried again by a later tick).
void farm_taken(struct farm *farm, uint64_t channel, uint64_t sequence, int result);
// Result of a commit: 0 = the row is written; -ESTALE = this try was refused (lease lost, or
// channel stopped): given up, unless an earlier try may have written it; any other negative =
// unknown, tried again.
void farm_committed(struct farm *farm, uint64_t channel, uint32_t plan_epoch, int result,
                    struct farm_time now);

// The leader epoch above ours that a node knows: this coordinator must not lead. 0: none does.
uint64_t farm_deposed(const struct farm *farm);

// ---- For REST and WebSocket -------------------------------------------------------------------

struct farm_stage_view {
    uint64_t channel;
    uint32_t plan_epoch, group;
    Vistter__Control__V1__StageKind kind;
    double median_ms, p99_ms;
    int64_t frame;
    uint64_t frames, bytes;
};

struct farm_alarm_view {
    char code[40], text[256];
    uint64_t channel, count;
};

struct farm_node_view {
    char name[PLANNER_NAME_BYTES], version[32], frame_address[PLANNER_ADDRESS_BYTES],
        preview_url[PLANNER_ADDRESS_BYTES];
    Vistter__Control__V1__NodeRole role;
    bool alive, draining;
    int64_t report_age_ns;
    uint64_t instance, memory_bytes;
    uint32_t cores;
    double cpu_load;
    uint32_t overload; // as engine/base/overload.h numbers it
    uint8_t golden[PLANNER_GOLDEN_BYTES];
    int unprotected; // of a worker: groups, of an edge: channels that depend on it alone
    int stage_count, alarm_count;
    struct farm_stage_view *stages;
    struct farm_alarm_view *alarms;
};

enum farm_channel_state {
    FARM_CHANNEL_STOPPED,
    FARM_CHANNEL_WAITING,   // cannot be placed yet: `text` says why
    FARM_CHANNEL_PREPARING, // first plan on its way
    FARM_CHANNEL_ARMED,     // first plan committed, its frame not reached
    FARM_CHANNEL_ON_AIR,
    FARM_CHANNEL_OFF_AIR, // should be on air, but its edge is lost
};
const char *farm_channel_state_name(enum farm_channel_state state); // "on_air"

struct farm_standby_view {
    char node[PLANNER_NAME_BYTES];
    bool ready; // there, where the plan says, with the group prepared
};

struct farm_group_view {
    uint32_t group, track_from, track_to, width, height;
    char provider[PLANNER_NAME_BYTES];
    int standby_count;
    struct farm_standby_view standbys[PLANNER_STANDBYS_MAX]; // in the order in which they are asked
    bool provider_alive;
    // Two workers have the plan, where it says (and the one on its way in), and the one that would
    // be asked next would be in time: takeover_ms is at most slack_ms.
    bool protected;
    int64_t takeover_ms, slack_ms;   // takeover_ms 0: nobody, or it is hot
    char unprotected[192];           // why not, in words; "": it is
    char alone[PLANNER_NAME_BYTES];  // the worker whose loss would be seen; "": none
    char active[PLANNER_NAME_BYTES]; // whom an edge takes it from; "": none says so
    uint32_t takeovers;
};

struct farm_output_view {
    uint32_t output;                                                // number; 1: the programme
    char edge[PLANNER_NAME_BYTES], backup_edge[PLANNER_NAME_BYTES]; // backup "": none
};

// A destination as one edge has it; two edges may each have a part in it.
struct farm_destination_view {
    uint64_t destination;
    bool backup; // its second address
    Vistter__Control__V1__DestinationState state;
    char error[256];
    uint64_t bytes, dropped;
    uint32_t reconnects;
};

// What the newest take of a live track says.
struct farm_shown {
    uint64_t sequence; // 0: nothing was ever taken
    int64_t at_frame;
    double fader; // where it stands, < 0: it has not been moved since
    char *take;   // JSON; NULL: as 0
};

struct farm_channel_view {
    uint64_t channel;
    bool without_optional;     // as plan_epoch: optional tracks are left out
    char name[128], text[512]; // text: what is wrong or waited for, "" if nothing
    enum farm_channel_state state;
    uint32_t plan_epoch, next_plan_epoch; // on air (or stored), being prepared or armed; 0: none
    int64_t at_frame, next_at_frame;
    uint8_t revision[32];
    int group_count;
    struct farm_group_view *groups; // of the plan on air, else of the next
    int output_count;               // as groups: of the plan on air, else of the next
    struct farm_output_view outputs[PLANNER_OUTPUTS_MAX];
    // Of the programme; backup_edge "": none. The preview is that of the edge that lives.
    char edge[PLANNER_NAME_BYTES], backup_edge[PLANNER_NAME_BYTES];
    char preview_url[PLANNER_ADDRESS_BYTES];
    // From the newest reports of the outputs' edges; zero if there is none. Cursor and costs are
    // those of the programme's edge; counters are summed, and slack is the smallest.
    int64_t cursor, slack_frames;
    uint64_t frames, late, concealed, skipped;
    uint64_t sampled, mismatched; // frames that provider and standby made; of those, different
    uint64_t copies;              // group frames that came twice, since the plan took effect
    // GOPs and blocks of sound that two edges made and that were compared, since this leader leads;
    // of those that differ: what an edge says was not as planned, and what nothing explains.
    uint64_t gops_compared, gops_explained, gops_mismatched;
    double mix_median_ms, mix_p99_ms;
    int destination_count;
    struct farm_destination_view *destinations;
    struct timeline *timeline;                    // that is wanted; NULL: not known
    struct farm_shown shown[TIMELINE_TRACKS_MAX]; // of its live tracks, by index
};

// The levels of an output, as its edge says, or its backup edge when that one is lost.
#define FARM_METERED_MAX      512
#define FARM_METER_VALUES_MAX 4

// A tenth of a second; -INFINITY: silence. [0] is left.
struct farm_meter_values {
    int64_t frame;                           // the last of it
    float peak[2], true_peak[2];             // dBFS, dBTP
    float momentary, short_term, integrated; // LUFS
};

struct farm_meter {
    uint32_t output; // number; 1: the programme
    char name[64];
    uint64_t missed; // frames that were not measured
    int value_count;
    struct farm_meter_values values[FARM_METER_VALUES_MAX]; // oldest first
};

struct farm_meters {
    uint64_t channel; // given
    int count;
    struct farm_meter outputs[PLANNER_OUTPUTS_MAX];
};

// Fills `list` with what is known, and has edges report it for the next two seconds: who watches
// calls it again and again, with all that is watched. Of FARM_METERED_MAX channels at most.
void farm_read_meters(struct farm *farm, struct farm_meters *list, int count, int64_t now_ns);

struct farm_follower_view {
    char node[PLANNER_NAME_BYTES];
    int64_t behind_ms; // how old the newest is that its copy knows; -1: it knows nothing yet
    char error[256];   // why, in words; "": nothing is wrong
};

struct farm_source_view {
    char name[FARM_SOURCE_BYTES], home[PLANNER_NAME_BYTES]; // home "": no worker is up
    bool home_alive;
    char *status;    // what the gateway says: JSON (worker/gateway/status.h); "": nothing yet
    char error[256]; // why there is no gateway, in words; "": there is
    int follower_count;
    struct farm_follower_view *followers;
};

struct farm_snapshot {
    int node_count, channel_count, source_count;
    struct farm_node_view *nodes;       // by name
    struct farm_channel_view *channels; // by id
    struct farm_source_view *sources;   // as farm_set_sources was given them
    bool deposed; // a node knows a higher leader epoch: this coordinator must not lead
    uint64_t reports, reports_stale, states_sent, plans_proposed, plans_committed, plans_given_up;
};

// A copy of how things are; release with farm_snapshot_destroy.
struct farm_snapshot *farm_snapshot_create(const struct farm *farm, struct farm_time now);
void farm_snapshot_destroy(struct farm_snapshot **snapshot);
