// Shared blocks: what a reader sees is what was put there for it, whatever the provider goes on to
// do; a name that is wrong in any way is refused.
#include "engine/link/block_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "tests/check.h"

#define SIZE 300000

static struct frame_header header_of(int64_t frame)
{
    return (struct frame_header){.channel = 3, .group = 2, .plan_epoch = 4, .frame = frame};
}

static struct block *filled(struct block_pool *pool, int value)
{
    struct block *block = NULL;
    CHECK_OK(block_take(pool, SIZE, &block));
    memset(block->content, value, SIZE);
    return block;
}

static struct frame_body *opened(struct block_reader *reader, const struct block *block, int64_t n)
{
    struct frame_header header = header_of(n);
    struct frame_body *body = NULL;
    CHECK_OK(block_reader_open(reader, &block->name, &header, &body));
    return body;
}

static bool is_all(const struct frame_body *body, int value)
{
    for (size_t i = 0; i < body->size; i++)
        if (body->bytes[i] != value)
            return false;
    return body->size == SIZE && body->stored;
}

static void test_life(void)
{
    struct block_pool *pool = block_pool_create((size_t)8 << 20);
    struct block_reader *reader = block_reader_create();
    struct frame_header header = header_of(5);
    struct block *a = filled(pool, 1), *b = filled(pool, 2);
    struct frame_body *one = opened(reader, a, 10), *two = opened(reader, b, 11), *other;
    CHECK_TRUE(is_all(one, 1) && is_all(two, 2));
    CHECK(block_reader_keep(reader, 3, 2, 4, 20), ==, 10);
    CHECK(block_reader_keep(reader, 3, 2, 4, 5), ==, 5);
    CHECK(block_reader_keep(reader, 3, 2, 5, 20), ==, 20); // another plan
    CHECK(block_reader_keep(reader, 3, 1, 4, 20), ==, 20); // another group
    frame_body_unref(&one);
    CHECK(block_reader_keep(reader, 3, 2, 4, 20), ==, 11);

    // Given back and used again: a message that comes late finds other content, and is told so.
    struct block_name late = a->name;
    uint64_t inode = a->name.inode;
    block_unref(&a);
    a = filled(pool, 3);
    CHECK_TRUE(a->name.inode == inode);
    CHECK_ERROR(block_reader_open(reader, &late, &header, &other), -ESTALE);
    one = opened(reader, a, 12);
    CHECK_TRUE(is_all(one, 3));
    frame_body_unref(&one);

    // Abandoned: whoever still reads it may go on for ever.
    block_abandon(b);
    inode = b->name.inode;
    block_unref(&b);
    b = filled(pool, 4);
    CHECK_TRUE(b->name.inode != inode);
    CHECK_TRUE(is_all(two, 2));
    // The reader may end before its bodies do.
    block_reader_destroy(&reader);
    CHECK_TRUE(is_all(two, 2));
    frame_body_unref(&two);
    block_unref(&a);
    block_unref(&b);
    block_pool_destroy(&pool);
}

static int mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    int count = 0;
    while (maps && fgets(line, sizeof line, maps))
        count += strstr(line, "vistter-frame") && strstr(line, " r--s");
    if (maps)
        fclose(maps);
    return count;
}

// What has not been used for a while is let go of, what is in use is not.
static void test_tidy(void)
{
    struct block_pool *pool = block_pool_create((size_t)8 << 20);
    struct block_reader *reader = block_reader_create();
    struct block *a = filled(pool, 1), *b = filled(pool, 2);
    struct frame_body *one = opened(reader, a, 1), *two = opened(reader, b, 2);
    frame_body_unref(&one);
    int64_t now = clock_monotonic_ns();
    block_reader_tidy(reader, now);
    CHECK(mappings(), ==, 2);
    block_reader_tidy(reader, now + INT64_C(60000000000));
    CHECK(mappings(), ==, 1);
    CHECK_TRUE(is_all(two, 2));
    frame_body_unref(&two);
    block_reader_destroy(&reader);
    CHECK(mappings(), ==, 0);
    block_unref(&a);
    block_unref(&b);
    block_pool_destroy(&pool);
}

static void test_limit(void)
{
    struct block_pool *pool = block_pool_create(3 * (SIZE + 4096) + 4096);
    struct block *blocks[3], *more = NULL;
    for (int i = 0; i < 3; i++)
        blocks[i] = filled(pool, i);
    CHECK_ERROR(block_take(pool, SIZE, &more), -ENOMEM);
    block_unref(&blocks[1]);
    CHECK_OK(block_take(pool, SIZE, &more));
    block_unref(&more);
    block_unref(&blocks[0]);
    block_unref(&blocks[2]);
    block_pool_destroy(&pool);
}

static int try_name(struct block_reader *reader, struct block_name name)
{
    struct frame_header header = header_of(1);
    struct frame_body *body = NULL;
    int error = block_reader_open(reader, &name, &header, &body);
    frame_body_unref(&body);
    return error;
}

static struct block_name name_of_file(int fd)
{
    struct stat facts;
    CHECK_OK(fstat(fd, &facts));
    return (struct block_name){(uint32_t)getpid(), (uint32_t)fd, facts.st_ino, 0, 100};
}

static void test_refused(void)
{
    struct block_pool *pool = block_pool_create((size_t)8 << 20);
    struct block_reader *reader = block_reader_create();
    struct block *a = filled(pool, 1);
    struct block_name name = a->name;
    CHECK_OK(try_name(reader, name));
    name.size = UINT64_MAX;
    CHECK_ERROR(try_name(reader, name), -EPROTO);
    name.size = a->name.size + 8192;
    CHECK_ERROR(try_name(reader, name), -EPROTO);
    name = a->name;
    name.serial++;
    CHECK_ERROR(try_name(reader, name), -ESTALE);
    name.inode++;
    CHECK_ERROR(try_name(reader, name), -ESTALE);
    name.descriptor = 999999;
    CHECK_ERROR(try_name(reader, name), -ESTALE);
    name.process = 0x7fffffff;
    CHECK_ERROR(try_name(reader, name), -ESTALE);
    // Memory that could shrink while it is read, a file, and no memory at all.
    int loose = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING),
        null = open("/dev/null", O_RDONLY);
    FILE *file = tmpfile();
    CHECK_OK(ftruncate(loose, 65536));
    CHECK_OK(ftruncate(fileno(file), 65536));
    CHECK_ERROR(try_name(reader, name_of_file(loose)), -EPROTO);
    CHECK_ERROR(try_name(reader, name_of_file(fileno(file))), -ESTALE);
    CHECK_ERROR(try_name(reader, name_of_file(null)), -ESTALE);
    int empty = memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK_OK(fcntl(empty, F_ADD_SEALS, F_SEAL_SHRINK));
    CHECK_ERROR(try_name(reader, name_of_file(empty)), -EPROTO);
    close(empty);
    close(loose);
    close(null);
    fclose(file);
    block_reader_destroy(&reader);
    block_unref(&a);
    block_pool_destroy(&pool);
}

// As between programs: the reader is another process, and goes on when the provider has ended.
static void test_processes(void)
{
    int names[2], go[2];
    CHECK_OK(pipe(names));
    CHECK_OK(pipe(go));
    pid_t provider = fork();
    if (provider == 0) {
        struct block_pool *pool = block_pool_create((size_t)8 << 20);
        struct block *block = filled(pool, 9);
        char byte;
        bool told = write(names[1], &block->name, sizeof block->name) == sizeof block->name;
        _exit(told && read(go[0], &byte, 1) == 1 ? 0 : 1);
    }
    struct block_name name;
    struct frame_header header = header_of(1);
    struct frame_body *body = NULL;
    struct block_reader *reader = block_reader_create();
    int status = -1;
    CHECK(read(names[0], &name, sizeof name), ==, sizeof name);
    CHECK_OK(block_reader_open(reader, &name, &header, &body));
    CHECK(write(go[1], "", 1), ==, 1);
    waitpid(provider, &status, 0);
    CHECK(status, ==, 0);
    CHECK_TRUE(body && is_all(body, 9));
    frame_body_unref(&body);
    block_reader_destroy(&reader);
    for (int i = 0; i < 2; i++) {
        close(names[i]);
        close(go[i]);
    }
}

int main(void)
{
    CHECK_TRUE(block_host() && block_host() == block_host());
    test_life();
    test_tidy();
    test_limit();
    test_refused();
    test_processes();
    return check_end();
}
