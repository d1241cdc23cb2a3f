// On air wins: committed plans that edges hold and the store has lost, and the other way round.
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__PlanReport plan_report;
typedef Vistter__Control__V1__HeldPlan held_plan;

void plan_seal(const struct farm *farm, struct plan *plan)
{
    if (!farm->config.seal || plan->sealed)
        return;
    if (!plan->bytes)
        plan_pack(plan, plan->at_frame);
    if (farm->config.seal(farm->config.opaque, plan->message->channel, plan->message->plan_epoch,
                          plan->bytes, plan->size, &plan->sealed, &plan->sealed_size))
        plan->sealed = NULL;
}

// ---- What edges hold --------------------------------------------------------------------------

static struct plan *newest_committed(const struct channel *channel)
{
    return channel->phase == PHASE_ARMED ? channel->next : channel->current;
}

// Only what was committed is armed or on air.
static bool holds_committed(const struct node *node, uint64_t channel, uint32_t plan_epoch)
{
    return farm_plan_report(node, channel, plan_epoch)->state >=
           VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ARMED;
}

static const held_plan *find_held(const struct node *node, uint64_t channel, uint32_t plan_epoch)
{
    for (size_t i = 0; i < node->report->n_held; i++)
        if (node->report->held[i]->channel == channel &&
            node->report->held[i]->plan_epoch == plan_epoch)
            return node->report->held[i];
    return NULL;
}

static bool is_unknown(const struct channel *channel, uint32_t plan_epoch)
{
    const struct plan *newest = newest_committed(channel);
    return plan_epoch > channel->known_epoch &&
           (!newest || plan_epoch > newest->message->plan_epoch);
}

// The lowest that this edge holds: plans are taken in rising order.
static void ask_for(struct farm *farm, const struct node *node, int64_t now_ns)
{
    for (size_t i = 0; node->alive && i < node->report->n_held; i++) {
        const held_plan *held = node->report->held[i];
        struct channel *channel = farm_channel_find(farm, held->channel);
        if (!channel || !is_unknown(channel, held->plan_epoch) ||
            !holds_committed(node, held->channel, held->plan_epoch) ||
            (channel->asked_epoch && channel->asked_epoch <= held->plan_epoch))
            continue;
        channel->asked_epoch = held->plan_epoch;
        channel->asked_ns = now_ns;
        log_warning("plan_asked_back", "channel=%llu plan_epoch=%u edge=%s",
                    (unsigned long long)channel->id, held->plan_epoch, node->name);
    }
}

static void ask_end(struct channel *channel)
{
    if (channel->asked_epoch > channel->known_epoch)
        channel->known_epoch = channel->asked_epoch;
    channel->asked_epoch = 0;
}

bool farm_gathers(struct farm *farm, int64_t now_ns)
{
    if (!farm->config.unseal || farm->deposed)
        return false;
    bool asks = false;
    for (int i = 0; i < farm->node_count; i++)
        ask_for(farm, farm->nodes[i], now_ns);
    for (int i = 0; i < farm->channel_count; i++) {
        struct channel *channel = farm->channels[i];
        if (channel->asked_epoch && now_ns - channel->asked_ns > FARM_ASK_NS) {
            log_error("plan_not_recovered", "channel=%llu plan_epoch=%u",
                      (unsigned long long)channel->id, channel->asked_epoch);
            ask_end(channel);
        }
        // Taken, and about to be written: what is said is what is stored, where the store can.
        asks = asks || channel->asked_epoch ||
               (channel->adopted && channel_unstored(channel) &&
                now_ns - channel->asked_ns <= FARM_ASK_NS);
    }
    return asks || now_ns - farm->start_ns < FARM_SETTLE_NS;
}

void farm_ask(struct farm *farm, struct node *node, const struct farm_outputs *outputs)
{
    Vistter__Control__V1__AskedPlan plans[FARM_CHANNELS_MAX], *list[FARM_CHANNELS_MAX];
    farm_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    for (int i = 0; i < farm->channel_count; i++) {
        const struct channel *channel = farm->channels[i];
        if (!channel->asked_epoch || !find_held(node, channel->id, channel->asked_epoch))
            continue;
        Vistter__Control__V1__AskedPlan *asked = list[state.n_asked] = &plans[state.n_asked];
        state.n_asked++;
        vistter__control__v1__asked_plan__init(asked);
        asked->channel = channel->id;
        asked->plan_epoch = channel->asked_epoch;
    }
    if (!state.n_asked)
        return;
    state.epoch = farm->config.leader_epoch;
    state.asked = list;
    outputs->send(outputs->opaque, node->name, &state);
}

// ---- Taking it --------------------------------------------------------------------------------

// Of this channel, not of one in another database; and never known to this one: its frame is above
// that of any commit.
static bool is_lost(const struct channel *channel, const struct plan *plan, uint32_t plan_epoch)
{
    const channel_plan_message *m = plan->message, *wanted = channel->wanted;
    return m->channel == channel->id && m->plan_epoch == plan_epoch && wanted &&
           m->epoch_ns == wanted->epoch_ns && !strcmp(m->channel_name, wanted->channel_name) &&
           plan->at_frame > channel->last_at_frame;
}

static void take(struct farm *farm, struct channel *channel, struct plan *plan)
{
    if (channel->next && channel->phase != PHASE_ARMED)
        next_give_up(farm, channel, 0);
    if (channel->next) {
        plan_destroy(&channel->current);
        channel->current = channel->next;
        channel->next = NULL;
        channel->phase = PHASE_IDLE;
    }
    if (channel->current) {
        channel->next = plan;
        channel->phase = PHASE_ARMED;
    } else {
        channel->current = plan;
    }
    plan->unstored = true;
    plan_seal(farm, plan);
    channel->running = channel->adopted = true;
    channel->waits_on_store = false;
    channel->store_ns = 0;
    channel->last_at_frame = plan->at_frame;
    if (plan->message->plan_epoch > channel->last_plan_epoch)
        channel->last_plan_epoch = plan->message->plan_epoch;
    farm->generation++;
    log_warning("plan_recovered", "channel=%llu plan_epoch=%u at_frame=%lld",
                (unsigned long long)channel->id, plan->message->plan_epoch,
                (long long)plan->at_frame);
}

static void adopt(struct farm *farm, struct channel *channel, const held_plan *held)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    struct plan *plan = NULL;
    int r = farm->config.unseal(farm->config.opaque, held->channel, held->plan_epoch,
                                held->sealed.data, held->sealed.len, &bytes, &size);
    if (!r)
        r = plan_load(bytes, size, &plan, NULL);
    if (bytes)
        explicit_bzero(bytes, size);
    free(bytes);
    if (!r && is_lost(channel, plan, held->plan_epoch))
        take(farm, channel, plan);
    else
        plan_destroy(&plan);
    ask_end(channel);
}

void farm_adopt(struct farm *farm, const farm_report_message *report)
{
    for (size_t i = 0; farm->config.unseal && i < report->n_held; i++) {
        const held_plan *held = report->held[i];
        struct channel *channel = farm_channel_find(farm, held->channel);
        // While a commit is on its way nobody knows which is the newest.
        if (channel && held->sealed.len && held->plan_epoch == channel->asked_epoch &&
            channel->phase != PHASE_COMMITTING)
            adopt(farm, channel, held);
    }
}

// ---- Writing it again -------------------------------------------------------------------------

static struct plan *unstored_plan(const struct channel *channel)
{
    if (channel->current && channel->current->unstored)
        return channel->current;
    return channel->phase == PHASE_ARMED && channel->next->unstored ? channel->next : NULL;
}

bool channel_unstored(const struct channel *channel)
{
    return unstored_plan(channel) != NULL;
}

void farm_recommit(struct farm *farm)
{
    for (int i = 0; i < farm->channel_count; i++) {
        struct channel *channel = farm->channels[i];
        channel->moved = channel->waits_on_store;
        if (channel->current)
            channel->current->unstored = true;
        if (channel->phase == PHASE_ARMED)
            channel->next->unstored = true;
    }
}

bool restored_step(struct channel *channel, int64_t now_ns, const struct farm_outputs *outputs)
{
    struct plan *plan = unstored_plan(channel);
    bool busy = channel->waits_on_store || now_ns < channel->store_ns;
    if (plan && !busy) {
        channel->store_ns = now_ns + FARM_STORE_NS;
        commit_hand_out(channel, plan, true, outputs);
    }
    return !plan;
}

bool farm_restored(struct channel *channel, uint32_t plan_epoch, int result)
{
    // Not the one that would be next: the one before it may have to be written once more by now.
    struct plan *plan = channel->current;
    if (!plan || plan->message->plan_epoch != plan_epoch)
        plan = channel->phase == PHASE_ARMED ? channel->next : NULL;
    if (!plan || plan->message->plan_epoch != plan_epoch || !plan->unstored)
        return false;
    channel->waits_on_store = false;
    plan->unstored = channel->moved || (result < 0 && result != -ESTALE);
    channel->moved = false;
    if (!plan->unstored)
        channel->store_ns = 0;
    return true;
}

// ---- Stored, and never heard of ---------------------------------------------------------------

static bool on_any_edge(const struct farm *farm, const struct channel *channel,
                        const struct plan *plan)
{
    const char *name, *address;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        if (edge && edge->alive && holds_committed(edge, channel->id, plan->message->plan_epoch))
            return true;
    }
    return false;
}

void unheard_drop(struct farm *farm, struct channel *channel, struct farm_time now)
{
    struct plan *plan = newest_committed(channel);
    const char *name, *address;
    if (!plan || plan->unstored || !channel->wanted)
        return;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        if (!edge || !edge->alive || holds_committed(edge, channel->id, plan->message->plan_epoch))
            return;
    }
    if (channel_cursor(farm, channel, now) + switch_margin(plan->message) <= plan->at_frame)
        return; // in time
    // Nobody has the one before either: what was on air last is the newest.
    if (plan == channel->next && !on_any_edge(farm, channel, channel->current))
        return;
    log_warning("plan_unheard", "channel=%llu plan_epoch=%u at_frame=%lld",
                (unsigned long long)channel->id, plan->message->plan_epoch,
                (long long)plan->at_frame);
    channel->replaces = plan->message->plan_epoch;
    if (plan == channel->next) {
        plan_destroy(&channel->next);
        channel->phase = PHASE_IDLE;
    } else {
        plan_destroy(&channel->current);
    }
    channel->dirty = true;
    channel->retry_ns = 0;
    farm->generation++;
}
