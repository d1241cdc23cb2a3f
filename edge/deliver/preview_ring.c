#include "edge/deliver/preview_ring.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define FRAGMENTS_MAX 64
#define BYTES_MAX     ((size_t)16 << 20)

struct preview_bytes {
    _Atomic int references;
    size_t size;
    uint8_t data[];
};

struct preview_bytes *preview_bytes_create(const void *bytes, size_t size)
{
    struct preview_bytes *b = malloc(sizeof *b + size);
    if (!b)
        return NULL;
    atomic_init(&b->references, 1);
    b->size = size;
    memcpy(b->data, bytes, size);
    return b;
}

void preview_bytes_unref(struct preview_bytes **bytes)
{
    struct preview_bytes *b = *bytes;
    *bytes = NULL;
    if (b && atomic_fetch_sub(&b->references, 1) == 1)
        free(b);
}

static struct preview_bytes *bytes_ref(struct preview_bytes *b)
{
    atomic_fetch_add(&b->references, 1);
    return b;
}

const uint8_t *preview_bytes_data(const struct preview_bytes *bytes, size_t *ret_size)
{
    *ret_size = bytes->size;
    return bytes->data;
}

struct preview_ring {
    _Atomic int references;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // -- guarded by lock
    struct preview_bytes *init;
    struct preview_bytes *fragments[FRAGMENTS_MAX]; // at number % FRAGMENTS_MAX
    int64_t first, end; // numbers held: first <= number < end; 0 is never a fragment
    int64_t newest_key; // -1: none held
    size_t bytes;
    bool closed;
};

struct preview_ring *preview_ring_create(void)
{
    struct preview_ring *r = base_alloc(sizeof *r);
    atomic_init(&r->references, 1);
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    r->first = r->end = 1;
    r->newest_key = -1;
    return r;
}

struct preview_ring *preview_ring_ref(struct preview_ring *ring)
{
    atomic_fetch_add(&ring->references, 1);
    return ring;
}

static void drop_first(struct preview_ring *r)
{
    struct preview_bytes **b = &r->fragments[r->first % FRAGMENTS_MAX];
    r->bytes -= (*b)->size;
    if (r->newest_key == r->first)
        r->newest_key = -1;
    r->first++;
    preview_bytes_unref(b);
}

void preview_ring_unref(struct preview_ring **ring)
{
    struct preview_ring *r = *ring;
    *ring = NULL;
    if (!r || atomic_fetch_sub(&r->references, 1) != 1)
        return;
    while (r->first < r->end)
        drop_first(r);
    preview_bytes_unref(&r->init);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r);
}

void preview_ring_close(struct preview_ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->closed = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void preview_ring_set_init(struct preview_ring *r, struct preview_bytes **init)
{
    pthread_mutex_lock(&r->lock);
    preview_bytes_unref(&r->init);
    r->init = *init;
    *init = NULL;
    pthread_mutex_unlock(&r->lock);
}

void preview_ring_add(struct preview_ring *r, struct preview_bytes **fragment, bool key)
{
    pthread_mutex_lock(&r->lock);
    while (r->first < r->end &&
           (r->end - r->first == FRAGMENTS_MAX || r->bytes + (*fragment)->size > BYTES_MAX))
        drop_first(r);
    r->bytes += (*fragment)->size;
    r->fragments[r->end % FRAGMENTS_MAX] = *fragment;
    *fragment = NULL;
    if (key)
        r->newest_key = r->end;
    r->end++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

// Called with the lock held. Returns whether there is something for a reader at `*next`.
static bool ready(struct preview_ring *r, int64_t *next)
{
    if (!r->init)
        return false;
    if (*next == -1)
        return true;
    if (*next == 0 || *next < r->first) {
        if (r->newest_key < 0)
            return false;
        *next = r->newest_key;
    }
    return *next < r->end;
}

int preview_ring_next(struct preview_ring *r, int64_t *next, int timeout_ms,
                      struct preview_bytes **ret)
{
    int64_t at = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    struct timespec deadline = {at / 1000000000, at % 1000000000};
    pthread_mutex_lock(&r->lock);
    int late = 0;
    while (!r->closed && !ready(r, next) && !late)
        late = pthread_cond_timedwait(&r->changed, &r->lock, &deadline);
    int result = r->closed ? -EPIPE : ready(r, next) ? 0 : -EAGAIN;
    if (!result && *next == -1) {
        *ret = bytes_ref(r->init);
        *next = 0;
    } else if (!result) {
        *ret = bytes_ref(r->fragments[*next % FRAGMENTS_MAX]);
        ++*next;
    }
    pthread_mutex_unlock(&r->lock);
    return result;
}
