#include "engine/source/jailed.h"

#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/hang.h"
#include "engine/base/thread.h"
#include "engine/source/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/cpu.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Children that one picture may cost.
#define TRIES 2
// After those, when it is not the file that is to blame.
#define PAUSE_MIN_NS    INT64_C(100000000)
#define PAUSE_MAX_NS    INT64_C(5000000000)
#define LOOK_MS         50
#define INDEX_BYTES_MAX (INT64_C(256) << 20)

// In place of an error: the child is to be buried. It has ended, does not get on, or says what no
// decoder of ours would.
enum { CHILD_ENDS = 1, CHILD_HANGS, CHILD_LIES };

// Lasts as long as the decoder or one of its pictures does.
struct slots {
    uint8_t *memory;
    size_t slot_bytes;
    int count;
    _Atomic int references;
    _Atomic uint32_t taken; // a bit for each
    struct slot {
        struct slots *all;
        int number;
    } slot[DECODE_SLOTS_MAX];
};

struct jailed_decoder {
    // -- constant after open
    char *path;
    int threads, width, height;
    int fds[DECODE_FDS]; // DECODE_CHANNEL is none of them
    const hang_board *board;
    struct media_index *index;
    struct slots *slots;
    // --
    _Atomic bool stopped;
    struct nursery_child child;
    int64_t ended_ns; // processor time of the children before
    int64_t pause_ns, paused_until_ns;
};

// ---- Memory -----------------------------------------------------------------------------------

static int board_create(struct jailed_decoder *d, struct diagnostic *reterr)
{
    int fd = d->fds[DECODE_MEMORY] =
        memfd_create("vistter-decode", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *board = MAP_FAILED;
    if (fd >= 0 && !ftruncate(fd, DECODE_BOARD_BYTES))
        board = mmap(NULL, DECODE_BOARD_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (board == MAP_FAILED)
        return diagnostic_set(reterr, -errno, "media_memory", d->path,
                              "no memory can be shared with its decoder: %s", strerror(errno));
    d->board = board;
    return 0;
}

// Once the size of the pictures is known. From then on the memory keeps its size: no child can take
// away what is read here.
static int slots_create(struct jailed_decoder *d)
{
    int fd = d->fds[DECODE_MEMORY];
    struct slots *s = base_alloc(sizeof *s);
    s->slot_bytes = decode_slot_bytes(d->width, d->height);
    s->count = decode_slot_count(d->width, d->height);
    size_t size = s->slot_bytes * (size_t)s->count;
    void *memory = MAP_FAILED;
    if (!ftruncate(fd, (off_t)(DECODE_BOARD_BYTES + size)) &&
        !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, DECODE_BOARD_BYTES);
    if (memory == MAP_FAILED) {
        free(s);
        return -ENOMEM;
    }
    s->memory = memory;
    s->references = 1;
    for (int i = 0; i < s->count; i++)
        s->slot[i] = (struct slot){s, i};
    d->slots = s;
    return 0;
}

static void slots_unref(struct slots *s)
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

// Gives how many there are besides.
static int slot_find(struct slots *s, int32_t *ret)
{
    uint32_t taken = atomic_load(&s->taken);
    int free_count = 0;
    for (int i = s->count - 1; i >= 0; i--)
        if (!(taken >> i & 1)) {
            *ret = i;
            free_count++;
        }
    return free_count - 1; // there is always one: the last is never given away
}

static int slot_take(struct jailed_decoder *d, const struct decode_reply *reply, int32_t i,
                     bool last, struct picture **ret)
{
    struct slots *s = d->slots;
    uint8_t *plane[4];
    ptrdiff_t stride[4];
    decode_slot_planes(s->memory + s->slot_bytes * (size_t)i, d->width, d->height, plane, stride);
    struct picture *copy = last ? picture_create(reply->format, d->width, d->height) : NULL;
    if (last && !copy)
        return -ENOMEM;
    atomic_fetch_add(&s->references, 1);
    atomic_fetch_or(&s->taken, UINT32_C(1) << i);
    struct picture *picture =
        picture_wrap(reply->format, d->width, d->height, plane, stride, slot_release, &s->slot[i]);
    if (last) {
        picture_copy(copy, picture);
        picture_unref(&picture);
        picture = copy;
    }
    *ret = picture;
    return 0;
}

// ---- A child ----------------------------------------------------------------------------------

static bool hangs(const struct jailed_decoder *d, struct hang_watch *watch)
{
    struct hang_step step = hang_step_read(d->board);
    struct hang_sight sight = {nursery_child_cpu_ns(&d->child), nursery_child_asleep(&d->child)};
    return hang_look(watch, &step, &sight, clock_monotonic_ns());
}

// -ECANCELED: nobody wants it any more.
static int child_read(const struct jailed_decoder *d, void *ret, size_t size)
{
    struct hang_watch watch = {0};
    for (size_t done = 0; done < size;) {
        struct pollfd poller = {.fd = d->child.fd, .events = POLLIN};
        int ready = poll(&poller, 1, LOOK_MS);
        if (ready <= 0 && atomic_load(&d->stopped))
            return -ECANCELED;
        if (ready == 0 && hangs(d, &watch))
            return CHILD_HANGS;
        if (ready <= 0)
            continue;
        ssize_t n = read(d->child.fd, (char *)ret + done, size - done);
        if (n == 0 || (n < 0 && errno != EINTR))
            return CHILD_ENDS;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int child_reply(const struct jailed_decoder *d, struct decode_reply *ret)
{
    int error = child_read(d, ret, sizeof *ret);
    if (!error &&
        (ret->error > 0 || (ret->format != PICTURE_OPAQUE && ret->format != PICTURE_ALPHA)))
        return CHILD_LIES;
    ret->problem.code[sizeof ret->problem.code - 1] = 0;
    ret->problem.path[sizeof ret->problem.path - 1] = 0;
    ret->problem.text[sizeof ret->problem.text - 1] = 0;
    return error;
}

static int child_end(struct jailed_decoder *d)
{
    int64_t cpu_ns;
    int status = nursery_end(&d->child, &cpu_ns);
    d->ended_ns += cpu_ns;
    return status;
}

// Notes what it was at, unless it was killed from outside.
static void child_bury(struct jailed_decoder *d, int64_t place, int why)
{
    int status = child_end(d), number = 0;
    if (why == CHILD_HANGS)
        number = CRASH_HUNG;
    else if (why == CHILD_LIES || (status >= 0 && WIFEXITED(status)))
        number = SIGABRT;
    else if (status >= 0 && WTERMSIG(status) != SIGKILL)
        number = WTERMSIG(status);
    if (number)
        crash_notes_add(d->path, place, number);
}

static int child_index(struct jailed_decoder *d, int64_t size)
{
    if (size < 0 || size > INDEX_BYTES_MAX)
        return CHILD_LIES;
    uint8_t *bytes = malloc((size_t)size + 1);
    struct media_index *index = NULL;
    int error = bytes ? child_read(d, bytes, (size_t)size) : -ENOMEM;
    if (!error && index_unpack(bytes, (size_t)size, &index))
        error = CHILD_LIES;
    free(bytes);
    if (d->index) // a child before has told it already
        index_destroy(&index);
    else
        d->index = index;
    return error;
}

static bool is_side(int side)
{
    return side > 0 && side <= PICTURE_SIDE_MAX && side % 2 == 0;
}

// What a new child says of its file.
static int child_opening(struct jailed_decoder *d, const struct decode_reply *reply)
{
    if (!is_side(reply->width) || !is_side(reply->height) ||
        (d->slots && (reply->width != d->width || reply->height != d->height)))
        return CHILD_LIES;
    int error = d->fds[DECODE_INDEX] < 0 ? child_index(d, reply->index_bytes) : 0;
    if (error || d->slots)
        return error;
    d->width = reply->width;
    d->height = reply->height;
    return slots_create(d);
}

// It has done nothing wrong.
static int child_leave(struct jailed_decoder *d, int error, struct diagnostic *reterr)
{
    child_end(d);
    return diagnostic_set(reterr, error, "decoder_left", d->path, "is not decoded further: %s",
                          strerror(-error));
}

static int refusal(const struct decode_reply *reply, struct diagnostic *reterr)
{
    if (reterr) {
        *reterr = reply->problem;
        reterr->error = reply->error;
    }
    return reply->error;
}

// Negative with words: there is no child.
static int child_start(struct jailed_decoder *d, struct diagnostic *reterr)
{
    struct decode_order order = {
        .what = DECODE_START, .threads = d->threads, .cpu_flags = av_get_cpu_flags()};
    struct decode_reply reply;
    snprintf(order.path, sizeof order.path, "%s", d->path);
    int error = nursery_start(&order, d->fds, &d->child, reterr);
    if (error)
        return error;
    error = child_reply(d, &reply);
    if (!error && reply.error < 0) {
        child_end(d);
        return refusal(&reply, reterr);
    }
    if (!error)
        error = child_opening(d, &reply);
    return error < 0 ? child_leave(d, error, reterr) : error;
}

static int child_ask(struct jailed_decoder *d, const struct decode_request *request,
                     struct decode_reply *ret)
{
    ssize_t n;
    do
        n = send(d->child.fd, request, sizeof *request, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n == sizeof *request ? child_reply(d, ret) : CHILD_ENDS;
}

// ---- Pictures ---------------------------------------------------------------------------------

// Starts a child if there is none, and asks it; `request` NULL: no more than that.
static int ask(struct jailed_decoder *d, const struct decode_request *request,
               struct decode_reply *ret, struct diagnostic *reterr)
{
    bool paused = clock_monotonic_ns() < d->paused_until_ns;
    for (int tries = 0; tries < TRIES && !paused; tries++) {
        int64_t place = -1;
        int error = crash_notes_check(d->path, reterr);
        if (!error && d->child.fd < 0)
            error = child_start(d, reterr);
        if (error < 0)
            return error;
        if (!error && request) {
            place = request->picture;
            error = child_ask(d, request, ret);
        }
        if (!error)
            d->pause_ns = 0;
        if (error <= 0)
            return error ? child_leave(d, error, reterr) : 0;
        child_bury(d, place, error);
    }
    int error = crash_notes_check(d->path, reterr);
    if (error)
        return error;
    if (!paused) {
        d->pause_ns = d->pause_ns ? 2 * d->pause_ns : PAUSE_MIN_NS;
        d->pause_ns = d->pause_ns < PAUSE_MAX_NS ? d->pause_ns : PAUSE_MAX_NS;
        d->paused_until_ns = clock_monotonic_ns() + d->pause_ns;
    }
    return diagnostic_set(reterr, -EIO, "decoder_ended", d->path,
                          "its decoder keeps ending; is there too little memory?");
}

int jailed_decoder_get(struct jailed_decoder *d, int64_t i, struct picture **ret,
                       struct diagnostic *reterr)
{
    struct decode_request request = {.picture = i};
    struct decode_reply reply;
    bool last = slot_find(d->slots, &request.slot) == 0;
    int error = ask(d, &request, &reply, reterr);
    if (error)
        return error;
    if (reply.error < 0)
        return refusal(&reply, reterr);
    error = slot_take(d, &reply, request.slot, last, ret);
    return error ? diagnostic_set(reterr, error, "media_memory", d->path, "not enough memory") : 0;
}

// ---- Life -------------------------------------------------------------------------------------

// Its index goes along only where it can be read.
static int open_files(struct jailed_decoder *d, struct diagnostic *reterr)
{
    char path[PATH_MAX];
    int fd = d->fds[DECODE_MEDIA] = media_file_open(d->path, reterr);
    if (fd < 0)
        return fd;
    if (snprintf(path, sizeof path, "%s.index", d->path) < PATH_MAX)
        fd = d->fds[DECODE_INDEX] = open(path, O_RDONLY | O_CLOEXEC);
    if (d->fds[DECODE_INDEX] >= 0 && index_read(fd, &d->index) < 0) {
        close(fd);
        d->fds[DECODE_INDEX] = -1;
    }
    return 0;
}

int jailed_decoder_open(const char *path, struct jailed_decoder **ret, struct diagnostic *reterr)
{
    int threads = decode_threads(reterr);
    if (threads < 0)
        return threads;
    struct jailed_decoder *d = base_alloc(sizeof *d);
    d->path = base_strdup(path);
    d->threads = threads;
    d->child.fd = -1;
    for (int i = 0; i < DECODE_FDS; i++)
        d->fds[i] = -1;
    int error = open_files(d, reterr);
    if (error >= 0)
        error = board_create(d, reterr);
    if (error >= 0)
        error = ask(d, NULL, NULL, reterr);
    if (error < 0) {
        jailed_decoder_close(&d);
        return error;
    }
    *ret = d;
    return 0;
}

void jailed_decoder_close(struct jailed_decoder **decoder)
{
    struct jailed_decoder *d = *decoder;
    if (!d)
        return;
    *decoder = NULL;
    if (d->child.fd >= 0)
        child_end(d);
    for (int i = 0; i < DECODE_FDS; i++)
        if (d->fds[i] >= 0)
            close(d->fds[i]);
    if (d->board)
        munmap((void *)(uintptr_t)d->board, DECODE_BOARD_BYTES);
    if (d->slots)
        slots_unref(d->slots);
    index_destroy(&d->index);
    free(d->path);
    free(d);
}

int jailed_decode_still(const char *path, struct picture **ret, struct diagnostic *reterr)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    struct jailed_decoder *decoder;
    pthread_mutex_lock(&one);
    int error = jailed_decoder_open(path, &decoder, reterr);
    if (error >= 0) {
        error = jailed_decoder_get(decoder, 0, ret, reterr);
        jailed_decoder_close(&decoder);
    }
    pthread_mutex_unlock(&one);
    return error;
}

void jailed_decoder_stop(struct jailed_decoder *d)
{
    atomic_store(&d->stopped, true);
}

const struct media_index *jailed_decoder_index(const struct jailed_decoder *d)
{
    return d->index;
}

void jailed_decoder_size(const struct jailed_decoder *d, int *ret_width, int *ret_height)
{
    *ret_width = d->width;
    *ret_height = d->height;
}

int64_t jailed_decoder_cpu_ns(const struct jailed_decoder *d)
{
    return d->ended_ns + nursery_child_cpu_ns(&d->child);
}
