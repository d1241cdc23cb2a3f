#include "coordinator/api/handlers.h"

#include <stdlib.h>
#include <string.h>

static json_t *followers_json(const struct farm_source_view *v)
{
    json_t *list = json_array();
    for (int i = 0; v && i < v->follower_count; i++) {
        const struct farm_follower_view *f = &v->followers[i];
        json_array_append_new(
            list, json_pack("{s:o, s:o, s:o}", "worker", json_text(f->node), "behind_ms",
                            f->behind_ms < 0 ? json_null() : json_integer(f->behind_ms), "error",
                            json_text(f->error)));
    }
    return list;
}

// What the gateway says comes from a node: no more of it than is told in openapi.yaml.
static json_t *status_of(const struct farm_source_view *v)
{
    json_t *status = v && *v->status ? json_loads(v->status, 0, NULL) : NULL;
    for (const char *const *name = (const char *const[]){"source", "seq", "done_ns", NULL}; *name;
         name++)
        json_object_del(status, *name);
    return status ? status : json_null();
}

static json_t *source_json(const struct coordinator_source *s, const struct farm_snapshot *snapshot)
{
    const struct farm_source_view *v = NULL;
    for (int i = 0; snapshot && i < snapshot->source_count; i++)
        if (!strcmp(snapshot->sources[i].name, s->name))
            v = &snapshot->sources[i];
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", s->name, "worker",
                     *s->worker ? json_text(s->worker) : json_null(), "input",
                     s->opens ? live_input_show(&s->input) : json_null(), "created_at",
                     time_json(s->created_ms), "changed_at", time_json(s->changed_ms), "home",
                     v && v->home_alive ? json_text(v->home) : json_null(), "status", status_of(v),
                     "error", json_text(v ? v->error : ""), "followers", followers_json(v));
}

json_t *sources_json(const struct coordinator_view *view, const struct farm_snapshot *snapshot)
{
    json_t *list = json_array();
    for (size_t i = 0; i < view->source_count; i++)
        json_array_append_new(list, source_json(&view->sources[i], snapshot));
    return list;
}

// `name` NULL: all.
static int answer_sources(struct request *r, const char *name)
{
    struct coordinator_view view;
    struct diagnostic why;
    int status;
    size_t i = 0;
    int error = coordinator_view(r->coordinator, &view, &why);
    struct farm_snapshot *snapshot = coordinator_snapshot(r->coordinator);
    while (name && i < view.source_count && strcmp(view.sources[i].name, name))
        i++;
    if (error)
        status = answer_problem(r, &why);
    else if (!name)
        status = answer_json(r, 200, sources_json(&view, snapshot));
    else if (i < view.source_count)
        status = answer_json(r, 200, source_json(&view.sources[i], snapshot));
    else
        status = answer_refusal(r, 404, "not_found", name, "there is no such source");
    farm_snapshot_destroy(&snapshot);
    coordinator_view_finish(&view);
    return status;
}

int handle_sources(struct request *r)
{
    return answer_sources(r, NULL);
}

static int save(struct request *r, struct store_source *source, const json_t *body)
{
    struct live_input input;
    struct diagnostic why;
    int error = live_input_parse(json_object_get(body, "input"), source->name, &input, &why);
    explicit_bzero(&input, sizeof input);
    if (error)
        return answer_problem(r, &why);
    source->input = json_dumps(json_object_get(body, "input"), JSON_COMPACT);
    if (!source->input)
        return answer_refusal(r, 500, "memory", "", "out of memory");
    error = coordinator_put_source(r->coordinator, source, &why);
    explicit_bzero(source->input, strlen(source->input));
    free(source->input);
    return error ? answer_problem(r, &why) : answer_sources(r, source->name);
}

static int put_source(struct request *r, const char *name)
{
    static const char *const allowed[] = {"input", "worker", NULL};
    struct store_source source = {0};
    json_t *body;
    // Longer ones cannot be held; what else a name must be the store says.
    if (strlen(name) > STORE_NAME_MAX)
        return answer_refusal(r, 422, "name", "source", "has more than %d characters",
                              STORE_NAME_MAX);
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    memcpy(source.name, name, strlen(name) + 1);
    if (json_is_null(json_object_get(body, "worker")) ||
        take_text(r, body, "worker", false, source.worker, sizeof source.worker, &status))
        status = save(r, &source, body);
    json_decref(body);
    return status;
}

int handle_source(struct request *r)
{
    const char *method = r->info->request_method, *name = r->part[1];
    struct diagnostic why;
    if (!strcmp(method, "PUT"))
        return put_source(r, name);
    if (strcmp(method, "DELETE"))
        return answer_sources(r, name);
    return coordinator_delete_source(r->coordinator, name, &why) ? answer_problem(r, &why)
                                                                 : answer_empty(r, 204);
}
