// Preparing a revision on a node: fetch it and all it names by content, verified, and keep it.
// Thread: the stage's.
#pragma once

#include "engine/link/media_cache.h"
#include "engine/source/source.h"

struct prepared;
// Blocks for at most `timeout_ms` on a file. -EAGAIN: some media are still on their way, call
// again. Media that the origin does not have are no error: their clips show a fallback;
// `*ret_missing` counts them.
int prepared_create(struct media_cache *cache, const uint8_t sha256[32], int timeout_ms,
                    struct prepared **ret, int *ret_missing, struct diagnostic *reterr);
void prepared_destroy(struct prepared **prepared);
// A content that is not to be opened, though it is here: its clips show their fallbacks. `why`:
// `error` and words, as clips' problems tell them. Before the resolver is used.
void prepared_bar(struct prepared *prepared, const char *content, const struct diagnostic *why);
// Its optional tracks are not shown. Before the timeline is used.
void prepared_leave_optional(struct prepared *prepared);
const struct timeline *prepared_timeline(const struct prepared *prepared);
struct asset_resolver prepared_resolver(struct prepared *prepared);
