#include "coordinator/cli/render_live.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(struct diagnostic *reterr, const char *path, size_t index, const char *text)
{
    return diagnostic_set(reterr, -EINVAL, "live_take", path, "take %zu: %s", index, text);
}

// Without its "at_frame", as a channel's log has it.
static int read_event(const char *path, size_t index, json_t *object,
                      const struct timeline *timeline, struct take_event *ret,
                      struct diagnostic *reterr)
{
    const json_t *at = json_object_get(object, "at_frame");
    struct diagnostic why = {0};
    if (!json_is_integer(at))
        return refuse(reterr, path, index, "needs an \"at_frame\", a whole number");
    ret->at_frame = json_integer_value(at);
    json_object_del(object, "at_frame");
    char *take = json_dumps(object, JSON_COMPACT);
    if (!take)
        return refuse(reterr, path, index, "cannot be written");
    ret->take = take;
    if (!take_check(timeline, take, NULL, &why))
        return 0;
    char text[1024];
    return refuse(reterr, path, index, diagnostic_format(&why, text, sizeof text));
}

static int read_events(const char *path, json_t *array, const struct timeline *timeline,
                       struct take_event *events, size_t count, struct diagnostic *reterr)
{
    for (size_t i = 0; i < count; i++) {
        events[i].sequence = i + 1;
        int error = read_event(path, i, json_array_get(array, i), timeline, &events[i], reterr);
        if (error)
            return error;
        if (i && events[i].at_frame < events[i - 1].at_frame)
            return refuse(reterr, path, i, "is before the one that stands before it");
    }
    return 0;
}

int render_live_load(const char *path, const struct timeline *timeline, struct rate rate,
                     int64_t start_frame, struct takes **ret, struct diagnostic *reterr)
{
    json_error_t why;
    json_t *array = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!array)
        return diagnostic_set(reterr, -EINVAL, "live_take", path, "line %d: %s", why.line,
                              why.text);
    size_t count = json_array_size(array);
    if (!json_is_array(array) || count > TAKES_MAX) {
        json_decref(array);
        return diagnostic_set(reterr, -EINVAL, "live_take", path,
                              "must be an array of at most %d takes", TAKES_MAX);
    }
    struct take_event *events = base_alloc(count * sizeof *events);
    int error = read_events(path, array, timeline, events, count, reterr);
    if (!error) {
        struct take_log *log = take_log_create(events, count);
        *ret = takes_create(timeline, rate, start_frame, log, NULL);
        take_log_unref(&log);
    }
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)events[i].take);
    free(events);
    json_decref(array);
    return error;
}
