#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"dissolve", "add",  "dip",  "wipe", "luma",
                                         "slide",    "push", "zoom", NULL};
static const char *const direction_names[] = {"left", "right", "up", "down", NULL};
static const char *const wipe_names[WIPE_COUNT + 1] = {"left-to-right",
                                                       "top-to-bottom",
                                                       "box-top-left",
                                                       "box-top-right",
                                                       "box-bottom-right",
                                                       "box-bottom-left",
                                                       "four-boxes",
                                                       "barn-doors-vertical",
                                                       "barn-doors-horizontal",
                                                       "box-top",
                                                       "box-right",
                                                       "box-bottom",
                                                       "box-left",
                                                       "diagonal-top-left",
                                                       "diagonal-top-right",
                                                       "bow-tie-vertical",
                                                       "bow-tie-horizontal",
                                                       "barn-doors-bottom-left",
                                                       "barn-doors-top-left",
                                                       "vee-down",
                                                       "vee-left",
                                                       "vee-up",
                                                       "vee-right",
                                                       "rectangle",
                                                       "diamond",
                                                       "circle",
                                                       "ellipse-horizontal",
                                                       "ellipse-vertical",
                                                       "clock-12",
                                                       "clock-3",
                                                       "clock-6",
                                                       "clock-9",
                                                       "pinwheel-vertical",
                                                       "pinwheel-horizontal",
                                                       "pinwheel-four",
                                                       "fan-top",
                                                       "fan-right",
                                                       NULL};

// Fields besides kind and duration, by kind.
static const char *const none[] = {NULL};
static const char *const dip[] = {"colour", NULL};
static const char *const wiped[] = {"wipe", "reverse", "softness", "border", "colour", NULL};
static const char *const keyed[] = {"asset", "reverse", "softness", "border", "colour", NULL};
static const char *const moved[] = {"direction", NULL};
static const char *const *const fields[] = {
    [TRANSITION_DISSOLVE] = none, [TRANSITION_ADD] = none,   [TRANSITION_DIP] = dip,
    [TRANSITION_WIPE] = wiped,    [TRANSITION_LUMA] = keyed, [TRANSITION_SLIDE] = moved,
    [TRANSITION_PUSH] = moved,    [TRANSITION_ZOOM] = none,
};

static int parse_how(struct parser *parser, const json_t *object, struct transition *ret)
{
    int wipe = (int)ret->wipe, direction = (int)ret->direction, result;
    if (ret->kind == TRANSITION_WIPE && (result = require(parser, object, "wipe")) < 0)
        return result;
    if (ret->kind == TRANSITION_LUMA && (result = require(parser, object, "asset")) < 0)
        return result;
    if ((result = read_choice(parser, object, "wipe", wipe_names, &wipe)) < 0 ||
        (result = read_choice(parser, object, "direction", direction_names, &direction)) < 0 ||
        (result = read_bool(parser, object, "reverse", &ret->reverse)) < 0 ||
        (result = read_number(parser, object, "softness", 0, 1, &ret->softness)) < 0 ||
        (result = read_number(parser, object, "border", 0, 1, &ret->border)) < 0 ||
        (result = read_colour(parser, object, "colour", &ret->colour)) < 0 ||
        (result = read_asset(parser, object, "asset", &ret->asset)) < 0)
        return result;
    ret->wipe = (enum wipe)wipe;
    ret->direction = (enum direction)direction;
    return 0;
}

static int parse_object(struct parser *parser, const json_t *object, struct clip *clip)
{
    static const char *const known[] = {"kind", "duration", NULL};
    struct transition how = {.asset = -1, .colour = {0, 0, 0, 255}};
    int kind = 0, result;
    if ((result = require(parser, object, "kind")) < 0 ||
        (result = require(parser, object, "duration")) < 0 ||
        (result = read_choice(parser, object, "kind", kind_names, &kind)) < 0 ||
        (result = check_fields(parser, object, known, fields[kind])) < 0 ||
        (result = read_frames(parser, object, "duration", 0, &clip->transition)) < 0)
        return result;
    how.kind = (enum transition_kind)kind;
    if (clip->kind == CLIP_AUDIO && how.kind != TRANSITION_DISSOLVE)
        return refuse(parser, "kind", "timeline_transition", "sounds have dissolves only");
    result = parse_how(parser, object, &how);
    if (result || how.kind == TRANSITION_DISSOLVE)
        return result;
    if (!(clip->how = malloc(sizeof how)))
        return refuse_memory(parser);
    *clip->how = how;
    return 0;
}

int parse_transition(struct parser *parser, const json_t *object, struct clip *clip)
{
    json_t *value = json_object_get(object, "transition");
    if (!json_is_object(value) || clip->kind == CLIP_ADJUST)
        return read_frames(parser, object, "transition", 0, &clip->transition);
    size_t length = path_enter(parser, "transition", 0);
    int result = parse_object(parser, value, clip);
    path_leave(parser, length);
    return result;
}
