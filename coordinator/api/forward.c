#include "coordinator/api/forward.h"

#include "coordinator/api/connection.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MARK        "X-Vistter-Forwarded"
#define CONNECT_NS  INT64_C(1500000000)
#define LOOK_MS     250 // between looks whether the leader leads still
#define PIECE_BYTES 16384
#define LINE_BYTES  256

struct forward {
    struct coordinator *coordinator;
    atomic_bool closing;
    _Atomic int count;
};

// One request on its way.
struct passage {
    struct forward *forward;
    struct request *r;
    const struct coordinator_leader *leader;
    int client, socket; // to the leader
    int status;         // that it has answered with; 0: none yet
    char line[LINE_BYTES];
    size_t line_size;
};

static bool is_over(const struct passage *p)
{
    struct coordinator_leader now;
    coordinator_leader(p->forward->coordinator, &now);
    return atomic_load(&p->forward->closing) || now.here ||
           strcmp(now.api_url, p->leader->api_url) != 0;
}

// Waits for one of two sockets. False: it is over.
static bool wait_for(const struct passage *p, struct pollfd fds[2])
{
    for (;;) {
        int n = poll(fds, 2, LOOK_MS);
        if (n > 0)
            return true;
        if ((n < 0 && errno != EINTR) || is_over(p))
            return false;
    }
}

// ---- To the leader ----------------------------------------------------------------------------

static int connect_socket(const struct addrinfo *at)
{
    int yes = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    struct pollfd p = {fd, POLLOUT, 0};
    int error = 0;
    socklen_t size = sizeof error;
    if (!connect(fd, at->ai_addr, at->ai_addrlen) ||
        (errno == EINPROGRESS && poll(&p, 1, (int)(CONNECT_NS / 1000000)) == 1 &&
         !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error))
        return fd;
    close(fd);
    return -1;
}

// "http://host:port" -> "host:port", without what may follow.
static void take_authority(const char *url, char *ret, size_t size)
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    snprintf(ret, size, "%.*s", (int)strcspn(at, "/"), at);
}

static int dial(const char *authority)
{
    char host[256];
    const char *port = strrchr(authority, ':');
    bool bracket = *authority == '[';
    snprintf(host, sizeof host, "%.*s",
             (int)(port ? (size_t)(port - authority) : strlen(authority)) - 2 * bracket,
             authority + bracket);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo(host, port ? port + 1 : "80", &hints, &list))
        return -1;
    int fd = -1;
    for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_socket(at);
    freeaddrinfo(list);
    return fd;
}

static bool send_all(const struct passage *p, const char *bytes, size_t size)
{
    while (size) {
        ssize_t n = send(p->socket, bytes, size, MSG_NOSIGNAL);
        struct pollfd fds[2] = {{p->socket, POLLOUT, 0}, {-1, 0, 0}};
        if (n < 0 && (errno != EAGAIN || !wait_for(p, fds)))
            return false;
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

// Of a connection, not of the request; or judged and said by us.
static bool is_ours(const char *name)
{
    static const char *const names[] = {
        "Host", "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding",
        "TE",   "Trailer",    "Expect",     "Origin",           "Upgrade",
        MARK};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcasecmp(name, names[i]))
            return true;
    return false;
}

static bool send_head(const struct passage *p, const char *authority)
{
    const struct mg_request_info *info = p->r->info;
    const char *upgrade = mg_get_header(p->r->connection, "Upgrade");
    bool socket = upgrade && !strcasecmp(upgrade, "websocket");
    char *head = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&head, &size);
    if (!file)
        return false;
    fprintf(file, "%s %s%s%s HTTP/1.1\r\nHost: %s\r\n" MARK ": %s\r\nConnection: %s\r\n%s",
            info->request_method, info->request_uri, info->query_string ? "?" : "",
            info->query_string ? info->query_string : "", authority,
            coordinator_settings(p->r->coordinator)->name, socket ? "Upgrade" : "close",
            socket ? "Upgrade: websocket\r\n" : "");
    for (int i = 0; i < info->num_headers; i++)
        if (!is_ours(info->http_headers[i].name))
            fprintf(file, "%s: %s\r\n", info->http_headers[i].name, info->http_headers[i].value);
    fputs("\r\n", file);
    bool ok = !fclose(file) && send_all(p, head, size);
    if (head)
        explicit_bzero(head, size);
    free(head);
    return ok;
}

// An answer that comes early ends it: what is left of the body is of no interest.
static bool has_answer(const struct passage *p)
{
    struct pollfd fd = {p->socket, POLLIN, 0};
    return poll(&fd, 1, 0) > 0;
}

static bool send_body(const struct passage *p)
{
    char bytes[PIECE_BYTES];
    long long left = p->r->info->content_length;
    while (left > 0 && !has_answer(p)) {
        int n = connection_read(p->r->connection, p->client, bytes,
                                left < PIECE_BYTES ? (size_t)left : PIECE_BYTES);
        if (n <= 0 || !send_all(p, bytes, (size_t)n))
            break;
        left -= n;
    }
    explicit_bzero(bytes, sizeof bytes); // it may hold a stream key
    p->r->body_read = left <= 0;
    return p->r->body_read || has_answer(p);
}

// ---- Back to the client -----------------------------------------------------------------------

static bool give(const struct passage *p, const char *bytes, size_t size)
{
    return !size || mg_write(p->r->connection, bytes, size) > 0;
}

// The first line says what it is; behind it we say that the connection ends with the answer.
static bool give_answer(struct passage *p, const char *bytes, size_t size)
{
    if (p->status)
        return give(p, bytes, size);
    size_t n = size < LINE_BYTES - p->line_size ? size : LINE_BYTES - p->line_size;
    memcpy(p->line + p->line_size, bytes, n);
    p->line_size += n;
    const char *end = memmem(p->line, p->line_size, "\r\n", 2);
    if (!end)
        return p->line_size < LINE_BYTES;
    if (memcmp(p->line, "HTTP/1.1 ", 9) != 0 || end - p->line < 12)
        return false;
    p->status = (int)strtol(p->line + 9, NULL, 10);
    size_t head = (size_t)(end + 2 - p->line);
    static const char ends[] = "Connection: close\r\n";
    return give(p, p->line, head) && give(p, ends, p->status == 101 ? 0 : strlen(ends)) &&
           give(p, p->line + head, p->line_size - head) && give(p, bytes + n, size - n);
}

// Until the leader has said all; a WebSocket's client speaks, too.
static void pass(struct passage *p)
{
    char bytes[PIECE_BYTES];
    for (bool ok = true; ok;) {
        struct pollfd fds[2] = {{p->socket, POLLIN, 0},
                                {p->status == 101 ? p->client : -1, POLLIN, 0}};
        if (!wait_for(p, fds))
            return;
        if (fds[0].revents) {
            ssize_t n = recv(p->socket, bytes, sizeof bytes, 0);
            ok = n > 0 ? give_answer(p, bytes, (size_t)n) : n < 0 && errno == EAGAIN;
        }
        if (ok && fds[1].revents) {
            ssize_t n = recv(p->client, bytes, sizeof bytes, MSG_DONTWAIT);
            ok = n > 0 ? send_all(p, bytes, (size_t)n) : n < 0 && errno == EAGAIN;
        }
    }
}

static int pass_request(struct passage *p)
{
    char authority[256];
    take_authority(p->leader->api_url, authority, sizeof authority);
    p->client = connection_socket(p->r->connection);
    p->socket = dial(authority);
    if (p->socket < 0)
        return answer_refusal(p->r, 503, "no_leader", "", "%s leads, and does not answer at %s",
                              p->leader->name, p->leader->api_url);
    if (send_head(p, authority) && send_body(p))
        pass(p);
    close(p->socket);
    return p->status
               ? p->status
               : answer_refusal(p->r, 503, "leader_lost", "",
                                "%s, which leads, has not answered; look before you try again",
                                p->leader->name);
}

int forward_serve(struct forward *f, struct request *r, const struct coordinator_leader *leader)
{
    r->close = true;
    if (mg_get_header(r->connection, MARK))
        return answer_refusal(r, 503, "no_leader", "", "%s does not lead",
                              coordinator_settings(r->coordinator)->name);
    if (!*leader->api_url)
        return answer_refusal(r, 503, "no_leader", "",
                              "no coordinator leads; this one waits for %s",
                              leader->waits_for ? leader->waits_for : "its lease");
    if (*r->info->request_uri != '/')
        return answer_refusal(r, 400, "request_target", "", "name the path alone");
    if (mg_get_header(r->connection, "Upgrade") && !request_origin_ok(r->connection))
        return answer_refusal(r, 403, "foreign_origin", "",
                              "a page of another origin may not listen here");
    int status = 503;
    if (atomic_fetch_add(&f->count, 1) < FORWARDS_MAX) {
        struct passage p = {.forward = f, .r = r, .leader = leader};
        status = pass_request(&p);
    } else {
        answer_refusal(r, status, "too_many_forwards", "",
                       "this coordinator does not lead, and asks the one that does for %d already",
                       FORWARDS_MAX);
    }
    atomic_fetch_sub(&f->count, 1);
    return status;
}

// ---- Life -------------------------------------------------------------------------------------

struct forward *forward_create(struct coordinator *coordinator)
{
    struct forward *f = base_alloc(sizeof *f);
    f->coordinator = coordinator;
    return f;
}

void forward_close(struct forward *f)
{
    atomic_store(&f->closing, true);
}

void forward_destroy(struct forward **forward)
{
    free(*forward);
    *forward = NULL;
}
