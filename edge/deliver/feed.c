#include "edge/deliver/sink.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FEED_ITEMS 4096
#define FEED_BYTES (24 << 20)

struct feed {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // -- guarded by lock
    struct feed_item items[FEED_ITEMS];
    size_t head, count, bytes;
    bool closed;
    bool cut; // packets are dropped until the next key frame
    uint64_t dropped;
    int64_t newest_picture;
    _Atomic int publish; // enum publish_mode
};

struct feed *feed_create(void)
{
    struct feed *f = base_alloc(sizeof *f);
    f->newest_picture = INT64_MIN;
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &attr);
    pthread_condattr_destroy(&attr);
    atomic_store(&f->publish, PUBLISH_YES);
    return f;
}

static void item_release(struct feed_item *item)
{
    packet_unref(&item->packet);
    free(item->setup);
    item->setup = NULL;
}

static struct feed_item pop(struct feed *f)
{
    struct feed_item item = f->items[f->head];
    f->head = (f->head + 1) % FEED_ITEMS;
    f->count--;
    f->bytes -= item.packet ? item.packet->size : 0;
    return item;
}

static void append(struct feed *f, const struct feed_item *item)
{
    f->items[(f->head + f->count++) % FEED_ITEMS] = *item;
    f->bytes += item->packet ? item->packet->size : 0;
}

void feed_destroy(struct feed **feed)
{
    struct feed *f = *feed;
    if (!f)
        return;
    *feed = NULL;
    while (f->count) {
        struct feed_item item = pop(f);
        item_release(&item);
    }
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

static bool is_key(const struct feed_item *item)
{
    return item->packet && item->packet->stream == PACKET_VIDEO && item->packet->key;
}

// Drops the packets among the first `count` items.
static void drop_packets(struct feed *f, size_t count)
{
    size_t all = f->count;
    for (size_t i = 0; i < all; i++) {
        struct feed_item item = pop(f);
        if (i < count && item.packet) {
            item_release(&item);
            f->dropped++;
        } else {
            append(f, &item);
        }
    }
}

void feed_add(struct feed *f, const struct feed_item *item)
{
    pthread_mutex_lock(&f->lock);
    if (item->packet && (f->count >= FEED_ITEMS - 64 || f->bytes > FEED_BYTES)) {
        drop_packets(f, f->count);
        f->cut = true;
    }
    if (is_key(item))
        f->cut = false;
    struct feed_item taken = *item;
    if ((taken.packet && f->cut) || f->count == FEED_ITEMS || f->closed) {
        f->dropped += taken.packet && !f->closed;
        item_release(&taken);
    } else {
        if (taken.packet && taken.packet->stream == PACKET_VIDEO)
            f->newest_picture = taken.packet->dts;
        append(f, &taken);
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
}

void feed_close(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->closed = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

bool feed_closed(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    bool closed = f->closed;
    pthread_mutex_unlock(&f->lock);
    return closed;
}

static struct timespec deadline_in(int timeout_ms)
{
    int64_t at = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    return (struct timespec){at / 1000000000, at % 1000000000};
}

int feed_take(struct feed *f, int timeout_ms, struct feed_item *ret)
{
    struct timespec deadline = deadline_in(timeout_ms);
    pthread_mutex_lock(&f->lock);
    int late = 0;
    while (!f->count && !f->closed && !late)
        late = pthread_cond_timedwait(&f->changed, &f->lock, &deadline);
    int result = f->count ? 0 : f->closed ? -EPIPE : -EAGAIN;
    if (!result)
        *ret = pop(f);
    pthread_mutex_unlock(&f->lock);
    return result;
}

bool feed_wait_closed(struct feed *f, int timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms);
    pthread_mutex_lock(&f->lock);
    int late = 0;
    while (!f->closed && !late)
        late = pthread_cond_timedwait(&f->changed, &f->lock, &deadline);
    bool closed = f->closed;
    pthread_mutex_unlock(&f->lock);
    return closed;
}

void feed_skip_to_newest_key(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    size_t newest = 0;
    for (size_t i = 0; i < f->count; i++)
        if (is_key(&f->items[(f->head + i) % FEED_ITEMS]))
            newest = i;
    drop_packets(f, newest);
    pthread_mutex_unlock(&f->lock);
}

void feed_set_publish(struct feed *f, enum publish_mode mode)
{
    atomic_store(&f->publish, (int)mode);
}

enum publish_mode feed_publish(const struct feed *f)
{
    return (enum publish_mode)atomic_load(&f->publish);
}

int64_t feed_newest_picture(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    int64_t newest = f->newest_picture;
    pthread_mutex_unlock(&f->lock);
    return newest;
}

uint64_t feed_dropped(struct feed *f)
{
    pthread_mutex_lock(&f->lock);
    uint64_t dropped = f->dropped;
    pthread_mutex_unlock(&f->lock);
    return dropped;
}

// ---- Status ------------------------------------------------------------------------------------

struct status {
    pthread_mutex_t lock;
    // -- guarded by lock
    struct deliver_report report;
};

struct status *status_create(void)
{
    struct status *s = base_alloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->report.state = DELIVER_CONNECTING;
    return s;
}

void status_destroy(struct status **status)
{
    struct status *s = *status;
    if (!s)
        return;
    *status = NULL;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void status_set(struct status *s, enum deliver_state state)
{
    pthread_mutex_lock(&s->lock);
    s->report.state = state;
    pthread_mutex_unlock(&s->lock);
}

void status_error(struct status *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&s->lock);
    vsnprintf(s->report.error, sizeof s->report.error, format, args);
    pthread_mutex_unlock(&s->lock);
    va_end(args);
}

void status_alarm(struct status *s, const char *code)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->report.alarm, sizeof s->report.alarm, "%s", code);
    pthread_mutex_unlock(&s->lock);
}

void status_turn(struct status *s)
{
    pthread_mutex_lock(&s->lock);
    s->report.turns++;
    pthread_mutex_unlock(&s->lock);
}

void status_add(struct status *s, uint64_t bytes, uint32_t reconnects)
{
    pthread_mutex_lock(&s->lock);
    s->report.bytes += bytes;
    s->report.reconnects += reconnects;
    pthread_mutex_unlock(&s->lock);
}

void status_get(struct status *s, struct deliver_report *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->report;
    pthread_mutex_unlock(&s->lock);
}
