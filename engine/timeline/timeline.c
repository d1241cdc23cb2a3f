#include "engine/timeline/timeline.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct timeline *timeline_ref(const struct timeline *timeline)
{
    // Only the count changes, which is not part of what const promises.
    struct timeline *counted = (struct timeline *)(uintptr_t)timeline;
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

static void finish_clip(struct clip *clip)
{
    struct property *properties[] = {
        &clip->position, &clip->size,       &clip->anchor,     &clip->rotation, &clip->crop_lt,
        &clip->crop_rb,  &clip->radius,     &clip->opacity,    &clip->gain_db,  &clip->pan,
        &clip->contrast, &clip->saturation, &clip->brightness, &clip->border};
    for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
        free(properties[i]->keys);
    if (clip->text) {
        free(clip->text->text);
        free(clip->text->font);
        free(clip->text);
    }
    if (clip->shape) {
        free(clip->shape->points);
        free(clip->shape);
    }
    free(clip->pattern);
    free(clip->how);
    free(clip->id);
    timeline_unref(&clip->nested);
}

static void timeline_free(struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->track_count; i++) {
        struct track *track = &timeline->tracks[i];
        for (size_t j = 0; j < track->clip_count; j++)
            finish_clip(&track->clips[j]);
        free(track->clips);
        free(track->name);
    }
    free(timeline->tracks);
    for (size_t i = 0; i < timeline->asset_count; i++) {
        free(timeline->assets[i].name);
        free(timeline->assets[i].uri);
    }
    free(timeline->assets);
    for (size_t i = 0; i < timeline->font_count; i++)
        free(timeline->fonts[i]);
    free(timeline->fonts);
    for (size_t i = 0; i < timeline->source_count; i++)
        free(timeline->sources[i]);
    free(timeline->sources);
    free(timeline->name);
    free(timeline);
}

void timeline_unref(struct timeline **timeline)
{
    struct timeline *old = *timeline;
    *timeline = NULL;
    if (old && atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) == 1)
        timeline_free(old);
}

static bool track_optional(const struct track *track)
{
    bool optional = track->optional;
    for (size_t i = 0; i < track->clip_count && !optional; i++) {
        const struct timeline *nested = track->clips[i].nested;
        optional = nested && timeline_has_optional(nested, 0, (int)nested->track_count);
    }
    return optional;
}

bool timeline_has_optional(const struct timeline *timeline, int track_from, int track_to)
{
    for (int i = track_from; i < track_to && (size_t)i < timeline->track_count; i++)
        if (track_optional(&timeline->tracks[i]))
            return true;
    return false;
}

void timeline_leave_optional(struct timeline *timeline)
{
    for (size_t i = 0; i < timeline->track_count; i++) {
        struct track *track = &timeline->tracks[i];
        track->hidden |= track->optional;
        for (size_t k = 0; k < track->clip_count; k++)
            if (track->clips[k].nested)
                timeline_leave_optional(track->clips[k].nested);
    }
}

bool timeline_source_valid(const char *name)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    size_t length = strlen(name);
    return length && length <= TIMELINE_SOURCE_BYTES && name[0] != '.' &&
           !name[strspn(name, plain)];
}

size_t timeline_sources(const struct timeline *timeline, const char **names, size_t max)
{
    for (size_t i = 0; i < timeline->source_count && i < max; i++)
        names[i] = timeline->sources[i];
    return timeline->source_count;
}

bool timeline_has_camera(const struct timeline *timeline)
{
    return timeline->source_count > 0;
}

static const char *place_of(const struct clip *clip, char ret[80])
{
    size_t track, index;
    if (sscanf(clip->id, "%zu/%zu", &track, &index) == 2)
        snprintf(ret, 80, "tracks[%zu].clips[%zu]", track, index);
    else
        snprintf(ret, 80, "%s", clip->id);
    return ret;
}

// A path that ends in a content name says nothing to a person.
static bool says_nothing(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strspn(name, "0123456789abcdef") >= 64;
}

void clip_problem(const struct timeline *timeline, const struct clip *clip,
                  const struct diagnostic *problem, struct diagnostic *ret)
{
    struct diagnostic p = *problem;
    char place[80];
    bool asset = clip->asset >= 0 && (size_t)clip->asset < timeline->asset_count;
    bool path = p.path[0] && !says_nothing(p.path) && strcmp(p.path, clip->id);
    diagnostic_set(ret, p.error ? p.error : -EIO, p.code, place_of(clip, place), "%s%s%s%s%s%s",
                   asset ? "asset \"" : "", asset ? timeline->assets[clip->asset].name : "",
                   asset ? "\": " : "", path ? p.path : "", path ? ": " : "", p.text);
}
