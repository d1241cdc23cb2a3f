// Inside of the timeline parser: readers that take one field of an object each, check it, and name
// its place when they refuse it.
//
// Every reader returns 0 or a negative errno with the session's diagnostic filled. An absent field
// leaves `*ret` as it is, so callers set defaults before; `require` refuses absence.
// Thread: a parser belongs to one call of timeline_parse.
#pragma once

#include "engine/timeline/property.h"
#include "engine/timeline/timeline.h"

#include <jansson.h>

// A timeline being parsed, and those that it is nested in: to find cycles.
struct link {
    const char *uri; // NULL: the root
    uint8_t sha256[32];
};

// A nested timeline that was parsed already; it is parsed once however often it is used.
struct loaded {
    char *uri;
    struct timeline *timeline;
    size_t layers; // at one instant at most
};

// One call of timeline_parse with everything that is nested in it.
struct session {
    timeline_load_fn *load;
    void *opaque;
    struct diagnostic *reterr; // never NULL
    size_t clip_count, keyframe_count;
    struct link chain[TIMELINE_NESTING_MAX + 1];
    size_t depth;
    struct loaded loaded[TIMELINE_NESTED_MAX];
    size_t loaded_count;
};

// One document.
struct parser {
    struct session *session;
    struct timeline *timeline;
    json_t *asset_indices; // name -> index
    json_t *clip_ids;      // set of the ids given
    char path[256];        // of the object under way
};

// Paths. `path_enter` appends ".field" or, with a NULL field, "[index]", and gives what
// `path_leave` takes back.
size_t path_enter(struct parser *parser, const char *field, size_t index);
void path_leave(struct parser *parser, size_t length);

// Refuses `field` of the object under way (NULL: the object itself) and returns `error`.
int refuse_as(struct parser *parser, const char *field, int error, const char *code,
              const char *format, ...) __attribute__((format(printf, 5, 6)));
#define refuse(parser, field, code, ...) refuse_as(parser, field, -EINVAL, code, __VA_ARGS__)
int refuse_memory(struct parser *parser);

// parse_value.c
size_t text_length(const char *text); // code points
// Bytes of `text` to print, at most `max`, without cutting a character in two.
int text_limit(const char *text, int max);
int check_object(struct parser *parser, const json_t *value);
// Refuses every field that is in none of the two lists, each ended by NULL.
int check_fields(struct parser *parser, const json_t *object, const char *const *known,
                 const char *const *also);
int require(struct parser *parser, const json_t *object, const char *field);
int read_object(struct parser *parser, const json_t *object, const char *field, json_t **ret);
// Refuses arrays longer than `max`.
int read_array(struct parser *parser, const json_t *object, const char *field, size_t max,
               json_t **ret);
int read_bool(struct parser *parser, const json_t *object, const char *field, bool *ret);
int read_number(struct parser *parser, const json_t *object, const char *field, double min,
                double max, double *ret);
int read_integer(struct parser *parser, const json_t *object, const char *field, int64_t min,
                 int64_t max, int64_t *ret);
// Lengths in code points. Replaces (and frees) what `*ret` holds.
int read_text(struct parser *parser, const json_t *object, const char *field, size_t min,
              size_t max, char **ret);
// `names` ends with NULL; gives the index.
int read_choice(struct parser *parser, const json_t *object, const char *field,
                const char *const *names, int *ret);
int read_colour(struct parser *parser, const json_t *object, const char *field, struct colour *ret);
// An array of `count` numbers; `take_numbers` is given the array itself.
int take_numbers(struct parser *parser, const json_t *array, double min, double max, size_t count,
                 double *ret);
int read_numbers(struct parser *parser, const json_t *object, const char *field, double min,
                 double max, size_t count, double *ret);
// Whole frames, or rational seconds rounded to the nearest frame.
int read_frames(struct parser *parser, const json_t *object, const char *field, int64_t min,
                int64_t *ret);
// Exact: frames (fractions of them when given as seconds), or seconds.
int read_frame_position(struct parser *parser, const json_t *object, const char *field,
                        struct rational *ret);
int read_seconds(struct parser *parser, const json_t *object, const char *field,
                 struct rational *ret);
// Seconds of farm time, a number or "3/2s", to the nanosecond.
int read_farm_time(struct parser *parser, const json_t *object, const char *field, double min_s,
                   double max_s, int64_t *ret_ns);
int read_speed(struct parser *parser, const json_t *object, const char *field,
               struct rational *ret);
// The name of an asset; gives its index.
int read_asset(struct parser *parser, const json_t *object, const char *field, int *ret);
int check_uri(struct parser *parser, const char *field, const char *uri);

// parse_property.c: sets `*ret` always, from the field or the default. `count` numbers (1 or 2) of
// a value of `width` numbers, from number `first` on.
struct property_rule {
    struct range range;
    size_t width, first, count;
    double standard[2];
};
int read_property(struct parser *parser, const json_t *object, const char *field,
                  const struct property_rule *rule, struct property *ret);

// parse_style.c
int parse_text_style(struct parser *parser, const json_t *object, struct text_style **ret);
int parse_shape_style(struct parser *parser, const json_t *object, struct shape_style **ret);
int parse_pattern_style(struct parser *parser, const json_t *object, struct pattern_style **ret);
// {"width": 4, "colour": "#fff"}; the width has its value also without a border.
int parse_border(struct parser *parser, const json_t *object, struct property *width,
                 struct colour *colour);
// {"offset": [4, 4], "blur": 12, "colour": "#000000a0"}: what is not said is as in `standard`;
// without a shadow `*ret` is left as it is.
int parse_shadow(struct parser *parser, const json_t *object, const struct shadow *standard,
                 struct shadow *ret);
int parse_fallback(struct parser *parser, const json_t *object, struct fallback *ret);

// parse_transition.c: its length, and how it is done where it is more than a dissolve.
int parse_transition(struct parser *parser, const json_t *object, struct clip *clip);

// parse_clip.c
// `live`: of a live track, without times.
int parse_clip(struct parser *parser, const json_t *object, size_t track, size_t index, bool live,
               struct clip *ret);

// parse_track.c
int parse_tracks(struct parser *parser, const json_t *array);

// parse.c
int load_nested(struct parser *parser, const char *uri, struct timeline **ret);
// Layers that a timeline can show at one instant, those of nested ones counted.
size_t count_layers(const struct session *session, const struct timeline *timeline);
