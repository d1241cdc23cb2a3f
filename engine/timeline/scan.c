#include "engine/timeline/scan.h"

#include "engine/timeline/timeline.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct level {
    bool array;
    size_t index;    // array: of the element under way
    const char *key; // object: of the member under way, as written, without quotes
    size_t key_length;
    size_t *counted; // array of things with a limit: how many so far
};

struct scan {
    const char *bytes;
    size_t size;
    struct level levels[TIMELINE_DEPTH_MAX];
    size_t depth;
    const char *word; // the last string, which is a key if a colon follows
    size_t word_length;
    size_t values, tracks, clips, keyframes;
    struct diagnostic *reterr;
};

// Appends to `path`; cuts off silently, a path is a help and not data.
static void append(char *path, size_t size, const char *text, size_t length)
{
    size_t used = strlen(path);
    for (size_t i = 0; i < length && used + 1 < size; i++)
        path[used++] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    path[used] = 0;
}

// Path of the member or element under way at the innermost `depth` levels.
static void format_path(const struct scan *scan, size_t depth, char *path, size_t size)
{
    path[0] = 0;
    for (size_t i = 0; i < depth; i++) {
        const struct level *level = &scan->levels[i];
        char number[32];
        if (level->array) {
            int length = snprintf(number, sizeof number, "[%zu]", level->index);
            append(path, size, number, (size_t)length);
        } else if (level->key) {
            append(path, size, ".", path[0] ? 1 : 0);
            append(path, size, level->key, level->key_length < 64 ? level->key_length : 64);
        }
    }
}

static int refuse_scan(const struct scan *scan, size_t depth, const char *text, size_t limit)
{
    char path[sizeof scan->reterr->path];
    format_path(scan, depth, path, sizeof path);
    return diagnostic_set(scan->reterr, -E2BIG, "timeline_too_large", path, "%s; the limit is %zu",
                          text, limit);
}

static bool key_is(const struct level *level, const char *name)
{
    return level->key && level->key_length == strlen(name) &&
           !memcmp(level->key, name, level->key_length);
}

// An object directly in an array of tracks, clips or keyframes is one more of them.
static int count_element(struct scan *scan)
{
    if (scan->depth < 2 || !scan->levels[scan->depth - 1].counted)
        return 0;
    const size_t *counted = scan->levels[scan->depth - 1].counted;
    ++*scan->levels[scan->depth - 1].counted;
    size_t path = scan->depth - 1; // without the index
    if (counted == &scan->tracks && *counted > TIMELINE_TRACKS_MAX)
        return refuse_scan(scan, path, "too many tracks", TIMELINE_TRACKS_MAX);
    if (counted == &scan->clips && *counted > TIMELINE_CLIPS_MAX)
        return refuse_scan(scan, path, "too many clips in the timeline", TIMELINE_CLIPS_MAX);
    if (counted == &scan->keyframes && *counted > TIMELINE_KEYFRAMES_MAX)
        return refuse_scan(scan, path, "too many keyframes in the timeline",
                           TIMELINE_KEYFRAMES_MAX);
    return 0;
}

static int on_open(struct scan *scan, bool array)
{
    if (scan->depth == TIMELINE_DEPTH_MAX)
        return refuse_scan(scan, scan->depth, "nested too deeply", TIMELINE_DEPTH_MAX);
    if (!array) {
        int result = count_element(scan);
        if (result < 0)
            return result;
    }
    struct level *level = &scan->levels[scan->depth++];
    *level = (struct level){.array = array};
    if (array && scan->depth > 1) {
        const struct level *parent = level - 1;
        level->counted = key_is(parent, "tracks")      ? &scan->tracks
                         : key_is(parent, "clips")     ? &scan->clips
                         : key_is(parent, "keyframes") ? &scan->keyframes
                                                       : NULL;
    }
    return 0;
}

static void scan_string(struct scan *scan, size_t *at)
{
    scan->word = scan->bytes + *at + 1;
    size_t i = *at + 1;
    while (i < scan->size && scan->bytes[i] != '"')
        i += scan->bytes[i] == '\\' ? 2 : 1;
    if (i > scan->size)
        i = scan->size;
    scan->word_length = i - (*at + 1);
    *at = i;
}

static int count_values(struct scan *scan, size_t weight)
{
    scan->values += weight;
    if (scan->values <= TIMELINE_VALUES_MAX)
        return 0;
    return refuse_scan(scan, scan->depth, "too many values", TIMELINE_VALUES_MAX);
}

static int scan_byte(struct scan *scan, size_t *at)
{
    struct level *level = scan->depth ? &scan->levels[scan->depth - 1] : NULL;
    switch (scan->bytes[*at]) {
    case '"':
        scan_string(scan, at);
        break;
    case ':':
        if (level && !level->array) {
            level->key = scan->word;
            level->key_length = scan->word_length;
        }
        break;
    case ',':
        if (level && level->array)
            level->index++;
        return count_values(scan, 1);
    case '[':
    case '{': {
        bool array = scan->bytes[*at] == '[';
        int result = count_values(scan, array ? 4 : 8);
        return result < 0 ? result : on_open(scan, array);
    }
    case ']':
    case '}':
        if (scan->depth)
            scan->depth--;
        break;
    default:
        break;
    }
    return 0;
}

int timeline_scan(const char *bytes, size_t size, struct diagnostic *reterr)
{
    struct scan scan = {.bytes = bytes, .size = size, .reterr = reterr};
    for (size_t i = 0; i < size; i++) {
        int result = scan_byte(&scan, &i);
        if (result < 0)
            return result;
    }
    return 0;
}
