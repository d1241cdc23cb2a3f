#include "coordinator/cli/document.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct span {
    const char *from, *to;
};

struct walk {
    const char *at, *end; // of the document, which jansson found valid
    const char *copied;   // what lies before is in `out`
    FILE *out;
    document_uri_fn *visit;
    void *opaque;
    struct diagnostic *reterr;
};

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end)
            at++;
    return at < end ? at + 1 : end;
}

// To the end of the value at `at`.
static const char *skip_value(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0) // of what holds a number or a word
                return at;
            depth--;
            at++;
        } else if (depth == 0 && strchr(", \t\r\n", *at)) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0)
            return at;
    }
    return end;
}

// Steps to the next value of the array or object whose inside `w->at` is in; `key` is of objects.
static bool next_value(struct walk *w, bool object, struct span *key, struct span *value)
{
    w->at = skip_blanks(w->at, w->end);
    if (w->at < w->end && *w->at == ',')
        w->at = skip_blanks(w->at + 1, w->end);
    if (w->at >= w->end || *w->at == '}' || *w->at == ']')
        return false;
    if (object) {
        key->from = w->at;
        key->to = w->at = skip_string(w->at, w->end);
        w->at = skip_blanks(w->at, w->end);
        w->at = skip_blanks(w->at < w->end ? w->at + 1 : w->end, w->end); // the colon
    }
    value->from = w->at;
    value->to = w->at = skip_value(w->at, w->end);
    return true;
}

// The text of a JSON string, escapes resolved; NULL for other values.
static char *decode(struct span span)
{
    json_t *json = json_loadb(span.from, (size_t)(span.to - span.from), JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(json);
    char *copy = text ? strdup(text) : NULL;
    json_decref(json);
    return copy;
}

static int replace(struct walk *w, struct span value, const char *uri)
{
    json_t *json = json_string(uri);
    char *text = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
    json_decref(json);
    if (!text)
        return diagnostic_set(w->reterr, -EINVAL, "document_uri", "", "not valid UTF-8");
    fwrite(w->copied, 1, (size_t)(value.from - w->copied), w->out);
    fputs(text, w->out);
    w->copied = value.to;
    free(text);
    return 0;
}

// All strings of the array or object at `value`, which the document calls `name`.
static int visit_members(struct walk *w, const char *name, struct span value)
{
    const char *after = w->at;
    bool object = *value.from == '{';
    struct span key = {0}, member;
    int error = 0;
    w->at = value.from + 1;
    for (size_t i = 0; !error && next_value(w, object, &key, &member); i++) {
        char path[256];
        char *uri = decode(member), *title = object ? decode(key) : NULL, *other = NULL;
        if (object)
            snprintf(path, sizeof path, "%s.%s", name, title ? title : "");
        else
            snprintf(path, sizeof path, "%s[%zu]", name, i);
        if (uri)
            error = w->visit(w->opaque, path, uri, &other, w->reterr);
        if (!error && other)
            error = replace(w, member, other);
        free(uri);
        free(title);
        free(other);
    }
    w->at = after;
    return error;
}

static int visit_document(struct walk *w)
{
    static const struct {
        const char *name;
        char opens;
    } places[] = {{"assets", '{'}, {"fonts", '['}, {"pictures", '['}};
    struct span key, value;
    int error = 0;
    w->at = skip_blanks(w->at, w->end);
    if (w->at >= w->end || *w->at != '{')
        return 0;
    w->at++;
    while (!error && next_value(w, true, &key, &value)) {
        char *name = decode(key);
        for (size_t i = 0; name && i < sizeof places / sizeof *places && !error; i++)
            if (!strcmp(name, places[i].name) && *value.from == places[i].opens)
                error = visit_members(w, name, value);
        free(name);
    }
    return error;
}

static int load(const char *bytes, size_t size, json_t **ret, struct diagnostic *reterr)
{
    json_error_t error;
    *ret = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (*ret)
        return 0;
    char path[64];
    snprintf(path, sizeof path, "line %d, column %d", error.line, error.column);
    return diagnostic_set(reterr, -EINVAL, "document_syntax", path, "not valid JSON: %s",
                          error.text);
}

int document_kind_of(const char *bytes, size_t size, enum document_kind *ret,
                     struct diagnostic *reterr)
{
    const char *first = skip_blanks(bytes, bytes + size);
    json_t *json;
    *ret = DOCUMENT_OTHER;
    if (first == bytes + size || *first != '{')
        return 0;
    int error = load(bytes, size, &json, reterr);
    if (error)
        return error;
    const char *schema = json_string_value(json_object_get(json, "schema"));
    if (schema && !strncmp(schema, "vistter.timeline/", 17))
        *ret = DOCUMENT_TIMELINE;
    else if (schema && !strncmp(schema, "vistter.sequence/", 17))
        *ret = DOCUMENT_SEQUENCE;
    json_decref(json);
    return 0;
}

int document_rewrite(const char *bytes, size_t size, document_uri_fn *visit, void *opaque,
                     char **ret, size_t *ret_size, struct diagnostic *reterr)
{
    json_t *json;
    int error = load(bytes, size, &json, reterr);
    if (error)
        return error;
    json_decref(json);
    char *text = NULL;
    size_t length = 0;
    struct walk w = {
        .at = bytes,
        .end = bytes + size,
        .copied = bytes,
        .out = open_memstream(&text, &length),
        .visit = visit,
        .opaque = opaque,
        .reterr = reterr,
    };
    if (!w.out)
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
    error = visit_document(&w);
    fwrite(w.copied, 1, (size_t)(w.end - w.copied), w.out);
    bool failed = ferror(w.out) != 0;
    if ((fclose(w.out) || failed) && !error)
        error = diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
    if (error) {
        free(text);
        return error;
    }
    *ret = text;
    *ret_size = length;
    return 0;
}
