#include "engine/media/recording.h"

#include <errno.h>
#include <inttypes.h>
#include <libavutil/mathematics.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHANNEL   "VISTTER_CHANNEL"
#define PROGRAMME "VISTTER_PROGRAMME"
#define ZERO      "VISTTER_ZERO"
#define FIRST     "VISTTER_FIRST_FRAME"
#define RATE      "VISTTER_RATE"
// Frames fit into a double's integers with room for any arithmetic on them.
#define FRAME_MAX (INT64_C(1) << 52)
#define DELAY_MAX 1000 // frames that the first picture is shown after it is decoded

int recording_describe(const struct recording *r, AVDictionary **metadata)
{
    char rate[24], number[24];
    snprintf(number, sizeof number, "%" PRIu64, r->programme);
    if (av_dict_set(metadata, CHANNEL, r->channel, 0) < 0 ||
        av_dict_set(metadata, PROGRAMME, number, 0) < 0 ||
        av_dict_set_int(metadata, ZERO, r->zero, 0) < 0 ||
        av_dict_set_int(metadata, FIRST, r->first_frame, 0) < 0 ||
        av_dict_set(metadata, RATE, rate_format(r->rate, rate), 0) < 0)
        return -ENOMEM;
    return 0;
}

static int read_number(const AVDictionary *metadata, const char *tag, int64_t *ret)
{
    const AVDictionaryEntry *entry = av_dict_get(metadata, tag, NULL, 0);
    if (!entry)
        return -ENODATA;
    char *end;
    errno = 0;
    *ret = strtoll(entry->value, &end, 10);
    return end == entry->value || *end || errno || *ret > FRAME_MAX || *ret < -FRAME_MAX ? -EINVAL
                                                                                         : 0;
}

int recording_read(const AVDictionary *metadata, struct recording *ret)
{
    *ret = (struct recording){0};
    const AVDictionaryEntry *channel = av_dict_get(metadata, CHANNEL, NULL, 0);
    const AVDictionaryEntry *rate = av_dict_get(metadata, RATE, NULL, 0);
    int64_t programme = 0;
    if (!channel || !rate)
        return -ENODATA;
    int error = read_number(metadata, PROGRAMME, &programme);
    if (!error)
        error = read_number(metadata, ZERO, &ret->zero);
    if (!error)
        error = read_number(metadata, FIRST, &ret->first_frame);
    if (error)
        return error;
    ret->programme = (uint64_t)programme;
    int length = snprintf(ret->channel, sizeof ret->channel, "%s", channel->value);
    if (length >= (int)sizeof ret->channel || programme < 0 || ret->first_frame < ret->zero ||
        ret->first_frame - ret->zero > DELAY_MAX || rate_parse(rate->value, &ret->rate))
        return -EINVAL;
    return 0;
}

// Whatever a file says.
static int64_t bounded(int64_t n)
{
    return n > FRAME_MAX ? FRAME_MAX : n < -FRAME_MAX ? -FRAME_MAX : n;
}

int64_t recording_frame(const struct recording *r, int64_t pts, AVRational base)
{
    return r->zero + bounded(av_rescale_q(pts, base, (AVRational){r->rate.den, r->rate.num}));
}

int64_t recording_sound(const struct recording *r, int64_t pts, AVRational base)
{
    int64_t sample = rate_first_sample(r->rate, r->zero) +
                     bounded(av_rescale_q(pts, base, (AVRational){1, SAMPLE_RATE_HZ}));
    return muldiv_floor(sample + RECORDING_SOUND_SAMPLES / 2, 1, RECORDING_SOUND_SAMPLES);
}

int64_t recording_sound_start(const struct recording *r, int64_t number)
{
    return number * RECORDING_SOUND_SAMPLES - rate_first_sample(r->rate, r->zero);
}
