#include "coordinator/api/handlers.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES 16

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

// `name` NULL: all. `key`: of the one, as it was made just now; NULL: none.
static int answer_sources(struct request *r, const char *name, const char *key)
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
    else if (i < view.source_count) {
        json_t *one = source_json(&view.sources[i], snapshot);
        if (key)
            json_object_set_new(one, "key", json_string(key));
        status = answer_json(r, 200, one);
    } else
        status = answer_refusal(r, 404, "not_found", name, "there is no such source");
    farm_snapshot_destroy(&snapshot);
    coordinator_view_finish(&view);
    return status;
}

int handle_sources(struct request *r)
{
    return answer_sources(r, NULL, NULL);
}

// Each save makes another key, so that a sender that has the old one is cut off. Nobody chooses
// one: they would be easy to guess.
static int make_key(json_t *input, char ret[2 * KEY_BYTES + 1], struct diagnostic *reterr)
{
    uint8_t bytes[KEY_BYTES];
    if (json_object_get(input, "key"))
        return diagnostic_set(reterr, -EINVAL, "live_input", "input.key",
                              "is made by the coordinator");
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return diagnostic_set(reterr, -EIO, "random", "input.key", "no key can be made");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof bytes);
    json_object_set_new(input, "key", json_string(ret));
    return 0;
}

static int save(struct request *r, struct store_source *source, json_t *given)
{
    struct live_input input;
    struct diagnostic why;
    char key[2 * KEY_BYTES + 1] = "";
    const char *kind = json_string_value(json_object_get(given, "kind"));
    int error = kind && !strcmp(kind, "rtmp") ? make_key(given, key, &why) : 0;
    if (!error)
        error = live_input_parse(given, source->name, &input, &why);
    explicit_bzero(&input, sizeof input);
    if (error)
        return answer_problem(r, &why);
    source->input = json_dumps(given, JSON_COMPACT);
    if (!source->input)
        return answer_refusal(r, 500, "memory", "", "out of memory");
    error = coordinator_put_source(r->coordinator, source, &why);
    explicit_bzero(source->input, strlen(source->input));
    free(source->input);
    int status =
        error ? answer_problem(r, &why) : answer_sources(r, source->name, *key ? key : NULL);
    explicit_bzero(key, sizeof key);
    return status;
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
        status = save(r, &source, json_object_get(body, "input"));
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
        return answer_sources(r, name, NULL);
    return coordinator_delete_source(r->coordinator, name, &why) ? answer_problem(r, &why)
                                                                 : answer_empty(r, 204);
}
