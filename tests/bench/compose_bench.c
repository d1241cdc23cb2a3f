// Compositing at 1080p, ours beside libavfilter's overlay chain and libyuv's blend, one thread
// each, from the same pictures in memory: compose_bench BASE PIP LOGO GRAPHICS LAYERS moving|still
// ROUNDS FRAMES
//   BASE, PIP       raw yuv420p, 1920x1080 and 640x360, PICTURES frames each, shown in turn
//   LOGO, GRAPHICS  raw yuva420p, straight alpha, 256x256 and 1920x1080
// LAYERS above the base, in turn: graphics, picture-in-picture at 0.8 opacity, logo. Prints one
// JSON object: medians of processor milliseconds a frame of interleaved rounds, and how far each
// result is from exact arithmetic (PSNR, dB).
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/opt.h>
#include <libyuv.h>
#include <math.h>
#include <stdarg.h>

#include "engine/compose/group.h"
#include "engine/compose/kernels.h"
#include "tests/bench/bench.h"

#define WIDTH      1920
#define HEIGHT     1080
#define PICTURES   8
#define LAYERS_MAX 7
#define OPACITY    204

struct material {
    AVFrame *frames[PICTURES];          // straight alpha, opacity included
    struct picture *pictures[PICTURES]; // the same, premultiplied where there is alpha
    int count, opacity;
};

static struct material base, kinds[3];
static int layer_count;
static bool moving;

// ---- Input ------------------------------------------------------------------------------------

static AVFrame *frame_alloc(enum AVPixelFormat format, int width, int height)
{
    AVFrame *f = av_frame_alloc();
    f->format = format;
    f->width = width;
    f->height = height;
    f->color_range = AVCOL_RANGE_MPEG;
    f->colorspace = AVCOL_SPC_BT709;
    if (av_frame_get_buffer(f, 64))
        die("no memory");
    return f;
}

static struct picture *premultiplied(const AVFrame *f, bool alpha)
{
    struct picture *p = picture_create(alpha ? PICTURE_ALPHA : PICTURE_OPAQUE, f->width, f->height);
    for (int i = 0; i < picture_planes(p); i++)
        for (int y = 0; y < plane_height(p, i); y++)
            for (int x = 0; x < plane_width(p, i); x++) {
                int sample = f->data[i][y * f->linesize[i] + x], a = 255;
                if (alpha && i == 0)
                    a = f->data[3][y * f->linesize[3] + x];
                else if (alpha && i < 3) {
                    const uint8_t *top = f->data[3] + 2 * y * f->linesize[3] + 2 * x;
                    a = (top[0] + top[1] + top[f->linesize[3]] + top[f->linesize[3] + 1] + 2) >> 2;
                }
                p->plane[i][y * p->stride[i] + x] =
                    (uint8_t)(i == 3 ? sample : (sample * a + 127) / 255);
            }
    return p;
}

// `opacity` below 255: of a material without alpha. Ours applies it; the others get it as a plane
// of alpha.
static void layer_read(struct material *l, const char *path, bool alpha, int width, int height,
                       int count, int opacity)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    l->count = count;
    l->opacity = opacity;
    for (int n = 0; n < count; n++) {
        bool planes = alpha || opacity < 255;
        AVFrame *f = l->frames[n] =
            frame_alloc(planes ? AV_PIX_FMT_YUVA420P : AV_PIX_FMT_YUV420P, width, height);
        for (int i = 0; i < (alpha ? 4 : 3); i++) {
            int half = i == 1 || i == 2;
            for (int y = 0; y < height >> half; y++)
                if (fread(f->data[i] + y * f->linesize[i], (size_t)(width >> half), 1, file) != 1)
                    die("a file is too short");
        }
        for (int y = 0; y < height && planes && !alpha; y++)
            memset(f->data[3] + y * f->linesize[3], opacity, (size_t)width);
        l->pictures[n] = premultiplied(f, alpha);
    }
    fclose(file);
}

// Where layer `i` stands in frame `n`: the same formula as in the filter's expressions.
static void place(int i, int n, int *ret_x, int *ret_y)
{
    static const int from[3][2] = {{0, 0}, {1100, 80}, {60, 60}};
    int step = moving ? n % 40 : 0;
    *ret_x = from[i % 3][0] + (i % 3 ? 30 * (i / 3) : 0) + 2 * step;
    *ret_y = from[i % 3][1] + 20 * (i / 3) + 2 * step;
}

// ---- Ours -------------------------------------------------------------------------------------

static struct group_builder *builder;

static struct picture *ours(int n)
{
    struct group_frame *group = NULL;
    struct picture *result = NULL;
    group_builder_begin(builder, base.pictures[n % PICTURES]);
    for (int i = 0; i < layer_count; i++) {
        const struct material *l = &kinds[i % 3];
        int x, y;
        place(i, n, &x, &y);
        group_builder_add(builder, l->pictures[n % l->count], x, y, l->opacity, BLEND_NORMAL);
    }
    if (group_builder_finish(builder, &group) || group_fold_over(NULL, group, &result))
        die("no memory");
    group_frame_unref(&group);
    return result;
}

// ---- libyuv -----------------------------------------------------------------------------------

static AVFrame *libyuv(int n)
{
    const AVFrame *b = base.frames[n % PICTURES];
    AVFrame *d = frame_alloc(AV_PIX_FMT_YUV420P, WIDTH, HEIGHT);
    I420Copy(b->data[0], b->linesize[0], b->data[1], b->linesize[1], b->data[2], b->linesize[2],
             d->data[0], d->linesize[0], d->data[1], d->linesize[1], d->data[2], d->linesize[2],
             WIDTH, HEIGHT);
    for (int i = 0; i < layer_count; i++) {
        const struct material *l = &kinds[i % 3];
        const AVFrame *s = l->frames[n % l->count];
        int x, y;
        place(i, n, &x, &y);
        int w = s->width < WIDTH - x ? s->width : WIDTH - x;
        int h = s->height < HEIGHT - y ? s->height : HEIGHT - y;
        uint8_t *to[3];
        for (int p = 0; p < 3; p++)
            to[p] = d->data[p] + (y >> (p > 0)) * d->linesize[p] + (x >> (p > 0));
        I420Blend(s->data[0], s->linesize[0], s->data[1], s->linesize[1], s->data[2],
                  s->linesize[2], to[0], d->linesize[0], to[1], d->linesize[1], to[2],
                  d->linesize[2], s->data[3], s->linesize[3], to[0], d->linesize[0], to[1],
                  d->linesize[1], to[2], d->linesize[2], w, h);
    }
    return d;
}

// ---- libavfilter ------------------------------------------------------------------------------

static AVFilterGraph *graph;
static AVFilterContext *sources[1 + LAYERS_MAX], *sink;

static void append(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(text);
    va_start(arguments, format);
    vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
}

static void filter_open(void)
{
    char text[8192] = "";
    AVFilterInOut *in = NULL, *out = NULL;
    graph = avfilter_graph_alloc();
    graph->nb_threads = 1;
    for (int i = 0; i <= layer_count; i++) {
        const AVFrame *f = i ? kinds[(i - 1) % 3].frames[0] : base.frames[0];
        append(text, sizeof text, "buffer@%d=video_size=%dx%d:pix_fmt=%d:time_base=1/30[i%d];", i,
               f->width, f->height, f->format, i);
        append(text, sizeof text, "[i%d]null[s%d];", i, i);
    }
    for (int i = 0; i < layer_count; i++) {
        int x, y;
        bool was = moving;
        moving = false;
        place(i, 0, &x, &y);
        moving = was;
        append(text, sizeof text,
               "[s%d][s%d]overlay=format=yuv420:x='%d+%d*mod(n-1,40)':y='%d+%d*mod(n-1,40)'[s%d];",
               i ? 100 + i : 0, i + 1, x, moving ? 2 : 0, y, moving ? 2 : 0, 101 + i);
    }
    append(text, sizeof text, "[s%d]buffersink@out", layer_count ? 100 + layer_count : 0);
    if (avfilter_graph_parse2(graph, text, &in, &out) < 0 || avfilter_graph_config(graph, NULL) < 0)
        die("libavfilter refuses the graph");
    for (int i = 0; i <= layer_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "buffer@%d", i);
        sources[i] = avfilter_graph_get_filter(graph, name);
    }
    sink = avfilter_graph_get_filter(graph, "buffersink@out");
    if (!sources[0] || !sink)
        die("libavfilter lost a filter");
}

static AVFrame *filter(int n)
{
    for (int i = 0; i <= layer_count; i++) {
        const struct material *l = i ? &kinds[(i - 1) % 3] : &base;
        AVFrame *f = av_frame_clone(l->frames[n % l->count]);
        f->pts = n;
        if (av_buffersrc_add_frame(sources[i], f) < 0)
            die("libavfilter refuses a frame");
        av_frame_free(&f);
    }
    AVFrame *result = av_frame_alloc();
    if (av_buffersink_get_frame(sink, result) < 0)
        die("libavfilter gives no frame");
    return result;
}

// ---- Exact arithmetic -------------------------------------------------------------------------

static double *exact_plane(int n, int plane)
{
    int half = plane > 0, width = WIDTH >> half, height = HEIGHT >> half;
    double *out = malloc((size_t)(width * height) * sizeof *out);
    const AVFrame *b = base.frames[n % PICTURES];
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            out[y * width + x] = b->data[plane][y * b->linesize[plane] + x];
    for (int i = 0; i < layer_count; i++) {
        const struct material *l = &kinds[i % 3];
        const AVFrame *s = l->frames[n % l->count];
        int px, py;
        place(i, n, &px, &py);
        px >>= half;
        py >>= half;
        for (int y = 0; y < s->height >> half && y + py < height; y++)
            for (int x = 0; x < s->width >> half && x + px < width; x++) {
                double a = 255;
                if (s->format == AV_PIX_FMT_YUVA420P && !half)
                    a = s->data[3][y * s->linesize[3] + x];
                else if (s->format == AV_PIX_FMT_YUVA420P) {
                    const uint8_t *top = s->data[3] + 2 * y * s->linesize[3] + 2 * x;
                    a = (top[0] + top[1] + top[s->linesize[3]] + top[s->linesize[3] + 1]) / 4.0;
                }
                a /= 255.0;
                double *at = &out[(y + py) * width + x + px];
                *at += (s->data[plane][y * s->linesize[plane] + x] - *at) * a;
            }
    }
    return out;
}

// The worst plane's PSNR of frame 3 against exact arithmetic.
static double quality(uint8_t *const data[3], const ptrdiff_t stride[3])
{
    double worst = 999;
    for (int plane = 0; plane < 3; plane++) {
        int width = WIDTH >> (plane > 0), height = HEIGHT >> (plane > 0);
        double *exact = exact_plane(3, plane), sum = 0;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++) {
                double d = data[plane][y * stride[plane] + x] - exact[y * width + x];
                sum += d * d;
            }
        double psnr = sum > 0 ? 10 * log10(255.0 * 255.0 * width * height / sum) : 999;
        worst = psnr < worst ? psnr : worst;
        free(exact);
    }
    return worst;
}

static double quality_of_frame(AVFrame *f)
{
    ptrdiff_t stride[3] = {f->linesize[0], f->linesize[1], f->linesize[2]};
    double result = quality(f->data, stride);
    av_frame_free(&f);
    return result;
}

// ---- Rounds -----------------------------------------------------------------------------------

enum { OURS, FFMPEG, LIBYUV, CONTENDERS };

static double run(int who, int frames)
{
    static int filter_next = 4; // frame numbers of the graph rise
    double start = cpu_ms();
    for (int n = 0; n < frames; n++) {
        if (who == OURS) {
            struct picture *p = ours(n);
            picture_unref(&p);
        } else {
            AVFrame *f = who == FFMPEG ? filter(filter_next++) : libyuv(n);
            av_frame_free(&f);
        }
    }
    return (cpu_ms() - start) / frames;
}

int main(int argc, char **argv)
{
    if (argc != 9)
        die("BASE PIP LOGO GRAPHICS LAYERS moving|still ROUNDS FRAMES");
    layer_count = atoi(argv[5]);
    moving = !strcmp(argv[6], "moving");
    int rounds = atoi(argv[7]), frames = atoi(argv[8]);
    if (layer_count < 0 || layer_count > LAYERS_MAX || rounds < 1 || rounds > ROUNDS_MAX ||
        frames < 1)
        die("numbers out of range");
    layer_read(&base, argv[1], false, WIDTH, HEIGHT, PICTURES, 255);
    layer_read(&kinds[0], argv[4], true, WIDTH, HEIGHT, 1, 255);
    layer_read(&kinds[1], argv[2], false, 640, 360, PICTURES, OPACITY);
    layer_read(&kinds[2], argv[3], true, 256, 256, 1, 255);
    builder = group_builder_create(WIDTH, HEIGHT);
    filter_open();

    double psnr[CONTENDERS], ms[CONTENDERS][ROUNDS_MAX];
    struct picture *p = ours(3);
    psnr[OURS] = quality(p->plane, p->stride);
    picture_unref(&p);
    for (int n = 0; n < 4; n++) {
        AVFrame *f = filter(n);
        if (n == 3)
            psnr[FFMPEG] = quality_of_frame(f);
        else
            av_frame_free(&f);
    }
    psnr[LIBYUV] = quality_of_frame(libyuv(3));
    for (int round = 0; round < rounds; round++)
        for (int who = 0; who < CONTENDERS; who++)
            ms[who][round] = run(who, frames);
    static const char *names[] = {"ours", "ffmpeg", "libyuv"};
    printf("{\"layers\":%d,\"kernels\":\"%s\"", layer_count, compose_cpu_name());
    for (int who = 0; who < CONTENDERS; who++) {
        printf(",\"%s\":%.3f,\"%s_psnr\":%.1f", names[who], median(ms[who], rounds), names[who],
               psnr[who]);
    }
    printf("}\n");
    return 0;
}
