// Lossless coding of groups for links, beside utvideo (FFmpeg's, median prediction, one thread):
// intermediate_bench VIDEO FRAMES GRAPHICS ROUNDS
//   VIDEO     raw yuv420p, 1920x1080, FRAMES of them
//   GRAPHICS  raw yuva420p, straight alpha, 1920x1080, one
// Prints one JSON object: medians of processor milliseconds a frame of interleaved rounds, and
// Mbit/s at 30 frames a second, of the video and of the graphics as they stand for a minute and as
// they move.
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>

#include "engine/link/tile_codec.h"
#include "tests/bench/bench.h"
#include "worker/render/coder.h"

#define WIDTH        1920
#define HEIGHT       1080
#define FRAMES_MAX   64
#define STILL_FRAMES 1800
#define RATE_FACTOR  (30 * 8 / 1e6)

static int frame_count;
static struct picture *pictures[FRAMES_MAX];
static AVFrame *frames[FRAMES_MAX];

// ---- Input ------------------------------------------------------------------------------------

static void plane_read(FILE *file, uint8_t *to, ptrdiff_t stride, int width, int height)
{
    for (int y = 0; y < height; y++)
        if (fread(to + y * stride, (size_t)width, 1, file) != 1)
            die("a file is too short");
}

static FILE *open_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    return file;
}

static void video_read(const char *path)
{
    FILE *file = open_file(path);
    for (int n = 0; n < frame_count; n++) {
        struct picture *p = pictures[n] = picture_create(PICTURE_OPAQUE, WIDTH, HEIGHT);
        AVFrame *f = frames[n] = av_frame_alloc();
        f->format = AV_PIX_FMT_YUV420P;
        f->width = WIDTH;
        f->height = HEIGHT;
        f->pts = n;
        if (av_frame_get_buffer(f, 64))
            die("no memory");
        for (int i = 0; i < 3; i++) {
            plane_read(file, p->plane[i], p->stride[i], plane_width(p, i), plane_height(p, i));
            for (int y = 0; y < plane_height(p, i); y++)
                memcpy(f->data[i] + y * f->linesize[i], p->plane[i] + y * p->stride[i],
                       (size_t)plane_width(p, i));
        }
    }
    fclose(file);
}

// Premultiplied, chroma with the mean of its four alphas.
static struct picture *graphics_read(const char *path)
{
    struct picture *p = picture_create(PICTURE_ALPHA, WIDTH, HEIGHT);
    FILE *file = open_file(path);
    for (int i = 0; i < 4; i++)
        plane_read(file, p->plane[i], p->stride[i], plane_width(p, i), plane_height(p, i));
    fclose(file);
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(p, i); y++)
            for (int x = 0; x < plane_width(p, i); x++) {
                const uint8_t *a = p->plane[3] + (y << (i > 0)) * p->stride[3] + (x << (i > 0));
                int alpha = i ? (a[0] + a[1] + a[p->stride[3]] + a[p->stride[3] + 1] + 2) / 4 : *a;
                uint8_t *sample = p->plane[i] + y * p->stride[i] + x;
                *sample = (uint8_t)((*sample * alpha + 127) / 255);
            }
    return p;
}

// ---- Ours -------------------------------------------------------------------------------------

static struct group_builder *builder;

static struct group_frame *group_of(const struct picture *base, const struct picture *layer, int x,
                                    int y)
{
    struct group_frame *group = NULL;
    group_builder_begin(builder, base);
    if (layer)
        group_builder_add(builder, layer, x, y, 255, BLEND_NORMAL);
    if (group_builder_finish(builder, &group))
        die("no memory");
    return group;
}

static void ours(double *ret_encode, double *ret_decode, size_t *ret_bytes)
{
    uint8_t *bytes[FRAMES_MAX];
    size_t size[FRAMES_MAX];
    struct group_frame *groups[FRAMES_MAX], *decoded;
    for (int n = 0; n < frame_count; n++)
        groups[n] = group_of(pictures[n], NULL, 0, 0);
    double start = cpu_ms();
    for (int n = 0; n < frame_count; n++)
        if (group_encode(groups[n], NULL, &bytes[n], &size[n]))
            die("no memory");
    double middle = cpu_ms();
    *ret_bytes = 0;
    for (int n = 0; n < frame_count; n++) {
        if (group_decode(bytes[n], size[n], WIDTH, HEIGHT, NULL, &decoded))
            die("ours does not decode");
        *ret_bytes += size[n];
        free(bytes[n]);
        if (n == 0 && !group_frame_equal(decoded, groups[n]))
            die("ours is not lossless");
        group_frame_unref(&decoded);
    }
    *ret_decode = (cpu_ms() - middle) / frame_count;
    *ret_encode = (middle - start) / frame_count;
    for (int n = 0; n < frame_count; n++)
        group_frame_unref(&groups[n]);
}

// Mbit/s of the graphics, as a stage codes them, over STILL_FRAMES. Moving layers go on by two
// samples a frame.
static double graphics_rate(const struct picture *layer, bool moving)
{
    static const int32_t silence[2 * 1600];
    struct coder *coder = coder_create(WIDTH, HEIGHT, (struct rate){30, 1}, NULL);
    size_t sum = 0;
    struct group_frame *still = group_of(NULL, layer, 0, 0);
    for (int n = 0; n < STILL_FRAMES; n++) {
        int step = 2 * (n % 40);
        struct group_frame *group =
            moving ? group_of(NULL, layer, step, step) : group_frame_ref(still);
        struct coder_input in = {n, group, .unchanged = !moving && n, .sound = silence};
        struct coded_frame coded = {0};
        if (coder_frame(coder, &in, &coded))
            die("no memory");
        sum += coded.size;
        free(coded.payload);
        group_frame_unref(&group);
    }
    group_frame_unref(&still);
    coder_destroy(&coder);
    return (double)sum * RATE_FACTOR / STILL_FRAMES;
}

// ---- utvideo ----------------------------------------------------------------------------------

static AVCodecContext *encoder, *decoder;

static void utvideo_open(void)
{
    const AVCodec *e = avcodec_find_encoder_by_name("utvideo"),
                  *d = avcodec_find_decoder_by_name("utvideo");
    encoder = e ? avcodec_alloc_context3(e) : NULL;
    decoder = d ? avcodec_alloc_context3(d) : NULL;
    if (!encoder || !decoder)
        die("this FFmpeg has no utvideo");
    encoder->width = WIDTH;
    encoder->height = HEIGHT;
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->time_base = (AVRational){1, 30};
    encoder->color_range = AVCOL_RANGE_MPEG;
    encoder->thread_count = encoder->slices = 1;
    av_opt_set(encoder->priv_data, "pred", "median", 0);
    AVCodecParameters *parameters = avcodec_parameters_alloc();
    if (avcodec_open2(encoder, e, NULL) ||
        avcodec_parameters_from_context(parameters, encoder) < 0 ||
        avcodec_parameters_to_context(decoder, parameters) < 0)
        die("utvideo refuses");
    avcodec_parameters_free(&parameters);
    decoder->thread_count = 1;
    if (avcodec_open2(decoder, d, NULL))
        die("utvideo refuses");
}

static void utvideo(double *ret_encode, double *ret_decode, size_t *ret_bytes)
{
    AVPacket *packets[FRAMES_MAX];
    AVFrame *decoded = av_frame_alloc();
    double start = cpu_ms();
    for (int n = 0; n < frame_count; n++) {
        packets[n] = av_packet_alloc();
        if (avcodec_send_frame(encoder, frames[n]) || avcodec_receive_packet(encoder, packets[n]))
            die("utvideo does not encode");
    }
    double middle = cpu_ms();
    *ret_bytes = 0;
    for (int n = 0; n < frame_count; n++) {
        if (avcodec_send_packet(decoder, packets[n]) || avcodec_receive_frame(decoder, decoded))
            die("utvideo does not decode");
        *ret_bytes += (size_t)packets[n]->size;
        av_packet_free(&packets[n]);
        av_frame_unref(decoded);
    }
    *ret_decode = (cpu_ms() - middle) / frame_count;
    *ret_encode = (middle - start) / frame_count;
    av_frame_free(&decoded);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("VIDEO FRAMES GRAPHICS ROUNDS");
    int rounds = atoi(argv[4]);
    frame_count = atoi(argv[2]);
    if (frame_count < 1 || frame_count > FRAMES_MAX || rounds < 1 || rounds > ROUNDS_MAX)
        die("numbers out of range");
    builder = group_builder_create(WIDTH, HEIGHT);
    video_read(argv[1]);
    struct picture *graphics = graphics_read(argv[3]);
    utvideo_open();
    double ms[4][ROUNDS_MAX];
    size_t bytes[2] = {0};
    for (int round = 0; round < rounds; round++) {
        ours(&ms[0][round], &ms[1][round], &bytes[0]);
        utvideo(&ms[2][round], &ms[3][round], &bytes[1]);
    }
    double per_frame = RATE_FACTOR / frame_count;
    printf("{\"kernels\":\"%s\",\"ours\":{\"encode\":%.3f,\"decode\":%.3f,\"size\":%.1f},"
           "\"utvideo\":{\"encode\":%.3f,\"decode\":%.3f,\"size\":%.1f},"
           "\"still\":%.3f,\"animated\":%.3f}\n",
           compose_cpu_name(), median(ms[0], rounds), median(ms[1], rounds),
           (double)bytes[0] * per_frame, median(ms[2], rounds), median(ms[3], rounds),
           (double)bytes[1] * per_frame, graphics_rate(graphics, false),
           graphics_rate(graphics, true));
    return EXIT_SUCCESS;
}
