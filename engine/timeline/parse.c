#include "engine/timeline/parse.h"

#include "engine/timeline/scan.h"

#include <openssl/evp.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA     "vistter.timeline/1"
#define ASSETS_MAX 10000
#define FONTS_MAX  64
#define SIDE_MIN   16
#define SIDE_MAX   8192
// LUFS. Every delivery specification lies within.
#define LOUDNESS_MIN -40
#define LOUDNESS_MAX -5

static int read_side(struct parser *parser, const json_t *object, const char *field, int *ret)
{
    int64_t side = 0;
    int result = require(parser, object, field);
    if (result < 0 || (result = read_integer(parser, object, field, SIDE_MIN, SIDE_MAX, &side)) < 0)
        return result;
    if (side % 2)
        return refuse(parser, field, "timeline_bad_value", "is %lld; must be even",
                      (long long)side);
    *ret = (int)side;
    return 0;
}

static int read_rate(struct parser *parser, const json_t *object, struct rate *ret)
{
    int result = require(parser, object, "rate");
    if (result < 0)
        return result;
    const char *text = json_string_value(json_object_get(object, "rate"));
    // Stricter than rate_parse, which allows blanks, signs and leading zeros.
    if (!text || strlen(text) > 21 || text[0] == '0' || text[strspn(text, "0123456789/.")] ||
        rate_parse(text, ret) < 0)
        return refuse(parser, "rate", "timeline_bad_value",
                      "must be a rate of 1 to 240 frames a second in quotes: \"25\", \"29.97\" or "
                      "\"30000/1001\"");
    return 0;
}

static int parse_format(struct parser *parser, const json_t *object)
{
    static const char *const known[] = {"width", "height", "rate", NULL};
    struct timeline *timeline = parser->timeline;
    json_t *format = NULL;
    int result = require(parser, object, "format");
    if (result < 0 || (result = read_object(parser, object, "format", &format)) < 0)
        return result;
    size_t length = path_enter(parser, "format", 0);
    if ((result = check_fields(parser, format, known, NULL)) == 0 &&
        (result = read_side(parser, format, "width", &timeline->width)) == 0 &&
        (result = read_side(parser, format, "height", &timeline->height)) == 0)
        result = read_rate(parser, format, &timeline->rate);
    path_leave(parser, length);
    return result;
}

static int add_asset(struct parser *parser, const char *name, const json_t *object)
{
    struct timeline *timeline = parser->timeline;
    struct asset_name *asset = &timeline->assets[timeline->asset_count++];
    size_t length = text_length(name);
    if (!length || length > 200)
        return refuse(parser, name, "timeline_out_of_range",
                      "an asset's name must have 1 to 200 characters");
    int result = read_text(parser, object, name, 1, 1029, &asset->uri);
    if (result < 0 || (result = check_uri(parser, name, asset->uri)) < 0)
        return result;
    asset->name = strdup(name);
    if (!asset->name || json_object_set_new(parser->asset_indices, name,
                                            json_integer((int)timeline->asset_count - 1)) < 0)
        return refuse_memory(parser);
    return 0;
}

static int parse_assets(struct parser *parser, const json_t *object)
{
    json_t *assets = NULL;
    int result = read_object(parser, object, "assets", &assets);
    size_t count = json_object_size(assets);
    if (result < 0 || !count)
        return result;
    if (count > ASSETS_MAX)
        return refuse_as(parser, "assets", -E2BIG, "timeline_too_large",
                         "has %zu assets; the limit is %d", count, ASSETS_MAX);
    parser->timeline->assets = calloc(count, sizeof *parser->timeline->assets);
    if (!parser->timeline->assets)
        return refuse_memory(parser);
    size_t length = path_enter(parser, "assets", 0);
    const char *name;
    json_t *value;
    json_object_foreach(assets, name, value)
    {
        if ((result = add_asset(parser, name, assets)) < 0)
            break;
    }
    path_leave(parser, length);
    return result;
}

static int parse_fonts(struct parser *parser, const json_t *object)
{
    struct timeline *timeline = parser->timeline;
    json_t *fonts = NULL;
    int result = read_array(parser, object, "fonts", FONTS_MAX, &fonts);
    size_t count = json_array_size(fonts);
    if (result < 0 || !count)
        return result;
    timeline->fonts = calloc(count, sizeof *timeline->fonts);
    if (!timeline->fonts)
        return refuse_memory(parser);
    size_t outside = path_enter(parser, "fonts", 0);
    for (size_t i = 0; i < count && !result; i++) {
        size_t inside = path_enter(parser, NULL, i);
        const char *uri = json_string_value(json_array_get(fonts, i));
        if (!uri)
            result = refuse(parser, NULL, "timeline_wrong_type", "must be a string");
        else if ((result = check_uri(parser, NULL, uri)) == 0 &&
                 !(timeline->fonts[timeline->font_count++] = strdup(uri)))
            result = refuse_memory(parser);
        path_leave(parser, inside);
    }
    path_leave(parser, outside);
    return result;
}

size_t count_layers(const struct session *session, const struct timeline *timeline)
{
    size_t sum = 0;
    for (size_t i = 0; i < timeline->track_count; i++) {
        const struct track *track = &timeline->tracks[i];
        size_t most = 0, times = track->live ? 2 : 1;
        for (size_t j = 0; j < track->clip_count; j++) {
            size_t layers = 1;
            for (size_t k = 0; track->clips[j].nested && k < session->loaded_count; k++)
                if (session->loaded[k].timeline == track->clips[j].nested)
                    layers = session->loaded[k].layers;
            most = layers > most ? layers : most;
            times = track->clips[j].transition ? 2 : times; // a dissolve shows both
        }
        sum += most * times;
    }
    return sum;
}

static int check_whole(struct parser *parser, const json_t *object)
{
    struct timeline *timeline = parser->timeline;
    if (count_layers(parser->session, timeline) > TIMELINE_LAYERS_MAX)
        return refuse_as(parser, "tracks", -E2BIG, "timeline_too_large",
                         "more than %d layers at a time, nested timelines included",
                         TIMELINE_LAYERS_MAX);
    int64_t end = 0;
    bool live = false;
    for (size_t i = 0; i < timeline->track_count; i++) {
        const struct track *track = &timeline->tracks[i];
        live = live || track->live;
        bool ends = track->clip_count && !track->live;
        const struct clip *last = ends ? &track->clips[track->clip_count - 1] : NULL;
        if (last && last->start + last->duration > end)
            end = last->start + last->duration;
    }
    timeline->duration = end || !live ? end : TIMELINE_FRAMES_MAX;
    if (json_object_get(object, "duration"))
        return read_frames(parser, object, "duration", 1, &timeline->duration);
    if (!timeline->duration)
        return require(parser, object, "duration"); // nothing to take it from
    return 0;
}

static int parse_root(struct parser *parser, const json_t *object)
{
    static const char *const known[] = {"schema",   "name",   "format",   "background",
                                        "duration", "loop",   "loudness", "assets",
                                        "fonts",    "tracks", NULL};
    static const char *const schemas[] = {SCHEMA, NULL};
    struct timeline *timeline = parser->timeline;
    int schema, result;
    json_t *tracks = NULL;
    timeline->background = (struct colour){0, 0, 0, 255};
    timeline->name = strdup("");
    if (!timeline->name)
        return refuse_memory(parser);
    // The schema first: the fields of another version mean something else.
    if ((result = check_object(parser, object)) < 0 ||
        (result = require(parser, object, "schema")) < 0 ||
        (result = read_choice(parser, object, "schema", schemas, &schema)) < 0 ||
        (result = check_fields(parser, object, known, NULL)) < 0 ||
        (result = read_text(parser, object, "name", 0, 200, &timeline->name)) < 0 ||
        (result = parse_format(parser, object)) < 0 ||
        (result = read_colour(parser, object, "background", &timeline->background)) < 0 ||
        (result = read_bool(parser, object, "loop", &timeline->loop)) < 0 ||
        (result = read_number(parser, object, "loudness", LOUDNESS_MIN, LOUDNESS_MAX,
                              &timeline->loudness_lufs)) < 0 ||
        (result = parse_assets(parser, object)) < 0 || (result = parse_fonts(parser, object)) < 0 ||
        (result = require(parser, object, "tracks")) < 0 ||
        (result = read_array(parser, object, "tracks", TIMELINE_TRACKS_MAX, &tracks)) < 0 ||
        (result = parse_tracks(parser, tracks)) < 0)
        return result;
    return check_whole(parser, object);
}

static int unpack_json(const char *bytes, size_t size, json_t **ret, struct diagnostic *reterr)
{
    json_error_t error;
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (root) {
        *ret = root;
        return 0;
    }
    // jansson has no words for most of its failed allocations.
    if (json_error_code(&error) == json_error_out_of_memory || !error.text[0])
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
    char path[64];
    snprintf(path, sizeof path, "line %d, column %d", error.line, error.column);
    for (char *c = error.text; *c; c++) // it quotes the document, perhaps half a character of it
        if (*c < ' ' || *c > '~')
            *c = '?';
    return diagnostic_set(reterr, -EINVAL, "timeline_syntax", path, "not valid JSON: %s",
                          error.text);
}

// Parses one document; the session's chain holds those that it is nested in.
static int parse_document(struct session *session, const char *uri, const char *bytes, size_t size,
                          struct timeline **ret)
{
    struct diagnostic *reterr = session->reterr;
    struct link *link = &session->chain[session->depth];
    struct parser parser = {.session = session};
    json_t *root = NULL;
    int result;
    if (size > TIMELINE_BYTES_MAX)
        return diagnostic_set(reterr, -E2BIG, "timeline_too_large", "",
                              "the timeline has %zu bytes; the limit is %d", size,
                              TIMELINE_BYTES_MAX);
    link->uri = uri;
    if (EVP_Digest(bytes, size, link->sha256, NULL, EVP_sha256(), NULL) != 1)
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
    for (size_t i = 0; i < session->depth; i++)
        if (!memcmp(session->chain[i].sha256, link->sha256, sizeof link->sha256))
            return diagnostic_set(reterr, -EINVAL, "timeline_cycle", "",
                                  "it includes itself; take one of the nested clips out");
    if ((result = timeline_scan(bytes, size, reterr)) < 0 ||
        (result = unpack_json(bytes, size, &root, reterr)) < 0)
        return result;
    parser.timeline = calloc(1, sizeof *parser.timeline);
    parser.asset_indices = json_object();
    parser.clip_ids = json_object();
    if (parser.timeline)
        parser.timeline->references = 1;
    if (!parser.timeline || !parser.asset_indices || !parser.clip_ids) {
        result = refuse_memory(&parser);
        goto out;
    }
    memcpy(parser.timeline->sha256, link->sha256, sizeof link->sha256);
    session->depth++;
    result = parse_root(&parser, root);
    session->depth--;
    if (result == 0) {
        *ret = parser.timeline;
        parser.timeline = NULL;
    }
out:
    json_decref(root);
    json_decref(parser.asset_indices);
    json_decref(parser.clip_ids);
    timeline_unref(&parser.timeline);
    return result;
}

// Tells an error inside a nested timeline at the clip that nests it.
static int refuse_nested(struct parser *parser, const char *uri, int error,
                         const struct diagnostic *inner)
{
    return refuse_as(parser, "asset", error, inner->code[0] ? inner->code : "timeline_nested",
                     "in \"%.*s\"%s%s: %s", text_limit(uri, 120), uri, inner->path[0] ? ", " : "",
                     inner->path, inner->text[0] ? inner->text : "cannot be loaded");
}

static int load_document(struct parser *parser, const char *uri, struct timeline **ret)
{
    struct session *session = parser->session;
    struct diagnostic inner = {0};
    char *bytes = NULL;
    size_t size = 0;
    int result = session->load(session->opaque, uri, &bytes, &size, &inner);
    if (result == 0) {
        result = parse_document(session, uri, bytes, size, ret);
        if (result < 0)
            inner = *session->reterr;
        free(bytes);
    }
    return result < 0 ? refuse_nested(parser, uri, result, &inner) : 0;
}

static int check_nesting(struct parser *parser, const char *uri)
{
    struct session *session = parser->session;
    if (!session->load)
        return refuse(parser, "asset", "timeline_nested", "nested timelines cannot be used here");
    for (size_t i = 1; i < session->depth; i++)
        if (!strcmp(session->chain[i].uri, uri)) {
            const char *through = session->chain[session->depth - 1].uri;
            return refuse(parser, "asset", "timeline_cycle",
                          "\"%.*s\" includes itself through \"%.*s\"; take one of the nested clips "
                          "out",
                          text_limit(uri, 120), uri, text_limit(through, 120), through);
        }
    if (session->depth > TIMELINE_NESTING_MAX)
        return refuse_as(parser, "asset", -E2BIG, "timeline_too_large",
                         "timelines are nested more than %d deep", TIMELINE_NESTING_MAX);
    if (session->loaded_count == TIMELINE_NESTED_MAX)
        return refuse_as(parser, "asset", -E2BIG, "timeline_too_large",
                         "more than %d different timelines are nested", TIMELINE_NESTED_MAX);
    return 0;
}

int load_nested(struct parser *parser, const char *uri, struct timeline **ret)
{
    struct session *session = parser->session;
    for (size_t i = 0; i < session->loaded_count; i++)
        if (!strcmp(session->loaded[i].uri, uri)) {
            *ret = timeline_ref(session->loaded[i].timeline);
            return 0;
        }
    struct timeline *timeline = NULL;
    int result = check_nesting(parser, uri);
    if (result < 0 || (result = load_document(parser, uri, &timeline)) < 0)
        return result;
    char *name = strdup(uri);
    // What it nests itself may have filled the list meanwhile.
    if (!name || session->loaded_count == TIMELINE_NESTED_MAX) {
        timeline_unref(&timeline);
        result = name ? check_nesting(parser, uri) : refuse_memory(parser);
        free(name);
        return result;
    }
    session->loaded[session->loaded_count++] =
        (struct loaded){name, timeline_ref(timeline), count_layers(session, timeline)};
    *ret = timeline;
    return 0;
}

int timeline_parse(const char *bytes, size_t size, timeline_load_fn *load, void *opaque,
                   struct timeline **ret, struct diagnostic *reterr)
{
    struct diagnostic unused = {0};
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
    session->load = load;
    session->opaque = opaque;
    session->reterr = reterr ? reterr : &unused;
    int result = parse_document(session, NULL, bytes, size, ret);
    for (size_t i = 0; i < session->loaded_count; i++) {
        timeline_unref(&session->loaded[i].timeline);
        free(session->loaded[i].uri);
    }
    free(session);
    return result;
}
