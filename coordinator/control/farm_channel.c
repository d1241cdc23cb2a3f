// The plans of one channel, step by step. farm.h has the state machine.
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLAN_UNSAID    VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_UNSPECIFIED
#define PLAN_PREPARING VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING
#define PLAN_REFUSED   VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED
#define PLAN_PREPARED  VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED
#define PLAN_ACTIVE    VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE

typedef Vistter__Control__V1__PlanReport plan_report;

#define SWITCH_TRIES   3
#define PLAUSIBLE_S    60 // a cursor nearer than this to the clock's is preferred to others
#define CURSOR_MAX     (INT64_C(1) << 50) // for calculations
#define PROMOTE_LATE_S 2

static void text_set(struct channel *channel, const char *text)
{
    snprintf(channel->text, sizeof channel->text, "%s", text);
}

static struct rate plan_rate(const channel_plan_message *message)
{
    return (struct rate){(int32_t)message->rate_num, (int32_t)message->rate_den};
}

static const channel_plan_message *channel_message(const struct channel *channel)
{
    if (channel->wanted)
        return channel->wanted;
    return channel->current ? channel->current->message : channel->next->message;
}

// ---- Where the channel is ---------------------------------------------------------------------

int64_t channel_cursor(const struct farm *farm, const struct channel *channel, struct farm_time now)
{
    const channel_plan_message *message = channel_message(channel);
    struct rate rate = plan_rate(message);
    int64_t clock =
        rate_frame_at_ns(rate, now.realtime_ns - message->epoch_ns - message->playout_delay_ns);
    int64_t plausible = (int64_t)rate.num * PLAUSIBLE_S / rate.den;
    int64_t cursor = INT64_MIN, far = clock;
    const char *name, *address;
    for (int i = 0; channel->current && (name = plan_edge(channel->current, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        const Vistter__Control__V1__ChannelReport *report =
            edge && edge->alive ? farm_channel_report(edge, channel->id) : NULL;
        if (!report || report->plan_epoch == 0 || llabs(report->cursor / 2) > CURSOR_MAX / 2)
            continue;
        int64_t at = report->cursor + rate_frame_at_ns(rate, now.monotonic_ns - edge->report_ns);
        if (llabs(at - clock) <= plausible)
            cursor = at > cursor ? at : cursor;
        else if (far == clock || llabs(at - clock) < llabs(far - clock))
            far = at;
    }
    // What is on air wins where our clock was set, and no edge is where it says.
    return cursor == INT64_MIN ? far : cursor;
}

int64_t switch_margin(const channel_plan_message *message)
{
    return message->lead_frames + FARM_MARGIN;
}

// ---- Dropping ---------------------------------------------------------------------------------

static void next_drop(struct farm *farm, struct channel *channel)
{
    farm_plan_touch(farm, channel->next);
    plan_destroy(&channel->next);
    channel->phase = PHASE_IDLE;
    channel->waits_on_store = channel->unsure = false;
}

void channel_plans_drop(struct farm *farm, struct channel *channel)
{
    if (!channel->current && !channel->next)
        return;
    publishers_leave(channel);
    farm_plan_touch(farm, channel->current);
    channel->known_epoch = channel->last_plan_epoch; // edges are to drop them, too
    channel->asked_epoch = 0;
    plan_destroy(&channel->current);
    next_drop(farm, channel);
    channel->text[0] = 0;
}

void next_give_up(struct farm *farm, struct channel *channel, int64_t retry_ns)
{
    log_warning("plan_given_up", "channel=%llu plan_epoch=%u reason=\"%s\"",
                (unsigned long long)channel->id, channel->next->message->plan_epoch, channel->text);
    farm->plans_given_up++;
    next_drop(farm, channel);
    channel->dirty = true;
    channel->retry_ns = retry_ns;
}

static void node_exclude(struct channel *channel, const char *node, int64_t until_ns)
{
    struct exclusion *oldest = &channel->excluded[0];
    for (int i = 0; i < FARM_EXCLUDED_MAX; i++) {
        if (!strcmp(channel->excluded[i].node, node)) {
            oldest = &channel->excluded[i];
            break;
        }
        if (channel->excluded[i].until_ns < oldest->until_ns)
            oldest = &channel->excluded[i];
    }
    snprintf(oldest->node, sizeof oldest->node, "%s", node);
    oldest->until_ns = until_ns;
}

// ---- Proposing --------------------------------------------------------------------------------

// Nobody can do it: what was refused is tried again after a pause, since media may have been
// mended.
static void propose_failed(struct channel *channel, const struct diagnostic *why, int64_t now_ns)
{
    bool excluded = false;
    for (int i = 0; i < FARM_EXCLUDED_MAX; i++) {
        excluded |= channel->excluded[i].until_ns > now_ns;
        channel->excluded[i].until_ns = 0;
    }
    // With exclusions the refusal's own words say more than that nobody is left.
    if (!excluded || !channel->text[0])
        text_set(channel, why->text);
    channel->retry_ns = now_ns + FARM_RETRY_NS;
}

// Whether the timeline's first frame is to be the first of the next plan.
static bool begins_at_switch(const struct channel *channel)
{
    return channel->wanted->start_frame == FARM_START_AT_SWITCH &&
           !(channel->current && channel->current->run == channel->run);
}

// Where a plan will probably take effect: nodes position their decoders there.
static void switch_estimate(const struct farm *farm, struct channel *channel, struct plan *plan,
                            struct farm_time now)
{
    static const int seconds[SWITCH_TRIES + 1] = {1, 3, 9, 9};
    channel_plan_message *message = plan->message;
    bool begins = begins_at_switch(channel);
    int64_t allowance =
        (int64_t)message->rate_num * seconds[channel->switch_tries] / message->rate_den;
    message->at_frame =
        channel_cursor(farm, channel, now) + switch_margin(message) + (begins ? allowance : 0);
    if (message->at_frame <= channel->last_at_frame)
        message->at_frame = channel->last_at_frame + 1;
    if (message->start_frame == FARM_START_AT_SWITCH)
        message->start_frame = begins ? message->at_frame : channel->current->message->start_frame;
}

// The store may have lost what leaders before this one reserved, and this one's number may be lost
// in turn: each leaves out other numbers, by its own epoch, which are milliseconds at least.
static uint32_t next_epoch(const struct farm *farm, const struct channel *channel)
{
    uint32_t gap = farm->config.epoch_gap;
    if (!gap || channel->proposed)
        return channel->last_plan_epoch + 1;
    return channel->last_plan_epoch + gap + (uint32_t)(farm->config.leader_epoch / 250 % 4096) + 1;
}

static void channel_propose(struct farm *farm, struct channel *channel, struct farm_time now)
{
    struct plan_placement placement;
    struct diagnostic why = {0};
    uint32_t epoch = next_epoch(farm, channel);
    int64_t now_ns = now.monotonic_ns;
    int r = farm_place(farm, channel, epoch, now_ns, &placement, &why);
    if (r < 0) {
        propose_failed(channel, &why, now_ns);
        return;
    }
    // The same as on air has to be written all the same, where the store has another that was
    // dropped.
    if (channel->current && !channel->replaces && plan_matches(channel->current, channel) &&
        placement_equal(&channel->current->placement, &placement)) {
        placement_finish(&placement);
        channel->dirty = false;
        channel->text[0] = 0;
        return;
    }
    r = plan_create(farm, channel->wanted, &placement, epoch, &channel->next);
    placement_finish(&placement);
    if (r < 0) {
        snprintf(channel->text, sizeof channel->text, "the plan cannot be made: %s", strerror(-r));
        channel->retry_ns = now_ns + FARM_RETRY_NS;
        return;
    }
    channel->next->run = channel->run;
    switch_estimate(farm, channel, channel->next, now);
    channel->last_plan_epoch = epoch;
    channel->proposed = true;
    channel->phase = PHASE_RESERVING;
    channel->proposed_ns = now_ns;
    channel->store_ns = now_ns;
    channel->dirty = false;
    farm->plans_proposed++;
    log_info("plan_proposed", "channel=%llu plan_epoch=%u groups=%d edge=%s",
             (unsigned long long)channel->id, epoch, channel->next->placement.group_count,
             channel->next->placement.edges[0]);
}

// ---- Preparing --------------------------------------------------------------------------------

static bool next_refused(struct farm *farm, struct channel *channel, int64_t now_ns)
{
    const char *name, *address;
    uint32_t epoch = channel->next->message->plan_epoch;
    for (int i = 0; (name = plan_node(channel->next, i, &address)); i++) {
        const plan_report *report = farm_plan_report(farm_node(farm, name), channel->id, epoch);
        if (report->state != PLAN_REFUSED)
            continue;
        snprintf(channel->text, sizeof channel->text, "%s refused: %s", name,
                 *report->reason ? report->reason : "it does not say why");
        node_exclude(channel, name, now_ns + FARM_EXCLUDE_NS);
        next_give_up(farm, channel, 0);
        return true;
    }
    return false;
}

// A provider that somebody cannot take frames from: others may be within reach.
static bool next_unreachable(struct farm *farm, struct channel *channel, int64_t now_ns)
{
    const struct plan *plan = channel->next;
    const char *name, *address, *other, *at;
    if (now_ns - channel->proposed_ns <= FARM_LINK_NS)
        return false;
    for (int i = 0; (name = plan_node(plan, i, &address)); i++) {
        const plan_report *report =
            farm_plan_report(farm_node(farm, name), channel->id, plan->message->plan_epoch);
        for (int k = 0; report->state == PLAN_PREPARING && (other = plan_node(plan, k, &at)); k++) {
            if (!*at || strcmp(at, report->waits_for))
                continue;
            snprintf(channel->text, sizeof channel->text, "%s cannot reach %s at %s", name, other,
                     at);
            node_exclude(channel, other, now_ns + FARM_EXCLUDE_NS);
            next_give_up(farm, channel, 0);
            return true;
        }
    }
    return false;
}

// Lost nodes, and those that take too long.
static bool next_stuck(struct farm *farm, struct channel *channel, int64_t now_ns)
{
    const char *name, *address, *stuck = NULL;
    uint32_t epoch = channel->next->message->plan_epoch;
    int64_t age_ns = now_ns - channel->proposed_ns;
    bool lost = false;
    for (int i = 0; (name = plan_node(channel->next, i, &address)); i++) {
        if (farm_node_lost(farm, name, now_ns)) {
            lost = true;
            stuck = name;
            break;
        }
        Vistter__Control__V1__PlanState state =
            farm_plan_report(farm_node(farm, name), channel->id, epoch)->state;
        int64_t limit_ns = state == PLAN_UNSAID ? FARM_PREPARE_NS : FARM_FETCH_NS;
        if (state < PLAN_PREPARED && age_ns > limit_ns) {
            node_exclude(channel, name, now_ns + FARM_EXCLUDE_NS);
            stuck = name;
        }
    }
    if (!stuck)
        return false;
    snprintf(channel->text, sizeof channel->text,
             lost ? "%s was lost while it prepared a plan" : "%s did not prepare a plan in time",
             stuck);
    next_give_up(farm, channel, lost ? now_ns + FARM_WORD_NS : 0);
    return true;
}

// All edges, and of each group the provider and a standby where there are any: a second one is for
// what hardly ever happens, and joins when it can.
static bool next_prepared(const struct farm *farm, const struct channel *channel)
{
    const struct plan *plan = channel->next;
    const char *name, *address;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        Vistter__Control__V1__PlanState state =
            farm_plan_report(farm_node(farm, name), channel->id, plan->message->plan_epoch)->state;
        if (state < PLAN_PREPARED || state == PLAN_REFUSED)
            return false;
    }
    for (int g = 0; g < plan->placement.group_count; g++) {
        const struct plan_group *group = &plan->placement.groups[g];
        bool any = !group->standby_count;
        for (int k = 0; k < group->standby_count; k++)
            any = any ||
                  farm_group_prepared(farm_node(farm, group->standbys[k].node), plan, group->group);
        if (!any || !farm_group_prepared(farm_node(farm, group->provider), plan, group->group))
            return false;
    }
    return true;
}

static void preparing_step(struct farm *farm, struct channel *channel, struct farm_time now)
{
    if (channel->wanted && !plan_matches(channel->next, channel)) {
        text_set(channel, "changed again before it was ready");
        next_give_up(farm, channel, 0);
        return;
    }
    if (next_refused(farm, channel, now.monotonic_ns) ||
        next_unreachable(farm, channel, now.monotonic_ns) ||
        next_stuck(farm, channel, now.monotonic_ns) || !next_prepared(farm, channel))
        return;
    const channel_plan_message *message = channel->next->message;
    int64_t at = channel_cursor(farm, channel, now) + switch_margin(message);
    if (at <= channel->last_at_frame)
        at = channel->last_at_frame + 1;
    bool at_switch = begins_at_switch(channel);
    if (at_switch && at > message->start_frame && channel->switch_tries < SWITCH_TRIES) {
        // Preparing took longer than thought; the timeline is to start with its first frame. A
        // prepared plan never changes, so this takes another, which finds the media warm.
        channel->switch_tries++;
        text_set(channel, "preparing took longer than planned");
        next_give_up(farm, channel, 0);
        return;
    }
    if (at_switch && at < message->start_frame)
        at = message->start_frame;
    plan_pack(channel->next, at);
    channel->phase = PHASE_COMMITTING;
    channel->store_ns = now.monotonic_ns;
}

// ---- Store ------------------------------------------------------------------------------------

static void reserve_step(struct farm *farm, struct channel *channel, int64_t now_ns,
                         const struct farm_outputs *outputs)
{
    uint32_t epoch = channel->next->message->plan_epoch;
    if (!outputs->reserve) {
        farm_reserved(farm, channel->id, epoch, 0);
        return;
    }
    if (channel->waits_on_store || now_ns < channel->store_ns)
        return;
    channel->waits_on_store = true;
    channel->store_ns = now_ns + FARM_STORE_NS;
    outputs->reserve(outputs->opaque, channel->id, epoch);
}

void farm_reserved(struct farm *farm, uint64_t id, uint32_t plan_epoch, int result)
{
    struct channel *channel = farm_channel_find(farm, id);
    if (!channel || channel->phase != PHASE_RESERVING ||
        channel->next->message->plan_epoch != plan_epoch)
        return;
    channel->waits_on_store = channel->moved = false;
    if (result < 0) {
        text_set(channel, "the database cannot be written; changes wait");
        return;
    }
    channel->phase = PHASE_PREPARING;
    farm_plan_touch(farm, channel->next);
}

void commit_hand_out(struct channel *channel, struct plan *plan, bool restored,
                     const struct farm_outputs *outputs)
{
    if (!plan->bytes)
        plan_pack(plan, plan->at_frame);
    struct farm_commit commit = {.channel = channel->id,
                                 .plan_epoch = plan->message->plan_epoch,
                                 .restored = restored,
                                 .replaces = restored ? 0 : channel->replaces,
                                 .at_frame = plan->at_frame,
                                 .plan = plan->bytes,
                                 .plan_bytes = plan->size};
    if (plan->message->revision.len == sizeof commit.revision)
        memcpy(commit.revision, plan->message->revision.data, sizeof commit.revision);
    channel->waits_on_store = true;
    outputs->commit(outputs->opaque, &commit);
}

static void commit_step(struct channel *channel, int64_t now_ns, const struct farm_outputs *outputs)
{
    if (channel->waits_on_store || now_ns < channel->store_ns)
        return;
    channel->store_ns = now_ns + FARM_STORE_NS;
    commit_hand_out(channel, channel->next, false, outputs);
}

void farm_committed(struct farm *farm, uint64_t id, uint32_t plan_epoch, int result,
                    struct farm_time now)
{
    struct channel *channel = farm_channel_find(farm, id);
    if (channel && farm_restored(channel, plan_epoch, result))
        return;
    if (!channel || channel->phase != PHASE_COMMITTING ||
        channel->next->message->plan_epoch != plan_epoch)
        return;
    channel->waits_on_store = false;
    // Refused now, it may still have been written by a try whose answer was lost: only the row
    // says. Either the lease comes back, or this coordinator ends.
    if (result == -ESTALE && !channel->unsure) {
        text_set(channel, "another coordinator leads, or the channel has changed meanwhile");
        next_give_up(farm, channel, now.monotonic_ns + FARM_RETRY_NS);
        return;
    }
    if (result < 0) {
        channel->unsure = true;
        text_set(channel, "the database cannot be written; changes wait");
        return;
    }
    channel->unsure = false;
    struct plan *plan = channel->next;
    plan->unstored = channel->moved;
    channel->moved = false;
    plan->message->committed = true;
    plan->message->at_frame = plan->at_frame;
    channel->last_at_frame = plan->at_frame;
    channel->phase = PHASE_ARMED;
    channel->switch_tries = 0;
    channel->replaces = 0;
    channel->text[0] = 0;
    plan_seal(farm, plan);
    farm->plans_committed++;
    farm_plan_touch(farm, plan);
    log_info("plan_committed", "channel=%llu plan_epoch=%u at_frame=%lld", (unsigned long long)id,
             plan_epoch, (long long)plan->at_frame);
}

// ---- On air -----------------------------------------------------------------------------------

// Active on every edge that lives. Workers have no clock: what is on air, edges say.
static bool next_active(const struct farm *farm, const struct channel *channel,
                        struct farm_time now)
{
    const struct plan *plan = channel->next;
    const char *name, *address;
    int alive = 0, active = 0;
    for (int i = 0; (name = plan_edge(plan, i, &address)); i++) {
        const struct node *edge = farm_node(farm, name);
        if (!edge || !edge->alive)
            continue;
        alive++;
        active +=
            farm_plan_report(edge, channel->id, plan->message->plan_epoch)->state == PLAN_ACTIVE;
    }
    if (alive > 0)
        return active == alive;
    if (!farm->settled)
        return false; // they may be on their way
    // With its edges gone nobody says so any more; the frame passes all the same.
    int64_t late = (int64_t)plan->message->rate_num * PROMOTE_LATE_S / plan->message->rate_den;
    return channel_cursor(farm, channel, now) > plan->at_frame + late;
}

static void armed_step(struct farm *farm, struct channel *channel, struct farm_time now)
{
    // The current one may be being written again: the answer is about that.
    if (channel->waits_on_store || !next_active(farm, channel, now))
        return;
    farm_plan_touch(farm, channel->current);
    plan_destroy(&channel->current);
    channel->current = channel->next;
    channel->next = NULL;
    channel->phase = PHASE_IDLE;
    log_info("plan_active", "channel=%llu plan_epoch=%u", (unsigned long long)channel->id,
             channel->current->message->plan_epoch);
}

// A lost node of the plan on air is a reason to plan again; says so in any case.
static void current_check(struct farm *farm, struct channel *channel, int64_t now_ns)
{
    const char *name, *address;
    for (int i = 0; channel->current && (name = plan_node(channel->current, i, &address)); i++) {
        const struct node *node = farm_node(farm, name);
        if (!farm_node_lost(farm, name, now_ns)) {
            // Back at another address: its links lead nowhere.
            bool moved = node && strcmp(node->report->frame_address, address);
            channel->dirty |= moved;
            continue;
        }
        channel->dirty = true;
        if (!channel->text[0])
            snprintf(channel->text, sizeof channel->text, "%s is lost", name);
    }
}

// Whether a node that is not in the plan could have a part in it.
static bool other_node(const struct farm *farm, const struct channel *channel,
                       Vistter__Control__V1__NodeRole role, int64_t now_ns)
{
    for (int i = 0; i < farm->node_count; i++) {
        const struct node *node = farm->nodes[i];
        if (node->alive && node->report->role == role &&
            !plan_needs(channel->current, node->name) && !farm_node_drains(farm, node->name) &&
            !channel_excludes(channel, node->name, now_ns))
            return true;
    }
    return false;
}

// Whether the groups' workers and the outputs' edges that are left do all that the plan asks for.
// Who of two edges publishes is no matter of the plan (farm_publish.c).
static bool others_serve(const struct farm *farm, const struct channel *channel)
{
    const struct plan *plan = channel->current;
    const struct plan_placement *p = &plan->placement;
    for (int g = 0; g < p->group_count; g++) {
        const struct plan_group *group = &p->groups[g];
        bool served = farm_node_serves(farm, group->provider, group->provider_address);
        for (int k = 0; k < group->standby_count; k++)
            served = served ||
                     farm_node_serves(farm, group->standbys[k].node, group->standbys[k].address);
        if (!served)
            return false;
    }
    for (int o = 0; o < p->output_count; o++) {
        const struct node *edge = farm_node(farm, p->edges[o]);
        const struct node *backup = farm_node(farm, p->backups[o]);
        if ((!edge || !edge->alive) && (!backup || !backup->alive))
            return false;
    }
    return true;
}

// A node is lost, all that it did comes from others, and nobody could take its place: what is on
// air is best left alone for a while.
static bool awaits_return(const struct farm *farm, const struct channel *channel, int64_t now_ns)
{
    const struct plan *plan = channel->current;
    const char *name, *address;
    bool lost = false;
    if (!plan || !plan_matches(plan, channel))
        return false;
    for (int i = 0; (name = plan_node(plan, i, &address)); i++) {
        const struct node *node = farm_node(farm, name);
        if (!node || farm_node_drains(farm, name) ||
            strcmp(node->report->frame_address, address) != 0 ||
            now_ns - node->report_ns > FARM_NODE_LOST_NS + FARM_RETURN_NS)
            return false;
        if (!node->alive && other_node(farm, channel, node->report->role, now_ns))
            return false;
        lost = lost || !node->alive;
    }
    return lost && others_serve(farm, channel);
}

void channel_step(struct farm *farm, struct channel *channel, struct farm_time now,
                  const struct farm_outputs *outputs)
{
    int64_t now_ns = now.monotonic_ns;
    protection_look(farm, channel, now_ns);
    if (!channel->running) {
        channel_plans_drop(farm, channel);
        return;
    }
    if (channel->phase == PHASE_ARMED)
        armed_step(farm, channel, now);
    if (channel->phase == PHASE_IDLE && channel->wanted)
        current_check(farm, channel, now_ns);
    // Costs have been measured meanwhile, and other channels have come or gone. The planner moves
    // nothing without need (planner.h, rule 5).
    if (channel->phase == PHASE_IDLE && now_ns >= channel->review_ns &&
        now_ns - farm->start_ns >= FARM_REVIEW_NS) {
        channel->dirty = true;
        channel->review_ns = now_ns + FARM_REVIEW_NS;
    }
    if (farm->deposed || outputs->fenced)
        return; // what is on air stays; changes are the new leader's
    publish_step(farm, channel);
    if (!restored_step(channel, now_ns, outputs) || channel->adopted || channel->asked_epoch)
        return; // first what was
    overlays_step(farm, channel);
    if (channel->phase == PHASE_IDLE && channel->wanted && channel->dirty &&
        now_ns >= channel->retry_ns && now_ns - farm->start_ns >= FARM_SETTLE_NS &&
        farm->places < FARM_PLACES_MAX && !awaits_return(farm, channel, now_ns) &&
        !channel_awaits_word(farm, channel, now_ns)) {
        farm->places++;
        channel_propose(farm, channel, now);
    }
    if (channel->phase == PHASE_RESERVING)
        reserve_step(farm, channel, now_ns, outputs);
    if (channel->phase == PHASE_PREPARING)
        preparing_step(farm, channel, now);
    if (channel->phase == PHASE_COMMITTING)
        commit_step(channel, now_ns, outputs);
}
