#include "engine/source/decode_child.h"

#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS 50

// Lasts as long as the child or one of its pictures does.
struct decode_slots {
    uint8_t *memory;
    size_t slot_bytes;
    int count;
    _Atomic int references;
    _Atomic uint32_t taken; // a bit for each
    struct slot {
        struct decode_slots *all;
        int number;
    } slot[DECODE_SLOTS_MAX];
};

// ---- Memory -----------------------------------------------------------------------------------

int decode_child_init(struct decode_child *c, const char *path, struct diagnostic *reterr)
{
    void *board = MAP_FAILED;
    *c = (struct decode_child){.process = {.fd = -1}};
    c->memory = memfd_create("vistter-decode", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (c->memory >= 0 && !ftruncate(c->memory, DECODE_BOARD_BYTES))
        board = mmap(NULL, DECODE_BOARD_BYTES, PROT_READ, MAP_SHARED, c->memory, 0);
    if (board != MAP_FAILED) {
        c->board = board;
        return 0;
    }
    int error = -errno;
    decode_child_finish(c);
    return diagnostic_set(reterr, error, "media_memory", path,
                          "no memory can be shared with its decoder: %s", strerror(-error));
}

int decode_child_make_slots(struct decode_child *c, size_t at, size_t slot_bytes, int count)
{
    struct decode_slots *s = base_alloc(sizeof *s);
    size_t size = slot_bytes * (size_t)count;
    void *memory = MAP_FAILED;
    if (!ftruncate(c->memory, (off_t)(at + size)) &&
        !fcntl(c->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        memory = mmap(NULL, size, PROT_READ, MAP_SHARED, c->memory, (off_t)at);
    if (memory == MAP_FAILED) {
        free(s);
        return -ENOMEM;
    }
    *s = (struct decode_slots){memory, slot_bytes, count, .references = 1};
    for (int i = 0; i < count; i++)
        s->slot[i] = (struct slot){s, i};
    c->slots = s;
    return 0;
}

static void slots_unref(struct decode_slots *s)
{
    if (atomic_fetch_sub(&s->references, 1) != 1)
        return;
    munmap(s->memory, s->slot_bytes * (size_t)s->count);
    free(s);
}

static void slot_release(void *opaque)
{
    struct slot *slot = opaque;
    atomic_fetch_and(&slot->all->taken, ~(UINT32_C(1) << slot->number));
    slots_unref(slot->all);
}

int decode_child_slot(struct decode_child *c, int32_t *ret)
{
    struct decode_slots *s = c->slots;
    uint32_t taken = atomic_load(&s->taken);
    int free_count = 0;
    for (int i = s->count - 1; i >= 0; i--)
        if (!(taken >> i & 1)) {
            *ret = i;
            free_count++;
        }
    return free_count - 1; // there is always one: the last is never given away
}

struct picture *decode_child_picture(struct decode_child *c, int32_t slot,
                                     enum picture_format format, int width, int height, bool last)
{
    struct decode_slots *s = c->slots;
    uint8_t *plane[4];
    ptrdiff_t stride[4];
    decode_slot_planes(s->memory + s->slot_bytes * (size_t)slot, width, height, plane, stride);
    struct picture *copy = last ? picture_create(format, width, height) : NULL;
    if (last && !copy)
        return NULL;
    atomic_fetch_add(&s->references, 1);
    atomic_fetch_or(&s->taken, UINT32_C(1) << slot);
    struct picture *picture =
        picture_wrap(format, width, height, plane, stride, slot_release, &s->slot[slot]);
    if (!last)
        return picture;
    picture_copy(copy, picture);
    picture_unref(&picture);
    return copy;
}

// ---- Life -------------------------------------------------------------------------------------

int decode_child_start(struct decode_child *c, const struct decode_order *order,
                       int fds[DECODE_FDS], struct diagnostic *reterr)
{
    fds[DECODE_MEMORY] = c->memory;
    return nursery_start(order, fds, &c->process, reterr);
}

int decode_child_end(struct decode_child *c)
{
    int64_t cpu_ns;
    int status = nursery_end(&c->process, &cpu_ns);
    c->ended_ns += cpu_ns;
    return status;
}

int decode_child_bury(struct decode_child *c, int why)
{
    int status = decode_child_end(c);
    if (why == CHILD_HANGS)
        return CRASH_HUNG;
    if (why == CHILD_LIES || (status >= 0 && WIFEXITED(status)))
        return SIGABRT;
    return status >= 0 && WTERMSIG(status) != SIGKILL ? WTERMSIG(status) : 0;
}

void decode_child_finish(struct decode_child *c)
{
    if (c->process.fd >= 0)
        decode_child_end(c);
    if (c->memory >= 0)
        close(c->memory);
    if (c->board)
        munmap((void *)(uintptr_t)c->board, DECODE_BOARD_BYTES);
    if (c->slots)
        slots_unref(c->slots);
    c->memory = -1;
    c->board = NULL;
    c->slots = NULL;
}

int64_t decode_child_cpu_ns(const struct decode_child *c)
{
    return c->ended_ns + nursery_child_cpu_ns(&c->process);
}

// ---- What is said -----------------------------------------------------------------------------

int decode_child_write(struct decode_child *c, const void *bytes, size_t size)
{
    ssize_t n;
    do
        n = send(c->process.fd, bytes, size, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)size ? 0 : CHILD_ENDS;
}

static bool hangs(const struct decode_child *c, struct hang_watch *watch)
{
    struct hang_step step = hang_step_read(c->board);
    struct hang_sight sight = {nursery_child_cpu_ns(&c->process),
                               nursery_child_asleep(&c->process)};
    return hang_look(watch, &step, &sight, clock_monotonic_ns());
}

int decode_child_read(struct decode_child *c, void *ret, size_t size)
{
    struct hang_watch watch = {0};
    for (size_t done = 0; done < size;) {
        struct pollfd poller = {.fd = c->process.fd, .events = POLLIN};
        int ready = poll(&poller, 1, LOOK_MS);
        if (ready <= 0 && atomic_load(&c->stopped))
            return -ECANCELED;
        if (ready == 0 && hangs(c, &watch))
            return CHILD_HANGS;
        if (ready <= 0)
            continue;
        ssize_t n = read(c->process.fd, (char *)ret + done, size - done);
        if (n == 0 || (n < 0 && errno != EINTR))
            return CHILD_ENDS;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

void decode_child_trim(struct diagnostic *words)
{
    words->code[sizeof words->code - 1] = 0;
    words->path[sizeof words->path - 1] = 0;
    words->text[sizeof words->text - 1] = 0;
}
