// The slate of a channel, ready on this edge: what is shown and heard when the bottom of the
// picture is missing for long (mixer.h). It is a timeline of its own: its first picture, and its
// sound, at most SLATE_SECONDS of it, repeated. It is fetched and rendered by a thread of its own
// as soon as a plan names it, so that it is there when nothing else is.
//
// Thread: all functions any; counted references are atomic.
#pragma once

#include "edge/mix/mixer.h"
#include "engine/link/media_cache.h"

#define SLATE_SECONDS 60

struct slate;
// Of timeline revision `revision` (SHA-256), for pictures of this size. -EAGAIN when no thread can
// be had.
int slate_create(struct media_cache *cache, const uint8_t revision[32], int width, int height,
                 struct rate rate, struct slate **ret);
struct slate *slate_ref(struct slate *slate);
void slate_unref(struct slate **slate); // accepts NULL inside; the last one joins the thread
bool slate_is(const struct slate *slate, const uint8_t revision[32], int width, int height,
              struct rate rate);
// Gives what the mixer takes, valid as long as the reference; false while it is not there yet.
bool slate_get(const struct slate *slate, struct mixer_slate *ret);
// In words why it is not there; "" while it is on its way or there.
void slate_error(struct slate *slate, char *ret, size_t size);
