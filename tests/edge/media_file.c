#include "tests/edge/media_file.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <math.h>
#include <string.h>

#define SILENT_SAMPLES 4800 // a beep starts after at least this much silence

struct state {
    struct media_file *file;
    AVCodecContext *decoder[2];
    double last_dts[2], last_audio;
    bool bright;
    int silent;
};

static AVCodecContext *open_decoder(const AVStream *stream)
{
    const AVCodec *codec = avcodec_find_decoder(stream->codecpar->codec_id);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (c && (avcodec_parameters_to_context(c, stream->codecpar) < 0 ||
              avcodec_open2(c, codec, NULL) < 0))
        avcodec_free_context(&c);
    if (c)
        c->pkt_timebase = stream->time_base;
    return c;
}

static void on_picture(struct state *s, const AVFrame *frame, double at)
{
    struct media_file *f = s->file;
    if (f->video_frames) {
        double step = at - f->last_video;
        f->step_min = fmin(f->step_min, step);
        f->step_max = fmax(f->step_max, step);
    } else {
        f->first_video = at;
    }
    f->last_video = at;
    f->video_frames++;
    int64_t sum = 0;
    int y = frame->height - frame->height / 8; // below the moving bar
    for (int x = 0; x < frame->width; x++)
        sum += frame->data[0][y * frame->linesize[0] + x];
    bool bright = sum / frame->width > 128;
    if (bright && !s->bright && f->flash_count < MEDIA_EVENTS_MAX)
        f->flashes[f->flash_count++] = at;
    s->bright = bright;
}

static void on_sound(struct state *s, const AVFrame *frame, double at)
{
    struct media_file *f = s->file;
    const float *samples = (const float *)(const void *)frame->data[0];
    for (int i = 0; i < frame->nb_samples; i++) {
        bool loud = fabsf(samples[i]) > 0.1f;
        if (loud && s->silent >= SILENT_SAMPLES && f->beep_count < MEDIA_EVENTS_MAX)
            f->beeps[f->beep_count++] = at + i / 48000.0;
        s->silent = loud ? 0 : s->silent + 1;
    }
}

static void decode(struct state *s, const AVPacket *packet, int kind, AVRational base)
{
    if (!s->decoder[kind] || avcodec_send_packet(s->decoder[kind], packet) < 0) {
        s->file->decode_errors++;
        return;
    }
    AVFrame *frame = av_frame_alloc();
    while (avcodec_receive_frame(s->decoder[kind], frame) >= 0) {
        double at = (double)frame->best_effort_timestamp * av_q2d(base);
        if (frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT)
            s->file->decode_errors++;
        if (kind == 0)
            on_picture(s, frame, at);
        else
            on_sound(s, frame, at);
        av_frame_unref(frame);
    }
    av_frame_free(&frame);
}

static void on_packet(struct state *s, const AVPacket *packet, int kind, AVRational base)
{
    struct media_file *f = s->file;
    double dts = (double)packet->dts * av_q2d(base);
    if (packet->dts == AV_NOPTS_VALUE) // Matroska does not store it; unknown for the first pictures
        dts = s->last_dts[kind];
    else if (dts <= s->last_dts[kind])
        f->dts_rises = false;
    s->last_dts[kind] = dts;
    if (kind == 0) {
        f->video_packets++;
        f->keys += packet->flags & AV_PKT_FLAG_KEY;
    } else {
        int missing = (int)lround((dts - s->last_audio) * 48000 / 1024) - 1;
        if (f->audio_packets && missing > f->longest_silence_packets)
            f->longest_silence_packets = missing;
        s->last_audio = dts;
        f->audio_packets++;
    }
    decode(s, packet, kind, base);
}

int media_file_read(const char *path, struct media_file *ret)
{
    *ret = (struct media_file){.dts_rises = true, .step_min = 1e9, .step_max = -1e9};
    struct state s = {.file = ret, .last_dts = {-1e9, -1e9}, .silent = SILENT_SAMPLES};
    AVFormatContext *in = NULL;
    if (avformat_open_input(&in, path, NULL, NULL) < 0)
        return -EIO;
    int kind[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    if (avformat_find_stream_info(in, NULL) < 0)
        ret->decode_errors++;
    for (unsigned i = 0; i < in->nb_streams && i < 8; i++) {
        kind[i] = in->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO   ? 0
                  : in->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO ? 1
                                                                               : -1;
        if (kind[i] >= 0)
            s.decoder[kind[i]] = open_decoder(in->streams[i]);
    }
    AVPacket *packet = av_packet_alloc();
    while (av_read_frame(in, packet) >= 0) {
        int i = packet->stream_index;
        if (i < 8 && kind[i] >= 0)
            on_packet(&s, packet, kind[i], in->streams[i]->time_base);
        av_packet_unref(packet);
    }
    for (unsigned i = 0; i < in->nb_streams && i < 8; i++)
        if (kind[i] == 0)
            decode(&s, NULL, 0, in->streams[i]->time_base);
    av_packet_free(&packet);
    avcodec_free_context(&s.decoder[0]);
    avcodec_free_context(&s.decoder[1]);
    avformat_close_input(&in);
    return 0;
}

double media_file_offset_ms(const struct media_file *f)
{
    double worst = f->flash_count ? 0 : 1e9;
    for (int i = 0; i < f->flash_count; i++) {
        double nearest = 1e9;
        for (int j = 0; j < f->beep_count; j++)
            nearest = fmin(nearest, fabs(f->beeps[j] - f->flashes[i]) * 1000);
        worst = fmax(worst, nearest);
    }
    return worst;
}
