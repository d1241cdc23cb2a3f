#include "coordinator/cli/recording_merge.h"

#include "coordinator/cli/recording_writer.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct state {
    struct recording_merge *merge;
    struct recording about; // of the file under way
    struct recording_writer *writer;
    int64_t next;     // frame to be written
    int64_t sound;    // packet of sound to be written; INT64_MIN: whichever comes first
    int64_t last_dts; // of the picture written last
    int64_t delay;    // from decoding to display, in frames: the largest seen
    int opened;       // sources[0 .. opened) were opened
    const struct recording_source *sound_from; // of the packet before
};

// ---- What is found -----------------------------------------------------------------------------

static void *grow(void *items, int *room, size_t size)
{
    *room = *room ? 2 * *room : 16;
    items = realloc(items, (size_t)*room * size);
    if (!items)
        abort();
    return items;
}

static void note(struct recording_ranges *r, int64_t from, int64_t to)
{
    if (r->count && r->items[r->count - 1].to >= from - 1) {
        struct recording_range *last = &r->items[r->count - 1];
        last->from = from < last->from ? from : last->from;
        last->to = to > last->to ? to : last->to;
        return;
    }
    if (r->count == r->room)
        r->items = grow(r->items, &r->room, sizeof *r->items);
    r->items[r->count++] = (struct recording_range){from, to};
}

static int64_t frame_of_sound(const struct state *s, int64_t number)
{
    return muldiv_floor(number * RECORDING_SOUND_SAMPLES, s->about.rate.num,
                        (int64_t)s->about.rate.den * SAMPLE_RATE_HZ);
}

// ---- Output ------------------------------------------------------------------------------------

// A file that is to be written may be one that is to be read, by whatever name.
static int refuse_source(const struct recording_merge *m, const char *path,
                         struct diagnostic *reterr)
{
    struct stat output, input;
    if (stat(path, &output))
        return 0;
    for (int i = 0; i < m->source_count; i++)
        if (!stat(m->sources[i]->path, &input) && input.st_dev == output.st_dev &&
            input.st_ino == output.st_ino)
            return diagnostic_set(reterr, -EINVAL, "output_failed", path,
                                  "is one of the recordings that are to be merged");
    return 0;
}

static int begin_part(struct state *s, const struct recording_source *like,
                      struct diagnostic *reterr)
{
    struct recording_merge *m = s->merge;
    char path[PATH_MAX];
    const char *dot = strrchr(m->output, '.');
    int stem = (int)(dot && !strchr(dot, '/') ? dot - m->output : (long)strlen(m->output));
    int length = m->part_count ? snprintf(path, sizeof path, "%.*s-%d%s", stem, m->output,
                                          m->part_count + 1, m->output + stem)
                               : snprintf(path, sizeof path, "%s", m->output);
    if (length >= (int)sizeof path)
        return diagnostic_set(reterr, -ENAMETOOLONG, "output_failed", m->output, "is too long");
    int64_t delay = like->about.first_frame - like->about.zero;
    s->about = like->about;
    s->about.first_frame = s->next;
    s->about.zero = s->next - delay;
    s->delay = delay > s->delay ? delay : s->delay;
    int error = refuse_source(m, path, reterr);
    if (!error)
        error = recording_writer_create(path, &s->about, like, &s->writer, reterr);
    if (error)
        return error;
    m->parts = realloc(m->parts, (size_t)(m->part_count + 1) * sizeof *m->parts);
    if (!m->parts)
        abort();
    m->parts[m->part_count++] =
        (struct recording_part){.path = base_strdup(path), .from = s->next, .to = s->next};
    s->last_dts = INT64_MIN;
    return 0;
}

// ---- Sound -------------------------------------------------------------------------------------

static const struct recording_sound *sound_at(const struct recording_source *source, int64_t number)
{
    if (source->sound_count && source->sound[0].number == number)
        return &source->sound[0];
    return NULL;
}

// Blocks are alike on both edges, but for one during which an encoder began: it is better not left
// in its middle.
static struct recording_source *choose_sound(const struct state *s, int64_t number)
{
    struct recording_source *best = NULL;
    int best_worth = -1;
    for (int i = 0; i < s->opened; i++) {
        struct recording_source *source = s->merge->sources[i];
        const struct recording_sound *sound = sound_at(source, number);
        if (!sound)
            continue;
        bool follows = source == s->sound_from && number % RECORDING_SOUND_BLOCK;
        int worth = 4 * !source->doubtful + 2 * follows + sound->whole;
        if (worth > best_worth) {
            best = source;
            best_worth = worth;
        }
    }
    return best;
}

static bool same_bytes(const AVPacket *a, const AVPacket *b)
{
    return a->size == b->size && !memcmp(a->data, b->data, (size_t)a->size);
}

static void compare_sound(struct state *s, const struct recording_source *taken)
{
    const struct recording_sound *sound = sound_at(taken, s->sound);
    for (int i = 0; i < s->opened; i++) {
        const struct recording_sound *other = sound_at(s->merge->sources[i], s->sound);
        if (other && sound->whole && other->whole && !same_bytes(sound->packet, other->packet)) {
            int64_t frame = frame_of_sound(s, s->sound);
            note(&s->merge->different, frame, frame);
        }
    }
}

// The oldest packet that waits anywhere; INT64_MAX: none does.
static int64_t oldest_sound(const struct state *s)
{
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < s->opened; i++) {
        const struct recording_source *source = s->merge->sources[i];
        if (source->sound_count && source->sound[0].number < oldest)
            oldest = source->sound[0].number;
    }
    return oldest;
}

static void drop_sound(struct state *s, int64_t number)
{
    for (int i = 0; i < s->opened; i++)
        recording_source_drop_sound(s->merge->sources[i], number);
}

// Writes the sound that begins up to a picture's dts.
static int write_sound(struct state *s, int64_t dts, struct diagnostic *reterr)
{
    int64_t last = dts == INT64_MAX ? dts - 1
                                    : muldiv_floor(rate_first_sample(s->about.rate, dts), 1,
                                                   RECORDING_SOUND_SAMPLES);
    for (;;) {
        struct recording_source *from = choose_sound(s, s->sound);
        int64_t number = from ? s->sound : oldest_sound(s);
        if (number > last)
            return 0;
        if (!from && s->sound != INT64_MIN)
            note(&s->merge->silent, frame_of_sound(s, s->sound), frame_of_sound(s, number - 1));
        s->sound = number;
        if (!from)
            continue;
        if (recording_sound_start(&s->about, number) < 0) { // from before the first picture
            drop_sound(s, ++s->sound);
            continue;
        }
        compare_sound(s, from);
        int error =
            recording_writer_sound(s->writer, sound_at(from, number)->packet, number, reterr);
        if (error)
            return error;
        s->sound_from = from;
        drop_sound(s, ++s->sound);
    }
}

// ---- Pictures ----------------------------------------------------------------------------------

// What is written must not go back in time, and display must not come before decoding.
static int64_t delay_of(const struct recording_gop *g)
{
    int64_t delay = 0;
    for (int i = 0; i < g->count; i++)
        if (g->first + i - g->frames[i] > delay)
            delay = g->first + i - g->frames[i];
    return delay;
}

static void note_holes(struct state *s, const struct recording_gop *g)
{
    bool there[RECORDING_GOP_MAX] = {false};
    for (int i = 0; i < g->count; i++)
        if (g->frames[i] - g->first < RECORDING_GOP_MAX)
            there[g->frames[i] - g->first] = true;
    for (int64_t n = g->first; n < g->end; n++)
        if (n - g->first >= RECORDING_GOP_MAX || !there[n - g->first])
            note(&s->merge->missing, n, n);
}

static int write_gop(struct state *s, const struct recording_source *from,
                     struct diagnostic *reterr)
{
    const struct recording_gop *g = &from->gop;
    int64_t delay = delay_of(g);
    int error = 0;
    s->delay = delay > s->delay ? delay : s->delay;
    if (s->writer && !recording_writer_fits(s->writer, from)) {
        error = write_sound(s, g->first - s->delay, reterr);
        if (!error)
            error = recording_writer_close(&s->writer, reterr);
    }
    if (!s->writer && !error)
        error = begin_part(s, from, reterr);
    for (int i = 0; i < g->count && !error; i++) {
        int64_t dts = g->first + i - s->delay;
        dts = dts > s->last_dts ? dts : s->last_dts + 1;
        dts = dts < g->frames[i] ? dts : g->frames[i];
        s->last_dts = dts;
        error = write_sound(s, dts, reterr);
        if (!error)
            error = recording_writer_picture(s->writer, g->packets[i], g->frames[i], dts, reterr);
    }
    if (error)
        return error;
    struct recording_part *part = &s->merge->parts[s->merge->part_count - 1];
    part->to = g->end - 1;
    part->frames += g->count;
    note_holes(s, g);
    if (from->doubtful)
        note(&s->merge->doubtful, g->first, g->end - 1);
    s->next = g->end;
    return 0;
}

static bool is_whole(const struct recording_gop *g)
{
    return g->count == g->end - g->first;
}

// Both begin at the same frame and are to be the same, unless one encoder had other pictures than
// the other: one that ends early looks ahead at fewer, too.
static void compare_gop(struct state *s, const struct recording_gop *a,
                        const struct recording_gop *b)
{
    if (!is_whole(a) || !is_whole(b) || a->end != b->end)
        return;
    for (int i = 0; i < a->count; i++)
        if (a->frames[i] != b->frames[i] || !same_bytes(a->packets[i], b->packets[i]))
            note(&s->merge->different, a->frames[i], a->frames[i]);
}

// ---- Sources -----------------------------------------------------------------------------------

static int open_due(struct state *s, int64_t frame, struct diagnostic *reterr)
{
    struct recording_merge *m = s->merge;
    int error = 0;
    while (!error && s->opened < m->source_count &&
           m->sources[s->opened]->about.first_frame <= frame)
        error = recording_source_open(m->sources[s->opened++], reterr);
    return error;
}

// Passes by what has been written, and closes what is used up.
static void advance(struct state *s)
{
    for (int i = 0; i < s->opened; i++) {
        struct recording_source *source = s->merge->sources[i];
        while (source->gop.count && source->gop.first < s->next)
            recording_source_next(source);
        if (source->in && !source->gop.count && !source->sound_count)
            recording_source_close(source);
    }
}

// The best of those that have a GOP which begins at the frame; NULL: none has.
static struct recording_source *choose(const struct state *s)
{
    struct recording_source *best = NULL;
    for (int i = 0; i < s->opened; i++) {
        struct recording_source *source = s->merge->sources[i];
        const struct recording_gop *g = &source->gop;
        if (!g->count || g->first != s->next)
            continue;
        bool better = !best || (source->doubtful != best->doubtful ? best->doubtful
                                : g->end != best->gop.end          ? g->end > best->gop.end
                                : g->count != best->gop.count      ? g->count > best->gop.count
                                : s->writer && !recording_writer_fits(s->writer, best)
                                    ? recording_writer_fits(s->writer, source)
                                    : false);
        best = better ? source : best;
    }
    return best;
}

// The first frame from which something is there; INT64_MAX: nothing is.
static int64_t next_there(const struct state *s)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < s->opened; i++) {
        const struct recording_gop *g = &s->merge->sources[i]->gop;
        if (g->count && g->first < next)
            next = g->first;
    }
    if (s->opened < s->merge->source_count &&
        s->merge->sources[s->opened]->about.first_frame < next)
        next = s->merge->sources[s->opened]->about.first_frame;
    return next;
}

// A GOP that was torn goes on in another recording, whose encoder began in its middle: it is left
// there, though a few pictures may be lost that refer to later ones.
static void cut_for_another(const struct state *s, struct recording_gop *g)
{
    int64_t at = g->end;
    for (int i = 0; i < s->opened; i++) {
        const struct recording_gop *other = &s->merge->sources[i]->gop;
        if (other->count && other->first > g->first && other->first < at && other->end > g->end)
            at = other->first;
    }
    if (at < g->end)
        recording_gop_cut(g, at);
}

static int take_gop(struct state *s, struct recording_source *best, struct diagnostic *reterr)
{
    int error = open_due(s, best->gop.end, reterr);
    if (error)
        return error;
    cut_for_another(s, &best->gop);
    for (int i = 0; i < s->opened; i++) {
        const struct recording_source *other = s->merge->sources[i];
        if (other != best && other->gop.count && other->gop.first == s->next)
            compare_gop(s, &best->gop, &other->gop);
    }
    return write_gop(s, best, reterr);
}

static int join(struct state *s, struct diagnostic *reterr)
{
    int error = 0;
    s->next = s->merge->sources[0]->about.first_frame;
    while (!error && !(error = open_due(s, s->next, reterr))) {
        advance(s);
        struct recording_source *best = choose(s);
        int64_t there = best ? s->next : next_there(s);
        if (there == INT64_MAX)
            break;
        if (best) {
            error = take_gop(s, best, reterr);
        } else {
            if (s->writer && there > s->next)
                note(&s->merge->missing, s->next, there - 1);
            s->next = there;
        }
    }
    if (!error && !s->writer)
        error = diagnostic_set(reterr, -ENODATA, "recording_empty", s->merge->sources[0]->path,
                               "has no picture that can be shown, nor has any other");
    if (!error)
        error = write_sound(s, INT64_MAX, reterr);
    return error ? error : recording_writer_close(&s->writer, reterr);
}

static int check_kinship(const struct recording_merge *m, struct diagnostic *reterr)
{
    const struct recording *first = &m->sources[0]->about;
    for (int i = 1; i < m->source_count; i++) {
        const struct recording *other = &m->sources[i]->about;
        if (strcmp(first->channel, other->channel) != 0 || first->programme != other->programme)
            return diagnostic_set(reterr, -EINVAL, "recording_channel", m->sources[i]->path,
                                  "is of channel %s (number %" PRIu64 "), %s is of %s (%" PRIu64
                                  "); --channel says which is wanted",
                                  other->channel, other->programme, m->sources[0]->path,
                                  first->channel, first->programme);
        if (first->rate.num != other->rate.num || first->rate.den != other->rate.den)
            return diagnostic_set(reterr, -EINVAL, "recording_rate", m->sources[i]->path,
                                  "has %d/%d frames a second, %s has %d/%d", other->rate.num,
                                  other->rate.den, m->sources[0]->path, first->rate.num,
                                  first->rate.den);
    }
    return 0;
}

int recording_merge(struct recording_merge *merge, struct diagnostic *reterr)
{
    struct state s = {.merge = merge, .sound = INT64_MIN, .about = merge->sources[0]->about};
    int error = check_kinship(merge, reterr);
    if (!error)
        error = join(&s, reterr);
    recording_writer_abort(&s.writer);
    for (int i = 0; i < s.opened; i++)
        recording_source_close(merge->sources[i]);
    return error;
}

void recording_merge_finish(struct recording_merge *merge)
{
    for (int i = 0; i < merge->part_count; i++)
        free(merge->parts[i].path);
    free(merge->parts);
    struct recording_ranges *all[] = {&merge->missing, &merge->silent, &merge->different,
                                      &merge->doubtful};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->items);
}
