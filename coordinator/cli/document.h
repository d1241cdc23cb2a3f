// JSON documents that name files: timelines and lists of pictures.
//
// Pure: works on bytes, without files or network. Thread: any.
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>

enum document_kind {
    DOCUMENT_OTHER,    // not ours; perhaps not JSON
    DOCUMENT_TIMELINE, // "schema": "vistter.timeline/..."
    DOCUMENT_SEQUENCE, // "schema": "vistter.sequence/..."
};

// What a document says it is. -EINVAL: it begins as a JSON object and is none; the diagnostic's
// path holds line and column.
int document_kind_of(const char *bytes, size_t size, enum document_kind *ret,
                     struct diagnostic *reterr);

// Told each URI with its place ("assets.intro", "fonts[2]", "pictures[17]"). Gives another URI
// (malloc) in `*ret`, or leaves it as it is to keep the old one; a negative errno ends the walk.
typedef int document_uri_fn(void *opaque, const char *path, const char *uri, char **ret,
                            struct diagnostic *reterr);

// Replaces URIs in "assets", "fonts" and "pictures" of a document that is valid JSON; every other
// byte stays as it is, so that numbers, order and layout are the author's. `ret` is malloc'ed.
int document_rewrite(const char *bytes, size_t size, document_uri_fn *visit, void *opaque,
                     char **ret, size_t *ret_size, struct diagnostic *reterr);
