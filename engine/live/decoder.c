#include "engine/live/decoder.h"

#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/media/demux.h"
#include "engine/media/shape.h"
#include "engine/source/frame_picture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHANNELS_MAX 64
#define PAIRS_MAX    (1 << 20) // of one frame of sound

struct live_decoder {
    struct unit_format format;
    AVCodecContext *context;
    AVFrame *frame;
    AVPacket *packet;
    struct frame_converter *converter;
    int shown_width, shown_height; // what the converter is for
    int32_t *pairs;
    int pairs_max;
    bool ahead; // `frame` has been asked for already, with this result
    int ahead_result;
};

// Of codecs whose usual decoder computes in floating point, the other one.
static const AVCodec *find_codec(const char *name)
{
    static const char *const integer[][2] = {
        {"aac", "aac_fixed"}, {"ac3", "ac3_fixed"}, {"mp3", "mp3"}, {"mp2", "mp2"}, {"mp1", "mp1"}};
    for (size_t i = 0; i < sizeof integer / sizeof integer[0]; i++)
        if (!strcmp(name, integer[i][0]))
            return avcodec_find_decoder_by_name(integer[i][1]);
    const AVCodecDescriptor *d = avcodec_descriptor_get_by_name(name);
    return d ? avcodec_find_decoder(d->id) : NULL;
}

static int set_parameters(struct live_decoder *d)
{
    const struct unit_format *f = &d->format;
    AVCodecContext *c = d->context;
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    c->idct_algo = FF_IDCT_SIMPLE;
    c->max_pixels = MEDIA_PIXELS_MAX;
    c->thread_count = 1;
    c->width = f->width;
    c->height = f->height;
    c->sample_rate = f->sample_rate;
    if (f->channels)
        av_channel_layout_default(&c->ch_layout, f->channels);
    if (!f->extradata_size)
        return 0;
    c->extradata = av_mallocz(f->extradata_size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!c->extradata)
        return -ENOMEM;
    memcpy(c->extradata, f->extradata, f->extradata_size);
    c->extradata_size = (int)f->extradata_size;
    return 0;
}

int live_decoder_create(const struct unit_format *format, struct live_decoder **ret,
                        struct diagnostic *reterr)
{
    const AVCodec *codec = find_codec(format->codec);
    if (!codec || (codec->wrapper_name && strcmp(codec->wrapper_name, "libdav1d") &&
                   strcmp(codec->wrapper_name, "libvpx")))
        return diagnostic_set(reterr, -EINVAL, "live_codec", format->codec,
                              "there is no decoder for it that gives the same on every node");
    struct live_decoder *d = base_alloc(sizeof *d);
    d->format = *format;
    d->context = avcodec_alloc_context3(codec);
    d->frame = av_frame_alloc();
    d->packet = av_packet_alloc();
    int error = d->context && d->frame && d->packet ? set_parameters(d) : -ENOMEM;
    if (!error && avcodec_open2(d->context, codec, NULL) < 0)
        error = -EINVAL;
    if (error < 0) {
        live_decoder_destroy(&d);
        return diagnostic_set(reterr, error, "live_codec", format->codec,
                              "its decoder cannot be set up");
    }
    *ret = d;
    return 0;
}

void live_decoder_destroy(struct live_decoder **decoder)
{
    struct live_decoder *d = *decoder;
    if (!d)
        return;
    *decoder = NULL;
    avcodec_free_context(&d->context);
    av_frame_free(&d->frame);
    av_packet_free(&d->packet);
    frame_converter_destroy(&d->converter);
    free(d->pairs);
    free(d);
}

int live_decoder_push(struct live_decoder *d, const uint8_t *bytes, size_t size, int64_t tag)
{
    if (!bytes)
        return avcodec_send_packet(d->context, NULL) < 0 ? -EIO : 0;
    if (av_new_packet(d->packet, (int)size) < 0)
        return -ENOMEM;
    memcpy(d->packet->data, bytes, size);
    d->packet->pts = d->packet->dts = tag;
    int error = avcodec_send_packet(d->context, d->packet);
    av_packet_unref(d->packet);
    return error < 0 ? -EIO : 0;
}

static int receive(struct live_decoder *d, int64_t *ret_tag)
{
    int error = d->ahead ? d->ahead_result : avcodec_receive_frame(d->context, d->frame);
    d->ahead = false;
    if (error == AVERROR(EAGAIN))
        return -EAGAIN;
    if (error == AVERROR_EOF)
        return -ENODATA;
    *ret_tag = error < 0 ? UNIT_NO_TIME : d->frame->pts;
    return error < 0 ? -EIO : 0;
}

bool live_decoder_more(struct live_decoder *d)
{
    if (!d->ahead)
        d->ahead_result = avcodec_receive_frame(d->context, d->frame);
    d->ahead = d->ahead_result != AVERROR(EAGAIN) && d->ahead_result != AVERROR_EOF;
    return d->ahead;
}

// A picture of another size is simply of another size: the converter is made anew.
static int convert_picture(struct live_decoder *d, struct picture **ret)
{
    AVRational aspect = d->frame->sample_aspect_ratio;
    int width, height;
    if (aspect.num <= 0 && d->format.aspect_num > 0)
        aspect = (AVRational){d->format.aspect_num, d->format.aspect_den};
    media_shown_size(d->frame->width, d->frame->height, aspect, &width, &height);
    if (!d->converter || width != d->shown_width || height != d->shown_height) {
        frame_converter_destroy(&d->converter);
        d->converter = frame_converter_create(width, height, 0);
        d->shown_width = width;
        d->shown_height = height;
    }
    return frame_converter_run(d->converter, d->frame, ret, NULL);
}

int live_decoder_picture(struct live_decoder *d, struct picture **ret, int64_t *ret_tag)
{
    int error = receive(d, ret_tag);
    if (error < 0)
        return error;
    bool whole = !d->frame->decode_error_flags && !(d->frame->flags & AV_FRAME_FLAG_CORRUPT);
    if (!whole || convert_picture(d, ret) < 0)
        error = -EIO;
    av_frame_unref(d->frame);
    return error;
}

// ---- Sound -----------------------------------------------------------------------------------

// How much of a channel goes left and right, in 1/65536: as import does it.
static void gains_of(const AVChannelLayout *layout, int i, int ret[2])
{
    enum { FULL = 65536, HALF = 46341, QUARTER = 32768 };
    static const struct {
        enum AVChannel channel;
        int left, right;
    } table[] = {
        {AV_CHAN_FRONT_LEFT, FULL, 0},
        {AV_CHAN_FRONT_RIGHT, 0, FULL},
        {AV_CHAN_FRONT_LEFT_OF_CENTER, FULL, 0},
        {AV_CHAN_FRONT_RIGHT_OF_CENTER, 0, FULL},
        {AV_CHAN_STEREO_LEFT, FULL, 0},
        {AV_CHAN_STEREO_RIGHT, 0, FULL},
        {AV_CHAN_FRONT_CENTER, HALF, HALF},
        {AV_CHAN_BACK_LEFT, HALF, 0},
        {AV_CHAN_SIDE_LEFT, HALF, 0},
        {AV_CHAN_BACK_RIGHT, 0, HALF},
        {AV_CHAN_SIDE_RIGHT, 0, HALF},
        {AV_CHAN_BACK_CENTER, QUARTER, QUARTER},
    };
    ret[0] = ret[1] = 0;
    if (layout->nb_channels == 1) {
        ret[0] = ret[1] = FULL;
        return;
    }
    enum AVChannel channel = av_channel_layout_channel_from_index(layout, (unsigned)i);
    for (size_t k = 0; k < sizeof table / sizeof table[0]; k++)
        if (table[k].channel == channel) {
            ret[0] = table[k].left;
            ret[1] = table[k].right;
        }
}

// A sample in 1/2^23; formats in floating point have none here.
static int32_t sample_at(const AVFrame *f, int format, bool planar, int channel, int i)
{
    const uint8_t *data = f->extended_data[planar ? channel : 0];
    ptrdiff_t at = planar ? i : (ptrdiff_t)i * f->ch_layout.nb_channels + channel;
    switch (format) {
    case AV_SAMPLE_FMT_U8:
        return (data[at] - 128) * (1 << 16);
    case AV_SAMPLE_FMT_S16:
        return ((const int16_t *)data)[at] * (1 << 8);
    default:
        return ((const int32_t *)data)[at] >> 8;
    }
}

static int make_room(struct live_decoder *d, int count)
{
    if (count <= d->pairs_max)
        return 0;
    int32_t *pairs = realloc(d->pairs, (size_t)count * 2 * sizeof *pairs);
    if (!pairs)
        return -ENOMEM;
    d->pairs = pairs;
    d->pairs_max = count;
    return 0;
}

static int mix_down(struct live_decoder *d)
{
    const AVFrame *f = d->frame;
    int format = av_get_packed_sample_fmt(f->format), channels = f->ch_layout.nb_channels;
    if (channels > CHANNELS_MAX || f->nb_samples > PAIRS_MAX ||
        (format != AV_SAMPLE_FMT_U8 && format != AV_SAMPLE_FMT_S16 && format != AV_SAMPLE_FMT_S32))
        return -EIO;
    int gains[CHANNELS_MAX][2], error = make_room(d, f->nb_samples);
    AVChannelLayout layout = {0};
    if (f->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&layout, channels);
    else if (av_channel_layout_copy(&layout, &f->ch_layout) < 0)
        error = -ENOMEM;
    for (int c = 0; c < channels; c++)
        gains_of(&layout, c, gains[c]);
    av_channel_layout_uninit(&layout);
    bool planar = av_sample_fmt_is_planar(f->format);
    for (int i = 0; !error && i < f->nb_samples; i++) {
        int64_t left = 0, right = 0;
        for (int c = 0; c < channels; c++) {
            int64_t sample = sample_at(f, format, planar, c, i);
            left += sample * gains[c][0];
            right += sample * gains[c][1];
        }
        d->pairs[2 * i] = (int32_t)((left + 32768) >> 16);
        d->pairs[2 * i + 1] = (int32_t)((right + 32768) >> 16);
    }
    return error;
}

int live_decoder_sound(struct live_decoder *d, struct live_sound *ret, int64_t *ret_tag)
{
    int error = receive(d, ret_tag);
    if (error < 0)
        return error;
    error = d->frame->sample_rate > 0 ? mix_down(d) : -EIO;
    *ret = (struct live_sound){d->pairs, d->frame->nb_samples, d->frame->sample_rate};
    av_frame_unref(d->frame);
    return error;
}
