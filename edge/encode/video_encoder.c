#include "edge/encode/video_encoder.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

struct video_encoder {
    // -- constant after create
    struct video_encoder_config config;
    char preset[32];
    const AVCodec *codec;
    uint8_t *extradata;
    size_t extradata_size;
    // -- owner thread
    AVCodecContext *gop; // encoder of the GOP under way, or of the next one
    int64_t gop_number;  // floor(n / gop_frames) of the GOP under way
    int64_t last_frame;
    bool started;                 // `last_frame` means something
    int64_t input[VIDEO_GOP_MAX]; // frame numbers given to `gop`
    int input_count, output_count;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *scaler;
    int scaler_width, scaler_height;
};

// The buffer holds this share of a GOP, and is so full when a GOP begins.
#define BUFFER_GOPS 0.2
#define BUFFER_FULL 0.9

// Every GOP begins with a full buffer and may leave an empty one, so it can take what arrives in
// its time and what the buffer held. That sum is the declared rate's share, so x264's own is lower.
static void set_rate_control(AVCodecContext *c, const struct video_encoder_config *config)
{
    double gop_seconds = (double)config->gop_frames * config->rate.den / config->rate.num;
    double rate = config->bitrate / (1 + BUFFER_FULL * BUFFER_GOPS);
    c->bit_rate = c->rc_max_rate = c->rc_min_rate = (int64_t)rate;
    c->rc_buffer_size = (int)(rate * gop_seconds * BUFFER_GOPS);
    c->rc_initial_buffer_occupancy = (int)(c->rc_buffer_size * BUFFER_FULL);
    c->gop_size = config->gop_frames;
    c->keyint_min = config->gop_frames;
}

// x264 looks at the processor by itself; VISTTER_CPU holds it down as it does our own kernels.
static const char *x264_assembly(void)
{
    const char *level = getenv("VISTTER_CPU");
    if (level && !strcmp(level, "c"))
        return ":asm=0";
    return level && !strcmp(level, "avx2") ? ":asm=AVX2" : "";
}

static int open_gop(struct video_encoder *e, struct diagnostic *reterr)
{
    const struct video_encoder_config *config = &e->config;
    AVCodecContext *c = avcodec_alloc_context3(e->codec);
    if (!c)
        return diagnostic_set(reterr, -ENOMEM, "encoder_memory", "", "no memory for an encoder");
    c->width = config->width;
    c->height = config->height;
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->time_base = (AVRational){config->rate.den, config->rate.num};
    c->framerate = (AVRational){config->rate.num, config->rate.den};
    c->sample_aspect_ratio = (AVRational){1, 1};
    c->color_range = AVCOL_RANGE_MPEG;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->colorspace = AVCOL_SPC_BT709;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
    c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | (int)AV_CODEC_FLAG_CLOSED_GOP;
    c->thread_count = 1;
    set_rate_control(c, config);
    char params[160];
    snprintf(params, sizeof params,
             "nal-hrd=cbr:scenecut=0:open-gop=0:threads=1:lookahead-threads=1:sliced-threads=0:"
             "cpu-independent=1%s",
             x264_assembly());
    int result = av_opt_set(c->priv_data, "preset", e->preset, 0);
    if (result >= 0)
        result = av_opt_set(c->priv_data, "x264-params", params, 0);
    if (result >= 0)
        result = avcodec_open2(c, e->codec, NULL);
    if (result < 0) {
        avcodec_free_context(&c);
        return diagnostic_set(reterr, -EINVAL, "encoder_refused", "",
                              "x264 refuses %dx%d at %d bits a second, preset '%s'; use even sizes "
                              "and a preset between ultrafast and slow",
                              config->width, config->height, config->bitrate, e->preset);
    }
    e->gop = c;
    e->input_count = e->output_count = 0;
    return 0;
}

static int check_config(const struct video_encoder_config *c, struct diagnostic *reterr)
{
    if (c->width < 16 || c->height < 16 || c->width > PICTURE_SIDE_MAX ||
        c->height > PICTURE_SIDE_MAX || c->width % 2 || c->height % 2)
        return diagnostic_set(reterr, -EINVAL, "rendition_size", "",
                              "%dx%d is not an even size of at least 16x16", c->width, c->height);
    if (c->gop_frames < 1 || c->gop_frames > VIDEO_GOP_MAX)
        return diagnostic_set(reterr, -EINVAL, "rendition_gop", "",
                              "a GOP of %d frames is outside 1 to %d", c->gop_frames,
                              VIDEO_GOP_MAX);
    if (c->bitrate < 16000 || c->bitrate > 200000000)
        return diagnostic_set(reterr, -EINVAL, "rendition_bitrate", "",
                              "%d bits a second is outside 16000 to 200000000", c->bitrate);
    return 0;
}

int video_encoder_create(const struct video_encoder_config *config, struct video_encoder **ret,
                         struct diagnostic *reterr)
{
    int result = check_config(config, reterr);
    if (result)
        return result;
    struct video_encoder *e = base_alloc(sizeof *e);
    e->config = *config;
    snprintf(e->preset, sizeof e->preset, "%s",
             config->preset && *config->preset ? config->preset : "veryfast");
    e->config.preset = e->preset;
    e->codec = avcodec_find_encoder_by_name("libx264");
    if (!e->codec) {
        result = diagnostic_set(reterr, -ENOSYS, "encoder_missing", "",
                                "this FFmpeg was built without libx264");
        goto fail;
    }
    result = open_gop(e, reterr);
    if (result)
        goto fail;
    e->extradata_size = (size_t)e->gop->extradata_size;
    e->extradata = base_alloc(e->extradata_size);
    memcpy(e->extradata, e->gop->extradata, e->extradata_size);
    avcodec_free_context(&e->gop); // one that waits for its first picture keeps no buffers
    e->packet = av_packet_alloc();
    e->frame = av_frame_alloc();
    if (!e->packet || !e->frame) {
        result = diagnostic_set(reterr, -ENOMEM, "encoder_memory", "", "no memory for an encoder");
        goto fail;
    }
    *ret = e;
    return 0;
fail:
    video_encoder_destroy(&e);
    return result;
}

void video_encoder_destroy(struct video_encoder **encoder)
{
    struct video_encoder *e = *encoder;
    if (!e)
        return;
    *encoder = NULL;
    avcodec_free_context(&e->gop);
    av_packet_free(&e->packet);
    av_frame_free(&e->frame);
    sws_freeContext(e->scaler);
    free(e->extradata);
    free(e);
}

static void give_packet(struct video_encoder *e)
{
    struct packet *p = packet_create((size_t)e->packet->size);
    int k = e->output_count++, depth = e->gop->has_b_frames;
    if (!p)
        return; // counted by the destination as a gap; the stream goes on
    memcpy(p->data, e->packet->data, p->size);
    p->stream = PACKET_VIDEO;
    p->key = e->packet->flags & AV_PKT_FLAG_KEY;
    p->pts = e->input[0] + e->packet->pts;
    p->dts = k < depth ? e->input[0] - depth + k : e->input[k - depth];
    p->duration = 1;
    e->config.on_packet(e->config.opaque, p);
}

static int receive_packets(struct video_encoder *e)
{
    int result;
    while ((result = avcodec_receive_packet(e->gop, e->packet)) >= 0) {
        give_packet(e);
        av_packet_unref(e->packet);
    }
    return result == AVERROR(EAGAIN) || result == AVERROR_EOF ? 0 : -EIO;
}

int video_encoder_drain(struct video_encoder *e)
{
    if (!e->gop || !e->input_count)
        return 0;
    int result = avcodec_send_frame(e->gop, NULL) < 0 ? -EIO : receive_packets(e);
    avcodec_free_context(&e->gop);
    return result;
}

static void release_picture(void *opaque, uint8_t *data)
{
    (void)data; // the planes belong to the picture
    struct picture *picture = opaque;
    picture_unref(&picture);
}

// Gives a reference to `picture` in the rendition's size. The flags are those of the purity
// contract: swscale rounds differently on other processors without them.
static struct picture *fit_picture(struct video_encoder *e, const struct picture *picture)
{
    if (picture->width == e->config.width && picture->height == e->config.height)
        return picture_ref(picture);
    if (e->scaler_width != picture->width || e->scaler_height != picture->height) {
        sws_freeContext(e->scaler);
        e->scaler = sws_getContext(picture->width, picture->height, AV_PIX_FMT_YUV420P,
                                   e->config.width, e->config.height, AV_PIX_FMT_YUV420P,
                                   SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
        e->scaler_width = picture->width;
        e->scaler_height = picture->height;
    }
    struct picture *scaled =
        e->scaler ? picture_create(PICTURE_OPAQUE, e->config.width, e->config.height) : NULL;
    if (!scaled)
        return NULL;
    int src_stride[4], dst_stride[4];
    for (int i = 0; i < 4; i++) {
        src_stride[i] = (int)picture->stride[i];
        dst_stride[i] = (int)scaled->stride[i];
    }
    sws_scale(e->scaler, (const uint8_t *const *)picture->plane, src_stride, 0, picture->height,
              scaled->plane, dst_stride);
    return scaled;
}

static int send_picture(struct video_encoder *e, int64_t n, const struct picture *picture)
{
    struct picture *fitted = fit_picture(e, picture);
    if (!fitted)
        return -ENOMEM;
    AVFrame *f = e->frame;
    // x264 copies the picture; the buffer only keeps libavcodec from copying it before that.
    f->buf[0] =
        av_buffer_create(fitted->plane[0], 1, release_picture, fitted, AV_BUFFER_FLAG_READONLY);
    if (!f->buf[0]) {
        picture_unref(&fitted);
        return -ENOMEM;
    }
    f->format = AV_PIX_FMT_YUV420P;
    f->width = e->config.width;
    f->height = e->config.height;
    for (int i = 0; i < 3; i++) {
        f->data[i] = fitted->plane[i];
        f->linesize[i] = (int)fitted->stride[i];
    }
    e->input[e->input_count++] = n;
    f->pts = n - e->input[0];
    int result = avcodec_send_frame(e->gop, f);
    av_frame_unref(f);
    return result < 0 ? -EIO : receive_packets(e);
}

int video_encoder_picture(struct video_encoder *e, int64_t n, const struct picture *picture)
{
    if (e->started && n <= e->last_frame)
        return -EINVAL;
    int64_t gop = video_encoder_gop(&e->config, n);
    int drained = 0;
    if (!e->started || gop != e->gop_number)
        drained = video_encoder_drain(e);
    e->started = true;
    e->last_frame = n;
    e->gop_number = gop;
    if (!e->gop) {
        int result = open_gop(e, NULL);
        if (result)
            return -EIO;
        // Players got the extradata once; other parameter sets would make the stream unreadable.
        if ((size_t)e->gop->extradata_size != e->extradata_size ||
            memcmp(e->gop->extradata, e->extradata, e->extradata_size)) {
            avcodec_free_context(&e->gop);
            return -EIO;
        }
    }
    int result = send_picture(e, n, picture);
    if (result == -EIO)
        avcodec_free_context(&e->gop);
    return result ? result : drained;
}

const uint8_t *video_encoder_extradata(const struct video_encoder *e, size_t *ret_size)
{
    *ret_size = e->extradata_size;
    return e->extradata;
}
