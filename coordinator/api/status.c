#include "coordinator/api/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *stage_name(Vistter__Control__V1__StageKind kind)
{
    static const char *const names[] = {"unknown", "render", "code", "mix", "encode", "deliver"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

static json_t *node_json(const struct farm_node_view *n)
{
    json_t *stages = json_array(), *alarms = json_array();
    for (int i = 0; i < n->stage_count; i++) {
        const struct farm_stage_view *s = &n->stages[i];
        json_array_append_new(
            stages,
            json_pack("{s:I, s:I, s:I, s:s, s:f, s:f, s:I, s:I, s:I}", "channel",
                      (json_int_t)s->channel, "plan_epoch", (json_int_t)s->plan_epoch, "group",
                      (json_int_t)s->group, "kind", stage_name(s->kind), "median_ms", s->median_ms,
                      "p99_ms", s->p99_ms, "frame", (json_int_t)s->frame, "frames",
                      (json_int_t)s->frames, "bytes", (json_int_t)s->bytes));
    }
    for (int i = 0; i < n->alarm_count; i++) {
        const struct farm_alarm_view *a = &n->alarms[i];
        json_array_append_new(alarms, json_pack("{s:s, s:s, s:I, s:I}", "code", a->code, "text",
                                                a->text, "channel", (json_int_t)a->channel, "count",
                                                (json_int_t)a->count));
    }
    bool edge = n->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:f, s:I, s:s, s:s, s:o, s:o}", "name",
                     n->name, "role", edge ? "edge" : "worker", "state", n->alive ? "up" : "lost",
                     "age_ms", (json_int_t)(n->report_age_ns / 1000000), "version", n->version,
                     "cores", (json_int_t)n->cores, "cpu_load", n->cpu_load, "memory_bytes",
                     (json_int_t)n->memory_bytes, "frame_address", n->frame_address, "preview_url",
                     n->preview_url, "stages", stages, "alarms", alarms);
}

static json_t *nodes_json(const struct farm_snapshot *snapshot)
{
    json_t *nodes = json_array();
    for (int i = 0; i < snapshot->node_count; i++)
        json_array_append_new(nodes, node_json(&snapshot->nodes[i]));
    return nodes;
}

static const char *destination_state(const struct farm_channel_view *view, uint64_t id,
                                     const struct farm_destination_view **ret)
{
    static const char *const names[] = {"stopped", "connecting", "live", "waiting", "stopped"};
    *ret = NULL;
    for (int i = 0; view && i < view->destination_count; i++)
        if (view->destinations[i].destination == id)
            *ret = &view->destinations[i];
    return *ret && (unsigned)(*ret)->state < 5 ? names[(*ret)->state] : names[0];
}

static const char *edge_of(const struct farm_channel_view *view, uint64_t output)
{
    for (int i = 0; view && i < view->output_count; i++)
        if (view->outputs[i].output == output + 1) // as channel_plan.c numbers them
            return view->outputs[i].edge;
    return "";
}

static json_t *outputs_json(const struct store_output *outputs, size_t count,
                            const struct farm_channel_view *view)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct store_output *o = &outputs[i];
        json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:i, s:s}", "name", o->name,
                                               "width", o->width, "height", o->height, "tracks",
                                               o->tracks, "edge", edge_of(view, o->id)));
    }
    return array;
}

static const char *output_name(const struct store_output *outputs, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (outputs[i].id == id)
            return outputs[i].name;
    return "";
}

static json_t *destinations_json(struct coordinator *coordinator, uint64_t channel,
                                 const struct farm_channel_view *view,
                                 const struct store_output *outputs, size_t output_count)
{
    static const char *const kinds[] = {"rtmp", "recording", "preview"};
    struct store_destination *list;
    size_t count;
    json_t *array = json_array();
    if (store_destination_list(coordinator_store(coordinator), channel, &list, &count, NULL))
        return array;
    for (size_t i = 0; i < count; i++) {
        const struct farm_destination_view *live;
        const char *state = destination_state(view, list[i].id, &live);
        json_array_append_new(array, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}",
                                               "id", (json_int_t)list[i].id, "name", list[i].name,
                                               "kind", kinds[list[i].kind], "output",
                                               output_name(outputs, output_count, list[i].output),
                                               "url", list[i].url, "state", state, "error",
                                               live ? live->error : "", "bytes",
                                               (json_int_t)(live ? live->bytes : 0), "dropped",
                                               (json_int_t)(live ? live->dropped : 0), "reconnects",
                                               (json_int_t)(live ? live->reconnects : 0)));
    }
    explicit_bzero(list, count * sizeof *list);
    free(list);
    return array;
}

static json_t *groups_json(const struct farm_channel_view *v)
{
    json_t *groups = json_array();
    for (int i = 0; v && i < v->group_count; i++) {
        const struct farm_group_view *g = &v->groups[i];
        json_array_append_new(groups, json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:b}", "group",
                                                (json_int_t)g->group, "width", (json_int_t)g->width,
                                                "height", (json_int_t)g->height, "track_from",
                                                (json_int_t)g->track_from, "track_to",
                                                (json_int_t)g->track_to, "provider", g->provider,
                                                "alive", g->provider_alive));
    }
    return groups;
}

static json_t *counters_json(const struct farm_channel_view *v)
{
    static const struct farm_channel_view none;
    if (!v)
        v = &none;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f}", "cursor", (json_int_t)v->cursor,
                     "frames", (json_int_t)v->frames, "late", (json_int_t)v->late, "concealed",
                     (json_int_t)v->concealed, "skipped", (json_int_t)v->skipped, "slack_frames",
                     (json_int_t)v->slack_frames, "mix_median_ms", v->mix_median_ms, "mix_p99_ms",
                     v->mix_p99_ms);
}

static const struct farm_channel_view *find_view(const struct farm_snapshot *snapshot, uint64_t id)
{
    for (int i = 0; snapshot && i < snapshot->channel_count; i++)
        if (snapshot->channels[i].channel == id)
            return &snapshot->channels[i];
    return NULL;
}

static json_t *one_channel(struct coordinator *coordinator, const struct store_channel *c,
                           const struct farm_snapshot *snapshot)
{
    const struct farm_channel_view *v = find_view(snapshot, c->id);
    char rate[24], preview[512] = "";
    rate_format(c->rate, rate);
    if (v && v->preview_url[0])
        snprintf(preview, sizeof preview, "%s/preview/%s.mp4", v->preview_url, c->name);
    json_t *revision =
        c->number ? json_pack("{s:I, s:s}", "number", (json_int_t)c->number, "sha256", c->revision)
                  : json_null();
    const char *state = v ? farm_channel_state_name(v->state) : "stopped";
    json_t *slate = c->slate[0]
                        ? json_pack("{s:s, s:s}", "timeline", c->slate_timeline, "sha256", c->slate)
                        : json_null();
    struct store_output *outputs = NULL;
    size_t output_count = 0;
    (void)store_output_list(coordinator_store(coordinator), c->id, &outputs, &output_count, NULL);
    json_t *body = json_pack(
        "{s:I, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:o, "
        "s:o}",
        "id", (json_int_t)c->id, "name", c->name, "width", c->width, "height", c->height, "rate",
        rate, "state", state, "text", v ? v->text : "", "timeline", c->timeline, "revision",
        revision, "start_frame", (json_int_t)coordinator_start_frame(coordinator, c->id),
        "plan_epoch", (json_int_t)(v ? v->plan_epoch : 0), "edge", v ? v->edge : "", "preview_url",
        preview, "slate", slate, "outputs", outputs_json(outputs, output_count, v), "groups",
        groups_json(v), "counters", counters_json(v), "destinations",
        destinations_json(coordinator, c->id, v, outputs, output_count));
    free(outputs);
    return body;
}

json_t *channel_json(struct coordinator *coordinator, const char *name, struct diagnostic *reterr)
{
    struct store_channel channel;
    if (store_channel_get(coordinator_store(coordinator), name, &channel, reterr))
        return NULL;
    struct farm_snapshot *snapshot = coordinator_snapshot(coordinator);
    json_t *body = one_channel(coordinator, &channel, snapshot);
    farm_snapshot_destroy(&snapshot);
    if (!body)
        diagnostic_set(reterr, -12, "memory", name, "out of memory");
    return body;
}

json_t *status_json(struct coordinator *coordinator)
{
    struct farm_snapshot *snapshot = coordinator_snapshot(coordinator);
    struct store_channel *channels = NULL;
    size_t count = 0;
    bool up = coordinator_channels(coordinator, &channels, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, one_channel(coordinator, &channels[i], snapshot));
    free(channels);
    json_t *body =
        json_pack("{s:s, s:s, s:b, s:s, s:o, s:o}", "version", VISTTER_VERSION, "instance",
                  coordinator_settings(coordinator)->name, "leader", !snapshot->deposed, "database",
                  up ? "up" : "down", "channels", list, "nodes", nodes_json(snapshot));
    farm_snapshot_destroy(&snapshot);
    return body;
}

int handle_status(struct request *r)
{
    return answer_json(r, 200, status_json(r->coordinator));
}

int handle_nodes(struct request *r)
{
    struct farm_snapshot *snapshot = coordinator_snapshot(r->coordinator);
    json_t *nodes = nodes_json(snapshot);
    farm_snapshot_destroy(&snapshot);
    return answer_json(r, 200, nodes);
}
