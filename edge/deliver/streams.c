#include "edge/deliver/sink.h"

#include "edge/encode/rendition.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <string.h>

static int set_extradata(AVCodecParameters *p, const uint8_t *bytes, uint32_t size)
{
    p->extradata = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!p->extradata)
        return -ENOMEM;
    memcpy(p->extradata, bytes, size);
    p->extradata_size = (int)size;
    return 0;
}

int sink_add_streams(AVFormatContext *context, const struct deliver_setup *setup)
{
    AVStream *video = avformat_new_stream(context, NULL);
    AVStream *audio = avformat_new_stream(context, NULL);
    if (!video || !audio)
        return -ENOMEM;
    AVCodecParameters *v = video->codecpar;
    v->codec_type = AVMEDIA_TYPE_VIDEO;
    v->codec_id = AV_CODEC_ID_H264;
    v->width = setup->width;
    v->height = setup->height;
    v->format = AV_PIX_FMT_YUV420P;
    v->bit_rate = setup->video_bitrate;
    v->profile = FF_PROFILE_H264_HIGH;
    v->sample_aspect_ratio = (AVRational){1, 1};
    v->color_range = AVCOL_RANGE_MPEG;
    v->color_primaries = AVCOL_PRI_BT709;
    v->color_trc = AVCOL_TRC_BT709;
    v->color_space = AVCOL_SPC_BT709;
    v->chroma_location = AVCHROMA_LOC_LEFT;
    video->time_base = (AVRational){setup->rate.den, setup->rate.num};
    video->avg_frame_rate = video->r_frame_rate = (AVRational){setup->rate.num, setup->rate.den};
    AVCodecParameters *a = audio->codecpar;
    a->codec_type = AVMEDIA_TYPE_AUDIO;
    a->codec_id = AV_CODEC_ID_AAC;
    a->format = AV_SAMPLE_FMT_FLTP;
    a->sample_rate = SAMPLE_RATE_HZ;
    a->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    a->bit_rate = setup->audio_bitrate;
    a->frame_size = 1024;
    // initial_padding stays 0: packets already carry the time at which their output belongs, and a
    // muxer that knew the encoder's delay would subtract it a second time.
    audio->time_base = (AVRational){1, SAMPLE_RATE_HZ};
    int result = set_extradata(v, setup->video_extradata, setup->video_extradata_size);
    return result ? result : set_extradata(a, setup->audio_extradata, setup->audio_extradata_size);
}

int64_t sink_base(const struct deliver_setup *setup, const struct packet *key)
{
    return key->dts + muldiv_floor(-RENDITION_SOUND_BEHIND, setup->rate.num,
                                   (int64_t)setup->rate.den * SAMPLE_RATE_HZ);
}

void sink_fill_packet(AVFormatContext *context, const struct deliver_setup *setup,
                      const struct packet *packet, int64_t base, AVPacket *av)
{
    bool video = packet->stream == PACKET_VIDEO;
    int64_t zero = video ? base : rate_first_sample(setup->rate, base);
    av->data = (uint8_t *)(uintptr_t)packet->data;
    av->size = (int)packet->size;
    av->stream_index = packet->stream;
    av->flags = packet->key ? AV_PKT_FLAG_KEY : 0;
    av->pts = packet->pts - zero;
    av->dts = packet->dts - zero;
    av->duration = packet->duration;
    AVRational from =
        video ? (AVRational){setup->rate.den, setup->rate.num} : (AVRational){1, SAMPLE_RATE_HZ};
    av_packet_rescale_ts(av, from, context->streams[packet->stream]->time_base);
}
