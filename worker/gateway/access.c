#include "worker/gateway/access.h"

#include <srt/access_control.h>
#include <srt/srt.h>
#include <stddef.h>
#include <string.h>

#define VALUE_MAX 512 // of a whole stream id

// What is refused for one key; 0: it is all right.
static int check_pair(const struct access_rule *rule, const char *key, const char *value)
{
    if (!strcmp(key, "r"))
        return strcmp(value, rule->resource) ? SRT_REJX_NOTFOUND : 0;
    if (!strcmp(key, "m"))
        return strcmp(value, "publish") ? SRT_REJX_BAD_MODE : 0;
    if (!strcmp(key, "u"))
        return rule->user && strcmp(value, rule->user) ? SRT_REJX_UNAUTHORIZED : 0;
    if (!strcmp(key, "t"))
        return strcmp(value, "stream") ? SRT_REJX_NOTSUP_MEDIA : 0;
    return 0; // h, s and those of others
}

int access_check(const struct access_rule *rule, const char *id)
{
    bool resource = false, mode = false, user = false;
    if (strncmp(id, "#!", 2) != 0) {
        int reason = check_pair(rule, "r", id);
        return reason           ? reason
               : rule->user     ? SRT_REJX_UNAUTHORIZED
               : rule->occupied ? SRT_REJX_CONFLICT
                                : 0;
    }
    if (strncmp(id, "#!::", 4) != 0)
        return SRT_REJX_BAD_REQUEST;
    for (const char *at = id + 4; *at;) {
        size_t size = strcspn(at, ",");
        char pair[VALUE_MAX + 1];
        if (size >= sizeof pair)
            return SRT_REJX_BAD_REQUEST;
        memcpy(pair, at, size);
        pair[size] = 0;
        char *equals = strchr(pair, '=');
        if (!equals || equals == pair)
            return SRT_REJX_BAD_REQUEST;
        *equals = 0;
        int reason = check_pair(rule, pair, equals + 1);
        if (reason)
            return reason;
        resource = resource || !strcmp(pair, "r");
        mode = mode || !strcmp(pair, "m");
        user = user || !strcmp(pair, "u");
        at += size + (at[size] == ',');
    }
    if (!resource)
        return SRT_REJX_NOTFOUND;
    if (!mode) // it is "request" where it is not said
        return SRT_REJX_BAD_MODE;
    if (rule->user && !user)
        return SRT_REJX_UNAUTHORIZED;
    return rule->occupied ? SRT_REJX_CONFLICT : 0;
}

const char *access_reason(int reason)
{
    switch (reason) {
    case SRT_REJX_BAD_REQUEST:
        return "the stream id is not well formed";
    case SRT_REJX_NOTFOUND:
        return "the stream id names another source";
    case SRT_REJX_BAD_MODE:
        return "the stream id does not say m=publish";
    case SRT_REJX_UNAUTHORIZED:
        return "the stream id names another user, or none";
    case SRT_REJX_NOTSUP_MEDIA:
        return "the stream id asks for something else than a stream";
    case SRT_REJX_CONFLICT:
        return "somebody else is sending already";
    case SRT_REJ_BADSECRET:
        return "the passphrase is wrong";
    case SRT_REJ_UNSECURE:
        return "one side has a passphrase, the other has none";
    case SRT_REJ_TIMEOUT:
        return "no answer";
    default:
        return reason > 0 && reason < SRT_REJ_E_SIZE ? srt_rejectreason_str(reason)
                                                     : "the other side refuses";
    }
}
