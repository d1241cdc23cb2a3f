#include "engine/timeline/arithmetic.h"
#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t path_enter(struct parser *parser, const char *field, size_t index)
{
    size_t length = strlen(parser->path), room = sizeof parser->path - length;
    if (!field)
        snprintf(parser->path + length, room, "[%zu]", index);
    else
        snprintf(parser->path + length, room, "%s%.64s", length ? "." : "", field);
    for (char *c = parser->path + length; *c; c++)
        if (*c < ' ' || *c > '~') // names of users' own may hold anything, paths are plain
            *c = '?';
    return length;
}

void path_leave(struct parser *parser, size_t length)
{
    parser->path[length] = 0;
}

int refuse_as(struct parser *parser, const char *field, int error, const char *code,
              const char *format, ...)
{
    struct diagnostic *d = parser->session->reterr;
    char text[sizeof d->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t length = strlen(parser->path);
    if (field)
        path_enter(parser, field, 0);
    diagnostic_set(d, error, code, parser->path, "%s", text);
    path_leave(parser, length);
    return error;
}

int refuse_memory(struct parser *parser)
{
    return refuse_as(parser, NULL, -ENOMEM, "out_of_memory", "out of memory");
}

static int refuse_type(struct parser *parser, const char *field, const char *wanted)
{
    return refuse(parser, field, "timeline_wrong_type", "must be %s", wanted);
}

int check_object(struct parser *parser, const json_t *value)
{
    return json_is_object(value) ? 0 : refuse_type(parser, NULL, "an object");
}

static bool listed(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

int check_fields(struct parser *parser, const json_t *object, const char *const *known,
                 const char *const *also)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (!listed(known, name) && !listed(also, name))
            return refuse(parser, name, "timeline_unknown_field",
                          "there is no such field here; check its spelling or remove it");
    }
    return 0;
}

int require(struct parser *parser, const json_t *object, const char *field)
{
    if (json_object_get(object, field))
        return 0;
    return refuse(parser, field, "timeline_missing_field", "is missing and must be given");
}

int read_object(struct parser *parser, const json_t *object, const char *field, json_t **ret)
{
    json_t *value = json_object_get(object, field);
    if (value && !json_is_object(value))
        return refuse_type(parser, field, "an object");
    *ret = value;
    return 0;
}

int read_array(struct parser *parser, const json_t *object, const char *field, size_t max,
               json_t **ret)
{
    json_t *value = json_object_get(object, field);
    if (value && !json_is_array(value))
        return refuse_type(parser, field, "an array");
    if (json_array_size(value) > max)
        return refuse_as(parser, field, -E2BIG, "timeline_too_large",
                         "has %zu elements; the limit is %zu", json_array_size(value), max);
    *ret = value;
    return 0;
}

int read_bool(struct parser *parser, const json_t *object, const char *field, bool *ret)
{
    json_t *value = json_object_get(object, field);
    if (value && !json_is_boolean(value))
        return refuse_type(parser, field, "true or false");
    if (value)
        *ret = json_is_true(value);
    return 0;
}

static int take_number(struct parser *parser, const json_t *value, const char *field, double min,
                       double max, double *ret)
{
    if (!json_is_number(value))
        return refuse_type(parser, field, "a number");
    double number = json_number_value(value);
    if (!(number >= min && number <= max))
        return refuse(parser, field, "timeline_out_of_range", "is %.9g; must be %.9g to %.9g",
                      number, min, max);
    *ret = number;
    return 0;
}

int read_number(struct parser *parser, const json_t *object, const char *field, double min,
                double max, double *ret)
{
    json_t *value = json_object_get(object, field);
    return value ? take_number(parser, value, field, min, max, ret) : 0;
}

int take_numbers(struct parser *parser, const json_t *array, double min, double max, size_t count,
                 double *ret)
{
    if (!json_is_array(array) || json_array_size(array) != count)
        return refuse(parser, NULL, "timeline_wrong_type", "must be an array of %zu numbers",
                      count);
    int result = 0;
    for (size_t i = 0; i < count && !result; i++) {
        size_t length = path_enter(parser, NULL, i);
        result = take_number(parser, json_array_get(array, i), NULL, min, max, &ret[i]);
        path_leave(parser, length);
    }
    return result;
}

int read_numbers(struct parser *parser, const json_t *object, const char *field, double min,
                 double max, size_t count, double *ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    size_t length = path_enter(parser, field, 0);
    int result = take_numbers(parser, value, min, max, count, ret);
    path_leave(parser, length);
    return result;
}

static int take_integer(struct parser *parser, const json_t *value, const char *field, int64_t min,
                        int64_t max, int64_t *ret)
{
    if (!json_is_integer(value))
        return refuse_type(parser, field, "a whole number, written without a decimal point");
    int64_t number = json_integer_value(value);
    if (number < min || number > max)
        return refuse(parser, field, "timeline_out_of_range", "is %lld; must be %lld to %lld",
                      (long long)number, (long long)min, (long long)max);
    *ret = number;
    return 0;
}

int read_integer(struct parser *parser, const json_t *object, const char *field, int64_t min,
                 int64_t max, int64_t *ret)
{
    json_t *value = json_object_get(object, field);
    return value ? take_integer(parser, value, field, min, max, ret) : 0;
}

size_t text_length(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

int text_limit(const char *text, int max)
{
    int length = (int)strnlen(text, (size_t)max + 1);
    if (length <= max)
        return length;
    for (length = max; length && ((unsigned char)text[length] & 0xc0) == 0x80; length--)
        ;
    return length;
}

int read_text(struct parser *parser, const json_t *object, const char *field, size_t min,
              size_t max, char **ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return refuse_type(parser, field, "a string");
    size_t length = text_length(json_string_value(value));
    if (length < min || length > max)
        return refuse(parser, field, "timeline_out_of_range",
                      "has %zu characters; must have %zu to %zu", length, min, max);
    char *copy = strdup(json_string_value(value));
    if (!copy)
        return refuse_memory(parser);
    free(*ret);
    *ret = copy;
    return 0;
}

int read_choice(struct parser *parser, const json_t *object, const char *field,
                const char *const *names, int *ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return refuse_type(parser, field, "a string");
    char list[200] = "";
    for (int i = 0; names[i]; i++) {
        if (!strcmp(names[i], json_string_value(value))) {
            *ret = i;
            return 0;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names[i]);
    }
    return refuse(parser, field, "timeline_bad_value", "is not known; choose one of: %s", list);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int read_colour(struct parser *parser, const json_t *object, const char *field, struct colour *ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    const char *text = json_string_value(value);
    size_t length = text ? strlen(text) : 0;
    bool valid = (length == 4 || length == 7 || length == 9) && text[0] == '#';
    int digits[8];
    for (size_t i = 1; valid && i < length; i++)
        valid = (digits[i - 1] = hex_digit(text[i])) >= 0;
    if (!valid)
        return refuse(parser, field, "timeline_bad_value",
                      "must be a colour, written \"#rgb\", \"#rrggbb\" or \"#rrggbbaa\"");
    uint8_t parts[4] = {0, 0, 0, 255};
    for (size_t i = 0; i < (length - 1) / (length == 4 ? 1 : 2); i++)
        parts[i] = (uint8_t)(length == 4 ? digits[i] * 17 : digits[2 * i] * 16 + digits[2 * i + 1]);
    *ret = (struct colour){parts[0], parts[1], parts[2], parts[3]};
    return 0;
}

// Up to nine digits without sign; false when there is none or the number has more.
static bool take_digits(const char **text, int64_t *ret)
{
    int64_t number = 0;
    int count = 0;
    for (; **text >= '0' && **text <= '9'; ++*text, count++)
        if (count < 9)
            number = number * 10 + (**text - '0');
    *ret = number;
    return count > 0 && count <= 9;
}

// "3/2" or "3", then `suffix`. Denominators are bounded so that sums of times stay exact.
static bool parse_rational(const char *text, const char *suffix, struct rational *ret)
{
    int64_t num, den = 1;
    if (!text || !take_digits(&text, &num))
        return false;
    if (*text == '/' && (*++text == '0' || !take_digits(&text, &den)))
        return false;
    if (strcmp(text, suffix) || den < 1 || den > 1000000)
        return false;
    *ret = rational_make(num, den);
    return true;
}

// Whole numbers of frames are `min` at least; seconds are not looked at more closely.
static int read_position(struct parser *parser, const json_t *object, const char *field,
                         int64_t min, struct rational *ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    if (json_is_integer(value)) {
        int64_t frames;
        int result = take_integer(parser, value, field, min, TIMELINE_FRAMES_MAX, &frames);
        if (!result)
            *ret = (struct rational){frames, 1};
        return result;
    }
    struct rational seconds;
    if (!parse_rational(json_string_value(value), "s", &seconds))
        return refuse(parser, field, "timeline_bad_time",
                      "must be a whole number of frames, or seconds written \"3/2s\" or \"12s\"");
    struct rate rate = parser->timeline->rate;
    struct rational frames = rational_mul(seconds, rational_make(rate.num, rate.den));
    if (rational_compare(frames, (struct rational){TIMELINE_FRAMES_MAX, 1}) > 0)
        return refuse(parser, field, "timeline_out_of_range", "is longer than %d frames",
                      TIMELINE_FRAMES_MAX);
    *ret = frames;
    return 0;
}

int read_frame_position(struct parser *parser, const json_t *object, const char *field,
                        struct rational *ret)
{
    return read_position(parser, object, field, 0, ret);
}

int read_frames(struct parser *parser, const json_t *object, const char *field, int64_t min,
                int64_t *ret)
{
    struct rational position = {*ret, 1};
    int result = read_position(parser, object, field, min, &position);
    if (result < 0)
        return result;
    int64_t frames = rational_floor(rational_add(position, (struct rational){1, 2}), 1);
    if (frames < min)
        return refuse(parser, field, "timeline_out_of_range",
                      "comes to %lld frames; must be at least %lld", (long long)frames,
                      (long long)min);
    *ret = frames;
    return 0;
}

int read_seconds(struct parser *parser, const json_t *object, const char *field,
                 struct rational *ret)
{
    struct rational frames = {0, 1};
    int result = read_frame_position(parser, object, field, &frames);
    if (result < 0 || !json_object_get(object, field))
        return result;
    struct rate rate = parser->timeline->rate;
    *ret = rational_mul(frames, rational_make(rate.den, rate.num));
    return 0;
}

int read_farm_time(struct parser *parser, const json_t *object, const char *field, double min_s,
                   double max_s, int64_t *ret_ns)
{
    json_t *value = json_object_get(object, field);
    struct rational exact;
    if (!value)
        return 0;
    double seconds = json_number_value(value); // 0 where it is none
    if (parse_rational(json_string_value(value), "s", &exact))
        seconds = (double)exact.num / (double)exact.den;
    else if (!json_is_number(value))
        return refuse(parser, field, "timeline_bad_time",
                      "must be seconds: a number, or written \"2/5s\"");
    if (!(seconds >= min_s && seconds <= max_s))
        return refuse(parser, field, "timeline_out_of_range",
                      "is %.9g; must be %.9g to %.9g seconds", seconds, min_s, max_s);
    *ret_ns = (int64_t)(seconds * 1e9 + 0.5);
    return 0;
}

int read_speed(struct parser *parser, const json_t *object, const char *field, struct rational *ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    struct rational speed = {json_integer_value(value), 1};
    if (!json_is_integer(value) && !parse_rational(json_string_value(value), "", &speed))
        return refuse(parser, field, "timeline_bad_value",
                      "must be a whole number or a fraction written \"3/2\"");
    if (speed.num < 1 || speed.num > 1000000 || speed.num > 100 * speed.den ||
        speed.den > 100 * speed.num)
        return refuse(parser, field, "timeline_out_of_range",
                      "must be a speed of 1/100 to 100, in terms up to 1000000");
    *ret = speed;
    return 0;
}

int read_asset(struct parser *parser, const json_t *object, const char *field, int *ret)
{
    json_t *value = json_object_get(object, field);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return refuse_type(parser, field, "the name of an asset");
    const char *name = json_string_value(value);
    json_t *index = json_object_get(parser->asset_indices, name);
    if (!index)
        return refuse(parser, field, "timeline_unknown_asset",
                      "\"%.*s\" is not among the timeline's assets; add it there",
                      text_limit(name, 64), name);
    *ret = (int)json_integer_value(index);
    return 0;
}

int check_uri(struct parser *parser, const char *field, const char *uri)
{
    if (!strncmp(uri, "sha256:", 7) && strspn(uri + 7, "0123456789abcdef") == 64 &&
        strlen(uri) == 7 + 64)
        return 0;
    size_t length = text_length(uri);
    bool plain = !strncmp(uri, "file:", 5) && length > 5 && length <= 5 + 1024;
    for (const char *c = uri; plain && *c; c++)
        plain = (unsigned char)*c >= ' ' && *c != 0x7f;
    if (plain)
        return 0;
    return refuse(parser, field, "timeline_bad_value",
                  "must be \"sha256:\" and 64 digits 0-9a-f, or \"file:\" and a path");
}
