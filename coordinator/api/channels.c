#include "coordinator/api/handlers.h"
#include "engine/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool take_integer(struct request *r, const json_t *body, const char *name, int64_t min, int64_t max,
                  int64_t *value, int *ret_status)
{
    const json_t *member = json_object_get(body, name);
    if (!member)
        return true;
    if (!json_is_integer(member) || json_integer_value(member) < min ||
        json_integer_value(member) > max) {
        *ret_status =
            answer_refusal(r, 422, "bad_value", name, "must be a whole number from %lld to %lld",
                           (long long)min, (long long)max);
        return false;
    }
    *value = json_integer_value(member);
    return true;
}

bool take_text(struct request *r, const json_t *body, const char *name, bool required, char *value,
               size_t size, int *ret_status)
{
    const json_t *member = json_object_get(body, name);
    if (!member && !required)
        return true;
    const char *text = json_string_value(member);
    if (!text || strlen(text) >= size || strlen(text) != json_string_length(member)) {
        *ret_status = answer_refusal(r, 422, "bad_value", name,
                                     "must be a text of at most %zu bytes", size - 1);
        return false;
    }
    snprintf(value, size, "%s", text);
    return true;
}

int answer_channel(struct request *r, int status, const char *name)
{
    struct diagnostic why;
    json_t *body = channel_json(r->coordinator, name, &why);
    return body ? answer_json(r, status, body) : answer_problem(r, &why);
}

static int list_channels(struct request *r)
{
    struct diagnostic why;
    json_t *list = channels_json(r->coordinator, &why);
    return list ? answer_json(r, 200, list) : answer_problem(r, &why);
}

static int refuse_redundancy(struct request *r)
{
    return answer_refusal(r, 422, "bad_value", "redundancy", "must be none, cold, warm or hot");
}

static int create_channel(struct request *r)
{
    static const char *const allowed[] = {"name",  "width",      "height", "rate",
                                          "edges", "redundancy", NULL};
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    int64_t width = 1280, height = 720, edges = 2;
    char rate[32] = "30", redundancy[16] = "warm";
    struct store_channel c = {.epoch_ns = clock_realtime_ns()};
    bool ok = take_text(r, body, "name", true, c.name, sizeof c.name, &status) &&
              take_integer(r, body, "width", 16, 8192, &width, &status) &&
              take_integer(r, body, "height", 16, 8192, &height, &status) &&
              take_integer(r, body, "edges", 1, 2, &edges, &status) &&
              take_text(r, body, "redundancy", false, redundancy, sizeof redundancy, &status) &&
              take_text(r, body, "rate", false, rate, sizeof rate, &status);
    json_decref(body);
    if (!ok)
        return status;
    if (store_redundancy_parse(redundancy, &c.redundancy))
        return refuse_redundancy(r);
    if (width % 2 || height % 2)
        return answer_refusal(r, 422, "bad_value", width % 2 ? "width" : "height", "must be even");
    if (rate_parse(rate, &c.rate))
        return answer_refusal(r, 422, "bad_value", "rate",
                              "must be a frame rate such as 25, 29.97 or 60000/1001");
    c.width = (int)width;
    c.height = (int)height;
    c.edges = (int)edges;
    struct diagnostic why;
    if (coordinator_create_channel(r->coordinator, &c, &why))
        return answer_problem(r, &why);
    return answer_channel(r, 201, c.name);
}

int handle_channels(struct request *r)
{
    return strcmp(r->info->request_method, "POST") ? list_channels(r) : create_channel(r);
}

int handle_channel(struct request *r)
{
    const char *name = r->part[1];
    if (strcmp(r->info->request_method, "DELETE"))
        return answer_channel(r, 200, name);
    struct diagnostic why;
    return coordinator_delete_channel(r->coordinator, name, &why) ? answer_problem(r, &why)
                                                                  : answer_empty(r, 204);
}

int take_revision(struct request *r, struct store_change *ret)
{
    static const char *const allowed[] = {"timeline", "revision", NULL};
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    int64_t number = 0;
    bool ok = take_text(r, body, "timeline", true, ret->timeline, sizeof ret->timeline, &status) &&
              take_integer(r, body, "revision", 1, INT64_MAX, &number, &status);
    json_decref(body);
    if (!ok)
        return status;
    struct diagnostic why;
    struct store_revision revision;
    char *bytes;
    size_t size;
    if (store_timeline_get(r->store, ret->timeline, number, &revision, &bytes, &size, &why))
        return answer_problem(r, &why);
    int error = coordinator_check_timeline(r->coordinator, bytes, size, NULL, NULL, &why);
    free(bytes);
    if (error)
        return answer_problem(r, &why);
    snprintf(ret->revision, sizeof ret->revision, "%s", revision.sha256);
    ret->number = revision.number;
    return 0;
}

// Whether it is possible as things are, the store decides. If the farm refuses, the log already
// says what should be; the refusal shows in the channel's text too.
static int change_channel(struct request *r, enum store_event kind)
{
    struct store_channel c;
    struct store_change change = {.kind = kind};
    struct diagnostic why;
    if (store_channel_get(r->store, r->part[1], &c, &why))
        return answer_problem(r, &why);
    int status = kind == STORE_STOPPED ? 0 : take_revision(r, &change);
    if (status)
        return status;
    return coordinator_change_channel(r->coordinator, &c, &change, &why)
               ? answer_problem(r, &why)
               : answer_channel(r, 200, c.name);
}

int handle_channel_start(struct request *r)
{
    return change_channel(r, STORE_STARTED);
}

int handle_channel_stop(struct request *r)
{
    return change_channel(r, STORE_STOPPED);
}

int handle_channel_timeline(struct request *r)
{
    return change_channel(r, STORE_REVISION);
}

int handle_channel_redundancy(struct request *r)
{
    static const char *const allowed[] = {"redundancy", NULL};
    struct store_channel c;
    struct diagnostic why;
    enum store_redundancy redundancy;
    char name[16] = "";
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    bool ok = take_text(r, body, "redundancy", true, name, sizeof name, &status);
    json_decref(body);
    if (!ok)
        return status;
    if (store_redundancy_parse(name, &redundancy))
        return refuse_redundancy(r);
    if (store_channel_get(r->store, r->part[1], &c, &why) ||
        coordinator_set_redundancy(r->coordinator, &c, redundancy, &why))
        return answer_problem(r, &why);
    return answer_channel(r, 200, c.name);
}

int handle_channel_edges(struct request *r)
{
    static const char *const allowed[] = {"edges", NULL};
    struct store_channel c;
    struct diagnostic why;
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    int64_t edges = 0;
    bool ok = take_integer(r, body, "edges", 1, 2, &edges, &status);
    json_decref(body);
    if (!ok)
        return status;
    if (!edges)
        return answer_refusal(r, 422, "bad_value", "edges", "is missing: 1 or 2");
    if (store_channel_get(r->store, r->part[1], &c, &why) ||
        coordinator_set_edges(r->coordinator, &c, (int)edges, &why))
        return answer_problem(r, &why);
    return answer_channel(r, 200, c.name);
}

int handle_channel_events(struct request *r)
{
    struct store_channel c;
    struct diagnostic why;
    char *json;
    if (store_channel_get(r->store, r->part[1], &c, &why) ||
        store_event_list(r->store, c.id, &json, &why))
        return answer_problem(r, &why);
    int status = answer_text(r, 200, "application/json", json);
    free(json);
    return status;
}

// ---- Destinations -----------------------------------------------------------------------------

static int answer_destinations(struct request *r, int status, const char *channel, const char *name)
{
    struct diagnostic why;
    json_t *body = channel_json(r->coordinator, channel, &why);
    if (!body)
        return answer_problem(r, &why);
    json_t *list = json_incref(json_object_get(body, "destinations"));
    json_decref(body);
    if (!name)
        return answer_json(r, status, list);
    size_t i;
    json_t *one, *found = NULL;
    json_array_foreach(list, i, one)
    {
        if (!strcmp(json_string_value(json_object_get(one, "name")), name))
            found = json_incref(one);
    }
    json_decref(list);
    return found ? answer_json(r, status, found)
                 : answer_refusal(r, 404, "not_found", name, "has been removed meanwhile");
}

// A destination's address holds no key: it would be shown. YouTube marks its second one by a query.
static int check_address(struct request *r, const char *member, const char *url)
{
    static const char mark[] = "?backup=1";
    size_t size = strlen(url);
    bool marked = !strcmp(member, "backup_url") && size >= sizeof mark &&
                  !strcmp(url + size - (sizeof mark - 1), mark);
    if (strncmp(url, "rtmp://", 7) && strncmp(url, "rtmps://", 8))
        return answer_refusal(r, 422, "bad_value", member, "must start with rtmp:// or rtmps://");
    if (strcspn(url, " @?#") < size - (marked ? sizeof mark - 1 : 0))
        return answer_refusal(r, 422, "bad_value", member,
                              "must not hold credentials or a query; secrets go into \"key\"");
    return 0;
}

static int check_destination(struct request *r, const struct store_destination *d)
{
    int status = d->kind == STORE_RTMP ? check_address(r, "url", d->url) : 0;
    if (!status && d->kind == STORE_RTMP && *d->backup_url)
        status = check_address(r, "backup_url", d->backup_url);
    if (status)
        return status;
    if (d->kind == STORE_RECORDING && (*d->url || *d->backup_url))
        return answer_refusal(r, 422, "bad_value", *d->url ? "url" : "backup_url",
                              "a recording has none; the edges' record folders are used");
    for (const char *c = d->key; *c; c++)
        if ((unsigned char)*c <= ' ')
            return answer_refusal(r, 422, "bad_value", "key", "must not hold blanks");
    return 0;
}

static int find_output(struct request *r, const struct store_channel *c, const char *name,
                       uint64_t *ret_id)
{
    struct store_output *outputs;
    struct diagnostic why;
    size_t count;
    if (store_output_list(r->store, c->id, &outputs, &count, &why))
        return answer_problem(r, &why);
    *ret_id = 0;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(outputs[i].name, name))
            *ret_id = outputs[i].id;
    free(outputs);
    return *ret_id ? 0
                   : answer_refusal(r, 422, "unknown_output", "output",
                                    "the channel has no output %s", name);
}

static int add_destination(struct request *r, const struct store_channel *c)
{
    static const char *const allowed[] = {"name", "kind",   "url", "backup_url",
                                          "key",  "output", NULL};
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    struct store_destination d = {.channel = c->id};
    char kind[32] = "", output[STORE_NAME_MAX + 1] = "";
    bool ok = take_text(r, body, "name", true, d.name, sizeof d.name, &status) &&
              take_text(r, body, "kind", true, kind, sizeof kind, &status) &&
              take_text(r, body, "url", false, d.url, sizeof d.url, &status) &&
              take_text(r, body, "backup_url", false, d.backup_url, sizeof d.backup_url, &status) &&
              take_text(r, body, "key", false, d.key, sizeof d.key, &status) &&
              take_text(r, body, "output", false, output, sizeof output, &status);
    json_decref(body);
    if (!ok)
        return status;
    if (!strcmp(kind, "recording"))
        d.kind = STORE_RECORDING;
    else if (!strcmp(kind, "rtmp"))
        d.kind = STORE_RTMP;
    else
        return answer_refusal(r, 422, "bad_value", "kind", "must be rtmp or recording");
    status = check_destination(r, &d);
    if (!status && *output)
        status = find_output(r, c, output, &d.output);
    if (status)
        return status;
    struct diagnostic why;
    int error = coordinator_add_destination(r->coordinator, c, &d, &why);
    explicit_bzero(d.key, sizeof d.key);
    return error ? answer_problem(r, &why) : answer_destinations(r, 201, c->name, d.name);
}

int handle_destinations(struct request *r)
{
    struct store_channel c;
    struct diagnostic why;
    if (store_channel_get(r->store, r->part[1], &c, &why))
        return answer_problem(r, &why);
    if (!strcmp(r->info->request_method, "POST"))
        return add_destination(r, &c);
    return answer_destinations(r, 200, c.name, NULL);
}

int handle_destination(struct request *r)
{
    struct store_channel c;
    struct diagnostic why;
    if (store_channel_get(r->store, r->part[1], &c, &why) ||
        coordinator_remove_destination(r->coordinator, &c, r->part[3], &why))
        return answer_problem(r, &why);
    return answer_empty(r, 204);
}
