// Two edges make the same packets of an output: they say the sums of what they have coded, and here
// they are compared, all the time.
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"

#include <stdio.h>
#include <string.h>

typedef Vistter__Control__V1__ChannelReport channel_report;
typedef Vistter__Control__V1__GopReport gop_report;

// Who makes the same; NULL: nobody who is there.
static const struct node *other_edge(const struct farm *farm, const struct plan *plan,
                                     uint32_t output, const char *name)
{
    const struct plan_placement *p = &plan->placement;
    for (int o = 0; o < p->output_count; o++) {
        if (plan->message->outputs[o]->output != output)
            continue;
        bool edge = !strcmp(p->edges[o], name), backup = !strcmp(p->backups[o], name);
        const struct node *other = edge     ? farm_node(farm, p->backups[o])
                                   : backup ? farm_node(farm, p->edges[o])
                                            : NULL;
        return other && other->alive ? other : NULL;
    }
    return NULL;
}

static const gop_report *find_same(const channel_report *report, const gop_report *gop)
{
    for (size_t i = 0; report && i < report->n_gops; i++) {
        const gop_report *g = report->gops[i];
        if (g->output == gop->output && g->rendition == gop->rendition && g->sound == gop->sound &&
            g->first == gop->first)
            return g;
    }
    return NULL;
}

// What has been compared of a rendition's pictures or sound; NULL: there is no room.
static struct compared *compared_of(struct channel *channel, const gop_report *gop)
{
    for (int i = 0; i < channel->compared_count; i++) {
        struct compared *c = &channel->compared[i];
        if (c->output == gop->output && c->rendition == gop->rendition && c->sound == gop->sound)
            return c;
    }
    if (channel->compared_count == COMPARED_MAX)
        return NULL;
    struct compared *c = &channel->compared[channel->compared_count++];
    *c = (struct compared){gop->output, gop->rendition, gop->sound, INT64_MIN};
    return c;
}

static void mismatch(struct farm *farm, struct channel *channel, const gop_report *gop,
                     const char *a, const char *b)
{
    channel->gops_mismatched++;
    channel->gops_mismatch_ns = farm->tick_ns;
    snprintf(channel->gops_text, sizeof channel->gops_text,
             "output %u, rendition %u: the %s from %s %lld on is not the same on %s and %s",
             gop->output, gop->rendition, gop->sound ? "sound" : "picture",
             gop->sound ? "sample" : "frame", (long long)gop->first, a, b);
    log_error("gop_mismatch", "channel=%llu %s", (unsigned long long)channel->id,
              channel->gops_text);
}

static void compare(struct farm *farm, struct channel *channel, const struct node *node,
                    const gop_report *gop)
{
    const struct node *other = other_edge(farm, channel->current, gop->output, node->name);
    const gop_report *same = other ? find_same(farm_channel_report(other, channel->id), gop) : NULL;
    struct compared *c = same ? compared_of(channel, gop) : NULL;
    if (!c || gop->first <= c->newest)
        return;
    c->newest = gop->first;
    channel->gops_compared++;
    if (same->sum == gop->sum)
        return;
    if (!same->planned || !gop->planned)
        channel->gops_explained++;
    else
        mismatch(farm, channel, gop, node->name, other->name);
}

void farm_gops(struct farm *farm, const struct node *node)
{
    for (size_t i = 0; i < node->report->n_channels; i++) {
        const channel_report *report = node->report->channels[i];
        struct channel *channel = farm_channel_find(farm, report->channel);
        // Of several that were missed the oldest first.
        for (size_t k = 0; channel && channel->current && k < report->n_gops; k++)
            compare(farm, channel, node, report->gops[k]);
    }
}
