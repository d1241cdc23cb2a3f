#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdlib.h>

static int read_easing(struct parser *parser, const json_t *object, struct easing *ret)
{
    static const char *const names[] = {"linear", "hold", "in", "out", "in-out", NULL};
    if (!json_is_array(json_object_get(object, "easing"))) {
        int kind = EASING_LINEAR;
        int result = read_choice(parser, object, "easing", names, &kind);
        *ret = (struct easing){.kind = (enum easing_kind)kind};
        return result;
    }
    double curve[4];
    int result = read_numbers(parser, object, "easing", -10, 10, 4, curve);
    if (result < 0)
        return result;
    for (int i = 0; i < 4; i += 2)
        if (curve[i] < 0 || curve[i] > 1)
            return refuse(parser, "easing", "timeline_out_of_range",
                          "the first and third number of a curve must be 0 to 1");
    *ret = (struct easing){EASING_BEZIER, curve[0], curve[1], curve[2], curve[3]};
    return 0;
}

// Reads the field's value, a number or an array of them, and picks what the rule wants of it.
static int read_value(struct parser *parser, const json_t *object, const char *field,
                      const struct property_rule *rule, double ret[2])
{
    double all[4] = {0};
    struct range range = rule->range;
    int result;
    if (rule->width == 1)
        result = read_number(parser, object, field, range.min, range.max, all);
    else
        result = read_numbers(parser, object, field, range.min, range.max, rule->width, all);
    if (result < 0)
        return result;
    if (rule->width == 4 && (all[0] + all[2] >= 1 || all[1] + all[3] >= 1))
        return refuse(parser, field, "timeline_out_of_range",
                      "cuts everything off; opposite sides must add up to less than 1");
    for (size_t i = 0; i < 2; i++)
        ret[i] = i < rule->count ? all[rule->first + i] : 0;
    return 0;
}

static int read_key(struct parser *parser, const json_t *object, const struct property_rule *rule,
                    const struct keyframe *before, struct keyframe *ret)
{
    static const char *const known[] = {"at", "value", "easing", NULL};
    int result = check_object(parser, object);
    if (result < 0 || (result = check_fields(parser, object, known, NULL)) < 0 ||
        (result = require(parser, object, "at")) < 0 ||
        (result = require(parser, object, "value")) < 0 ||
        (result = read_frame_position(parser, object, "at", &ret->at)) < 0 ||
        (result = read_value(parser, object, "value", rule, ret->value)) < 0 ||
        (result = read_easing(parser, object, &ret->easing)) < 0)
        return result;
    if (before && rational_compare(before->at, ret->at) >= 0)
        return refuse(parser, "at", "timeline_order",
                      "must be later than the keyframe before it; put keyframes in order");
    return 0;
}

static int count_keys(struct parser *parser, size_t count, const struct property_rule *rule)
{
    if (!count)
        return refuse(parser, "keyframes", "timeline_bad_value", "must hold at least one keyframe");
    if (rule->first) // the crop's second half: counted with the first
        return 0;
    struct session *session = parser->session;
    if (count > TIMELINE_KEYFRAMES_MAX - session->keyframe_count)
        return refuse_as(parser, "keyframes", -E2BIG, "timeline_too_large",
                         "too many keyframes in the timeline; the limit is %d",
                         TIMELINE_KEYFRAMES_MAX);
    session->keyframe_count += count;
    return 0;
}

// `object` is {"keyframes": [...]}.
static int read_keys(struct parser *parser, const json_t *object, const struct property_rule *rule,
                     struct property *ret)
{
    static const char *const known[] = {"keyframes", NULL};
    json_t *array = NULL;
    int result = check_fields(parser, object, known, NULL);
    if (result < 0 || (result = require(parser, object, "keyframes")) < 0 ||
        (result = read_array(parser, object, "keyframes", TIMELINE_KEYFRAMES_MAX, &array)) < 0 ||
        (result = count_keys(parser, json_array_size(array), rule)) < 0)
        return result;
    ret->keys = calloc(json_array_size(array), sizeof *ret->keys);
    if (!ret->keys)
        return refuse_memory(parser);
    size_t outside = path_enter(parser, "keyframes", 0);
    for (size_t i = 0; i < json_array_size(array) && !result; i++) {
        size_t inside = path_enter(parser, NULL, i);
        result = read_key(parser, json_array_get(array, i), rule, i ? &ret->keys[i - 1] : NULL,
                          &ret->keys[i]);
        path_leave(parser, inside);
    }
    path_leave(parser, outside);
    ret->count = json_array_size(array);
    return result;
}

int read_property(struct parser *parser, const json_t *object, const char *field,
                  const struct property_rule *rule, struct property *ret)
{
    json_t *value = json_object_get(object, field);
    if (json_is_object(value)) {
        size_t length = path_enter(parser, field, 0);
        int result = read_keys(parser, value, rule, ret);
        path_leave(parser, length);
        return result;
    }
    struct keyframe constant = {.value = {rule->standard[0], rule->standard[1]}, .at = {0, 1}};
    int result = value ? read_value(parser, object, field, rule, constant.value) : 0;
    if (result < 0)
        return result;
    ret->keys = malloc(sizeof *ret->keys);
    if (!ret->keys)
        return refuse_memory(parser);
    ret->keys[0] = constant;
    ret->count = 1;
    return 0;
}
