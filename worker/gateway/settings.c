#include "worker/gateway/settings.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 65536

static int refuse(struct diagnostic *reterr, const char *member, const char *why)
{
    return diagnostic_set(reterr, -EINVAL, "gateway_settings", member, "%s", why);
}

static int text(const json_t *root, const char *name, char *target, size_t size,
                struct diagnostic *reterr)
{
    const json_t *value = json_object_get(root, name);
    const char *found = json_string_value(value);
    if (!found || !*found)
        return refuse(reterr, name, "must be a text");
    if (strlen(found) >= size || strlen(found) != json_string_length(value))
        return refuse(reterr, name, "is too long");
    memcpy(target, found, strlen(found) + 1);
    return 0;
}

static int flag(const json_t *root, const char *name, bool *ret, struct diagnostic *reterr)
{
    const json_t *value = json_object_get(root, name);
    *ret = json_is_true(value);
    return value && !json_is_boolean(value) ? refuse(reterr, name, "must be true or false") : 0;
}

static int parse(const json_t *root, struct gateway_settings *s, struct diagnostic *reterr)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)root, key, value)
    {
        if (strcmp(key, "source") && strcmp(key, "folder") && strcmp(key, "input") &&
            strcmp(key, "quarantined") && strcmp(key, "relay"))
            return refuse(reterr, key, "is not known here");
    }
    int error = text(root, "source", s->source, sizeof s->source, reterr);
    if (!error)
        error = text(root, "folder", s->folder, sizeof s->folder, reterr);
    if (!error)
        error = flag(root, "quarantined", &s->quarantined, reterr);
    if (!error)
        error = flag(root, "relay", &s->relay, reterr);
    for (const char *c = s->source; *c && !error; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
            error = refuse(reterr, "source", "may have letters, digits, '-', '_' and '.' only");
    if (!error)
        error = live_input_parse(json_object_get(root, "input"), s->source, &s->input, reterr);
    if (!error && s->input.kind == LIVE_INPUT_RTMP)
        error = refuse(reterr, "input.kind", "is for a worker's RTMP server");
    return error;
}

int gateway_settings_parse(const char *bytes, size_t size, struct gateway_settings *s,
                           struct diagnostic *reterr)
{
    *s = (struct gateway_settings){0};
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
    int error =
        json_is_object(root) ? parse(root, s, reterr) : refuse(reterr, "", "is not a JSON object");
    json_decref(root);
    return error;
}

int gateway_settings_read(int fd, struct gateway_settings *ret, struct diagnostic *reterr)
{
    static char bytes[TEXT_MAX];
    size_t size = 0;
    ssize_t n;
    do {
        n = read(fd, bytes + size, sizeof bytes - size);
        if (n > 0)
            size += (size_t)n;
    } while ((n > 0 && size < sizeof bytes) || (n < 0 && errno == EINTR));
    int error = n < 0 || size == sizeof bytes
                    ? diagnostic_set(reterr, n < 0 ? -errno : -E2BIG, "gateway_settings", "",
                                     "cannot be read, or too long")
                    : gateway_settings_parse(bytes, size, ret, reterr);
    explicit_bzero(bytes, sizeof bytes);
    return error;
}
