#include "engine/live/log_follower.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/frame_link.h"
#include "engine/live/log_message.h"
#include "engine/live/log_server.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TELL_BYTES (LOG_WINDOW_BYTES / 4) // the home hears of so many at once, else by and by
#define RETRY_NS   INT64_C(1000000000)    // after what could not be written

struct log_follower {
    char source[FRAME_LOG_NAME_MAX + 1];
    // -- guarded by log_lock, which the client's thread holds while it writes
    pthread_mutex_t log_lock;
    struct live_log *log; // NULL: stopped
    // -- client's thread
    uint32_t start;
    uint64_t taken, told; // bytes of units since `start`; of them, said at once
    int64_t retry_at_ns;  // until then nothing is taken
    struct log_limit error_limit;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct frame_client *client; // does not change once a callback has seen it
    struct log_follower_stats stats;
};

// ---- Asking ----------------------------------------------------------------------------------

static void tell(struct log_follower *f, bool now)
{
    struct frame_log_want want = {.start = f->start, .taken = f->taken};
    memcpy(want.source, f->source, sizeof want.source);
    live_log_newest(f->log, &want.seq, &want.crc);
    if (now)
        f->told = f->taken;
    pthread_mutex_lock(&f->lock);
    struct frame_client *client = f->client;
    pthread_mutex_unlock(&f->lock);
    frame_client_want_log(client, &want, now);
}

// To be sent on behind what is here; what is on its way is void.
static void ask(struct log_follower *f)
{
    f->start++;
    f->taken = f->told = 0;
    tell(f, true);
}

static void on_state(void *opaque, bool connected)
{
    struct log_follower *f = opaque;
    pthread_mutex_lock(&f->lock);
    f->stats.connected = connected;
    pthread_mutex_unlock(&f->lock);
    pthread_mutex_lock(&f->log_lock);
    if (connected && f->log)
        ask(f);
    pthread_mutex_unlock(&f->log_lock);
}

// ---- What comes ------------------------------------------------------------------------------

static void count(struct log_follower *f, int error, uint64_t units, uint64_t bytes, bool lost,
                  bool anew)
{
    uint32_t crc;
    pthread_mutex_lock(&f->lock);
    live_log_newest(f->log, &f->stats.seq, &crc);
    for (int i = 0; i < UNIT_STREAMS; i++)
        f->stats.done_ns[i] = live_log_done_ns(f->log, (enum unit_stream)i);
    f->stats.units += units;
    f->stats.bytes += bytes;
    f->stats.lost += lost;
    f->stats.anew += anew;
    f->stats.error = error;
    pthread_mutex_unlock(&f->lock);
}

static void on_error(struct log_follower *f, int error)
{
    int64_t now = clock_monotonic_ns();
    f->retry_at_ns = now + RETRY_NS;
    uint64_t times = log_limit(&f->error_limit, now, 10 * RETRY_NS);
    if (times)
        log_debug("log_copy_failed", "source=%s error=%d count=%llu", f->source, error,
                  (unsigned long long)times);
}

static void append(struct log_follower *f, uint64_t segment, const uint8_t *units, size_t size,
                   bool anew)
{
    uint64_t number = 0;
    size_t at = 0, bytes = 0;
    int error = 0;
    for (; at < size; at += bytes, number++)
        if ((error = live_log_append_copy(f->log, segment, units + at, size - at, &bytes)))
            break;
    f->taken += at;
    if (error == -EPROTO && !anew) { // it does not fit what is here: then that has to go
        live_log_anew(f->log);
        anew = true;
    }
    count(f, error, number, at, error != 0, anew);
    if (error)
        on_error(f, error);
    else
        tell(f, f->taken - f->told >= TELL_BYTES);
}

static void agree(struct log_follower *f)
{
    pthread_mutex_lock(&f->lock);
    f->stats.agreed = true;
    pthread_mutex_unlock(&f->lock);
}

// The home's log begins with these units. Where it has our newest one's number too, it has another
// unit there; else ours have only been removed.
static void begin_anew(struct log_follower *f, const uint8_t *units, size_t size, uint64_t newest)
{
    struct unit first;
    if (!unit_parse(units, size, &first) && first.seq <= newest) {
        pthread_mutex_lock(&f->lock);
        f->stats.forks++;
        f->stats.fork_ns = live_log_done_ns(f->log, UNIT_PICTURE);
        pthread_mutex_unlock(&f->lock);
    }
    live_log_anew(f->log);
}

static void take(struct log_follower *f, const uint8_t *payload, size_t size)
{
    struct log_head head;
    if (log_head_read(payload, size, &head) || head.start != f->start ||
        clock_monotonic_ns() < f->retry_at_ns)
        return;
    uint64_t newest;
    uint32_t crc;
    live_log_newest(f->log, &newest, &crc);
    bool anew = !head.after && size > LOG_HEAD_BYTES && newest;
    if (anew)
        begin_anew(f, payload + LOG_HEAD_BYTES, size - LOG_HEAD_BYTES, newest);
    else if (head.after > newest) { // what is between was lost
        count(f, 0, 0, 0, true, false);
        ask(f);
        return;
    } else if (head.after < newest)
        return;
    agree(f);
    append(f, head.segment, payload + LOG_HEAD_BYTES, size - LOG_HEAD_BYTES, anew);
}

static void on_log(void *opaque, const uint8_t *payload, size_t size)
{
    struct log_follower *f = opaque;
    pthread_mutex_lock(&f->log_lock);
    if (f->log)
        take(f, payload, size);
    pthread_mutex_unlock(&f->log_lock);
}

// ---- Life ------------------------------------------------------------------------------------

static void follower_free(struct log_follower *f)
{
    live_log_destroy(&f->log);
    pthread_mutex_destroy(&f->log_lock);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int log_follower_create(const struct log_follower_config *config, struct log_follower **ret,
                        struct diagnostic *reterr)
{
    if (!frame_log_name_valid(config->source))
        return diagnostic_set(reterr, -EINVAL, "live_source_name", "",
                              "a source's name has 1 to %d of the characters A-Z a-z 0-9 . _ -",
                              FRAME_LOG_NAME_MAX);
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/%s", config->root, config->source);
    struct log_follower *f = base_alloc(sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&f->log_lock, NULL);
    snprintf(f->source, sizeof f->source, "%s", config->source);
    // Nothing that was recorded of an earlier follower may pass for an answer to this one.
    uint8_t session[FRAME_SESSION_BYTES];
    frame_session_draw(session);
    f->start = get_u32(session);
    int error = live_log_copy(folder, config->source, LIVE_LOG_LIMITS, &f->log, reterr);
    if (error) {
        follower_free(f);
        return error;
    }
    count(f, 0, 0, 0, false, false);
    struct frame_client_config link = {
        .address = config->address,
        .consumer = config->consumer,
        .link_id = config->link_id,
        .latency_ms = config->latency_ms,
        .on_state = on_state,
        .on_log = on_log,
        .opaque = f,
    };
    memcpy(link.key, config->key, sizeof link.key);
    pthread_mutex_lock(&f->lock); // the first callback may come before this returns
    error = frame_client_create(&link, &f->client, reterr);
    pthread_mutex_unlock(&f->lock);
    explicit_bzero(link.key, sizeof link.key);
    if (error) {
        follower_free(f);
        return error;
    }
    *ret = f;
    return 0;
}

void log_follower_stats(struct log_follower *follower, struct log_follower_stats *ret)
{
    pthread_mutex_lock(&follower->lock);
    *ret = follower->stats;
    pthread_mutex_unlock(&follower->lock);
}

int log_follower_stop(struct log_follower *f)
{
    frame_client_close(f->client);
    if (pthread_mutex_trylock(&f->log_lock))
        return -EAGAIN;
    live_log_destroy(&f->log);
    pthread_mutex_unlock(&f->log_lock);
    return 0;
}

bool log_follower_ended(const struct log_follower *follower)
{
    return frame_client_ended(follower->client);
}

void log_follower_destroy(struct log_follower **follower)
{
    struct log_follower *f = *follower;
    if (!f)
        return;
    *follower = NULL;
    struct frame_client *client = f->client; // callbacks go on seeing it until it has ended
    frame_client_destroy(&client);
    follower_free(f);
}
