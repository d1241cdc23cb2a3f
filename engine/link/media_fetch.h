// One download of one content name from one origin, resumed and verified. Private to the media
// cache. Thread: any; blocks until done, refused or stopped. A stalled transfer ends after 10 s.
#pragma once

#include "engine/base/diagnostic.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

struct media_fetch {
    CURL *curl;       // reused, so that connections are
    const char *base; // "http://host:8080/api/v1/media"
    const char *name; // content name
    const char *part; // path of the unfinished file; goes on at its end
    // Asks for room for so many further bytes on disk; 0 or -ENOSPC.
    int (*reserve)(void *opaque, int64_t bytes, struct diagnostic *reterr);
    // The file has shrunk to nothing: gives `bytes` back.
    void (*release)(void *opaque, int64_t bytes);
    bool (*stopped)(void *opaque);
    void *opaque;
};

// "<64 hex digits>", perhaps followed by ".index", ".sound" or ".json".
bool media_name_valid(const char *name);
bool media_name_plain(const char *name); // valid, and nothing follows

// 0: `part` holds the verified bytes, on disk. -ENOENT the origin does not have it; -EBADMSG wrong
// bytes, `part` is gone; -ENOSPC; -EAGAIN trouble on the way, `part` keeps what came; -ECANCELED.
int media_fetch_run(const struct media_fetch *fetch, struct diagnostic *reterr);
