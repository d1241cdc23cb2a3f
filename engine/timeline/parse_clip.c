#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What a kind of clip can have.
enum {
    HAS_PICTURE = 1, // placement, opacity, blend, fades
    HAS_SOUND = 2,   // "sound"
    HAS_ASSET = 4,   // "asset", required
    HAS_TIME = 8,    // "in", "speed", "loop"
    HAS_FALLBACK = 16,
    HAS_EFFECT = 32, // opacity and fades, and the adjust parameters
    HAS_SOURCE = 64, // "source", required, "delay" and "hold"
};

static const struct {
    const char *name;
    unsigned has;
    enum fit fit;
    const char *style; // field with what is drawn
} kinds[] = {
    [CLIP_VIDEO] = {"video", HAS_PICTURE | HAS_SOUND | HAS_ASSET | HAS_TIME | HAS_FALLBACK,
                    FIT_CONTAIN, NULL},
    [CLIP_IMAGE] = {"image", HAS_PICTURE | HAS_ASSET | HAS_FALLBACK, FIT_CONTAIN, NULL},
    [CLIP_SEQUENCE] = {"sequence", HAS_PICTURE | HAS_ASSET | HAS_TIME | HAS_FALLBACK, FIT_CONTAIN,
                       NULL},
    [CLIP_TEXT] = {"text", HAS_PICTURE, FIT_NONE, "text"},
    [CLIP_SHAPE] = {"shape", HAS_PICTURE, FIT_NONE, "shape"},
    [CLIP_PATTERN] = {"pattern", HAS_PICTURE | HAS_SOUND, FIT_FILL, "pattern"},
    [CLIP_AUDIO] = {"audio", HAS_SOUND | HAS_ASSET | HAS_TIME, FIT_NONE, NULL},
    [CLIP_TIMELINE] = {"timeline", HAS_PICTURE | HAS_SOUND | HAS_ASSET | HAS_TIME, FIT_CONTAIN,
                       NULL},
    [CLIP_ADJUST] = {"adjust", HAS_EFFECT, FIT_NONE, NULL},
    [CLIP_CAMERA] = {"camera", HAS_PICTURE | HAS_SOUND | HAS_SOURCE | HAS_FALLBACK, FIT_CONTAIN,
                     NULL},
};
// Of cameras, seconds.
#define DELAY_NS   INT64_C(400000000)
#define HOLD_NS    INT64_C(1000000000)
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

// Fields of each group; a clip's list is made of the groups that its kind has.
static const char *const general_fields[] = {"kind", "id", "start", "duration", "transition", NULL};
static const char *const picture_fields[] = {
    "fit",     "position", "size",    "anchor",   "rotation", "crop",   "radius",
    "opacity", "blend",    "fade_in", "fade_out", "border",   "shadow", NULL};
static const char *const effect_fields[] = {"opacity",  "fade_in",    "fade_out", "brightness",
                                            "contrast", "saturation", NULL};
static const char *const time_fields[] = {"in", "speed", "loop", NULL};
static const char *const sound_field[] = {"sound", NULL};
static const char *const asset_field[] = {"asset", NULL};
static const char *const fallback_field[] = {"fallback", NULL};
static const char *const source_fields[] = {"source", "delay", "hold", NULL};

static void list_fields(enum clip_kind kind, const char **list)
{
    static const struct {
        unsigned has;
        const char *const *fields;
    } groups[] = {{HAS_PICTURE, picture_fields}, {HAS_EFFECT, effect_fields},
                  {HAS_TIME, time_fields},       {HAS_SOUND, sound_field},
                  {HAS_ASSET, asset_field},      {HAS_FALLBACK, fallback_field},
                  {HAS_SOURCE, source_fields}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        for (const char *const *field = groups[i].fields; kinds[kind].has & groups[i].has && *field;
             field++)
            *list++ = *field;
    if (kinds[kind].style)
        *list++ = kinds[kind].style;
    *list = NULL;
}

static int read_kind(struct parser *parser, const json_t *object, enum clip_kind *ret)
{
    const char *names[KIND_COUNT + 1] = {NULL};
    for (size_t i = 0; i < KIND_COUNT; i++)
        names[i] = kinds[i].name;
    int kind = 0, result = require(parser, object, "kind");
    if (result < 0 || (result = read_choice(parser, object, "kind", names, &kind)) < 0)
        return result;
    *ret = (enum clip_kind)kind;
    return 0;
}

// Ids that are given are of plain characters; one made from the clip's place has a '/', so that it
// is none of them.
static int read_id(struct parser *parser, const json_t *object, size_t track, size_t index,
                   char **ret)
{
    int result = read_text(parser, object, "id", 1, 64, ret);
    if (result < 0)
        return result;
    if (!*ret)
        return asprintf(ret, "%zu/%zu", track, index) < 0 ? (*ret = NULL, refuse_memory(parser))
                                                          : 0;
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    if ((*ret)[strspn(*ret, plain)])
        return refuse(parser, "id", "timeline_bad_value",
                      "may hold only letters A-Z a-z, digits, '-', '_' and '.'");
    if (json_object_get(parser->clip_ids, *ret))
        return refuse(parser, "id", "timeline_duplicate_id",
                      "\"%s\" is the id of another clip too; give each its own", *ret);
    if (json_object_set_new(parser->clip_ids, *ret, json_true()) < 0)
        return refuse_memory(parser);
    return 0;
}

static int read_fades(struct parser *parser, const json_t *object, int64_t duration, int64_t *in,
                      int64_t *out)
{
    int result = read_frames(parser, object, "fade_in", 0, in);
    if (result < 0 || (result = read_frames(parser, object, "fade_out", 0, out)) < 0)
        return result;
    if (*in + *out > duration)
        return refuse(parser, json_object_get(object, "fade_out") ? "fade_out" : "fade_in",
                      "timeline_out_of_range",
                      "the fades take %lld frames, but the clip has only %lld",
                      (long long)(*in + *out), (long long)duration);
    return 0;
}

static int parse_placement(struct parser *parser, const json_t *object, struct clip *clip)
{
    static const char *const fits[] = {"none", "contain", "cover", "fill", NULL};
    static const char *const blends[] = {"normal", "multiply", "screen", "add", NULL};
    const struct timeline *timeline = parser->timeline;
    const struct property_rule position = {
        RANGE_POSITION, 2, 0, 2, {timeline->width / 2.0, timeline->height / 2.0}};
    static const struct property_rule size = {RANGE_SIZE, 2, 0, 2, {0, 0}};
    static const struct property_rule anchor = {RANGE_ANCHOR, 2, 0, 2, {0.5, 0.5}};
    static const struct property_rule rotation = {RANGE_ROTATION, 1, 0, 1, {0, 0}};
    static const struct property_rule crop_lt = {RANGE_CROP, 4, 0, 2, {0, 0}};
    static const struct property_rule crop_rb = {RANGE_CROP, 4, 2, 2, {0, 0}};
    static const struct property_rule radius = {RANGE_RADIUS, 1, 0, 1, {0, 0}};
    static const struct shadow shadow = {4, 4, 12, {0, 0, 0, 160}};
    int fit = (int)clip->fit, blend = BLEND_NORMAL, result;
    if ((result = read_choice(parser, object, "fit", fits, &fit)) < 0 ||
        (result = read_choice(parser, object, "blend", blends, &blend)) < 0 ||
        (result = read_property(parser, object, "position", &position, &clip->position)) < 0 ||
        (result = read_property(parser, object, "size", &size, &clip->size)) < 0 ||
        (result = read_property(parser, object, "anchor", &anchor, &clip->anchor)) < 0 ||
        (result = read_property(parser, object, "rotation", &rotation, &clip->rotation)) < 0 ||
        (result = read_property(parser, object, "crop", &crop_lt, &clip->crop_lt)) < 0 ||
        (result = read_property(parser, object, "crop", &crop_rb, &clip->crop_rb)) < 0 ||
        (result = read_property(parser, object, "radius", &radius, &clip->radius)) < 0 ||
        (result = parse_border(parser, object, &clip->border, &clip->border_colour)) < 0 ||
        (result = parse_shadow(parser, object, &shadow, &clip->shadow)) < 0)
        return result;
    clip->fit = (enum fit)fit;
    clip->blend = (enum blend_mode)blend;
    return 0;
}

// Every property gets a value, whatever the kind: evaluation need not ask.
static int parse_picture(struct parser *parser, const json_t *object, struct clip *clip)
{
    static const struct property_rule opacity = {RANGE_OPACITY, 1, 0, 1, {1, 0}};
    static const struct property_rule brightness = {RANGE_BRIGHTNESS, 1, 0, 1, {0, 0}};
    static const struct property_rule contrast = {RANGE_CONTRAST, 1, 0, 1, {1, 0}};
    static const struct property_rule saturation = {RANGE_SATURATION, 1, 0, 1, {1, 0}};
    int result = parse_placement(parser, object, clip);
    if (result < 0 ||
        (result = read_property(parser, object, "opacity", &opacity, &clip->opacity)) < 0 ||
        (result = read_property(parser, object, "brightness", &brightness, &clip->brightness)) <
            0 ||
        (result = read_property(parser, object, "contrast", &contrast, &clip->contrast)) < 0 ||
        (result = read_property(parser, object, "saturation", &saturation, &clip->saturation)) < 0)
        return result;
    return read_fades(parser, object, clip->duration, &clip->fade_in, &clip->fade_out);
}

static int parse_sound(struct parser *parser, const json_t *object, struct clip *clip)
{
    static const char *const known[] = {"gain", "pan", "fade_in", "fade_out", "muted", NULL};
    static const struct property_rule gain = {RANGE_GAIN, 1, 0, 1, {0, 0}};
    static const struct property_rule pan = {RANGE_PAN, 1, 0, 1, {0, 0}};
    json_t *sound = NULL;
    int result = read_object(parser, object, "sound", &sound);
    if (result < 0)
        return result;
    size_t length = path_enter(parser, "sound", 0);
    if ((sound && (result = check_fields(parser, sound, known, NULL)) < 0) ||
        (result = read_property(parser, sound, "gain", &gain, &clip->gain_db)) < 0 ||
        (result = read_property(parser, sound, "pan", &pan, &clip->pan)) < 0 ||
        (result = read_bool(parser, sound, "muted", &clip->muted)) < 0)
        goto leave;
    result = read_fades(parser, sound, clip->duration, &clip->sound_fade_in, &clip->sound_fade_out);
leave:
    path_leave(parser, length);
    return result;
}

static int parse_style(struct parser *parser, const json_t *object, struct clip *clip)
{
    const char *field = kinds[clip->kind].style;
    if (!field)
        return 0;
    json_t *style = NULL;
    int result = require(parser, object, field);
    if (!result && clip->kind == CLIP_TEXT && !parser->timeline->font_count)
        return refuse(parser, field, "timeline_no_fonts",
                      "needs a font: list font files in the timeline's \"fonts\"");
    if (result < 0 || (result = read_object(parser, object, field, &style)) < 0)
        return result;
    size_t length = path_enter(parser, field, 0);
    result = clip->kind == CLIP_TEXT    ? parse_text_style(parser, style, &clip->text)
             : clip->kind == CLIP_SHAPE ? parse_shape_style(parser, style, &clip->shape)
                                        : parse_pattern_style(parser, style, &clip->pattern);
    path_leave(parser, length);
    return result;
}

static int read_fallback(struct parser *parser, const json_t *object, struct clip *clip)
{
    json_t *fallback = NULL;
    int result = read_object(parser, object, "fallback", &fallback);
    if (result < 0 || !fallback)
        return result;
    size_t length = path_enter(parser, "fallback", 0);
    result = parse_fallback(parser, fallback, &clip->fallback);
    path_leave(parser, length);
    return result;
}

// The timeline's own copy of a source's name.
static int add_source(struct parser *parser, const char *field, const char *name, const char **ret)
{
    struct timeline *t = parser->timeline;
    for (size_t i = 0; i < t->source_count; i++)
        if (!strcmp(t->sources[i], name)) {
            *ret = t->sources[i];
            return 0;
        }
    if (t->source_count == TIMELINE_SOURCES_MAX)
        return refuse_as(parser, field, -E2BIG, "timeline_too_large",
                         "more than %d different live sources, nested timelines included",
                         TIMELINE_SOURCES_MAX);
    if (!t->sources)
        t->sources = calloc(TIMELINE_SOURCES_MAX, sizeof *t->sources);
    char *copy = t->sources ? strdup(name) : NULL;
    if (!copy)
        return refuse_memory(parser);
    *ret = t->sources[t->source_count++] = copy;
    return 0;
}

static int parse_camera(struct parser *parser, const json_t *object, struct clip *clip)
{
    clip->delay_ns = DELAY_NS;
    clip->hold_ns = HOLD_NS;
    const json_t *source = json_object_get(object, "source");
    int result = require(parser, object, "source");
    if (result < 0)
        return result;
    if (!json_is_string(source))
        return refuse(parser, "source", "timeline_wrong_type", "must be the name of a live source");
    if (!timeline_source_valid(json_string_value(source)))
        return refuse(parser, "source", "timeline_bad_value",
                      "must be a name of 1 to %d letters A-Z a-z, digits, '-', '_' and '.', that "
                      "does not begin with '.'",
                      TIMELINE_SOURCE_BYTES);
    if ((result = add_source(parser, "source", json_string_value(source), &clip->source)) < 0 ||
        (result = read_farm_time(parser, object, "delay", 0.2, 10, &clip->delay_ns)) < 0 ||
        (result = read_farm_time(parser, object, "hold", 0, 60, &clip->hold_ns)) < 0)
        return result;
    return read_fallback(parser, object, clip);
}

static int parse_nested(struct parser *parser, struct clip *clip)
{
    int result = load_nested(parser, parser->timeline->assets[clip->asset].uri, &clip->nested);
    const char *name;
    for (size_t i = 0; !result && i < clip->nested->source_count; i++)
        result = add_source(parser, "asset", clip->nested->sources[i], &name);
    return result;
}

static int parse_material(struct parser *parser, const json_t *object, struct clip *clip)
{
    int result;
    if ((result = require(parser, object, "asset")) < 0 ||
        (result = read_asset(parser, object, "asset", &clip->asset)) < 0 ||
        (result = read_seconds(parser, object, "in", &clip->in)) < 0 ||
        (result = read_speed(parser, object, "speed", &clip->speed)) < 0 ||
        (result = read_bool(parser, object, "loop", &clip->loop)) < 0)
        return result;
    result = read_fallback(parser, object, clip);
    return !result && clip->kind == CLIP_TIMELINE ? parse_nested(parser, clip) : result;
}

static int read_span(struct parser *parser, const json_t *object, struct clip *clip)
{
    int result;
    clip->duration = 1;
    if ((result = require(parser, object, "start")) < 0 ||
        (result = require(parser, object, "duration")) < 0 ||
        (result = read_frames(parser, object, "start", 0, &clip->start)) < 0 ||
        (result = read_frames(parser, object, "duration", 1, &clip->duration)) < 0 ||
        (result = parse_transition(parser, object, clip)) < 0)
        return result;
    if (clip->start + clip->duration > TIMELINE_FRAMES_MAX)
        return refuse(parser, "duration", "timeline_out_of_range", "the clip ends after frame %d",
                      TIMELINE_FRAMES_MAX);
    return 0;
}

// A clip of a live track is there for as long as people want, and goes by their transition.
static int check_live(struct parser *parser, const json_t *object, struct clip *clip)
{
    static const char *const times[] = {"start", "duration", "transition", "fade_out"};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (json_object_get(object, times[i]))
            return refuse(parser, times[i], "timeline_live",
                          "cannot be given here: a live track's clips start and end when they are "
                          "taken on and off air");
    if (json_object_get(json_object_get(object, "sound"), "fade_out"))
        return refuse(parser, "sound", "timeline_live",
                      "has a fade_out, but a live track's clips "
                      "have no end");
    if (clip->kind == CLIP_ADJUST)
        return refuse(parser, "kind", "timeline_live", "a live track has no adjust clips");
    clip->duration = TIMELINE_FRAMES_MAX;
    return require(parser, object, "id");
}

int parse_clip(struct parser *parser, const json_t *object, size_t track, size_t index, bool live,
               struct clip *clip)
{
    *clip = (struct clip){.asset = -1, .speed = {1, 1}, .in = {0, 1}, .fallback.asset = -1};
    int result = check_object(parser, object);
    if (result < 0 || (result = read_kind(parser, object, &clip->kind)) < 0)
        return result;
    const char *fields[32];
    list_fields(clip->kind, fields);
    clip->fit = kinds[clip->kind].fit;
    if ((result = check_fields(parser, object, general_fields, fields)) < 0 ||
        (result = read_id(parser, object, track, index, &clip->id)) < 0 ||
        (result = live ? check_live(parser, object, clip) : read_span(parser, object, clip)) < 0 ||
        (result = parse_picture(parser, object, clip)) < 0 ||
        (result = parse_sound(parser, object, clip)) < 0 ||
        (result = parse_style(parser, object, clip)) < 0)
        return result;
    if (clip->kind == CLIP_CAMERA)
        return parse_camera(parser, object, clip);
    return kinds[clip->kind].has & HAS_ASSET ? parse_material(parser, object, clip) : 0;
}
