#include "edge/encode/audio_encoder.h"

#include "engine/base/rate.h"
#include "engine/base/thread.h"
#include "engine/frame/limiter.h"
#include "engine/frame/sound.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

#define AAC_FRAME        1024
#define GAP_FILL_SAMPLES (5 * SAMPLE_RATE_HZ)
#define CHUNK_SAMPLES    256
// Coded frames per encoder, and how many a new one is given before its own: with these its state is
// that of one that ran all along, as far as decoders notice (encode_test).
#define BLOCK_FRAMES   128
#define PREROLL_FRAMES 16

struct audio_encoder {
    // -- constant after create
    struct audio_encoder_config config;
    uint8_t extradata[64];
    size_t extradata_size;
    // -- owner thread
    AVCodecContext *codec, *next_codec; // next_codec: of the next block, while it is prerolled
    int64_t next_from;                  // first sample of that block
    AVFrame *frame;                     // filled up to `fill`
    AVPacket *packet;
    int fill;
    bool started;
    struct limiter *limiter;
    int64_t taken; // channel sample that the limiter is given next
    int64_t next;  // that is encoded next
};

static AVCodecContext *codec_open(int bitrate)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("aac");
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return NULL;
    c->sample_rate = SAMPLE_RATE_HZ;
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    c->bit_rate = bitrate;
    c->time_base = (AVRational){1, SAMPLE_RATE_HZ};
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    c->thread_count = 1;
    if (avcodec_open2(c, codec, NULL) < 0 || c->frame_size != AAC_FRAME)
        avcodec_free_context(&c);
    return c;
}

int audio_encoder_create(const struct audio_encoder_config *config, struct audio_encoder **ret,
                         struct diagnostic *reterr)
{
    struct audio_encoder *e = base_alloc(sizeof *e);
    e->config = *config;
    e->limiter = limiter_create(LIMITER_CEILING);
    e->codec = codec_open(config->bitrate);
    e->packet = av_packet_alloc();
    e->frame = av_frame_alloc();
    if (!e->codec || !e->packet || !e->frame || e->codec->extradata_size > (int)sizeof e->extradata)
        goto fail;
    e->extradata_size = (size_t)e->codec->extradata_size;
    memcpy(e->extradata, e->codec->extradata, e->extradata_size);
    e->frame->nb_samples = AAC_FRAME;
    e->frame->format = AV_SAMPLE_FMT_FLTP;
    e->frame->sample_rate = SAMPLE_RATE_HZ;
    if (av_channel_layout_copy(&e->frame->ch_layout, &e->codec->ch_layout) < 0 ||
        av_frame_get_buffer(e->frame, 0) < 0)
        goto fail;
    *ret = e;
    return 0;
fail:
    audio_encoder_destroy(&e);
    return diagnostic_set(reterr, -EINVAL, "encoder_refused", "",
                          "the AAC encoder cannot be opened at %d bits a second", config->bitrate);
}

void audio_encoder_destroy(struct audio_encoder **encoder)
{
    struct audio_encoder *e = *encoder;
    if (!e)
        return;
    *encoder = NULL;
    avcodec_free_context(&e->codec);
    avcodec_free_context(&e->next_codec);
    av_packet_free(&e->packet);
    av_frame_free(&e->frame);
    limiter_destroy(&e->limiter);
    free(e);
}

static void give_packet(struct audio_encoder *e)
{
    struct packet *p = packet_create((size_t)e->packet->size);
    if (!p)
        return;
    memcpy(p->data, e->packet->data, p->size);
    p->stream = PACKET_AUDIO;
    p->key = true;
    p->pts = p->dts = e->packet->pts;
    p->duration = AAC_FRAME;
    e->config.on_packet(e->config.opaque, p);
}

// Encodes the frame with one of the two; gives its packets from sample `from` to `to`, half open.
// `*ret_last`: pts of the last one that came out.
static int feed(struct audio_encoder *e, AVCodecContext *codec, int64_t from, int64_t to,
                int64_t *ret_last)
{
    int result = avcodec_send_frame(codec, e->frame);
    while (result >= 0 && (result = avcodec_receive_packet(codec, e->packet)) >= 0) {
        if (e->packet->pts >= from && e->packet->pts < to)
            give_packet(e);
        *ret_last = e->packet->pts;
        av_packet_unref(e->packet);
    }
    return result == AVERROR(EAGAIN) ? 0 : -EIO;
}

static int encode_frame(struct audio_encoder *e)
{
    const int64_t block = (int64_t)BLOCK_FRAMES * AAC_FRAME;
    int64_t pts = e->next - AAC_FRAME, ahead = pts + (int64_t)PREROLL_FRAMES * AAC_FRAME;
    int64_t last = INT64_MIN;
    e->frame->pts = pts;
    e->fill = 0;
    if (ahead % block == 0 && !e->next_codec) {
        // Without memory the one that is there goes on: sound, if not the same bits as elsewhere.
        e->next_codec = codec_open(e->config.bitrate);
        e->next_from = ahead;
    }
    int result = feed(e, e->codec, INT64_MIN, e->next_codec ? e->next_from : INT64_MAX, &last);
    last = INT64_MIN;
    if (!result && e->next_codec)
        result = feed(e, e->next_codec, e->next_from, INT64_MAX, &last);
    if (e->next_codec && last >= e->next_from) {
        avcodec_free_context(&e->codec);
        e->codec = e->next_codec;
        e->next_codec = NULL;
    }
    // The encoders may still hold the buffer; it is written again below.
    if (av_frame_make_writable(e->frame) < 0)
        return -ENOMEM;
    return result;
}

// Samples of the frame under way; all are taken, also when an encoder refuses a frame.
static int append(struct audio_encoder *e, const int32_t *samples, int count)
{
    int result = 0;
    while (count > 0) {
        float chunk[CHUNK_SAMPLES * SOUND_CHANNELS];
        int room = AAC_FRAME - e->fill, part = count < room ? count : room;
        sound_to_float(chunk, samples, part);
        float *left = (float *)(void *)e->frame->data[0] + e->fill;
        float *right = (float *)(void *)e->frame->data[1] + e->fill;
        for (int i = 0; i < part; i++) {
            left[i] = chunk[2 * i];
            right[i] = chunk[2 * i + 1];
        }
        e->fill += part;
        e->next += part;
        samples += part * SOUND_CHANNELS;
        count -= part;
        int error = e->fill == AAC_FRAME ? encode_frame(e) : 0;
        result = result ? result : error;
    }
    return result;
}

// What comes next, through the limiter; `samples` NULL: silence.
static int take(struct audio_encoder *e, const int32_t *samples, int64_t count)
{
    int result = 0;
    while (count > 0) {
        int32_t chunk[CHUNK_SAMPLES * SOUND_CHANNELS];
        int part = count < CHUNK_SAMPLES ? (int)count : CHUNK_SAMPLES;
        limiter_sound(e->limiter, chunk, samples, part);
        int64_t early = e->next - (e->taken - LIMITER_DELAY); // from before the first frame
        e->taken += part;
        count -= part;
        if (samples)
            samples += part * SOUND_CHANNELS;
        int error = early < part ? append(e, chunk + early * SOUND_CHANNELS, part - (int)early) : 0;
        result = result ? result : error;
    }
    return result;
}

int audio_encoder_sound(struct audio_encoder *e, int64_t first, const int32_t *samples,
                        int sample_count)
{
    if (e->started && first - e->taken > GAP_FILL_SAMPLES) {
        // Too long to fill: complete the frame under way and start on the grid again. A preroll
        // that was interrupted would leave the block's beginning out.
        int64_t end = (e->taken + AAC_FRAME - 1) / AAC_FRAME * AAC_FRAME;
        int result = take(e, NULL, end + LIMITER_DELAY - e->taken);
        if (result)
            return result;
        avcodec_free_context(&e->next_codec);
        limiter_reset(e->limiter);
        e->started = false;
    }
    if (!e->started) {
        int64_t remainder = (first % AAC_FRAME + AAC_FRAME) % AAC_FRAME;
        e->next = first + (AAC_FRAME - remainder) % AAC_FRAME;
        e->taken = first;
        e->started = true;
    }
    if (first > e->taken) {
        int result = take(e, NULL, first - e->taken);
        if (result)
            return result;
    }
    int64_t skip = e->taken - first;
    if (skip >= sample_count)
        return 0;
    return take(e, samples + skip * SOUND_CHANNELS, sample_count - skip);
}

const uint8_t *audio_encoder_extradata(const struct audio_encoder *e, size_t *ret_size)
{
    *ret_size = e->extradata_size;
    return e->extradata;
}
