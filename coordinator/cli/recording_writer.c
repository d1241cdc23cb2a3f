#include "coordinator/cli/recording_writer.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct recording_writer {
    struct recording about;
    char *path, *partial; // partial: path.merging
    AVFormatContext *out;
    AVPacket *packet;
};

static int av_fail(const struct recording_writer *w, int error, struct diagnostic *reterr)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    av_strerror(error, text, sizeof text);
    return diagnostic_set(reterr, error == AVERROR(ENOSPC) ? -ENOSPC : -EIO, "output_failed",
                          w->path, "cannot be written: %s", text);
}

static int add_stream(struct recording_writer *w, const AVCodecParameters *like, AVRational base)
{
    AVStream *stream = avformat_new_stream(w->out, NULL);
    if (!stream)
        return AVERROR(ENOMEM);
    int result = avcodec_parameters_copy(stream->codecpar, like);
    stream->codecpar->codec_tag = 0;
    stream->time_base = base;
    return result;
}

static int begin(struct recording_writer *w, const struct recording_source *like)
{
    const AVRational frame = {w->about.rate.den, w->about.rate.num};
    int result = avformat_alloc_output_context2(&w->out, NULL, "matroska", w->partial);
    if (result >= 0)
        result = add_stream(w, recording_source_video(like), frame);
    if (result >= 0)
        result = add_stream(w, recording_source_audio(like), (AVRational){1, SAMPLE_RATE_HZ});
    if (result >= 0 && recording_describe(&w->about, &w->out->metadata))
        result = AVERROR(ENOMEM);
    if (result < 0)
        return result;
    w->out->streams[0]->avg_frame_rate = w->out->streams[0]->r_frame_rate = av_inv_q(frame);
    w->out->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED; // times are the channel's own
    result = avio_open(&w->out->pb, w->partial, AVIO_FLAG_WRITE);
    return result < 0 ? result : avformat_write_header(w->out, NULL);
}

int recording_writer_create(const char *path, const struct recording *about,
                            const struct recording_source *like, struct recording_writer **ret,
                            struct diagnostic *reterr)
{
    struct recording_writer *w = base_alloc(sizeof *w);
    size_t size = strlen(path) + sizeof ".merging";
    w->about = *about;
    w->path = base_strdup(path);
    w->partial = base_alloc(size);
    snprintf(w->partial, size, "%s.merging", path);
    w->packet = av_packet_alloc();
    int result = w->packet ? begin(w, like) : AVERROR(ENOMEM);
    if (result < 0) {
        result = av_fail(w, result, reterr);
        recording_writer_abort(&w);
        return result;
    }
    *ret = w;
    return 0;
}

static bool same_parameters(const AVCodecParameters *a, const AVCodecParameters *b)
{
    return a->codec_id == b->codec_id && a->width == b->width && a->height == b->height &&
           a->sample_rate == b->sample_rate && a->extradata_size == b->extradata_size &&
           !memcmp(a->extradata, b->extradata, (size_t)a->extradata_size);
}

bool recording_writer_fits(const struct recording_writer *w, const struct recording_source *source)
{
    return same_parameters(w->out->streams[0]->codecpar, recording_source_video(source)) &&
           same_parameters(w->out->streams[1]->codecpar, recording_source_audio(source));
}

static int write_packet(struct recording_writer *w, const AVPacket *packet, AVRational from,
                        const int64_t times[2], int64_t duration, int stream,
                        struct diagnostic *reterr)
{
    int result = av_packet_ref(w->packet, packet);
    if (result >= 0) {
        w->packet->stream_index = stream;
        w->packet->pts = times[0];
        w->packet->dts = times[1];
        w->packet->duration = duration;
        w->packet->pos = -1;
        av_packet_rescale_ts(w->packet, from, w->out->streams[stream]->time_base);
        result = av_write_frame(w->out, w->packet);
        av_packet_unref(w->packet);
    }
    return result < 0 ? av_fail(w, result, reterr) : 0;
}

int recording_writer_picture(struct recording_writer *w, const AVPacket *packet, int64_t frame,
                             int64_t dts, struct diagnostic *reterr)
{
    const int64_t times[2] = {frame - w->about.zero, dts - w->about.zero};
    return write_packet(w, packet, (AVRational){w->about.rate.den, w->about.rate.num}, times, 1, 0,
                        reterr);
}

int recording_writer_sound(struct recording_writer *w, const AVPacket *packet, int64_t number,
                           struct diagnostic *reterr)
{
    int64_t start = recording_sound_start(&w->about, number);
    const int64_t times[2] = {start, start};
    return write_packet(w, packet, (AVRational){1, SAMPLE_RATE_HZ}, times, RECORDING_SOUND_SAMPLES,
                        1, reterr);
}

int recording_writer_close(struct recording_writer **writer, struct diagnostic *reterr)
{
    struct recording_writer *w = *writer;
    int result = av_write_trailer(w->out);
    int closed = avio_closep(&w->out->pb);
    result = result < 0 ? result : closed;
    if (result < 0)
        result = av_fail(w, result, reterr);
    else if (rename(w->partial, w->path))
        result = diagnostic_set(reterr, -errno, "output_failed", w->path, "cannot be named: %s",
                                strerror(errno));
    recording_writer_abort(writer); // what has its name stays
    return result;
}

void recording_writer_abort(struct recording_writer **writer)
{
    struct recording_writer *w = *writer;
    if (!w)
        return;
    *writer = NULL;
    if (w->out && w->out->pb)
        avio_closep(&w->out->pb);
    avformat_free_context(w->out);
    av_packet_free(&w->packet);
    (void)unlink(w->partial); // it may have its name already, or never have been made
    free(w->partial);
    free(w->path);
    free(w);
}
