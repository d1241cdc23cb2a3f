// Live sources: what the store has of them, and changes.
#include "coordinator/coordinator_private.h"
#include "engine/base/thread.h"
#include "engine/timeline/timeline.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void read_one(const struct store_source *from, struct coordinator_source *ret)
{
    json_t *input = from->input ? json_loads(from->input, 0, NULL) : NULL;
    memcpy(ret->name, from->name, sizeof ret->name);
    memcpy(ret->worker, from->worker, sizeof ret->worker);
    ret->created_ms = from->created_ms;
    ret->changed_ms = from->changed_ms;
    ret->opens = input && !live_input_parse(input, from->name, &ret->input, NULL);
    live_input_hide(&ret->input);
    json_decref(input);
}

int sources_read(struct coordinator *c, struct coordinator_source **ret, size_t *ret_count,
                 struct diagnostic *reterr)
{
    struct store_source *list;
    size_t count;
    int error = store_source_list(c->store, &list, &count, reterr);
    if (error)
        return error;
    *ret = base_alloc((count + 1) * sizeof **ret);
    *ret_count = count;
    for (size_t i = 0; i < count; i++)
        read_one(&list[i], *ret + i);
    store_sources_free(list, count);
    return 0;
}

int sources_apply(struct coordinator *c, struct farm_run *farm, struct diagnostic *reterr)
{
    struct store_source *list;
    size_t count, usable = 0;
    int error = store_source_list(c->store, &list, &count, reterr);
    if (error)
        return error;
    struct farm_source *sources = base_alloc((count + 1) * sizeof *sources);
    for (size_t i = 0; i < count; i++)
        if (list[i].input)
            sources[usable++] = (struct farm_source){list[i].name, list[i].worker, list[i].input};
    error = farm_run_set_sources(farm, sources, usable);
    store_sources_free(list, count);
    free(sources);
    return error ? diagnostic_set(reterr, error, "sources_full", "sources",
                                  "a farm takes in at most %d live sources", FARM_SOURCES_MAX)
                 : 0;
}

// As the end of a channel's change (channels.c).
static int finish(struct coordinator *c, int error, struct diagnostic *reterr)
{
    struct farm_run *farm = farm_borrow(c);
    int applied = farm ? sources_apply(c, farm, error ? NULL : reterr) : 0;
    farm_give(c, farm);
    if (store_failed(error) || store_failed(applied))
        atomic_store(&c->unapplied, true);
    pthread_mutex_unlock(&c->changing);
    return error ? error : applied;
}

int coordinator_put_source(struct coordinator *c, const struct store_source *source,
                           struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    return finish(c, store_source_put(c->store, source, reterr), reterr);
}

static bool names(const struct timeline *timeline, const char *source)
{
    size_t i = 0;
    while (i < timeline->source_count && strcmp(timeline->sources[i], source) != 0)
        i++;
    return i < timeline->source_count;
}

// A channel that shows it would have nothing to wait for.
static int check_unused(struct coordinator *c, const char *source, struct diagnostic *reterr)
{
    struct store_channel *channels;
    size_t count;
    int error = store_channel_list(c->store, &channels, &count, reterr);
    if (error)
        return error;
    for (size_t i = 0; i < count && !error; i++) {
        struct timeline *timeline = NULL;
        if (!channels[i].on_air || timeline_load(c, channels[i].revision, &timeline, NULL))
            continue;
        if (names(timeline, source))
            error = diagnostic_set(reterr, -EBUSY, "on_air", source,
                                   "channel %s is on air with this source; stop it, or give it "
                                   "another timeline, first",
                                   channels[i].name);
        timeline_unref(&timeline);
    }
    free(channels);
    return error;
}

int coordinator_delete_source(struct coordinator *c, const char *name, struct diagnostic *reterr)
{
    pthread_mutex_lock(&c->changing);
    int error = check_unused(c, name, reterr);
    return finish(c, error ? error : store_source_delete(c->store, name, reterr), reterr);
}

int sources_check(struct coordinator *c, const char *revision, struct diagnostic *reterr)
{
    struct timeline *timeline;
    struct store_source *list = NULL;
    size_t count = 0;
    int error = timeline_load(c, revision, &timeline, reterr);
    if (error)
        return error;
    if (timeline->source_count)
        error = store_source_list(c->store, &list, &count, reterr);
    for (size_t i = 0; i < timeline->source_count && !error; i++) {
        size_t k = 0;
        while (k < count && strcmp(list[k].name, timeline->sources[i]) != 0)
            k++;
        if (k == count)
            error = diagnostic_set(reterr, -EINVAL, "no_source", timeline->sources[i],
                                   "the timeline shows the live source \"%s\", which does not "
                                   "exist; make it first",
                                   timeline->sources[i]);
    }
    if (list)
        store_sources_free(list, count);
    timeline_unref(&timeline);
    return error;
}
