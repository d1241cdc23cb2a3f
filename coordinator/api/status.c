#include "coordinator/api/handlers.h"
#include "engine/base/clock.h"
#include "engine/base/overload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *stage_name(Vistter__Control__V1__StageKind kind)
{
    static const char *const names[] = {"unknown", "render", "code", "mix", "encode", "deliver"};
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

static json_t *stages_json(const struct farm_node_view *n)
{
    json_t *stages = json_array();
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
    return stages;
}

static json_t *alarms_json(const struct farm_node_view *n)
{
    json_t *alarms = json_array();
    for (int i = 0; i < n->alarm_count; i++) {
        const struct farm_alarm_view *a = &n->alarms[i];
        json_array_append_new(alarms,
                              json_pack("{s:o, s:o, s:I, s:I}", "code", json_text(a->code), "text",
                                        json_text(a->text), "channel", (json_int_t)a->channel,
                                        "count", (json_int_t)a->count));
    }
    return alarms;
}

json_t *time_json(int64_t ms)
{
    char date[32], text[48];
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &utc));
    snprintf(text, sizeof text, "%s.%03dZ", date, (int)(ms % 1000));
    return json_string(text);
}

static json_t *node_json(const struct farm_node_view *n, const char *state)
{
    bool edge = n->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    int64_t age_ms = n->report_age_ns / 1000000;
    return json_pack(
        "{s:o, s:s, s:s, s:b, s:I, s:s, s:I, s:o, s:o, s:I, s:f, s:I, s:o, s:o, s:o, s:o}", "name",
        json_text(n->name), "role", edge ? "edge" : "worker", "state", state, "draining",
        n->draining, "unprotected", (json_int_t)n->unprotected, "overload",
        n->alive ? overload_name(n->overload) : "", "age_ms", (json_int_t)age_ms, "seen_at",
        time_json(clock_realtime_ns() / 1000000 - age_ms), "version", json_text(n->version),
        "cores", (json_int_t)n->cores, "cpu_load", n->cpu_load, "memory_bytes",
        (json_int_t)n->memory_bytes, "frame_address", json_text(n->frame_address), "preview_url",
        json_text(n->preview_url), "stages", stages_json(n), "alarms", alarms_json(n));
}

// A node that the store knows and that has not reported since this coordinator began.
static json_t *absent_json(const struct store_node *known)
{
    struct farm_node_view n = {0};
    int64_t age_ms = clock_realtime_ns() / 1000000 - known->seen_ms;
    snprintf(n.name, sizeof n.name, "%s", known->name);
    snprintf(n.version, sizeof n.version, "%s", known->version);
    snprintf(n.frame_address, sizeof n.frame_address, "%s", known->frame_address);
    snprintf(n.preview_url, sizeof n.preview_url, "%s", known->preview_url);
    n.role = strcmp(known->role, "edge") ? VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER
                                         : VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    n.draining = known->draining;
    n.report_age_ns = (age_ms > 0 ? age_ms : 0) * 1000000;
    return node_json(&n, "down");
}

static json_t *nodes_json(const struct farm_snapshot *snapshot, const struct coordinator_view *view)
{
    json_t *nodes = json_array();
    for (int i = 0; i < snapshot->node_count; i++)
        json_array_append_new(
            nodes, node_json(&snapshot->nodes[i], snapshot->nodes[i].alive ? "up" : "lost"));
    for (size_t k = 0; k < view->node_count; k++) {
        bool there = false;
        for (int i = 0; i < snapshot->node_count && !there; i++)
            there = !strcmp(snapshot->nodes[i].name, view->nodes[k].name);
        if (!there)
            json_array_append_new(nodes, absent_json(&view->nodes[k]));
    }
    return nodes;
}

// How one of a destination's two addresses fares, as members of an object.
static json_t *delivery_json(const struct farm_channel_view *view, uint64_t id, bool backup,
                             const char *url)
{
    static const char *const names[] = {"stopped", "connecting", "live", "waiting", "stopped"};
    static const struct farm_destination_view none;
    const struct farm_destination_view *d = &none;
    for (int i = 0; view && i < view->destination_count; i++)
        if (view->destinations[i].destination == id && view->destinations[i].backup == backup)
            d = &view->destinations[i];
    return json_pack("{s:o, s:s, s:o, s:I, s:I, s:I}", "url", json_text(url), "state",
                     (unsigned)d->state < 5 ? names[d->state] : names[0], "error",
                     json_text(d->error), "bytes", (json_int_t)d->bytes, "dropped",
                     (json_int_t)d->dropped, "reconnects", (json_int_t)d->reconnects);
}

static const struct farm_output_view *output_view(const struct farm_channel_view *view,
                                                  uint64_t output)
{
    static const struct farm_output_view none;
    for (int i = 0; view && i < view->output_count; i++)
        if (view->outputs[i].output == output + 1) // as channel_plan.c numbers them
            return &view->outputs[i];
    return &none;
}

static json_t *outputs_json(const struct coordinator_view *view, uint64_t channel,
                            const struct farm_channel_view *v)
{
    json_t *array = json_array();
    for (size_t i = 0; i < view->output_count; i++) {
        const struct store_output *o = &view->outputs[i];
        if (o->channel != channel)
            continue;
        const struct farm_output_view *live = output_view(v, o->id);
        json_array_append_new(array,
                              json_pack("{s:s, s:i, s:i, s:i, s:s, s:s}", "name", o->name, "width",
                                        o->width, "height", o->height, "tracks", o->tracks, "edge",
                                        live->edge, "backup_edge", live->backup_edge));
    }
    return array;
}

static const char *output_name(const struct coordinator_view *view, uint64_t id)
{
    for (size_t i = 0; i < view->output_count; i++)
        if (view->outputs[i].id == id)
            return view->outputs[i].name;
    return "";
}

static json_t *destinations_json(const struct coordinator_view *view, uint64_t channel,
                                 const struct farm_channel_view *v)
{
    static const char *const kinds[] = {"rtmp", "recording", "preview"};
    json_t *array = json_array();
    for (size_t i = 0; i < view->destination_count; i++) {
        const struct store_destination *d = &view->destinations[i];
        if (d->channel != channel)
            continue;
        json_t *one = delivery_json(v, d->id, false, d->url);
        json_object_set_new(one, "id", json_integer((json_int_t)d->id));
        json_object_set_new(one, "name", json_string(d->name));
        json_object_set_new(one, "kind", json_string(kinds[d->kind]));
        json_object_set_new(one, "output", json_string(output_name(view, d->output)));
        json_object_set_new(one, "backup", delivery_json(v, d->id, true, d->backup_url));
        json_array_append_new(array, one);
    }
    return array;
}

static json_t *standbys_json(const struct farm_group_view *g)
{
    json_t *standbys = json_array();
    for (int i = 0; i < g->standby_count; i++)
        json_array_append_new(standbys,
                              json_pack("{s:o, s:b}", "worker", json_text(g->standbys[i].node),
                                        "ready", g->standbys[i].ready));
    return standbys;
}

static json_t *groups_json(const struct farm_channel_view *v)
{
    json_t *groups = json_array();
    for (int i = 0; v && i < v->group_count; i++) {
        const struct farm_group_view *g = &v->groups[i];
        json_array_append_new(
            groups,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:b, s:o, s:b, s:o, s:I, s:I, s:o, s:I}",
                      "group", (json_int_t)g->group, "width", (json_int_t)g->width, "height",
                      (json_int_t)g->height, "track_from", (json_int_t)g->track_from, "track_to",
                      (json_int_t)g->track_to, "provider", json_text(g->provider), "alive",
                      g->provider_alive, "standbys", standbys_json(g), "protected", g->protected,
                      "unprotected", json_text(g->unprotected), "takeover_ms",
                      (json_int_t)g->takeover_ms, "slack_ms", (json_int_t)g->slack_ms, "active",
                      json_text(g->active), "takeovers", (json_int_t)g->takeovers));
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

static json_t *purity_json(const struct farm_channel_view *v)
{
    return json_pack("{s:I, s:I, s:I}", "sampled", (json_int_t)(v ? v->sampled : 0), "mismatched",
                     (json_int_t)(v ? v->mismatched : 0), "copies",
                     (json_int_t)(v ? v->copies : 0));
}

static json_t *gops_json(const struct farm_channel_view *v)
{
    return json_pack("{s:I, s:I, s:I}", "compared", (json_int_t)(v ? v->gops_compared : 0),
                     "explained", (json_int_t)(v ? v->gops_explained : 0), "mismatched",
                     (json_int_t)(v ? v->gops_mismatched : 0));
}

static json_t *live_track(const struct track *track, const struct farm_shown *shown)
{
    json_t *clips = json_array();
    for (size_t i = 0; i < track->clip_count; i++)
        json_array_append_new(clips, json_text(track->clips[i].id));
    json_t *take = shown->take ? json_loads(shown->take, 0, NULL) : NULL;
    json_t *clip = json_object_get(take, "clip");
    bool manual = json_is_true(json_object_get(take, "manual")) && shown->fader < 1;
    json_t *object =
        json_pack("{s:o, s:o, s:O?, s:o, s:I, s:I}", "track", json_text(track->name), "clips",
                  clips, "clip", json_is_string(clip) ? clip : NULL, "fader",
                  manual ? json_real(shown->fader < 0 ? 0 : shown->fader) : json_null(), "at_frame",
                  (json_int_t)shown->at_frame, "sequence", (json_int_t)shown->sequence);
    json_decref(take);
    return object;
}

// What people can put on air, and what they have.
static json_t *live_json(const struct farm_channel_view *v)
{
    json_t *list = json_array();
    for (size_t i = 0; v && v->timeline && i < v->timeline->track_count; i++)
        if (v->timeline->tracks[i].live)
            json_array_append_new(list, live_track(&v->timeline->tracks[i], &v->shown[i]));
    return list;
}

static const struct farm_channel_view *find_view(const struct farm_snapshot *snapshot, uint64_t id)
{
    for (int i = 0; snapshot && i < snapshot->channel_count; i++)
        if (snapshot->channels[i].channel == id)
            return &snapshot->channels[i];
    return NULL;
}

static json_t *one_channel(const struct coordinator_view *view, const struct store_channel *c,
                           const struct farm_snapshot *snapshot)
{
    const struct farm_channel_view *v = find_view(snapshot, c->id);
    char rate[24], epoch[24], preview[512] = "";
    snprintf(epoch, sizeof epoch, "%lld", (long long)c->epoch_ns);
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
    return json_pack(
        "{s:I, s:s, s:i, s:i, s:s, s:i, s:s, s:s, s:o, s:s, s:o, s:s, s:I, s:I, s:b, s:o, s:o, "
        "s:o, "
        "s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "id", (json_int_t)c->id, "name", c->name, "width", c->width, "height", c->height, "rate",
        rate, "edges", c->edges, "redundancy", store_redundancy_name(c->redundancy), "state", state,
        "text", json_text(v ? v->text : ""), "timeline", c->timeline, "revision", revision,
        "epoch_ns", epoch, "start_frame", (json_int_t)c->start_frame, "plan_epoch",
        (json_int_t)(v ? v->plan_epoch : 0), "without_optional", v && v->without_optional, "edge",
        json_text(v ? v->edge : ""), "backup_edge", json_text(v ? v->backup_edge : ""),
        "preview_url", json_text(preview), "slate", slate, "outputs", outputs_json(view, c->id, v),
        "groups", groups_json(v), "counters", counters_json(v), "purity", purity_json(v), "gops",
        gops_json(v), "live", live_json(v), "destinations", destinations_json(view, c->id, v));
}

json_t *channel_json(struct coordinator *coordinator, const char *name, struct diagnostic *reterr)
{
    struct coordinator_view view;
    json_t *body = NULL;
    int error = coordinator_view(coordinator, &view, reterr);
    struct farm_snapshot *snapshot = coordinator_snapshot(coordinator);
    size_t i = 0;
    while (i < view.channel_count && strcmp(view.channels[i].name, name))
        i++;
    if (!error && i == view.channel_count)
        diagnostic_set(reterr, -ENOENT, "not_found", name, "there is no such channel");
    else if (!error && !(body = one_channel(&view, &view.channels[i], snapshot)))
        diagnostic_set(reterr, -ENOMEM, "memory", name, "out of memory");
    farm_snapshot_destroy(&snapshot);
    coordinator_view_finish(&view);
    return body;
}

static json_t *all_channels(const struct coordinator_view *view,
                            const struct farm_snapshot *snapshot)
{
    json_t *list = json_array();
    for (size_t i = 0; i < view->channel_count; i++)
        json_array_append_new(list, one_channel(view, &view->channels[i], snapshot));
    return list;
}

json_t *channels_json(struct coordinator *coordinator, struct diagnostic *reterr)
{
    struct coordinator_view view;
    json_t *list = NULL;
    if (!coordinator_view(coordinator, &view, reterr)) {
        struct farm_snapshot *snapshot = coordinator_snapshot(coordinator);
        list = all_channels(&view, snapshot);
        farm_snapshot_destroy(&snapshot);
    }
    coordinator_view_finish(&view);
    return list;
}

// Each says once a second that it is there.
#define COORDINATOR_LOST_MS 5000

static json_t *coordinators_json(struct coordinator *coordinator,
                                 const struct coordinator_view *view)
{
    json_t *list = json_array();
    const char *own = coordinator_settings(coordinator)->name;
    for (size_t i = 0; i < view->coordinator_count; i++) {
        const struct store_coordinator *c = &view->coordinators[i];
        const char *state = !strcmp(c->name, own)             ? "leads"
                            : c->age_ms < COORDINATOR_LOST_MS ? "follows"
                                                              : "lost";
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:o, s:s, s:o}", "name", json_text(c->name), "state", state,
                            "api_url", json_text(c->api_url), "version", c->version, "seen_at",
                            time_json(clock_realtime_ns() / 1000000 - c->age_ms)));
    }
    return list;
}

json_t *status_json(struct coordinator *coordinator)
{
    struct coordinator_view view;
    bool up = !coordinator_view(coordinator, &view, NULL);
    struct farm_snapshot *snapshot = coordinator_snapshot(coordinator);
    json_t *body =
        json_pack("{s:s, s:s, s:b, s:s, s:o, s:o, s:o, s:o}", "version", VISTTER_VERSION,
                  "instance", coordinator_settings(coordinator)->name, "leader", !snapshot->deposed,
                  "database", up ? "up" : "down", "coordinators",
                  coordinators_json(coordinator, &view), "channels", all_channels(&view, snapshot),
                  "sources", sources_json(&view, snapshot), "nodes", nodes_json(snapshot, &view));
    farm_snapshot_destroy(&snapshot);
    coordinator_view_finish(&view);
    return body;
}

int handle_status(struct request *r)
{
    return answer_json(r, 200, status_json(r->coordinator));
}

int handle_node_drain(struct request *r)
{
    struct diagnostic why;
    bool draining = strcmp(r->info->request_method, "DELETE") != 0;
    if (coordinator_drain_node(r->coordinator, r->part[1], draining, &why))
        return answer_problem(r, &why);
    return handle_nodes(r);
}

int handle_nodes(struct request *r)
{
    struct coordinator_view view;
    coordinator_view_nodes(r->coordinator, &view);
    struct farm_snapshot *snapshot = coordinator_snapshot(r->coordinator);
    json_t *nodes = nodes_json(snapshot, &view);
    farm_snapshot_destroy(&snapshot);
    coordinator_view_finish(&view);
    return answer_json(r, 200, nodes);
}
