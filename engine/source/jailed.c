#include "engine/source/jailed.h"

#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/thread.h"
#include "engine/source/decode_child.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/cpu.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Children that one picture may cost.
#define TRIES 2
// After those, when it is not the file that is to blame.
#define PAUSE_MIN_NS    INT64_C(100000000)
#define PAUSE_MAX_NS    INT64_C(5000000000)
#define INDEX_BYTES_MAX (INT64_C(256) << 20)

struct jailed_decoder {
    // -- constant after open
    char *path;
    int threads, width, height;
    int fds[DECODE_FDS]; // DECODE_MEDIA and DECODE_INDEX
    struct media_index *index;
    // --
    struct decode_child child;
    int64_t pause_ns, paused_until_ns;
};

// ---- A child ----------------------------------------------------------------------------------

static int child_reply(struct jailed_decoder *d, struct decode_reply *ret)
{
    int error = decode_child_read(&d->child, ret, sizeof *ret);
    if (!error &&
        (ret->error > 0 || (ret->format != PICTURE_OPAQUE && ret->format != PICTURE_ALPHA)))
        return CHILD_LIES;
    decode_child_trim(&ret->problem);
    return error;
}

// Notes what it was at, unless it was killed from outside.
static void child_bury(struct jailed_decoder *d, int64_t place, int why)
{
    int blame = decode_child_bury(&d->child, why);
    if (blame)
        crash_notes_add(d->path, place, blame);
}

static int child_index(struct jailed_decoder *d, int64_t size)
{
    if (size < 0 || size > INDEX_BYTES_MAX)
        return CHILD_LIES;
    uint8_t *bytes = malloc((size_t)size + 1);
    struct media_index *index = NULL;
    int error = bytes ? decode_child_read(&d->child, bytes, (size_t)size) : -ENOMEM;
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
        (d->child.slots && (reply->width != d->width || reply->height != d->height)))
        return CHILD_LIES;
    int error = d->fds[DECODE_INDEX] < 0 ? child_index(d, reply->index_bytes) : 0;
    if (error || d->child.slots)
        return error;
    d->width = reply->width;
    d->height = reply->height;
    return decode_child_make_slots(&d->child, DECODE_BOARD_BYTES,
                                   decode_slot_bytes(d->width, d->height),
                                   decode_slot_count(d->width, d->height));
}

// It has done nothing wrong.
static int child_leave(struct jailed_decoder *d, int error, struct diagnostic *reterr)
{
    decode_child_end(&d->child);
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
        .what = DECODE_FILE, .threads = d->threads, .cpu_flags = av_get_cpu_flags()};
    struct decode_reply reply;
    snprintf(order.path, sizeof order.path, "%s", d->path);
    int error = decode_child_start(&d->child, &order, d->fds, reterr);
    if (error)
        return error;
    error = child_reply(d, &reply);
    if (!error && reply.error < 0) {
        decode_child_end(&d->child);
        return refusal(&reply, reterr);
    }
    if (!error)
        error = child_opening(d, &reply);
    return error < 0 ? child_leave(d, error, reterr) : error;
}

static int child_ask(struct jailed_decoder *d, const struct decode_request *request,
                     struct decode_reply *ret)
{
    int error = decode_child_write(&d->child, request, sizeof *request);
    return error ? error : child_reply(d, ret);
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
        if (!error && d->child.process.fd < 0)
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
    bool last = decode_child_slot(&d->child, &request.slot) == 0;
    int error = ask(d, &request, &reply, reterr);
    if (error)
        return error;
    if (reply.error < 0)
        return refusal(&reply, reterr);
    *ret = decode_child_picture(&d->child, request.slot, reply.format, d->width, d->height, last);
    return *ret ? 0 : diagnostic_set(reterr, -ENOMEM, "media_memory", d->path, "not enough memory");
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
    for (int i = 0; i < DECODE_FDS; i++)
        d->fds[i] = -1;
    int error = decode_child_init(&d->child, path, reterr);
    if (error >= 0)
        error = open_files(d, reterr);
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
    decode_child_finish(&d->child);
    for (int i = DECODE_MEDIA; i < DECODE_FDS; i++)
        if (d->fds[i] >= 0)
            close(d->fds[i]);
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
    atomic_store(&d->child.stopped, true);
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
    return decode_child_cpu_ns(&d->child);
}
