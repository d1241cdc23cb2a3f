// Coordinator side: one raw rep socket. A message's header holds the pipe it came from and the
// sender's request id; kept per node, it lets us push to the node at any time.
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/bytes.h"
#include "engine/link/control_envelope.h"
#include "engine/link/control_socket.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES_MAX 64
#define ALIVE_PERIOD_NS  INT64_C(1000000000)

struct node {
    char name[CONTROL_NAME_MAX + 1];
    uint8_t header[HEADER_BYTES_MAX];
    size_t header_size; // 0: its pipe is gone
    uint32_t pipe;      // the last that a message came by, gone or not
    int64_t alive_ns;   // when it was last sent a message
    struct replay_guard guard;
};

struct control_server {
    struct control_server_config config; // constant after create
    nng_socket socket;
    nng_aio *aio;
    pthread_t thread;
    bool opened, started;
    int port;
    uint64_t instance;
    uint8_t *plain; // owned by the thread
    atomic_bool stopping;
    _Atomic uint64_t sent, received, refused, malformed, replayed;
    pthread_mutex_t lock;
    // -- guarded by lock
    uint64_t sequence;
    int node_count;
    struct node nodes[CONTROL_NODES_MAX]; // by name
    pthread_mutex_t send_lock;            // taken before `lock`
    // -- guarded by send_lock
    uint8_t *packed, *sealed;
};

// Where a node of this name is, or belongs.
static int node_place(const struct control_server *server, const char *name)
{
    int low = 0, high = server->node_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (strcmp(server->nodes[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct node *node_find(struct control_server *server, const char *name)
{
    struct node *node = &server->nodes[node_place(server, name)];
    return node < server->nodes + server->node_count && !strcmp(node->name, name) ? node : NULL;
}

static struct node *node_add(struct control_server *server, const char *name)
{
    int place = node_place(server, name);
    struct node *node = &server->nodes[place];
    if (server->node_count == CONTROL_NODES_MAX)
        return NULL;
    memmove(node + 1, node, (size_t)(server->node_count++ - place) * sizeof *node);
    *node = (struct node){0};
    memcpy(node->name, name, strnlen(name, CONTROL_NAME_MAX));
    return node;
}

// ---- Down -------------------------------------------------------------------------------------

// Seals and sends to the node's newest pipe. Needs send_lock.
static int node_send(struct control_server *server, const char *name,
                     enum control_direction direction, const uint8_t *plain, size_t size)
{
    uint8_t header[HEADER_BYTES_MAX];
    size_t header_size = 0;
    pthread_mutex_lock(&server->lock);
    struct node *node = node_find(server, name);
    if (node) {
        header_size = node->header_size;
        memcpy(header, node->header, header_size);
        node->alive_ns = clock_monotonic_ns();
    }
    pthread_mutex_unlock(&server->lock);
    if (header_size == 0)
        return -ENOENT;
    int length = control_seal(server->config.key, direction, name, plain, size, server->sealed);
    if (length < 0)
        return length;
    nng_msg *message = NULL;
    if (nng_msg_alloc(&message, 0))
        return -ENOMEM;
    if (nng_msg_append(message, server->sealed, (size_t)length) ||
        nng_msg_header_append(message, header, header_size) ||
        nng_sendmsg(server->socket, message, NNG_FLAG_NONBLOCK)) {
        nng_msg_free(message);
        return -EAGAIN;
    }
    server->sent++;
    return 0;
}

static uint64_t sequence_take(struct control_server *server)
{
    pthread_mutex_lock(&server->lock);
    uint64_t sequence = ++server->sequence;
    pthread_mutex_unlock(&server->lock);
    return sequence;
}

int control_server_send(struct control_server *server, const char *node,
                        const desired_state_message *state)
{
    int r = -EMSGSIZE;
    pthread_mutex_lock(&server->send_lock);
    Vistter__Control__V1__DesiredState copy = *state; // shallow: only the addressing is ours
    copy.node = (char *)node;
    copy.coordinator_instance = server->instance;
    copy.sequence = sequence_take(server);
    size_t size = vistter__control__v1__desired_state__get_packed_size(&copy);
    if (size + CONTROL_ENVELOPE_BYTES <= CONTROL_MESSAGE_BYTES_MAX) {
        vistter__control__v1__desired_state__pack(&copy, server->packed);
        r = node_send(server, node, CONTROL_DOWN, server->packed, size);
    }
    OPENSSL_cleanse(server->packed, size <= CONTROL_MESSAGE_BYTES_MAX ? size : 0);
    pthread_mutex_unlock(&server->send_lock);
    return r;
}

static void alive_send(struct control_server *server, const char *node)
{
    uint8_t plain[16];
    pthread_mutex_lock(&server->send_lock);
    put_u64(plain, server->instance);
    put_u64(plain + 8, sequence_take(server));
    // Not sent: the next report tries again.
    (void)node_send(server, node, CONTROL_ALIVE, plain, sizeof plain);
    pthread_mutex_unlock(&server->send_lock);
}

// ---- Up ---------------------------------------------------------------------------------------

// Notes where a node may be reached; false if the message is to be dropped.
static bool node_note(struct control_server *server, const char *name, nng_msg *message,
                      const Vistter__Control__V1__NodeReport *report, bool *ret_alive_due)
{
    int64_t now = clock_monotonic_ns();
    bool accepted = false;
    pthread_mutex_lock(&server->lock);
    struct node *node = node_find(server, name);
    if (!node)
        node = node_add(server, name);
    if (node && replay_guard_accept(&node->guard, report->instance, report->sequence)) {
        uint32_t pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(message));
        accepted = true;
        // What was still in the queue when its pipe went is heard, but says nothing of where to
        // answer.
        if (pipe != node->pipe || node->header_size > 0) {
            node->header_size = nng_msg_header_len(message);
            memcpy(node->header, nng_msg_header(message), node->header_size);
            node->pipe = pipe;
        }
        *ret_alive_due = now - node->alive_ns >= ALIVE_PERIOD_NS;
    }
    pthread_mutex_unlock(&server->lock);
    return accepted;
}

static bool node_gone(struct control_server *server, const char *name)
{
    pthread_mutex_lock(&server->lock);
    const struct node *node = node_find(server, name);
    bool gone = node && node->header_size == 0;
    pthread_mutex_unlock(&server->lock);
    return gone;
}

static void tell_gone(const struct control_server *server, const char *name)
{
    if (server->config.on_gone)
        server->config.on_gone(server->config.opaque, name);
}

static void message_receive(struct control_server *server, nng_msg *message)
{
    enum control_direction direction;
    char name[CONTROL_NAME_MAX + 1];
    int n = control_open(server->config.key, nng_msg_body(message), nng_msg_len(message),
                         &direction, name, server->plain);
    if (n < 0 || direction != CONTROL_UP || nng_msg_header_len(message) > HEADER_BYTES_MAX) {
        server->refused++;
        return;
    }
    Vistter__Control__V1__NodeReport *report = NULL;
    if (control_shape_check(&vistter__control__v1__node_report__descriptor, server->plain,
                            (size_t)n) == 0)
        report = vistter__control__v1__node_report__unpack(NULL, (size_t)n, server->plain);
    bool alive_due = false;
    if (!report || strcmp(report->node, name)) {
        server->malformed++;
    } else if (!node_note(server, name, message, report, &alive_due)) {
        server->replayed++;
    } else {
        server->received++;
        server->config.on_report(server->config.opaque, report);
        if (node_gone(server, name))
            tell_gone(server, name);
        if (alive_due)
            alive_send(server, name);
    }
    if (report)
        vistter__control__v1__node_report__free_unpacked(report, NULL);
}

static void *server_thread(void *opaque)
{
    struct control_server *server = opaque;
    while (!server->stopping) {
        nng_recv_aio(server->socket, server->aio);
        nng_aio_wait(server->aio);
        int error = nng_aio_result(server->aio);
        if (error == NNG_ECANCELED || error == NNG_ECLOSED)
            break;
        if (error)
            continue;
        nng_msg *message = nng_aio_get_msg(server->aio);
        message_receive(server, message);
        nng_msg_free(message);
    }
    return NULL;
}

static void on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *opaque)
{
    (void)event; // registered for one only
    struct control_server *server = opaque;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    char name[CONTROL_NAME_MAX + 1] = "";
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < server->node_count; i++) {
        if (server->nodes[i].pipe != id)
            continue;
        server->nodes[i].header_size = 0;
        memcpy(name, server->nodes[i].name, sizeof name); // a program is one node
    }
    pthread_mutex_unlock(&server->lock);
    if (*name && !server->stopping)
        tell_gone(server, name);
}

// ---- Life -------------------------------------------------------------------------------------

static int server_listen(struct control_server *server, struct diagnostic *reterr)
{
    char url[160];
    nng_listener listener;
    nng_sockaddr address;
    snprintf(url, sizeof url, "tcp://%s", server->config.listen);
    int error = nng_rep0_open_raw(&server->socket);
    if (error)
        goto fail;
    server->opened = true;
    (void)nng_socket_set_int(server->socket, NNG_OPT_SENDBUF, 64);
    (void)nng_socket_set_int(server->socket, NNG_OPT_RECVBUF, 64);
    (void)nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, on_pipe_gone, server);
    if ((error = nng_listener_create(&listener, server->socket, url)))
        goto fail;
    (void)nng_listener_set_size(listener, NNG_OPT_RECVMAXSZ, CONTROL_MESSAGE_BYTES_MAX);
    (void)nng_listener_set_bool(listener, NNG_OPT_TCP_NODELAY, true);
    (void)nng_listener_set_bool(listener, NNG_OPT_TCP_KEEPALIVE, true);
    if ((error = nng_listener_start(listener, 0)) ||
        (error = nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &address)) ||
        (error = nng_aio_alloc(&server->aio, NULL, NULL)))
        goto fail;
    uint16_t port = address.s_family == NNG_AF_INET6 ? address.s_in6.sa_port : address.s_in.sa_port;
    server->port = (port & 0xff) << 8 | port >> 8; // network order
    return 0;
fail:
    return diagnostic_set(reterr, error == NNG_EADDRINUSE ? -EADDRINUSE : -EINVAL, "control_listen",
                          server->config.listen, "nodes cannot be listened for here: %s",
                          nng_strerror(error));
}

int control_server_create(const struct control_server_config *config, struct control_server **ret,
                          struct diagnostic *reterr)
{
    struct control_server *server = base_alloc(sizeof *server);
    server->config = *config;
    pthread_mutex_init(&server->lock, NULL);
    pthread_mutex_init(&server->send_lock, NULL);
    server->plain = malloc(CONTROL_MESSAGE_BYTES_MAX);
    server->packed = malloc(CONTROL_MESSAGE_BYTES_MAX);
    server->sealed = malloc(CONTROL_MESSAGE_BYTES_MAX);
    int r = -ENOMEM;
    if (!server->plain || !server->packed || !server->sealed ||
        RAND_bytes((uint8_t *)&server->instance, sizeof server->instance) != 1)
        diagnostic_set(reterr, r, "out_of_memory", "", "no memory for the control link");
    else
        r = server_listen(server, reterr);
    server->config.listen = NULL; // the caller's
    server->instance |= 1;        // 0 means none
    if (r == 0 && (r = thread_start(&server->thread, "control", server_thread, server)) < 0)
        diagnostic_set(reterr, r, "thread", "", "no thread for the control link");
    if (r < 0) {
        control_server_destroy(&server);
        return r;
    }
    server->started = true;
    *ret = server;
    return 0;
}

int control_server_port(const struct control_server *server)
{
    return server->port;
}

void control_server_stats(struct control_server *server, struct control_link_stats *ret)
{
    *ret = (struct control_link_stats){.sent = server->sent,
                                       .received = server->received,
                                       .refused = server->refused,
                                       .malformed = server->malformed,
                                       .replayed = server->replayed};
}

void control_server_destroy(struct control_server **server_of)
{
    struct control_server *server = *server_of;
    if (!server)
        return;
    *server_of = NULL;
    server->stopping = true;
    if (server->aio)
        nng_aio_stop(server->aio); // ends the wait and refuses further ones
    if (server->started)
        thread_join(server->thread);
    bool stuck = server->opened && !control_socket_close(server->socket);
    if (server->aio)
        nng_aio_free(server->aio);
    OPENSSL_cleanse(server->config.key, sizeof server->config.key);
    free(server->plain);
    free(server->packed);
    free(server->sealed);
    if (stuck)
        return; // on_pipe_gone may still come, which takes the lock and looks at the nodes
    pthread_mutex_destroy(&server->lock);
    pthread_mutex_destroy(&server->send_lock);
    free(server);
}
