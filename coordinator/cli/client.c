#include "coordinator/cli/client.h"

#include "coordinator/cli/field.h"
#include "engine/base/thread.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT            "/api/v1"
#define CONNECT_MS      5000L
#define ANSWER_MS       60000L
#define STALL_SECONDS   900L        // an import on the server moves no bytes meanwhile
#define REPLY_BYTES_MAX (64u << 20) // more than any answer has

#define SERVERS_MAX 8

struct client {
    CURL *curl;
    char *servers[SERVERS_MAX]; // without a slash at their ends
    int count, current;
    const char *server; // servers[current]
    bool not_taken;     // what was asked last has not been done: nobody was there, or led
    char error[CURL_ERROR_SIZE];
};

static bool is_url(const char *server)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *query = NULL, *fragment = NULL;
    bool is = url && !curl_url_set(url, CURLUPART_URL, server, 0) &&
              !curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) &&
              (!strcmp(scheme, "http") || !strcmp(scheme, "https")) &&
              curl_url_get(url, CURLUPART_QUERY, &query, 0) == CURLUE_NO_QUERY &&
              curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_NO_FRAGMENT;
    curl_free(scheme);
    curl_free(query);
    curl_free(fragment);
    curl_url_cleanup(url);
    return is;
}

static int add_server(struct client *client, const char *url, size_t length,
                      struct diagnostic *reterr)
{
    char *server = strndup(url, length);
    for (size_t n = length; server && n && server[n - 1] == '/'; n--)
        server[n - 1] = 0;
    if (!server || client->count == SERVERS_MAX || !is_url(server)) {
        free(server);
        return diagnostic_set(reterr, -EINVAL, "server_url", "--server",
                              "'%.*s' is not a URL such as " CLIENT_SERVER
                              ", one of at most %d, with commas",
                              (int)length, url, SERVERS_MAX);
    }
    client->servers[client->count++] = server;
    return 0;
}

int client_create(const char *server, struct client **ret, struct diagnostic *reterr)
{
    struct client *client = base_alloc(sizeof *client);
    int error = 0;
    for (const char *at = server; !error; at++) {
        size_t length = strcspn(at, ",");
        error = add_server(client, at, length, reterr);
        at += length;
        if (!*at)
            break;
    }
    if (!error) {
        client->server = client->servers[0];
        client->curl = curl_global_init(CURL_GLOBAL_DEFAULT) ? NULL : curl_easy_init();
        if (!client->curl)
            error =
                diagnostic_set(reterr, -ENOMEM, "http_client", "", "the HTTP client cannot start");
    }
    if (error) {
        client_destroy(&client);
        return error;
    }
    *ret = client;
    return 0;
}

void client_destroy(struct client **client)
{
    struct client *c = *client;
    if (!c)
        return;
    *client = NULL;
    curl_easy_cleanup(c->curl);
    for (int i = 0; i < c->count; i++)
        free(c->servers[i]);
    free(c);
}

// After a request that nobody has taken: whether to ask another server, which is the current one
// then. `*tried` begins with 0.
static bool next_server(struct client *client, int error, int *tried, struct client_reply *reply)
{
    if (!error || !client->not_taken || ++*tried == client->count)
        return false;
    client->current = (client->current + 1) % client->count;
    client->server = client->servers[client->current];
    client_reply_finish(reply);
    return true;
}

int client_path(const char *const *segments, char *buffer, size_t size, struct diagnostic *reterr)
{
    size_t length = 0;
    for (; *segments; segments++) {
        // Servers and proxies resolve these, which would mean another resource.
        if (!**segments || !strcmp(*segments, ".") || !strcmp(*segments, ".."))
            return diagnostic_set(reterr, -EINVAL, "name", "", "'%s' is not a name", *segments);
        char *escaped = curl_easy_escape(NULL, *segments, 0);
        int n = escaped ? snprintf(buffer + length, size - length, "/%s", escaped) : 0;
        curl_free(escaped);
        if (n <= 0)
            return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "out of memory");
        length += (size_t)n;
        if (length >= size)
            return diagnostic_set(reterr, -EINVAL, "name", "", "'%.40s...' is too long for a name",
                                  *segments);
    }
    return 0;
}

static size_t on_bytes(char *bytes, size_t one, size_t size, void *opaque)
{
    struct client_reply *reply = opaque;
    (void)one; // always 1
    if (size > REPLY_BYTES_MAX - reply->size)
        return 0;
    char *grown = realloc(reply->body, reply->size + size + 1);
    if (!grown)
        return 0;
    memcpy(grown + reply->size, bytes, size);
    reply->body = grown;
    reply->size += size;
    reply->body[reply->size] = 0;
    return size;
}

void client_reply_finish(struct client_reply *reply)
{
    json_decref(reply->json);
    free(reply->body);
    *reply = (struct client_reply){0};
}

static int refuse_reply(const struct client *client, const struct client_reply *reply,
                        struct diagnostic *reterr)
{
    const char *detail = field_text(reply->json, "detail"),
               *title = field_text(reply->json, "title");
    const char *code = field_text(reply->json, "code");
    if (*detail || *title)
        return diagnostic_set(reterr, -EREMOTEIO, *code ? code : "refused",
                              field_text(reply->json, "path"), "%s", *detail ? detail : title);
    return diagnostic_set(reterr, -EREMOTEIO, "refused", client->server,
                          "answers with status %ld and no explanation", reply->status);
}

static int explain_failure(const struct client *client, CURLcode code, struct diagnostic *reterr)
{
    const char *why = client->error[0] ? client->error : curl_easy_strerror(code);
    if (code == CURLE_WRITE_ERROR)
        return diagnostic_set(reterr, -EPROTO, "answer_too_large", client->server,
                              "the answer is larger than any of a coordinator");
    if (code == CURLE_ABORTED_BY_CALLBACK || code == CURLE_READ_ERROR)
        return diagnostic_set(reterr, -EIO, "file_unreadable", "", "cannot be read to its end");
    return diagnostic_set(reterr, -EHOSTUNREACH, "unreachable", client->server, "%s", why);
}

static void set_common(struct client *client, const char *method, const char *url,
                       struct client_reply *reply)
{
    CURL *curl = client->curl;
    curl_easy_reset(curl); // keeps the connection
    client->error[0] = 0;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->error);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    // A farm is in the own network; a proxy for the world outside would not find it.
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "vistter/" VISTTER_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    if (!strcmp(method, "HEAD"))
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static int perform(struct client *client, struct curl_slist *headers, struct client_reply *reply,
                   struct diagnostic *reterr)
{
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = curl_easy_perform(client->curl);
    curl_off_t asked_us = 0; // when it began to be sent
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_easy_getinfo(client->curl, CURLINFO_PRETRANSFER_TIME_T, &asked_us);
    client->not_taken = code != CURLE_OK && asked_us == 0;
    const char *type = NULL;
    curl_easy_getinfo(client->curl, CURLINFO_CONTENT_TYPE, &type);
    curl_slist_free_all(headers);
    // A server that refuses an upload may close before it has read everything; its answer counts.
    bool answered = reply->status >= 400 && code == CURLE_SEND_ERROR;
    if (code != CURLE_OK && !answered)
        return explain_failure(client, code, reterr);
    if (reply->body && type && strstr(type, "json"))
        reply->json = json_loadb(reply->body, reply->size, JSON_DECODE_ANY, NULL);
    struct curl_header *mark;
    if (reply->status >= 200 && reply->status < 300)
        return curl_easy_header(client->curl, "X-Vistter", 0, CURLH_HEADER, -1, &mark) == CURLHE_OK
                   ? 0
                   : diagnostic_set(reterr, -EPROTO, "no_coordinator", client->server,
                                    "answers, but is no coordinator of Vistter");
    client->not_taken = !strcmp(field_text(reply->json, "code"), "no_leader");
    return refuse_reply(client, reply, reterr);
}

static char *make_url(const struct client *client, const char *path)
{
    size_t size = strlen(client->server) + strlen(ROOT) + strlen(path) + 1;
    char *url = base_alloc(size);
    snprintf(url, size, "%s" ROOT "%s", client->server, path);
    return url;
}

static int send_once(struct client *client, const char *method, const char *path, const char *bytes,
                     size_t size, struct client_reply *ret, struct diagnostic *reterr)
{
    *ret = (struct client_reply){0};
    char *url = make_url(client, path);
    set_common(client, method, url, ret);
    free(url);
    curl_easy_setopt(client->curl, CURLOPT_TIMEOUT_MS, ANSWER_MS);
    // No "100 Continue" round: bodies are small, and the answer says all.
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (bytes) {
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, bytes);
        headers = curl_slist_append(headers, "Content-Type: application/json");
    } else if (!strcmp(method, "POST") || !strcmp(method, "PUT")) {
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, "");
        headers = curl_slist_append(headers, "Content-Type: application/json");
    }
    return perform(client, headers, ret, reterr);
}

int client_send(struct client *client, const char *method, const char *path, const char *bytes,
                size_t size, struct client_reply *ret, struct diagnostic *reterr)
{
    int error, tried = 0;
    do
        error = send_once(client, method, path, bytes, size, ret, reterr);
    while (next_server(client, error, &tried, ret));
    return error;
}

int client_request(struct client *client, const char *method, const char *path, const json_t *body,
                   struct client_reply *ret, struct diagnostic *reterr)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text) {
        *ret = (struct client_reply){0};
        return diagnostic_set(reterr, -EINVAL, "arguments", "", "not valid UTF-8");
    }
    size_t size = text ? strlen(text) : 0;
    int error = client_send(client, method, path, text, size, ret, reterr);
    if (text)
        explicit_bzero(text, size); // it may hold a stream key
    free(text);
    return error;
}

int client_has_media(struct client *client, const char *sha256, struct diagnostic *reterr)
{
    char path[80];
    struct client_reply reply;
    snprintf(path, sizeof path, "/media/%s", sha256);
    int error = client_send(client, "HEAD", path, NULL, 0, &reply, reterr);
    long status = reply.status;
    client_reply_finish(&reply);
    if (error == -EREMOTEIO && status == 404)
        return 0;
    return error ? error : 1;
}

struct upload_state {
    const struct client_upload *upload;
    int64_t total;
};

static int on_progress(void *opaque, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct upload_state *state = opaque;
    (void)down_total;
    (void)down;
    (void)up_total; // 0 until the transfer begins
    if (state->upload->progress)
        state->upload->progress(state->upload->opaque, up, state->total);
    return 0;
}

static int set_source(struct client *client, const struct client_upload *upload, FILE **ret_file,
                      int64_t *ret_size, struct diagnostic *reterr)
{
    CURL *curl = client->curl;
    struct stat st;
    if (!upload->path) {
        *ret_file = upload->size ? fmemopen((void *)(uintptr_t)upload->bytes, upload->size, "rb")
                                 : NULL; // fmemopen refuses size 0; so does the server
        *ret_size = (int64_t)upload->size;
    } else {
        *ret_file = fopen(upload->path, "rbe");
        if (*ret_file && !fstat(fileno(*ret_file), &st))
            *ret_size = st.st_size;
    }
    if (!*ret_file)
        return diagnostic_set(reterr, -errno, "file_unreadable", upload->path ? upload->path : "",
                              "%s", strerror(errno));
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READDATA, *ret_file); // by fread, libcurl's own
    curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)*ret_size);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    return 0;
}

static int upload_once(struct client *client, const struct client_upload *upload,
                       struct client_reply *ret, struct diagnostic *reterr)
{
    *ret = (struct client_reply){0};
    char *name = curl_easy_escape(client->curl, upload->name, 0);
    size_t size = strlen(upload->sha256) + (name ? strlen(name) : 0) + 32;
    char *path = base_alloc(size);
    snprintf(path, size, "/media/%s?name=%s", upload->sha256, name ? name : "");
    char *url = make_url(client, path);
    set_common(client, "PUT", url, ret);
    curl_free(name);
    free(path);
    free(url);
    struct upload_state state = {.upload = upload};
    FILE *file = NULL;
    int error = set_source(client, upload, &file, &state.total, reterr);
    if (!error) {
        curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(client->curl, CURLOPT_XFERINFODATA, &state);
        struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
        headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
        error = perform(client, headers, ret, reterr);
    }
    if (file)
        fclose(file);
    return error;
}

int client_upload_media(struct client *client, const struct client_upload *upload,
                        struct client_reply *ret, struct diagnostic *reterr)
{
    int error, tried = 0;
    do
        error = upload_once(client, upload, ret, reterr);
    while (next_server(client, error, &tried, ret));
    return error;
}
