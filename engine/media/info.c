#include "engine/media/media.h"

#include "engine/media/loudness.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void format_seconds(struct rational seconds, char buffer[48])
{
    snprintf(buffer, 48, "%lld/%llds", (long long)seconds.num, (long long)seconds.den);
}

void media_damage_text(const struct media_info *i, char *ret)
{
    *ret = 0;
    if (!i->damage_count)
        return;
    int64_t tenths = rational_floor(i->damage_first, 10);
    snprintf(ret, 160,
             "is damaged or cut short in %lld place%s, the first at %lld.%lld s; clips show their "
             "fallback there",
             (long long)i->damage_count, i->damage_count == 1 ? "" : "s", (long long)(tenths / 10),
             (long long)(tenths % 10));
}

void media_start_text(const struct media_info *i, char *ret)
{
    *ret = 0;
    if (i->start_known && !i->still && i->start_slowest_us > MEDIA_START_SLOW_US)
        snprintf(ret, 160,
                 "takes up to %.1f s to start in the middle: key frames are far apart; encode it "
                 "with one every second or two",
                 (double)i->start_slowest_us / 1e6);
}

static json_t *format_start(const struct media_info *i)
{
    if (!i->start_known)
        return json_null();
    return json_pack("{s:f, s:f}", "first_ms", (double)i->start_first_us / 1e3, "slowest_ms",
                     (double)i->start_slowest_us / 1e3);
}

static json_t *decibels(double value)
{
    return value > -HUGE_VAL ? json_real(value) : json_null();
}

static json_t *format_loudness(const struct media_info *i)
{
    if (!i->loudness_known)
        return json_null();
    return json_pack("{s:o, s:o}", "integrated_lufs", decibels(i->loudness_lufs), "true_peak_dbtp",
                     decibels(i->true_peak_dbtp));
}

char *media_info_format(const struct media_info *i)
{
    char rate[24], duration[48], pictures[48], first[48];
    rate_format(i->rate, rate);
    format_seconds(i->duration, duration);
    format_seconds(i->picture_duration, pictures);
    format_seconds(i->damage_first, first);
    json_t *damage = i->damage_count ? json_pack("{s:I, s:s}", "count", (json_int_t)i->damage_count,
                                                 "first", first)
                                     : json_null();
    json_t *json = json_pack(
        "{s:s, s:I, s:s, s:s, s:s, s:i, s:i, s:b, s:s, s:s, s:s*, s:I, s:I, s:b, s:b, s:o, s:o, "
        "s:o}",
        "sha256", i->sha256, "bytes", (json_int_t)i->bytes, "container", i->container,
        "picture_codec", i->picture_codec, "sound_codec", i->sound_codec, "width", i->width,
        "height", i->height, "still", i->still, "rate", i->rate.num ? rate : "0", "duration",
        duration, "picture_duration", i->picture_duration.den ? pictures : NULL, "picture_count",
        (json_int_t)i->picture_count, "sample_count", (json_int_t)i->sample_count, "interlaced",
        i->interlaced, "hdr", i->hdr, "damage", damage, "start", format_start(i), "loudness",
        format_loudness(i));
    if (!json)
        return NULL;
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(json);
    return text;
}

static bool parse_seconds(const char *text, struct rational *ret)
{
    long long num, den;
    char unit, more;
    if (sscanf(text, "%lld/%lld%c%c", &num, &den, &unit, &more) != 3 || unit != 's' || den <= 0 ||
        num < 0)
        return false;
    *ret = rational_make(num, den);
    return true;
}

// Null, or how many places and the first of them.
static bool take_damage(const json_t *json, struct media_info *ret)
{
    json_int_t count;
    const char *first;
    if (!json || json_is_null(json))
        return true;
    if (json_unpack((json_t *)(uintptr_t)json, "{s:I, s:s}", "count", &count, "first", &first) ||
        count < 1 || !parse_seconds(first, &ret->damage_first))
        return false;
    ret->damage_count = count;
    return true;
}

// Null, or milliseconds.
static bool take_start(const json_t *json, struct media_info *ret)
{
    double first, slowest;
    if (!json || json_is_null(json))
        return true;
    if (json_unpack((json_t *)(uintptr_t)json, "{s:F, s:F}", "first_ms", &first, "slowest_ms",
                    &slowest) ||
        !(first >= 0 && first < 1e9 && slowest >= 0 && slowest < 1e9))
        return false;
    ret->start_known = true;
    ret->start_first_us = (int64_t)(first * 1e3 + 0.5);
    ret->start_slowest_us = (int64_t)(slowest * 1e3 + 0.5);
    return true;
}

// Null: silence.
static bool take_decibels(const json_t *json, double *ret)
{
    *ret = json_is_number(json) ? json_number_value(json) : -HUGE_VAL;
    return json_is_null(json) || (json_is_number(json) && *ret >= LOUDNESS_NOTHING && *ret < 200);
}

// Null, or both.
static bool take_loudness(const json_t *json, struct media_info *ret)
{
    if (!json || json_is_null(json))
        return true;
    ret->loudness_known = true;
    return take_decibels(json_object_get(json, "integrated_lufs"), &ret->loudness_lufs) &&
           take_decibels(json_object_get(json, "true_peak_dbtp"), &ret->true_peak_dbtp);
}

// Not rate_parse: material may have rates that no channel has.
static bool take_rate(const char *text, struct rate *ret)
{
    int num, den = 1;
    char more;
    if (!strcmp(text, "0"))
        return true;
    int fields = sscanf(text, "%d/%d%c", &num, &den, &more);
    if (fields < 1 || fields > 2 || num <= 0 || den <= 0)
        return false;
    *ret = (struct rate){num, den};
    return true;
}

int media_info_parse(const char *text, struct media_info *ret, struct diagnostic *reterr)
{
    json_error_t where;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!json)
        return diagnostic_set(reterr, -EINVAL, "media_facts", "", "facts are not JSON: %s",
                              where.text);
    struct media_info i = {.rate = {0, 1}};
    const char *sha, *container, *picture, *sound, *rate, *duration, *taken = NULL;
    json_int_t bytes, pictures, samples;
    int still, interlaced, hdr;
    int bad = json_unpack_ex(
        json, &where, 0,
        "{s:s, s:I, s:s, s:s, s:s, s:i, s:i, s:b, s:s, s:s, s?s, s:I, s:I, s:b, s:b}", "sha256",
        &sha, "bytes", &bytes, "container", &container, "picture_codec", &picture, "sound_codec",
        &sound, "width", &i.width, "height", &i.height, "still", &still, "rate", &rate, "duration",
        &duration, "picture_duration", &taken, "picture_count", &pictures, "sample_count", &samples,
        "interlaced", &interlaced, "hdr", &hdr);
    if (bad)
        diagnostic_set(reterr, -EINVAL, "media_facts", "", "facts are not complete: %s",
                       where.text);
    else if (!take_rate(rate, &i.rate))
        bad = diagnostic_set(reterr, -EINVAL, "media_facts", "rate", "is not a rate");
    else if (!parse_seconds(duration, &i.duration) ||
             (taken && !parse_seconds(taken, &i.picture_duration)))
        bad = diagnostic_set(reterr, -EINVAL, "media_facts", "duration",
                             "is not a number of seconds like \"3/2s\"");
    else if (!take_damage(json_object_get(json, "damage"), &i))
        bad = diagnostic_set(reterr, -EINVAL, "media_facts", "damage",
                             "is not null or a count and a first place");
    else if (!take_start(json_object_get(json, "start"), &i))
        bad = diagnostic_set(reterr, -EINVAL, "media_facts", "start",
                             "is not null or milliseconds of the first and slowest start");
    else if (!take_loudness(json_object_get(json, "loudness"), &i))
        bad = diagnostic_set(reterr, -EINVAL, "media_facts", "loudness",
                             "is not null or LUFS and dBTP");
    if (!bad) {
        snprintf(i.sha256, sizeof i.sha256, "%s", sha);
        snprintf(i.container, sizeof i.container, "%s", container);
        snprintf(i.picture_codec, sizeof i.picture_codec, "%s", picture);
        snprintf(i.sound_codec, sizeof i.sound_codec, "%s", sound);
        i.bytes = bytes;
        i.picture_count = pictures;
        i.sample_count = samples;
        i.still = still;
        i.interlaced = interlaced;
        i.hdr = hdr;
        *ret = i;
    }
    json_decref(json);
    return bad ? -EINVAL : 0;
}

int media_info_read(const char *asset, struct media_info *ret, struct diagnostic *reterr)
{
    char name[PATH_MAX + 8], json[8192];
    snprintf(name, sizeof name, "%s.json", asset);
    FILE *file = fopen(name, "re");
    if (!file)
        return diagnostic_set(reterr, -errno, "asset_missing", asset,
                              "has not been imported, or not as media: %s", strerror(errno));
    size_t size = fread(json, 1, sizeof json - 1, file);
    fclose(file);
    json[size] = 0;
    return media_info_parse(json, ret, reterr);
}
