#include "coordinator/cli/render_output.h"

#include "engine/base/thread.h"
#include "engine/frame/limiter.h"
#include "engine/frame/sound.h"

#include <errno.h>
#include <inttypes.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AUDIO_BITRATE 192000

struct stream {
    AVCodecContext *codec;
    AVStream *stream;
    AVFrame *frame;
    int64_t next_pts; // in codec time base
};

struct render_output {
    struct render_output_config config;
    FILE *hash;
    char *partial; // path.part; renamed when complete
    AVFormatContext *format;
    AVPacket *packet;
    struct stream video, audio;
    int buffered; // samples in audio.frame
    struct limiter *limiter;
    int early; // samples that it still gives of what was before the first
};

static int av_fail(struct diagnostic *reterr, int error, const char *path, const char *what)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    av_strerror(error, text, sizeof text);
    return diagnostic_set(reterr, error == AVERROR(ENOSPC) ? -ENOSPC : -EIO, "output_failed", path,
                          "%s: %s", what, text);
}

static int open_video(struct render_output *o)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    AVCodecContext *c = o->video.codec = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return AVERROR_ENCODER_NOT_FOUND;
    c->width = o->config.width;
    c->height = o->config.height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){o->config.rate.den, o->config.rate.num};
    c->framerate = (AVRational){o->config.rate.num, o->config.rate.den};
    c->gop_size = 2 * o->config.rate.num / o->config.rate.den;
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->thread_count = o->config.threads;
    if (o->format->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(c->priv_data, "preset", "veryfast", 0);
    av_opt_set_int(c->priv_data, "crf", o->config.crf, 0);
    return avcodec_open2(c, codec, NULL);
}

static int open_audio(struct render_output *o)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("aac");
    AVCodecContext *c = o->audio.codec = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return AVERROR_ENCODER_NOT_FOUND;
    c->sample_rate = SAMPLE_RATE_HZ;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    c->bit_rate = AUDIO_BITRATE;
    c->time_base = (AVRational){1, SAMPLE_RATE_HZ};
    if (o->format->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    return avcodec_open2(c, codec, NULL);
}

static int add_stream(struct render_output *o, struct stream *s)
{
    s->stream = avformat_new_stream(o->format, NULL);
    s->frame = av_frame_alloc();
    if (!s->stream || !s->frame)
        return AVERROR(ENOMEM);
    s->stream->time_base = s->codec->time_base;
    s->stream->avg_frame_rate = s->codec->framerate; // Matroska's clock has milliseconds only
    return avcodec_parameters_from_context(s->stream->codecpar, s->codec);
}

static int open_media(struct render_output *o, struct diagnostic *reterr)
{
    const AVOutputFormat *container = av_guess_format(NULL, o->config.path, NULL);
    if (!container)
        return diagnostic_set(reterr, -EINVAL, "output_format", o->config.path,
                              "unknown container; name the file .mp4, .mkv or .mov");
    size_t size = strlen(o->config.path) + 6;
    o->partial = base_alloc(size);
    snprintf(o->partial, size, "%s.part", o->config.path);
    o->packet = av_packet_alloc();
    int error = avformat_alloc_output_context2(&o->format, container, NULL, o->partial);
    if (error >= 0)
        error = open_video(o);
    if (error >= 0)
        error = open_audio(o);
    if (error >= 0)
        error = add_stream(o, &o->video);
    if (error >= 0)
        error = add_stream(o, &o->audio);
    if (error < 0)
        return av_fail(reterr, error, o->config.path, "cannot set up the encoders");
    AVFrame *a = o->audio.frame;
    a->format = AV_SAMPLE_FMT_FLTP;
    a->ch_layout = o->audio.codec->ch_layout;
    a->sample_rate = SAMPLE_RATE_HZ;
    a->nb_samples = o->audio.codec->frame_size;
    o->limiter = limiter_create(LIMITER_CEILING);
    o->early = LIMITER_DELAY;
    error = av_frame_get_buffer(a, 0);
    if (error >= 0)
        error = avio_open(&o->format->pb, o->partial, AVIO_FLAG_WRITE);
    if (error >= 0)
        error = avformat_write_header(o->format, NULL);
    return error < 0 ? av_fail(reterr, error, o->config.path, "cannot be written") : 0;
}

int render_output_open(const struct render_output_config *config, struct render_output **ret,
                       struct diagnostic *reterr)
{
    struct render_output *o = base_alloc(sizeof *o);
    o->config = *config;
    int error = 0;
    if (config->hash_path) {
        o->hash = strcmp(config->hash_path, "-") ? fopen(config->hash_path, "we") : stdout;
        if (!o->hash)
            error = diagnostic_set(reterr, -errno, "hash_file", config->hash_path,
                                   "cannot be written: %s", strerror(errno));
    }
    if (!error && config->path)
        error = open_media(o, reterr);
    if (error) {
        render_output_abort(&o);
        return error;
    }
    *ret = o;
    return 0;
}

static int write_packets(struct render_output *o, struct stream *s, AVFrame *frame)
{
    int error = avcodec_send_frame(s->codec, frame);
    while (error >= 0) {
        error = avcodec_receive_packet(s->codec, o->packet);
        if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
            return 0;
        if (error < 0)
            break;
        // The encoder leaves the duration of pictures out; the last one would have none.
        if (!o->packet->duration && s == &o->video)
            o->packet->duration = 1;
        av_packet_rescale_ts(o->packet, s->codec->time_base, s->stream->time_base);
        o->packet->stream_index = s->stream->index;
        error = av_interleaved_write_frame(o->format, o->packet);
    }
    return error;
}

static void release_picture(void *opaque, uint8_t *data)
{
    (void)data;
    struct picture *picture = opaque;
    picture_unref(&picture);
}

// The encoder reads the picture's planes in place; the reference goes when it is done with them.
static int write_picture(struct render_output *o, const struct picture *picture)
{
    AVFrame *f = o->video.frame;
    av_frame_unref(f);
    f->format = AV_PIX_FMT_YUV420P;
    f->width = picture->width;
    f->height = picture->height;
    f->pts = o->video.next_pts++;
    for (int i = 0; i < 3; i++) {
        f->data[i] = picture->plane[i];
        f->linesize[i] = (int)picture->stride[i];
    }
    f->buf[0] = av_buffer_create(picture->plane[0], 1, release_picture, picture_ref(picture),
                                 AV_BUFFER_FLAG_READONLY);
    if (!f->buf[0])
        return AVERROR(ENOMEM);
    return write_packets(o, &o->video, f);
}

static int flush_sound(struct render_output *o)
{
    AVFrame *f = o->audio.frame;
    f->nb_samples = o->buffered;
    f->pts = o->audio.next_pts;
    o->audio.next_pts += o->buffered;
    o->buffered = 0;
    int error = write_packets(o, &o->audio, f);
    f->nb_samples = o->audio.codec->frame_size;
    return error < 0 ? error : av_frame_make_writable(f);
}

// `samples` NULL: silence.
static int write_sound(struct render_output *o, const int32_t *samples, int count)
{
    for (int i = 0; i < count; i++) {
        int32_t limited[SOUND_CHANNELS];
        float pair[SOUND_CHANNELS];
        limiter_sound(o->limiter, limited, samples ? samples + i * SOUND_CHANNELS : NULL, 1);
        if (o->early > 0) {
            o->early--;
            continue;
        }
        sound_to_float(pair, limited, 1);
        for (int channel = 0; channel < SOUND_CHANNELS; channel++)
            ((float *)(void *)o->audio.frame->data[channel])[o->buffered] = pair[channel];
        if (++o->buffered == o->audio.codec->frame_size) {
            int error = flush_sound(o);
            if (error < 0)
                return error;
        }
    }
    return 0;
}

int render_output_frame(struct render_output *o, int64_t frame, const struct picture *picture,
                        const int32_t *samples, int sample_count, struct diagnostic *reterr)
{
    if (o->hash)
        fprintf(o->hash, "%" PRId64 " %016" PRIx64 " %016" PRIx64 "\n", frame,
                picture_checksum(picture), sound_checksum(samples, sample_count));
    if (!o->format)
        return 0;
    int error = write_picture(o, picture);
    if (error >= 0)
        error = write_sound(o, samples, sample_count);
    return error < 0 ? av_fail(reterr, error, o->config.path, "cannot be written") : 0;
}

static void free_stream(struct stream *s)
{
    avcodec_free_context(&s->codec);
    av_frame_free(&s->frame);
}

static int close_hash(struct render_output *o)
{
    if (!o->hash)
        return 0;
    int failed = fflush(o->hash) || ferror(o->hash);
    if (o->hash != stdout)
        failed |= fclose(o->hash);
    o->hash = NULL;
    return failed;
}

int render_output_close(struct render_output **output, struct diagnostic *reterr)
{
    struct render_output *o = *output;
    int result = 0;
    if (close_hash(o))
        result = diagnostic_set(reterr, -EIO, "hash_file", o->config.hash_path,
                                "cannot be written: %s", strerror(errno));
    if (o->format) {
        int error = write_sound(o, NULL, LIMITER_DELAY);
        if (error >= 0 && o->buffered)
            error = flush_sound(o);
        if (error >= 0)
            error = write_packets(o, &o->video, NULL);
        if (error >= 0)
            error = write_packets(o, &o->audio, NULL);
        if (error >= 0)
            error = av_write_trailer(o->format);
        int closed = avio_closep(&o->format->pb);
        if (error >= 0)
            error = closed;
        if (error < 0)
            result = av_fail(reterr, error, o->config.path, "cannot be written");
        else if (rename(o->partial, o->config.path))
            result = diagnostic_set(reterr, -errno, "output_failed", o->config.path,
                                    "cannot be named: %s", strerror(errno));
        if (!result) {
            free(o->partial);
            o->partial = NULL;
        }
    }
    render_output_abort(output);
    return result;
}

void render_output_abort(struct render_output **output)
{
    struct render_output *o = *output;
    if (!o)
        return;
    *output = NULL;
    (void)close_hash(o);
    free_stream(&o->video);
    free_stream(&o->audio);
    limiter_destroy(&o->limiter);
    av_packet_free(&o->packet);
    if (o->format)
        avio_closep(&o->format->pb);
    avformat_free_context(o->format);
    if (o->partial)
        unlink(o->partial);
    free(o->partial);
    free(o);
}
