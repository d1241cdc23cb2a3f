// Blocks: memory that a provider of frames shares with the consumers on its host. Each is a memfd
// whose size is sealed; a consumer opens it by the provider's process and descriptor
// (block_reader.h), maps it for reading, and tells by its wants (frame_link.h, `keep`) when it is
// done, so that the memory can be used again.
//
// A block starts with its serial (u64), which names its present content; the content follows at
// BLOCK_CONTENT_AT. Thread: any.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_CONTENT_AT 64

// Names the host as far as memory can be shared: equal only where the boot, the process ids, the
// network and the user are the same. Never 0, but where it cannot be told.
uint64_t block_host(void);

// Where a block is and what it holds, as a consumer is told.
struct block_name {
    uint32_t process, descriptor;
    uint64_t inode, serial;
    uint64_t size; // of the content
};

struct block_pool;
// `bytes_max`: of all its blocks together.
struct block_pool *block_pool_create(size_t bytes_max);
void block_pool_destroy(struct block_pool **pool); // all blocks have been released

struct block {
    uint8_t *content; // writable by who took it, until it is lent
    struct block_name name;
    // -- private to block_pool.c
    struct block_pool *pool;
    _Atomic int references;
    _Atomic bool abandoned;
    int fd;
    uint8_t *memory;
    size_t capacity;
    struct block *next;
};

// Gives a block for `size` bytes of new content. -ENOMEM: none is to be had, or the pool is at its
// limit; others as memfd_create.
int block_take(struct block_pool *pool, size_t size, struct block **ret);
struct block *block_ref(struct block *block);
// With the last reference the memory goes back to the pool, unless the block was abandoned: then
// somebody may still read it, and it is left to them.
void block_unref(struct block **block);
void block_abandon(struct block *block);
