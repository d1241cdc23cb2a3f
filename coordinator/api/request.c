#include "coordinator/api/request.h"

#include "coordinator/api/connection.h"
#include "engine/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

// A body must be complete after this long; civetweb's own limit starts anew with every byte.
#define BODY_NS        INT64_C(30000000000)
#define JSON_DEPTH_MAX 32

bool request_origin_ok(const struct mg_connection *connection)
{
    const char *origin = mg_get_header(connection, "Origin");
    const char *host = mg_get_header(connection, "Host");
    if (!origin)
        return true;
    const char *authority = strstr(origin, "://");
    return host && authority && !strcmp(authority + 3, host);
}

// ---- Who is meant -----------------------------------------------------------------------------

static bool is_address(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    return inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1;
}

// The host of "host", "host:port", "[address]:port" or a URL, lower case not minded.
static void take_host(const char *from, char *ret, size_t size)
{
    const char *authority = strstr(from, "://");
    from = authority ? authority + 3 : from;
    bool bracket = *from == '[';
    from += bracket;
    snprintf(ret, size, "%.*s", (int)strcspn(from, bracket ? "]" : ":/"), from);
}

static bool is_listed(const char *host, const char *names)
{
    size_t length = strlen(host);
    for (; *names; names += strcspn(names, ","), names += *names == ',')
        if (strcspn(names, ",") == length && !strncasecmp(names, host, length))
            return true;
    return false;
}

bool request_host_ok(const struct request *r)
{
    const struct coordinator_settings *settings = coordinator_settings(r->coordinator);
    const char *header = mg_get_header(r->connection, "Host");
    char host[256], own[256];
    if (!header)
        return true; // a program: browsers always say whom they mean
    take_host(header, host, sizeof host);
    if (is_address(host) || !strcasecmp(host, "localhost") || is_listed(host, settings->http_names))
        return true;
    const char *ours[] = {settings->http_listen, settings->media_url, own};
    if (gethostname(own, sizeof own))
        own[0] = 0;
    own[sizeof own - 1] = 0;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        char name[256];
        take_host(ours[i], name, sizeof name);
        if (!strcasecmp(host, name))
            return true;
    }
    return false;
}

// ---- Answers ----------------------------------------------------------------------------------

// civetweb 1.15 misspells this one.
static const char *status_title(struct request *r, int status)
{
    return status == 422 ? "Unprocessable Entity"
                         : mg_get_response_code_text(r->connection, status);
}

bool request_is_unread(const struct request *r)
{
    return r->info && r->info->content_length > 0 && !r->body_read;
}

static void send_head(struct request *r, int status, const char *type, size_t size)
{
    mg_printf(r->connection,
              "HTTP/1.1 %d %s\r\n"
              "Content-Type: %s\r\n"
              "Content-Length: %zu\r\n"
              "%s%s%s%s" ANSWER_MARK "Cache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\n\r\n",
              status, status_title(r, status), type, size, r->allow ? "Allow: " : "",
              r->allow ? r->allow : "", r->allow ? "\r\n" : "",
              r->close || request_is_unread(r) ? "Connection: close\r\n" : "");
}

bool request_is_head(const struct request *r)
{
    // What could not be read as HTTP has no method.
    return r->info && r->info->request_method && !strcmp(r->info->request_method, "HEAD");
}

int answer_text(struct request *r, int status, const char *type, const char *text)
{
    size_t size = strlen(text);
    send_head(r, status, type, size);
    if (!request_is_head(r))
        mg_write(r->connection, text, size);
    return status;
}

int answer_json(struct request *r, int status, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return answer_refusal(r, 500, "memory", "", "out of memory");
    answer_text(r, status, "application/json", text);
    free(text);
    return status;
}

int answer_empty(struct request *r, int status)
{
    mg_printf(r->connection,
              "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n" ANSWER_MARK
              "Cache-Control: no-store\r\n\r\n",
              status, mg_get_response_code_text(r->connection, status));
    return status;
}

// How many bytes the character has that begins here; 0: none does.
static size_t character(const char *text, size_t left)
{
    for (size_t k = 1; k <= 4 && k <= left; k++) {
        json_t *one = json_stringn(text, k);
        json_decref(one);
        if (one)
            return k;
    }
    return 0;
}

// Whether these last bytes are the beginning of a character.
static bool is_cut(const char *text, size_t left)
{
    size_t k = 1;
    while (k < left && (text[k] & 0xc0) == 0x80)
        k++;
    return (text[0] & 0xc0) == 0xc0 && k == left && k < 4;
}

json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    size_t size = strlen(text), used = 0;
    char *plain = malloc(3 * size + 1);
    for (size_t i = 0; plain && i < size;) {
        size_t k = character(text + i, size - i);
        if (!k && is_cut(text + i, size - i))
            break;
        memcpy(plain + used, k ? text + i : "\xef\xbf\xbd", k ? k : 3);
        used += k ? k : 3;
        i += k ? k : 1;
    }
    value = plain ? json_stringn(plain, used) : NULL;
    free(plain);
    return value;
}

static int send_problem(struct request *r, int status, const char *code, const char *path,
                        const char *text)
{
    json_t *body = json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "type", "about:blank", "title",
                             status_title(r, status), "status", status, "code", code, "path",
                             json_text(path), "detail", json_text(text));
    char *json = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    answer_text(r, status, "application/problem+json", json ? json : "{}");
    free(json);
    return status;
}

int answer_problem(struct request *r, const struct diagnostic *problem)
{
    int status = 422;
    switch (-problem->error) {
    case ENOENT:
        status = 404;
        break;
    case EEXIST:
    case EBUSY:
        status = 409;
        break;
    case EIO:
    case ETIMEDOUT:
    case EREMOTEIO:
    case ESTALE:
        status = 503;
        break;
    case ENOSPC:
        status = 507;
        break;
    case ENOMEM:
        status = 500;
        break;
    default:
        break;
    }
    return send_problem(r, status, problem->code, problem->path, problem->text);
}

int answer_refusal(struct request *r, int status, const char *code, const char *path,
                   const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return send_problem(r, status, code, path, text);
}

int request_body(struct request *r, size_t max, char **ret, size_t *ret_size)
{
    long long length = r->info->content_length;
    if (length < 0)
        return answer_refusal(r, 411, "length_required", "", "send Content-Length");
    if ((unsigned long long)length > max)
        return answer_refusal(r, 413, "too_large", "", "at most %zu bytes are taken here", max);
    char *bytes = malloc((size_t)length + 1);
    if (!bytes)
        return answer_refusal(r, 500, "memory", "", "out of memory");
    int64_t deadline = clock_monotonic_ns() + BODY_NS;
    size_t got = 0;
    int socket = connection_socket(r->connection);
    while (got < (size_t)length && clock_monotonic_ns() < deadline) {
        int n = connection_read(r->connection, socket, bytes + got, (size_t)length - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    r->body_read = got == (size_t)length;
    if (!r->body_read) {
        free(bytes);
        return answer_refusal(r, 408, "body_incomplete", "", "the body did not arrive whole");
    }
    bytes[got] = 0;
    *ret = bytes;
    *ret_size = got;
    return 0;
}

// The parser recurses, and civetweb's threads have stacks of 100 kB, which its own limit of 2048
// levels overruns.
static bool nesting_ok(const char *bytes, size_t size)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        if (quoted && bytes[i] == '\\')
            i++;
        else if (bytes[i] == '"')
            quoted = !quoted;
        else if (!quoted && (bytes[i] == '[' || bytes[i] == '{') && ++depth > JSON_DEPTH_MAX)
            return false;
        else if (!quoted && (bytes[i] == ']' || bytes[i] == '}'))
            depth--;
    }
    return true;
}

int request_json_body(struct request *r, size_t max, char **ret, size_t *ret_size)
{
    static const char json[] = "application/json";
    const char *type = mg_get_header(r->connection, "Content-Type");
    if (!type || strncasecmp(type, json, strlen(json)) || !strchr("; ", type[strlen(json)]))
        return answer_refusal(r, 415, "media_type", "", "send Content-Type: application/json");
    return request_body(r, max, ret, ret_size);
}

int request_json(struct request *r, const char *const *allowed, json_t **ret)
{
    char *bytes;
    size_t size;
    int status = request_json_body(r, BODY_BYTES_MAX, &bytes, &size);
    if (status)
        return status;
    if (!nesting_ok(bytes, size)) {
        free(bytes);
        return answer_refusal(r, 400, "json", "", "is nested deeper than %d levels",
                              JSON_DEPTH_MAX);
    }
    json_error_t why;
    json_t *body = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &why);
    free(bytes);
    if (!json_is_object(body)) {
        bool parsed = body != NULL;
        json_decref(body);
        char where[64];
        snprintf(where, sizeof where, "line %d, column %d", why.line, why.column);
        return answer_refusal(r, parsed ? 422 : 400, "json", parsed ? "" : where, "%s",
                              parsed ? "must be a JSON object" : why.text);
    }
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        int i = 0;
        while (allowed[i] && strcmp(allowed[i], key))
            i++;
        if (!allowed[i]) {
            status = answer_refusal(r, 422, "unknown_field", key, "is not known here");
            json_decref(body);
            return status;
        }
    }
    *ret = body;
    return 0;
}

const char *request_query(struct request *r, const char *name, char *buffer, size_t size)
{
    const char *query = r->info->query_string;
    if (!query || mg_get_var(query, strlen(query), name, buffer, size) < 0)
        return NULL;
    return buffer;
}
