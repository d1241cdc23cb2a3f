#include "engine/link/block_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/thread.h"
#include "engine/frame/checksum.h"

// So much is kept for blocks to come; the rest goes back to the system.
#define IDLE_BYTES_MAX ((size_t)96 << 20)
#define BLOCKS_MAX     8192

struct block_pool {
    // -- constant after create
    size_t bytes_max;
    int count_max;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct block *idle; // those used last come first
    size_t bytes, idle_bytes;
    int count;
    uint64_t serial;
};

static uint64_t host; // constant once found

static void find_host(void)
{
    char boot[64] = "";
    struct stat processes, network;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, boot, sizeof boot);
    if (fd >= 0)
        close(fd);
    if (size <= 0 || stat("/proc/self/ns/pid", &processes) || stat("/proc/self/ns/net", &network))
        return;
    uint64_t parts[] = {processes.st_ino, network.st_ino, geteuid(), getegid()};
    uint64_t sum = checksum_add(checksum_begin(), boot, sizeof boot);
    host = checksum_add(sum, parts, sizeof parts) | 1;
}

uint64_t block_host(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_host);
    return host;
}

// Each block has a descriptor: raises the soft limit, and leaves half of them to everything else.
static int descriptors_for_blocks(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return 0;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur / 2 < BLOCKS_MAX ? (int)(limit.rlim_cur / 2) : BLOCKS_MAX;
}

struct block_pool *block_pool_create(size_t bytes_max)
{
    struct block_pool *pool = base_alloc(sizeof *pool);
    pool->bytes_max = bytes_max;
    pool->count_max = descriptors_for_blocks();
    pthread_mutex_init(&pool->lock, NULL);
    // Serials of another process that gets the same numbers are others.
    (void)RAND_bytes((unsigned char *)&pool->serial, sizeof pool->serial);
    pool->serial >>= 8;
    return pool;
}

static void block_free(struct block *b)
{
    if (b->memory)
        munmap(b->memory, b->capacity);
    if (b->fd >= 0)
        close(b->fd);
    free(b);
}

void block_pool_destroy(struct block_pool **pool)
{
    struct block_pool *p = *pool;
    if (!p)
        return;
    *pool = NULL;
    for (struct block *b = p->idle, *next; b; b = next) {
        next = b->next;
        block_free(b);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

// Called with the lock held. Blocks of about the size, so that memory is not wasted.
static struct block *take_idle(struct block_pool *pool, size_t capacity)
{
    for (struct block **at = &pool->idle; *at; at = &(*at)->next) {
        struct block *b = *at;
        if (b->capacity < capacity || b->capacity > capacity + capacity / 4)
            continue;
        *at = b->next;
        pool->idle_bytes -= b->capacity;
        return b;
    }
    return NULL;
}

static int block_make(struct block_pool *pool, size_t capacity, struct block **ret)
{
    struct block *b = base_alloc(sizeof *b);
    b->pool = pool;
    b->capacity = capacity;
    b->fd = memfd_create("vistter-frame", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct stat facts;
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    void *memory = MAP_FAILED;
    // Reserved at once: memory that is not there is an error here, and not a signal when it is
    // written.
    if (b->fd >= 0 && !fallocate(b->fd, 0, 0, (off_t)capacity) && !fstat(b->fd, &facts) &&
        !fcntl(b->fd, F_ADD_SEALS, seals))
        memory = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    int error = memory == MAP_FAILED ? -errno : 0;
    if (error) {
        block_free(b);
        return error;
    }
    b->memory = memory;
    b->content = b->memory + BLOCK_CONTENT_AT;
    b->name = (struct block_name){
        .process = (uint32_t)getpid(),
        .descriptor = (uint32_t)b->fd,
        .inode = facts.st_ino,
    };
    *ret = b;
    return 0;
}

int block_take(struct block_pool *pool, size_t size, struct block **ret)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t capacity = (BLOCK_CONTENT_AT + size + page - 1) / page * page;
    pthread_mutex_lock(&pool->lock);
    struct block *b = take_idle(pool, capacity);
    bool room = pool->bytes + capacity <= pool->bytes_max && pool->count < pool->count_max;
    int error = b || room ? 0 : -ENOMEM;
    if (!error && !b) {
        pool->bytes += capacity;
        pool->count++;
    }
    uint64_t serial = ++pool->serial;
    pthread_mutex_unlock(&pool->lock);
    if (!error && !b && (error = block_make(pool, capacity, &b))) {
        pthread_mutex_lock(&pool->lock);
        pool->bytes -= capacity;
        pool->count--;
        pthread_mutex_unlock(&pool->lock);
    }
    if (error)
        return error;
    b->name.serial = serial;
    b->name.size = size;
    memcpy(b->memory, &serial, sizeof serial);
    atomic_store(&b->references, 1);
    *ret = b;
    return 0;
}

struct block *block_ref(struct block *block)
{
    atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    return block;
}

void block_abandon(struct block *block)
{
    atomic_store(&block->abandoned, true);
}

void block_unref(struct block **block)
{
    struct block *b = *block;
    if (!b)
        return;
    *block = NULL;
    if (atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1)
        return;
    struct block_pool *pool = b->pool;
    pthread_mutex_lock(&pool->lock);
    bool keep = !atomic_load(&b->abandoned) && pool->idle_bytes + b->capacity <= IDLE_BYTES_MAX;
    if (keep) {
        b->next = pool->idle;
        pool->idle = b;
        pool->idle_bytes += b->capacity;
    } else {
        pool->bytes -= b->capacity;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!keep)
        block_free(b);
}
