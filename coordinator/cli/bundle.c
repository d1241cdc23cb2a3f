#include "coordinator/cli/bundle.h"

#include "engine/base/thread.h"
#include "engine/media/media.h"
#include "engine/timeline/timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Documents that are being read; one that names itself is found here.
struct nest {
    const struct nest *outer;
    const char *path;
    int depth;
};

struct reader {
    struct bundle *bundle;
    const struct nest *nest;
    void (*on_file)(const char *path);
};

static int add_document(struct reader *reader, const char *path, enum document_kind kind,
                        char **bytes, size_t size, struct bundle_item *ret,
                        struct diagnostic *reterr);

// The folder of `path`, resolved; base_alloc'ed.
static char *folder_of(const char *path, struct diagnostic *reterr)
{
    char absolute[PATH_MAX];
    if (!realpath(path, absolute)) {
        diagnostic_set(reterr, -errno, "file_unreadable", path, "%s", strerror(errno));
        return NULL;
    }
    return base_strdup(dirname(absolute));
}

static void local_path(const char *folder, const char *uri, char *ret)
{
    if (uri[5] == '/')
        snprintf(ret, PATH_MAX, "%s", uri + 5);
    else
        snprintf(ret, PATH_MAX, "%s/%s", folder, uri + 5);
}

static int read_open(int fd, const char *path, char **ret, size_t *ret_size,
                     struct diagnostic *reterr)
{
    struct stat st;
    if (fstat(fd, &st))
        return diagnostic_set(reterr, -errno, "file_unreadable", path, "%s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return diagnostic_set(reterr, -EINVAL, "file_unreadable", path, "not a regular file");
    if (st.st_size > TIMELINE_BYTES_MAX)
        return diagnostic_set(reterr, -E2BIG, "timeline_too_large", path,
                              "has %lld bytes; the limit is %d", (long long)st.st_size,
                              TIMELINE_BYTES_MAX);
    size_t size = (size_t)st.st_size, done = 0;
    char *bytes = malloc(size + 1);
    ssize_t n = 1;
    while (bytes && done < size && (n = read(fd, bytes + done, size - done)) > 0)
        done += (size_t)n;
    if (!bytes || done < size) {
        free(bytes);
        return diagnostic_set(reterr, -EIO, "file_unreadable", path, "cannot be read whole");
    }
    bytes[size] = 0;
    *ret = bytes;
    *ret_size = size;
    return 0;
}

static int read_file(const char *path, char **ret, size_t *ret_size, struct diagnostic *reterr)
{
    // O_NONBLOCK: a pipe with no writer must not keep us waiting.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return diagnostic_set(reterr, -errno, "file_unreadable", path, "%s", strerror(errno));
    int error = read_open(fd, path, ret, ret_size, reterr);
    close(fd);
    return error;
}

struct check {
    const char *folder;
    timeline_load_fn *fetch;
    void *opaque;
};

static int load_nested(void *opaque, const char *uri, char **ret, size_t *ret_size,
                       struct diagnostic *reterr)
{
    struct check *check = opaque;
    char path[PATH_MAX];
    if (strncmp(uri, "file:", 5))
        return check->fetch(check->opaque, uri, ret, ret_size, reterr);
    local_path(check->folder, uri, path);
    return read_file(path, ret, ret_size, reterr);
}

int bundle_check(const char *path, timeline_load_fn *fetch, void *opaque, int64_t *ret_duration,
                 size_t *ret_tracks, struct diagnostic *reterr)
{
    char *folder = folder_of(path, reterr), *bytes = NULL;
    size_t size = 0;
    struct timeline *timeline = NULL;
    if (!folder)
        return reterr->error;
    struct check check = {folder, fetch, opaque};
    int error = read_file(path, &bytes, &size, reterr);
    if (!error)
        error = timeline_parse(bytes, size, load_nested, &check, &timeline, reterr);
    if (!error) {
        *ret_duration = timeline->duration;
        *ret_tracks = timeline->track_count;
    }
    timeline_unref(&timeline);
    free(bytes);
    free(folder);
    return error;
}

static int hash_bytes(const char *bytes, size_t size, char *ret)
{
    unsigned char digest[32];
    if (EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

// Reads a file that may be a document: JSON begins with a brace. `*ret` stays NULL for others.
static int read_document(const char *path, enum document_kind *ret_kind, char **ret,
                         size_t *ret_size, struct diagnostic *reterr)
{
    char head[64];
    *ret_kind = DOCUMENT_OTHER;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return diagnostic_set(reterr, -errno, "file_unreadable", path, "%s", strerror(errno));
    ssize_t n = pread(fd, head, sizeof head, 0);
    int error = 0;
    ssize_t blanks = 0;
    while (blanks < n && strchr(" \t\r\n", head[blanks]) && head[blanks])
        blanks++;
    if (n > 0 && blanks < n && head[blanks] == '{')
        error = read_open(fd, path, ret, ret_size, reterr);
    close(fd);
    if (!error && *ret)
        error = document_kind_of(*ret, *ret_size, ret_kind, reterr);
    if (*ret && (error || *ret_kind == DOCUMENT_OTHER)) {
        free(*ret);
        *ret = NULL;
    }
    return error;
}

static int check_nest(const struct nest *nest, const char *path, struct diagnostic *reterr)
{
    if (nest->depth >= TIMELINE_NESTING_MAX + 1) // a picture list may stand in the innermost
        return diagnostic_set(reterr, -E2BIG, "timeline_too_large", path,
                              "timelines are nested more than %d deep", TIMELINE_NESTING_MAX);
    for (; nest; nest = nest->outer)
        if (!strcmp(nest->path, path))
            return diagnostic_set(reterr, -EINVAL, "timeline_cycle", path,
                                  "includes itself; take one of the nested clips out");
    return 0;
}

static int read_item(struct reader *reader, const char *path, struct bundle_item *ret,
                     struct diagnostic *reterr)
{
    char *bytes = NULL;
    size_t size = 0;
    int error = check_nest(reader->nest, path, reterr);
    if (!error)
        error = read_document(path, &ret->kind, &bytes, &size, reterr);
    if (error)
        return error;
    if (!bytes)
        return media_hash_file(path, ret->sha256, reterr);
    error = add_document(reader, path, ret->kind, &bytes, size, ret, reterr);
    free(bytes);
    return error;
}

static struct bundle_item *find(const struct bundle *bundle, const char *path)
{
    for (size_t i = 0; i < bundle->count; i++)
        if (!strcmp(bundle->items[i].path, path))
            return &bundle->items[i];
    return NULL;
}

static void finish_item(struct bundle_item *item)
{
    free(item->path);
    free(item->place);
    free(item->bytes);
}

static void append(struct bundle *bundle, const struct bundle_item *item)
{
    if ((bundle->count & (bundle->count - 1)) == 0) { // full at each power of two
        size_t capacity = bundle->count ? 2 * bundle->count : 1;
        bundle->items = realloc(bundle->items, capacity * sizeof *bundle->items);
        if (!bundle->items)
            abort();
    }
    bundle->items[bundle->count++] = *item;
}

static int add_file(struct reader *reader, const char *place, const char *uri,
                    struct bundle_item **ret, struct diagnostic *reterr)
{
    char path[PATH_MAX], absolute[PATH_MAX];
    struct diagnostic inner;
    local_path(reader->bundle->folder, uri, path);
    if (!realpath(path, absolute))
        return diagnostic_set(reterr, -errno, "asset_missing", place, "%s: %s", path,
                              strerror(errno));
    *ret = find(reader->bundle, absolute);
    if (*ret)
        return 0;
    if (reader->on_file)
        reader->on_file(path);
    struct bundle_item item = {.path = base_strdup(absolute), .place = base_strdup(place)};
    int error = read_item(reader, absolute, &item, &inner);
    if (error) {
        finish_item(&item);
        return diagnostic_set(reterr, error, inner.code, place, "%s%s%s: %s", path,
                              strcmp(inner.path, absolute) ? ", " : "",
                              strcmp(inner.path, absolute) ? inner.path : "", inner.text);
    }
    append(reader->bundle, &item);
    *ret = &reader->bundle->items[reader->bundle->count - 1];
    return 0;
}

static int on_uri(void *opaque, const char *place, const char *uri, char **ret,
                  struct diagnostic *reterr)
{
    struct bundle_item *item;
    if (strncmp(uri, "file:", 5))
        return 0;
    int error = add_file(opaque, place, uri, &item, reterr);
    if (error)
        return error;
    char name[80];
    snprintf(name, sizeof name, "sha256:%s", item->sha256);
    *ret = base_strdup(name);
    return 0;
}

// Rewrites a document and everything it names. Takes the bytes.
static int add_document(struct reader *reader, const char *path, enum document_kind kind,
                        char **bytes, size_t size, struct bundle_item *ret,
                        struct diagnostic *reterr)
{
    const struct nest *outer = reader->nest;
    struct nest nest = {outer, path, outer ? outer->depth + 1 : 0};
    reader->nest = &nest;
    int error = document_rewrite(*bytes, size, on_uri, reader, &ret->bytes, &ret->size, reterr);
    reader->nest = outer;
    if (error)
        return error;
    ret->kind = kind;
    free(*bytes);
    *bytes = NULL;
    if (hash_bytes(ret->bytes, ret->size, ret->sha256))
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
    return 0;
}

int bundle_load(const char *path, void (*on_file)(const char *path), struct bundle **ret,
                struct diagnostic *reterr)
{
    char *folder = folder_of(path, reterr), absolute[PATH_MAX], *bytes = NULL;
    size_t size = 0;
    if (!folder)
        return reterr->error;
    struct bundle *bundle = base_alloc(sizeof *bundle);
    bundle->folder = folder;
    bundle->timeline.path = base_strdup(path);
    bundle->timeline.place = base_strdup("");
    struct reader reader = {.bundle = bundle, .on_file = on_file};
    int error = read_file(path, &bytes, &size, reterr);
    if (!error && !realpath(path, absolute))
        error = diagnostic_set(reterr, -errno, "file_unreadable", path, "%s", strerror(errno));
    if (!error)
        error = add_document(&reader, absolute, DOCUMENT_TIMELINE, &bytes, size, &bundle->timeline,
                             reterr);
    free(bytes);
    if (error)
        bundle_destroy(&bundle);
    else
        *ret = bundle;
    return error;
}

void bundle_destroy(struct bundle **bundle)
{
    struct bundle *b = *bundle;
    if (!b)
        return;
    *bundle = NULL;
    for (size_t i = 0; i < b->count; i++)
        finish_item(&b->items[i]);
    finish_item(&b->timeline);
    free(b->items);
    free(b->folder);
    free(b);
}
