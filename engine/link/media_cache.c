#include "engine/link/media_cache.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/media_fetch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS          2
#define ORIGINS_MAX      8
#define NAME_BYTES       80
#define PAUSE_FIRST_NS   INT64_C(500000000)
#define PAUSE_LONGEST_NS INT64_C(30000000000)
#define TOUCH_NS         INT64_C(60000000000)

struct entry {
    struct entry *next;
    char name[NAME_BYTES];
    bool here;     // complete and verified
    bool fetching; // a thread is at it
    bool asked;    // somebody got it with time to wait, since the last end of a fetch
    int pins;
    int waiters;
    int64_t bytes; // on disk, of the file or its part
    uint64_t used; // rising; the smallest goes first
    int64_t touched_ns;
    int error; // of the last fetch
    struct diagnostic diagnostic;
    uint64_t tries; // fetches that have ended
    int64_t pause_ns, retry_ns;
};

struct media_cache {
    char *folder;      // constant after create
    int64_t bytes_max; // likewise
    pthread_t threads[THREADS];
    int thread_count;
    pthread_mutex_t lock;
    pthread_cond_t changed; // an entry, the origins, or the end
    // -- guarded by lock
    struct entry *entries;
    char *origins; // comma separated
    bool stopping;
    int64_t bytes;
    uint64_t used, fetched_bytes, evicted_files, wrong_files;
};

// What a fetch needs to account for its bytes.
struct account {
    struct media_cache *cache;
    struct entry *entry;
};

// ---- Files ------------------------------------------------------------------------------------

static void path_format(const struct media_cache *cache, const char *name, const char *suffix,
                        char *ret)
{
    snprintf(ret, PATH_MAX, "%s/%s%s", cache->folder, name, suffix);
}

static void entry_touch(struct media_cache *cache, struct entry *entry)
{
    entry->used = ++cache->used;
    int64_t now = clock_monotonic_ns();
    if (entry->touched_ns && now - entry->touched_ns < TOUCH_NS)
        return;
    // The time of last use outlives the process as the file's time stamp.
    char path[PATH_MAX];
    entry->touched_ns = now;
    path_format(cache, entry->name, "", path);
    (void)utimensat(AT_FDCWD, path, NULL, 0); // only an order of eviction hangs on it
}

static void entry_evict(struct media_cache *cache, struct entry *entry)
{
    char path[PATH_MAX];
    path_format(cache, entry->name, entry->here ? "" : ".part", path);
    unlink(path);
    cache->bytes -= entry->bytes;
    cache->evicted_files += entry->here;
    entry->bytes = 0;
    entry->here = false;
    log_debug("media_evicted", "name=%s", entry->name);
}

static bool room_make(struct media_cache *cache, int64_t bytes)
{
    while (cache->bytes + bytes > cache->bytes_max) {
        struct entry *oldest = NULL;
        for (struct entry *e = cache->entries; e; e = e->next) {
            if (e->bytes > 0 && !e->pins && !e->fetching && !e->waiters &&
                (!oldest || e->used < oldest->used))
                oldest = e;
        }
        if (!oldest)
            return false;
        entry_evict(cache, oldest);
    }
    return true;
}

// ---- Entries ----------------------------------------------------------------------------------

static struct entry *entry_find(struct media_cache *cache, const char *name)
{
    struct entry *e = cache->entries;
    while (e && strcmp(e->name, name))
        e = e->next;
    return e;
}

// Gives the entry of a valid name, making it if need be; drops one that says nothing any more.
static struct entry *entry_take(struct media_cache *cache, const char *name)
{
    struct entry *entry = NULL;
    for (struct entry **at = &cache->entries; *at;) {
        struct entry *e = *at;
        if (!strcmp(e->name, name)) {
            entry = e;
        } else if (!e->pins && !e->waiters && !e->fetching && !e->here && !e->bytes && !e->asked) {
            *at = e->next;
            free(e);
            continue;
        }
        at = &e->next;
    }
    if (!entry) {
        entry = base_alloc(sizeof *entry);
        snprintf(entry->name, sizeof entry->name, "%s", name);
        entry->next = cache->entries;
        cache->entries = entry;
    }
    return entry;
}

static bool entry_wanted(const struct entry *e)
{
    return !e->here && !e->fetching && (e->asked || e->pins || e->waiters);
}

// A file that somebody removed by hand is fetched again.
static bool entry_present(struct media_cache *cache, struct entry *entry)
{
    char path[PATH_MAX];
    path_format(cache, entry->name, "", path);
    if (entry->here && access(path, R_OK) == 0)
        return true;
    if (entry->here) {
        cache->bytes -= entry->bytes;
        entry->bytes = 0;
        entry->here = false;
    }
    return false;
}

// ---- Fetching ---------------------------------------------------------------------------------

static int on_reserve(void *opaque, int64_t bytes, struct diagnostic *reterr)
{
    const struct account *a = opaque;
    struct media_cache *cache = a->cache;
    pthread_mutex_lock(&cache->lock);
    bool room = room_make(cache, bytes);
    if (room) {
        cache->bytes += bytes;
        a->entry->bytes += bytes;
        cache->fetched_bytes += (uint64_t)bytes;
    }
    pthread_mutex_unlock(&cache->lock);
    if (room)
        return 0;
    return diagnostic_set(reterr, -ENOSPC, "media_cache_full", cache->folder,
                          "what the channels of this node need does not fit into its media cache "
                          "of %lld MiB; give it more",
                          (long long)(cache->bytes_max >> 20));
}

static void on_release(void *opaque, int64_t bytes)
{
    const struct account *a = opaque;
    pthread_mutex_lock(&a->cache->lock);
    a->cache->bytes -= bytes;
    a->entry->bytes -= bytes;
    pthread_mutex_unlock(&a->cache->lock);
}

static bool on_stopped(void *opaque)
{
    const struct account *a = opaque;
    pthread_mutex_lock(&a->cache->lock);
    bool stopping = a->cache->stopping;
    pthread_mutex_unlock(&a->cache->lock);
    return stopping;
}

// Tries all origins; the worst news counts least: an origin that is away may have what another
// lacks.
static int origins_try(struct media_cache *cache, CURL *curl, struct entry *entry, char *origins,
                       struct diagnostic *reterr)
{
    char part[PATH_MAX], path[PATH_MAX], *save = NULL;
    struct account account = {cache, entry};
    path_format(cache, entry->name, ".part", part);
    path_format(cache, entry->name, "", path);
    int r = diagnostic_set(reterr, -EAGAIN, "media_origin", entry->name,
                           "no coordinator has said yet where media are");
    bool first = true;
    for (char *base = strtok_r(origins, ",", &save); base; base = strtok_r(NULL, ",", &save)) {
        struct diagnostic diagnostic = {0};
        struct media_fetch fetch = {.curl = curl,
                                    .base = base,
                                    .name = entry->name,
                                    .part = part,
                                    .reserve = on_reserve,
                                    .release = on_release,
                                    .stopped = on_stopped,
                                    .opaque = &account};
        int result = media_fetch_run(&fetch, &diagnostic);
        if (result == 0 && rename(part, path) < 0)
            result = diagnostic_set(&diagnostic, -EIO, "media_write", path,
                                    "the media cache cannot be written: %s", strerror(errno));
        if (first || result == 0 || (r == -ENOENT && result != -ENOENT)) {
            r = result;
            *reterr = diagnostic;
        }
        first = false;
        if (result == 0 || result == -ENOSPC || result == -ECANCELED)
            return result;
    }
    return r;
}

// Called and returns with the lock held.
static void entry_fetch(struct media_cache *cache, CURL *curl, struct entry *entry)
{
    struct diagnostic diagnostic = {0};
    entry->fetching = true;
    char *origins = base_strdup(cache->origins ? cache->origins : "");
    pthread_mutex_unlock(&cache->lock);
    int r = curl ? origins_try(cache, curl, entry, origins, &diagnostic) : -ENOMEM;
    free(origins);
    pthread_mutex_lock(&cache->lock);
    entry->fetching = false;
    entry->tries++;
    entry->error = r;
    entry->diagnostic = diagnostic;
    entry->here = r == 0;
    cache->wrong_files += r == -EBADMSG;
    if (r == 0) {
        entry->asked = false;
        entry->pause_ns = 0;
        entry->touched_ns = 0;
        entry_touch(cache, entry);
        log_debug("media_fetched", "name=%s bytes=%lld", entry->name, (long long)entry->bytes);
    } else {
        // What could not be had is not fetched for its own sake any more, only while it is wanted.
        entry->asked = false;
        entry->pause_ns = entry->pause_ns ? 2 * entry->pause_ns : PAUSE_FIRST_NS;
        if (entry->pause_ns > PAUSE_LONGEST_NS)
            entry->pause_ns = PAUSE_LONGEST_NS;
        entry->retry_ns = clock_monotonic_ns() + entry->pause_ns;
        log_debug("media_failed", "name=%s error=%d", entry->name, r);
    }
    pthread_cond_broadcast(&cache->changed);
}

// The wanted entry to fetch now: with waiters first, then the one asked for longest ago. Otherwise
// `ret_next_ns` is when the next one is due.
static struct entry *entry_next(struct media_cache *cache, int64_t now_ns, int64_t *ret_next_ns)
{
    struct entry *best = NULL;
    *ret_next_ns = INT64_MAX;
    for (struct entry *e = cache->entries; e; e = e->next) {
        if (!entry_wanted(e))
            continue;
        if (e->retry_ns > now_ns) {
            if (e->retry_ns < *ret_next_ns)
                *ret_next_ns = e->retry_ns;
        } else if (!best || (e->waiters > 0) > (best->waiters > 0) ||
                   ((e->waiters > 0) == (best->waiters > 0) && e->used < best->used)) {
            best = e;
        }
    }
    return best;
}

static void wait_until(struct media_cache *cache, int64_t deadline_ns)
{
    if (deadline_ns == INT64_MAX) {
        pthread_cond_wait(&cache->changed, &cache->lock);
        return;
    }
    struct timespec at = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    pthread_cond_timedwait(&cache->changed, &cache->lock, &at);
}

static void *fetch_thread(void *opaque)
{
    struct media_cache *cache = opaque;
    CURL *curl = curl_easy_init();
    pthread_mutex_lock(&cache->lock);
    while (!cache->stopping) {
        int64_t next_ns;
        struct entry *entry = entry_next(cache, clock_monotonic_ns(), &next_ns);
        if (entry)
            entry_fetch(cache, curl, entry);
        else
            wait_until(cache, next_ns);
    }
    pthread_mutex_unlock(&cache->lock);
    curl_easy_cleanup(curl);
    return NULL;
}

// ---- Getting ----------------------------------------------------------------------------------

static int name_check(const char *name, struct diagnostic *reterr)
{
    if (media_name_valid(name))
        return 0;
    return diagnostic_set(reterr, -EINVAL, "media_name", name,
                          "not the name of an asset: 64 hexadecimal digits, perhaps followed by "
                          ".index, .sound or .json");
}

// With the lock held, until there is news or the time is over.
static int entry_wait(struct media_cache *cache, struct entry *entry, int64_t deadline_ns,
                      struct diagnostic *reterr)
{
    while (!entry->here && !cache->stopping) {
        bool known_bad = entry->error && entry->error != -EAGAIN && entry->error != -ECANCELED;
        if (known_bad && !entry->fetching && clock_monotonic_ns() < entry->retry_ns) {
            if (reterr)
                *reterr = entry->diagnostic;
            return entry->error;
        }
        if (clock_monotonic_ns() >= deadline_ns)
            break;
        wait_until(cache, deadline_ns);
    }
    if (entry->here)
        return 0;
    if (entry->error) {
        if (reterr)
            *reterr = entry->diagnostic;
        return -EAGAIN;
    }
    return diagnostic_set(reterr, -EAGAIN, "media_coming", entry->name, "still being fetched");
}

int media_cache_get(struct media_cache *cache, const char *name, int timeout_ms, char *ret_path,
                    struct diagnostic *reterr)
{
    int r = name_check(name, reterr);
    if (r < 0)
        return r;
    int64_t deadline_ns = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = entry_take(cache, name);
    if (!entry_present(cache, entry) && timeout_ms > 0) {
        entry->asked = true;
        entry->waiters++;
        pthread_cond_broadcast(&cache->changed);
        r = entry_wait(cache, entry, deadline_ns, reterr);
        entry->waiters--;
    } else if (!entry->here) {
        r = entry_wait(cache, entry, INT64_MIN, reterr);
    }
    if (r == 0) {
        entry_touch(cache, entry);
        path_format(cache, name, "", ret_path);
    }
    pthread_mutex_unlock(&cache->lock);
    return r;
}

void media_cache_pin(struct media_cache *cache, const char *name)
{
    if (!media_name_valid(name))
        return; // get will say so
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = entry_take(cache, name);
    entry->pins++;
    (void)entry_present(cache, entry); // for what it does: one removed by hand is fetched again
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
}

void media_cache_unpin(struct media_cache *cache, const char *name)
{
    pthread_mutex_lock(&cache->lock);
    struct entry *entry = entry_find(cache, name);
    if (entry && entry->pins > 0)
        entry->pins--;
    pthread_mutex_unlock(&cache->lock);
}

void media_cache_set_origin(struct media_cache *cache, const char *urls)
{
    pthread_mutex_lock(&cache->lock);
    if (!cache->origins || strcmp(cache->origins, urls)) {
        free(cache->origins);
        cache->origins = base_strdup(urls);
        // Elsewhere it may be there: no pauses.
        for (struct entry *e = cache->entries; e; e = e->next)
            e->pause_ns = e->retry_ns = 0;
        pthread_cond_broadcast(&cache->changed);
    }
    pthread_mutex_unlock(&cache->lock);
}

void media_cache_stats(struct media_cache *cache, struct media_cache_stats *ret)
{
    pthread_mutex_lock(&cache->lock);
    *ret = (struct media_cache_stats){.bytes = cache->bytes,
                                      .fetched_bytes = cache->fetched_bytes,
                                      .evicted_files = cache->evicted_files,
                                      .wrong_files = cache->wrong_files};
    for (const struct entry *e = cache->entries; e; e = e->next)
        ret->files += e->here;
    pthread_mutex_unlock(&cache->lock);
}

// ---- Life -------------------------------------------------------------------------------------

struct found {
    char name[NAME_BYTES];
    bool part;
    int64_t bytes, used_ns;
};

static int found_order(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

static bool found_read(const struct media_cache *cache, const char *file, struct found *ret)
{
    struct stat status;
    char path[PATH_MAX];
    size_t length = strlen(file);
    bool part = length > 5 && !strcmp(file + length - 5, ".part");
    if (length >= NAME_BYTES)
        return false;
    snprintf(ret->name, sizeof ret->name, "%.*s", (int)(length - (part ? 5 : 0)), file);
    path_format(cache, file, "", path);
    if (!media_name_valid(ret->name) || lstat(path, &status) < 0 || !S_ISREG(status.st_mode))
        return false;
    ret->part = part;
    ret->bytes = status.st_size;
    ret->used_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec;
    return true;
}

// What an earlier run left, in the order of use. Other files are left alone.
static int folder_read(struct media_cache *cache, struct diagnostic *reterr)
{
    DIR *folder = opendir(cache->folder);
    if (!folder)
        return diagnostic_set(reterr, -errno, "media_folder", cache->folder,
                              "the media cache's folder cannot be read: %s", strerror(errno));
    size_t count = 0, room = 0;
    struct found *list = NULL;
    for (const struct dirent *file; (file = readdir(folder));) {
        struct found found;
        if (!found_read(cache, file->d_name, &found))
            continue;
        if (count == room) {
            room = room ? 2 * room : 64;
            struct found *grown = realloc(list, room * sizeof *list);
            if (!grown)
                break;
            list = grown;
        }
        list[count++] = found;
    }
    closedir(folder);
    if (count)
        qsort(list, count, sizeof *list, found_order);
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = entry_take(cache, list[i].name);
        if (entry->bytes > 0) {
            // A file and a part of it: the file counts.
            char path[PATH_MAX];
            path_format(cache, entry->name, ".part", path);
            unlink(path);
            if (list[i].part)
                continue;
        }
        cache->bytes += list[i].bytes - entry->bytes;
        entry->bytes = list[i].bytes;
        entry->here = !list[i].part;
        entry->used = ++cache->used;
    }
    free(list);
    (void)room_make(cache, 0); // the limit may have been lowered; nothing is pinned yet
    return 0;
}

int media_cache_create(const struct media_cache_config *config, struct media_cache **ret,
                       struct diagnostic *reterr)
{
    // Content names are up to 75 bytes, with ".part" and the slash.
    if (strlen(config->folder) > PATH_MAX - NAME_BYTES - 8 || config->bytes_max <= 0)
        return diagnostic_set(reterr, -EINVAL, "media_folder", config->folder,
                              "the media cache needs a folder and a size above 0");
    if (mkdir(config->folder, 0755) < 0 && errno != EEXIST)
        return diagnostic_set(reterr, -errno, "media_folder", config->folder,
                              "the media cache's folder cannot be made: %s", strerror(errno));
    struct media_cache *cache = base_alloc(sizeof *cache);
    cache->folder = base_strdup(config->folder);
    cache->bytes_max = config->bytes_max;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&cache->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int r = folder_read(cache, reterr);
    for (int i = 0; r == 0 && i < THREADS; i++) {
        r = thread_start(&cache->threads[i], "media-fetch", fetch_thread, cache);
        if (r == 0)
            cache->thread_count++;
        else
            diagnostic_set(reterr, r, "thread", "", "no thread for the media cache");
    }
    if (r < 0)
        media_cache_destroy(&cache);
    else
        *ret = cache;
    return r;
}

void media_cache_destroy(struct media_cache **cache_of)
{
    struct media_cache *cache = *cache_of;
    if (!cache)
        return;
    *cache_of = NULL;
    pthread_mutex_lock(&cache->lock);
    cache->stopping = true;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
    for (int i = 0; i < cache->thread_count; i++)
        thread_join(cache->threads[i]);
    while (cache->entries) {
        struct entry *entry = cache->entries;
        cache->entries = entry->next;
        free(entry);
    }
    pthread_cond_destroy(&cache->changed);
    pthread_mutex_destroy(&cache->lock);
    free(cache->origins);
    free(cache->folder);
    free(cache);
}
