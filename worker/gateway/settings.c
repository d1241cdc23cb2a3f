#include "worker/gateway/settings.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 65536

struct parser {
    const json_t *object;
    const char *path; // of the object, in diagnostics
    struct diagnostic *reterr;
    int error;
};

static void refuse(struct parser *p, const char *name, const char *why)
{
    char path[128];
    if (p->error)
        return;
    snprintf(path, sizeof path, "%s%s", p->path, name);
    p->error = diagnostic_set(p->reterr, -EINVAL, "gateway_settings", path, "%s", why);
}

static void text(struct parser *p, const char *name, bool required, char *target, size_t size)
{
    const json_t *value = json_object_get(p->object, name);
    if (!value && !required)
        return;
    const char *found = json_string_value(value);
    if (!found || (required && !*found))
        refuse(p, name, "must be a text");
    else if (strlen(found) >= size || strlen(found) != json_string_length(value))
        refuse(p, name, "is too long");
    else
        memcpy(target, found, strlen(found) + 1);
}

static void number(struct parser *p, const char *name, int least, int most, int *target)
{
    const json_t *value = json_object_get(p->object, name);
    if (!value)
        return;
    json_int_t found = json_integer_value(value);
    if (!json_is_integer(value) || found < least || found > most)
        refuse(p, name, "is not a number that can be taken");
    else
        *target = (int)found;
}

// A member that nobody reads is a mistake that would go unseen.
static void only(struct parser *p, const char *const *names)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)p->object, key, value)
    {
        int i = 0;
        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i])
            refuse(p, key, "is not known here");
    }
}

static void url(struct parser *p, const char *given)
{
    static const char *const schemes[] = {"rtmp",  "rtmps", "rtsp", "rtsps", "http",
                                          "https", "srt",   "udp",  "rtp"};
    size_t size = strcspn(given, ":");
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strlen(schemes[i]) == size && !strncmp(given, schemes[i], size) &&
            !strncmp(given + size, "://", 3))
            return;
    refuse(p, "url", "must begin with rtmp, rtmps, rtsp, http, https, srt, udp or rtp");
}

static void input(struct parser *p, struct gateway_settings *s)
{
    static const char *const kinds[] = {"srt-listen", "srt-call", "srt-rendezvous", "pull"};
    static const char *const names[][10] = {
        {"kind", "listen", "resource", "user", "passphrase", "key_bytes", "latency_ms"},
        {"kind", "address", "stream_id", "passphrase", "key_bytes", "latency_ms"},
        {"kind", "address", "listen", "passphrase", "key_bytes", "latency_ms"},
        {"kind", "url"},
    };
    char kind[20] = "";
    text(p, "kind", true, kind, sizeof kind);
    int i = 0;
    while (i < 4 && strcmp(kinds[i], kind) != 0)
        i++;
    if (i == 4) {
        refuse(p, "kind", "must be srt-listen, srt-call, srt-rendezvous or pull");
        return;
    }
    s->kind = (enum input_kind)i;
    only(p, names[i]);
    bool listens = s->kind == INPUT_SRT_LISTEN || s->kind == INPUT_SRT_RENDEZVOUS;
    bool calls = s->kind == INPUT_SRT_CALL || s->kind == INPUT_SRT_RENDEZVOUS;
    text(p, "listen", listens, s->listen, sizeof s->listen);
    text(p, "address", calls, s->address, sizeof s->address);
    text(p, "resource", false, s->resource, sizeof s->resource);
    text(p, "user", false, s->user, sizeof s->user);
    text(p, "stream_id", false, s->stream_id, sizeof s->stream_id);
    text(p, "passphrase", false, s->passphrase, sizeof s->passphrase);
    text(p, "url", s->kind == INPUT_PULL, s->url, sizeof s->url);
    number(p, "key_bytes", 16, 32, &s->key_bytes);
    number(p, "latency_ms", 20, 8000, &s->latency_ms);
    if (*s->passphrase && strlen(s->passphrase) < 10)
        refuse(p, "passphrase", "must have 10 to 79 characters");
    if (s->key_bytes % 8)
        refuse(p, "key_bytes", "must be 16, 24 or 32");
    if (s->kind == INPUT_PULL)
        url(p, s->url);
}

int gateway_settings_parse(const char *bytes, size_t size, struct gateway_settings *s,
                           struct diagnostic *reterr)
{
    *s = (struct gateway_settings){.latency_ms = 200};
    json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(root)) {
        json_decref(root);
        return diagnostic_set(reterr, -EINVAL, "gateway_settings", "", "is not a JSON object");
    }
    struct parser p = {root, "", reterr, 0};
    only(&p, (const char *const[]){"source", "folder", "input", NULL});
    text(&p, "source", true, s->source, sizeof s->source);
    text(&p, "folder", true, s->folder, sizeof s->folder);
    for (const char *c = s->source; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c))
            refuse(&p, "source", "may have letters, digits, '-', '_' and '.' only");
    const json_t *in = json_object_get(root, "input");
    if (!json_is_object(in))
        refuse(&p, "input", "must be an object");
    if (!p.error) {
        struct parser q = {in, "input.", reterr, 0};
        input(&q, s);
        p.error = q.error;
    }
    if (!*s->resource)
        memcpy(s->resource, s->source, sizeof s->source);
    json_decref(root);
    return p.error;
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
