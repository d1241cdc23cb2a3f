// What a channel makes beside its programme, and its slate.
#include "coordinator/api/handlers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int answer_outputs(struct request *r, int status, const char *channel, const char *name)
{
    struct diagnostic why;
    json_t *body = channel_json(r->coordinator, channel, &why);
    if (!body)
        return answer_problem(r, &why);
    json_t *list = json_object_get(body, "outputs"), *one, *answer = name ? NULL : list;
    size_t i;
    json_array_foreach(list, i, one)
    {
        if (name && !strcmp(json_string_value(json_object_get(one, "name")), name))
            answer = one;
    }
    json_incref(answer);
    json_decref(body);
    return answer_json(r, status, answer);
}

static int add_output(struct request *r, const struct store_channel *c)
{
    static const char *const allowed[] = {"name", "width", "height", "tracks", NULL};
    json_t *body;
    int status = request_json(r, allowed, &body);
    if (status)
        return status;
    struct store_output o = {.channel = c->id};
    int64_t width = c->width, height = c->height, tracks = 0;
    bool ok = take_text(r, body, "name", true, o.name, sizeof o.name, &status) &&
              take_integer(r, body, "width", 16, 8192, &width, &status) &&
              take_integer(r, body, "height", 16, 8192, &height, &status) &&
              take_integer(r, body, "tracks", 0, PLANNER_TRACKS_MAX, &tracks, &status);
    json_decref(body);
    if (!ok)
        return status;
    if (width % 2 || height % 2)
        return answer_refusal(r, 422, "bad_value", width % 2 ? "width" : "height", "must be even");
    o.width = (int)width;
    o.height = (int)height;
    o.tracks = (int)tracks;
    struct diagnostic why;
    if (coordinator_add_output(r->coordinator, c, &o, &why))
        return answer_problem(r, &why);
    return answer_outputs(r, 201, c->name, o.name);
}

int handle_outputs(struct request *r)
{
    struct store_channel c;
    struct diagnostic why;
    if (store_channel_get(r->store, r->part[1], &c, &why))
        return answer_problem(r, &why);
    if (!strcmp(r->info->request_method, "POST"))
        return add_output(r, &c);
    return answer_outputs(r, 200, c.name, NULL);
}

int handle_output(struct request *r)
{
    struct store_channel c;
    struct diagnostic why;
    if (store_channel_get(r->store, r->part[1], &c, &why) ||
        coordinator_remove_output(r->coordinator, &c, r->part[3], &why))
        return answer_problem(r, &why);
    return answer_empty(r, 204);
}

int handle_channel_slate(struct request *r)
{
    struct store_channel c;
    struct store_change slate = {0};
    struct diagnostic why;
    if (store_channel_get(r->store, r->part[1], &c, &why))
        return answer_problem(r, &why);
    if (strcmp(r->info->request_method, "DELETE")) {
        int status = take_revision(r, &slate);
        if (status)
            return status;
    }
    if (coordinator_set_slate(r->coordinator, &c, slate.timeline, slate.revision, &why))
        return answer_problem(r, &why);
    return answer_channel(r, 200, c.name);
}
