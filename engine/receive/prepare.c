#include "engine/receive/prepare.h"

#include "engine/base/crash_note.h"
#include "engine/base/thread.h"
#include "engine/media/media.h"
#include "engine/source/sequence.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct barred {
    char content[65];
    struct diagnostic why;
};

struct prepared {
    struct media_cache *cache;
    struct timeline *timeline;
    size_t pin_count;
    char **pins;
    size_t barred_count;
    struct barred *barred;
};

static void pin(struct prepared *p, const char *name)
{
    for (size_t i = 0; i < p->pin_count; i++)
        if (!strcmp(p->pins[i], name))
            return;
    p->pins = realloc(p->pins, (p->pin_count + 1) * sizeof *p->pins);
    if (!p->pins)
        abort();
    p->pins[p->pin_count++] = base_strdup(name);
    media_cache_pin(p->cache, name);
}

static int read_whole(const char *path, char **ret, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    char *bytes = malloc(TIMELINE_BYTES_MAX + 1);
    size_t size = bytes ? fread(bytes, 1, TIMELINE_BYTES_MAX + 1, file) : 0;
    fclose(file);
    if (!bytes)
        return -ENOMEM;
    if (size > TIMELINE_BYTES_MAX) {
        free(bytes);
        return -E2BIG;
    }
    *ret = bytes;
    *ret_size = size;
    return 0;
}

struct load {
    struct prepared *prepared;
    int timeout_ms;
};

static int load_uri(void *opaque, const char *uri, char **ret, size_t *ret_size,
                    struct diagnostic *reterr)
{
    struct load *load = opaque;
    if (strncmp(uri, "sha256:", 7))
        return diagnostic_set(reterr, -EINVAL, "asset_uri", uri, "not a content name");
    pin(load->prepared, uri + 7);
    char path[PATH_MAX];
    int error = media_cache_get(load->prepared->cache, uri + 7, load->timeout_ms, path, reterr);
    return error ? error : read_whole(path, ret, ret_size);
}

static int fetch(struct prepared *p, const char *name, int timeout_ms, char *path,
                 struct diagnostic *reterr)
{
    pin(p, name);
    return media_cache_get(p->cache, name, timeout_ms, path, reterr);
}

// The asset and those of its parts that its facts promise.
static int fetch_media(struct prepared *p, const char *sha256, int timeout_ms,
                       struct diagnostic *reterr)
{
    char name[96], path[PATH_MAX], *json;
    size_t size;
    struct media_info info;
    snprintf(name, sizeof name, "%s.json", sha256);
    int error = fetch(p, name, timeout_ms, path, reterr);
    if (!error)
        error = read_whole(path, &json, &size);
    if (error)
        return error;
    json[size] = 0;
    error = media_info_parse(json, &info, reterr);
    free(json);
    // Ask for everything before waiting for anything.
    static const char *const suffixes[] = {"", ".index", ".sound"};
    const bool wanted[] = {true, info.picture_count > 1, info.sample_count > 0};
    for (int step = 0; step < 2 && !error; step++) {
        for (int i = 0; i < 3 && !error; i++) {
            if (!wanted[i])
                continue;
            snprintf(name, sizeof name, "%.64s%s", sha256, suffixes[i]);
            if (step == 0)
                pin(p, name);
            else
                error = fetch(p, name, timeout_ms, path, reterr);
        }
    }
    return error;
}

static int fetch_uri(struct prepared *p, const char *uri, bool media, int timeout_ms,
                     int *ret_missing, struct diagnostic *reterr)
{
    char path[PATH_MAX];
    int error = -EINVAL;
    if (!strncmp(uri, "sha256:", 7) && strlen(uri) == 71)
        error = media ? fetch_media(p, uri + 7, timeout_ms, reterr)
                      : fetch(p, uri + 7, timeout_ms, path, reterr);
    if (error == -EAGAIN)
        return error;
    if (error)
        ++*ret_missing;
    return 0;
}

// The list, and the pictures that it names.
static int fetch_sequence(struct prepared *p, const char *uri, int timeout_ms, int *ret_missing,
                          struct diagnostic *reterr)
{
    char path[PATH_MAX];
    struct sequence list;
    int error = strncmp(uri, "sha256:", 7) ? -EINVAL : fetch(p, uri + 7, timeout_ms, path, reterr);
    if (!error)
        error = sequence_load(path, &list, reterr);
    if (error) {
        *ret_missing += error != -EAGAIN;
        return error == -EAGAIN ? error : 0;
    }
    for (size_t i = 0; i < list.count && !error; i++)
        error = fetch_uri(p, list.uris[i], true, timeout_ms, ret_missing, reterr);
    sequence_finish(&list);
    return error;
}

static int fetch_all(struct prepared *p, const struct timeline *t, int timeout_ms, int *ret_missing,
                     struct diagnostic *reterr)
{
    int error = 0;
    for (size_t i = 0; i < t->font_count && !error; i++)
        error = fetch_uri(p, t->fonts[i], false, timeout_ms, ret_missing, reterr);
    for (size_t i = 0; i < t->track_count && !error; i++) {
        for (size_t k = 0; k < t->tracks[i].clip_count && !error; k++) {
            const struct clip *clip = &t->tracks[i].clips[k];
            if (clip->nested)
                error = fetch_all(p, clip->nested, timeout_ms, ret_missing, reterr);
            else if (clip->kind == CLIP_SEQUENCE)
                error =
                    fetch_sequence(p, t->assets[clip->asset].uri, timeout_ms, ret_missing, reterr);
            else if (clip->asset >= 0)
                error =
                    fetch_uri(p, t->assets[clip->asset].uri, true, timeout_ms, ret_missing, reterr);
            if (!error && clip->fallback.kind == FALLBACK_ASSET)
                error = fetch_uri(p, t->assets[clip->fallback.asset].uri, true, timeout_ms,
                                  ret_missing, reterr);
            if (!error && clip->how && clip->how->asset >= 0)
                error = fetch_uri(p, t->assets[clip->how->asset].uri, true, timeout_ms, ret_missing,
                                  reterr);
        }
    }
    return error;
}

int prepared_create(struct media_cache *cache, const uint8_t sha256[32], int timeout_ms,
                    struct prepared **ret, int *ret_missing, struct diagnostic *reterr)
{
    struct prepared *p = base_alloc(sizeof *p);
    p->cache = cache;
    *ret_missing = 0;
    char uri[80] = "sha256:", *bytes = NULL;
    for (int i = 0; i < 32; i++)
        snprintf(uri + 7 + 2 * i, 3, "%02x", sha256[i]);
    size_t size;
    struct load load = {p, timeout_ms};
    int error = load_uri(&load, uri, &bytes, &size, reterr);
    if (!error)
        error = timeline_parse(bytes, size, load_uri, &load, &p->timeline, reterr);
    free(bytes);
    if (!error)
        error = fetch_all(p, p->timeline, timeout_ms, ret_missing, reterr);
    if (error) {
        prepared_destroy(&p);
        return error;
    }
    *ret = p;
    return 0;
}

void prepared_destroy(struct prepared **prepared)
{
    struct prepared *p = *prepared;
    if (!p)
        return;
    *prepared = NULL;
    for (size_t i = 0; i < p->pin_count; i++) {
        media_cache_unpin(p->cache, p->pins[i]);
        free(p->pins[i]);
    }
    free(p->pins);
    free(p->barred);
    timeline_unref(&p->timeline);
    free(p);
}

const struct timeline *prepared_timeline(const struct prepared *prepared)
{
    return prepared->timeline;
}

void prepared_leave_optional(struct prepared *prepared)
{
    timeline_leave_optional(prepared->timeline);
}

void prepared_bar(struct prepared *p, const char *content, const struct diagnostic *why)
{
    struct barred *list = realloc(p->barred, (p->barred_count + 1) * sizeof *list);
    if (!list)
        abort();
    p->barred = list;
    list[p->barred_count] = (struct barred){.why = *why};
    snprintf(list[p->barred_count++].content, sizeof list->content, "%s", content);
}

static int check_barred(const struct prepared *p, const char *content, struct diagnostic *reterr)
{
    for (size_t i = 0; i < p->barred_count; i++) {
        if (strcmp(p->barred[i].content, content))
            continue;
        if (reterr)
            *reterr = p->barred[i].why;
        return p->barred[i].why.error;
    }
    return 0;
}

static int resolve(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    struct prepared *p = opaque;
    if (strncmp(uri, "sha256:", 7))
        return diagnostic_set(reterr, -EINVAL, "asset_uri", uri, "not a content name");
    int barred = check_barred(p, uri + 7, reterr);
    return barred ? barred : media_cache_get(p->cache, uri + 7, 0, path, reterr);
}

struct asset_resolver prepared_resolver(struct prepared *prepared)
{
    return (struct asset_resolver){resolve, prepared};
}
