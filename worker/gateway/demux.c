#include "worker/gateway/demux.h"

#include "engine/base/clock.h"
#include "engine/media/demux.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <string.h>

// A server that says nothing for so long is gone. libavformat has no such limit of its own (RTMP
// waits for ever), and names of options differ between protocols, so the interrupt does it.
#define SILENCE_NS INT64_C(8000000000)
// Another stream of a kind takes over when the one that was taken has been silent for so long.
#define SWITCH_NS INT64_C(1000000000)
// What is read to find the streams of an MPEG-TS; they may come later as well.
#define PROBE_BYTES "65536"
#define UDP_BYTES   "4194304"
// What may be opened, also from within a playlist: nothing of this host.
#define PROTOCOLS "rtmp,rtmps,rtsp,http,https,httpproxy,tcp,tls,udp,rtp,srtp,srt,crypto"
#define FORMATS   "mpegts,flv,live_flv,rtsp,sdp,rtp,hls,mov,matroska,mpeg,mjpeg,mpjpeg,aac,mp3"

struct parsed {
    int stream; // libavformat's; -1: none yet
    enum AVCodecID codec;
    AVCodecParserContext *parser;
    AVCodecContext *context; // never opened: parsers leave here what they find
    struct unit_format format;
    int64_t last_ns;
    int64_t next_ticks; // of sound: where the samples before it end
};

struct demux {
    const struct demux_config *config;
    AVFormatContext *format;
    struct parsed parsed[UNIT_STREAMS];
    int64_t heard_ns;
};

static int interrupted(void *opaque)
{
    const struct demux *d = opaque;
    return d->config->stop(d->config->opaque) || clock_monotonic_ns() - d->heard_ns > SILENCE_NS;
}

static void parsed_finish(struct parsed *p)
{
    av_parser_close(p->parser);
    avcodec_free_context(&p->context);
    *p = (struct parsed){.stream = -1, .next_ticks = UNIT_NO_TIME};
}

// ---- Formats ---------------------------------------------------------------------------------

static int parsed_begin(struct parsed *p, const AVStream *s)
{
    parsed_finish(p);
    const AVCodecParameters *c = s->codecpar;
    p->context = avcodec_alloc_context3(NULL);
    if (!p->context || avcodec_parameters_to_context(p->context, c) < 0)
        return -ENOMEM;
    // NULL: what the container says has to do, as it has to for AAC without headers in it. Parsers
    // of sound look for these only where they may look for frames too.
    bool sound = c->codec_type == AVMEDIA_TYPE_AUDIO;
    p->parser = sound && c->extradata_size ? NULL : av_parser_init(c->codec_id);
    if (p->parser && !sound)
        p->parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    if (c->codec_id == AV_CODEC_ID_AAC)
        p->context->frame_size = 1024;
    p->stream = s->index;
    p->codec = c->codec_id;
    snprintf(p->format.codec, sizeof p->format.codec, "%s", avcodec_get_name(c->codec_id));
    return 0;
}

static void set_extradata(struct parsed *p, const uint8_t *bytes, size_t size)
{
    if (size > sizeof p->format.extradata)
        return;
    memcpy(p->format.extradata, bytes, size);
    p->format.extradata_size = size;
    // The parser needs it as well: it tells length-prefixed NAL units.
    uint8_t *copy = av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE);
    if (!copy)
        return;
    memcpy(copy, bytes, size);
    av_freep(&p->context->extradata);
    p->context->extradata = copy;
    p->context->extradata_size = (int)size;
}

static void set_picture(struct parsed *p, const AVCodecParameters *c)
{
    int width = p->parser && p->parser->width ? p->parser->width : c->width;
    int height = p->parser && p->parser->height ? p->parser->height : c->height;
    if (width > 0 && height > 0 && width <= MEDIA_SIDE_MAX && height <= MEDIA_SIDE_MAX) {
        p->format.width = width;
        p->format.height = height;
    }
    AVRational aspect = c->sample_aspect_ratio, rate = p->context->framerate;
    if (aspect.num > 0 && aspect.den > 0 && aspect.num < 1 << 20 && aspect.den < 1 << 20) {
        p->format.aspect_num = aspect.num;
        p->format.aspect_den = aspect.den;
    }
    if (rate.num > 0 && rate.den > 0) {
        p->format.rate_num = rate.num;
        p->format.rate_den = rate.den;
    }
}

static const int aac_rates[16] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                  22050, 16000, 12000, 11025, 8000,  7350};

static int aac_channels(int configuration)
{
    return configuration == 7 ? 8 : configuration;
}

// AAC says in each unit's ADTS header what it is (ISO/IEC 13818-7, 6.2); libavformat only says so
// after it has decoded some.
static void set_adts(struct parsed *p, const AVPacket *packet)
{
    const uint8_t *b = packet->data;
    if (packet->size < 7 || b[0] != 0xFF || (b[1] & 0xF6) != 0xF0)
        return;
    p->format.sample_rate = aac_rates[b[2] >> 2 & 15];
    p->format.channels = aac_channels((b[2] & 1) << 2 | b[3] >> 6);
}

// Or beforehand (AudioSpecificConfig, ISO/IEC 14496-3, 1.6.2.1), while FLV's own fields say 44.1
// kHz and stereo of whatever there is. A unit is 1024 samples at this rate also where spectral band
// replication doubles it.
static void set_aac(struct parsed *p)
{
    const uint8_t *b = p->format.extradata;
    int rate = (b[0] & 7) << 1 | b[1] >> 7;
    if (p->format.extradata_size < 2 || b[0] >> 3 == 31 || rate == 15)
        return;
    p->format.sample_rate = aac_rates[rate];
    p->format.channels = aac_channels(b[1] >> 3 & 15) & 15;
}

static void set_sound(struct parsed *p, const AVCodecParameters *c)
{
    int rate = p->context->sample_rate > 0 ? p->context->sample_rate : c->sample_rate;
    int channels = p->context->ch_layout.nb_channels;
    p->format.sample_rate = rate > 0 && rate <= 384000 ? rate : 0;
    p->format.channels = channels > 0 && channels <= 64 ? channels : 0;
    if (p->codec == AV_CODEC_ID_AAC)
        set_aac(p);
}

// What the packet says about its stream.
static void parse(struct parsed *p, const AVStream *s, const AVPacket *packet)
{
    size_t size;
    const uint8_t *extradata = av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (!extradata && !p->format.extradata_size) {
        extradata = s->codecpar->extradata;
        size = (size_t)s->codecpar->extradata_size;
    }
    if (extradata && size)
        set_extradata(p, extradata, size);
    if (p->parser) {
        uint8_t *out;
        int out_size;
        av_parser_parse2(p->parser, p->context, &out, &out_size, packet->data, packet->size,
                         AV_NOPTS_VALUE, AV_NOPTS_VALUE, -1);
    }
    if (s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO)
        set_picture(p, s->codecpar);
    else if (p->codec == AV_CODEC_ID_AAC && !p->format.extradata_size)
        set_adts(p, packet);
    else
        set_sound(p, s->codecpar);
}

// ---- Packets ---------------------------------------------------------------------------------

static int64_t ticks_of(int64_t time, AVRational base)
{
    return time == AV_NOPTS_VALUE ? UNIT_NO_TIME : av_rescale_q(time, base, (AVRational){1, 90000});
}

static struct parsed *stream_of(struct demux *d, const AVStream *s, enum unit_stream kind)
{
    struct parsed *p = &d->parsed[kind];
    int64_t now = clock_monotonic_ns();
    if (s->disposition & AV_DISPOSITION_ATTACHED_PIC || s->codecpar->codec_id == AV_CODEC_ID_NONE)
        return NULL;
    bool other = p->stream != s->index && p->stream >= 0;
    if (other && now - p->last_ns < SWITCH_NS)
        return NULL;
    if ((p->stream != s->index || p->codec != s->codecpar->codec_id) && parsed_begin(p, s) < 0)
        return NULL;
    p->last_ns = now;
    return p;
}

// How many there are, and when, where only the first unit of several says so.
static void set_samples(struct parsed *p, const AVStream *s, const AVPacket *packet,
                        struct ingest_unit *unit)
{
    int rate = p->format.sample_rate;
    unit->samples = av_get_audio_frame_duration(p->context, packet->size);
    if (unit->samples <= 0 && p->parser)
        unit->samples = p->parser->duration;
    if (unit->samples <= 0 && packet->duration > 0 && rate)
        unit->samples = (int)av_rescale_q(packet->duration, s->time_base, (AVRational){1, rate});
    if (unit->pts == UNIT_NO_TIME)
        unit->pts = unit->dts = p->next_ticks;
    if (unit->pts != UNIT_NO_TIME && rate)
        p->next_ticks = unit->pts + (int64_t)unit->samples * 90000 / rate;
}

static void take(struct demux *d, const AVPacket *packet)
{
    const AVStream *s = d->format->streams[packet->stream_index];
    enum AVMediaType type = s->codecpar->codec_type;
    if (type != AVMEDIA_TYPE_VIDEO && type != AVMEDIA_TYPE_AUDIO)
        return;
    enum unit_stream kind = type == AVMEDIA_TYPE_VIDEO ? UNIT_PICTURE : UNIT_SOUND;
    struct parsed *p = stream_of(d, s, kind);
    if (!p || packet->size <= 0 || packet->size > UNIT_BODY_MAX)
        return;
    parse(p, s, packet);
    struct ingest_unit unit = {
        .stream = kind,
        .format = &p->format,
        .pts = ticks_of(packet->pts, s->time_base),
        .dts = ticks_of(packet->dts, s->time_base),
        .key = packet->flags & AV_PKT_FLAG_KEY,
        .damaged = packet->flags & AV_PKT_FLAG_CORRUPT,
        .bytes = packet->data,
        .size = (size_t)packet->size,
    };
    if (kind == UNIT_SOUND)
        set_samples(p, s, packet, &unit);
    d->config->on_unit(d->config->opaque, &unit);
}

static int open_input(struct demux *d)
{
    AVDictionary *options = NULL;
    av_dict_set(&options, "probesize", PROBE_BYTES, 0);
    av_dict_set(&options, "protocol_whitelist", PROTOCOLS, 0);
    av_dict_set(&options, "format_whitelist", FORMATS, 0);
    av_dict_set(&options, "correct_ts_overflow", "0", 0); // the stamper does it, more than once
    av_dict_set(&options, "rtsp_transport", "tcp", 0);
    // Of UDP: the kernel's buffer instead of a thread that libavformat cancels wherever it is.
    av_dict_set(&options, "fifo_size", "0", 0);
    av_dict_set(&options, "buffer_size", UDP_BYTES, 0);
    av_dict_set(&options, "rtmp_live", "live", 0);
    av_dict_set(&options, "max_streams", "16", 0);
    d->format = avformat_alloc_context();
    if (!d->format) {
        av_dict_free(&options);
        return -ENOMEM;
    }
    d->format->interrupt_callback = (AVIOInterruptCB){interrupted, d};
    d->format->pb = d->config->io;
    const AVInputFormat *ts = d->config->io ? av_find_input_format("mpegts") : NULL;
    int error = avformat_open_input(&d->format, d->config->io ? "" : d->config->url, ts, &options);
    av_dict_free(&options);
    return error;
}

// -EIO stands for what libavformat does not tell apart.
static int errno_of(int error)
{
    return error == AVERROR(ECONNREFUSED) || error == AVERROR(ENOMEM) || error == AVERROR(ETIMEDOUT)
               ? error
           : error == AVERROR_EXIT ? -ETIMEDOUT
                                   : -EIO;
}

int demux_run(const struct demux_config *config)
{
    struct demux d = {.config = config, .heard_ns = clock_monotonic_ns()};
    parsed_finish(&d.parsed[UNIT_PICTURE]);
    parsed_finish(&d.parsed[UNIT_SOUND]);
    AVPacket *packet = av_packet_alloc();
    int error = packet ? open_input(&d) : -ENOMEM;
    if (error < 0) {
        av_packet_free(&packet);
        return errno_of(error);
    }
    bool pictures = d.format->ctx_flags & AVFMTCTX_NOHEADER && !d.format->nb_streams;
    for (unsigned i = 0; i < d.format->nb_streams; i++)
        pictures = pictures || d.format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_VIDEO;
    config->on_begin(config->opaque, pictures);
    while (!config->stop(config->opaque)) {
        d.heard_ns = clock_monotonic_ns();
        error = av_read_frame(d.format, packet);
        if (error == AVERROR(EAGAIN))
            continue;
        if (error < 0)
            break;
        take(&d, packet);
        av_packet_unref(packet);
    }
    for (int i = 0; i < UNIT_STREAMS; i++)
        parsed_finish(&d.parsed[i]);
    av_packet_free(&packet);
    avformat_close_input(&d.format);
    return 0;
}
