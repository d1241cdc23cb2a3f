// Inside of the farm. Private to coordinator/control.
#pragma once

#include "coordinator/control/farm.h"
#include "engine/base/rate.h"

#define FARM_EXCLUDED_MAX 32
#define FARM_RESEND_NS    INT64_C(200000000) // a state that a node does not show yet
#define FARM_STORE_NS     INT64_C(500000000) // between tries of a write with unknown result
#define FARM_PLACES_MAX   32                 // placements of a tick: it must not take long
#define FARM_TABLE_SIZE   (2 * FARM_NODES_MAX)

struct node {
    char name[PLANNER_NAME_BYTES];
    farm_report_message *report; // newest; owned
    int64_t report_ns;           // monotonic, when it came
    bool alive;                  // as of the last tick
    bool gone;                   // the connection that its newest report came by has closed since
    // What it should do: a packed DesiredState without version and epoch (secret: stream keys).
    uint8_t *content;
    size_t content_size;
    // Of the content, and the farm's generation that it was built from, 0: a plan that it has a
    // part in has changed since.
    uint64_t version, generation;
    int64_t sent_ns;            // 0: not since the content changed
    int64_t renewed_ns;         // of edges: when it was last told which report was heard
    struct planner_node *entry; // in the list of a placement that is being made; NULL: not
};

struct plan {
    channel_plan_message *message; // as nodes get it: `committed` once the store has it
    struct plan_placement placement;
    uint8_t *bytes; // packed for the store, from COMMITTING on
    size_t size;
    int64_t at_frame; // chosen for the commit
    uint64_t run;     // of the wish that it was made for; 0 when loaded
    bool unstored;    // committed, and the store may not have it
    uint8_t *sealed;  // for edges, once committed; NULL: not to be had
    size_t sealed_size;
};

enum phase {    // of `next`
    PHASE_IDLE, // there is no next
    PHASE_RESERVING,
    PHASE_PREPARING,
    PHASE_COMMITTING,
    PHASE_ARMED,
};

struct exclusion {
    char node[PLANNER_NAME_BYTES];
    int64_t until_ns;
};

// Who publishes an output: [0] to its first addresses, [1] to the second ones.
struct publisher {
    uint32_t output;
    uint64_t epoch;                      // rises at each change
    bool unsaid;                         // nobody was ever named
    bool unsent;                         // by this leader
    char holders[2][PLANNER_NAME_BYTES]; // "": nobody for the moment
    char leaving[2][PLANNER_NAME_BYTES]; // who was it until then; "": not known
    char next[2][PLANNER_NAME_BYTES];    // who is to be named
    uint32_t decided[2];                 // plan epoch that it was chosen for
};

#define COMPARED_MAX 32

struct compared { // of a rendition's pictures, or sound, by two edges
    uint32_t output, rendition;
    bool sound;
    int64_t newest; // frame or sample
};

struct crash {
    char node[PLANNER_NAME_BYTES], content[FARM_CONTENT_BYTES];
    uint64_t id;
    int64_t picture, heard_ns;
    uint32_t signal;
    enum farm_verdict verdict;
    bool stored, waits_on_store, lapsed;
    bool dropped;     // its worker is to forget it, to make room
    int64_t store_ns; // when it may be handed out again
};

struct take {
    uint64_t sequence;
    int64_t at_frame, store_ns; // store_ns: when it may be handed out again
    char *track, *text;
    struct take_facts facts; // but the track's index
    bool stored, waits_on_store;
    bool over; // no frame that is still to be made depends on it
};

struct channel {
    uint64_t id;
    struct timeline *timeline; // of what is wanted
    int take_count;
    struct take *takes;     // by sequence; owned
    uint64_t take_sequence; // of the newest ever
    // What is wanted.
    channel_plan_message *wanted; // template; owned. NULL: only loaded, goes on as it is
    bool running;
    uint64_t run;
    struct planner_track tracks[PLANNER_TRACKS_MAX];
    enum planner_kind kinds[PLANNER_TRACKS_MAX];
    bool optional[PLANNER_TRACKS_MAX];
    int track_count, cut_count;
    uint32_t cuts[PLANNER_TRACKS_MAX];
    bool backup_edges;
    // What is.
    struct plan *current, *next;
    enum phase phase;
    bool dirty;          // something changed: plan again when idle
    bool waits_on_store; // a reserve or commit has been handed out
    bool unsure;         // the commit may have been written: an answer was lost
    bool moved;          // the database has, since a write was handed out: it may be the old one's
    int64_t store_ns;    // when it may be handed out again
    int64_t retry_ns, proposed_ns;
    int64_t review_ns; // when the placement is looked at again
    uint32_t last_plan_epoch;
    int64_t last_at_frame;
    int switch_tries; // of FARM_START_AT_SWITCH
    bool proposed;    // under this leader
    // What edges hold and the store has lost.
    bool adopted;         // what is wanted has to be told anew
    uint32_t asked_epoch; // of a plan that is asked for; 0: none
    int64_t asked_ns;     // since when
    uint32_t known_epoch; // up to this one no plan is asked for
    uint32_t replaces;    // see farm_commit
    struct exclusion excluded[FARM_EXCLUDED_MAX];
    int64_t measured_us[PLANNER_TRACKS_MAX]; // 0: not yet
    uint8_t measured_revision[32];
    int64_t protection_ns, unprotected_ns; // when looked at next; since when it is not, 0: it is
    int publisher_count;
    struct publisher publishers[PLANNER_OUTPUTS_MAX];
    int compared_count;
    struct compared compared[COMPARED_MAX];
    uint64_t gops_compared, gops_explained, gops_mismatched; // under this leader
    int64_t gops_mismatch_ns;                                // of the newest
    char gops_text[256];                                     // about it
    char text[512];
};

// Who follows a source's home, and the key of that link.
struct follower {
    char node[PLANNER_NAME_BYTES];
    uint8_t key[FARM_KEY_BYTES];
    int64_t wished_ns; // when it was last of use
};
#define FOLLOWERS_MAX 64

#define SOURCE_LINK_BYTES (FARM_SOURCE_BYTES + 8)

#define QUARANTINE_UNITS 3
struct source {
    char name[FARM_SOURCE_BYTES], pinned[PLANNER_NAME_BYTES], home[PLANNER_NAME_BYTES];
    char *input;   // secret; NULL: is no more
    uint64_t term; // of this home; 0: nobody ever was
    // What has ended decoders: its newest unit, and when units were heard of since the last
    // quarantine, a ring. Then whether it is not taken in, until when, and how often that was so.
    uint64_t bad_unit;
    int bad_count, quarantines;
    int64_t bad_ns[QUARANTINE_UNITS];
    bool quarantined;
    int64_t quarantined_until_ns;
    // The newest unit that anybody has reported of this term, and when that was: the log lives.
    uint64_t seq;
    int64_t grown_ns;
    int follower_count;
    struct follower followers[FOLLOWERS_MAX];
};

struct farm {
    struct farm_config config; // media_url is our copy
    int64_t start_ns;
    int64_t tick_ns;    // of the newest tick
    int64_t resumed_ns; // after a gap in ticks: reports before it say nothing about who is lost
    int node_count, channel_count;
    struct node *nodes[FARM_NODES_MAX];
    struct node *node_table[FARM_TABLE_SIZE]; // by name, open addressing
    struct channel *channels[FARM_CHANNELS_MAX];
    struct channel *channel_table[FARM_TABLE_SIZE]; // by id
    int places;                                     // of this tick
    int draining_count;
    char draining[FARM_NODES_MAX][PLANNER_NAME_BYTES]; // nodes that get no work
    int crash_count;
    struct crash crashes[FARM_CRASHES_MAX]; // that nodes report
    uint64_t generation;                    // rises when something changes that all nodes are told
    uint64_t deposed;                       // by this epoch; 0: not
    bool settled;                           // has heard the nodes
    uint64_t metered[FARM_METERED_MAX];     // channels whose meters are watched
    int metered_count;
    int64_t metered_ns; // when that was said last
    int source_count;
    struct source *sources; // by name
    uint64_t reports, reports_stale, states_sent, plans_proposed, plans_committed, plans_given_up;
};

// ---- farm_table.c -----------------------------------------------------------------------------
struct node *farm_node(const struct farm *farm, const char *name);
struct channel *farm_channel_find(const struct farm *farm, uint64_t id);
void farm_node_enter(struct farm *farm, struct node *node);
// After channels have come or gone.
void farm_channels_enter(struct farm *farm);

// ---- farm_nodes.c -----------------------------------------------------------------------------
bool farm_node_drains(const struct farm *farm, const char *name);
// Not heard of for too long. Nodes never seen since the start get FARM_GRACE_NS.
bool farm_node_lost(const struct farm *farm, const char *name, int64_t now_ns);
// What the node (NULL: nobody) says about a plan; never NULL, UNSPECIFIED if nothing.
const Vistter__Control__V1__PlanReport *farm_plan_report(const struct node *node, uint64_t channel,
                                                         uint32_t plan_epoch);
const Vistter__Control__V1__ChannelReport *farm_channel_report(const struct node *node,
                                                               uint64_t channel);
// Whether the node (NULL: nobody) says that it has prepared a group of a plan, or more.
bool farm_group_prepared(const struct node *node, const struct plan *plan, uint32_t group);
// Whether the node is there and serves frames at this address.
bool farm_node_serves(const struct farm *farm, const char *name, const char *address);
// Notes who has come or gone; channels that this concerns become dirty.
void farm_nodes_check(struct farm *farm, int64_t now_ns);

// ---- farm_plan.c ------------------------------------------------------------------------------
channel_plan_message *plan_message_copy(const channel_plan_message *message);
void plan_message_free(channel_plan_message **message); // wipes keys
// A plan of the template, placed; link keys from the farm's random numbers. 0 or negative.
int plan_create(const struct farm *farm, const channel_plan_message *wanted,
                struct plan_placement *placement, uint32_t plan_epoch, struct plan **ret);
int plan_load(const void *bytes, size_t size, struct plan **ret, struct diagnostic *reterr);
void plan_destroy(struct plan **plan);
// Chooses at_frame and packs for the store, as committed; the message is left as it is.
int plan_pack(struct plan *plan, int64_t at_frame);
// Is this the plan of the channel's template, placement aside?
bool plan_matches(const struct plan *plan, const struct channel *channel);
// Output `i` of a plan or template as the planner wants it.
struct planner_output plan_output_read(const channel_plan_message *message, size_t i);
// Is the node a provider, a standby, an edge or a backup edge of it?
bool plan_needs(const struct plan *plan, const char *node);
// The i-th needed node, by groups (provider, standbys), then outputs (edge, backup); NULL at the
// end. May repeat.
// `*ret_address`: where it serves frames, or packets.
const char *plan_node(const struct plan *plan, int i, const char **ret_address);
// The i-th edge, by outputs (edge, backup); NULL at the end. May repeat.
const char *plan_edge(const struct plan *plan, int i, const char **ret_address);
// What the farm knows of the costs of the channel's tracks. `ret` has PLANNER_TRACKS_MAX.
void channel_tracks(const struct channel *channel, struct planner_track *ret);

// ---- farm_place.c -----------------------------------------------------------------------------
bool channel_excludes(const struct channel *channel, const char *node, int64_t now_ns);
// Asks the planner with the live nodes that the channel does not exclude.
int farm_place(const struct farm *farm, const struct channel *channel, uint32_t plan_epoch,
               int64_t now_ns, struct plan_placement *ret, struct diagnostic *reterr);

// ---- farm_overlays.c --------------------------------------------------------------------------
// Whether the channel's next plan is to leave optional tracks out.
void overlays_step(const struct farm *farm, struct channel *channel);

// ---- farm_protect.c ---------------------------------------------------------------------------
#define PROTECTION_LOOK_NS  INT64_C(1000000000)
#define PROTECTION_ALARM_NS INT64_C(10000000000)
// How a group stands if the worker that it is taken from is lost.
struct protection {
    bool protected;      // another one is ready, and would be in time
    int64_t takeover_ms; // from the last frame of the one to the first of the other; 0: nobody, or
                         // it is hot
    int64_t slack_ms;    // how long what is buffered lasts
    const char *alone;   // whose loss would be seen; "": nobody's, or nobody is there
    char why[160];       // not protected: in words
};
void group_protection(const struct farm *farm, const struct plan *plan,
                      const struct plan_group *group, struct protection *ret);
// There, where the plan says, and with the group prepared: one that is started anew has to be told
// first.
bool standby_ready(const struct farm *farm, const struct plan *plan, uint32_t group,
                   const char *name, const char *address);
// Notes since when a channel has not been protected, though standbys are wished.
void protection_look(const struct farm *farm, struct channel *channel, int64_t now_ns);
bool protection_alarm(const struct channel *channel, int64_t now_ns);

// ---- farm_adopt.c -----------------------------------------------------------------------------
// Seals a committed plan for edges; without it they cannot give it back.
void plan_seal(const struct farm *farm, struct plan *plan);
// Takes what an edge gives back.
void farm_adopt(struct farm *farm, const farm_report_message *report);
// Notes what edges hold and the store lacks. True: nobody is to be told anything yet.
bool farm_gathers(struct farm *farm, int64_t now_ns);
// Asks the node, if it is an edge that holds what is asked for.
void farm_ask(struct farm *farm, struct node *node, const struct farm_outputs *outputs);
// Writes what is not stored; false: the channel waits for that.
bool restored_step(struct channel *channel, int64_t now_ns, const struct farm_outputs *outputs);
bool channel_unstored(const struct channel *channel);
// The result of such a write; false: it was another.
bool farm_restored(struct channel *channel, uint32_t plan_epoch, int result);
// A stored plan that no edge knows and that would come too late.
void unheard_drop(struct farm *farm, struct channel *channel, struct farm_time now);

// ---- farm_gops.c ------------------------------------------------------------------------------
// Compares what the node's newest report says of coded GOPs with what its channels' other edges
// say.
void farm_gops(struct farm *farm, const struct node *node);

// ---- farm_publish.c ---------------------------------------------------------------------------
// Names who publishes, as far as that can be known.
void publish_step(struct farm *farm, struct channel *channel);
// The channel stops: nobody does, once they know.
void publishers_leave(struct channel *channel);
// What nodes are told: PLANNER_OUTPUTS_MAX at most; borrows the names.
size_t publishers_fill(const struct channel *channel, Vistter__Control__V1__Publisher *ret,
                       Vistter__Control__V1__Publisher **list);

// ---- farm_crash.c -----------------------------------------------------------------------------
void farm_crashes_take(struct farm *farm, const farm_report_message *report, int64_t now_ns);
void farm_crashes_step(struct farm *farm, int64_t now_ns, const struct farm_outputs *outputs);
// Crashes that the node is to forget; `ret` has FARM_CRASHES_MAX. Gives how many.
size_t farm_retry_list(const struct farm *farm, const char *node, int64_t now_ns, uint64_t *ret);
// A worker of the plan on air has just been lost, and may be back before long.
bool channel_awaits_word(const struct farm *farm, const struct channel *channel, int64_t now_ns);

// ---- farm_live.c ------------------------------------------------------------------------------
void takes_drop(struct channel *channel);
// What edges know and the store does not.
void takes_adopt(struct farm *farm, const farm_report_message *report);
// The newest of each live track; the texts are the caller's.
void takes_view(const struct channel *channel, struct farm_shown shown[TIMELINE_TRACKS_MAX]);
void takes_step(struct farm *farm, int64_t now_ns, const struct farm_outputs *outputs);
// Borrows the texts; gives how many. `*ret_stored`: up to which all are written.
size_t takes_fill(const struct channel *channel, Vistter__Control__V1__LiveTake messages[TAKES_MAX],
                  Vistter__Control__V1__LiveTake *list[TAKES_MAX], uint64_t *ret_stored);

// ---- farm_sources.c ---------------------------------------------------------------------------
void sources_destroy(struct farm *farm);
// Who says to be home of what, and how far its log is.
void sources_adopt(struct farm *farm, const farm_report_message *report, int64_t now_ns);
// Chooses homes and followers.
void sources_step(struct farm *farm, int64_t now_ns);
struct source_parts {
    Vistter__Control__V1__SourcePlan plan;
    Vistter__Control__V1__LinkPlan links[FOLLOWERS_MAX], *link_list[FOLLOWERS_MAX];
    char link_id[SOURCE_LINK_BYTES];
};
// What the node has to do with each source; borrows from the farm. Gives how many of `parts`
// (farm->source_count) are filled.
size_t sources_fill(const struct farm *farm, const char *node, struct source_parts *parts);
void sources_view(const struct farm *farm, struct farm_time now, struct farm_snapshot *ret);

// ---- farm_meters.c ----------------------------------------------------------------------------
// How many of farm->metered are watched now.
size_t farm_metered(const struct farm *farm, int64_t now_ns);

// ---- farm_state.c -----------------------------------------------------------------------------
// What the nodes of a plan are told has changed, or is about to.
void farm_plan_touch(struct farm *farm, const struct plan *plan);
void farm_states_send(struct farm *farm, int64_t now_ns, const struct farm_outputs *outputs);

// ---- farm_channel.c ---------------------------------------------------------------------------
void channel_plans_drop(struct farm *farm, struct channel *channel);
// A proposal that is not committed yet; the epoch is not used again.
void next_give_up(struct farm *farm, struct channel *channel, int64_t retry_ns);
// Frames between the cursor and a switch.
int64_t switch_margin(const channel_plan_message *message);
void commit_hand_out(struct channel *channel, struct plan *plan, bool restored,
                     const struct farm_outputs *outputs);
void channel_step(struct farm *farm, struct channel *channel, struct farm_time now,
                  const struct farm_outputs *outputs);
// The next frame that the edges will emit, or would by the clock.
int64_t channel_cursor(const struct farm *farm, const struct channel *channel,
                       struct farm_time now);
