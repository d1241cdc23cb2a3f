#include "engine/live/camera_private.h"

#include "engine/frame/sound.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Some decoders go by what they have decoded before (the noise that AAC puts in for noise, MP3's
// store of bits), so each block is decoded by a fresh one, which hears the units before it first.
#define BLOCK_SAMPLES 65536
#define PREROLL_UNITS 8
#define FADE_NS       INT64_C(10000000)
#define SECOND_NS     INT64_C(1000000000)
// The log must be done so much farther than what is heard: the resampler's reach, and fading.
#define AHEAD_NS INT64_C(30000000)
// What lies so little behind what was forgotten may need some of it: more than a unit and a fade,
// less than a block of any rate.
#define BACK_NS INT64_C(150000000)

// ---- Blocks ----------------------------------------------------------------------------------

static void block_clear(struct camera_block *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->pieces[i].pairs);
    free(b->pieces);
    *b = (struct camera_block){0};
}

void camera_sounds_clear(struct camera *c)
{
    for (int i = 0; i < BLOCKS_KEPT; i++)
        block_clear(&c->sounds.blocks[i]);
}

// The first unit at or after a sample of a gen.
static int64_t unit_at_sample(const struct camera_units *units, uint32_t gen, int64_t index)
{
    size_t from = 0, to = units->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        const struct camera_unit *u = &units->units[middle];
        if (u->gen < gen || (u->gen == gen && u->index < index))
            from = middle + 1;
        else
            to = middle;
    }
    return units->first + (int64_t)from;
}

static int number_of(const struct camera *c, const struct camera_block *b)
{
    return BLOCK_DECODERS + (int)(b - c->sounds.blocks);
}

// -ENOENT: the block, or what has to be heard before it, is not in the log. -EINVAL: nobody can
// decode it. -ERESTART, -EAGAIN.
static int block_begin(struct camera *c, struct camera_block *b, uint32_t gen, int64_t number)
{
    const struct camera_units *units = &c->log.streams[UNIT_SOUND];
    int64_t first = unit_at_sample(units, gen, number * BLOCK_SAMPLES), before = first;
    while (first - before < PREROLL_UNITS && before > units->first &&
           units_at(units, before - 1)->gen == gen)
        before--;
    bool whole = first - before == PREROLL_UNITS ||
                 (before < units_end(units) && units_at(units, before)->index == 0);
    if (before == units_end(units) || units_at(units, before)->gen != gen || !whole)
        return -ENOENT;
    block_clear(b);
    int error =
        live_decoders_open(c->decoders, number_of(c, b), units_at(units, before)->format, NULL);
    if (!error)
        *b = (struct camera_block){.gen = gen, .number = number, .next = before, .open = true};
    return error;
}

static int keep_piece(struct camera_block *b, const struct live_sound *sound, int64_t tag,
                      int sample_rate)
{
    if (tag < b->number * BLOCK_SAMPLES || tag >= (b->number + 1) * BLOCK_SAMPLES ||
        sound->rate % sample_rate || sound->count <= 0)
        return 0;
    if (b->count == b->capacity) {
        size_t capacity = b->capacity ? 2 * b->capacity : 64;
        struct camera_piece *pieces = realloc(b->pieces, capacity * sizeof *pieces);
        if (!pieces)
            return -ENOMEM;
        b->pieces = pieces;
        b->capacity = capacity;
    }
    size_t size = (size_t)sound->count * 2 * sizeof(int32_t);
    int32_t *pairs = malloc(size);
    if (!pairs)
        return -ENOMEM;
    memcpy(pairs, sound->pairs, size);
    b->times = sound->rate / sample_rate;
    b->pieces[b->count++] = (struct camera_piece){tag * b->times, sound->count, pairs};
    return 0;
}

// What the decoder has made; what it lacks is silent.
static int block_pull(struct camera *c, struct camera_block *b, int sample_rate)
{
    for (;;) {
        struct live_sound sound;
        int64_t tag;
        int error = live_decoders_sound(c->decoders, number_of(c, b), &sound, &tag);
        if (error == -ENODATA || error == -ERESTART)
            return error == -ENODATA ? 0 : error;
        if (!error && tag != UNIT_NO_TIME)
            error = keep_piece(b, &sound, tag, sample_rate);
        if (error == -ENOMEM)
            return error;
    }
}

// Decodes what has come of the block.
static int block_advance(struct camera *c, struct camera_block *b)
{
    const struct camera_units *units = &c->log.streams[UNIT_SOUND];
    int error = 0;
    for (; !error && b->open && b->next < units_end(units); b->next++) {
        const struct camera_unit *u = units_at(units, b->next);
        // A unit that ends decoders is silent, and what comes after it in the block.
        b->open = u->gen == b->gen && u->index < (b->number + 1) * BLOCK_SAMPLES &&
                  !live_decoders_blame(c->decoders, u->seq);
        if (!b->open || u->flags & UNIT_DAMAGED)
            continue;
        error =
            live_decoders_push(c->decoders, number_of(c, b), u->seq, u->body, u->size, u->index);
        if (error != -ERESTART)
            error = block_pull(c, b, u->format->sample_rate);
    }
    if (error < 0)
        block_clear(b);
    return error;
}

// The block, decoded as far as it is here; NULL: it cannot be had.
static int block_find(struct camera *c, uint32_t gen, int64_t number, struct camera_block **ret)
{
    struct camera_sounds *s = &c->sounds;
    struct camera_block *oldest = &s->blocks[0];
    *ret = NULL;
    for (int i = 0; i < BLOCKS_KEPT; i++) {
        struct camera_block *b = &s->blocks[i];
        if (b->gen == gen && b->number == number) {
            *ret = b;
            return block_advance(c, b);
        }
        if (b->gen < oldest->gen || (b->gen == oldest->gen && b->number < oldest->number))
            oldest = b;
    }
    int error = block_begin(c, oldest, gen, number);
    if (error < 0)
        return error == -ENOENT || error == -EINVAL ? 0 : error;
    *ret = oldest;
    return block_advance(c, oldest);
}

// As block_find, but for -ERESTART.
static int block_get(struct camera *c, uint32_t gen, int64_t number, struct camera_block **ret)
{
    int error = -ERESTART;
    for (int tries = 0; tries < RESTARTS_MAX && error == -ERESTART; tries++)
        error = block_find(c, gen, number, ret);
    return error == -ERESTART ? -EAGAIN : error;
}

// ---- The source's samples around a place -----------------------------------------------------

static int make_window(struct camera_sounds *s, size_t count)
{
    if (count > s->window_max) {
        free(s->window);
        free(s->present);
        s->window = malloc(count * 2 * sizeof *s->window);
        s->present = malloc(count);
        s->window_max = s->window && s->present ? count : 0;
    }
    if (s->window_max < count)
        return -ENOMEM;
    memset(s->window, 0, count * 2 * sizeof *s->window);
    memset(s->present, 0, count);
    return 0;
}

static void lay(struct camera_sounds *s, const struct camera_block *b, int64_t first, int64_t count)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct camera_piece *p = &b->pieces[i];
        int64_t from = p->index > first ? p->index : first;
        int64_t to = p->index + p->count < first + count ? p->index + p->count : first + count;
        if (from >= to)
            continue;
        memcpy(s->window + 2 * (from - first), p->pairs + 2 * (from - p->index),
               (size_t)(to - from) * 2 * sizeof(int32_t));
        memset(s->present + (from - first), 1, (size_t)(to - from));
    }
}

// Toward places where samples are missing the sound fades, over `fade` samples.
static void fade_edges(struct camera_sounds *s, int64_t count, int64_t fade)
{
    for (int pass = 0; pass < 2; pass++) {
        int64_t far = fade;
        for (int64_t k = 0; k < count; k++) {
            int64_t i = pass ? count - 1 - k : k;
            far = s->present[i] ? far + 1 : 0;
            for (int side = 0; far < fade && side < 2; side++)
                s->window[2 * i + side] = (int32_t)(s->window[2 * i + side] * far / fade);
        }
    }
}

// ---- The map ---------------------------------------------------------------------------------

// Breakpoints around a time: the gen that it falls into, and where the next gen begins. `time` in
// 1/48000 ns. False: before all sound.
struct place {
    uint32_t gen;
    struct sound_point from, to;
    __int128 next_gen; // time; the largest number: none
};

static bool place_of(const struct camera_log *log, __int128 time, struct place *ret)
{
    const __int128 never = (__int128)1 << 120;
    const struct camera_point *p = log->points;
    size_t count = log->point_count, i = count;
    *ret = (struct place){.next_gen = never};
    while (i && (__int128)p[i - 1].point.farm_ns * SAMPLE_RATE_HZ > time)
        i--;
    // A gen counts from its first breakpoint on, though one before it has some that lie later.
    size_t at = i;
    for (size_t k = i; k < count; k++)
        if (at && p[k].gen != p[at - 1].gen && p[k].gen > p[at - 1].gen) {
            ret->next_gen = (__int128)p[k].point.farm_ns * SAMPLE_RATE_HZ;
            break;
        }
    if (!at)
        return false;
    ret->gen = p[at - 1].gen;
    if (at == count || p[at].gen != ret->gen) { // beyond the last one: as before it
        if (at < 2 || p[at - 2].gen != ret->gen)
            return false;
        at--;
    }
    ret->from = p[at - 1].point;
    ret->to = p[at].point;
    return true;
}

// ---- Frames ----------------------------------------------------------------------------------

static int set_resampler(struct camera_sounds *s, int rate)
{
    if (s->resampler && s->rate == rate)
        return 0;
    resampler_destroy(&s->resampler);
    s->resampler = resampler_create(rate);
    s->rate = rate;
    return s->resampler ? 0 : -ENOMEM;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

// Samples [0, count) of one gen; `time` is the first one's.
static int render(struct camera *c, const struct place *place, __int128 time, int count,
                  int32_t *dst)
{
    struct camera_sounds *s = &c->sounds;
    const struct camera_units *units = &c->log.streams[UNIT_SOUND];
    int64_t any = unit_at_sample(units, place->gen, 0);
    memset(dst, 0, (size_t)count * 2 * sizeof *dst);
    if (any == units_end(units) || units_at(units, any)->gen != place->gen)
        return 0;
    int rate = units_at(units, any)->format->sample_rate;
    int64_t margin = (int64_t)rate / 50; // fading and the resampler's reach
    __int128 last = time + (__int128)(count - 1) * SECOND_NS;
    int64_t low = (int64_t)(sound_position(place->from, place->to, time) >> 32) - margin;
    int64_t high = (int64_t)(sound_position(place->from, place->to, last) >> 32) + margin;
    struct camera_block *blocks[BLOCKS_KEPT] = {NULL};
    int64_t number = floor_div(low, BLOCK_SAMPLES) - 1; // its last unit may reach into the next
    int times = 0;
    for (int i = 0; i < BLOCKS_KEPT; i++) // of later ones, where one goes back
        if (s->blocks[i].gen > place->gen ||
            (s->blocks[i].gen == place->gen && s->blocks[i].number * BLOCK_SAMPLES > high))
            block_clear(&s->blocks[i]);
    // A frame is shorter than a block, so these are at most three.
    if (number < 0 || low - (number + 1) * BLOCK_SAMPLES > BLOCK_SAMPLES / 8)
        number++;
    int error = 0;
    for (int i = 0; !error && i < BLOCKS_KEPT && number * BLOCK_SAMPLES <= high; i++, number++) {
        error = number >= 0 ? block_get(c, place->gen, number, &blocks[i]) : 0;
        times = blocks[i] && blocks[i]->times ? blocks[i]->times : times;
    }
    if (error < 0 || !times || high < 0)
        return error;
    int64_t first = low * times, width = (high - low + 1) * times;
    error = set_resampler(s, rate * times);
    if (!error)
        error = make_window(s, (size_t)width);
    if (error < 0)
        return error;
    for (int i = 0; i < BLOCKS_KEPT; i++)
        if (blocks[i])
            lay(s, blocks[i], first, width);
    fade_edges(s, width, (int64_t)rate * times / 100);
    for (int m = 0; m < count; m++) {
        __int128 at = time + (__int128)m * SECOND_NS, left = place->next_gen - at;
        __int128 position = sound_position(place->from, place->to, at) * times;
        resampler_sample(s->resampler, position, s->window, first, dst + (ptrdiff_t)2 * m);
        const __int128 fade = (__int128)FADE_NS * SAMPLE_RATE_HZ;
        for (int side = 0; left < fade && side < 2; side++)
            dst[2 * m + side] = (int32_t)(dst[2 * m + side] * left / fade);
    }
    return 0;
}

static void forget_before(struct camera *c, const struct place *place, __int128 time)
{
    const struct camera_units *units = &c->log.streams[UNIT_SOUND];
    int64_t index = (int64_t)(sound_position(place->from, place->to, time) >> 32);
    int64_t number = floor_div(index, BLOCK_SAMPLES) - 1;
    if (number >= 0)
        camera_log_forget(&c->log, UNIT_SOUND,
                          unit_at_sample(units, place->gen, number * BLOCK_SAMPLES) -
                              (number ? PREROLL_UNITS : 0));
}

void camera_sounds_forget(struct camera *c, int64_t t_ns)
{
    struct place place;
    __int128 time = (__int128)t_ns * SAMPLE_RATE_HZ;
    if (place_of(&c->log, time, &place))
        forget_before(c, &place, time);
}

int camera_sound(struct camera *c, int64_t n, int32_t *dst, struct diagnostic *reterr)
{
    int count = rate_sample_count(c->config.rate, n), done = 0;
    int64_t offset_ns = c->config.epoch_ns - c->config.delay_ns;
    __int128 time = (__int128)offset_ns * SAMPLE_RATE_HZ +
                    (__int128)rate_first_sample(c->config.rate, n) * SECOND_NS;
    __int128 end = time + (__int128)count * SECOND_NS;
    int error = camera_read(c, UNIT_SOUND, (int64_t)(time / SAMPLE_RATE_HZ) - BACK_NS, reterr);
    if (error < 0)
        return error;
    if (c->log.done_ns[UNIT_SOUND] < (int64_t)(end / SAMPLE_RATE_HZ) + AHEAD_NS)
        return diagnostic_set(reterr, -EAGAIN, "live_sound", "",
                              "the source's sound has not come so far yet");
    while (!error && done < count) {
        // As many samples as have the same two breakpoints.
        struct place place, next;
        __int128 at = time + (__int128)done * SECOND_NS;
        bool there = place_of(&c->log, at, &place);
        int some = 1;
        for (; done + some < count; some++) {
            bool also = place_of(&c->log, at + (__int128)some * SECOND_NS, &next);
            if (also != there ||
                (there && (next.gen != place.gen || next.from.index != place.from.index)))
                break;
        }
        if (there)
            error = render(c, &place, at, some, dst + (ptrdiff_t)2 * done);
        else
            memset(dst + (ptrdiff_t)2 * done, 0, (size_t)some * 2 * sizeof *dst);
        if (there && !done)
            forget_before(c, &place, at);
        done += some;
    }
    return error < 0 ? diagnostic_set(reterr, error, "live_sound", "",
                                      "the source's sound cannot be made")
                     : 0;
}
