#include "edge/publish.h"

#include "engine/link/control_link.h"
#include "proto/control.pb-c.h"

#include <stdio.h>
#include <string.h>

// A leader knows after a lease and its margin whom to name.
#define FORGET_NS (4 * CONTROL_LEASE_NS)

typedef Vistter__Control__V1__DesiredState desired_state;
typedef Vistter__Control__V1__Publisher publisher;

void publish_start(struct publish *p, const char *node, int64_t now_ns)
{
    p->node = node;
    p->start_ns = now_ns;
}

const struct publish_grant *publish_find(const struct publish *p, uint64_t channel, uint32_t output)
{
    for (int i = 0; i < p->grant_count; i++)
        if (p->grants[i].channel == channel && p->grants[i].output == output)
            return &p->grants[i];
    return NULL;
}

static struct publish_grant *find_or_add(struct publish *p, uint64_t channel, uint32_t output)
{
    const struct publish_grant *found = publish_find(p, channel, output);
    if (found)
        return &p->grants[found - p->grants];
    if (p->grant_count == PUBLISH_GRANTS_MAX)
        return NULL;
    struct publish_grant *g = &p->grants[p->grant_count++];
    *g = (struct publish_grant){.channel = channel, .output = output};
    return g;
}

static bool is_listed(const desired_state *message, uint64_t channel)
{
    for (size_t i = 0; i < message->n_channels; i++)
        if (message->channels[i]->channel == channel)
            return true;
    return false;
}

void publish_take(struct publish *p, const desired_state *message)
{
    p->told = message->epoch;
    for (int i = p->grant_count - 1; i >= 0; i--)
        if (!is_listed(message, p->grants[i].channel))
            p->grants[i] = p->grants[--p->grant_count];
    for (size_t i = 0; i < message->n_publishers; i++) {
        const publisher *said = message->publishers[i];
        struct publish_grant *g =
            is_listed(message, said->channel) ? find_or_add(p, said->channel, said->output) : NULL;
        struct publish_id id = {message->epoch, said->epoch};
        if (!g)
            continue;
        if (id.epoch != g->id.epoch || id.leader != g->id.leader)
            g->taken[0] = g->taken[1] = false;
        g->id = id;
        snprintf(g->holders[0], sizeof g->holders[0], "%s", said->first);
        snprintf(g->holders[1], sizeof g->holders[1], "%s", said->second);
    }
}

void publish_sent(struct publish *p, uint64_t instance, uint64_t sequence, int64_t at_ns)
{
    p->instance = instance;
    p->sent[sequence % PUBLISH_SENT_MAX].sequence = sequence;
    p->sent[sequence % PUBLISH_SENT_MAX].at_ns = at_ns;
    if (p->seen != p->told)
        p->seen_ns = at_ns;
    p->seen = p->told;
    for (int i = p->grant_count - 1; i >= 0 && at_ns - p->seen_ns > FORGET_NS; i--)
        if (p->grants[i].id.leader != p->told)
            p->grants[i] = p->grants[--p->grant_count];
}

void publish_renew(struct publish *p, uint64_t leader, uint64_t instance, uint64_t sequence)
{
    int at = (int)(sequence % PUBLISH_SENT_MAX);
    if (!sequence || instance != p->instance || p->sent[at].sequence != sequence)
        return; // of a life before, or long past
    if (leader == p->leader && p->sent[at].at_ns < p->lease_ns)
        return; // overtaken
    p->heard = true;
    p->leader = leader;
    p->lease_ns = p->sent[at].at_ns;
}

bool publish_holds(const struct publish *p, const struct publish_grant *g, int which,
                   int64_t now_ns)
{
    return !strcmp(g->holders[which], p->node) && !g->taken[which] && p->leader &&
           g->id.leader == p->leader && now_ns - p->lease_ns < CONTROL_LEASE_NS;
}

enum publish_mode publish_mode(const struct publish *p, const struct publish_grant *g, int which,
                               bool planned, bool other, bool reached, int64_t now_ns)
{
    if (!g)
        return planned ? PUBLISH_YES : PUBLISH_NO;
    if (strcmp(g->holders[which], p->node) != 0 || g->taken[which])
        return PUBLISH_NO;
    if (publish_holds(p, g, which, now_ns) || !other)
        return PUBLISH_YES;
    // This edge was away: by now another may have been named.
    if (!p->heard && now_ns - p->start_ns < CONTROL_LEASE_NS + CONTROL_LEASE_MARGIN_NS)
        return PUBLISH_WAIT;
    return reached ? PUBLISH_YES : PUBLISH_KEEP;
}

void publish_taken(struct publish *p, uint64_t channel, uint32_t output, int which)
{
    const struct publish_grant *g = publish_find(p, channel, output);
    if (g)
        p->grants[g - p->grants].taken[which] = true;
}

size_t publish_report(const struct publish *p, publisher *ret, publisher **list)
{
    for (int i = 0; i < p->grant_count; i++) {
        const struct publish_grant *g = &p->grants[i];
        publisher *r = list[i] = &ret[i];
        vistter__control__v1__publisher__init(r);
        r->channel = g->channel;
        r->output = g->output;
        r->leader = g->id.leader;
        r->epoch = g->id.epoch;
        r->first = (char *)(uintptr_t)g->holders[0];
        r->second = (char *)(uintptr_t)g->holders[1];
    }
    return (size_t)p->grant_count;
}
