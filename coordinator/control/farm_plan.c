#include "coordinator/control/farm_private.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__GroupPlan group_message;
typedef Vistter__Control__V1__LinkPlan link_message;
typedef Vistter__Control__V1__OutputPlan output_message;

// ---- Messages ---------------------------------------------------------------------------------

static uint8_t *message_pack(const channel_plan_message *message, size_t *ret_size)
{
    size_t size = vistter__control__v1__channel_plan__get_packed_size(message);
    uint8_t *bytes = base_alloc(size ? size : 1); // our own messages, bounded when they were made
    vistter__control__v1__channel_plan__pack(message, bytes);
    *ret_size = size;
    return bytes;
}

static void bytes_free(uint8_t **bytes, size_t size)
{
    if (*bytes)
        explicit_bzero(*bytes, size); // link keys and stream addresses
    free(*bytes);
    *bytes = NULL;
}

channel_plan_message *plan_message_copy(const channel_plan_message *message)
{
    size_t size;
    uint8_t *bytes = message_pack(message, &size);
    channel_plan_message *copy = vistter__control__v1__channel_plan__unpack(NULL, size, bytes);
    bytes_free(&bytes, size);
    return copy;
}

void plan_message_free(channel_plan_message **message_of)
{
    channel_plan_message *message = *message_of;
    if (!message)
        return;
    *message_of = NULL;
    for (size_t g = 0; g < message->n_groups; g++) {
        for (size_t l = 0; l < message->groups[g]->n_links; l++) {
            ProtobufCBinaryData *key = &message->groups[g]->links[l]->key;
            if (key->data)
                explicit_bzero(key->data, key->len);
        }
    }
    for (size_t o = 0; o < message->n_outputs; o++)
        if (message->outputs[o]->relay_key.data)
            explicit_bzero(message->outputs[o]->relay_key.data, message->outputs[o]->relay_key.len);
    vistter__control__v1__channel_plan__free_unpacked(message, NULL);
}

// ---- Building ---------------------------------------------------------------------------------
// Everything is allocated as protobuf-c's default allocator would, since free_unpacked releases it.

static int key_draw(const struct farm *farm, ProtobufCBinaryData *ret)
{
    ret->data = base_alloc(FARM_KEY_BYTES);
    ret->len = FARM_KEY_BYTES;
    return farm->config.random(farm->config.opaque, ret->data, FARM_KEY_BYTES);
}

static link_message *link_build(const struct farm *farm, const struct plan_link *link,
                                int *ret_error)
{
    link_message *message = base_alloc(sizeof *message);
    vistter__control__v1__link_plan__init(message);
    message->consumer = base_strdup(link->consumer);
    message->link_id = base_strdup(link->id);
    int r = key_draw(farm, &message->key);
    if (r < 0)
        *ret_error = r;
    return message;
}

static group_message *group_build(const struct farm *farm, const struct plan_group *group,
                                  int *ret_error)
{
    group_message *message = base_alloc(sizeof *message);
    vistter__control__v1__group_plan__init(message);
    message->group = group->group;
    message->track_from = group->track_from;
    message->track_to = group->track_to;
    message->width = group->width;
    message->height = group->height;
    message->from_base = group->from_base;
    message->needs_beneath = group->needs_beneath;
    message->start_ms = (uint32_t)(group->start_us / 1000);
    message->provider = base_strdup(group->provider);
    message->provider_address = base_strdup(group->provider_address);
    if (group->standby_count)
        message->standbys = base_alloc((size_t)group->standby_count * sizeof *message->standbys);
    for (int i = 0; i < group->standby_count; i++) {
        Vistter__Control__V1__StandbyPlan *standby = base_alloc(sizeof *standby);
        vistter__control__v1__standby_plan__init(standby);
        standby->node = base_strdup(group->standbys[i].node);
        standby->address = base_strdup(group->standbys[i].address);
        message->standbys[message->n_standbys++] = standby;
    }
    message->links = base_alloc((size_t)group->link_count * sizeof *message->links);
    for (int i = 0; i < group->link_count; i++)
        message->links[message->n_links++] = link_build(farm, &group->links[i], ret_error);
    return message;
}

static void text_replace(char **text, const char *value)
{
    if (*text != protobuf_c_empty_string)
        free(*text);
    *text = base_strdup(value);
}

struct planner_output plan_output_read(const channel_plan_message *message, size_t i)
{
    const output_message *o = message->outputs[i];
    return (struct planner_output){.width = o->width ? o->width : message->width,
                                   .height = o->height ? o->height : message->height,
                                   .tracks = o->tracks};
}

// What each output is mixed from.
static void groups_set(channel_plan_message *message, const struct plan_placement *placement)
{
    uint32_t track_count = 0;
    for (int i = 0; i < placement->group_count; i++)
        if (placement->groups[i].track_to > track_count)
            track_count = placement->groups[i].track_to;
    for (size_t o = 0; o < message->n_outputs; o++) {
        output_message *output = message->outputs[o];
        struct planner_output shape = plan_output_read(message, o);
        free(output->groups);
        output->groups = base_alloc((size_t)placement->group_count * sizeof *output->groups);
        output->n_groups = 0;
        for (int i = 0; i < placement->group_count; i++)
            if (plan_group_shown(&placement->groups[i], &shape, track_count))
                output->groups[output->n_groups++] = placement->groups[i].group;
    }
}

int plan_create(const struct farm *farm, const channel_plan_message *wanted,
                struct plan_placement *placement, uint32_t plan_epoch, struct plan **ret)
{
    struct plan *plan = base_alloc(sizeof *plan);
    int r = 0;
    channel_plan_message *message = plan->message = plan_message_copy(wanted);
    if (!message) {
        free(plan);
        return -ENOMEM;
    }
    message->plan_epoch = plan_epoch;
    message->committed = false;
    message->groups = base_alloc((size_t)placement->group_count * sizeof *message->groups);
    for (int i = 0; i < placement->group_count; i++)
        message->groups[message->n_groups++] = group_build(farm, &placement->groups[i], &r);
    for (int i = 0; i < placement->output_count; i++) {
        output_message *output = message->outputs[i];
        text_replace(&output->edge, placement->edges[i]);
        text_replace(&output->backup_edge, placement->backups[i]);
        text_replace(&output->edge_address, placement->edge_addresses[i]);
        text_replace(&output->backup_address, placement->backup_addresses[i]);
        int error = *placement->backups[i] ? key_draw(farm, &output->relay_key) : 0;
        r = error ? error : r;
    }
    groups_set(message, placement);
    if (r < 0) {
        plan_destroy(&plan);
        return r;
    }
    plan->placement = *placement;
    *placement = (struct plan_placement){0};
    *ret = plan;
    return 0;
}

void plan_destroy(struct plan **plan_of)
{
    struct plan *plan = *plan_of;
    if (!plan)
        return;
    *plan_of = NULL;
    plan_message_free(&plan->message);
    placement_finish(&plan->placement);
    bytes_free(&plan->bytes, plan->size);
    free(plan->sealed);
    free(plan);
}

int plan_pack(struct plan *plan, int64_t at_frame)
{
    channel_plan_message copy = *plan->message; // shallow: packed and forgotten
    copy.committed = true;
    copy.at_frame = at_frame;
    bytes_free(&plan->bytes, plan->size);
    plan->bytes = message_pack(&copy, &plan->size);
    plan->at_frame = at_frame;
    return 0;
}

// ---- Loading ----------------------------------------------------------------------------------

// Back from the message, so that the planner knows what is on air.
static int placement_read(const channel_plan_message *message, struct plan_placement *ret)
{
    if (message->n_groups < 1 || message->n_groups > PLANNER_GROUPS_MAX || message->n_outputs < 1 ||
        message->n_outputs > PLANNER_OUTPUTS_MAX)
        return -EPROTO;
    struct plan_placement placement = {.group_count = (int)message->n_groups,
                                       .output_count = (int)message->n_outputs};
    placement.groups = base_alloc(message->n_groups * sizeof *placement.groups);
    for (size_t i = 0; i < message->n_groups; i++) {
        const group_message *g = message->groups[i];
        struct plan_group *group = &placement.groups[i];
        *group = (struct plan_group){.group = g->group,
                                     .track_from = g->track_from,
                                     .track_to = g->track_to,
                                     .width = g->width ? g->width : message->width,
                                     .height = g->height ? g->height : message->height,
                                     .from_base = g->from_base,
                                     .needs_beneath = g->needs_beneath,
                                     .start_us = g->start_ms * INT64_C(1000)};
        snprintf(group->provider, sizeof group->provider, "%s", g->provider);
        snprintf(group->provider_address, sizeof group->provider_address, "%s",
                 g->provider_address);
        for (size_t k = 0; k < g->n_standbys && k < PLANNER_STANDBYS_MAX; k++) {
            struct plan_standby *standby = &group->standbys[group->standby_count++];
            snprintf(standby->node, sizeof standby->node, "%s", g->standbys[k]->node);
            snprintf(standby->address, sizeof standby->address, "%s", g->standbys[k]->address);
        }
    }
    for (size_t i = 0; i < message->n_outputs; i++) {
        snprintf(placement.edges[i], sizeof placement.edges[i], "%s", message->outputs[i]->edge);
        snprintf(placement.backups[i], sizeof placement.backups[i], "%s",
                 message->outputs[i]->backup_edge);
        snprintf(placement.edge_addresses[i], sizeof placement.edge_addresses[i], "%s",
                 message->outputs[i]->edge_address);
        snprintf(placement.backup_addresses[i], sizeof placement.backup_addresses[i], "%s",
                 message->outputs[i]->backup_address);
    }
    *ret = placement;
    return 0;
}

int plan_load(const void *bytes, size_t size, struct plan **ret, struct diagnostic *reterr)
{
    struct plan *plan = base_alloc(sizeof *plan);
    plan->message = vistter__control__v1__channel_plan__unpack(NULL, size, bytes);
    if (!plan->message || !plan->message->committed || plan->message->plan_epoch == 0 ||
        plan->message->rate_num == 0 || plan->message->rate_den == 0 ||
        placement_read(plan->message, &plan->placement) < 0) {
        plan_destroy(&plan);
        return diagnostic_set(reterr, -EPROTO, "plan_malformed", "",
                              "the stored plan of a channel cannot be read; stop the channel and "
                              "start it again");
    }
    plan->at_frame = plan->message->at_frame;
    *ret = plan;
    return 0;
}

// ---- Questions --------------------------------------------------------------------------------

// Packs what a template decides: without placement and commit.
static uint8_t *wanted_pack(const channel_plan_message *message, int64_t start_frame,
                            size_t *ret_size)
{
    channel_plan_message copy = *message;
    output_message outputs[PLANNER_OUTPUTS_MAX], *list[PLANNER_OUTPUTS_MAX];
    copy.plan_epoch = 0;
    copy.committed = false;
    copy.at_frame = 0;
    copy.start_frame = start_frame;
    copy.n_groups = 0;
    for (size_t i = 0; i < copy.n_outputs && i < PLANNER_OUTPUTS_MAX; i++) {
        outputs[i] = *message->outputs[i];
        outputs[i].edge = outputs[i].backup_edge = (char *)protobuf_c_empty_string;
        outputs[i].edge_address = outputs[i].backup_address = (char *)protobuf_c_empty_string;
        outputs[i].relay_key.len = 0;
        outputs[i].n_groups = 0;
        list[i] = &outputs[i];
    }
    copy.outputs = list;
    return message_pack(&copy, ret_size);
}

bool plan_matches(const struct plan *plan, const struct channel *channel)
{
    const channel_plan_message *wanted = channel->wanted;
    // A timeline that started at its switch goes on from there.
    bool any = wanted->start_frame == FARM_START_AT_SWITCH;
    if (any && plan->run != channel->run)
        return false;
    size_t size_a, size_b;
    uint8_t *a = wanted_pack(plan->message, any ? 0 : plan->message->start_frame, &size_a);
    uint8_t *b = wanted_pack(wanted, any ? 0 : wanted->start_frame, &size_b);
    bool equal = size_a == size_b && !memcmp(a, b, size_a);
    bytes_free(&a, size_a);
    bytes_free(&b, size_b);
    return equal;
}

const char *plan_edge(const struct plan *plan, int i, const char **ret_address)
{
    const struct plan_placement *p = &plan->placement;
    for (int o = 0; o < p->output_count; o++) {
        *ret_address = i ? p->backup_addresses[o] : p->edge_addresses[o];
        if (i == 0)
            return p->edges[o];
        if (i == 1 && *p->backups[o])
            return p->backups[o];
        i -= 1 + (*p->backups[o] != 0);
    }
    return NULL;
}

const char *plan_node(const struct plan *plan, int i, const char **ret_address)
{
    const struct plan_placement *p = &plan->placement;
    for (int g = 0; g < p->group_count; g++) {
        const struct plan_group *group = &p->groups[g];
        if (i <= group->standby_count) {
            *ret_address = i ? group->standbys[i - 1].address : group->provider_address;
            return i ? group->standbys[i - 1].node : group->provider;
        }
        i -= 1 + group->standby_count;
    }
    return plan_edge(plan, i, ret_address);
}

bool plan_needs(const struct plan *plan, const char *node)
{
    const char *name, *address;
    for (int i = 0; (name = plan_node(plan, i, &address)); i++) {
        if (!strcmp(name, node))
            return true;
    }
    return false;
}
