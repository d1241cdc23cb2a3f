#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A clip and its place in the document, which errors name however clips are sorted.
struct placed {
    const struct clip *clip;
    size_t index;
};

static int compare_starts(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;
    if (left->clip->start != right->clip->start)
        return left->clip->start < right->clip->start ? -1 : 1;
    return left->index < right->index ? -1 : 1;
}

// A dissolve needs two of a kind: two pictures, or two sounds.
static bool can_dissolve(const struct clip *a, const struct clip *b)
{
    return a->kind != CLIP_ADJUST && b->kind != CLIP_ADJUST &&
           (a->kind == CLIP_AUDIO) == (b->kind == CLIP_AUDIO);
}

// The path is that of `clip`; `before` is the clip that starts before it, NULL for the first.
static int check_neighbours(struct parser *parser, const struct clip *before,
                            const struct clip *clip)
{
    int64_t overlap = before ? before->start + before->duration - clip->start : 0;
    if (clip->transition > 0 && overlap <= 0)
        return refuse(parser, "transition", "timeline_transition",
                      "there is no clip before it that it overlaps; a dissolve of %lld frames "
                      "needs the clip before to end that much after this one starts",
                      (long long)clip->transition);
    if (overlap <= 0)
        return 0;
    if (!clip->transition)
        return refuse(parser, "start", "timeline_overlap",
                      "overlaps clip \"%s\" by %lld frames; start it later, put it on another "
                      "track, or give it a transition of that length",
                      before->id, (long long)overlap);
    if (clip->transition != overlap)
        return refuse(
            parser, "transition", "timeline_transition",
            "is %lld frames, but the overlap with clip \"%s\" is %lld; they must be equal",
            (long long)clip->transition, before->id, (long long)overlap);
    if (clip->start <= before->start || clip->transition > clip->duration)
        return refuse(parser, "transition", "timeline_transition",
                      "takes longer than one of the clips; one of them must be longer");
    if (before->transition + clip->transition > before->duration)
        return refuse(parser, "transition", "timeline_transition",
                      "begins before the dissolve into clip \"%s\" has ended", before->id);
    if (!can_dissolve(before, clip))
        return refuse(parser, "transition", "timeline_transition",
                      "a dissolve is between two pictures or between two sounds, and not with an "
                      "adjust clip");
    if (before->blend != clip->blend)
        return refuse(parser, "blend", "timeline_transition",
                      "differs from that of clip \"%s\"; a dissolve is of two clips with the same "
                      "blend mode",
                      before->id);
    return 0;
}

// Sorts the track's clips by start and checks how they meet. The path is the track's.
static int order_clips(struct parser *parser, struct track *track)
{
    size_t count = track->clip_count;
    struct placed *placed = calloc(count, sizeof *placed);
    struct clip *sorted = calloc(count, sizeof *sorted);
    int result = 0;
    if (!placed || !sorted) {
        result = refuse_memory(parser);
        goto out;
    }
    for (size_t i = 0; i < count; i++)
        placed[i] = (struct placed){&track->clips[i], i};
    qsort(placed, count, sizeof *placed, compare_starts);
    size_t length = path_enter(parser, "clips", 0);
    for (size_t i = 0; i < count && !result; i++) {
        size_t inside = path_enter(parser, NULL, placed[i].index);
        result = check_neighbours(parser, i ? placed[i - 1].clip : NULL, placed[i].clip);
        path_leave(parser, inside);
    }
    path_leave(parser, length);
    if (result < 0)
        goto out;
    for (size_t i = 0; i < count; i++)
        sorted[i] = *placed[i].clip;
    free(track->clips);
    track->clips = sorted;
    sorted = NULL;
out:
    free(sorted);
    free(placed);
    return result;
}

// Any of them may dissolve into any other. The path is the track's.
static int check_live(struct parser *parser, const struct track *track)
{
    for (size_t i = 1; i < track->clip_count; i++) {
        const struct clip *first = &track->clips[0], *clip = &track->clips[i];
        bool like = can_dissolve(first, clip);
        if (like && first->blend == clip->blend)
            continue;
        size_t outside = path_enter(parser, "clips", 0), inside = path_enter(parser, NULL, i);
        int result =
            like ? refuse(parser, "blend", "timeline_live",
                          "differs from that of clip \"%s\"; the clips of a live track have "
                          "the same blend mode",
                          first->id)
                 : refuse(parser, "kind", "timeline_live",
                          "the clips of a live track are all pictures or all sounds");
        path_leave(parser, inside);
        path_leave(parser, outside);
        return result;
    }
    return 0;
}

static int parse_clips(struct parser *parser, const json_t *array, size_t number,
                       struct track *track)
{
    struct session *session = parser->session;
    size_t count = json_array_size(array);
    if (count > TIMELINE_CLIPS_MAX - session->clip_count)
        return refuse_as(parser, "clips", -E2BIG, "timeline_too_large",
                         "too many clips in the timeline; the limit is %d", TIMELINE_CLIPS_MAX);
    session->clip_count += count;
    if (!count)
        return 0;
    track->clips = calloc(count, sizeof *track->clips);
    if (!track->clips)
        return refuse_memory(parser);
    size_t length = path_enter(parser, "clips", 0);
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        size_t inside = path_enter(parser, NULL, i);
        track->clip_count = i + 1; // what is half made is freed with the rest
        result =
            parse_clip(parser, json_array_get(array, i), number, i, track->live, &track->clips[i]);
        path_leave(parser, inside);
    }
    path_leave(parser, length);
    if (result < 0)
        return result;
    return track->live ? check_live(parser, track) : order_clips(parser, track);
}

// Takes name it, so it has a name of its own.
static int check_live_track(struct parser *parser, const json_t *object, const struct track *track)
{
    const struct timeline *timeline = parser->timeline;
    if (parser->session->depth > 1)
        return refuse(parser, "live", "timeline_live",
                      "a nested timeline has no live tracks; they are for the timeline that a "
                      "channel shows");
    int result = require(parser, object, "name");
    for (const struct track *other = timeline->tracks; other < track && !result; other++)
        if (other->live && !strcmp(other->name, track->name))
            result = refuse(parser, "name", "timeline_live",
                            "\"%.*s\" is the name of another live track",
                            text_limit(track->name, 120), track->name);
    if (!result && !track->name[0])
        result = refuse(parser, "name", "timeline_live", "a live track needs a name");
    return result;
}

static int parse_track(struct parser *parser, const json_t *object, size_t number,
                       struct track *track)
{
    static const char *const known[] = {"name", "hidden", "muted", "optional",
                                        "live", "clips",  NULL};
    json_t *clips = NULL;
    int result = check_object(parser, object);
    if (result < 0 || (result = check_fields(parser, object, known, NULL)) < 0 ||
        (result = read_text(parser, object, "name", 0, 200, &track->name)) < 0 ||
        (result = read_bool(parser, object, "hidden", &track->hidden)) < 0 ||
        (result = read_bool(parser, object, "muted", &track->muted)) < 0 ||
        (result = read_bool(parser, object, "optional", &track->optional)) < 0 ||
        (result = read_bool(parser, object, "live", &track->live)) < 0 ||
        (result = require(parser, object, "clips")) < 0 ||
        (result = read_array(parser, object, "clips", TIMELINE_CLIPS_MAX, &clips)) < 0)
        return result;
    if (!track->name && asprintf(&track->name, "%zu", number) < 0) {
        track->name = NULL;
        return refuse_memory(parser);
    }
    if (track->live && (result = check_live_track(parser, object, track)) < 0)
        return result;
    return parse_clips(parser, clips, number, track);
}

int parse_tracks(struct parser *parser, const json_t *array)
{
    struct timeline *timeline = parser->timeline;
    size_t count = json_array_size(array);
    if (!count)
        return 0;
    timeline->tracks = calloc(count, sizeof *timeline->tracks);
    if (!timeline->tracks)
        return refuse_memory(parser);
    timeline->track_count = count;
    size_t length = path_enter(parser, "tracks", 0);
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        size_t inside = path_enter(parser, NULL, i);
        result = parse_track(parser, json_array_get(array, i), i, &timeline->tracks[i]);
        path_leave(parser, inside);
    }
    path_leave(parser, length);
    return result;
}
