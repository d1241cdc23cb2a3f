// Media cache of a node: assets and revisions fetched over HTTP by content name, verified, bounded.
//
// Files lie in one folder under their names: "<sha256>", "<sha256>.index", "<sha256>.sound",
// "<sha256>.json". A fetch uses ranges, so it goes on where it was cut; the SHA-256 is checked
// before a file gets its name (for parts, the SHA-256 that the coordinator states in
// X-Content-SHA256). Beyond `bytes_max` the files unused for longest go, never pinned ones. Thread:
// any; downloads run on the cache's own threads.
#pragma once

#include "engine/base/diagnostic.h"

#include <stdint.h>

struct media_cache;
struct media_cache_config {
    const char *folder;
    int64_t bytes_max;
};
int media_cache_create(const struct media_cache_config *config, struct media_cache **ret,
                       struct diagnostic *reterr);
void media_cache_destroy(struct media_cache **cache);
// Base URLs to fetch from, comma separated: "http://host:8080/api/v1/media".
void media_cache_set_origin(struct media_cache *cache, const char *urls);

// Path of a verified file, fetching it if need be within `timeout_ms` (0: only if it is here).
// `ret_path` has room for PATH_MAX bytes. Without a pin the file may go whenever room is needed.
// 0, -EAGAIN (not here yet; if fetching runs into trouble, `reterr` says which), -ENOENT (origin
// does not have it), -EBADMSG (wrong bytes), -ENOSPC, -EINVAL (no content name). What failed is
// tried again later, with growing pauses of up to half a minute; -ENOENT and the like are then told
// at once.
int media_cache_get(struct media_cache *cache, const char *name, int timeout_ms, char *ret_path,
                    struct diagnostic *reterr);
// Asks for a file without waiting; pinned files are kept until unpinned (counts nest).
void media_cache_pin(struct media_cache *cache, const char *name);
void media_cache_unpin(struct media_cache *cache, const char *name);

struct media_cache_stats {
    int64_t bytes; // on disk, with parts of files that are still coming
    int files;     // complete ones
    uint64_t fetched_bytes, evicted_files, wrong_files;
};
void media_cache_stats(struct media_cache *cache, struct media_cache_stats *ret);
