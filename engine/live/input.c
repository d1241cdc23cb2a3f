#include "engine/live/input.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"srt-listen", "srt-call", "srt-rendezvous", "pull", "rtmp"};
#define KINDS (int)(sizeof kinds / sizeof kinds[0])

struct parser {
    const json_t *object;
    struct diagnostic *reterr;
    int error;
};

static void refuse(struct parser *p, const char *name, const char *why)
{
    char path[128];
    if (p->error)
        return;
    snprintf(path, sizeof path, "input%s%s", *name ? "." : "", name);
    p->error = diagnostic_set(p->reterr, -EINVAL, "live_input", path, "%s", why);
}

static bool has_control(const char *text)
{
    while (*text && !iscntrl((unsigned char)*text))
        text++;
    return *text;
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
    else if (has_control(found))
        refuse(p, name, "must not hold control characters");
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

static void key(struct parser *p, const char *given)
{
    static const char permitted[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if (strlen(given) < 16 || given[strspn(given, permitted)])
        refuse(p, "key", "must have 16 to 64 letters, digits, '-' and '_'");
}

// Whether it can be one; names are looked up by the gateway only, which may take seconds.
static void address(struct parser *p, const char *name, const char *given, bool host_needed)
{
    const char *colon = strrchr(given, ':');
    size_t host = colon ? (size_t)(colon - given) : 0;
    bool bracket = host && *given == '[';
    char *end = NULL;
    long port = colon && isdigit((unsigned char)colon[1]) ? strtol(colon + 1, &end, 10) : 0;
    bool whole = end && !*end && port >= 1 && port <= 65535;
    bool closed = bracket ? host > 2 && given[host - 1] == ']' : !memchr(given, ':', host);
    if (!whole || !closed || (host_needed && !host) || strchr(given, ' '))
        refuse(p, name, "must be host:port, or [address]:port");
}

static void input(struct parser *p, struct live_input *in)
{
    static const char *const names[][10] = {
        {"kind", "listen", "resource", "user", "passphrase", "key_bytes", "latency_ms"},
        {"kind", "address", "stream_id", "passphrase", "key_bytes", "latency_ms"},
        {"kind", "address", "listen", "passphrase", "key_bytes", "latency_ms"},
        {"kind", "url"},
        {"kind", "key"},
    };
    char kind[20] = "";
    text(p, "kind", true, kind, sizeof kind);
    int i = 0;
    while (i < KINDS && strcmp(kinds[i], kind) != 0)
        i++;
    if (i == KINDS) {
        refuse(p, "kind", "must be srt-listen, srt-call, srt-rendezvous, pull or rtmp");
        return;
    }
    in->kind = (enum live_input_kind)i;
    only(p, names[i]);
    bool listens = in->kind == LIVE_INPUT_SRT_LISTEN || in->kind == LIVE_INPUT_SRT_RENDEZVOUS;
    bool calls = in->kind == LIVE_INPUT_SRT_CALL || in->kind == LIVE_INPUT_SRT_RENDEZVOUS;
    text(p, "listen", listens, in->listen, sizeof in->listen);
    text(p, "address", calls, in->address, sizeof in->address);
    text(p, "resource", false, in->resource, sizeof in->resource);
    text(p, "user", false, in->user, sizeof in->user);
    text(p, "stream_id", false, in->stream_id, sizeof in->stream_id);
    text(p, "passphrase", false, in->passphrase, sizeof in->passphrase);
    text(p, "url", in->kind == LIVE_INPUT_PULL, in->url, sizeof in->url);
    text(p, "key", in->kind == LIVE_INPUT_RTMP, in->key, sizeof in->key);
    number(p, "key_bytes", 16, 32, &in->key_bytes);
    number(p, "latency_ms", 20, 8000, &in->latency_ms);
    if (listens)
        address(p, "listen", in->listen, false);
    if (calls)
        address(p, "address", in->address, true);
    if (*in->passphrase && strlen(in->passphrase) < 10)
        refuse(p, "passphrase", "must have 10 to 79 characters");
    if (in->key_bytes % 8)
        refuse(p, "key_bytes", "must be 16, 24 or 32");
    if (in->kind == LIVE_INPUT_PULL)
        url(p, in->url);
    if (in->kind == LIVE_INPUT_RTMP)
        key(p, in->key);
}

int live_input_parse(const json_t *object, const char *source, struct live_input *ret,
                     struct diagnostic *reterr)
{
    struct parser p = {object, reterr, 0};
    *ret = (struct live_input){.latency_ms = 200};
    if (json_is_object(object))
        input(&p, ret);
    else
        refuse(&p, "", "must be an object");
    if (!p.error && ret->kind == LIVE_INPUT_SRT_LISTEN && !*ret->resource)
        snprintf(ret->resource, sizeof ret->resource, "%s", source);
    return p.error;
}

static void hide_url(struct live_input *in)
{
    char shown[sizeof in->url];
    const char *from = strstr(in->url, "://");
    from = from ? from + 3 : in->url;
    int authority = (int)strcspn(from, "/?#"), user = 0, scheme = (int)(from - in->url);
    for (int i = 0; i < authority; i++)
        user = from[i] == '@' ? i + 1 : user;
    // Behind an authority without a user '@' may end a password that holds what should be escaped.
    bool unsure = !user && strchr(from, '@');
    snprintf(shown, sizeof shown, "%.*s%.*s%s", scheme, in->url, unsure ? 0 : authority - user,
             from + user,
             unsure            ? "***"
             : from[authority] ? "/***"
                               : "");
    explicit_bzero(in->url, sizeof in->url);
    memcpy(in->url, shown, strlen(shown) + 1);
}

static void hide(char *secret)
{
    bool any = *secret;
    explicit_bzero(secret, strlen(secret));
    memcpy(secret, "***", any ? 4 : 0);
}

void live_input_hide(struct live_input *in)
{
    if (in->kind == LIVE_INPUT_PULL)
        hide_url(in);
    hide(in->passphrase);
    hide(in->stream_id);
    hide(in->key);
}

json_t *live_input_show(const struct live_input *input)
{
    struct live_input in = *input;
    live_input_hide(&in);
    bool listens = in.kind == LIVE_INPUT_SRT_LISTEN || in.kind == LIVE_INPUT_SRT_RENDEZVOUS;
    json_t *shown = json_pack("{s:s}", "kind", kinds[in.kind]);
    if (in.kind == LIVE_INPUT_PULL) {
        json_object_set_new(shown, "url", json_string(in.url));
        return shown;
    }
    if (in.kind == LIVE_INPUT_RTMP)
        return shown;
    if (listens)
        json_object_set_new(shown, "listen", json_string(in.listen));
    if (in.kind == LIVE_INPUT_SRT_LISTEN) {
        json_object_set_new(shown, "resource", json_string(in.resource));
        json_object_set_new(shown, "user", json_string(in.user));
    } else {
        json_object_set_new(shown, "address", json_string(in.address));
    }
    if (in.kind == LIVE_INPUT_SRT_CALL)
        json_object_set_new(shown, "has_stream_id", json_boolean(*in.stream_id));
    json_object_set_new(shown, "has_passphrase", json_boolean(*in.passphrase));
    json_object_set_new(shown, "key_bytes", json_integer(in.key_bytes));
    json_object_set_new(shown, "latency_ms", json_integer(in.latency_ms));
    return shown;
}
