#include "coordinator/channel_plan.h"

#include "engine/base/thread.h"
#include "engine/timeline/timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAD_SECONDS  3
#define AUDIO_BITRATE 160000
#define URL_BYTES     1600
// Bits per pixel that the platforms recommend for H.264 at 30 frames a second: 3 Mbit/s at 720p.
#define BITS_PER_PIXEL 0.11

static enum planner_kind clip_cost_kind(const struct clip *clip)
{
    switch (clip->kind) {
    case CLIP_VIDEO:
    case CLIP_CAMERA:
        return PLANNER_KIND_VIDEO;
    case CLIP_TIMELINE:
        return PLANNER_KIND_TIMELINE;
    case CLIP_ADJUST:
        return PLANNER_KIND_ADJUST;
    case CLIP_AUDIO:
        return PLANNER_KIND_AUDIO;
    case CLIP_SEQUENCE:
        return PLANNER_KIND_MOVING;
    default:
        break;
    }
    bool moves = clip->position.count > 1 || clip->size.count > 1 || clip->rotation.count > 1 ||
                 (clip->text && clip->text->motion != TEXT_STILL);
    return moves ? PLANNER_KIND_MOVING : PLANNER_KIND_STILL;
}

// Which of two kinds costs more, by the planner's own estimate.
static enum planner_kind dearer(enum planner_kind a, enum planner_kind b,
                                const struct store_channel *c)
{
    uint32_t width = (uint32_t)c->width, height = (uint32_t)c->height;
    return planner_default_us(a, width, height) >= planner_default_us(b, width, height) ? a : b;
}

static void fill_tracks(struct channel_plan *p, const struct channel_parts *parts,
                        const struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->track_count; i++) {
        const struct track *track = &timeline->tracks[i];
        p->kinds[i] = PLANNER_KIND_EMPTY;
        p->tracks[i].start_us = parts->start_us[i];
        p->optional[i] = timeline_has_optional(timeline, (int)i, (int)i + 1);
        for (size_t k = 0; k < track->clip_count; k++) {
            p->kinds[i] = dearer(p->kinds[i], clip_cost_kind(&track->clips[k]), parts->channel);
            p->tracks[i].has_adjust |= track->clips[k].kind == CLIP_ADJUST;
        }
    }
    p->channel.tracks = p->tracks;
    p->channel.kinds = p->kinds;
    p->channel.optional = p->optional;
    p->channel.track_count = (int)timeline->track_count;
}

static void fill_cuts(struct channel_plan *p, const char *cuts, size_t track_count)
{
    uint32_t last = 0;
    p->channel.cuts = p->cuts;
    p->channel.cut_count = 0;
    for (char *end; *cuts; cuts = *end ? end + 1 : end) {
        unsigned long cut = strtoul(cuts, &end, 10);
        if (end == cuts)
            return;
        if (cut > last && cut < track_count && p->channel.cut_count < PLANNER_TRACKS_MAX)
            p->cuts[p->channel.cut_count++] = last = (uint32_t)cut;
    }
}

static void fill_destination(struct channel_plan *p, const struct store_destination *from, size_t i)
{
    static const Vistter__Control__V1__DestinationKind kinds[] = {
        [STORE_RTMP] = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RTMP,
        [STORE_RECORDING] = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RECORDING,
        [STORE_PREVIEW] = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_PREVIEW,
    };
    Vistter__Control__V1__DestinationPlan *d = &p->destinations[i];
    char *url = p->urls + 2 * i * URL_BYTES, *backup = url + URL_BYTES;
    const char *slash = from->key[0] ? "/" : "";
    vistter__control__v1__destination_plan__init(d);
    snprintf(url, URL_BYTES, "%s%s%s", from->url, slash, from->key);
    if (*from->backup_url)
        snprintf(backup, URL_BYTES, "%s%s%s", from->backup_url, slash, from->key);
    d->destination = from->id;
    d->kind = kinds[from->kind];
    d->name = (char *)from->name;
    d->url = url;
    d->backup_url = backup;
}

// The destinations of one output; `*used` counts those filled so far.
static void fill_destinations(struct channel_plan *p, const struct channel_parts *parts,
                              uint64_t output, Vistter__Control__V1__RenditionPlan *rendition,
                              size_t *used)
{
    rendition->destinations = p->destination_pointers + *used;
    for (size_t i = 0; i < parts->destination_count; i++) {
        if (parts->destinations[i].output != output)
            continue;
        fill_destination(p, &parts->destinations[i], *used);
        p->destination_pointers[*used] = &p->destinations[*used];
        ++*used;
        rendition->n_destinations++;
    }
}

// Each output has one rendition: the picture as it is.
static void fill_rendition(struct channel_plan *p, int i, const struct store_output *o,
                           const struct store_channel *c)
{
    Vistter__Control__V1__RenditionPlan *r = &p->renditions[i];
    Vistter__Control__V1__OutputPlan *output = &p->outputs[i];
    double rate = (double)c->rate.num / c->rate.den;
    double bits = BITS_PER_PIXEL * o->width * o->height * rate;
    vistter__control__v1__rendition_plan__init(r);
    r->rendition = 1;
    r->width = (uint32_t)o->width;
    r->height = (uint32_t)o->height;
    r->video_bitrate = bits < 300000 ? 300000 : bits > 20000000 ? 20000000 : (uint32_t)bits;
    r->audio_bitrate = AUDIO_BITRATE;
    r->gop_frames = (uint32_t)(2 * rate + 0.5);
    r->preset = "veryfast";
    vistter__control__v1__output_plan__init(output);
    // Numbers stay with an output as long as it lives; the programme is 1.
    output->output = (uint32_t)(o->id + 1);
    output->name = (char *)o->name;
    output->width = (uint32_t)o->width;
    output->height = (uint32_t)o->height;
    output->tracks = (uint32_t)o->tracks;
    p->rendition_pointers[i] = r;
    output->n_renditions = 1;
    output->renditions = &p->rendition_pointers[i];
    p->output_pointers[i] = output;
}

static void fill_outputs(struct channel_plan *p, const struct channel_parts *parts)
{
    const struct store_channel *c = parts->channel;
    size_t count = parts->destination_count, used = 0;
    p->destination_count = count;
    p->urls = base_alloc(2 * (count + 1) * URL_BYTES);
    p->destinations = base_alloc((count + 1) * sizeof *p->destinations);
    p->destination_pointers = base_alloc((count + 1) * sizeof *p->destination_pointers);
    p->programme = (struct store_output){.width = c->width, .height = c->height};
    for (size_t i = 0; i <= parts->output_count && i < PLANNER_OUTPUTS_MAX; i++) {
        const struct store_output *o = i ? &parts->outputs[i - 1] : &p->programme;
        fill_rendition(p, (int)i, o, c);
        fill_destinations(p, parts, o->id, &p->renditions[i], &used);
        p->message.n_outputs++;
    }
    p->message.outputs = p->output_pointers;
}

static void parse_sha256(const char *hex, uint8_t ret[32])
{
    for (int i = 0; i < 32; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        ret[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static bool has_content(const struct channel_plan *p, const char *content)
{
    for (int i = 0; i < p->content_count; i++)
        if (!strcmp(p->contents[i], content))
            return true;
    return false;
}

// `ret_open`: it shows sequences, whose pictures their lists name.
static void add_contents(struct channel_plan *p, const struct timeline *t, bool *ret_open)
{
    static const char prefix[] = "sha256:";
    for (size_t i = 0; i < t->asset_count; i++) {
        const char *content = t->assets[i].uri + strlen(prefix);
        if (strncmp(t->assets[i].uri, prefix, strlen(prefix)) != 0 ||
            strlen(content) != FARM_CONTENT_BYTES - 1 || has_content(p, content))
            continue;
        p->contents = realloc(p->contents, ((size_t)p->content_count + 1) * sizeof *p->contents);
        if (!p->contents)
            abort();
        memcpy(p->contents[p->content_count++], content, FARM_CONTENT_BYTES);
    }
    for (size_t i = 0; i < t->track_count; i++)
        for (size_t k = 0; k < t->tracks[i].clip_count; k++) {
            const struct clip *clip = &t->tracks[i].clips[k];
            *ret_open = *ret_open || clip->kind == CLIP_SEQUENCE;
            if (clip->nested)
                add_contents(p, clip->nested, ret_open);
        }
}

// What nobody is to open of what the timeline shows.
static void fill_poisoned(struct channel_plan *p, const struct channel_parts *parts,
                          const struct timeline *timeline)
{
    bool open = false;
    size_t count = parts->poisoned_count;
    if (!count)
        return;
    add_contents(p, timeline, &open);
    p->poisoned = base_alloc(count * sizeof *p->poisoned);
    p->poisoned_pointers = base_alloc(count * sizeof(void *));
    p->message.poisoned = p->poisoned_pointers;
    for (size_t i = 0; i < count; i++) {
        const struct store_poisoned *from = &parts->poisoned[i];
        if (!open && !has_content(p, from->sha256))
            continue;
        Vistter__Control__V1__PoisonedAsset *to = &p->poisoned[p->message.n_poisoned];
        vistter__control__v1__poisoned_asset__init(to);
        to->content = (char *)from->sha256;
        to->name = (char *)from->name;
        to->picture = from->picture;
        to->hung = from->hung;
        p->poisoned_pointers[p->message.n_poisoned++] = to;
    }
}

// How far ahead workers may render. What people put on air, and what cameras see, is to be seen
// after the playout delay, so that where there are live tracks or cameras nothing is rendered
// before its time.
static int64_t lead_frames(const struct store_channel *c, const struct timeline *timeline)
{
    bool live = timeline && timeline_has_camera(timeline);
    for (size_t i = 0; timeline && i < timeline->track_count; i++)
        live = live || timeline->tracks[i].live;
    if (live)
        return rate_frame_at_ns(c->rate, CHANNEL_PLAYOUT_DELAY_NS);
    return LEAD_SECONDS * (int64_t)c->rate.num / c->rate.den;
}

void channel_plan_init(struct channel_plan *p, const struct channel_parts *parts,
                       const struct timeline *timeline, const char *cuts)
{
    static const Vistter__Control__V1__Redundancy redundancies[] = {
        [STORE_WARM] = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_WARM,
        [STORE_COLD] = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_COLD,
        [STORE_NONE] = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_NONE,
        [STORE_HOT] = VISTTER__CONTROL__V1__REDUNDANCY__REDUNDANCY_HOT,
    };
    const struct store_channel *c = parts->channel;
    memset(p, 0, sizeof *p);
    channel_plan_message *m = &p->message;
    vistter__control__v1__channel_plan__init(m);
    m->channel = c->id;
    m->channel_name = (char *)c->name;
    m->width = (uint32_t)c->width;
    m->height = (uint32_t)c->height;
    m->rate_num = (uint32_t)c->rate.num;
    m->rate_den = (uint32_t)c->rate.den;
    m->epoch_ns = c->epoch_ns;
    m->start_frame = c->start_frame < 0 ? FARM_START_AT_SWITCH : c->start_frame;
    m->redundancy = redundancies[c->redundancy];
    m->playout_delay_ns = CHANNEL_PLAYOUT_DELAY_NS;
    m->lead_frames = lead_frames(c, timeline);
    if (timeline)
        parse_sha256(c->revision, p->revision);
    m->revision = (ProtobufCBinaryData){timeline ? 32 : 0, p->revision};
    if (*c->slate)
        parse_sha256(c->slate, p->slate);
    m->slate = (ProtobufCBinaryData){*c->slate ? 32 : 0, p->slate};
    fill_outputs(p, parts);
    p->channel = (struct farm_channel){
        .plan = m,
        .running = c->on_air && timeline,
        .run = c->run,
        .cut_count = -1,
        .timeline = timeline,
        .backup_edges = c->edges > 1,
        .last_plan_epoch = c->last_plan_epoch,
        .last_at_frame = c->last_at_frame,
    };
    if (timeline) {
        fill_tracks(p, parts, timeline);
        fill_poisoned(p, parts, timeline);
    }
    if (timeline && *cuts)
        fill_cuts(p, cuts, timeline->track_count);
}

void channel_plan_finish(struct channel_plan *p)
{
    if (p->urls)
        explicit_bzero(p->urls, 2 * (p->destination_count + 1) * URL_BYTES);
    free(p->urls);
    free(p->contents);
    free(p->poisoned);
    free(p->poisoned_pointers);
    free(p->destinations);
    free(p->destination_pointers);
}
