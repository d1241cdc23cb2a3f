#include "engine/source/sequence.h"

#include "engine/base/thread.h"
#include "engine/source/asset.h"
#include "engine/source/jailed.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Decoded pictures kept: the one shown, and some around it for slow rates and cuts back.
#define KEPT 4

struct kept {
    size_t index;
    uint64_t used; // 0: empty
    struct picture *picture;
};

struct sequence_source {
    struct sequence list;
    struct asset_resolver resolver;
    bool loop;
    struct kept kept[KEPT];
    uint64_t uses;
};

// ---- The list ---------------------------------------------------------------------------------

static int take_pictures(const json_t *array, struct sequence *ret, struct diagnostic *reterr)
{
    size_t count = json_array_size(array);
    if (!count || count > SEQUENCE_PICTURES_MAX)
        return diagnostic_set(reterr, -EINVAL, "sequence_pictures", "pictures",
                              "must list 1 to %d pictures", SEQUENCE_PICTURES_MAX);
    ret->uris = calloc(count, sizeof *ret->uris);
    if (!ret->uris)
        return diagnostic_set(reterr, -ENOMEM, "memory", "pictures", "out of memory");
    for (; ret->count < count; ret->count++) {
        const char *uri = json_string_value(json_array_get(array, ret->count));
        if (!uri) {
            char path[40];
            snprintf(path, sizeof path, "pictures[%zu]", ret->count);
            return diagnostic_set(reterr, -EINVAL, "sequence_pictures", path,
                                  "must be the name of a picture");
        }
        ret->uris[ret->count] = base_strdup(uri);
    }
    return 0;
}

int sequence_load(const char *path, struct sequence *ret, struct diagnostic *reterr)
{
    json_error_t why;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    struct sequence list = {0};
    const char *schema = json_string_value(json_object_get(json, "schema"));
    const char *rate = json_string_value(json_object_get(json, "rate"));
    int error = 0;
    if (!json)
        error = diagnostic_set(reterr, -EINVAL, "sequence_json", path, "line %d: %s", why.line,
                               why.text);
    else if (!schema || strcmp(schema, "vistter.sequence/1"))
        error = diagnostic_set(reterr, -EINVAL, "sequence_schema", "schema",
                               "must be \"vistter.sequence/1\"");
    else if (!rate || rate_parse(rate, &list.rate))
        error = diagnostic_set(reterr, -EINVAL, "sequence_rate", "rate",
                               "must be a frame rate such as \"25\"");
    else
        error = take_pictures(json_object_get(json, "pictures"), &list, reterr);
    json_decref(json);
    if (error) {
        sequence_finish(&list);
        return error;
    }
    *ret = list;
    return 0;
}

void sequence_finish(struct sequence *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->uris[i]);
    free(s->uris);
    *s = (struct sequence){0};
}

// ---- The source -------------------------------------------------------------------------------

static int decode(struct sequence_source *s, size_t index, struct picture **ret,
                  struct diagnostic *reterr)
{
    char path[PATH_MAX];
    int error = s->resolver.resolve(s->resolver.opaque, s->list.uris[index], path, reterr);
    return error ? error : jailed_decode_still(path, ret, reterr);
}

static int get(struct sequence_source *s, size_t index, struct picture **ret,
               struct diagnostic *reterr)
{
    struct kept *oldest = &s->kept[0];
    for (struct kept *k = s->kept; k < s->kept + KEPT; k++) {
        if (k->used && k->index == index) {
            k->used = ++s->uses;
            *ret = picture_ref(k->picture);
            return 0;
        }
        if (k->used < oldest->used)
            oldest = k;
    }
    struct picture *picture;
    int error = decode(s, index, &picture, reterr);
    if (error)
        return error;
    picture_unref(&oldest->picture);
    *oldest = (struct kept){index, ++s->uses, picture};
    *ret = picture_ref(picture);
    return 0;
}

static void sequence_destroy(void *state)
{
    struct sequence_source *s = state;
    for (int i = 0; i < KEPT; i++)
        picture_unref(&s->kept[i].picture);
    sequence_finish(&s->list);
    free(s);
}

static int sequence_open(const struct source_config *config, void **ret, int *ret_width,
                         int *ret_height, struct diagnostic *reterr)
{
    char path[PATH_MAX];
    struct picture *first;
    int error = asset_resolve(config, path, reterr);
    if (error)
        return error;
    struct sequence_source *s = base_alloc(sizeof *s);
    s->resolver = config->resolver;
    s->loop = config->clip->loop;
    error = sequence_load(path, &s->list, reterr);
    if (!error)
        error = get(s, 0, &first, reterr);
    if (error) {
        sequence_destroy(s);
        return error;
    }
    *ret_width = first->width;
    *ret_height = first->height;
    picture_unref(&first);
    *ret = s;
    return 0;
}

static int sequence_picture(void *state, const struct clip_instant *at, struct picture **ret,
                            uint64_t *ret_content, struct diagnostic *reterr)
{
    struct sequence_source *s = state;
    struct rate rate = s->list.rate;
    struct rational length = rational_make((int64_t)s->list.count * rate.den, rate.num);
    struct rational time = source_time(at->source_time, length, s->loop);
    int64_t index = muldiv_floor(time.num, rate.num, time.den * rate.den);
    if (index >= (int64_t)s->list.count)
        index = (int64_t)s->list.count - 1; // past the end the last picture stands
    *ret_content = 1 + (uint64_t)index;
    return get(s, (size_t)index, ret, reterr);
}

const struct source_ops source_sequence_ops = {sequence_open, sequence_picture, NULL, NULL,
                                               sequence_destroy};
