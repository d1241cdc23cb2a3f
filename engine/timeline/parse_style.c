#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 1000

static const struct colour black = {0, 0, 0, 255}, white = {255, 255, 255, 255};

// Enters a part that is an object of its own. 1 when it is there, 0 when not.
static int enter_part(struct parser *parser, const json_t *object, const char *field,
                      const char *const *known, json_t **ret_part, size_t *ret_length)
{
    *ret_part = NULL;
    int result = read_object(parser, object, field, ret_part);
    if (result < 0 || !*ret_part)
        return result;
    *ret_length = path_enter(parser, field, 0);
    result = check_fields(parser, *ret_part, known, NULL);
    if (result < 0)
        path_leave(parser, *ret_length);
    return result < 0 ? result : 1;
}

// {"width": 2, "colour": "#000"}: a text's outline or a shape's stroke.
static int parse_line(struct parser *parser, const json_t *object, const char *field, double *width,
                      struct colour *colour)
{
    static const char *const known[] = {"width", "colour", NULL};
    json_t *part;
    size_t length;
    int result = enter_part(parser, object, field, known, &part, &length);
    if (result <= 0)
        return result;
    if ((result = require(parser, part, "width")) == 0 &&
        (result = read_number(parser, part, "width", 0, 1000, width)) == 0)
        result = read_colour(parser, part, "colour", colour);
    path_leave(parser, length);
    return result;
}

int parse_border(struct parser *parser, const json_t *object, struct property *width,
                 struct colour *colour)
{
    static const char *const known[] = {"width", "colour", NULL};
    static const struct property_rule rule = {RANGE_BORDER, 1, 0, 1, {0, 0}};
    json_t *part;
    size_t length;
    int result = enter_part(parser, object, "border", known, &part, &length);
    if (result < 0)
        return result;
    if (!result)
        return read_property(parser, NULL, "width", &rule, width);
    *colour = white;
    if ((result = require(parser, part, "width")) == 0 &&
        (result = read_property(parser, part, "width", &rule, width)) == 0)
        result = read_colour(parser, part, "colour", colour);
    path_leave(parser, length);
    return result;
}

int parse_shadow(struct parser *parser, const json_t *object, const struct shadow *standard,
                 struct shadow *ret)
{
    static const char *const known[] = {"offset", "blur", "colour", NULL};
    json_t *part;
    size_t length;
    int result = enter_part(parser, object, "shadow", known, &part, &length);
    if (result <= 0)
        return result;
    *ret = *standard;
    double offset[2] = {ret->x, ret->y};
    if ((result = read_numbers(parser, part, "offset", -1000, 1000, 2, offset)) == 0 &&
        (result = read_number(parser, part, "blur", 0, 200, &ret->blur)) == 0)
        result = read_colour(parser, part, "colour", &ret->colour);
    ret->x = offset[0];
    ret->y = offset[1];
    path_leave(parser, length);
    return result;
}

static int parse_backing(struct parser *parser, const json_t *object, struct text_style *style)
{
    static const char *const known[] = {"colour", "padding", "radius", NULL};
    json_t *part;
    size_t length;
    int result = enter_part(parser, object, "background", known, &part, &length);
    if (result <= 0)
        return result;
    if ((result = require(parser, part, "colour")) == 0 &&
        (result = read_colour(parser, part, "colour", &style->background)) == 0 &&
        (result = read_number(parser, part, "padding", 0, 1000, &style->padding)) == 0)
        result = read_number(parser, part, "radius", 0, 1000, &style->background_radius);
    path_leave(parser, length);
    return result;
}

static int read_text_style(struct parser *parser, const json_t *object, struct text_style *style)
{
    static const char *const known[] = {
        "text",         "font",   "size",       "colour", "box",   "align", "outline",
        "line_spacing", "shadow", "background", "motion", "speed", NULL};
    static const char *const aligns[] = {"left", "centre", "right", NULL};
    static const char *const motions[] = {"still", "crawl", "roll", NULL};
    static const struct shadow shadow = {2, 2, 4, {0, 0, 0, 128}};
    double box[2] = {0, 0};
    int align = TEXT_LEFT, motion = TEXT_STILL, result;
    if ((result = check_fields(parser, object, known, NULL)) < 0 ||
        (result = require(parser, object, "text")) < 0 ||
        (result = read_text(parser, object, "text", 0, 10000, &style->text)) < 0 ||
        (result = read_text(parser, object, "font", 1, 200, &style->font)) < 0 ||
        (result = read_number(parser, object, "size", 1, 2000, &style->size)) < 0 ||
        (result = read_colour(parser, object, "colour", &style->colour)) < 0 ||
        (result = read_numbers(parser, object, "box", 0, 16384, 2, box)) < 0 ||
        (result = read_choice(parser, object, "align", aligns, &align)) < 0 ||
        (result = read_number(parser, object, "line_spacing", 0.1, 10, &style->line_spacing)) < 0 ||
        (result = parse_line(parser, object, "outline", &style->outline, &style->outline_colour)) <
            0 ||
        (result = parse_shadow(parser, object, &shadow, &style->shadow)) < 0 ||
        (result = parse_backing(parser, object, style)) < 0 ||
        (result = read_choice(parser, object, "motion", motions, &motion)) < 0 ||
        (result = read_number(parser, object, "speed", 1, 10000, &style->speed)) < 0)
        return result;
    if (motion != TEXT_STILL && (box[0] <= 0 || box[1] <= 0))
        return refuse(parser, "box", "timeline_missing_field",
                      "must be given for text that moves, with width and height above 0");
    style->box_width = box[0];
    style->box_height = box[1];
    style->align = (enum text_align)align;
    style->motion = (enum text_motion)motion;
    return 0;
}

int parse_text_style(struct parser *parser, const json_t *object, struct text_style **ret)
{
    struct text_style *style = calloc(1, sizeof *style);
    *ret = style; // the clip owns it, whole or not
    if (!style || !(style->font = strdup("Noto Sans")))
        return refuse_memory(parser);
    style->size = 48;
    style->colour = white;
    style->line_spacing = 1;
    style->outline_colour = black;
    style->speed = 120;
    return read_text_style(parser, object, style);
}

static int parse_points(struct parser *parser, const json_t *object, struct shape_style *style)
{
    json_t *array = NULL;
    int result = read_array(parser, object, "points", POINTS_MAX, &array);
    if (result < 0 || (result = require(parser, object, "points")) < 0)
        return result;
    size_t count = json_array_size(array);
    if (count < 3)
        return refuse(parser, "points", "timeline_bad_value", "a polygon has at least 3 points");
    style->points = calloc(2 * count, sizeof *style->points);
    if (!style->points)
        return refuse_memory(parser);
    style->point_count = count;
    size_t length = path_enter(parser, "points", 0);
    for (size_t i = 0; i < count && !result; i++) {
        size_t inside = path_enter(parser, NULL, i);
        result = take_numbers(parser, json_array_get(array, i), 0, 8192, 2, &style->points[2 * i]);
        path_leave(parser, inside);
    }
    path_leave(parser, length);
    return result;
}

static int read_shape_style(struct parser *parser, const json_t *object, struct shape_style *style)
{
    static const char *const rectangle[] = {"kind",   "size",   "fill", "fill_to",
                                            "stroke", "radius", NULL};
    static const char *const ellipse[] = {"kind", "size", "fill", "fill_to", "stroke", NULL};
    static const char *const polygon[] = {"kind",   "size",   "fill", "fill_to",
                                          "stroke", "points", NULL};
    static const char *const *const known[] = {rectangle, ellipse, polygon};
    static const char *const kinds[] = {"rectangle", "ellipse", "polygon", NULL};
    double size[2] = {0, 0};
    int kind = SHAPE_RECTANGLE, result;
    if ((result = require(parser, object, "kind")) < 0 ||
        (result = read_choice(parser, object, "kind", kinds, &kind)) < 0 ||
        (result = check_fields(parser, object, known[kind], NULL)) < 0 ||
        (kind == SHAPE_POLYGON && (result = parse_points(parser, object, style)) < 0) ||
        (kind != SHAPE_POLYGON && (result = require(parser, object, "size")) < 0) ||
        (result = read_numbers(parser, object, "size", 1, 8192, 2, size)) < 0 ||
        (result = read_number(parser, object, "radius", 0, 8192, &style->radius)) < 0 ||
        (result = read_colour(parser, object, "fill", &style->fill)) < 0 ||
        (result = read_colour(parser, object, "fill_to", &style->fill_to)) < 0 ||
        (result = parse_line(parser, object, "stroke", &style->stroke, &style->stroke_colour)) < 0)
        return result;
    style->kind = (enum shape_kind)kind;
    style->gradient = json_object_get(object, "fill_to") != NULL;
    for (size_t i = 0; size[0] == 0 && i < style->point_count; i++) {
        // A polygon without a size is as large as its points reach, and never empty.
        if (style->points[2 * i] > style->width)
            style->width = style->points[2 * i];
        if (style->points[2 * i + 1] > style->height)
            style->height = style->points[2 * i + 1];
    }
    style->width = size[0] > 0 ? size[0] : style->width < 1 ? 1 : style->width;
    style->height = size[1] > 0 ? size[1] : style->height < 1 ? 1 : style->height;
    return 0;
}

int parse_shape_style(struct parser *parser, const json_t *object, struct shape_style **ret)
{
    struct shape_style *style = calloc(1, sizeof *style);
    *ret = style;
    if (!style)
        return refuse_memory(parser);
    style->fill = style->stroke_colour = white;
    return read_shape_style(parser, object, style);
}

static int parse_tone(struct parser *parser, const json_t *object, struct pattern_style *style)
{
    static const char *const known[] = {"frequency", "level", NULL};
    json_t *part;
    size_t length;
    if (style->kind == PATTERN_FLASH)
        style->tone_hz = 1000;
    int result = enter_part(parser, object, "tone", known, &part, &length);
    if (result <= 0)
        return result;
    style->tone_hz = 1000;
    if ((result = read_number(parser, part, "frequency", 20, 20000, &style->tone_hz)) == 0)
        result = read_number(parser, part, "level", -96, 0, &style->tone_db);
    path_leave(parser, length);
    return result;
}

int parse_pattern_style(struct parser *parser, const json_t *object, struct pattern_style **ret)
{
    static const char *const known[] = {"kind", "colour", "tone", NULL};
    static const char *const kinds[] = {"bars", "ramp", "grid", "colour", "counter", "flash", NULL};
    struct pattern_style *style = calloc(1, sizeof *style);
    *ret = style;
    if (!style)
        return refuse_memory(parser);
    style->colour = black;
    style->tone_db = -20;
    int kind = PATTERN_BARS, result;
    if ((result = check_fields(parser, object, known, NULL)) < 0 ||
        (result = require(parser, object, "kind")) < 0 ||
        (result = read_choice(parser, object, "kind", kinds, &kind)) < 0 ||
        (result = read_colour(parser, object, "colour", &style->colour)) < 0)
        return result;
    style->kind = (enum pattern_kind)kind;
    return parse_tone(parser, object, style);
}

int parse_fallback(struct parser *parser, const json_t *object, struct fallback *ret)
{
    static const char *const kinds[] = {"transparent", "colour", "asset", NULL};
    static const char *const known[] = {"kind", NULL};
    int kind = FALLBACK_TRANSPARENT, result;
    if ((result = require(parser, object, "kind")) < 0 ||
        (result = read_choice(parser, object, "kind", kinds, &kind)) < 0)
        return result;
    // A colour or an asset is given in the field that is named like the kind.
    const char *const also[] = {kind == FALLBACK_TRANSPARENT ? NULL : kinds[kind], NULL};
    if ((result = check_fields(parser, object, known, also)) < 0 ||
        (also[0] && (result = require(parser, object, also[0])) < 0) ||
        (result = read_colour(parser, object, "colour", &ret->colour)) < 0)
        return result;
    ret->kind = (enum fallback_kind)kind;
    return read_asset(parser, object, "asset", &ret->asset);
}
