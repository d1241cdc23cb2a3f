#include "coordinator/api/live.h"

#include "coordinator/api/commands.h"
#include "coordinator/api/connection.h"
#include "coordinator/api/handlers.h"
#include "coordinator/api/meters.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUEUE_MAX      16
#define OVERFLOW_MAX   16 // texts that did not fit, until the connection is cut
#define STATUS_NS      INT64_C(1000000000)
#define METERS_KEPT    4 // texts of a watched channel that wait for a client
#define METERS_MAX     (METERS_KEPT * LIVE_METERED_MAX)
#define METERS_NS      INT64_C(50000000)  // between looks for new ones
#define UNWATCHED_NS   INT64_C(250000000) // between looks whether somebody watches
#define PING_MS        20000
#define FRAME_MAX      (1 << 20) // of a client's, which is read past
#define CONTROL_MAX    125
#define CLOSE_PROTOCOL 1002
#define CLOSE_TOO_BIG  1009
#define CLOSE_OVERLOAD 1013

enum opcode { OP_CONTINUED, OP_TEXT, OP_BINARY, OP_CLOSE = 8, OP_PING, OP_PONG };

// A text on its way to several clients.
struct text {
    _Atomic int references;
    size_t size;
    char bytes[];
};

struct client {
    // -- constant while it is in the table
    struct mg_connection *connection;
    int socket;
    int wake; // eventfd: something is queued, or the end has come
    int watched_count;
    struct watched {
        uint64_t channel;
        char name[STORE_NAME_MAX + 1];
    } watched[LIVE_METERED_MAX];
    // -- guarded by live.lock
    struct text *queue[QUEUE_MAX];
    int queued, overflow;
    struct text *meters[METERS_MAX];
    int meter_count;
    bool closing;
    // -- owned by its thread: the frame that is being read
    uint8_t head[14], control[CONTROL_MAX];
    size_t head_size, control_size;
    uint64_t left;    // of the payload
    size_t data_size; // of it so far
    // The text that is being read, over several frames where it is cut.
    bool is_text;
    size_t text_size; // as sent; the first COMMAND_MAX bytes are kept
    char text[COMMAND_MAX];
};

struct live {
    // -- constant after create
    struct coordinator *coordinator;
    struct queue *closing; // closed: the hub thread ends
    pthread_t thread, meters_thread;
    bool started, meters_started;
    _Atomic uint64_t turns; // of the hub thread
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

static void text_release(struct text *t)
{
    if (atomic_fetch_sub(&t->references, 1) == 1)
        free(t);
}

static void wake(const struct client *client)
{
    (void)eventfd_write(client->wake, 1); // fails only when it is set beyond counting
}

// Called with the lock held. A client that does not keep up loses its connection.
static void offer(struct client *client, struct text *text)
{
    if (client->queued == QUEUE_MAX) {
        client->closing = true;
        if (++client->overflow == OVERFLOW_MAX)
            shutdown(client->socket, SHUT_RDWR); // it hangs in the midst of a text
    } else if (!client->closing) {
        atomic_fetch_add(&text->references, 1);
        client->queue[client->queued++] = text;
    }
    wake(client);
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
        atomic_fetch_add(&live->turns, 1);
        char *text = has_clients(live) ? status_text(live) : NULL;
        if (text)
            live_send(live, text);
        free(text);
    }
    return NULL;
}

uint64_t live_turns(const struct live *live)
{
    return atomic_load(&live->turns);
}

// ---- Meters -----------------------------------------------------------------------------------

// Called with the lock held. What a client is too slow for is of no use by then.
static void offer_meters(struct client *client, struct text *text)
{
    if (client->meter_count == METERS_KEPT * client->watched_count) {
        text_release(client->meters[0]);
        memmove(client->meters, client->meters + 1,
                sizeof *client->meters * (size_t)--client->meter_count);
    }
    atomic_fetch_add(&text->references, 1);
    client->meters[client->meter_count++] = text;
    wake(client);
}

static bool watches(const struct client *client, uint64_t channel)
{
    for (int i = 0; i < client->watched_count; i++)
        if (client->watched[i].channel == channel)
            return true;
    return false;
}

static void send_meters(struct live *live, uint64_t channel, const char *bytes)
{
    struct text *text = text_create(bytes);
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        if (live->clients[i] && watches(live->clients[i], channel))
            offer_meters(live->clients[i], text);
    pthread_mutex_unlock(&live->lock);
    text_release(text);
}

static void feed_add(const struct watched *w, const struct meters_feed *old, int old_count,
                     struct meters_feed *ret, int *count)
{
    for (int i = 0; i < *count; i++)
        if (ret[i].channel == w->channel)
            return;
    struct meters_feed *feed = &ret[(*count)++];
    *feed = (struct meters_feed){.channel = w->channel};
    memcpy(feed->name, w->name, sizeof feed->name);
    for (int i = 0; i < old_count; i++)
        if (old[i].channel == w->channel)
            *feed = old[i];
}

// What is watched now, with what has been told of it.
static int feeds_follow(struct live *live, struct meters_feed *feeds, int count)
{
    struct meters_feed *old = base_alloc(sizeof *feeds * FARM_METERED_MAX);
    int old_count = count;
    memcpy(old, feeds, sizeof *feeds * (size_t)count);
    count = 0;
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        for (int k = 0; live->clients[i] && k < live->clients[i]->watched_count; k++)
            feed_add(&live->clients[i]->watched[k], old, old_count, feeds, &count);
    pthread_mutex_unlock(&live->lock);
    free(old);
    return count;
}

static void feeds_send(struct live *live, struct meters_feed *feeds, int count)
{
    struct farm_meters *known = base_alloc(sizeof *known * (size_t)count);
    for (int i = 0; i < count; i++)
        known[i].channel = feeds[i].channel;
    coordinator_read_meters(live->coordinator, known, count);
    for (int i = 0; i < count; i++) {
        char *text;
        while ((text = meters_text(&feeds[i], &known[i]))) {
            send_meters(live, feeds[i].channel, text);
            free(text);
        }
    }
    free(known);
}

static void *meters_main(void *opaque)
{
    struct live *live = opaque;
    struct meters_feed *feeds = base_alloc(sizeof *feeds * FARM_METERED_MAX);
    int count = 0;
    void *nothing;
    while (queue_pop(live->closing, &nothing, count ? METERS_NS : UNWATCHED_NS) == -EAGAIN) {
        count = feeds_follow(live, feeds, count);
        if (count)
            feeds_send(live, feeds, count);
    }
    free(feeds);
    return NULL;
}

_Static_assert(FARM_METERED_MAX >= LIVE_CLIENTS_MAX * LIVE_METERED_MAX, "room for all feeds");

// ---- Sending ----------------------------------------------------------------------------------

static bool send_frame(struct client *client, enum opcode opcode, const void *bytes, size_t size)
{
    uint8_t head[10] = {(uint8_t)(0x80 | opcode)};
    size_t head_size = 2;
    if (size < 126) {
        head[1] = (uint8_t)size;
    } else {
        head_size = size < 65536 ? 4 : 10;
        head[1] = size < 65536 ? 126 : 127;
        for (size_t i = 2; i < head_size; i++)
            head[i] = (uint8_t)(size >> (8 * (head_size - 1 - i)));
    }
    return mg_write(client->connection, head, head_size) > 0 &&
           (!size || mg_write(client->connection, bytes, size) > 0);
}

static void send_close(struct client *client, int code)
{
    uint8_t reason[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    (void)send_frame(client, OP_CLOSE, reason, sizeof reason); // it goes in any case
}

// Sends what is queued; false: the connection ends.
static bool send_queued(struct live *live, struct client *client)
{
    struct text *texts[QUEUE_MAX + METERS_MAX];
    eventfd_t count;
    (void)eventfd_read(client->wake, &count); // not blocking
    pthread_mutex_lock(&live->lock);
    int queued = client->queued;
    bool closing = client->closing;
    memcpy(texts, client->queue, sizeof client->queue);
    memcpy(texts + queued, client->meters, sizeof client->meters);
    queued += client->meter_count;
    client->queued = client->meter_count = 0;
    pthread_mutex_unlock(&live->lock);
    bool ok = true;
    for (int i = 0; i < queued; i++) {
        ok = ok && send_frame(client, OP_TEXT, texts[i]->bytes, texts[i]->size);
        text_release(texts[i]);
    }
    if (ok && closing)
        send_close(client, CLOSE_OVERLOAD);
    return ok && !closing;
}

// ---- Reading ----------------------------------------------------------------------------------

// How long the header is, as far as it can be known from its first bytes.
static size_t head_length(const struct client *c)
{
    size_t more = c->head_size < 2            ? 0
                  : (c->head[1] & 127) == 126 ? 2
                  : (c->head[1] & 127) == 127 ? 8
                                              : 0;
    return 2 + more + (c->head_size < 2 ? 0 : 4);
}

// The header is there: 0, or the code to close with.
static int begin_frame(struct client *c)
{
    enum opcode opcode = c->head[0] & 15;
    bool control = opcode >= OP_CLOSE;
    size_t at = 2, end = head_length(c) - 4;
    uint64_t size = end == 2 ? c->head[1] & 127 : 0;
    for (; at < end; at++)
        size = size << 8 | c->head[at];
    bool known = opcode <= OP_BINARY || (opcode >= OP_CLOSE && opcode <= OP_PONG);
    if ((c->head[0] & 0x70) || !known || !(c->head[1] & 0x80) ||
        (control && (size > CONTROL_MAX || !(c->head[0] & 0x80))))
        return CLOSE_PROTOCOL;
    c->left = size;
    c->control_size = 0;
    c->data_size = 0;
    if (opcode == OP_TEXT || opcode == OP_BINARY) {
        c->is_text = opcode == OP_TEXT;
        c->text_size = 0;
    }
    return size > FRAME_MAX ? CLOSE_TOO_BIG : 0;
}

// A part of a text, still masked.
static void keep_text(struct client *c, const uint8_t *bytes, size_t size)
{
    const uint8_t *mask = c->head + head_length(c) - 4;
    for (size_t i = 0; i < size; i++, c->data_size++, c->text_size++)
        if (c->text_size < COMMAND_MAX)
            c->text[c->text_size] = (char)(bytes[i] ^ mask[c->data_size % 4]);
}

static bool answer_text_frame(struct live *live, struct client *c)
{
    const char *text = c->text_size <= COMMAND_MAX ? c->text : NULL;
    char *answer = command_answer(live->coordinator, text, c->text_size);
    bool ok = !answer || send_frame(c, OP_TEXT, answer, strlen(answer));
    free(answer);
    return ok;
}

// The frame is there; false: the connection ends.
static bool end_frame(struct live *live, struct client *c)
{
    const uint8_t *mask = c->head + head_length(c) - 4;
    for (size_t i = 0; i < c->control_size; i++)
        c->control[i] ^= mask[i % 4];
    c->head_size = 0;
    if ((c->head[0] & 15) < OP_CLOSE && (c->head[0] & 0x80) && c->is_text) {
        c->is_text = false;
        return answer_text_frame(live, c);
    }
    if ((c->head[0] & 15) == OP_PING)
        return send_frame(c, OP_PONG, c->control, c->control_size);
    if ((c->head[0] & 15) == OP_CLOSE)
        (void)send_frame(c, OP_CLOSE, c->control, c->control_size < 2 ? 0 : 2);
    return (c->head[0] & 15) != OP_CLOSE;
}

static bool take_bytes(struct live *live, struct client *c, const uint8_t *bytes, size_t size)
{
    while (size) {
        if (c->head_size < 2 || c->head_size < head_length(c)) {
            c->head[c->head_size++] = *bytes++;
            size--;
            if (c->head_size < 2 || c->head_size < head_length(c))
                continue;
            int code = begin_frame(c);
            if (code) {
                send_close(c, code);
                return false;
            }
        } else {
            size_t n = c->left < size ? (size_t)c->left : size;
            if ((c->head[0] & 15) >= OP_CLOSE) {
                memcpy(c->control + c->control_size, bytes, n);
                c->control_size += n;
            } else if (c->is_text) {
                keep_text(c, bytes, n);
            }
            c->left -= n;
            bytes += n;
            size -= n;
        }
        if (!c->left && !end_frame(live, c))
            return false;
    }
    return true;
}

// ---- A client ---------------------------------------------------------------------------------

static void serve(struct live *live, struct client *client)
{
    uint8_t bytes[4096];
    bool pinged = false, ok = true;
    while (ok) {
        struct pollfd fds[2] = {{client->socket, POLLIN, 0}, {client->wake, POLLIN, 0}};
        int r = poll(fds, 2, PING_MS);
        if (r < 0 && errno != EINTR)
            return;
        if (r > 0 && fds[1].revents)
            ok = send_queued(live, client);
        if (ok && r > 0 && fds[0].revents) {
            ssize_t n = recv(client->socket, bytes, sizeof bytes, MSG_DONTWAIT);
            pinged = false;
            ok = n > 0 ? take_bytes(live, client, bytes, (size_t)n)
                       : n < 0 && (errno == EAGAIN || errno == EINTR);
        }
        if (r == 0) {
            ok = !pinged && send_frame(client, OP_PING, "", 0);
            pinged = true;
        }
    }
}

static bool join(struct live *live, struct client *client)
{
    pthread_mutex_lock(&live->lock);
    int i = 0;
    while (i < LIVE_CLIENTS_MAX && live->clients[i])
        i++;
    bool room = !live->closed && i < LIVE_CLIENTS_MAX;
    if (room)
        live->clients[i] = client;
    pthread_mutex_unlock(&live->lock);
    return room;
}

static void leave(struct live *live, struct client *client)
{
    pthread_mutex_lock(&live->lock);
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++)
        if (live->clients[i] == client)
            live->clients[i] = NULL;
    pthread_mutex_unlock(&live->lock);
    for (int i = 0; i < client->queued; i++)
        text_release(client->queue[i]);
    for (int i = 0; i < client->meter_count; i++)
        text_release(client->meters[i]);
}

static int refuse(struct request *r)
{
    const char *upgrade = mg_get_header(r->connection, "Upgrade");
    const char *version = mg_get_header(r->connection, "Sec-WebSocket-Version");
    if (!upgrade || strcasecmp(upgrade, "websocket") ||
        !mg_get_header(r->connection, "Sec-WebSocket-Key") || !version || strcmp(version, "13"))
        return answer_refusal(r, 400, "websocket", "", "this is a WebSocket, version 13");
    if (!request_origin_ok(r->connection))
        return answer_refusal(r, 403, "foreign_origin", "",
                              "a page of another origin may not listen here");
    return 0;
}

// ?meters=NAME,...; 0, or the status of the refusal sent.
static int take_watched(struct request *r, struct client *client)
{
    char names[LIVE_METERED_MAX * (STORE_NAME_MAX + 1) + 1], *rest = names, *name;
    const char *query = r->info->query_string;
    int size = query ? mg_get_var(query, strlen(query), "meters", names, sizeof names) : -1;
    if (size == -2)
        return answer_refusal(r, 400, "query", "meters", "of %d channels at most",
                              LIVE_METERED_MAX);
    if (size < 0)
        return 0;
    struct coordinator_view view;
    int status = 0;
    (void)coordinator_view(r->coordinator, &view, NULL); // or as it was known last
    while (!status && (name = strsep(&rest, ","))) {
        size_t i = 0;
        while (i < view.channel_count && strcmp(view.channels[i].name, name) != 0)
            i++;
        if (i == view.channel_count) {
            status = answer_refusal(r, 404, "not_found", name, "there is no such channel");
        } else if (client->watched_count == LIVE_METERED_MAX) {
            status = answer_refusal(r, 400, "query", "meters", "of %d channels at most",
                                    LIVE_METERED_MAX);
        } else {
            struct watched *w = &client->watched[client->watched_count++];
            w->channel = view.channels[i].id;
            memcpy(w->name, view.channels[i].name, sizeof w->name);
        }
    }
    coordinator_view_finish(&view);
    return status;
}

static void answer_handshake(struct request *r)
{
    char text[256];
    unsigned char hash[EVP_MAX_MD_SIZE], accept[64];
    unsigned size = 0;
    snprintf(text, sizeof text, "%.64s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
             mg_get_header(r->connection, "Sec-WebSocket-Key"));
    EVP_Digest(text, strlen(text), hash, &size, EVP_sha1(), NULL);
    EVP_EncodeBlock(accept, hash, (int)size);
    mg_printf(r->connection,
              "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Accept: %s\r\n\r\n",
              (const char *)accept);
}

int live_serve(struct live *live, struct request *r)
{
    r->close = true;
    int status = refuse(r);
    if (status)
        return status;
    struct client *client = base_alloc(sizeof *client);
    if ((status = take_watched(r, client))) {
        free(client);
        return status;
    }
    client->connection = r->connection;
    client->socket = connection_socket(r->connection);
    client->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->wake < 0 || client->socket < 0 || !join(live, client)) {
        status = answer_refusal(r, 503, "too_many_listeners", "", "at most %d can listen at a time",
                                LIVE_CLIENTS_MAX);
    } else {
        answer_handshake(r);
        char *first = status_text(live);
        if (first && send_frame(client, OP_TEXT, first, strlen(first)))
            serve(live, client);
        free(first);
        leave(live, client);
        status = 101;
    }
    if (client->wake >= 0)
        close(client->wake);
    free(client);
    return status;
}

// ---- Life -------------------------------------------------------------------------------------

static void let_go(struct live *live, bool for_good)
{
    pthread_mutex_lock(&live->lock);
    live->closed = live->closed || for_good;
    for (int i = 0; i < LIVE_CLIENTS_MAX; i++) {
        if (live->clients[i]) {
            live->clients[i]->closing = true;
            wake(live->clients[i]);
        }
    }
    pthread_mutex_unlock(&live->lock);
}

void live_disconnect(struct live *live)
{
    let_go(live, false);
}

void live_close(struct live *live)
{
    queue_close(live->closing);
    let_go(live, true);
}

void live_destroy(struct live **live)
{
    struct live *l = *live;
    if (!l)
        return;
    *live = NULL;
    if (l->started)
        thread_join(l->thread);
    if (l->meters_started)
        thread_join(l->meters_thread);
    queue_destroy(&l->closing);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int live_create(struct coordinator *coordinator, struct live **ret)
{
    struct live *live = base_alloc(sizeof *live);
    live->coordinator = coordinator;
    live->closing = queue_create(1, NULL);
    pthread_mutex_init(&live->lock, NULL);
    int error = thread_start(&live->thread, "live", hub_main, live);
    live->started = !error;
    if (!error)
        error = thread_start(&live->meters_thread, "meters", meters_main, live);
    live->meters_started = !error;
    if (error) {
        live_close(live);
        live_destroy(&live);
        return error;
    }
    *ret = live;
    return 0;
}
