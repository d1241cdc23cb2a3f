#include "engine/frame/picture.h"

#include "engine/base/thread.h"
#include "engine/frame/checksum.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct picture_pool {
    // -- constant after create
    enum picture_format format;
    int width, height;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct picture *idle;
    int taken;
    bool closed;
};

static _Atomic int64_t outstanding;

int64_t picture_outstanding(void)
{
    return atomic_load(&outstanding);
}

struct picture *picture_create(enum picture_format format, int width, int height)
{
    assert(width > 0 && height > 0 && width % 2 == 0 && height % 2 == 0);
    assert(width <= PICTURE_SIDE_MAX && height <= PICTURE_SIDE_MAX);
    struct picture shape = {.format = format, .width = width, .height = height};
    size_t offset[4] = {0}, size = 64;
    for (int i = 0; i < picture_planes(&shape); i++) {
        shape.stride[i] = ((ptrdiff_t)plane_width(&shape, i) + 63) & ~(ptrdiff_t)63;
        offset[i] = size - 64;
        size += (size_t)shape.stride[i] * (size_t)plane_height(&shape, i);
    }
    struct picture *p = malloc(sizeof *p);
    uint8_t *memory = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (!p || !memory) {
        free(p);
        free(memory);
        return NULL;
    }
    memcpy(p, &shape, sizeof *p);
    for (int i = 0; i < picture_planes(p); i++)
        p->plane[i] = memory + offset[i];
    p->release = free;
    p->opaque = memory;
    atomic_init(&p->references, 1);
    atomic_fetch_add(&outstanding, 1);
    return p;
}

struct picture *picture_wrap(enum picture_format format, int width, int height,
                             uint8_t *const plane[4], const ptrdiff_t stride[4],
                             void (*release)(void *opaque), void *opaque)
{
    struct picture *p = base_alloc(sizeof *p);
    p->format = format;
    p->width = width;
    p->height = height;
    for (int i = 0; i < picture_planes(p); i++) {
        p->plane[i] = plane[i];
        p->stride[i] = stride[i];
    }
    p->release = release;
    p->opaque = opaque;
    atomic_init(&p->references, 1);
    atomic_fetch_add(&outstanding, 1);
    return p;
}

struct picture *picture_ref(const struct picture *picture)
{
    struct picture *p = (struct picture *)picture;
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

bool picture_writable(const struct picture *picture)
{
    return atomic_load_explicit(&((struct picture *)picture)->references, memory_order_acquire) ==
           1;
}

static void picture_free(struct picture *p)
{
    if (p->release)
        p->release(p->opaque);
    free(p);
}

static void pool_free(struct picture_pool *pool)
{
    while (pool->idle) {
        struct picture *p = pool->idle;
        pool->idle = p->next;
        picture_free(p);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void picture_unref(struct picture **picture)
{
    struct picture *p = *picture;
    if (!p)
        return;
    *picture = NULL;
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    atomic_fetch_sub(&outstanding, 1);
    struct picture_pool *pool = p->pool;
    if (!pool) {
        picture_free(p);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    p->next = pool->idle;
    pool->idle = p;
    bool last = --pool->taken == 0 && pool->closed;
    pthread_mutex_unlock(&pool->lock);
    if (last)
        pool_free(pool);
}

struct picture_pool *picture_pool_create(enum picture_format format, int width, int height)
{
    struct picture_pool *pool = base_alloc(sizeof *pool);
    pool->format = format;
    pool->width = width;
    pool->height = height;
    mutex_init_urgent(&pool->lock);
    return pool;
}

void picture_pool_destroy(struct picture_pool **pool)
{
    struct picture_pool *p = *pool;
    if (!p)
        return;
    *pool = NULL;
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    bool last = p->taken == 0;
    pthread_mutex_unlock(&p->lock);
    if (last)
        pool_free(p);
}

struct picture *picture_pool_take(struct picture_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct picture *p = pool->idle;
    if (p)
        pool->idle = p->next;
    pool->taken++;
    pthread_mutex_unlock(&pool->lock);
    if (p) {
        atomic_store(&p->references, 1);
        atomic_fetch_add(&outstanding, 1);
        return p;
    }
    p = picture_create(pool->format, pool->width, pool->height);
    if (p) {
        p->pool = pool;
        return p;
    }
    pthread_mutex_lock(&pool->lock);
    pool->taken--;
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void picture_fill(struct picture *p, const uint8_t colour[4])
{
    for (int i = 0; i < picture_planes(p); i++)
        for (int y = 0; y < plane_height(p, i); y++)
            memset(p->plane[i] + y * p->stride[i], colour[i], (size_t)plane_width(p, i));
}

void picture_clear(struct picture *p)
{
    static const uint8_t black[4] = {16, 128, 128, 255}, nothing[4];
    picture_fill(p, p->format == PICTURE_ALPHA ? nothing : black);
}

void picture_copy(struct picture *dst, const struct picture *src)
{
    assert(dst->format == src->format && dst->width == src->width && dst->height == src->height);
    for (int i = 0; i < picture_planes(dst); i++)
        for (int y = 0; y < plane_height(dst, i); y++)
            memcpy(dst->plane[i] + y * dst->stride[i], src->plane[i] + y * src->stride[i],
                   (size_t)plane_width(dst, i));
}

bool picture_equal(const struct picture *a, const struct picture *b)
{
    if (a->format != b->format || a->width != b->width || a->height != b->height)
        return false;
    for (int i = 0; i < picture_planes(a); i++)
        for (int y = 0; y < plane_height(a, i); y++)
            if (memcmp(a->plane[i] + y * a->stride[i], b->plane[i] + y * b->stride[i],
                       (size_t)plane_width(a, i)))
                return false;
    return true;
}

uint64_t picture_checksum(const struct picture *p)
{
    uint64_t sum = checksum_begin();
    for (int i = 0; i < picture_planes(p); i++)
        for (int y = 0; y < plane_height(p, i); y++)
            sum = checksum_add(sum, p->plane[i] + y * p->stride[i], (size_t)plane_width(p, i));
    return sum;
}
