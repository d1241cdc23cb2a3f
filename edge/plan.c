#include "edge/plan.h"

#include "edge/deliver/message.h"
#include "edge/encode/video_encoder.h"
#include "engine/base/thread.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__ChannelPlan channel_message;
typedef Vistter__Control__V1__GroupPlan group_message;
typedef Vistter__Control__V1__OutputPlan output_message;
typedef Vistter__Control__V1__RenditionPlan rendition_message;

#define DEFAULT_DELAY_NS INT64_C(1600000000)
#define DELAY_NS_MAX     INT64_C(60000000000)
#define DEFAULT_VIDEO    3000000
#define DEFAULT_AUDIO    160000

static int refuse(struct diagnostic *reterr, const char *path, const char *text)
{
    return diagnostic_set(reterr, -EINVAL, "plan_invalid", path, "%s", text);
}

// False when it does not fit.
static bool copy_text(char *dst, size_t size, const char *src)
{
    size_t length = strlen(src);
    if (length >= size)
        return false;
    memcpy(dst, src, length + 1);
    return true;
}

static bool size_valid(uint32_t width, uint32_t height)
{
    return width >= 16 && height >= 16 && width <= PICTURE_SIDE_MAX && height <= PICTURE_SIDE_MAX &&
           width % 2 == 0 && height % 2 == 0;
}

static int parse_group(const group_message *message, const char *node, const struct plan *p,
                       struct plan_group *g, struct diagnostic *reterr)
{
    uint32_t width = message->width ? message->width : (uint32_t)p->width;
    uint32_t height = message->height ? message->height : (uint32_t)p->height;
    if (!size_valid(width, height))
        return refuse(reterr, "groups.width", "a group needs an even size between 16 and 16384");
    g->group = message->group;
    g->width = (int)width;
    g->height = (int)height;
    g->from_base = message->from_base;
    g->provider_count = link_targets(message, node, g->providers, reterr);
    return g->provider_count < 0 ? g->provider_count : 0;
}

static bool output_shows(const output_message *output, uint32_t group)
{
    for (size_t i = 0; i < output->n_groups; i++)
        if (output->groups[i] == group)
            return true;
    return output->n_groups == 0;
}

// As its edge or as its backup.
static bool makes(const output_message *output, const char *node)
{
    return !strcmp(output->edge, node) || !strcmp(output->backup_edge, node);
}

// Groups that no output of this edge shows are no business of it.
static bool group_needed(const channel_message *message, const char *node, uint32_t group)
{
    for (size_t i = 0; i < message->n_outputs; i++)
        if (makes(message->outputs[i], node) && output_shows(message->outputs[i], group))
            return true;
    return false;
}

static int parse_groups(const channel_message *message, const char *node, struct plan *p,
                        struct diagnostic *reterr)
{
    if (message->n_groups < 1 || message->n_groups > MIXER_GROUPS_MAX)
        return refuse(reterr, "groups", "a plan has 1 to 64 groups");
    for (size_t i = 0; i < message->n_groups; i++) {
        if (i && message->groups[i]->group <= message->groups[i - 1]->group)
            return refuse(reterr, "groups", "groups are listed bottom to top, by rising number");
        if (!group_needed(message, node, message->groups[i]->group))
            continue;
        int result = parse_group(message->groups[i], node, p, &p->groups[p->group_count++], reterr);
        if (result)
            return result;
    }
    if (!p->group_count)
        return refuse(reterr, "outputs.groups", "no group is shown by an output of this edge");
    return 0;
}

static int add_destination(const Vistter__Control__V1__DestinationPlan *from, bool backup,
                           bool others, struct plan_rendition *r, struct diagnostic *reterr)
{
    if (r->destination_count == PLAN_DESTINATIONS_MAX)
        return refuse(reterr, "destinations", "an edge feeds at most 32 addresses by a rendition");
    struct plan_destination *d = &r->destinations[r->destination_count++];
    d->destination = from->destination;
    d->backup = backup;
    d->others = others;
    d->kind = (int)from->kind;
    bool second = backup && d->kind == DELIVER_KIND_RTMP;
    if (d->kind < DELIVER_KIND_RTMP || d->kind > DELIVER_KIND_PREVIEW)
        return refuse(reterr, "destinations.kind", "this edge does not know such destinations");
    if (!copy_text(d->url, sizeof d->url, second ? from->backup_url : from->url) ||
        !copy_text(d->name, sizeof d->name, from->name))
        return refuse(reterr, "destinations.url", "a destination's address is too long");
    return 0;
}

static int parse_destinations(const rendition_message *message, const output_message *output,
                              const char *node, struct plan_rendition *r, struct diagnostic *reterr)
{
    bool backup = strcmp(output->edge, node) != 0, alone = !*output->backup_edge;
    int result = 0;
    for (size_t i = 0; i < message->n_destinations && !result; i++) {
        const Vistter__Control__V1__DestinationPlan *from = message->destinations[i];
        bool rtmp = from->kind == VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RTMP;
        if (!backup || rtmp)
            result = add_destination(from, false, backup, r, reterr);
        if (!result && (rtmp ? *from->backup_url != 0 : backup))
            result = add_destination(from, true, !backup && !alone, r, reterr);
    }
    return result;
}

static int parse_rendition(const rendition_message *message, const struct plan *p,
                           const struct plan_output *output, struct plan_rendition *r,
                           struct diagnostic *reterr)
{
    struct rate rate = p->rate;
    r->output = output->output;
    r->rendition = message->rendition;
    if (message->width > PICTURE_SIDE_MAX || message->height > PICTURE_SIDE_MAX ||
        message->video_bitrate > 200000000 || message->audio_bitrate > 512000 ||
        message->gop_frames > VIDEO_GOP_MAX)
        return refuse(reterr, "renditions", "a rendition's size, rate or GOP is out of range");
    r->width = message->width ? (int)message->width : output->width;
    r->height = message->height ? (int)message->height : output->height;
    r->video_bitrate = message->video_bitrate ? (int)message->video_bitrate : DEFAULT_VIDEO;
    r->audio_bitrate = message->audio_bitrate ? (int)message->audio_bitrate : DEFAULT_AUDIO;
    r->gop_frames = message->gop_frames ? (int)message->gop_frames
                                        : (4 * rate.num + rate.den) / (2 * rate.den); // 2 s
    if (!copy_text(r->preset, sizeof r->preset, *message->preset ? message->preset : "veryfast"))
        return refuse(reterr, "renditions.preset", "no such preset");
    return 0;
}

// Where the other edge gives its packets.
static int parse_other(const output_message *message, const struct plan *p, const char *node,
                       struct plan_output *o, struct diagnostic *reterr)
{
    bool backup = strcmp(message->edge, node) != 0;
    const char *address = backup ? message->edge_address : message->backup_address;
    if (!*message->backup_edge || !*address)
        return 0;
    if (message->relay_key.len != sizeof o->other.key)
        return refuse(reterr, "outputs.relay_key", "a link key has 32 bytes");
    if (!copy_text(o->other.node, sizeof o->other.node,
                   backup ? message->edge : message->backup_edge) ||
        !copy_text(o->other.address, sizeof o->other.address, address))
        return refuse(reterr, "outputs.edge_address", "an edge's name or address is too long");
    memcpy(o->other.key, message->relay_key.data, sizeof o->other.key);
    // A publisher adds its destination's number.
    snprintf(o->other.link_id, sizeof o->other.link_id, "r%" PRIu64 "-p%" PRIu32 "-o%" PRIu32,
             p->channel, p->epoch, message->output);
    return 0;
}

static int parse_output(const output_message *message, struct plan *p, struct plan_output *o,
                        struct diagnostic *reterr)
{
    uint32_t width = message->width ? message->width : (uint32_t)p->width;
    uint32_t height = message->height ? message->height : (uint32_t)p->height;
    if (!size_valid(width, height))
        return refuse(reterr, "outputs.width", "an output needs an even size between 16 and 16384");
    o->output = message->output;
    o->width = (int)width;
    o->height = (int)height;
    if (!copy_text(o->name, sizeof o->name, message->name))
        return refuse(reterr, "outputs.name", "an output's name is too long");
    for (int i = 0; i < p->group_count; i++) {
        if (!output_shows(message, p->groups[i].group))
            continue;
        if (p->groups[i].width != o->width || p->groups[i].height != o->height)
            return refuse(reterr, "outputs.groups", "a group of another size cannot be shown");
        o->groups[o->group_count++] = i;
    }
    return 0;
}

static int parse_outputs(const channel_message *message, const char *node, struct plan *p,
                         struct diagnostic *reterr)
{
    for (size_t i = 0; i < message->n_outputs; i++) {
        const output_message *output = message->outputs[i];
        if (!makes(output, node))
            continue;
        if (p->output_count == PLAN_OUTPUTS_MAX)
            return refuse(reterr, "outputs", "an edge makes at most 8 outputs of a channel");
        struct plan_output *o = &p->outputs[p->output_count++];
        int result = parse_output(output, p, o, reterr);
        if (!result)
            result = parse_other(output, p, node, o, reterr);
        for (size_t k = 0; k < output->n_renditions && !result; k++) {
            if (p->rendition_count == PLAN_RENDITIONS_MAX)
                return refuse(reterr, "outputs.renditions", "an edge makes at most 8 renditions");
            struct plan_rendition *r = &p->renditions[p->rendition_count++];
            result = parse_rendition(output->renditions[k], p, o, r, reterr);
            if (!result)
                result = parse_destinations(output->renditions[k], output, node, r, reterr);
        }
        if (result)
            return result;
    }
    return 0;
}

static int parse_format(const channel_message *m, struct plan *p, struct diagnostic *reterr)
{
    if (!size_valid(m->width, m->height))
        return refuse(reterr, "width", "the picture needs an even size between 16 and 16384");
    if (!m->rate_num || !m->rate_den || m->rate_num > 240000 || m->rate_den > 1001 ||
        m->rate_num / m->rate_den > 240 || m->rate_num < m->rate_den)
        return refuse(reterr, "rate_num", "the frame rate must lie between 1 and 240");
    if (m->revision.len < sizeof p->revision)
        return refuse(reterr, "revision", "the revision's SHA-256 is missing");
    if (m->playout_delay_ns < 0 || m->playout_delay_ns > DELAY_NS_MAX)
        return refuse(reterr, "playout_delay_ns", "the playout delay must lie between 0 and 60 s");
    p->channel = m->channel;
    if (!copy_text(p->name, sizeof p->name, m->channel_name))
        return refuse(reterr, "channel_name", "the channel's name is too long");
    p->epoch = m->plan_epoch;
    p->committed = m->committed;
    p->at_frame = m->at_frame;
    p->warm = m->redundancy == VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_WARM;
    p->hot = m->redundancy == VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_HOT;
    p->without_optional = m->without_optional;
    p->width = (int)m->width;
    p->height = (int)m->height;
    p->rate = (struct rate){(int32_t)m->rate_num, (int32_t)m->rate_den};
    p->epoch_ns = m->epoch_ns;
    p->playout_delay_ns = m->playout_delay_ns ? m->playout_delay_ns : DEFAULT_DELAY_NS;
    p->lead_frames = m->lead_frames < 1      ? p->rate.num / p->rate.den * 2
                     : m->lead_frames > 1000 ? 1000
                                             : (int)m->lead_frames;
    memcpy(p->revision, m->revision.data, sizeof p->revision);
    if (m->slate.len && m->slate.len != sizeof p->slate)
        return refuse(reterr, "slate", "the slate's SHA-256 has 32 bytes");
    if (m->slate.len)
        memcpy(p->slate, m->slate.data, sizeof p->slate);
    return 0;
}

int plan_parse(const channel_message *message, const char *node, struct plan **ret,
               struct diagnostic *reterr)
{
    struct plan *p = base_alloc(sizeof *p);
    atomic_init(&p->references, 1);
    int result = parse_format(message, p, reterr);
    if (!result)
        result = parse_groups(message, node, p, reterr);
    if (!result)
        result = parse_outputs(message, node, p, reterr);
    if (result)
        plan_unref(&p);
    else
        *ret = p;
    return result;
}

struct plan *plan_ref(const struct plan *plan)
{
    struct plan *p = (struct plan *)plan;
    atomic_fetch_add(&p->references, 1);
    return p;
}

void plan_unref(struct plan **plan)
{
    struct plan *p = *plan;
    *plan = NULL;
    if (!p || atomic_fetch_sub(&p->references, 1) != 1)
        return;
    OPENSSL_cleanse(p, sizeof *p);
    free(p);
}
