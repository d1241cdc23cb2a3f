#include "edge/report.h"

#include "engine/base/clock.h"
#include "engine/link/block_pool.h"
#include "engine/source/nursery.h"
#include "proto/control.pb-c.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESTINATIONS_MAX 128
#define GOPS_MAX         (PLAN_RENDITIONS_MAX * 2 * GOPS_KEPT)
#define PLANS_MAX        CHANNEL_PLANS_MAX
#define STAGES_MAX       4 // of a channel
#define REPORT_TAKES     32
#define ALARMS_MAX       512 // more say nothing that these do not

typedef Vistter__Control__V1__StageReport stage_report;
typedef Vistter__Control__V1__PlanReport plan_report;
typedef Vistter__Control__V1__ChannelReport channel_report;
typedef Vistter__Control__V1__GroupReport group_report;
typedef Vistter__Control__V1__DestinationReport destination_report;
typedef Vistter__Control__V1__GopReport gop_report;
typedef Vistter__Control__V1__MeterReport meter_report;
typedef Vistter__Control__V1__MeterValues meter_values;
typedef Vistter__Control__V1__LiveTake take_report;
typedef Vistter__Control__V1__AlarmReport alarm_report;

// Everything a message points to; static, since reports come ten times a second from one thread.
static struct storage {
    stage_report stages[STATE_CHANNELS_MAX * STAGES_MAX],
        *stage_list[STATE_CHANNELS_MAX * STAGES_MAX];
    plan_report plans[STATE_CHANNELS_MAX * (PLANS_MAX + 1)],
        *plan_list[STATE_CHANNELS_MAX * (PLANS_MAX + 1)];
    struct channel_plan_report channel_plans[STATE_CHANNELS_MAX][PLANS_MAX];
    channel_report channels[STATE_CHANNELS_MAX], *channel_list[STATE_CHANNELS_MAX];
    struct channel_group group_sources[STATE_CHANNELS_MAX][MIXER_GROUPS_MAX];
    group_report groups[STATE_CHANNELS_MAX][MIXER_GROUPS_MAX],
        *group_list[STATE_CHANNELS_MAX][MIXER_GROUPS_MAX];
    destination_report destinations[STATE_CHANNELS_MAX][DESTINATIONS_MAX],
        *destination_list[STATE_CHANNELS_MAX][DESTINATIONS_MAX];
    struct outputs_destination sources[STATE_CHANNELS_MAX][DESTINATIONS_MAX];
    struct outputs_gop sums[STATE_CHANNELS_MAX][GOPS_MAX];
    gop_report gops[STATE_CHANNELS_MAX][GOPS_MAX], *gop_list[STATE_CHANNELS_MAX][GOPS_MAX];
    meter_report meters[STATE_CHANNELS_MAX][PLAN_OUTPUTS_MAX],
        *meter_list[STATE_CHANNELS_MAX][PLAN_OUTPUTS_MAX];
    take_report takes[STATE_CHANNELS_MAX][REPORT_TAKES],
        *take_list[STATE_CHANNELS_MAX][REPORT_TAKES];
    meter_values values[STATE_CHANNELS_MAX][PLAN_OUTPUTS_MAX][METERS_KEPT],
        *value_list[STATE_CHANNELS_MAX][PLAN_OUTPUTS_MAX][METERS_KEPT];
    alarm_report alarms[ALARMS_MAX], *alarm_list[ALARMS_MAX];
    char alarm_text[ALARMS_MAX][256];
    Vistter__Control__V1__HeldPlan held[HELD_MAX], *held_list[HELD_MAX];
    Vistter__Control__V1__Publisher publishers[PUBLISH_GRANTS_MAX],
        *publisher_list[PUBLISH_GRANTS_MAX];
    size_t stage_count, plan_count, alarm_count;
} store;

static void add_stage(uint64_t channel, uint32_t epoch, Vistter__Control__V1__StageKind kind,
                      double median, double p99, int64_t frame, uint64_t frames)
{
    stage_report *s = &store.stages[store.stage_count];
    vistter__control__v1__stage_report__init(s);
    s->channel = channel;
    s->plan_epoch = epoch;
    s->kind = kind;
    s->median_ms = median;
    s->p99_ms = p99;
    s->frame = frame;
    s->frames = frames;
    store.stage_list[store.stage_count++] = s;
}

static void add_plan(uint64_t channel, uint32_t epoch, Vistter__Control__V1__PlanState state,
                     const char *reason, const char *waits_for)
{
    plan_report *p = &store.plans[store.plan_count];
    vistter__control__v1__plan_report__init(p);
    p->channel = channel;
    p->plan_epoch = epoch;
    p->state = state;
    p->reason = (char *)(uintptr_t)reason;
    p->waits_for = (char *)(uintptr_t)waits_for;
    store.plan_list[store.plan_count++] = p;
}

static void add_alarm(uint64_t channel, const char *code, const char *text, uint64_t count)
{
    if (store.alarm_count == ALARMS_MAX)
        return;
    alarm_report *a = &store.alarms[store.alarm_count];
    vistter__control__v1__alarm_report__init(a);
    snprintf(store.alarm_text[store.alarm_count], sizeof store.alarm_text[0], "%s", text);
    a->code = (char *)(uintptr_t)code;
    a->text = store.alarm_text[store.alarm_count];
    a->channel = channel;
    a->count = count;
    store.alarm_list[store.alarm_count++] = a;
}

static void add_plans(int index, uint64_t id, struct channel *channel)
{
    static const Vistter__Control__V1__PlanState states[] = {
        [CHANNEL_PLAN_PREPARING] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARING,
        [CHANNEL_PLAN_PREPARED] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED,
        [CHANNEL_PLAN_ARMED] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ARMED,
        [CHANNEL_PLAN_ACTIVE] = VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE,
    };
    struct channel_plan_report *plans = store.channel_plans[index];
    int count = channel_plans(channel, plans, PLANS_MAX);
    for (int i = 0; i < count; i++)
        add_plan(id, plans[i].epoch, states[plans[i].state], "", plans[i].waits_for);
}

static size_t add_destinations(int index, uint64_t id, struct channel *channel)
{
    int count = channel_destinations(channel, store.sources[index], DESTINATIONS_MAX);
    bool lost = false;
    for (int i = 0; i < count; i++) {
        struct outputs_destination *source = &store.sources[index][i];
        destination_report *d = &store.destinations[index][i];
        vistter__control__v1__destination_report__init(d);
        d->destination = source->destination;
        d->backup = source->backup;
        d->state = (Vistter__Control__V1__DestinationState)source->report.state;
        d->error = source->report.error;
        d->bytes = source->report.bytes;
        d->dropped = source->report.dropped;
        d->reconnects = source->report.reconnects;
        if (*source->report.alarm) {
            char text[256];
            snprintf(text, sizeof text, "destination %llu%s: %s",
                     (unsigned long long)source->destination, source->backup ? " (backup)" : "",
                     source->report.error);
            add_alarm(id, source->report.alarm, text, 1);
        }
        store.destination_list[index][i] = d;
        lost = lost || source->report.other == DELIVER_OTHER_LOST;
    }
    if (lost)
        add_alarm(id, "other_edge_lost",
                  "the packets of the channel's other edge do not come: publishers have this one's "
                  "only",
                  1);
    return (size_t)count;
}

static size_t add_gops(int index, struct channel *channel)
{
    int count = channel_gops(channel, store.sums[index], GOPS_MAX);
    for (int i = 0; i < count; i++) {
        const struct outputs_gop *from = &store.sums[index][i];
        gop_report *g = store.gop_list[index][i] = &store.gops[index][i];
        vistter__control__v1__gop_report__init(g);
        g->output = from->output;
        g->rendition = from->rendition;
        g->planned = from->planned;
        g->sound = from->sum.sound;
        g->first = from->sum.first;
        g->sum = from->sum.sum;
    }
    return (size_t)count;
}

static size_t add_groups(int index, uint64_t id, const struct channel_stats *s)
{
    for (int i = 0; i < s->group_count; i++) {
        if (s->groups[i].standby) {
            char text[160];
            snprintf(text, sizeof text, "group %u comes from its standby, %s", s->groups[i].group,
                     s->groups[i].node);
            add_alarm(id, "standby_active", text, s->groups[i].takeovers);
        }
        group_report *g = &store.groups[index][i];
        vistter__control__v1__group_report__init(g);
        store.group_sources[index][i] = s->groups[i];
        g->group = s->groups[i].group;
        g->takeovers = s->groups[i].takeovers;
        g->node = store.group_sources[index][i].node;
        store.group_list[index][i] = g;
    }
    return (size_t)s->group_count;
}

// The oldest that another leader would not know from the store.
static size_t add_takes(int index, const struct state_channel *item)
{
    size_t count = 0;
    for (size_t i = 0; item->live && i < item->live->count && count < REPORT_TAKES; i++) {
        const struct take_event *event = &item->live->events[i];
        if (event->sequence <= item->stored)
            continue;
        take_report *t = store.take_list[index][count] = &store.takes[index][count];
        vistter__control__v1__live_take__init(t);
        t->sequence = event->sequence;
        t->at_frame = event->at_frame;
        t->take = (char *)(uintptr_t)event->take;
        count++;
    }
    return count;
}

static void add_watch(uint64_t id, const struct meters_output *m, const struct watch_settings *s)
{
    const struct {
        unsigned flag;
        const char *code, *text;
        int seconds;
    } table[] = {
        {WATCH_SILENT, "sound_silent", "has had no sound above -60 dBFS", s->silent_seconds},
        {WATCH_BLACK, "picture_black", "has been black", s->black_seconds},
        {WATCH_FROZEN, "picture_frozen", "has had a picture that stands still", s->frozen_seconds},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[192];
        if (!(m->watch & table[i].flag))
            continue;
        snprintf(text, sizeof text, "%s%s %s for %d s or more", *m->name ? "output " : "",
                 *m->name ? m->name : "the programme", table[i].text, table[i].seconds);
        add_alarm(id, table[i].code, text, 1);
    }
}

static void add_values(int index, int k, const struct meters_output *from)
{
    meter_report *m = store.meter_list[index][k] = &store.meters[index][k];
    vistter__control__v1__meter_report__init(m);
    m->output = from->output;
    m->missed = from->missed;
    m->n_values = (size_t)from->count;
    m->values = store.value_list[index][k];
    for (int i = 0; i < from->count; i++) {
        const struct loudness_values *v = &from->values[i];
        meter_values *to = store.value_list[index][k][i] = &store.values[index][k][i];
        vistter__control__v1__meter_values__init(to);
        to->frame = v->frame;
        to->peak_left = v->peak[0];
        to->peak_right = v->peak[1];
        to->true_peak_left = v->true_peak[0];
        to->true_peak_right = v->true_peak[1];
        to->momentary = v->momentary;
        to->short_term = v->short_term;
        to->integrated = v->integrated;
    }
}

// Alarms always, values while somebody watches them: 64 channels of eight outputs are 1 MB/s.
static size_t add_meters(int index, const struct state_channel *item,
                         const struct watch_settings *settings)
{
    struct meters_output outputs[PLAN_OUTPUTS_MAX];
    int count = channel_meters(item->channel, outputs);
    bool watched = clock_monotonic_ns() < item->metered_ns;
    for (int i = 0; i < count; i++) {
        add_watch(item->id, &outputs[i], settings);
        if (watched)
            add_values(index, i, &outputs[i]);
    }
    return watched ? (size_t)count : 0;
}

// The cost is that of the slowest destination.
static void add_delivery(int index, uint64_t id, const struct channel_stats *s, size_t count)
{
    const struct deliver_report *slowest = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct deliver_report *r = &store.sources[index][i].report;
        if (!slowest || r->median_ms > slowest->median_ms)
            slowest = r;
    }
    if (slowest)
        add_stage(id, s->plan_epoch, VISTTER__CONTROL__V1__STAGE_KIND__STAGE_KIND_DELIVER,
                  slowest->median_ms, slowest->p99_ms, s->encode.frame, s->encode.frames);
}

static void add_channel(int index, struct state_channel *item, const struct state *state,
                        const struct report_context *context)
{
    uint64_t id = item->id;
    struct channel *channel = item->channel;
    struct channel_stats s;
    channel_stats(channel, &s);
    channel_report *c = &store.channels[index];
    vistter__control__v1__channel_report__init(c);
    c->channel = id;
    c->cursor = s.cursor;
    c->plan_epoch = s.plan_epoch;
    c->frames = s.frames;
    c->late = s.late;
    c->concealed = s.concealed;
    c->skipped = s.skipped;
    c->slack_frames = s.slack_frames;
    c->relayed = (uint32_t)relay_takers(context->relay, id);
    c->mix_median_ms = s.mix_median_ms;
    c->mix_p99_ms = s.mix_p99_ms;
    c->sampled = s.purity.sampled;
    c->mismatched = s.purity.mismatched;
    c->copies = s.intake.copies;
    c->n_groups = add_groups(index, id, &s);
    c->groups = store.group_list[index];
    c->n_destinations = add_destinations(index, id, channel);
    c->destinations = store.destination_list[index];
    c->n_gops = add_gops(index, channel);
    c->gops = store.gop_list[index];
    c->n_meters = add_meters(index, item, &state->config.watch);
    c->meters = store.meter_list[index];
    c->n_takes = add_takes(index, item);
    c->takes = store.take_list[index];
    store.channel_list[index] = c;
    add_stage(id, s.plan_epoch, VISTTER__CONTROL__V1__STAGE_KIND__STAGE_KIND_CODE,
              s.intake.median_ms, s.intake.p99_ms, s.cursor, s.intake.decoded);
    add_stage(id, s.plan_epoch, VISTTER__CONTROL__V1__STAGE_KIND__STAGE_KIND_MIX, s.mix_median_ms,
              s.mix_p99_ms, s.cursor - 1, s.frames);
    add_stage(id, s.plan_epoch, VISTTER__CONTROL__V1__STAGE_KIND__STAGE_KIND_ENCODE,
              s.encode.median_ms, s.encode.p99_ms, s.encode.frame, s.encode.frames);
    add_delivery(index, id, &s, c->n_destinations);
    add_plans(index, id, channel);
    if (*s.alarm)
        add_alarm(id, "output_failed", s.alarm, 1);
    if (s.purity.mismatched)
        add_alarm(id, "purity_mismatch", s.purity.alarm, s.purity.mismatched);
    if (*s.slate_alarm)
        add_alarm(id, "slate_failed", s.slate_alarm, 1);
    uint64_t skipped = recent_rise(&item->skipped, s.skipped, clock_monotonic_ns());
    if (skipped)
        add_alarm(id, "frames_skipped",
                  "frames were not sent during the last minute: this edge stood still", skipped);
    uint64_t lost =
        recent_rise(&item->encode_lost, s.encode.dropped + s.encode.failed, clock_monotonic_ns());
    if (lost)
        add_alarm(id, "encode_dropped",
                  "pictures were not encoded during the last minute: this edge is too slow", lost);
    int64_t difference_ms = s.clock_difference_ns / 1000000;
    if (difference_ms > 100 || difference_ms < -100) {
        char text[128];
        snprintf(text, sizeof text, "the system clock is %lld ms ahead of the channel's",
                 (long long)difference_ms);
        add_alarm(id, "clock_stepped", text, 1);
    }
}

static double cpu_load(void)
{
    static int64_t last_ns, last_cpu_ns;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    int64_t now = clock_monotonic_ns();
    int64_t cpu = ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
                  ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000 +
                  nursery_cpu_ns();
    double load = last_ns ? (double)(cpu - last_cpu_ns) / (double)(now - last_ns) : 0;
    last_ns = now;
    last_cpu_ns = cpu;
    return load;
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

int report_send(struct control_client *client, struct state *state,
                const struct report_context *context)
{
    Vistter__Control__V1__NodeReport report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    store.stage_count = store.plan_count = store.alarm_count = 0;
    if (state_file_error(state->file))
        add_alarm(0, "state_unwritten",
                  "the desired state cannot be written: after a restart without a coordinator this "
                  "edge would go on with an older one",
                  1);
    struct deliver_report preview = {0};
    if (context->preview)
        outlet_report(context->preview, &preview);
    if (*preview.error)
        add_alarm(0, "preview_failed", preview.error, 1);
    char overloaded[256];
    load_text(context->load, overloaded, sizeof overloaded);
    if (*overloaded)
        add_alarm(0, "overloaded", overloaded, 1);
    for (int i = 0; i < state->channel_count; i++)
        add_channel(i, &state->channels[i], state, context);
    for (int i = 0; i < state->refusal_count; i++)
        add_plan(state->refusals[i].channel, state->refusals[i].epoch,
                 VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED, state->refusals[i].reason,
                 "");
    report.overload = (uint32_t)context->load->overload.level;
    report.n_held = held_report(&state->held, store.held, store.held_list);
    report.held = store.held_list;
    report.n_publishers = publish_report(&state->publish, store.publishers, store.publisher_list);
    report.publishers = store.publisher_list;
    report.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    report.version = (char *)(uintptr_t)VISTTER_VERSION;
    report.preview_url = (char *)(uintptr_t)context->preview_url;
    report.frame_address = (char *)(uintptr_t)relay_address(context->relay);
    report.cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    report.state_epoch = state->epoch;
    report.state_version = state->version;
    report.host = block_host();
    report.cpu_load = cpu_load();
    report.memory_bytes = resident_bytes();
    report.n_stages = store.stage_count;
    report.stages = store.stage_list;
    report.n_plans = store.plan_count;
    report.plans = store.plan_list;
    report.n_channels = (size_t)state->channel_count;
    report.channels = store.channel_list;
    report.n_alarms = store.alarm_count;
    report.alarms = store.alarm_list;
    int64_t before_ns = clock_monotonic_ns();
    int result = control_client_report(client, &report);
    publish_sent(&state->publish, report.instance, report.sequence, before_ns);
    return result;
}
