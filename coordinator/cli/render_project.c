#include "coordinator/cli/render_project.h"

#include "engine/base/thread.h"
#include "engine/media/media.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct resolved {
    char *uri, *path;
    struct diagnostic problem; // `error` != 0: it cannot be had
};

struct render_project {
    char folder[PATH_MAX]; // of the timeline file
    char cache[PATH_MAX];
    struct timeline *timeline;
    void (*on_import)(const char *file, int permille);
    void (*on_warning)(const struct diagnostic *warning);
    size_t count;
    struct resolved *items;
};

static int read_file(const char *path, char **ret, size_t *ret_size, struct diagnostic *reterr)
{
    FILE *file = fopen(path, "re");
    struct stat st;
    if (!file || fstat(fileno(file), &st)) {
        int error = -errno;
        if (file)
            fclose(file);
        return diagnostic_set(reterr, error, "file_unreadable", path, "%s", strerror(-error));
    }
    int error = 0;
    if (!S_ISREG(st.st_mode))
        error = diagnostic_set(reterr, -EINVAL, "timeline_file", path, "is not a regular file");
    else if (!st.st_size)
        error = diagnostic_set(reterr, -EINVAL, "timeline_file", path, "is empty");
    else if (st.st_size > TIMELINE_BYTES_MAX)
        error = diagnostic_set(reterr, -E2BIG, "timeline_file", path,
                               "has %lld bytes; a timeline may have %d", (long long)st.st_size,
                               TIMELINE_BYTES_MAX);
    if (error) {
        fclose(file);
        return error;
    }
    size_t size = (size_t)st.st_size;
    char *bytes = malloc(size + 1);
    size_t got = bytes ? fread(bytes, 1, size, file) : 0;
    fclose(file);
    if (!bytes || got != size) {
        free(bytes);
        return diagnostic_set(reterr, -EIO, "file_unreadable", path, "cannot be read whole");
    }
    bytes[size] = 0;
    *ret = bytes;
    *ret_size = size;
    return 0;
}

// The local path that a URI means, without importing.
static int local_path(const struct render_project *p, const char *uri, char *path,
                      struct diagnostic *reterr)
{
    int length = -1;
    if (!strncmp(uri, "sha256:", 7))
        length = snprintf(path, PATH_MAX, "%s/%s", p->cache, uri + 7);
    else if (!strncmp(uri, "file:/", 6))
        length = snprintf(path, PATH_MAX, "%s", uri + 5);
    else if (!strncmp(uri, "file:", 5))
        length = snprintf(path, PATH_MAX, "%s/%s", p->folder, uri + 5);
    if (length < 0 || length >= PATH_MAX)
        return diagnostic_set(reterr, -EINVAL, "asset_uri", uri,
                              "an offline render reads file: and sha256: assets only");
    return 0;
}

static int load_nested(void *opaque, const char *uri, char **ret, size_t *ret_size,
                       struct diagnostic *reterr)
{
    char path[PATH_MAX];
    int error = local_path(opaque, uri, path, reterr);
    return error ? error : read_file(path, ret, ret_size, reterr);
}

static struct resolved *find(const struct render_project *p, const char *uri)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->items[i].uri, uri))
            return &p->items[i];
    return NULL;
}

static struct resolved *remember(struct render_project *p, const char *uri, const char *path)
{
    p->items = realloc(p->items, (p->count + 1) * sizeof *p->items);
    if (!p->items)
        abort();
    struct resolved *item = &p->items[p->count++];
    *item = (struct resolved){.uri = base_strdup(uri), .path = base_strdup(path)};
    return item;
}

struct import_state {
    struct render_project *project;
    const char *file;
};

static void import_progress(void *opaque, int permille)
{
    struct import_state *state = opaque;
    if (state->project->on_import)
        state->project->on_import(state->file, permille);
}

// Brings one media asset into the cache. `*ret` gets its facts, all 0 where there was no import.
static const struct resolved *import_asset(struct render_project *p, const char *uri,
                                           struct media_info *ret)
{
    char path[PATH_MAX], stored[PATH_MAX + 80];
    struct diagnostic problem = {0};
    *ret = (struct media_info){0};
    if (local_path(p, uri, path, &problem)) {
        path[0] = 0;
    } else if (strncmp(uri, "file:", 5)) {
        if (access(path, R_OK))
            diagnostic_set(&problem, -errno, "asset_missing", uri, "is not in the cache folder");
    } else {
        struct import_state state = {p, path};
        if (!media_import(path, p->cache, ret, import_progress, &state, &problem)) {
            snprintf(stored, sizeof stored, "%s/%s", p->cache, ret->sha256);
            return remember(p, uri, stored);
        }
        if (!problem.path[0])
            snprintf(problem.path, sizeof problem.path, "%.255s", path);
    }
    struct resolved *item = remember(p, uri, path);
    item->problem = problem;
    return item;
}

static void import_of_clip(struct render_project *p, const struct timeline *t,
                           const struct clip *clip, int asset)
{
    struct diagnostic warning;
    struct media_info info;
    char damage[160];
    const char *uri = t->assets[asset].uri;
    if (find(p, uri))
        return;
    const struct resolved *item = import_asset(p, uri, &info);
    media_damage_text(&info, damage);
    struct clip named = *clip;
    named.asset = asset;
    if (item->problem.error)
        clip_problem(t, &named, &item->problem, &warning);
    else if (*damage)
        diagnostic_set(&warning, -EIO, "media_damaged", t->assets[asset].name, "%s", damage);
    else if (t->loudness_lufs < 0 && info.sample_count && !info.loudness_known)
        diagnostic_set(&warning, -ENODATA, "media_loudness", t->assets[asset].name,
                       "is not levelled: an older version imported it, without its loudness; take "
                       "another --cache folder");
    else
        return;
    p->on_warning(&warning);
}

// Fonts and picture lists are documents, and are read where they lie.
static void note_document(struct render_project *p, const char *uri)
{
    char path[PATH_MAX];
    struct diagnostic problem = {0};
    if (find(p, uri))
        return;
    if (local_path(p, uri, path, &problem))
        path[0] = 0;
    else if (access(path, R_OK))
        diagnostic_set(&problem, -errno, "asset_missing", path, "%s", strerror(errno));
    remember(p, uri, path)->problem = problem;
}

static void import_clip(struct render_project *p, const struct timeline *t, const struct clip *clip)
{
    if (clip->kind == CLIP_SEQUENCE)
        note_document(p, t->assets[clip->asset].uri);
    else if (clip->asset >= 0 && clip->kind != CLIP_TIMELINE)
        import_of_clip(p, t, clip, clip->asset);
    if (clip->fallback.kind == FALLBACK_ASSET)
        import_of_clip(p, t, clip, clip->fallback.asset);
    if (clip->how && clip->how->asset >= 0)
        import_of_clip(p, t, clip, clip->how->asset);
}

static void import_timeline(struct render_project *p, const struct timeline *t)
{
    for (size_t i = 0; i < t->font_count; i++)
        note_document(p, t->fonts[i]);
    for (size_t i = 0; i < t->track_count; i++) {
        for (size_t k = 0; k < t->tracks[i].clip_count; k++) {
            const struct clip *clip = &t->tracks[i].clips[k];
            import_clip(p, t, clip);
            if (clip->nested)
                import_timeline(p, clip->nested);
        }
    }
}

static int make_folders(const char *path, struct diagnostic *reterr)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1;; slash++) {
        if (*slash && *slash != '/')
            continue;
        char end = *slash;
        *slash = 0;
        if (mkdir(part, 0755) && errno != EEXIST)
            return diagnostic_set(reterr, -errno, "cache_folder", part, "cannot be made: %s",
                                  strerror(errno));
        *slash = end;
        if (!end)
            return 0;
    }
}

int render_project_open(const char *path, const char *cache,
                        void (*on_import)(const char *file, int permille),
                        void (*on_warning)(const struct diagnostic *warning),
                        struct render_project **ret, struct diagnostic *reterr)
{
    struct render_project *p = base_alloc(sizeof *p);
    char absolute[PATH_MAX], *bytes = NULL;
    size_t size = 0;
    int error = 0;
    p->on_import = on_import;
    p->on_warning = on_warning;
    if (!realpath(path, absolute)) {
        error = diagnostic_set(reterr, -errno, "file_unreadable", path, "%s", strerror(errno));
        goto fail;
    }
    error = read_file(absolute, &bytes, &size, reterr);
    if (!error)
        error = make_folders(cache, reterr);
    if (error)
        goto fail;
    snprintf(p->folder, sizeof p->folder, "%s", dirname(absolute));
    if (!realpath(cache, p->cache)) {
        error = diagnostic_set(reterr, -errno, "cache_folder", cache, "%s", strerror(errno));
        goto fail;
    }
    struct diagnostic why = {0};
    error = timeline_parse(bytes, size, load_nested, p, &p->timeline, &why);
    if (error) {
        diagnostic_set(reterr, error, why.code, path, "%s%s%s", why.path, *why.path ? ": " : "",
                       why.text);
        goto fail;
    }
    free(bytes);
    import_timeline(p, p->timeline);
    *ret = p;
    return 0;
fail:
    free(bytes);
    render_project_close(&p);
    return error;
}

void render_project_close(struct render_project **project)
{
    struct render_project *p = *project;
    if (!p)
        return;
    *project = NULL;
    for (size_t i = 0; i < p->count; i++) {
        free(p->items[i].uri);
        free(p->items[i].path);
    }
    free(p->items);
    timeline_unref(&p->timeline);
    free(p);
}

void render_project_leave_optional(struct render_project *project)
{
    timeline_leave_optional(project->timeline);
}

const struct timeline *render_project_timeline(const struct render_project *project)
{
    return project->timeline;
}

static int resolve(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    struct render_project *p = opaque;
    const struct resolved *item = find(p, uri);
    struct media_info info;
    if (!item) // a picture of a list
        item = import_asset(p, uri, &info);
    if (item->problem.error && reterr)
        *reterr = item->problem;
    if (!item->problem.error)
        snprintf(path, PATH_MAX, "%s", item->path);
    return item->problem.error;
}

struct asset_resolver render_project_resolver(struct render_project *project)
{
    return (struct asset_resolver){resolve, project};
}
