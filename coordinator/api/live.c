#include "coordinator/api/live.h"

#include "coordinator/api/handlers.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT_QUEUE   16
#define STATUS_NS      INT64_C(1000000000)
#define CLOSE_OVERLOAD 1013

// A text on its way to several clients.
struct text {
    _Atomic int references;
    size_t size;
    char bytes[];
};

struct client {
    struct mg_connection *connection;
    struct queue *queue;
    pthread_t thread;
};

struct live {
    // -- constant after create
    struct coordinator *coordinator;
    struct queue *closing; // closed: the hub thread ends
    pthread_t thread;
    // -- guarded by lock
    pthread_mutex_t lock;
    bool closed;
    struct client *clients[LIVE_CLIENTS_MAX];
};

static struct text *text_create(const char *bytes)
{
    size_t size = strlen(bytes);
    struct text *t = base_alloc(sizeof *t + size + 1);
    atomic_init(&t->references, 1);
    t->size = size;
    memcpy(t->bytes, bytes, size);
    return t;
}

static void text_release(void *opaque)
{
    struct text *t = opaque;
    if (atomic_fetch_sub(&t->references, 1) == 1)
        free(t);
}

// Called with the lock held. A client that does not keep up loses its connection.
static void offer(struct client *client, struct text *text)
{
    atomic_fetch_add(&text->references, 1);
    if (queue_push(client->queue, text, 0)) {
        text_release(text);
        queue_close(client->queue);
    }
}

void live_send(struct live *live, const char *bytes)
{
    struct text *text = text_create(bytes);
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        if (live->clients[i])
            offer(live->clients[i], text);
    pthread_mutex_unlock(&live->lock);
    text_release(text);
}

static char *status_text(struct live *live)
{
    json_t *status = status_json(live->coordinator);
    if (!status)
        return NULL;
    json_object_set_new(status, "type", json_string("broadcast:status"));
    char *text = json_dumps(status, JSON_COMPACT);
    json_decref(status);
    return text;
}

static bool has_clients(struct live *live)
{
    bool any = false;
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        any = any || live->clients[i];
    pthread_mutex_unlock(&live->lock);
    return any;
}

static void *hub_main(void *opaque)
{
    struct live *live = opaque;
    void *nothing;
    while (queue_pop(live->closing, &nothing, STATUS_NS) == -EAGAIN) {
        char *text = has_clients(live) ? status_text(live) : NULL;
        if (text)
            live_send(live, text);
        free(text);
    }
    return NULL;
}

// ---- Clients ----------------------------------------------------------------------------------

static void *client_main(void *opaque)
{
    struct client *client = opaque;
    void *item;
    bool ok = true;
    while (queue_pop(client->queue, &item, -1) == 0) {
        struct text *text = item;
        ok = ok && mg_websocket_write(client->connection, MG_WEBSOCKET_OPCODE_TEXT, text->bytes,
                                      text->size) > 0;
        text_release(text);
    }
    static const char reason[2] = {CLOSE_OVERLOAD >> 8, (char)(CLOSE_OVERLOAD & 255)};
    if (ok)
        mg_websocket_write(client->connection, MG_WEBSOCKET_OPCODE_CONNECTION_CLOSE, reason,
                           sizeof reason);
    return NULL;
}

static int on_connect(const struct mg_connection *connection, void *opaque)
{
    struct live *live = opaque;
    int count = 0;
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        count += live->clients[i] != NULL;
    bool refused = live->closed || count == LIVE_CLIENTS_MAX;
    pthread_mutex_unlock(&live->lock);
    return refused || !request_origin_ok(connection);
}

static void on_ready(struct mg_connection *connection, void *opaque)
{
    struct live *live = opaque;
    struct client *client = base_alloc(sizeof *client);
    client->connection = connection;
    client->queue = queue_create(CLIENT_QUEUE, text_release);
    if (thread_start(&client->thread, "live-client", client_main, client)) {
        queue_destroy(&client->queue);
        free(client);
        return;
    }
    mg_set_user_connection_data(connection, client);
    char *text = status_text(live);
    struct text *first = text ? text_create(text) : NULL;
    free(text);
    pthread_mutex_lock(&live->lock);
    int i = 0;
    while (i < LIVE_CLIENTS_MAX && live->clients[i])
        i++;
    if (i < LIVE_CLIENTS_MAX && !live->closed) {
        live->clients[i] = client;
        if (first)
            offer(client, first);
    } else {
        queue_close(client->queue);
    }
    pthread_mutex_unlock(&live->lock);
    if (first)
        text_release(first);
}

// Nothing is expected from clients; a close is answered by closing.
static int on_data(struct mg_connection *connection, int bits, char *data, size_t size,
                   void *opaque)
{
    (void)connection;
    (void)data;
    (void)size;
    (void)opaque;
    return (bits & 15) != MG_WEBSOCKET_OPCODE_CONNECTION_CLOSE;
}

// The connection is valid until this returns, so the client's thread ends here.
static void on_close(const struct mg_connection *connection, void *opaque)
{
    struct live *live = opaque;
    struct client *client = mg_get_user_connection_data(connection);
    if (!client)
        return;
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        if (live->clients[i] == client)
            live->clients[i] = NULL;
    pthread_mutex_unlock(&live->lock);
    queue_close(client->queue);
    thread_join(client->thread);
    queue_destroy(&client->queue);
    free(client);
}

void live_register(struct live *live, struct mg_context *context)
{
    mg_set_websocket_handler(context, "/api/v1/live", on_connect, on_ready, on_data, on_close,
                             live);
}

int live_create(struct coordinator *coordinator, struct live **ret)
{
    struct live *live = base_alloc(sizeof *live);
    live->coordinator = coordinator;
    live->closing = queue_create(1, NULL);
    pthread_mutex_init(&live->lock, NULL);
    int error = thread_start(&live->thread, "live", hub_main, live);
    if (error) {
        queue_destroy(&live->closing);
        free(live);
        return error;
    }
    *ret = live;
    return 0;
}

void live_close(struct live *live)
{
    queue_close(live->closing);
    pthread_mutex_lock(&live->lock);
    live->closed = true;
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        if (live->clients[i])
            queue_close(live->clients[i]->queue);
    pthread_mutex_unlock(&live->lock);
}

void live_destroy(struct live **live)
{
    struct live *l = *live;
    if (!l)
        return;
    *live = NULL;
    thread_join(l->thread);
    queue_destroy(&l->closing);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
