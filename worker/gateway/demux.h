// Takes a live stream apart into access units, without decoding: libavformat splits, its parsers
// find sizes, rates and keys.
// Thread: the source's.
#pragma once

#include "worker/gateway/ingest.h"

#include <libavformat/avio.h>

struct demux_config {
    AVIOContext *io;     // MPEG-TS from here; NULL: `url` is opened
    const char *url;     // never shown anywhere
    int (*stop)(void *); // polled while it waits: not 0 ends it
    // The connection is there.
    void (*on_begin)(void *, bool has_pictures);
    void (*on_unit)(void *, const struct ingest_unit *);
    void *opaque;
};
// Until the stream ends, or `stop`. 0: it had begun; a negative errno: it never did.
int demux_run(const struct demux_config *config);
