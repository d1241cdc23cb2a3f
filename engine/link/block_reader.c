#include "engine/link/block_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#define UNUSED_NS INT64_C(5000000000)

struct mapping {
    struct mapping *next;
    uint64_t inode;
    uint8_t *memory;
    size_t size;
    int loans; // frames that stand in it
    int64_t used_ns;
};

// A frame that somebody here still has.
struct loan {
    struct loan *next, **at;
    struct block_reader *reader;
    struct mapping *mapping;
    uint64_t channel;
    uint32_t group, plan_epoch;
    int64_t frame;
};

struct block_reader {
    atomic_int references; // its owner's, and one of each loan
    // -- guarded by lock
    pthread_mutex_t lock; // frames are let go by threads that follow a clock
    struct mapping *mappings;
    struct loan *loans;
};

struct block_reader *block_reader_create(void)
{
    struct block_reader *r = base_alloc(sizeof *r);
    atomic_init(&r->references, 1);
    mutex_init_urgent(&r->lock);
    return r;
}

static void unmap(struct mapping *first)
{
    for (struct mapping *m = first, *next; m; m = next) {
        next = m->next;
        munmap(m->memory, m->size);
        free(m);
    }
}

static void reader_unref(struct block_reader *r)
{
    if (atomic_fetch_sub(&r->references, 1) != 1)
        return;
    unmap(r->mappings);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void block_reader_destroy(struct block_reader **reader)
{
    if (!*reader)
        return;
    // What is idle goes here, rather than on the thread that lets go of the last frame.
    block_reader_tidy(*reader, INT64_MAX);
    reader_unref(*reader);
    *reader = NULL;
}

// ---- Mappings ---------------------------------------------------------------------------------

// Opens the provider's block, and makes sure that it is the one meant and cannot shrink under us.
static int open_block(const struct block_name *name, size_t *ret_size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/fd/%u", name->process, name->descriptor);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); // whatever it may be by now
    if (fd < 0)
        return errno == EACCES || errno == EPERM ? -EPERM : -ESTALE;
    struct stat facts;
    int seals = fcntl(fd, F_GET_SEALS), error = 0;
    if (fstat(fd, &facts) || seals < 0 || facts.st_ino != name->inode)
        error = -ESTALE; // the descriptor is something else's by now
    else if (!(seals & F_SEAL_SHRINK) || facts.st_size <= BLOCK_CONTENT_AT)
        error = -EPROTO;
    if (error) {
        close(fd);
        return error;
    }
    *ret_size = (size_t)facts.st_size;
    return fd;
}

static int make_mapping(const struct block_name *name, struct mapping **ret)
{
    size_t size;
    int fd = open_block(name, &size);
    if (fd < 0)
        return fd;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    struct mapping *m = base_alloc(sizeof *m);
    m->inode = name->inode;
    m->memory = memory;
    m->size = size;
    *ret = m;
    return 0;
}

// Called with the lock held.
static struct mapping *find_mapping(struct block_reader *r, uint64_t inode)
{
    struct mapping *m = r->mappings;
    while (m && m->inode != inode)
        m = m->next;
    return m;
}

static bool holds(const struct mapping *m, const struct block_name *name)
{
    uint64_t serial;
    memcpy(&serial, m->memory, sizeof serial);
    return serial == name->serial;
}

void block_reader_tidy(struct block_reader *r, int64_t now_ns)
{
    struct mapping *idle = NULL;
    pthread_mutex_lock(&r->lock);
    for (struct mapping **at = &r->mappings; *at;) {
        struct mapping *m = *at;
        if (m->loans || now_ns - m->used_ns < UNUSED_NS) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        m->next = idle;
        idle = m;
    }
    pthread_mutex_unlock(&r->lock);
    unmap(idle);
}

// ---- Loans ------------------------------------------------------------------------------------

static void loan_end(void *opaque)
{
    struct loan *loan = opaque;
    struct block_reader *r = loan->reader;
    pthread_mutex_lock(&r->lock);
    *loan->at = loan->next;
    if (loan->next)
        loan->next->at = loan->at;
    loan->mapping->loans--;
    loan->mapping->used_ns = clock_monotonic_ns();
    pthread_mutex_unlock(&r->lock);
    free(loan);
    reader_unref(r);
}

// Called with the lock held.
static struct loan *lend(struct block_reader *r, struct mapping *m, const struct frame_header *h)
{
    struct loan *loan = base_alloc(sizeof *loan);
    *loan = (struct loan){.next = r->loans,
                          .at = &r->loans,
                          .reader = r,
                          .mapping = m,
                          .channel = h->channel,
                          .group = h->group,
                          .plan_epoch = h->plan_epoch,
                          .frame = h->frame};
    if (r->loans)
        r->loans->at = &loan->next;
    r->loans = loan;
    m->loans++;
    atomic_fetch_add(&r->references, 1);
    return loan;
}

int block_reader_open(struct block_reader *r, const struct block_name *name,
                      const struct frame_header *header, struct frame_body **ret)
{
    struct mapping *made = NULL;
    struct loan *loan = NULL;
    pthread_mutex_lock(&r->lock);
    struct mapping *m = find_mapping(r, name->inode);
    int error = 0;
    if (!m) {
        // One thread opens, the link's; the lock is let go, since mapping takes time.
        pthread_mutex_unlock(&r->lock);
        error = make_mapping(name, &made);
        pthread_mutex_lock(&r->lock);
        if (!error) {
            made->next = r->mappings;
            r->mappings = m = made;
        }
    }
    if (!error && name->size > m->size - BLOCK_CONTENT_AT)
        error = -EPROTO;
    if (!error && !holds(m, name))
        error = -ESTALE;
    if (m)
        m->used_ns = clock_monotonic_ns();
    if (!error)
        loan = lend(r, m, header);
    pthread_mutex_unlock(&r->lock);
    if (error)
        return error;
    *ret = frame_body_stored(m->memory + BLOCK_CONTENT_AT, name->size, loan_end, loan);
    return 0;
}

int64_t block_reader_keep(struct block_reader *r, uint64_t channel, uint32_t group,
                          uint32_t plan_epoch, int64_t from)
{
    pthread_mutex_lock(&r->lock);
    for (const struct loan *loan = r->loans; loan; loan = loan->next)
        if (loan->frame < from && loan->channel == channel && loan->group == group &&
            loan->plan_epoch == plan_epoch)
            from = loan->frame;
    pthread_mutex_unlock(&r->lock);
    return from;
}
