// A timeline file with all the local files it names, ready for a server: every file has its
// content's name, and every document names its files by "sha256:" instead of "file:".
//
// Relative "file:" URIs, also those of nested timelines and picture lists, are relative to the
// folder of the timeline file, as in an offline render.
// Thread: one.
#pragma once

#include "coordinator/cli/document.h"

#include <stdint.h>

struct bundle_item {
    enum document_kind kind; // DOCUMENT_OTHER: media or a font
    char *path;              // of the file
    char *place;             // where it is first mentioned: "assets.intro"
    char sha256[65];         // of the file, or of `bytes`
    char *bytes;             // of documents, rewritten; NULL otherwise
    size_t size;
};

struct bundle {
    char *folder;
    size_t count;              // without the timeline itself
    struct bundle_item *items; // each after those that it names, and once however often it is named
    struct bundle_item timeline;
};

// Reads the timeline and only checks it, by the parser that nodes use. `fetch` gives nested
// timelines that are not files: those named "sha256:" (timeline.h, timeline_load_fn).
int bundle_check(const char *path,
                 int (*fetch)(void *opaque, const char *uri, char **ret, size_t *ret_size,
                              struct diagnostic *reterr),
                 void *opaque, int64_t *ret_duration, size_t *ret_tracks,
                 struct diagnostic *reterr);

// Reads and hashes everything. `on_file` (may be NULL) is told each file before it is read.
int bundle_load(const char *path, void (*on_file)(const char *path), struct bundle **ret,
                struct diagnostic *reterr);
void bundle_destroy(struct bundle **bundle);
