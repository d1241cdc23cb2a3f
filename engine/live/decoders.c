#include "engine/live/decoders.h"

#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/live/decode_units.h"
#include "engine/media/demux.h"
#include "engine/media/shape.h"
#include "engine/source/decode_child.h"

#include <errno.h>
#include <libavutil/cpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// When one is killed from outside, or cannot be started.
#define PAUSE_MIN_NS INT64_C(100000000)
#define PAUSE_MAX_NS INT64_C(5000000000)
// What a child that did as much before is not reckoned with those before it.
#define LASTED_NS   INT64_C(2000000000)
#define RATE_MAX    (2 * 384000) // a decoder may double a format's
#define BLAMED_KEPT 16
#define NOTES_MAX   256
#define NO_UNIT     0 // units are counted from 1

struct live_decoders {
    char source[128];
    bool memory_made;
    struct decode_child child;
    uint8_t *area; // in the memory
    size_t slot_bytes;
    int slot_count;
    int64_t started_ns, pause_ns, paused_until_ns;
    struct live_decoder_use {
        bool open;
        uint64_t seq;               // that it was given last
        struct unit_format *format; // that it is for
        bool pending;               // `reply` has not been asked for yet
        struct unit_reply reply;    // the newest
        int32_t slot;
        bool last;
    } use[UNIT_DECODERS_MAX];
    // What was being decoded when a child ended: once is chance.
    uint64_t suspect;
    int suspect_number;
    uint64_t grown;               // the unit that larger slots were made for
    uint64_t blamed[BLAMED_KEPT]; // a ring
    unsigned blamed_count;
    struct unit_format *blamed_format; // that cannot even be opened; NULL: none
};

// ---- Notes ------------------------------------------------------------------------------------

static pthread_mutex_t notes_lock = PTHREAD_MUTEX_INITIALIZER;
// -- guarded by notes_lock
static struct note {
    char source[128];
    uint64_t seq;
} notes[NOTES_MAX];
static unsigned note_count;

static void note_blamed(const char *source, uint64_t seq)
{
    pthread_mutex_lock(&notes_lock);
    unsigned i = 0, count = note_count < NOTES_MAX ? note_count : NOTES_MAX;
    while (i < count && strcmp(notes[i].source, source) != 0)
        i++;
    if (i == count)
        i = note_count++ % NOTES_MAX;
    snprintf(notes[i].source, sizeof notes[i].source, "%s", source);
    notes[i].seq = seq;
    pthread_mutex_unlock(&notes_lock);
}

uint64_t live_decoders_newest_blamed(const char *source)
{
    uint64_t seq = 0;
    pthread_mutex_lock(&notes_lock);
    for (unsigned i = 0; i < note_count && i < NOTES_MAX; i++)
        if (!strcmp(notes[i].source, source))
            seq = notes[i].seq;
    pthread_mutex_unlock(&notes_lock);
    return seq;
}

// ---- The child --------------------------------------------------------------------------------

struct live_decoders *live_decoders_create(const char *source)
{
    struct live_decoders *d = base_alloc(sizeof *d);
    snprintf(d->source, sizeof d->source, "%s", source);
    return d;
}

static void memory_finish(struct live_decoders *d)
{
    if (!d->memory_made)
        return;
    for (int i = 0; i < UNIT_DECODERS_MAX; i++)
        d->use[i].open = d->use[i].pending = false;
    if (d->area)
        munmap(d->area, UNIT_AREA_BYTES);
    d->area = NULL;
    decode_child_finish(&d->child);
    d->memory_made = false;
}

void live_decoders_destroy(struct live_decoders **decoders)
{
    struct live_decoders *d = *decoders;
    if (!d)
        return;
    *decoders = NULL;
    memory_finish(d);
    for (int i = 0; i < UNIT_DECODERS_MAX; i++)
        free(d->use[i].format);
    free(d->blamed_format);
    free(d);
}

// Slots for pictures of this size, beside the area.
static int memory_make(struct live_decoders *d, int width, int height, struct diagnostic *reterr)
{
    int error = decode_child_init(&d->child, d->source, reterr);
    if (error < 0)
        return error;
    d->memory_made = true;
    d->slot_bytes = decode_slot_bytes(width, height);
    d->slot_count = decode_slot_count(width, height);
    error = decode_child_make_slots(&d->child, UNIT_SLOTS_AT, d->slot_bytes, d->slot_count);
    void *area = error ? MAP_FAILED
                       : mmap(NULL, UNIT_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                              d->child.memory, DECODE_BOARD_BYTES);
    if (area != MAP_FAILED) {
        d->area = area;
        return 0;
    }
    memory_finish(d);
    return diagnostic_set(reterr, -ENOMEM, "media_memory", d->source, "not enough memory");
}

static void pause_begin(struct live_decoders *d)
{
    int64_t now = clock_monotonic_ns();
    d->pause_ns = !d->pause_ns || now - d->started_ns > LASTED_NS ? PAUSE_MIN_NS : 2 * d->pause_ns;
    d->pause_ns = d->pause_ns < PAUSE_MAX_NS ? d->pause_ns : PAUSE_MAX_NS;
    d->paused_until_ns = now + d->pause_ns;
}

static int child_start(struct live_decoders *d, const struct unit_format *format,
                       struct diagnostic *reterr)
{
    int width = 2, height = 2, fds[DECODE_FDS] = {-1, -1, -1, -1};
    struct decode_order order = {.what = DECODE_UNITS, .cpu_flags = av_get_cpu_flags()};
    if (clock_monotonic_ns() < d->paused_until_ns)
        return diagnostic_set(reterr, -EAGAIN, "decoder_ended", d->source,
                              "its decoder keeps ending; is there too little memory?");
    if (format->width > 0 && format->height > 0)
        media_shown_size(format->width, format->height,
                         (AVRational){format->aspect_num, format->aspect_den}, &width, &height);
    snprintf(order.path, sizeof order.path, "%s", d->source);
    int error = d->memory_made ? 0 : memory_make(d, width, height, reterr);
    if (!error)
        error = decode_child_start(&d->child, &order, fds, reterr);
    if (!error)
        d->started_ns = clock_monotonic_ns();
    else
        pause_begin(d);
    return error ? -EAGAIN : 0;
}

static void blame(struct live_decoders *d, int number, int signal)
{
    struct live_decoder_use *use = &d->use[number];
    d->suspect = NO_UNIT;
    if (use->seq == NO_UNIT) {
        free(d->blamed_format);
        d->blamed_format = use->format;
        use->format = NULL;
    } else {
        d->blamed[d->blamed_count++ % BLAMED_KEPT] = use->seq;
    }
    note_blamed(d->source, use->seq ? use->seq : 1);
    log_warning("source_decoder", "source=%s unit=%llu %s decoders; it is left out", d->source,
                (unsigned long long)use->seq, signal == CRASH_HUNG ? "hangs" : "ends");
}

// Ends the child; finds who is to blame.
static int child_lost(struct live_decoders *d, int number, int why)
{
    struct live_decoder_use *use = &d->use[number];
    int signal = decode_child_bury(&d->child, why);
    for (int i = 0; i < UNIT_DECODERS_MAX; i++)
        d->use[i].open = d->use[i].pending = false;
    if (!signal) {
        pause_begin(d);
    } else if (signal == CRASH_HUNG ||
               (d->suspect_number == number && d->suspect == use->seq + 1)) {
        blame(d, number, signal);
    } else {
        d->suspect = use->seq + 1;
        d->suspect_number = number;
    }
    return -ERESTART;
}

static bool is_side(int side)
{
    return side > 0 && side <= PICTURE_SIDE_MAX && side % 2 == 0;
}

static bool is_sound(const struct unit_reply *r)
{
    return r->width == 0 && r->count >= 0 && r->rate >= 0 && r->rate <= RATE_MAX &&
           (size_t)r->count * 2 * sizeof(int32_t) <= UNIT_AREA_BYTES;
}

static bool is_picture(const struct live_decoders *d, const struct unit_reply *r)
{
    return is_side(r->width) && is_side(r->height) &&
           (int64_t)r->width * r->height <= MEDIA_PIXELS_MAX &&
           (r->error == -ENOSPC || decode_slot_bytes(r->width, r->height) <= d->slot_bytes) &&
           (r->format == PICTURE_OPAQUE || r->format == PICTURE_ALPHA);
}

// Whether one of ours would answer so.
static bool is_true(const struct live_decoders *d, const struct unit_reply *r)
{
    if (r->error == -ENOSPC)
        return is_picture(d, r);
    return r->error < 0 || (!r->error && (is_sound(r) || is_picture(d, r)));
}

static int ask(struct live_decoders *d, struct unit_request *request)
{
    struct live_decoder_use *use = &d->use[request->number];
    struct unit_reply *reply = &use->reply;
    use->last = decode_child_slot(&d->child, &request->slot) == 0;
    use->slot = request->slot;
    request->slot_bytes = (int32_t)d->slot_bytes;
    request->slot_count = d->slot_count;
    int error = decode_child_write(&d->child, request, sizeof *request);
    if (!error)
        error = decode_child_read(&d->child, reply, sizeof *reply);
    // Slots are made for a picture once: then they are large enough.
    if (!error && (!is_true(d, reply) || (reply->error == -ENOSPC && d->grown == use->seq + 1)))
        error = CHILD_LIES;
    if (error)
        return child_lost(d, request->number, error);
    decode_child_trim(&reply->problem);
    if (reply->error == -ENOSPC) { // no fault of anybody
        d->grown = use->seq + 1;
        memory_finish(d);
        (void)memory_make(d, reply->width, reply->height, NULL); // else by the next start
        return -ERESTART;
    }
    return 0;
}

// ---- Requests ---------------------------------------------------------------------------------

int live_decoders_open(struct live_decoders *d, int number, const struct unit_format *format,
                       struct diagnostic *reterr)
{
    struct live_decoder_use *use = &d->use[number];
    struct unit_request request = {.what = UNIT_OPEN, .number = number};
    if (d->blamed_format && unit_format_equal(d->blamed_format, format))
        return diagnostic_set(reterr, -EINVAL, "live_codec", d->source, "its format ends decoders");
    if (!d->memory_made || d->child.process.fd < 0) {
        int error = child_start(d, format, reterr);
        if (error < 0)
            return error;
    }
    if (!use->format)
        use->format = base_alloc(sizeof *use->format);
    *use->format = *format;
    use->seq = NO_UNIT;
    use->pending = false;
    memcpy(d->area, format, sizeof *format);
    int error = ask(d, &request);
    if (error < 0)
        return error;
    use->open = !use->reply.error;
    if (use->open)
        return 0;
    if (reterr) {
        *reterr = use->reply.problem;
        reterr->error = use->reply.error;
    }
    return use->reply.error;
}

int live_decoders_push(struct live_decoders *d, int number, uint64_t seq, const uint8_t *bytes,
                       size_t size, int64_t tag)
{
    struct live_decoder_use *use = &d->use[number];
    struct unit_request request = {
        .what = UNIT_PUSH, .number = number, .size = bytes ? (int64_t)size : -1, .tag = tag};
    if (!use->open)
        return -ERESTART;
    if (size > UNIT_BODY_MAX)
        return -EIO;
    if (bytes) {
        memcpy(d->area, bytes, size);
        use->seq = seq;
    }
    int error = ask(d, &request);
    if (error < 0)
        return error;
    use->pending = true;
    if (d->suspect_number == number && d->suspect == use->seq + 1) // it was chance
        d->suspect = NO_UNIT;
    return 0;
}

// The next reply, of which there may be one already.
static int pull(struct live_decoders *d, int number)
{
    struct live_decoder_use *use = &d->use[number];
    struct unit_request request = {.what = UNIT_PULL, .number = number};
    if (!use->open)
        return -ERESTART;
    if (!use->pending && !use->reply.more)
        return -ENODATA;
    int error = use->pending ? 0 : ask(d, &request);
    use->pending = false;
    if (error < 0)
        return error;
    return use->reply.error == -EAGAIN ? -ENODATA : use->reply.error;
}

int live_decoders_picture(struct live_decoders *d, int number, struct picture **ret,
                          int64_t *ret_tag)
{
    struct live_decoder_use *use = &d->use[number];
    const struct unit_reply *r = &use->reply;
    int error = pull(d, number);
    *ret_tag = r->tag;
    if (error < 0 || !r->width)
        return error < 0 ? error : -EIO;
    *ret = decode_child_picture(&d->child, use->slot, r->format, r->width, r->height, use->last);
    return *ret ? 0 : -ERESTART;
}

int live_decoders_sound(struct live_decoders *d, int number, struct live_sound *ret,
                        int64_t *ret_tag)
{
    const struct unit_reply *r = &d->use[number].reply;
    int error = pull(d, number);
    *ret_tag = r->tag;
    if (error < 0 || r->width)
        return error < 0 ? error : -EIO;
    *ret = (struct live_sound){(const int32_t *)(const void *)d->area, r->count, r->rate};
    return 0;
}

bool live_decoders_blame(const struct live_decoders *d, uint64_t seq)
{
    for (unsigned i = 0; i < d->blamed_count && i < BLAMED_KEPT; i++)
        if (d->blamed[i] == seq)
            return true;
    return false;
}
