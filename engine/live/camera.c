#include "engine/live/camera_private.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/source/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// A decoder that has not given a picture after so many units more will not give it.
#define REORDER_MAX 40
// Keys that decoding may begin at: the home, and the one before, for gradual refresh. With what
// leans on the group before that is all that a log keeps for sure.
#define KEY_TRIES 2
// How long following may take at a time.
#define FOLLOW_TURN_NS INT64_C(20000000)
// What decoding a unit takes, before it has been measured.
#define COST_NS INT64_C(4000000)

int camera_open(const struct camera_config *config, struct camera **ret, struct diagnostic *reterr)
{
    struct live_reader *reader;
    int error = live_reader_open(config->folder, &reader, reterr);
    if (error < 0)
        return error;
    struct camera *c = base_alloc(sizeof *c);
    const char *slash = strrchr(config->folder, '/');
    c->decoders = live_decoders_create(slash ? slash + 1 : config->folder);
    c->config = *config;
    c->config.folder = NULL;
    c->pictures.cost_ns = COST_NS;
    camera_log_init(&c->log, reader);
    *ret = c;
    return 0;
}

void camera_destroy(struct camera **camera)
{
    struct camera *c = *camera;
    if (!c)
        return;
    *camera = NULL;
    camera_pictures_clear(c);
    camera_sounds_clear(c);
    camera_log_finish(&c->log);
    live_decoders_destroy(&c->decoders);
    resampler_destroy(&c->sounds.resampler);
    free(c->sounds.window);
    free(c->sounds.present);
    free(c);
}

int camera_read(struct camera *c, enum unit_stream stream, int64_t t_ns, struct diagnostic *reterr)
{
    if (t_ns <= c->log.forgotten_ns[stream]) { // back to what was let go already
        camera_pictures_clear(c);
        camera_sounds_clear(c);
        camera_log_rewind(&c->log);
    }
    int error;
    while ((error = camera_log_read(&c->log)) == -ESTALE) {
        camera_pictures_clear(c);
        camera_sounds_clear(c);
    }
    if (error < 0)
        return diagnostic_set(reterr, error, "live_log", "", "the source's log cannot be read");
    // Of the other stream perhaps nobody wants to see or hear anything.
    if (stream == UNIT_PICTURE)
        camera_sounds_forget(c, t_ns);
    else
        camera_pictures_forget(c, t_ns);
    return 0;
}

// ---- What comes out of the decoder -----------------------------------------------------------

static void drop_ready(struct camera_pictures *p, int count)
{
    for (int i = 0; i < count; i++)
        picture_unref(&p->ready[i].picture);
    p->ready_count -= count;
    for (int i = 0; i < p->ready_count; i++)
        p->ready[i] = p->ready[i + count];
}

static void close_session(struct camera_pictures *p)
{
    p->open = false;
    drop_ready(p, p->ready_count);
    p->run = 0;
}

void camera_pictures_clear(struct camera *c)
{
    close_session(&c->pictures);
    picture_unref(&c->pictures.shown.picture);
}

// The last key of unit i's run at or before `from`; -1: none.
static int64_t key_before(const struct camera_units *units, int64_t i, int64_t from)
{
    int64_t run = units_at(units, i)->run;
    for (; from >= units->first && units_at(units, from)->run == run; from--)
        if (units_at(units, from)->flags & UNIT_KEY)
            return from;
    return -1;
}

// The key that unit i is decoded from: the one before it, or, for what comes after a key and is
// shown before it, the one before that.
static int64_t home_of(const struct camera_units *units, int64_t i)
{
    int64_t key = key_before(units, i, i);
    if (key < 0 || units_at(units, i)->chan_ns >= units_at(units, key)->chan_ns)
        return key;
    int64_t before = key_before(units, i, key - 1);
    return before < 0 ? key : before;
}

// What names a picture's bits, in any history of the log: the unit by seq and CRC. Positive.
static uint64_t content_of(const struct camera_unit *u)
{
    return (uint64_t)(u->crc & INT32_MAX) << 32 | (uint32_t)u->seq;
}

// Takes what the decoder has: pictures of the session's home, in the order in which they are shown.
// One that comes out of it is lost, so that it is lost for all readers. 0, -ERESTART.
static int pull(struct camera *c)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    for (;;) {
        struct picture *picture = NULL;
        int64_t tag = UNIT_NO_TIME;
        int error = live_decoders_picture(c->decoders, PICTURE_DECODER, &picture, &tag);
        if (error == -ENODATA || error == -ERESTART)
            return error == -ENODATA ? 0 : error;
        int64_t i = tag == UNIT_NO_TIME ? -1 : units_find(units, (uint64_t)tag);
        bool ours = i >= 0 && !(units_at(units, i)->flags & UNIT_LATE) &&
                    home_of(units, i) == p->home && units_at(units, i)->chan_ns > p->out_ns;
        if (ours)
            p->out_ns = units_at(units, i)->chan_ns;
        if (error < 0 || !ours) {
            picture_unref(&picture);
            continue;
        }
        if (p->ready_count == READY_MAX)
            drop_ready(p, 1);
        p->ready[p->ready_count++] = (struct camera_ready){
            (uint64_t)tag, content_of(units_at(units, i)), p->out_ns, picture};
    }
}

// The wanted picture becomes the shown one, if it is ready; those before it are let go.
static bool take_ready(struct camera_pictures *p, const struct camera_unit *wanted)
{
    for (int i = 0; i < p->ready_count; i++) {
        if (p->ready[i].seq != wanted->seq)
            continue;
        picture_unref(&p->shown.picture);
        p->shown = p->ready[i];
        p->ready[i].picture = NULL;
        drop_ready(p, i + 1);
        return true;
    }
    return false;
}

// ---- Decoding --------------------------------------------------------------------------------
//
// A session is what a fresh decoder is given for the pictures of one home: from there (or, where
// that gives no picture, from an earlier key) to before the next key, and what follows that key and
// is shown before it. Nothing that was decoded before has a part in it, whatever is wrong with the
// bytes: so it is the same for every reader.

static int begin_at(struct camera *c, int64_t key, int64_t home)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_unit *u = units_at(&c->log.streams[UNIT_PICTURE], key);
    close_session(p);
    int error = live_decoders_open(c->decoders, PICTURE_DECODER, u->format, NULL);
    p->open = !error;
    p->run = u->run;
    p->start = p->next = key;
    p->home = home;
    p->tail_ns = INT64_MAX;
    p->out_ns = INT64_MIN;
    p->ended = false;
    return error;
}

// Whether no unit of the run will come after those that are here.
static bool run_is_over(const struct camera *c, int64_t next)
{
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    if (next < units_end(units))
        return units_at(units, next)->run != c->pictures.run;
    if (c->log.run != c->pictures.run) // what came after it cannot be decoded
        return true;
    const struct show_entry *last =
        c->log.entry_count ? &c->log.entries[c->log.entry_count - 1] : NULL;
    return last && last->until_ns; // a gap
}

// Whether the session's next unit is there: 1; 0: it has no more; -EAGAIN: nobody can know yet.
static int session_goes_on(struct camera *c)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    if (run_is_over(c, p->next))
        return 0;
    if (p->next == units_end(units))
        return -EAGAIN;
    const struct camera_unit *u = units_at(units, p->next);
    if (live_decoders_blame(c->decoders, u->seq)) // nor what comes after it
        return 0;
    if (p->tail_ns != INT64_MAX)
        return u->chan_ns < p->tail_ns;
    if (p->next <= p->home || !(u->flags & UNIT_KEY))
        return 1;
    // The next key: it is only needed for what leans on it from before.
    if (run_is_over(c, p->next + 1))
        return 0;
    if (p->next + 1 == units_end(units))
        return -EAGAIN;
    if (units_at(units, p->next + 1)->chan_ns >= u->chan_ns)
        return 0;
    p->tail_ns = u->chan_ns;
    return 1;
}

// Gives the decoder the session's next unit, or tells it that there is none, and takes what comes.
// 0, -ERESTART: the session is to be begun anew.
static int feed(struct camera *c, bool more)
{
    struct camera_pictures *p = &c->pictures;
    int64_t start_ns = clock_monotonic_ns();
    int error;
    if (more) {
        const struct camera_unit *u = units_at(&c->log.streams[UNIT_PICTURE], p->next++);
        error = live_decoders_push(c->decoders, PICTURE_DECODER, u->seq, u->body, u->size,
                                   (int64_t)u->seq);
    } else {
        // Should the run go on after a gap, decoding begins at its key again.
        error = live_decoders_push(c->decoders, PICTURE_DECODER, 0, NULL, 0, 0);
        p->ended = true;
    }
    if (error != -ERESTART) // what cannot be decoded gives no picture
        error = pull(c);
    if (error < 0)
        close_session(p);
    p->cost_ns += (clock_monotonic_ns() - start_ns - p->cost_ns) / 16;
    return error;
}

// Decodes on until the wanted unit's picture is there. 0; -EAGAIN: it needs units that have not
// come yet; -EIO: it does not come from here; -ERESTART.
static int advance(struct camera *c, int64_t i)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    const struct camera_unit *wanted = units_at(units, i);
    for (;;) {
        if (take_ready(p, wanted))
            return 0;
        if (p->ended || p->out_ns >= wanted->chan_ns || p->next - i > REORDER_MAX)
            return -EIO;
        int more = session_goes_on(c);
        if (more < 0)
            return more;
        int error = feed(c, more > 0);
        if (error < 0)
            return error;
    }
}

static bool is_ready(const struct camera_pictures *p, const struct camera_unit *wanted)
{
    for (int k = 0; k < p->ready_count; k++)
        if (p->ready[k].seq == wanted->seq)
            return true;
    return false;
}

// As advance.
static int decode_from(struct camera *c, int64_t i)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    const struct camera_unit *wanted = units_at(units, i);
    int64_t home = home_of(units, i), key = home;
    bool under_way = p->open && p->home == home && p->start == home;
    if (under_way && (is_ready(p, wanted) || (!p->ended && p->out_ns < wanted->chan_ns))) {
        int error = advance(c, i);
        if (error != -EIO)
            return error;
        key = key_before(units, i, key - 1); // what it gave is all that it gives
    }
    for (int tries = 0; tries < KEY_TRIES && key >= 0; tries++) {
        int error = begin_at(c, key, home);
        if (!error)
            error = advance(c, i);
        if (error != -EIO)
            return error;
        key = key_before(units, i, key - 1);
    }
    return -EIO;
}

// As advance, but for -ERESTART.
static int decode(struct camera *c, int64_t i)
{
    int error = -ERESTART;
    for (int tries = 0; tries < RESTARTS_MAX && error == -ERESTART; tries++)
        error = decode_from(c, i);
    return error == -ERESTART ? -EAGAIN : error;
}

// ---- Which one -------------------------------------------------------------------------------

// Keeps what decoding of this unit and of later ones can need.
static void forget_before(struct camera *c, int64_t i)
{
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    int64_t key = i;
    for (int tries = 0; tries <= KEY_TRIES && key >= 0; tries++) {
        int64_t before = key_before(units, i, key - (tries > 0));
        if (before < 0)
            break;
        key = before;
    }
    camera_log_forget(&c->log, UNIT_PICTURE, key);
}

static int show(struct camera *c, int64_t t_ns, struct show *ret, int64_t *ret_unit)
{
    *ret = show_at(c->log.entries, c->log.entry_count, c->log.done_ns[UNIT_PICTURE], t_ns,
                   c->config.hold_ns);
    if (ret->state == SHOW_NOT_YET)
        return -EAGAIN;
    if (ret->state != SHOW_LIVE && ret->state != SHOW_HELD)
        return -ENODATA;
    uint64_t seq = c->log.entries[ret->entry].seq;
    *ret_unit = units_find(&c->log.streams[UNIT_PICTURE], seq);
    return 0;
}

int camera_picture(struct camera *c, int64_t n, struct picture **ret, uint64_t *ret_content,
                   enum show_state *ret_state, struct diagnostic *reterr)
{
    struct camera_pictures *p = &c->pictures;
    int64_t t_ns = show_time_ns(c->config.rate, c->config.epoch_ns, n, c->config.delay_ns);
    *ret_state = SHOW_NOT_YET;
    int error = camera_read(c, UNIT_PICTURE, t_ns, reterr);
    if (error < 0)
        return error;
    for (;;) {
        struct show now;
        int64_t i = -1;
        error = show(c, t_ns, &now, &i);
        *ret_state = now.state;
        if (now.state == SHOW_NOTHING && c->log.first_seq > 1)
            return diagnostic_set(reterr, -ESTALE, "live_past", "",
                                  "the source's log does not go back so far");
        if (error < 0)
            return diagnostic_set(reterr, error, "live_picture", "",
                                  error == -EAGAIN ? "the source has not come so far yet"
                                                   : "the source has no picture here");
        uint64_t seq = c->log.entries[now.entry].seq;
        if (p->shown.picture && p->shown.seq == seq)
            break;
        error = i < 0 ? -EIO : decode(c, i);
        if (error == -EAGAIN)
            *ret_state = SHOW_NOT_YET;
        if (error < 0 && error != -EIO)
            return diagnostic_set(reterr, error, "live_picture", "",
                                  "the source's picture cannot be made");
        if (!error) {
            forget_before(c, i);
            break;
        }
        camera_log_refuse(&c->log, seq);
    }
    *ret = picture_ref(p->shown.picture);
    *ret_content = p->shown.content;
    return 0;
}

void camera_pictures_forget(struct camera *c, int64_t t_ns)
{
    struct show now;
    int64_t i = -1;
    if (!show(c, t_ns, &now, &i) && i >= 0)
        forget_before(c, i);
}

bool camera_begun(const struct camera *c)
{
    return c->log.seq > 0;
}

void camera_follow(struct camera *c, int64_t n)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    int64_t t_ns = show_time_ns(c->config.rate, c->config.epoch_ns, n, c->config.delay_ns), i = -1;
    struct show now;
    if (camera_read(c, UNIT_PICTURE, t_ns, NULL) < 0)
        return;
    if (t_ns > c->log.done_ns[UNIT_PICTURE])
        t_ns = c->log.done_ns[UNIT_PICTURE];
    if (show(c, t_ns, &now, &i) < 0 || i < 0)
        return;
    forget_before(c, i);
    int64_t home = home_of(units, i);
    bool under_way = p->open && p->home == home && p->start == home;
    if (home < 0 || (i - (under_way ? p->next : home)) * p->cost_ns <= SOURCE_FOLLOW_NS ||
        (!under_way && begin_at(c, home, home) < 0))
        return;
    int64_t end_ns = clock_monotonic_ns() + FOLLOW_TURN_NS;
    while ((i - p->next) * p->cost_ns > SOURCE_FOLLOW_NS / 2 && clock_monotonic_ns() < end_ns &&
           session_goes_on(c) > 0 && !feed(c, true))
        continue;
}
