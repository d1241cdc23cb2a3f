// The node's side: one raw request socket per coordinator, so that a report reaches all of them and
// none waits for another.
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/control_message.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COORDINATORS_MAX 8
// Raw sockets carry the request's identity in the header; the high bit ends the list of hops.
#define REQUEST_ID UINT32_C(0x80000001)

struct connection {
    struct control_client *client;
    nng_socket socket;
    bool open, started;
    pthread_t thread;
    // -- own thread
    uint64_t instance, sequence; // newest state taken from this coordinator
};

struct control_client {
    // -- constant after create
    struct control_client_config config;
    char node[CONTROL_NODE_MAX + 1];
    uint64_t instance;
    int connection_count;
    struct connection connections[COORDINATORS_MAX];
    // -- guarded by lock
    pthread_mutex_t lock;
    uint64_t sequence;
};

static void take_state(struct connection *c, const uint8_t *bytes, size_t size)
{
    struct control_client *client = c->client;
    ProtobufCMessage *message = NULL;
    char node[CONTROL_NODE_MAX + 1];
    int error = control_open(client->config.key, CONTROL_DOWN, bytes, size,
                             &vistter__control__v1__desired_state__descriptor, node, &message);
    if (error) {
        log_debug("control_refused", "error=%d bytes=%zu", error, size);
        return;
    }
    Vistter__Control__V1__DesiredState *state =
        (Vistter__Control__V1__DesiredState *)(void *)message;
    bool repeated = state->coordinator_instance == c->instance && state->sequence <= c->sequence;
    if (!strcmp(node, client->node) && !repeated) {
        c->instance = state->coordinator_instance;
        c->sequence = state->sequence;
        client->config.on_state(client->config.opaque, state);
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

static void *receive_main(void *opaque)
{
    struct connection *c = opaque;
    nng_msg *msg;
    // Ends when the socket is closed.
    for (int error; (error = nng_recvmsg(c->socket, &msg, 0)) != NNG_ECLOSED;) {
        if (error)
            continue;
        take_state(c, nng_msg_body(msg), nng_msg_len(msg));
        nng_msg_free(msg);
    }
    return NULL;
}

static int open_connection(struct control_client *client, const char *address,
                           struct diagnostic *reterr)
{
    if (client->connection_count == COORDINATORS_MAX)
        return diagnostic_set(reterr, -E2BIG, "control_address", address, "at most %d coordinators",
                              COORDINATORS_MAX);
    struct connection *c = &client->connections[client->connection_count];
    char url[300];
    snprintf(url, sizeof url, "tcp://%s", address);
    nng_dialer dialer;
    c->client = client;
    int error = nng_req0_open_raw(&c->socket);
    c->open = !error;
    client->connection_count += c->open;
    if (!error)
        error = nng_socket_set_size(c->socket, NNG_OPT_RECVMAXSZ, CONTROL_MESSAGE_BYTES_MAX);
    if (!error)
        error = nng_socket_set_ms(c->socket, NNG_OPT_RECONNMINT, 100);
    if (!error)
        error = nng_socket_set_ms(c->socket, NNG_OPT_RECONNMAXT, 2000);
    if (!error)
        error = nng_dialer_create(&dialer, c->socket, url);
    if (!error)
        error = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    if (error)
        return diagnostic_set(reterr, -EINVAL, "control_address", address, "%s",
                              nng_strerror(error));
    error = thread_start(&c->thread, "control", receive_main, c);
    c->started = !error;
    return error;
}

int control_client_create(const struct control_client_config *config, struct control_client **ret,
                          struct diagnostic *reterr)
{
    if (!*config->node || strlen(config->node) > CONTROL_NODE_MAX)
        return diagnostic_set(reterr, -EINVAL, "node_name", "name",
                              "a node's name has 1 to %d characters", CONTROL_NODE_MAX);
    struct control_client *client = base_alloc(sizeof *client);
    client->config = *config;
    snprintf(client->node, sizeof client->node, "%s", config->node);
    pthread_mutex_init(&client->lock, NULL);
    int error =
        RAND_bytes((unsigned char *)&client->instance, sizeof client->instance) == 1 ? 0 : -EIO;
    char *addresses = base_strdup(config->addresses), *save = NULL;
    for (char *a = strtok_r(addresses, ", ", &save); a && !error; a = strtok_r(NULL, ", ", &save))
        error = open_connection(client, a, reterr);
    free(addresses);
    if (!error && !client->connection_count)
        error = diagnostic_set(reterr, -EINVAL, "control_address", "coordinators",
                               "names no coordinator");
    if (error) {
        control_client_destroy(&client);
        return error;
    }
    *ret = client;
    return 0;
}

void control_client_destroy(struct control_client **client)
{
    struct control_client *c = *client;
    if (!c)
        return;
    *client = NULL;
    for (int i = 0; i < c->connection_count; i++)
        nng_close(c->connections[i].socket);
    for (int i = 0; i < c->connection_count; i++)
        if (c->connections[i].started)
            thread_join(c->connections[i].thread);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

// The message belongs to NNG once sent; a full or unconnected socket refuses it at once.
static int send_to(nng_socket socket, const uint8_t *bytes, size_t size)
{
    nng_msg *msg;
    if (nng_msg_alloc(&msg, 0))
        return -ENOMEM;
    int error = nng_msg_append(msg, bytes, size);
    if (!error)
        error = nng_msg_header_append_u32(msg, REQUEST_ID);
    if (!error)
        error = nng_sendmsg(socket, msg, NNG_FLAG_NONBLOCK);
    if (error)
        nng_msg_free(msg);
    return error ? -EAGAIN : 0;
}

int control_client_report(struct control_client *c, node_report_message *report)
{
    pthread_mutex_lock(&c->lock);
    report->node = c->node;
    report->instance = c->instance;
    report->sequence = ++c->sequence;
    uint8_t *bytes;
    size_t size;
    int error = control_seal(c->config.key, CONTROL_UP, c->node, &report->base, &bytes, &size);
    int sent = 0;
    for (int i = 0; i < c->connection_count && !error; i++)
        sent += !send_to(c->connections[i].socket, bytes, size);
    if (!error)
        free(bytes);
    pthread_mutex_unlock(&c->lock);
    return error ? error : sent ? 0 : -EAGAIN;
}
