#include "worker/rtmp.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SECOND_NS  INT64_C(1000000000)
#define CALLS_MAX  64
#define CALL_BYTES 4096
#define CALL_NS    (5 * SECOND_NS) // for what a call is, and for whom it waits
#define END_NS     (2 * SECOND_NS) // for the server when the worker ends

// As a worker may end without a word, the kernel ends the server then. One process: another one
// below it would not be told.
static const char *const server_argv[] = {
    "/usr/bin/setpriv", "--pdeathsig", "KILL", "/usr/sbin/nginx", "-p", "./", "-e", "stderr", "-c",
    "nginx.conf",       NULL};

// A hook that the server has asked by, and is waiting for.
struct call {
    int fd;
    int64_t since_ns;
    bool asked;
    size_t size;
    char text[CALL_BYTES]; // secret: holds keys
};

struct rtmp {
    char folder[PATH_MAX];
    char listen[128], lines[400]; // as given, and for nginx
    int port;
    struct door door;
    struct child server;
    bool begun;      // the folder is there, and the server has been started
    pid_t pid;       // of the server that the door knows of
    int door_fd;     // -1: none
    char error[640]; // why it cannot begin
    int64_t retry_ns;
    struct call *calls[CALLS_MAX]; // in the order they came
    int call_count;
    struct log_limit refusals;
};

// ---- Where it listens ---------------------------------------------------------------------------

// nginx has to be reached on loopback too.
static int set_listen(struct rtmp *r, const char *listen)
{
    const char *colon = strrchr(listen, ':');
    size_t host = colon ? (size_t)(colon - listen) : 0;
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : 0;
    bool bracket = host > 2 && *listen == '[' && listen[host - 1] == ']';
    if (!end || *end || colon[1] < '0' || colon[1] > '9' || port < 1 || port > 65535 ||
        strlen(listen) >= sizeof r->listen ||
        strspn(listen + bracket, bracket ? "0123456789abcdefABCDEF:." : "0123456789.*") !=
            host - 2 * bracket)
        return -EINVAL;
    r->port = (int)port;
    snprintf(r->listen, sizeof r->listen, "%s", listen);
    if (!host || !strncmp(listen, "*:", 2) || !strncmp(listen, "0.0.0.0:", 8))
        snprintf(r->lines, sizeof r->lines, "listen 0.0.0.0:%d;", r->port);
    else if (!strncmp(listen, "[::]:", 5))
        snprintf(r->lines, sizeof r->lines, "listen [::]:%d ipv6only=on; listen 0.0.0.0:%d;",
                 r->port, r->port);
    else if (!strncmp(listen, "127.0.0.1:", 10))
        snprintf(r->lines, sizeof r->lines, "listen 127.0.0.1:%d;", r->port);
    else
        snprintf(r->lines, sizeof r->lines, "listen %s; listen 127.0.0.1:%d;", listen, r->port);
    return 0;
}

int rtmp_create(const char *folder, const char *listen, struct rtmp **ret,
                struct diagnostic *reterr)
{
    struct rtmp *r = base_alloc(sizeof *r);
    r->door_fd = -1;
    int length = snprintf(r->folder, sizeof r->folder, "%s", folder);
    int error = length < (int)sizeof r->folder ? set_listen(r, listen) : -ENAMETOOLONG;
    if (error) {
        free(r);
        return diagnostic_set(reterr, error, "rtmp_listen", listen,
                              "must be an address and a port, e.g. 0.0.0.0:1935 or [::]:1935");
    }
    child_init(&r->server, "nginx", server_argv, NULL);
    r->server.folder = r->folder;
    *ret = r;
    return 0;
}

void rtmp_url(const struct rtmp *r, const char *source, char *ret, size_t size)
{
    snprintf(ret, size, "rtmp://127.0.0.1:%d/live/%s", r->port, source);
}

// ---- The folder and the server ------------------------------------------------------------------

static int write_settings(const struct rtmp *r, int folder)
{
    int fd =
        openat(folder, "nginx.conf", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    // A key picture may be large; a sender that says nothing for five seconds has gone. Who looks
    // on is told when a sender comes and goes, and meanwhile waits (idle_streams).
    int n = dprintf(fd,
                    "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n"
                    "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr emerg;\n"
                    "events { worker_connections 4096; }\n"
                    "rtmp {\n"
                    "    access_log off;\n"
                    "    server {\n"
                    "        %s\n"
                    "        timeout 20s;\n"
                    "        chunk_size 4096;\n"
                    "        max_message 16M;\n"
                    "        notify_method get;\n"
                    "        application live {\n"
                    "            live on;\n"
                    "            record off;\n"
                    "            idle_streams on;\n"
                    "            publish_notify on;\n"
                    "            drop_idle_publisher 5s;\n"
                    "            allow play 127.0.0.1;\n"
                    "            deny play all;\n"
                    "            on_publish http://unix:door:/publish;\n"
                    "            on_publish_done http://unix:door:/publish_done;\n"
                    "            on_play http://unix:door:/play;\n"
                    "            on_play_done http://unix:door:/play_done;\n"
                    "            on_update http://unix:door:/update;\n"
                    "            notify_update_timeout 500ms;\n"
                    "        }\n"
                    "    }\n"
                    "}\n",
                    r->lines);
    int error = n < 0 ? -errno : 0;
    close(fd);
    return error;
}

// Through the folder's descriptor: a socket's name is short, a folder's need not be.
static int open_door(struct rtmp *r, int folder)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/door", folder);
    (void)unlinkat(folder, "door", 0); // of a worker that was killed
    r->door_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (r->door_fd < 0 || bind(r->door_fd, (struct sockaddr *)&address, sizeof address) ||
        listen(r->door_fd, 4 * CALLS_MAX))
        return -errno;
    return 0;
}

static void close_call(struct rtmp *r, int i)
{
    close(r->calls[i]->fd);
    explicit_bzero(r->calls[i], sizeof *r->calls[i]);
    free(r->calls[i]);
    memmove(&r->calls[i], &r->calls[i + 1], (size_t)(--r->call_count - i) * sizeof r->calls[0]);
}

static void close_door(struct rtmp *r)
{
    static const char *const names[] = {"nginx.conf", "nginx.pid", "door"};
    while (r->call_count)
        close_call(r, 0);
    if (r->door_fd >= 0)
        close(r->door_fd);
    r->door_fd = -1;
    int folder = open(r->folder, O_DIRECTORY | O_PATH | O_CLOEXEC | O_NOFOLLOW);
    for (size_t i = 0; folder >= 0 && i < sizeof names / sizeof names[0]; i++)
        (void)unlinkat(folder, names[i], 0);
    if (folder >= 0)
        close(folder);
    r->begun = false;
}

static void begin(struct rtmp *r, int64_t now_ns)
{
    int error = mkdir(r->folder, 0700) && errno != EEXIST ? -errno : 0;
    int folder = error ? -1 : open(r->folder, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (!error && (folder < 0 || fchmod(folder, 0700)))
        error = -errno;
    if (!error)
        error = write_settings(r, folder);
    if (!error)
        error = open_door(r, folder);
    if (folder >= 0)
        close(folder);
    r->begun = !error;
    r->error[0] = 0;
    if (!error)
        return;
    close_door(r);
    snprintf(r->error, sizeof r->error, "the RTMP server's folder cannot be made: %s",
             strerror(-error));
    r->retry_ns = now_ns + SECOND_NS;
}

// ---- What the server asks -----------------------------------------------------------------------

static int digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

// The first of that name: a sender's own arguments follow, and may say anything.
static bool parameter(const char *query, const char *name, char *ret, size_t size)
{
    size_t length = strlen(name), n = 0;
    const char *at = query;
    while (at && (strncmp(at, name, length) != 0 || at[length] != '='))
        at = (at = strchr(at, '&')) ? at + 1 : NULL;
    ret[0] = 0;
    if (!at)
        return false;
    for (at += length + 1; *at && *at != '&'; at++) {
        char c = *at;
        if (c == '%' && digit(at[1]) >= 0 && digit(at[2]) >= 0) {
            c = (char)(digit(at[1]) << 4 | digit(at[2]));
            at += 2;
        }
        if (n + 1 == size || !c)
            return ret[0] = 0, false;
        ret[n++] = c;
    }
    ret[n] = 0;
    return true;
}

// What is asked stands in the path, which is ours; in the query it could be a sender's.
static bool parse(char *text, struct door_call *ret)
{
    static const char *const paths[] = {[DOOR_PUBLISH] = "/publish",
                                        [DOOR_PUBLISH_DONE] = "/publish_done",
                                        [DOOR_PLAY] = "/play",
                                        [DOOR_PLAY_DONE] = "/play_done",
                                        [DOOR_UPDATE] = "/update"};
    char *line = strstr(text, "GET ") == text ? text + 4 : NULL;
    char *query = line ? strchr(line, '?') : NULL, *end = query ? strchr(query, ' ') : NULL;
    char client[24];
    if (!end)
        return false;
    *query++ = *end = 0;
    int hook = 0;
    while (hook <= DOOR_UPDATE && strcmp(paths[hook], line) != 0)
        hook++;
    *ret = (struct door_call){.hook = (enum door_hook)hook};
    if (hook > DOOR_UPDATE || !parameter(query, "clientid", client, sizeof client) ||
        !parameter(query, "addr", ret->address, sizeof ret->address))
        return false;
    ret->client = strtoull(client, NULL, 10);
    (void)parameter(query, "name", ret->name, sizeof ret->name); // too long: no key
    for (char *c = ret->address; *c; c++)
        *c = strchr("0123456789abcdefABCDEF.:", *c) ? *c : '?';
    return true;
}

static void answer(int fd, enum door_answer a, const struct door_source *source)
{
    char text[256];
    int n = a == DOOR_YES && source
                ? snprintf(text, sizeof text, "HTTP/1.0 302 Found\r\nLocation: %s\r\n\r\n",
                           source->name)
                : snprintf(text, sizeof text, "HTTP/1.0 %s\r\n\r\n",
                           a == DOOR_YES ? "200 OK" : "403 Forbidden");
    (void)!send(fd, text, (size_t)n, MSG_NOSIGNAL);
}

// Whether the call is over.
static bool serve(struct rtmp *r, struct call *c, int64_t now_ns)
{
    bool late = now_ns - c->since_ns > CALL_NS;
    for (ssize_t n; c->size < sizeof c->text - 1; c->size += (size_t)n) {
        n = read(c->fd, c->text + c->size, sizeof c->text - 1 - c->size);
        if (n == 0)
            return true; // whoever came has left
        if (n < 0)
            break;
    }
    c->text[c->size] = 0;
    bool whole = c->asked || strstr(c->text, "\r\n\r\n");
    if (!whole && (late || c->size == sizeof c->text - 1))
        answer(c->fd, DOOR_NO, NULL);
    if (!whole)
        return late || c->size == sizeof c->text - 1;
    char text[CALL_BYTES];
    struct door_call call = {.hook = DOOR_UPDATE};
    const struct door_source *source = NULL;
    memcpy(text, c->text, c->size + 1);
    enum door_answer a =
        parse(text, &call) ? door_ask(&r->door, &call, c->asked, now_ns, &source) : DOOR_NO;
    explicit_bzero(text, sizeof text);
    explicit_bzero(call.name, sizeof call.name);
    uint64_t refused = a == DOOR_NO && call.hook == DOOR_PUBLISH
                           ? log_limit(&r->refusals, now_ns, 10 * SECOND_NS)
                           : 0;
    if (refused)
        log_warning("rtmp_refused", "address=%s count=%" PRIu64, call.address, refused);
    c->asked = true;
    if (a == DOOR_LATER && !late)
        return false;
    answer(c->fd, a, source);
    if (source)
        log_info("rtmp_sender", "source=%s address=%s", source->name, source->address);
    return true;
}

static void answer_calls(struct rtmp *r, int64_t now_ns)
{
    int fd;
    while (r->call_count < CALLS_MAX &&
           (fd = accept4(r->door_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct call *c = r->calls[r->call_count++] = base_alloc(sizeof *c);
        c->fd = fd;
        c->since_ns = now_ns;
        if (r->server.pid) // else it is a call of one that has ended
            r->server.error[0] = 0;
    }
    for (int i = 0; i < r->call_count;)
        if (serve(r, r->calls[i], now_ns))
            close_call(r, i);
        else
            i++;
}

// ---- Its life -----------------------------------------------------------------------------------

void rtmp_follow(struct rtmp *r, const struct door_key *keys, size_t count)
{
    door_follow(&r->door, keys, count);
}

void rtmp_step(struct rtmp *r, int64_t now_ns)
{
    if (!r->door.source_count) {
        if (r->begun && !child_stop(&r->server)) {
            close_door(r);
            r->pid = 0;
            child_init(&r->server, "nginx", server_argv, NULL);
            r->server.folder = r->folder;
            log_info("rtmp_ended", "listen=%s", r->listen);
        }
        return;
    }
    if (!r->begun && now_ns >= r->retry_ns)
        begin(r, now_ns);
    if (!r->begun)
        return;
    child_step(&r->server, now_ns);
    if (r->server.pid != r->pid) {
        r->pid = r->server.pid;
        while (r->call_count)
            close_call(r, 0);
        door_reset(&r->door);
    }
    answer_calls(r, now_ns);
    door_expire(&r->door, now_ns);
}

struct rtmp_facts rtmp_facts(const struct rtmp *r, const char *source)
{
    const struct door_source *s = door_find(&r->door, source);
    const struct door_refusal *own = s ? &s->refusal : NULL, *all = &r->door.refusal;
    const struct door_refusal *last = own && own->why && own->at_ns >= all->at_ns ? own : all;
    return (struct rtmp_facts){
        .listen = r->listen,
        .sender = s && s->client ? s->address : "",
        .connections = s ? s->connections : 0,
        .refusals = all->count + (own ? own->count : 0),
        .refused = last->address,
        .refusal = last->why ? last->why : "",
        .error = *r->error ? r->error : r->server.error,
    };
}

void rtmp_destroy(struct rtmp **rtmp)
{
    struct rtmp *r = *rtmp;
    if (!r)
        return;
    *rtmp = NULL;
    for (int64_t end_ns = clock_monotonic_ns() + END_NS;
         child_stop(&r->server) && clock_monotonic_ns() < end_ns;)
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
    child_finish(&r->server);
    if (r->begun)
        close_door(r);
    explicit_bzero(r, sizeof *r);
    free(r);
}
