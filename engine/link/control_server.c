// The coordinator's side: one raw reply socket; the way back to each node is the header of its
// newest report.
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/control_message.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES_MAX        4096
#define HEADER_BYTES_MAX 64

struct route {
    char node[CONTROL_NODE_MAX + 1];
    uint64_t instance, sequence; // newest report taken
    uint8_t header[HEADER_BYTES_MAX];
    size_t header_size;
};

struct control_server {
    // -- constant after create
    struct control_server_config config;
    nng_socket socket;
    bool open, started;
    pthread_t thread;
    uint64_t instance;
    // -- guarded by lock
    pthread_mutex_t lock;
    uint64_t sequence;
    int route_count;
    struct route *routes;
};

static struct route *find_route(struct control_server *s, const char *node, bool add)
{
    for (int i = 0; i < s->route_count; i++)
        if (!strcmp(s->routes[i].node, node))
            return &s->routes[i];
    if (!add || s->route_count == NODES_MAX)
        return NULL;
    struct route *grown = realloc(s->routes, (size_t)(s->route_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    s->routes = grown;
    struct route *r = &grown[s->route_count++];
    *r = (struct route){0};
    snprintf(r->node, sizeof r->node, "%s", node);
    return r;
}

// Notes the way back; false for what was seen before.
static bool take_route(struct control_server *s, const Vistter__Control__V1__NodeReport *report,
                       nng_msg *msg)
{
    bool fresh = false;
    pthread_mutex_lock(&s->lock);
    struct route *r = find_route(s, report->node, true);
    if (r && (r->instance != report->instance || report->sequence > r->sequence) &&
        nng_msg_header_len(msg) <= HEADER_BYTES_MAX) {
        r->instance = report->instance;
        r->sequence = report->sequence;
        r->header_size = nng_msg_header_len(msg);
        memcpy(r->header, nng_msg_header(msg), r->header_size);
        fresh = true;
    }
    pthread_mutex_unlock(&s->lock);
    return fresh;
}

static void take_report(struct control_server *s, nng_msg *msg)
{
    ProtobufCMessage *message = NULL;
    char node[CONTROL_NODE_MAX + 1];
    int error = control_open(s->config.key, CONTROL_UP, nng_msg_body(msg), nng_msg_len(msg),
                             &vistter__control__v1__node_report__descriptor, node, &message);
    if (error) {
        log_debug("control_refused", "error=%d bytes=%zu", error, nng_msg_len(msg));
        return;
    }
    Vistter__Control__V1__NodeReport *report = (Vistter__Control__V1__NodeReport *)(void *)message;
    if (!strcmp(node, report->node) && take_route(s, report, msg))
        s->config.on_report(s->config.opaque, report);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void *receive_main(void *opaque)
{
    struct control_server *s = opaque;
    nng_msg *msg;
    for (int error; (error = nng_recvmsg(s->socket, &msg, 0)) != NNG_ECLOSED;) {
        if (error)
            continue;
        take_report(s, msg);
        nng_msg_free(msg);
    }
    return NULL;
}

int control_server_create(const struct control_server_config *config, struct control_server **ret,
                          struct diagnostic *reterr)
{
    struct control_server *s = base_alloc(sizeof *s);
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    char url[300];
    snprintf(url, sizeof url, "tcp://%s", config->listen);
    nng_listener listener;
    int error = nng_rep0_open_raw(&s->socket);
    s->open = !error;
    if (!error)
        error = nng_socket_set_size(s->socket, NNG_OPT_RECVMAXSZ, CONTROL_MESSAGE_BYTES_MAX);
    if (!error)
        error = nng_listener_create(&listener, s->socket, url);
    if (!error)
        error = nng_listener_start(listener, 0);
    if (error) {
        error = diagnostic_set(reterr, -EADDRINUSE, "control_listen", config->listen, "%s",
                               nng_strerror(error));
    } else {
        error = RAND_bytes((unsigned char *)&s->instance, sizeof s->instance) == 1 ? 0 : -EIO;
        if (!error)
            error = thread_start(&s->thread, "control", receive_main, s);
        s->started = !error;
    }
    if (error) {
        control_server_destroy(&s);
        return error;
    }
    *ret = s;
    return 0;
}

void control_server_destroy(struct control_server **server)
{
    struct control_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    if (s->open)
        nng_close(s->socket);
    if (s->started)
        thread_join(s->thread);
    pthread_mutex_destroy(&s->lock);
    free(s->routes);
    free(s);
}

int control_server_send(struct control_server *s, const char *node,
                        const desired_state_message *state)
{
    desired_state_message copy = *state;
    nng_msg *msg = NULL;
    uint8_t *bytes = NULL;
    size_t size;
    pthread_mutex_lock(&s->lock);
    struct route *r = find_route(s, node, false);
    int error = r ? 0 : -ENOENT;
    if (!error) {
        copy.coordinator_instance = s->instance;
        copy.sequence = ++s->sequence;
        error = control_seal(s->config.key, CONTROL_DOWN, node, &copy.base, &bytes, &size);
    }
    if (!error && (nng_msg_alloc(&msg, 0) || nng_msg_append(msg, bytes, size) ||
                   nng_msg_header_append(msg, r->header, r->header_size)))
        error = -ENOMEM;
    if (!error && nng_sendmsg(s->socket, msg, NNG_FLAG_NONBLOCK))
        error = -EAGAIN;
    if (error && msg)
        nng_msg_free(msg);
    pthread_mutex_unlock(&s->lock);
    free(bytes);
    return error;
}
