#include "coordinator/api/api.h"

#include "console/console.h"
#include "coordinator/api/connection.h"
#include "coordinator/api/forward.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/live.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT "/api/v1/"

struct api {
    struct coordinator *coordinator;
    struct mg_context *context;
    struct live *live;
    struct forward *forward;
    struct connection_guard *guard;
    char listen_error[256]; // civetweb's last words while starting
};

// One row per path and method. `*` stands for any one part.
static const struct route {
    const char *path, *methods;
    int (*handle)(struct request *r);
} routes[] = {
    {"status", "GET HEAD", handle_status},
    {"nodes", "GET HEAD", handle_nodes},
    {"nodes/*/drain", "PUT DELETE", handle_node_drain},
    {"channels", "GET HEAD POST", handle_channels},
    {"channels/*", "GET HEAD DELETE", handle_channel},
    {"channels/*/start", "POST", handle_channel_start},
    {"channels/*/stop", "POST", handle_channel_stop},
    {"channels/*/timeline", "PUT", handle_channel_timeline},
    {"channels/*/events", "GET HEAD", handle_channel_events},
    {"channels/*/takes", "POST", handle_channel_takes},
    {"channels/*/slate", "PUT DELETE", handle_channel_slate},
    {"channels/*/redundancy", "PUT", handle_channel_redundancy},
    {"channels/*/edges", "PUT", handle_channel_edges},
    {"channels/*/outputs", "GET HEAD POST", handle_outputs},
    {"channels/*/outputs/*", "DELETE", handle_output},
    {"channels/*/destinations", "GET HEAD POST", handle_destinations},
    {"channels/*/destinations/*", "DELETE", handle_destination},
    {"sources", "GET HEAD", handle_sources},
    {"sources/*", "GET HEAD PUT DELETE", handle_source},
    {"timelines", "GET HEAD", handle_timelines},
    {"timelines/check", "POST", handle_timeline_check},
    {"timelines/*", "GET HEAD PUT", handle_timeline},
    {"media", "GET HEAD", handle_media_list},
    {"media/*", "GET HEAD PUT", handle_media},
    {"media/*/crashes", "DELETE", handle_media_crashes},
};

// Cuts `path` in place; returns how many parts it has, or -1 beyond the bound.
static int split(char *path, const char **parts)
{
    int count = 0;
    for (char *rest = path; rest; count++) {
        if (count == PATH_PARTS_MAX)
            return -1;
        parts[count] = rest;
        rest = strchr(rest, '/');
        if (rest)
            *rest++ = 0;
    }
    return count;
}

static bool matches(const struct route *route, const struct request *r)
{
    char pattern[128];
    const char *parts[PATH_PARTS_MAX];
    snprintf(pattern, sizeof pattern, "%s", route->path);
    if (split(pattern, parts) != r->part_count)
        return false;
    for (int i = 0; i < r->part_count; i++)
        if (strcmp(parts[i], "*") ? strcmp(parts[i], r->part[i]) != 0 : !r->part[i][0])
            return false;
    return true;
}

static bool allows(const char *methods, const char *method)
{
    size_t length = strlen(method);
    const char *at = strstr(methods, method);
    return at && (at == methods || at[-1] == ' ') && (!at[length] || at[length] == ' ');
}

static int answer_method(struct request *r, const struct route *route)
{
    char allow[64];
    size_t used = 0;
    for (const char *c = route->methods; *c && used + 2 < sizeof allow; c++) {
        if (*c == ' ')
            allow[used++] = ',';
        allow[used++] = *c;
    }
    allow[used] = 0;
    r->allow = allow;
    int status = answer_refusal(r, 405, "method", "", "%s is allowed here", allow);
    r->allow = NULL;
    return status;
}

// Two framings of one body are how requests are smuggled past a proxy.
static bool framing_ok(const struct mg_request_info *info)
{
    int lengths = 0, codings = 0;
    for (int i = 0; i < info->num_headers; i++) {
        lengths += !strcasecmp(info->http_headers[i].name, "Content-Length");
        codings += !strcasecmp(info->http_headers[i].name, "Transfer-Encoding");
    }
    return lengths <= 1 && codings == 0;
}

// A page of another origin must not act in an operator's browser: a POST without a body needs no
// leave to be sent. Programs send no Origin.
static bool may_change(const struct request *r)
{
    const char *method = r->info->request_method;
    return !strcmp(method, "GET") || !strcmp(method, "HEAD") || request_origin_ok(r->connection);
}

static bool is_utf8(const char *text)
{
    json_t *value = json_string(text);
    json_decref(value);
    return value;
}

static int serve_api(struct api *api, struct request *r)
{
    char path[1024];
    if (!framing_ok(r->info))
        return answer_refusal(r, 400, "framing", "",
                              "send one Content-Length and no Transfer-Encoding");
    // No name holds such bytes, and the database would refuse to look.
    if (!is_utf8(r->info->local_uri))
        return answer_refusal(r, 404, "not_found", "", "there is nothing here");
    if (!may_change(r))
        return answer_refusal(r, 403, "foreign_origin", "",
                              "a page of another origin may not change anything here");
    struct coordinator_leader leader;
    coordinator_leader(api->coordinator, &leader);
    if (!leader.here)
        return forward_serve(api->forward, r, &leader);
    snprintf(path, sizeof path, "%s", r->info->local_uri + strlen(ROOT));
    if (!strcmp(path, "live"))
        return live_serve(api->live, r);
    r->part_count = split(path, r->part);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!matches(&routes[i], r))
            continue;
        if (!allows(routes[i].methods, r->info->request_method))
            return answer_method(r, &routes[i]);
        return routes[i].handle(r);
    }
    return answer_refusal(r, 404, "not_found", r->info->local_uri, "there is nothing here");
}

static int serve_page(struct request *r)
{
    static const struct route page = {"", "GET HEAD", NULL};
    const char *path = strcmp(r->info->local_uri, "/") ? r->info->local_uri + 1 : "index.html";
    for (size_t i = 0; i < console_file_count; i++) {
        const struct console_file *f = &console_files[i];
        if (strcmp(f->path, path))
            continue;
        if (!allows(page.methods, r->info->request_method))
            return answer_method(r, &page);
        mg_printf(r->connection,
                  "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n" ANSWER_MARK
                  "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
                  "Content-Security-Policy: default-src 'self'; media-src blob:; "
                  "connect-src 'self' ws: http: https:; frame-ancestors 'none'\r\n\r\n",
                  f->type, f->size);
        if (!request_is_head(r))
            mg_write(r->connection, f->bytes, f->size);
        return 200;
    }
    return answer_refusal(r, 404, "not_found", r->info->local_uri, "there is nothing here");
}

// All requests, WebSockets included: what civetweb would do with them is not ours.
static int on_request(struct mg_connection *connection)
{
    struct api *api = mg_get_user_data(mg_get_context(connection));
    struct request r = {
        .connection = connection,
        .info = mg_get_request_info(connection),
        .coordinator = api->coordinator,
        .store = coordinator_store(api->coordinator),
    };
    int status;
    if (!request_host_ok(&r))
        status = answer_refusal(&r, 403, "foreign_host", "",
                                "this server does not go by the name in Host; http-names lists "
                                "the names that it has");
    else if (!strncmp(r.info->local_uri, ROOT, strlen(ROOT)))
        status = serve_api(api, &r);
    else
        status = serve_page(&r);
    bool unread = request_is_unread(&r);
    if (r.close || unread)
        mg_disable_connection_keep_alive(connection);
    if (unread)
        connection_linger(connection_socket(connection));
    return status;
}

static int on_http_error(struct mg_connection *connection, int status, const char *message)
{
    (void)message;
    struct request r = {
        .connection = connection, .info = mg_get_request_info(connection), .close = true};
    mg_disable_connection_keep_alive(connection);
    answer_refusal(&r, status, "http", "", "%s", mg_get_response_code_text(connection, status));
    return 0;
}

static int on_log(const struct mg_connection *connection, const char *message)
{
    struct api *api = mg_get_user_data(mg_get_context(connection));
    if (api && !api->context)
        snprintf(api->listen_error, sizeof api->listen_error, "%s", message);
    log_debug("http", "text=\"%s\"", message);
    return 1;
}

static int start_server(struct api *api, struct diagnostic *reterr)
{
    char threads[16];
    snprintf(threads, sizeof threads, "%d", CONNECTIONS_MAX);
    const char *options[] = {
        "listening_ports",
        coordinator_settings(api->coordinator)->http_listen,
        "num_threads",
        threads,
        "request_timeout_ms",
        "10000",
        "enable_keep_alive",
        "yes",
        "keep_alive_timeout_ms",
        "5000",
        "access_control_allow_origin",
        "",
        "enable_directory_listing",
        "no",
        "tcp_nodelay",
        "1",
        NULL,
    };
    struct mg_callbacks callbacks = {
        .begin_request = on_request, .http_error = on_http_error, .log_message = on_log};
    mg_init_library(0);
    struct mg_context *context = mg_start(&callbacks, api, options);
    if (!context) {
        mg_exit_library();
        return diagnostic_set(reterr, -EADDRINUSE, "http_listen", "http-listen",
                              "'%s' cannot be listened on: %s",
                              coordinator_settings(api->coordinator)->http_listen,
                              api->listen_error[0] ? api->listen_error : "civetweb gave no reason");
    }
    api->context = context;
    struct mg_server_port port = {0};
    if (mg_get_server_ports(context, 1, &port) > 0)
        connection_guard_watch(api->guard, port.port);
    return 0;
}

int api_create(struct coordinator *coordinator, struct api **ret, struct diagnostic *reterr)
{
    struct api *api = base_alloc(sizeof *api);
    api->coordinator = coordinator;
    api->forward = forward_create(coordinator);
    int error = connection_guard_create(&api->guard);
    if (!error)
        error = live_create(coordinator, &api->live);
    if (error)
        diagnostic_set(reterr, error, "thread", "", "no thread for the API");
    if (!error)
        error = start_server(api, reterr);
    if (error) {
        api_destroy(&api);
        return error;
    }
    *ret = api;
    return 0;
}

uint64_t api_turns(const struct api *a)
{
    return live_turns(a->live);
}

void api_destroy(struct api **api)
{
    struct api *a = *api;
    if (!a)
        return;
    *api = NULL;
    if (a->live)
        live_close(a->live);
    forward_close(a->forward);
    if (a->context) {
        mg_stop(a->context);
        mg_exit_library();
    }
    live_destroy(&a->live);
    forward_destroy(&a->forward);
    connection_guard_destroy(&a->guard);
    free(a);
}

void api_disconnect(struct api *api)
{
    live_disconnect(api->live);
}

void api_announce_timeline(struct api *api, const char *name, const struct store_revision *revision)
{
    json_t *body = json_pack("{s:s, s:s, s:I, s:s}", "type", "timeline:update", "name", name,
                             "revision", (json_int_t)revision->number, "sha256", revision->sha256);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text)
        live_send(api->live, text);
    free(text);
    json_decref(body);
}

void api_announce_take(struct api *api, const char *channel, const struct json_t *take,
                       const struct farm_took *took)
{
    json_t *message = json_pack("{s:s, s:s, s:I, s:I, s:O}", "type", "broadcast:take", "channel",
                                channel, "sequence", (json_int_t)took->sequence, "at_frame",
                                (json_int_t)took->at_frame, "take", take);
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    if (text)
        live_send(api->live, text);
    free(text);
    json_decref(message);
}
