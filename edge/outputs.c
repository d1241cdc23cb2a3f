#include "edge/outputs.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct target {
    struct plan_destination plan;
    struct outlet *outlet;          // for the preview: the shared one
    struct deliver_publish publish; // RTMP: what it was told
};

struct output {
    struct outputs *owner;
    struct plan_rendition plan;
    struct rate rate;
    uint64_t channel;
    char channel_name[128]; // with the output's name: recordings are called so
    struct rendition *rendition;
    struct gops gops;
    struct relay_stream *relay; // NULL: there is no relay
    struct link_target other;   // the edge that makes the same; node "": none
    bool reached;               // that edge gives a sign of life
    _Atomic int64_t fresh_from; // frame, see outputs_stale; 0: all is fresh
    // -- guarded by lock
    pthread_mutex_t lock;
    struct target targets[PLAN_DESTINATIONS_MAX + 1];
    int target_count;
};

struct outputs {
    // -- constant after create
    struct outputs_config config;
    // -- guarded by lock; changed by the control thread only
    pthread_mutex_t lock;
    struct output *items[PLAN_RENDITIONS_MAX];
    int count;
    // -- guarded by unplanned_lock
    pthread_mutex_t unplanned_lock;
    struct unplanned unplanned;
};

// Pictures begin again with a key.
static bool is_stale(struct output *o, const struct packet *p)
{
    int64_t from = atomic_load(&o->fresh_from);
    if (!from)
        return false;
    if (p->stream == PACKET_AUDIO)
        return p->dts < rate_first_sample(o->rate, from);
    bool fresh = p->key && p->pts >= from;
    if (fresh)
        atomic_compare_exchange_strong(&o->fresh_from, &from, 0);
    return !fresh;
}

static void on_packet(void *opaque, struct packet *packet)
{
    struct output *o = opaque;
    bool stale = is_stale(o, packet);
    gops_add(&o->gops, packet);
    if (o->relay && !stale)
        relay_stream_push(o->relay, packet);
    pthread_mutex_lock(&o->lock);
    for (int i = 0; i < o->target_count; i++)
        if (!stale || o->targets[i].plan.kind == DELIVER_KIND_RECORDING)
            outlet_push(o->targets[i].outlet, o->channel, packet);
    pthread_mutex_unlock(&o->lock);
    packet_unref(&packet);
}

// ---- Destinations ------------------------------------------------------------------------------

static void fill_setup(const struct output *o, const struct plan_destination *d,
                       struct deliver_setup *ret)
{
    const struct outputs_config *c = &o->owner->config;
    *ret = (struct deliver_setup){
        .kind = (enum deliver_kind)d->kind,
        .programme = o->channel,
        .width = o->plan.width,
        .height = o->plan.height,
        .rate = o->rate,
        .video_bitrate = o->plan.video_bitrate,
        .audio_bitrate = o->plan.audio_bitrate,
        .segment_seconds = c->segment_seconds,
        .viewers_max = c->viewers_max,
    };
    snprintf(ret->name, sizeof ret->name, "%s", o->channel_name);
    const char *url = d->kind == DELIVER_KIND_PREVIEW ? c->preview_listen : d->url;
    if (d->kind == DELIVER_KIND_RECORDING && *url != '/')
        snprintf(ret->url, sizeof ret->url, "%s%s%s", c->record_folder, *url ? "/" : "", url);
    else
        snprintf(ret->url, sizeof ret->url, "%s", url);
    size_t size;
    const uint8_t *bytes = rendition_video_extradata(o->rendition, &size);
    ret->video_extradata_size = size > sizeof ret->video_extradata ? 0 : (uint32_t)size;
    memcpy(ret->video_extradata, bytes, ret->video_extradata_size);
    bytes = rendition_audio_extradata(o->rendition, &size);
    ret->audio_extradata_size = size > sizeof ret->audio_extradata ? 0 : (uint32_t)size;
    memcpy(ret->audio_extradata, bytes, ret->audio_extradata_size);
}

// ---- Publishing -------------------------------------------------------------------------------

static struct deliver_publish publish_of(const struct output *o, const struct plan_destination *d)
{
    const struct publish *p = o->owner->config.publish;
    const struct publish_grant *g = p ? publish_find(p, o->channel, o->plan.output) : NULL;
    struct deliver_publish ret = {.mode = publish_mode(p, g, d->backup, !d->others, *o->other.node,
                                                       o->reached, clock_monotonic_ns())};
    if (g)
        ret.id = g->id;
    return ret;
}

// Where a publisher finds the other edge's packets; one that is not to publish takes none.
static void tell_second(const struct output *o, const struct target *t)
{
    bool there = *o->other.node && t->publish.mode != PUBLISH_NO;
    struct deliver_second second = {.there = there};
    if (there) {
        snprintf(second.address, sizeof second.address, "%s", o->other.address);
        snprintf(second.consumer, sizeof second.consumer, "%s", o->owner->config.node);
        snprintf(second.link_id, sizeof second.link_id, "%.42s.%llu%s", o->other.link_id,
                 (unsigned long long)t->plan.destination, t->plan.backup ? "b" : "");
        memcpy(second.key, o->other.key, sizeof second.key);
        second.channel = o->channel;
        second.group = relay_group(o->plan.output, o->plan.rendition);
        second.latency_ms = o->owner->config.frame_latency_ms;
    }
    outlet_set_second(t->outlet, &second);
    explicit_bzero(&second, sizeof second);
}

static void tend_target(struct output *o, struct target *t)
{
    struct deliver_report report;
    outlet_report(t->outlet, &report);
    if (report.taken && t->publish.mode != PUBLISH_NO && o->owner->config.publish)
        publish_taken(o->owner->config.publish, o->channel, o->plan.output, t->plan.backup);
    struct deliver_publish now = publish_of(o, &t->plan);
    bool was = t->publish.mode != PUBLISH_NO, is = now.mode != PUBLISH_NO;
    // Where nobody is named any more, what was taken from it by a name is its own again.
    if (now.mode == t->publish.mode && now.id.leader == t->publish.id.leader &&
        now.id.epoch == t->publish.id.epoch && (!report.taken || now.id.epoch))
        return;
    if (was != is)
        log_info(is ? "publisher_begins" : "publisher_ends", "channel=%llu destination=%llu%s",
                 (unsigned long long)o->channel, (unsigned long long)t->plan.destination,
                 t->plan.backup ? " backup" : "");
    t->publish = now;
    outlet_set_publish(t->outlet, &now);
    if (was != is)
        tell_second(o, t);
}

static bool hears_other(const struct output *o)
{
    bool heard = o->relay && relay_takers(o->owner->config.relay, o->channel);
    for (int i = 0; i < o->target_count && !heard; i++) {
        struct deliver_report report;
        outlet_report(o->targets[i].outlet, &report);
        heard = report.other == DELIVER_OTHER_HEARD;
    }
    return heard;
}

void outputs_tend(struct outputs *outputs)
{
    for (int i = 0; i < outputs->count; i++) {
        struct output *o = outputs->items[i];
        o->reached = hears_other(o);
        // Whom we take over from is told first.
        const struct publish *p = outputs->config.publish;
        const struct publish_grant *g = p ? publish_find(p, o->channel, o->plan.output) : NULL;
        for (int which = 0; o->relay && which < 2; which++)
            relay_stream_claim(o->relay, which,
                               g && !strcmp(g->holders[which], outputs->config.node) &&
                                   !g->taken[which],
                               g ? g->id : (struct publish_id){0});
        for (int k = 0; k < o->target_count; k++)
            if (o->targets[k].plan.kind == DELIVER_KIND_RTMP)
                tend_target(o, &o->targets[k]);
    }
}

static void add_target(struct output *o, const struct plan_destination *d)
{
    static const char *const kinds[] = {"none", "rtmp", "recording", "preview"};
    bool preview = d->kind == DELIVER_KIND_PREVIEW;
    if (preview && !o->owner->config.preview)
        return;
    char label[48];
    snprintf(label, sizeof label, "%s-%llu%s", kinds[d->kind], (unsigned long long)d->destination,
             d->backup ? "-backup" : "");
    struct target t = {.plan = *d};
    t.outlet = preview ? o->owner->config.preview : outlet_create(o->owner->config.hub, label);
    struct deliver_setup setup;
    fill_setup(o, d, &setup);
    if (d->kind == DELIVER_KIND_RTMP) { // before it connects
        t.publish = publish_of(o, d);
        outlet_set_publish(t.outlet, &t.publish);
    }
    outlet_set_programme(t.outlet, &setup);
    explicit_bzero(&setup, sizeof setup);
    pthread_mutex_lock(&o->lock);
    o->targets[o->target_count++] = t;
    pthread_mutex_unlock(&o->lock);
}

static void remove_target(struct output *o, int index)
{
    pthread_mutex_lock(&o->lock);
    struct target t = o->targets[index];
    o->targets[index] = o->targets[--o->target_count];
    pthread_mutex_unlock(&o->lock);
    if (t.plan.kind == DELIVER_KIND_PREVIEW)
        outlet_clear_programme(t.outlet, o->channel);
    else
        outlet_destroy(&t.outlet);
}

static bool same_destination(const struct plan_destination *a, const struct plan_destination *b)
{
    return a->destination == b->destination && a->backup == b->backup && a->kind == b->kind &&
           !strcmp(a->url, b->url);
}

static void apply_destinations(struct output *o, const struct plan_rendition *r, bool preview)
{
    struct plan_destination wanted[PLAN_DESTINATIONS_MAX + 1];
    int count = 0;
    struct plan_destination shown = {.kind = DELIVER_KIND_PREVIEW};
    for (int i = 0; i < r->destination_count; i++) {
        if (r->destinations[i].kind != DELIVER_KIND_PREVIEW)
            wanted[count++] = r->destinations[i];
        else
            shown.destination = r->destinations[i].destination;
    }
    if (preview)
        wanted[count++] = shown;
    for (int i = o->target_count - 1; i >= 0; i--) {
        bool keep = false;
        for (int k = 0; k < count && !keep; k++)
            keep = same_destination(&o->targets[i].plan, &wanted[k]);
        if (!keep)
            remove_target(o, i);
    }
    for (int k = 0; k < count; k++) {
        bool there = false;
        for (int i = 0; i < o->target_count && !there; i++)
            there = same_destination(&o->targets[i].plan, &wanted[k]);
        if (!there)
            add_target(o, &wanted[k]);
        for (int i = 0; i < o->target_count && there; i++) // it may be another edge's by now
            if (same_destination(&o->targets[i].plan, &wanted[k]))
                o->targets[i].plan.others = wanted[k].others;
    }
    explicit_bzero(wanted, sizeof wanted);
}

// The other edge's packets, for our publishers, and ours for its.
static void apply_other(struct output *o, const struct plan *plan)
{
    const struct link_target *other = NULL;
    for (int i = 0; i < plan->output_count; i++)
        if (plan->outputs[i].output == o->plan.output && *plan->outputs[i].other.node)
            other = &plan->outputs[i].other;
    if (!o->relay)
        return;
    relay_stream_allow(o->relay, other);
    explicit_bzero(&o->other, sizeof o->other);
    if (other)
        o->other = *other;
}

static void tell_other(const struct output *o)
{
    for (int i = 0; i < o->target_count; i++)
        if (o->targets[i].plan.kind == DELIVER_KIND_RTMP)
            tell_second(o, &o->targets[i]);
}

// ---- Renditions --------------------------------------------------------------------------------

static void output_end(void *opaque)
{
    struct output *o = opaque;
    // First the encoder, which gives its last packets, then those who take them.
    rendition_destroy(&o->rendition);
    relay_stream_destroy(&o->relay);
    while (o->target_count)
        remove_target(o, o->target_count - 1);
    gops_finish(&o->gops);
    pthread_mutex_destroy(&o->lock);
    explicit_bzero(&o->plan, sizeof o->plan);
    explicit_bzero(&o->other, sizeof o->other);
    free(o);
}

// The preview goes at once, since the channel's next rendition takes its place there.
static void output_destroy(struct output *o)
{
    for (int i = o->target_count - 1; i >= 0; i--)
        if (o->targets[i].plan.kind == DELIVER_KIND_PREVIEW)
            remove_target(o, i);
    reaper_give(o->owner->config.reaper, output_end, o);
}

static int output_create(struct outputs *owner, const struct plan *plan,
                         const struct plan_rendition *r, struct output **ret,
                         struct diagnostic *reterr)
{
    struct output *o = base_alloc(sizeof *o);
    o->owner = owner;
    o->plan = *r;
    o->rate = plan->rate;
    o->channel = plan->channel;
    const char *output = "";
    for (int i = 0; i < plan->output_count; i++)
        if (plan->outputs[i].output == r->output)
            output = plan->outputs[i].name;
    snprintf(o->channel_name, sizeof o->channel_name, "%s%s%s", plan->name, *output ? "-" : "",
             output);
    mutex_init_urgent(&o->lock);
    gops_init(&o->gops, plan->rate);
    if (owner->config.relay)
        o->relay = relay_stream_create(owner->config.relay, plan->channel, r->output, r->rendition);
    char name[32];
    snprintf(name, sizeof name, "encode-%u-%u", r->output, r->rendition);
    struct rendition_config config = {
        .name = name,
        .width = r->width,
        .height = r->height,
        .video_bitrate = r->video_bitrate,
        .audio_bitrate = r->audio_bitrate,
        .gop_frames = r->gop_frames,
        .rate = plan->rate,
        .preset = r->preset,
        .on_packet = on_packet,
        .opaque = o,
    };
    int result = rendition_create(&config, &o->rendition, reterr);
    if (result) {
        relay_stream_destroy(&o->relay);
        gops_finish(&o->gops);
        pthread_mutex_destroy(&o->lock);
        free(o);
        return result;
    }
    *ret = o;
    return 0;
}

static bool same_rendition(const struct output *o, const struct plan *plan,
                           const struct plan_rendition *r)
{
    const struct plan_rendition *p = &o->plan;
    return p->output == r->output && p->rendition == r->rendition && p->width == r->width &&
           p->height == r->height && p->video_bitrate == r->video_bitrate &&
           p->audio_bitrate == r->audio_bitrate && p->gop_frames == r->gop_frames &&
           !strcmp(p->preset, r->preset) && o->rate.num == plan->rate.num &&
           o->rate.den == plan->rate.den;
}

static int preview_rendition(const struct plan *plan)
{
    for (int i = 0; i < plan->rendition_count; i++)
        for (int k = 0; k < plan->renditions[i].destination_count; k++)
            if (plan->renditions[i].destinations[k].kind == DELIVER_KIND_PREVIEW)
                return i;
    return 0;
}

static struct output *take_same(struct outputs *outputs, const struct plan *plan,
                                const struct plan_rendition *r)
{
    for (int i = 0; i < outputs->count; i++)
        if (outputs->items[i] && same_rendition(outputs->items[i], plan, r))
            return outputs->items[i];
    return NULL;
}

int outputs_apply(struct outputs *outputs, const struct plan *plan, struct diagnostic *reterr)
{
    struct output *next[PLAN_RENDITIONS_MAX], *gone[PLAN_RENDITIONS_MAX];
    int count = 0, gone_count = 0, result = 0, preview = preview_rendition(plan);
    for (int i = 0; i < plan->rendition_count; i++) {
        struct output *o = take_same(outputs, plan, &plan->renditions[i]);
        int error =
            o ? 0 : output_create(outputs, plan, &plan->renditions[i], &o, result ? NULL : reterr);
        if (error) {
            result = result ? result : error;
            continue;
        }
        next[count++] = o;
    }
    pthread_mutex_lock(&outputs->lock);
    for (int i = 0; i < outputs->count; i++) {
        bool kept = false;
        for (int k = 0; k < count; k++)
            kept = kept || next[k] == outputs->items[i];
        if (!kept)
            gone[gone_count++] = outputs->items[i];
    }
    memcpy(outputs->items, next, sizeof next[0] * (size_t)count);
    outputs->count = count;
    pthread_mutex_unlock(&outputs->lock);
    // What goes first makes room for what comes: a preview programme is one per channel.
    for (int i = 0; i < gone_count; i++)
        output_destroy(gone[i]);
    for (int i = 0; i < count; i++)
        for (int k = 0; k < plan->rendition_count; k++)
            if (same_rendition(next[i], plan, &plan->renditions[k])) {
                apply_other(next[i], plan);
                apply_destinations(next[i], &plan->renditions[k], k == preview);
                tell_other(next[i]);
            }
    return result;
}

struct outputs *outputs_create(const struct outputs_config *config)
{
    struct outputs *o = base_alloc(sizeof *o);
    o->config = *config;
    mutex_init_urgent(&o->lock);
    mutex_init_urgent(&o->unplanned_lock);
    return o;
}

void outputs_destroy(struct outputs **outputs)
{
    struct outputs *o = *outputs;
    if (!o)
        return;
    *outputs = NULL;
    for (int i = 0; i < o->count; i++)
        output_destroy(o->items[i]);
    pthread_mutex_destroy(&o->lock);
    pthread_mutex_destroy(&o->unplanned_lock);
    free(o);
}

void outputs_unplanned(struct outputs *outputs, int64_t from, int64_t to)
{
    pthread_mutex_lock(&outputs->unplanned_lock);
    unplanned_add(&outputs->unplanned, from, to);
    pthread_mutex_unlock(&outputs->unplanned_lock);
}

void outputs_stale(struct outputs *outputs, int64_t next)
{
    pthread_mutex_lock(&outputs->lock);
    for (int i = 0; i < outputs->count; i++)
        atomic_store(&outputs->items[i]->fresh_from, next);
    pthread_mutex_unlock(&outputs->lock);
}

int outputs_gops(struct outputs *outputs, struct outputs_gop *ret, int max)
{
    int count = 0;
    for (int i = 0; i < outputs->count; i++) {
        struct output *o = outputs->items[i];
        struct gop_sum sums[2 * GOPS_KEPT];
        int sum_count = *o->other.node ? gops_read(&o->gops, sums) : 0;
        pthread_mutex_lock(&outputs->unplanned_lock);
        for (int k = 0; k < sum_count && count < max; k++)
            ret[count++] = (struct outputs_gop){
                o->plan.output, o->plan.rendition,
                sums[k].whole && !unplanned_has(&outputs->unplanned, sums[k].from, sums[k].to),
                sums[k]};
        pthread_mutex_unlock(&outputs->unplanned_lock);
    }
    return count;
}

void outputs_push(struct outputs *outputs, uint32_t output, const struct programme_frame *frame)
{
    pthread_mutex_lock(&outputs->lock);
    for (int i = 0; i < outputs->count; i++)
        if (outputs->items[i]->plan.output == output)
            rendition_push(outputs->items[i]->rendition, frame);
    pthread_mutex_unlock(&outputs->lock);
}

void outputs_rest(struct outputs *outputs, bool previews)
{
    for (int i = 0; i < outputs->count; i++) {
        struct output *o = outputs->items[i];
        bool others = *o->other.node; // its publishers may come for our packets
        for (int k = 0; k < o->target_count; k++)
            others = others || o->targets[k].plan.kind != DELIVER_KIND_PREVIEW;
        rendition_set_idle(o->rendition, previews && !others);
    }
}

void outputs_stats(struct outputs *outputs, struct rendition_stats *ret)
{
    *ret = (struct rendition_stats){0};
    for (int i = 0; i < outputs->count; i++) {
        struct rendition_stats s;
        rendition_stats(outputs->items[i]->rendition, &s);
        ret->frames += s.frames;
        ret->dropped += s.dropped;
        ret->failed += s.failed;
        ret->waiting = s.waiting > ret->waiting ? s.waiting : ret->waiting;
        ret->frame = s.frame > ret->frame ? s.frame : ret->frame;
        if (s.median_ms > ret->median_ms) {
            ret->median_ms = s.median_ms;
            ret->p99_ms = s.p99_ms;
        }
    }
}

int outputs_destinations(struct outputs *outputs, struct outputs_destination *ret, int max)
{
    int count = 0;
    for (int i = 0; i < outputs->count; i++) {
        for (int k = 0; k < outputs->items[i]->target_count && count < max; k++) {
            const struct target *t = &outputs->items[i]->targets[k];
            if (t->plan.kind == DELIVER_KIND_PREVIEW && !t->plan.destination)
                continue; // not one that anybody asked for
            if (t->plan.kind == DELIVER_KIND_RTMP && t->publish.mode == PUBLISH_NO)
                continue;
            ret[count].destination = t->plan.destination;
            ret[count].backup = t->plan.backup;
            outlet_report(t->outlet, &ret[count++].report);
        }
    }
    return count;
}
