#include "edge/slot.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_want(void *opaque, int index, int provider, const struct frame_want *want)
{
    struct slot *slot = opaque;
    link_want(slot->links[index][provider], want);
}

static enum link_life life_of(void *opaque, int index, int provider)
{
    struct slot *slot = opaque;
    return link_life(slot->links[index][provider]);
}

static void on_turned(void *opaque, int index, int from, int to, enum takeover_reason why,
                      int64_t n)
{
    const struct slot *slot = opaque;
    const struct plan_group *group = &slot->armed->groups[index];
    log_warning("provider_changed",
                "channel=%llu plan=%u group=%u from=%s reason=\"%s\" to=%s frame=%lld",
                (unsigned long long)slot->armed->channel, slot->armed->epoch, group->group,
                group->providers[from].node, takeover_reason_name(why), group->providers[to].node,
                (long long)n);
}

static void on_answered(void *opaque, int index, int provider, int64_t after_ns, int64_t slack)
{
    const struct slot *slot = opaque;
    const struct plan_group *group = &slot->armed->groups[index];
    log_info("provider_answered", "channel=%llu plan=%u group=%u from=%s after_ms=%lld slack=%lld",
             (unsigned long long)slot->armed->channel, slot->armed->epoch, group->group,
             group->providers[provider].node, (long long)(after_ns / 1000000), (long long)slack);
}

static void on_compared(void *opaque, int index, const struct intake_sample *sample)
{
    const struct slot *slot = opaque;
    const struct plan_group *group = &slot->armed->groups[index];
    const char *const nodes[2] = {group->providers[sample->providers[0]].node,
                                  group->providers[sample->providers[1]].node};
    purity_note(slot->purity, group->group, nodes, sample);
}

void slot_destroy(struct slot **slot_of, struct links *links)
{
    struct slot *slot = *slot_of;
    *slot_of = NULL;
    if (slot->intake)
        links_remove_intake(links, slot->intake);
    intake_destroy(&slot->intake);
    for (int i = 0; i < slot->plan->group_count; i++)
        for (int k = 0; k < slot->plan->groups[i].provider_count; k++)
            links_release(links, &slot->links[i][k]);
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++)
        slate_unref(&slot->slates[i]);
    plan_unref(&slot->plan);
    plan_unref(&slot->armed);
    free(slot);
}

int slot_create(const struct plan *plan, struct links *links, struct purity *purity,
                struct slot **ret, struct diagnostic *reterr)
{
    struct slot *slot = base_alloc(sizeof *slot);
    slot->plan = plan_ref(plan);
    slot->purity = purity;
    int result = 0;
    for (int i = 0; i < plan->group_count; i++)
        for (int k = 0; k < plan->groups[i].provider_count && !result; k++)
            result =
                links_acquire(links, &plan->groups[i].providers[k], &slot->links[i][k], reterr);
    if (result) {
        slot_destroy(&slot, links);
        return result;
    }
    *ret = slot;
    return 0;
}

int slot_make_intake(struct slot *slot, struct links *links, int64_t cursor, size_t window_bytes,
                     struct intake **ret, struct diagnostic *reterr)
{
    const struct plan *p = slot->plan;
    struct intake_config config = {
        .channel = p->channel,
        .plan_epoch = p->epoch,
        .rate = p->rate,
        .lead_frames = p->lead_frames,
        .group_count = p->group_count,
        .cursor = slot->from > cursor ? slot->from : cursor,
        .end = slot->from, // nothing yet
        .bytes_max = window_bytes,
        .latency_ms = links_latency_ms(links),
        .urgent = true,
        .want = on_want,
        .life = life_of,
        .turned = on_turned,
        .answered = on_answered,
        .compared = on_compared,
        .warm = p->warm,
        .hot = p->hot,
        .opaque = slot,
    };
    memcpy(config.revision, p->revision, sizeof config.revision);
    for (int i = 0; i < p->group_count; i++) {
        config.groups[i] = (struct intake_group){.group = p->groups[i].group,
                                                 .width = p->groups[i].width,
                                                 .height = p->groups[i].height,
                                                 .providers = p->groups[i].provider_count};
        for (int k = 0; k < p->groups[i].provider_count; k++)
            config.groups[i].sources[k] = slot->links[i][k];
    }
    slot->armed = plan_ref(p);
    int result = intake_create(&config, ret);
    if (!result && (result = links_add_intake(links, *ret)))
        intake_destroy(ret);
    if (!result)
        return 0;
    plan_unref(&slot->armed);
    return diagnostic_set(reterr, result, "plan_resources", "",
                          "this edge has no room for another plan");
}

bool slot_waits_for(const struct slot *s, char *ret, size_t size)
{
    for (int i = 0; i < s->plan->group_count; i++) {
        bool connected[TAKEOVER_PROVIDERS_MAX];
        int count = s->plan->groups[i].provider_count;
        for (int k = 0; k < count; k++)
            connected[k] = link_connected(s->links[i][k]);
        int awaited = links_await(connected, count);
        if (awaited >= 0) {
            snprintf(ret, size, "%s", link_address(s->links[i][awaited]));
            return true;
        }
    }
    return false;
}

void slot_group(const struct slot *slot, int index, struct channel_group *ret)
{
    const struct plan_group *group = &slot->armed->groups[index];
    int provider = intake_provider(slot->intake, index, &ret->takeovers);
    ret->group = group->group;
    ret->standby = provider > 0;
    snprintf(ret->node, sizeof ret->node, "%s", group->providers[provider].node);
}
