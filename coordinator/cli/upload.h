// Brings files and documents into the server's media store, unless it has them. Warns on standard
// error of files that import found damaged.
//
// Thread: one.
#pragma once

#include "coordinator/cli/client.h"

struct upload {
    const char *path; // a file; NULL: `bytes`
    const char *bytes;
    size_t size;
    const char *name;   // what people call it
    const char *sha256; // of the content
    bool quiet;         // no progress bar; there is none either where standard error is no terminal
};

// `*ret_sent` is false when the server had it. `ret` (may be NULL) receives the server's facts.
int upload_media(struct client *client, const struct upload *upload, bool *ret_sent, json_t **ret,
                 struct diagnostic *reterr);

// A line on a terminal that the next one replaces; "" clears it.
void upload_note(bool quiet, const char *what, const char *name);
