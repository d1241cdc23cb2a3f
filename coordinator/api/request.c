#include "coordinator/api/request.h"

#include "engine/base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

// A body must be complete after this long; civetweb's own limit starts anew with every byte.
#define BODY_SECONDS   30
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

// civetweb 1.15 misspells this one.
static const char *status_title(struct request *r, int status)
{
    return status == 422 ? "Unprocessable Entity"
                         : mg_get_response_code_text(r->connection, status);
}

static void send_head(struct request *r, int status, const char *type, size_t size)
{
    mg_printf(r->connection,
              "HTTP/1.1 %d %s\r\n"
              "Content-Type: %s\r\n"
              "Content-Length: %zu\r\n"
              "Cache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\n\r\n",
              status, status_title(r, status), type, size);
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
              "HTTP/1.1 %d %s\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n", status,
              mg_get_response_code_text(r->connection, status));
    return status;
}

// Text that may quote a request: bytes that are no UTF-8, or were cut in two, become '?'.
static json_t *quoted_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char plain[1024];
    snprintf(plain, sizeof plain, "%s", text);
    for (char *c = plain; *c; c++)
        if (*c & 0x80)
            *c = '?';
    return json_string(plain);
}

static int send_problem(struct request *r, int status, const char *code, const char *path,
                        const char *text)
{
    json_t *body = json_pack("{s:s, s:s, s:i, s:s, s:o, s:o}", "type", "about:blank", "title",
                             status_title(r, status), "status", status, "code", code, "path",
                             quoted_text(path), "detail", quoted_text(text));
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
    case ESTALE:
    case EBUSY:
        status = 409;
        break;
    case EIO:
    case ETIMEDOUT:
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
    if ((unsigned long long)length > max) {
        // What has not been read must not be taken for the next request.
        mg_printf(r->connection,
                  "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\n"
                  "Content-Type: application/problem+json\r\n\r\n"
                  "{\"type\":\"about:blank\",\"title\":\"Payload Too Large\","
                  "\"status\":413,\"code\":\"too_large\",\"path\":\"\","
                  "\"detail\":\"at most %zu bytes are taken here\"}",
                  max);
        return 413;
    }
    char *bytes = malloc((size_t)length + 1);
    if (!bytes)
        return answer_refusal(r, 500, "memory", "", "out of memory");
    int64_t deadline = clock_monotonic_ns() + BODY_SECONDS * INT64_C(1000000000);
    size_t got = 0;
    while (got < (size_t)length && clock_monotonic_ns() < deadline) {
        int n = mg_read(r->connection, bytes + got, (size_t)length - got);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    if (got < (size_t)length) {
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
