// A channel's plan as this edge needs it: checked once, at the door, and constant afterwards.
// Thread: counted references are atomic.
#pragma once

#include "edge/mix/mixer.h"
#include "engine/base/diagnostic.h"
#include "engine/receive/links.h"

#define PLAN_OUTPUTS_MAX      8
#define PLAN_RENDITIONS_MAX   8  // of all outputs together
#define PLAN_DESTINATIONS_MAX 64 // both addresses of each

struct plan_group {
    uint32_t group;
    int width, height;
    bool from_base;
    int provider_count;
    struct link_target providers[TAKEOVER_PROVIDERS_MAX]; // in the order in which they are asked
};

// One address of a destination that this edge feeds, or may have to.
struct plan_destination {
    uint64_t destination;
    bool backup; // its second address; of a recording: the backup edge's
    bool others; // the other edge's, by the plan; this one's when it is named (edge/publish.h)
    int kind;    // enum deliver_kind
    char name[64];
    char url[2048]; // secret
};

// One picture and its sound, mixed from some of the groups.
struct plan_output {
    uint32_t output;
    char name[64]; // "": the programme
    int width, height;
    struct link_target other; // the edge that makes the same; node "": none, or it gives no packets
    int group_count;
    int groups[MIXER_GROUPS_MAX]; // indices in the plan's groups, bottom to top
};

struct plan_rendition {
    uint32_t output; // number of the output that it encodes
    uint32_t rendition;
    int width, height, video_bitrate, audio_bitrate, gop_frames;
    char preset[32];
    int destination_count;
    struct plan_destination destinations[PLAN_DESTINATIONS_MAX];
};

struct plan {
    uint64_t channel;
    char name[64];
    uint32_t epoch;
    bool committed;
    bool warm;             // standbys follow
    bool hot;              // or make every frame too
    bool without_optional; // optional tracks are not shown
    int64_t at_frame;
    int width, height;
    struct rate rate;
    int64_t epoch_ns, playout_delay_ns;
    int lead_frames;
    uint8_t revision[8];
    uint8_t slate[32]; // timeline revision; all zero: none
    int group_count;   // those that this edge's outputs are mixed from
    struct plan_group groups[MIXER_GROUPS_MAX];
    int output_count; // of this edge
    struct plan_output outputs[PLAN_OUTPUTS_MAX];
    int rendition_count;
    struct plan_rendition renditions[PLAN_RENDITIONS_MAX];
    _Atomic int references; // private
};

struct Vistter__Control__V1__ChannelPlan;
// The part of `message` that concerns edge `node`: outputs that it makes, as their edge or as their
// backup. A platform's first address is the edge's, the second the backup's, or the edge's too
// where there is no backup; each may have to take the other's. Both record. -EINVAL with a
// diagnostic that names the field.
int plan_parse(const struct Vistter__Control__V1__ChannelPlan *message, const char *node,
               struct plan **ret, struct diagnostic *reterr);
struct plan *plan_ref(const struct plan *plan);
void plan_unref(struct plan **plan); // accepts NULL inside; wipes the secrets
