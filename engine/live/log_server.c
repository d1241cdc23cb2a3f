#include "engine/live/log_server.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/live/log.h"
#include "engine/live/log_message.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FOLLOWERS_MAX (2 * FRAME_PEERS_MAX) // those whose connection is on its way out too
#define BATCH_BYTES   (256 << 10)           // of units in a message, when more than one is in it
#define BATCH_KEPT    (1 << 20)             // memory for one that is larger is not kept
#define SIGN_NS       INT64_C(100000000)    // so often a follower hears how far the log goes
#define RETRY_MS      10                    // when a queue is full, or inotify is not to be had

struct serving {
    // -- guarded by lock
    struct frame_peer *peer; // a reference; NULL: unused
    struct frame_log_want note;
    bool noted, gone;
    // -- own thread
    bool active; // it is served
    struct frame_log_want want;
    struct live_reader *reader; // NULL: there is no such log here
    struct unit unit;           // the reader's newest, if `held`: not in a batch yet
    bool held, woken;
    uint64_t segment;            // of that unit
    uint64_t last, last_segment; // what was put into a batch last, or the follower has; 0: nothing
    uint64_t sent;               // bytes of units since the want's start
    uint8_t *batch;              // head and units that are to be sent
    size_t batch_size, batch_capacity;
    int64_t sign_at_ns;
};

struct log_server {
    // -- constant after create
    char *root;
    pthread_t thread;
    int wake_fd;
    // -- atomic
    atomic_bool stop;
    // -- guarded by lock, as told above
    pthread_mutex_t lock;
    struct serving servings[FOLLOWERS_MAX];
};

// ---- Notes from the frame server's threads ---------------------------------------------------

// With the lock held. With `peer` NULL: an unused one.
static struct serving *serving_of(struct log_server *s, const struct frame_peer *peer)
{
    for (int i = 0; i < FOLLOWERS_MAX; i++)
        if (s->servings[i].peer == peer)
            return &s->servings[i];
    return NULL;
}

void log_server_want(struct log_server *server, struct frame_peer *peer,
                     const struct frame_log_want *want)
{
    pthread_mutex_lock(&server->lock);
    struct serving *f = serving_of(server, peer);
    if (!f && (f = serving_of(server, NULL)))
        f->peer = frame_peer_ref(peer);
    if (f) { // else it is asked again
        f->note = *want;
        f->noted = true;
    }
    pthread_mutex_unlock(&server->lock);
    eventfd_write(server->wake_fd, 1);
}

void log_server_gone(struct log_server *server, struct frame_peer *peer)
{
    pthread_mutex_lock(&server->lock);
    struct serving *f = serving_of(server, peer);
    if (f)
        f->gone = true;
    pthread_mutex_unlock(&server->lock);
    if (f)
        eventfd_write(server->wake_fd, 1);
}

int log_server_followers(struct log_server *server)
{
    int count = 0;
    pthread_mutex_lock(&server->lock);
    for (int i = 0; i < FOLLOWERS_MAX; i++)
        count += server->servings[i].peer && !server->servings[i].gone;
    pthread_mutex_unlock(&server->lock);
    return count;
}

// ---- Where a follower is in its log ----------------------------------------------------------

static void begin_anew(struct serving *f)
{
    live_reader_rewind(f->reader);
    f->held = false;
    f->last = 0;
}

// Behind the unit that the follower has last, if the log has the same; else at its beginning.
static void place(struct serving *f)
{
    int error = 0;
    f->batch_size = 0;
    f->sent = 0;
    f->sign_at_ns = 0;
    begin_anew(f);
    if (!f->want.seq)
        return;
    while ((error = live_reader_seek(f->reader, f->want.seq)) == -ESTALE)
        continue;
    do
        error = error ? error : live_reader_next(f->reader, &f->unit);
    while (!error && f->unit.seq < f->want.seq);
    if (error || f->unit.seq != f->want.seq || f->unit.crc != f->want.crc) {
        begin_anew(f);
        return;
    }
    f->last = f->want.seq;
    f->last_segment = live_reader_segment(f->reader);
}

static void place_and_say(struct serving *f)
{
    const char *consumer, *link_id;
    place(f);
    frame_peer_name(f->peer, &consumer, &link_id);
    log_debug("log_followed", "consumer=%s link=%s source=%s has=%llu from=%llu", consumer, link_id,
              f->want.source, (unsigned long long)f->want.seq, (unsigned long long)f->last);
}

static void leave_log(struct serving *f)
{
    live_reader_close(&f->reader);
    f->held = false;
    f->batch_size = 0;
}

static void follow_want(const struct log_server *s, struct serving *f,
                        const struct frame_log_want *want)
{
    bool other = strcmp(want->source, f->want.source) != 0, asks = want->start != f->want.start;
    f->want = *want;
    if (other)
        leave_log(f);
    bool opened = false;
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/%s", s->root, f->want.source);
    // Opening would make the folder.
    if (!f->reader && !access(folder, F_OK))
        opened = !live_reader_open(folder, &f->reader, NULL);
    if (f->reader && (asks || opened))
        place_and_say(f);
}

// ---- Sending ---------------------------------------------------------------------------------

// Makes the next unit the held one. -EAGAIN; -ESTALE: the follower has to begin anew, and now will;
// others: the log cannot be read.
static int take_unit(struct serving *f)
{
    if (f->held)
        return 0;
    int error = live_reader_next(f->reader, &f->unit);
    if (error == -ESTALE)
        begin_anew(f);
    if (error)
        return error;
    f->segment = live_reader_segment(f->reader);
    // Units that no reader will ever see are none that the follower would miss.
    if (f->last && f->unit.seq != f->last + 1 && !live_reader_holds(f->reader, f->last_segment)) {
        begin_anew(f);
        return -ESTALE;
    }
    f->held = true;
    return 0;
}

static bool make_room(struct serving *f, size_t size)
{
    if (size <= f->batch_capacity)
        return true;
    uint8_t *batch = realloc(f->batch, size);
    if (!batch)
        return false;
    f->batch = batch;
    f->batch_capacity = size;
    return true;
}

// Puts together what is sent next: units of one segment. Errors as take_unit, or -ENOMEM.
static int fill(struct serving *f)
{
    struct log_head head = {.start = f->want.start, .after = f->last};
    size_t size = LOG_HEAD_BYTES;
    int error = make_room(f, LOG_HEAD_BYTES + BATCH_BYTES) ? 0 : -ENOMEM;
    while (!error && !(error = take_unit(f))) {
        size_t bytes = unit_bytes(&f->unit);
        bool fits = f->segment == head.segment && size + bytes <= LOG_HEAD_BYTES + BATCH_BYTES;
        if (size > LOG_HEAD_BYTES && !fits)
            break;
        if (!make_room(f, size + bytes)) {
            error = -ENOMEM;
            break;
        }
        memcpy(f->batch + size, unit_start(&f->unit), bytes);
        size += bytes;
        head.segment = f->last_segment = f->segment;
        f->last = f->unit.seq;
        f->held = false;
    }
    if (size == LOG_HEAD_BYTES)
        return error;
    log_head_write(&head, f->batch);
    f->batch_size = size;
    f->sent += size - LOG_HEAD_BYTES;
    return 0;
}

static int send_payload(struct serving *f, const uint8_t *payload, size_t size)
{
    struct frame_header header = {.kind = FRAME_MESSAGE_LOG};
    return frame_peer_send(f->peer, &header, payload, size);
}

// How far the log goes that the follower has been sent: should the end of it have been lost, it
// would not know.
static void send_sign(struct serving *f)
{
    uint8_t payload[LOG_HEAD_BYTES];
    log_head_write(&(struct log_head){.start = f->want.start, .after = f->last}, payload);
    (void)send_payload(f, payload, sizeof payload);
}

static bool window_is_full(const struct serving *f)
{
    return f->want.taken <= f->sent && f->sent - f->want.taken >= LOG_WINDOW_BYTES;
}

// Does one step for a follower. Returns after how many ms the next is due, unless the log grows or
// a note comes before.
static int serve(struct serving *f, int64_t now)
{
    int error = 0;
    if (f->woken)
        live_reader_wait(f->reader, 0); // clears it, before the look at what has come
    f->woken = false;
    if (!f->batch_size && !window_is_full(f))
        error = fill(f);
    if (error && error != -EAGAIN && error != -ESTALE && error != -ENOMEM) {
        leave_log(f); // and looks for it when asked again
        return INT_MAX;
    }
    if (f->batch_size) {
        if (send_payload(f, f->batch, f->batch_size))
            return RETRY_MS; // full, or gone, which will be told
        f->batch_size = 0;
        if (f->batch_capacity > BATCH_KEPT) {
            free(f->batch);
            f->batch = NULL;
            f->batch_capacity = 0;
        }
        f->sign_at_ns = now + SIGN_NS;
        return 0;
    }
    if (now >= f->sign_at_ns) {
        send_sign(f);
        f->sign_at_ns = now + SIGN_NS;
    }
    return error == -ESTALE                                    ? 0
           : error == -ENOMEM || live_reader_fd(f->reader) < 0 ? RETRY_MS
                                                               : (int)(SIGN_NS / 1000000);
}

// ---- The thread ------------------------------------------------------------------------------

static void finish(struct serving *f)
{
    leave_log(f);
    free(f->batch);
    frame_peer_unref(&f->peer);
    *f = (struct serving){0};
}

// Takes notice of what has been noted.
static void read_note(struct log_server *s, struct serving *f)
{
    pthread_mutex_lock(&s->lock);
    struct frame_log_want want = f->note;
    bool noted = f->noted;
    f->noted = false;
    if (f->gone)
        finish(f);
    f->active = f->peer;
    pthread_mutex_unlock(&s->lock);
    if (f->active && noted)
        follow_want(s, f, &want);
}

static void *server_run(void *arg)
{
    struct log_server *s = arg;
    struct pollfd fds[1 + FOLLOWERS_MAX];
    struct serving *waits[1 + FOLLOWERS_MAX];
    while (!atomic_load(&s->stop)) {
        int64_t now = clock_monotonic_ns();
        int timeout_ms = INT_MAX;
        nfds_t count = 1;
        fds[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
        for (int i = 0; i < FOLLOWERS_MAX; i++) {
            struct serving *f = &s->servings[i];
            read_note(s, f);
            int due_ms = f->active && f->reader ? serve(f, now) : INT_MAX;
            timeout_ms = due_ms < timeout_ms ? due_ms : timeout_ms;
            if (!f->active || !f->reader || f->batch_size || window_is_full(f))
                continue; // what the log does is not waited for
            waits[count] = f;
            fds[count++] = (struct pollfd){.fd = live_reader_fd(f->reader), .events = POLLIN};
        }
        (void)poll(fds, count, timeout_ms == INT_MAX ? -1 : timeout_ms);
        eventfd_t value;
        if (fds[0].revents)
            eventfd_read(s->wake_fd, &value);
        for (nfds_t i = 1; i < count; i++)
            waits[i]->woken = fds[i].revents;
    }
    return NULL;
}

// ---- Life ------------------------------------------------------------------------------------

int log_server_create(const char *root, struct log_server **ret, struct diagnostic *reterr)
{
    struct log_server *s = base_alloc(sizeof *s);
    s->root = base_strdup(root);
    pthread_mutex_init(&s->lock, NULL);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int error = s->wake_fd < 0 ? -errno : thread_start(&s->thread, "log-server", server_run, s);
    if (error) {
        if (s->wake_fd >= 0)
            close(s->wake_fd);
        pthread_mutex_destroy(&s->lock);
        free(s->root);
        free(s);
        return diagnostic_set(reterr, error, "log_server", "", "logs cannot be served: %s",
                              strerror(-error));
    }
    *ret = s;
    return 0;
}

void log_server_destroy(struct log_server **server)
{
    struct log_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    atomic_store(&s->stop, true);
    eventfd_write(s->wake_fd, 1);
    thread_join(s->thread);
    for (int i = 0; i < FOLLOWERS_MAX; i++)
        if (s->servings[i].peer)
            finish(&s->servings[i]);
    close(s->wake_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->root);
    free(s);
}
