#include "engine/media/media.h"

#include <errno.h>
#include <jansson.h>
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
        "{s:s, s:I, s:s, s:s, s:s, s:i, s:i, s:b, s:s, s:s, s:s*, s:I, s:I, s:b, s:b, s:o}",
        "sha256", i->sha256, "bytes", (json_int_t)i->bytes, "container", i->container,
        "picture_codec", i->picture_codec, "sound_codec", i->sound_codec, "width", i->width,
        "height", i->height, "still", i->still, "rate", i->rate.num ? rate : "0", "duration",
        duration, "picture_duration", i->picture_duration.den ? pictures : NULL, "picture_count",
        (json_int_t)i->picture_count, "sample_count", (json_int_t)i->sample_count, "interlaced",
        i->interlaced, "hdr", i->hdr, "damage", damage);
    if (!json)
        return NULL;
    char *text = json_dumps(json, JSON_COMPACT);
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
