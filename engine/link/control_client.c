// Node side: one raw req socket, thread and receive operation per coordinator address. A raw req
// socket with several dialers would give each report to only one of them.
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/bytes.h"
#include "engine/link/control_envelope.h"
#include "engine/link/control_socket.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESSES_MAX 8
#define ADDRESS_BYTES 128
#define RECEIVE_NS    INT64_C(1000000000) // to see in time that nothing connects any more
// Then a fresh socket dials (see control_socket.h); longer than the dialer waits between two tries.
#define UNCONNECTED_NS INT64_C(8000000000)

struct coordinator {
    struct control_client *client;
    char address[ADDRESS_BYTES];
    nng_aio *aio;
    pthread_t thread;
    bool opened, started;
    // -- owned by the coordinator's thread
    struct replay_guard guard;
    uint8_t *plain; // CONTROL_MESSAGE_BYTES_MAX
    bool stuck;     // a socket would not close: its callbacks may still come
    // -- any thread, atomic
    _Atomic uint32_t socket; // its id; replaced by the coordinator's thread only
    _Atomic int64_t
        heard_ns;          // of the newest sign of life; or when the pipe went, or the socket came
    _Atomic uint32_t pipe; // 0: none
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // -- guarded by lock
    bool received; // or refused: the operation is over
};

struct control_client {
    struct control_client_config config; // constant after create; `node` is our copy
    uint64_t instance;
    int count;
    struct coordinator coordinators[ADDRESSES_MAX];
    atomic_bool stopping;
    _Atomic uint64_t sent, received, refused, malformed, replayed;
    pthread_mutex_t report_lock;
    // -- guarded by report_lock
    uint64_t sequence;
    uint8_t *packed, *sealed;
    pthread_mutex_t state_lock; // one on_state at a time, newest epoch only
    // -- guarded by state_lock
    uint64_t epoch;
};

// ---- States come down -------------------------------------------------------------------------

static void state_deliver(struct coordinator *from, const uint8_t *bytes, size_t size)
{
    struct control_client *client = from->client;
    Vistter__Control__V1__DesiredState *state = NULL;
    if (control_shape_check(&vistter__control__v1__desired_state__descriptor, bytes, size) == 0)
        state = vistter__control__v1__desired_state__unpack(NULL, size, bytes);
    if (!state || strcmp(state->node, client->config.node)) {
        client->malformed++;
    } else if (!replay_guard_accept(&from->guard, state->coordinator_instance, state->sequence)) {
        client->replayed++;
    } else {
        client->received++;
        from->heard_ns = clock_monotonic_ns();
        // A deposed coordinator may not know yet that it is: nodes keep to the highest epoch.
        pthread_mutex_lock(&client->state_lock);
        if (state->epoch >= client->epoch) {
            client->epoch = state->epoch;
            client->config.on_state(client->config.opaque, state);
        }
        pthread_mutex_unlock(&client->state_lock);
    }
    if (state)
        vistter__control__v1__desired_state__free_unpacked(state, NULL);
}

static void message_receive(struct coordinator *from, const uint8_t *bytes, size_t size)
{
    struct control_client *client = from->client;
    enum control_direction direction;
    char name[CONTROL_NAME_MAX + 1];
    int n = control_open(client->config.key, bytes, size, &direction, name, from->plain);
    if (n < 0 || strcmp(name, client->config.node)) {
        client->refused++;
    } else if (direction == CONTROL_DOWN) {
        state_deliver(from, from->plain, (size_t)n);
    } else if (direction == CONTROL_ALIVE && n == 16) {
        if (replay_guard_accept(&from->guard, get_u64(from->plain), get_u64(from->plain + 8)))
            from->heard_ns = clock_monotonic_ns();
        else
            client->replayed++;
    } else {
        client->refused++;
    }
}

// ---- Sockets ----------------------------------------------------------------------------------

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *opaque)
{
    struct coordinator *at = opaque;
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    if (event == NNG_PIPE_EV_ADD_POST) {
        at->heard_ns = clock_monotonic_ns();
        at->pipe = id;
    } else if (event == NNG_PIPE_EV_REM_POST) {
        uint32_t expected = id;
        if (atomic_compare_exchange_strong(&at->pipe, &expected, 0))
            at->heard_ns = clock_monotonic_ns();
    }
    log_debug("control_connection", "connected=%d", event == NNG_PIPE_EV_ADD_POST);
}

static nng_socket socket_of(struct coordinator *at)
{
    nng_socket socket = {.id = at->socket};
    return socket;
}

static int socket_dial(struct coordinator *at, nng_socket *ret)
{
    char url[ADDRESS_BYTES + 8];
    nng_socket socket;
    nng_dialer dialer;
    int error = nng_req0_open_raw(&socket);
    if (error)
        return error;
    snprintf(url, sizeof url, "tcp://%s", at->address);
    // No send buffer: a report that cannot go now is overtaken by the next one.
    (void)nng_socket_set_int(socket, NNG_OPT_SENDBUF, 0);
    (void)nng_socket_set_int(socket, NNG_OPT_RECVBUF, 16);
    (void)nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, on_pipe, at);
    (void)nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, at);
    error = nng_dialer_create(&dialer, socket, url);
    if (error)
        goto fail;
    (void)nng_dialer_set_size(dialer, NNG_OPT_RECVMAXSZ, CONTROL_MESSAGE_BYTES_MAX);
    (void)nng_dialer_set_ms(dialer, NNG_OPT_RECONNMINT, 100);
    // A coordinator that follows does not listen; when it leads, it needs its nodes at once.
    (void)nng_dialer_set_ms(dialer, NNG_OPT_RECONNMAXT, 1000);
    (void)nng_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true);
    (void)nng_dialer_set_bool(dialer, NNG_OPT_TCP_KEEPALIVE, true);
    at->heard_ns = clock_monotonic_ns();
    error = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    if (error)
        goto fail;
    *ret = socket;
    return 0;
fail:
    nng_close(socket); // has no pipe that could be stuck
    return error;
}

static void socket_renew(struct coordinator *at)
{
    nng_socket old = socket_of(at), socket;
    at->pipe = 0; // of the old one
    if (socket_dial(at, &socket))
        return; // next second again
    at->socket = (uint32_t)nng_socket_id(socket);
    at->stuck |= !control_socket_close(old);
}

static void on_received(void *opaque)
{
    struct coordinator *from = opaque;
    pthread_mutex_lock(&from->lock);
    from->received = true;
    pthread_cond_signal(&from->changed);
    pthread_mutex_unlock(&from->lock);
}

// The limit is ours: Debian's libnng 1.5.2 waits by the wall clock. Where that is set back by an
// hour, its dialers wait for an hour; then another socket dials.
static int receive(struct coordinator *from)
{
    int64_t until_ns = clock_monotonic_ns() + RECEIVE_NS;
    struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    from->received = false; // nothing is under way
    nng_recv_aio(socket_of(from), from->aio);
    pthread_mutex_lock(&from->lock);
    while (!from->received && !from->client->stopping &&
           pthread_cond_timedwait(&from->changed, &from->lock, &until) != ETIMEDOUT)
        ;
    pthread_mutex_unlock(&from->lock);
    nng_aio_abort(from->aio, NNG_ETIMEDOUT); // nothing, when it is over
    nng_aio_wait(from->aio);
    return nng_aio_result(from->aio);
}

static void *coordinator_thread(void *opaque)
{
    struct coordinator *from = opaque;
    while (!from->client->stopping) {
        int error = receive(from);
        if (error == NNG_ECANCELED)
            break;
        if (error) {
            // Also with a pipe: the library may be too stuck to say that it is gone.
            if (clock_monotonic_ns() - from->heard_ns > UNCONNECTED_NS)
                socket_renew(from);
            continue;
        }
        nng_msg *message = nng_aio_get_msg(from->aio);
        message_receive(from, nng_msg_body(message), nng_msg_len(message));
        nng_msg_free(message);
    }
    return NULL;
}

// ---- Reports go up ----------------------------------------------------------------------------

static int coordinator_send(struct coordinator *to, const uint8_t *bytes, size_t size)
{
    uint32_t pipe = to->pipe;
    if (!pipe)
        return -EAGAIN;
    if (clock_monotonic_ns() - to->heard_ns > CONTROL_SILENCE_NS) {
        nng_pipe silent = {.id = pipe};
        nng_pipe_close(silent); // the dialer starts anew
        return -EAGAIN;
    }
    nng_msg *message = NULL;
    if (nng_msg_alloc(&message, 0))
        return -ENOMEM;
    // A raw req message needs an id with the high bit set as its last header word; it comes back
    // with every answer and means nothing to us.
    if (nng_msg_append(message, bytes, size) ||
        nng_msg_header_append_u32(message, UINT32_C(0x80000001)) ||
        nng_sendmsg(socket_of(to), message, NNG_FLAG_NONBLOCK)) {
        nng_msg_free(message);
        return -EAGAIN;
    }
    return 0;
}

int control_client_report(struct control_client *client, node_report_message *report)
{
    char *node = report->node;
    int r = -EMSGSIZE;
    pthread_mutex_lock(&client->report_lock);
    report->node = (char *)client->config.node;
    report->instance = client->instance;
    report->sequence = ++client->sequence;
    size_t size = vistter__control__v1__node_report__get_packed_size(report);
    if (size + CONTROL_ENVELOPE_BYTES <= CONTROL_MESSAGE_BYTES_MAX) {
        vistter__control__v1__node_report__pack(report, client->packed);
        r = control_seal(client->config.key, CONTROL_UP, client->config.node, client->packed, size,
                         client->sealed);
    }
    report->node = node; // the caller's own memory, not ours
    if (r > 0) {
        int length = r;
        r = -EAGAIN;
        for (int i = 0; i < client->count; i++) {
            if (coordinator_send(&client->coordinators[i], client->sealed, (size_t)length) == 0) {
                client->sent++;
                r = 0;
            }
        }
    }
    pthread_mutex_unlock(&client->report_lock);
    return r;
}

void control_client_stats(struct control_client *client, struct control_link_stats *ret)
{
    *ret = (struct control_link_stats){.sent = client->sent,
                                       .received = client->received,
                                       .refused = client->refused,
                                       .malformed = client->malformed,
                                       .replayed = client->replayed};
}

// ---- Life -------------------------------------------------------------------------------------

static int coordinator_open(struct coordinator *at, const char *address, struct diagnostic *reterr)
{
    nng_socket socket;
    pthread_condattr_t attributes;
    pthread_mutex_init(&at->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&at->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    snprintf(at->address, sizeof at->address, "%s", address);
    int error = socket_dial(at, &socket);
    if (error)
        goto fail;
    at->socket = (uint32_t)nng_socket_id(socket);
    at->opened = true;
    if ((error = nng_aio_alloc(&at->aio, on_received, at)))
        goto fail;
    at->plain = malloc(CONTROL_MESSAGE_BYTES_MAX);
    if (!at->plain || thread_start(&at->thread, "control", coordinator_thread, at) < 0) {
        error = NNG_ENOMEM;
        goto fail;
    }
    at->started = true;
    return 0;
fail:
    return diagnostic_set(reterr, error == NNG_ENOMEM ? -ENOMEM : -EINVAL, "coordinator_address",
                          address, "cannot dial this coordinator: %s; give HOST:PORT",
                          nng_strerror(error));
}

static int addresses_open(struct control_client *client, struct diagnostic *reterr)
{
    const char *at = client->config.addresses ? client->config.addresses : "";
    while (*at) {
        size_t length = strcspn(at, ",");
        char address[ADDRESS_BYTES];
        if (length == 0 || length >= sizeof address || client->count == ADDRESSES_MAX)
            return diagnostic_set(reterr, -EINVAL, "coordinator_address", client->config.addresses,
                                  "up to %d addresses HOST:PORT, separated by commas, are expected",
                                  ADDRESSES_MAX);
        memcpy(address, at, length);
        address[length] = 0;
        struct coordinator *coordinator = &client->coordinators[client->count++];
        coordinator->client = client;
        int r = coordinator_open(coordinator, address, reterr);
        if (r < 0)
            return r;
        at += length + (at[length] == ',');
    }
    if (client->count == 0)
        return diagnostic_set(reterr, -EINVAL, "coordinator_address", "",
                              "no coordinator address was given");
    return 0;
}

int control_client_create(const struct control_client_config *config, struct control_client **ret,
                          struct diagnostic *reterr)
{
    size_t name = config->node ? strlen(config->node) : 0;
    if (name == 0 || name > CONTROL_NAME_MAX)
        return diagnostic_set(reterr, -EINVAL, "node_name", config->node ? config->node : "",
                              "a node's name has 1 to %d bytes", CONTROL_NAME_MAX);
    struct control_client *client = base_alloc(sizeof *client);
    client->config = *config;
    client->config.node = base_strdup(config->node);
    pthread_mutex_init(&client->report_lock, NULL);
    pthread_mutex_init(&client->state_lock, NULL);
    client->packed = malloc(CONTROL_MESSAGE_BYTES_MAX);
    client->sealed = malloc(CONTROL_MESSAGE_BYTES_MAX);
    int r = -ENOMEM;
    if (client->packed && client->sealed &&
        RAND_bytes((uint8_t *)&client->instance, sizeof client->instance) == 1) {
        client->instance |= 1; // 0 means none
        r = addresses_open(client, reterr);
    } else {
        diagnostic_set(reterr, r, "out_of_memory", "", "no memory for a control link");
    }
    client->config.addresses = NULL; // the caller's
    if (r < 0)
        control_client_destroy(&client);
    else
        *ret = client;
    return r;
}

void control_client_destroy(struct control_client **client_of)
{
    struct control_client *client = *client_of;
    if (!client)
        return;
    *client_of = NULL;
    client->stopping = true;
    bool stuck = false;
    for (int i = 0; i < client->count; i++) {
        struct coordinator *at = &client->coordinators[i];
        if (at->aio)
            nng_aio_stop(at->aio); // ends the wait and refuses further ones
        if (at->started)
            thread_join(at->thread);
        if (at->opened)
            stuck |= !control_socket_close(socket_of(at));
        stuck |= at->stuck;
        if (at->aio)
            nng_aio_free(at->aio);
        free(at->plain);
        pthread_cond_destroy(&at->changed);
        pthread_mutex_destroy(&at->lock);
    }
    OPENSSL_cleanse(client->config.key, sizeof client->config.key);
    pthread_mutex_destroy(&client->report_lock);
    pthread_mutex_destroy(&client->state_lock);
    free((char *)client->config.node);
    free(client->packed);
    free(client->sealed);
    if (!stuck) // otherwise its callbacks, which only set numbers here, may come later
        free(client);
}
