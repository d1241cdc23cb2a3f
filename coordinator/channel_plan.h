// From a channel as the store has it to what the farm is told: the plan's template and the cost
// model of the timeline's tracks. Pure. Thread: any; a channel_plan belongs to its caller.
#pragma once

#include "coordinator/control/farm.h"
#include "coordinator/store/store.h"

// From when a frame is due by the channel's clock until the edge emits it.
#define CHANNEL_PLAYOUT_DELAY_NS INT64_C(1600000000)

struct timeline;

struct channel_plan {
    struct farm_channel channel; // what farm_set_channel takes; points into the rest
    channel_plan_message message;
    Vistter__Control__V1__OutputPlan outputs[PLANNER_OUTPUTS_MAX];
    Vistter__Control__V1__OutputPlan *output_pointers[PLANNER_OUTPUTS_MAX];
    Vistter__Control__V1__RenditionPlan renditions[PLANNER_OUTPUTS_MAX]; // one per output
    Vistter__Control__V1__RenditionPlan *rendition_pointers[PLANNER_OUTPUTS_MAX];
    struct store_output programme;
    size_t destination_count;
    Vistter__Control__V1__DestinationPlan *destinations;
    Vistter__Control__V1__DestinationPlan **destination_pointers; // by output
    char *urls; // secret: with the stream keys; two per destination
    uint8_t revision[32], slate[32];
    char (*contents)[FARM_CONTENT_BYTES]; // of the timeline
    int content_count;
    Vistter__Control__V1__PoisonedAsset *poisoned, **poisoned_pointers;
    struct planner_track tracks[PLANNER_TRACKS_MAX];
    enum planner_kind kinds[PLANNER_TRACKS_MAX];
    bool optional[PLANNER_TRACKS_MAX];
    uint32_t cuts[PLANNER_TRACKS_MAX];
};

// What the store has of a channel.
struct channel_parts {
    const struct store_channel *channel;
    const struct store_output *outputs; // beside the programme
    size_t output_count;
    const struct store_destination *destinations;
    size_t destination_count;
    const struct store_poisoned *poisoned; // of all media
    size_t poisoned_count;
    const int64_t *start_us; // of each track of the timeline
};

// `timeline` may be NULL when the channel is stopped. `cuts`: rising track numbers with commas, ""
// for none; what does not fit the timeline is left out. All arguments must outlive the result.
void channel_plan_init(struct channel_plan *plan, const struct channel_parts *parts,
                       const struct timeline *timeline, const char *cuts);
void channel_plan_finish(struct channel_plan *plan);
