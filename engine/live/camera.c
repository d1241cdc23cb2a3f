#include "engine/live/camera_private.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>

// A decoder that has not given a picture after so many units more will not give it.
#define REORDER_MAX 40
// Keys that decoding may have to go back: the pictures before a key in an open group need the group
// before, and gradual refresh some more.
#define KEY_TRIES 3

int camera_open(const struct camera_config *config, struct camera **ret, struct diagnostic *reterr)
{
    struct live_reader *reader;
    int error = live_reader_open(config->folder, &reader, reterr);
    if (error < 0)
        return error;
    struct camera *c = base_alloc(sizeof *c);
    c->config = *config;
    c->config.folder = NULL;
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
    int error = camera_log_read(&c->log);
    return error < 0
               ? diagnostic_set(reterr, error, "live_log", "", "the source's log cannot be read")
               : 0;
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

static void close_decoder(struct camera_pictures *p)
{
    live_decoder_destroy(&p->decoder);
    drop_ready(p, p->ready_count);
    p->run = 0;
}

void camera_pictures_clear(struct camera *c)
{
    close_decoder(&c->pictures);
    picture_unref(&c->pictures.shown.picture);
}

// Takes what the decoder has. 0: more has to be pushed; -ENODATA: there will be no more.
static int pull(struct camera *c)
{
    struct camera_pictures *p = &c->pictures;
    for (;;) {
        struct picture *picture = NULL;
        int64_t tag = UNIT_NO_TIME;
        int error = live_decoder_picture(p->decoder, &picture, &tag);
        if (error == -EAGAIN)
            return 0;
        if (error == -ENODATA)
            return error;
        int64_t i =
            tag == UNIT_NO_TIME ? -1 : units_find(&c->log.streams[UNIT_PICTURE], (uint64_t)tag);
        if (i >= 0)
            p->out_ns = units_at(&c->log.streams[UNIT_PICTURE], i)->chan_ns;
        if (error < 0 || i < 0) {
            picture_unref(&picture);
            continue;
        }
        if (p->ready_count == READY_MAX)
            drop_ready(p, 1);
        p->ready[p->ready_count++] = (struct camera_ready){(uint64_t)tag, p->out_ns, picture};
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

static int begin_at(struct camera *c, int64_t key)
{
    struct camera_pictures *p = &c->pictures;
    const struct camera_unit *u = units_at(&c->log.streams[UNIT_PICTURE], key);
    if (p->decoder && p->format != u->format)
        close_decoder(p);
    drop_ready(p, p->ready_count);
    int error = 0;
    if (p->decoder)
        live_decoder_flush(p->decoder);
    else
        error = live_decoder_create(u->format, &p->decoder, NULL);
    p->format = u->format;
    p->run = u->run;
    p->start = p->next = key;
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

// Decodes on until the wanted unit's picture is there. 0; -EAGAIN: it needs units that have not
// come yet; -EIO: it does not come from here.
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
        bool over = run_is_over(c, p->next);
        if (!over && p->next == units_end(units))
            return -EAGAIN;
        if (over) {
            // Should the run go on after a gap, decoding begins at its key again.
            (void)live_decoder_push(p->decoder, NULL, 0, 0);
            p->ended = true;
        } else {
            const struct camera_unit *u = units_at(units, p->next++);
            (void)live_decoder_push(p->decoder, u->body, u->size, (int64_t)u->seq); // shows below
        }
        (void)pull(c);
    }
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

static bool is_on_the_way(const struct camera *c, int64_t i)
{
    const struct camera_pictures *p = &c->pictures;
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    const struct camera_unit *wanted = units_at(units, i);
    if (!p->decoder || p->run != wanted->run || i < p->start)
        return false;
    for (int k = 0; k < p->ready_count; k++)
        if (p->ready[k].seq == wanted->seq)
            return true;
    if (p->ended || p->out_ns >= wanted->chan_ns)
        return false;
    // From where a later key is nearer, decoding begins there.
    return i < p->next + REORDER_MAX || key_before(units, i, i) <= p->next;
}

// As advance.
static int decode(struct camera *c, int64_t i)
{
    const struct camera_units *units = &c->log.streams[UNIT_PICTURE];
    if (is_on_the_way(c, i)) {
        int error = advance(c, i);
        if (error != -EIO)
            return error;
    }
    int64_t key = key_before(units, i, i);
    // A picture that is shown before the key it comes after leans on the group before.
    if (key >= 0 && units_at(units, i)->chan_ns < units_at(units, key)->chan_ns &&
        key_before(units, i, key - 1) >= 0)
        key = key_before(units, i, key - 1);
    for (int tries = 0; tries < KEY_TRIES && key >= 0; tries++) {
        int error = begin_at(c, key);
        if (!error)
            error = advance(c, i);
        if (error != -EIO)
            return error;
        key = key_before(units, i, key - 1);
    }
    return -EIO;
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
    *ret_content = p->shown.seq;
    return 0;
}
