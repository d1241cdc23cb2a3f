#include "engine/sound/sound_source.h"

#include "engine/base/thread.h"
#include "engine/media/index.h"
#include "engine/media/media.h"
#include "engine/timeline/arithmetic.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL_MAX_DB 30

struct sound_source {
    struct sound_file *file; // NULL: the asset has no sound
    struct rational length;  // samples after which a loop starts again, exact; below 1: never
    double lufs;             // -HUGE_VAL: silent, or not known
};

// A video loops with its pictures; one picture alone stands as long as its sound.
static struct rational loop_seconds(const char *path, const struct media_info *info)
{
    struct rational seconds = info->picture_duration;
    struct media_index *index;
    char name[PATH_MAX + 8];
    if (!info->picture_codec[0])
        return rational_make(info->sample_count, SAMPLE_RATE_HZ);
    snprintf(name, sizeof name, "%s.index", path);
    if (!seconds.den && !index_load(name, &index, NULL)) { // facts of an older import
        seconds = index_duration(index);
        index_destroy(&index);
    }
    return seconds.den && info->picture_count > 1 ? seconds : info->duration;
}

int sound_source_open(const struct asset_resolver *resolver, const char *uri,
                      struct sound_source **ret, struct diagnostic *reterr)
{
    char path[PATH_MAX], name[PATH_MAX + 8];
    struct media_info info;
    int error = resolver->resolve(resolver->opaque, uri, path, reterr);
    if (!error)
        error = media_info_read(path, &info, reterr);
    if (error)
        return error;
    struct sound_source *s = base_alloc(sizeof *s);
    if (info.sample_count > 0) {
        snprintf(name, sizeof name, "%s.sound", path);
        error = sound_file_open(name, &s->file, reterr);
    }
    if (error) {
        free(s);
        return error;
    }
    s->lufs = info.loudness_known ? info.loudness_lufs : -HUGE_VAL;
    s->length = rational_product(loop_seconds(path, &info), (struct rational){SAMPLE_RATE_HZ, 1});
    *ret = s;
    return 0;
}

bool sound_source_is_silent(const struct sound_source *s)
{
    return !s->file;
}

double sound_source_level(const struct sound_source *s, double target_lufs)
{
    if (!(s->lufs > -HUGE_VAL))
        return 1;
    double db = target_lufs - s->lufs;
    db = db > LEVEL_MAX_DB ? LEVEL_MAX_DB : db < -LEVEL_MAX_DB ? -LEVEL_MAX_DB : db;
    return decibel_to_gain(db);
}

void sound_source_close(struct sound_source **source)
{
    struct sound_source *s = *source;
    if (!s)
        return;
    *source = NULL;
    sound_file_close(&s->file);
    free(s);
}

// Loops need not be a whole number of samples long: rounded once for all, sound would run away from
// the pictures.
static int64_t loop_start(const struct sound_source *s, int64_t loop)
{
    return (int64_t)(((wide)loop * s->length.num + s->length.den - 1) / s->length.den);
}

// Reads whole samples; a loop is put together from its pieces.
static void read_whole(const struct sound_source *s, int64_t first, bool loop, int count,
                       float *dst)
{
    if (!loop || s->length.num < s->length.den) {
        sound_file_read(s->file, first, count, dst);
        return;
    }
    int before = first >= 0 ? 0 : -first < count ? (int)-first : count;
    memset(dst, 0, (size_t)before * SOUND_CHANNELS * sizeof *dst);
    int64_t at = first + before, turn = (int64_t)((wide)at * s->length.den / s->length.num);
    for (int done = before; done < count; turn++) {
        int64_t left = loop_start(s, turn + 1) - at;
        int part = left < count - done ? (int)left : count - done;
        sound_file_read(s->file, at - loop_start(s, turn), part, dst + done * SOUND_CHANNELS);
        done += part;
        at += part;
    }
}

// Positions are position + i * speed over their common denominator, counted in whole samples and
// rest: exact, and without a division per sample.
static void read_between(const struct sound_source *s, struct rational position,
                         struct rational speed, bool loop, int count, float *dst)
{
    wide den = (wide)position.den * speed.den, step = (wide)speed.num * position.den;
    wide whole = rational_floor(position, 1);
    wide rest = ((wide)position.num - whole * position.den) * speed.den;
    wide step_whole = step / den, step_rest = step % den;
    for (int i = 0; i < count; i++) {
        float pair[2 * SOUND_CHANNELS];
        read_whole(s, (int64_t)whole, loop, 2, pair);
        double share = (double)rest / (double)den;
        for (int c = 0; c < SOUND_CHANNELS; c++)
            dst[i * SOUND_CHANNELS + c] =
                (float)((double)pair[c] * (1 - share) + (double)pair[SOUND_CHANNELS + c] * share);
        whole += step_whole;
        rest += step_rest;
        if (rest >= den) {
            rest -= den;
            whole++;
        }
    }
}

void sound_source_read(const struct sound_source *s, struct rational position,
                       struct rational speed, bool loop, int count, float *dst)
{
    if (!s->file)
        memset(dst, 0, (size_t)count * SOUND_CHANNELS * sizeof *dst);
    else if (speed.num == speed.den)
        read_whole(s, rational_floor(position, 1), loop, count, dst);
    else
        read_between(s, position, speed, loop, count, dst);
}

void sound_tone(double first, double speed, double hz, double gain, int count, float *dst)
{
    for (int i = 0; i < count; i++) {
        // Whole turns are taken off exactly: products of sample numbers and frequencies stay below
        // 2^53 for years.
        double turns = (first + i * speed) * hz / SAMPLE_RATE_HZ;
        turns -= (double)(int64_t)turns;
        double sine, cosine;
        degrees_sin_cos(turns * 360, &sine, &cosine);
        for (int c = 0; c < SOUND_CHANNELS; c++)
            dst[i * SOUND_CHANNELS + c] = (float)(sine * gain);
    }
}
