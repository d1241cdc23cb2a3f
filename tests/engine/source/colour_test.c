// Conversion of decoded frames: colours against the formulas of ITU-R BT.601, BT.709 and BT.2100 in
// floating point, shapes against hand-made pictures.
#include "engine/media/shape.h"
#include "engine/source/colour.h"
#include "engine/source/frame_picture.h"
#include "tests/check.h"

#include <errno.h>
#include <libavutil/display.h>
#include <libavutil/log.h>
#include <math.h>

static AVFrame *frame_make(enum AVPixelFormat format, int width, int height)
{
    AVFrame *f = av_frame_alloc();
    f->format = format;
    f->width = width;
    f->height = height;
    if (!f || av_frame_get_buffer(f, 0) < 0)
        exit(EXIT_FAILURE);
    return f;
}

static void plane_fill(AVFrame *f, int plane, int height, int value, int bytes)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < f->linesize[plane] / bytes; x++)
            if (bytes == 1)
                f->data[plane][y * f->linesize[plane] + x] = (uint8_t)value;
            else
                ((uint16_t *)(f->data[plane] + y * f->linesize[plane]))[x] = (uint16_t)value;
}

static struct picture *convert(AVFrame *f, int width, int height, int orientation)
{
    struct frame_converter *c = frame_converter_create(width, height, orientation);
    struct picture *p = NULL;
    struct diagnostic problem = {0};
    CHECK_OK(frame_converter_run(c, f, &p, &problem));
    frame_converter_destroy(&c);
    av_frame_free(&f);
    if (!p)
        exit(EXIT_FAILURE);
    return p;
}

// R'G'B' 0..1 in a Y'CbCr matrix of weights kr, kb, at `depth` bits.
static void encode(const double rgb[3], double kr, double kb, bool full, int depth, int ret[3])
{
    double y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
    double cb = (rgb[2] - y) / (2 * (1 - kb)), cr = (rgb[0] - y) / (2 * (1 - kr));
    double unit = 1 << (depth - 8);
    ret[0] = (int)lround(unit * (full ? 255 * y : 16 + 219 * y));
    ret[1] = (int)lround(unit * (128 + (full ? 255 : 224) * cb));
    ret[2] = (int)lround(unit * (128 + (full ? 255 : 224) * cr));
}

static void check_colour(const struct picture *p, const int expected[3], int tolerance,
                         const char *what)
{
    int failures = check_failures;
    for (int i = 0; i < 3; i++) {
        int x = plane_width(p, i) / 2, y = plane_height(p, i) / 2;
        int value = p->plane[i][y * p->stride[i] + x];
        CHECK(abs(value - expected[i]), <=, tolerance);
        if (check_failures != failures)
            fprintf(stderr, "%s, plane %d: %d, not %d\n", what, i, value, expected[i]);
    }
}

static const double colours[][3] = {{1, 1, 1}, {0, 0, 0},       {0.75, 0, 0},     {0, 0.75, 0},
                                    {0, 0, 1}, {0.5, 0.5, 0.5}, {0.9, 0.6, 0.45}, {0.2, 0.7, 0.8}};
#define COLOURS (sizeof colours / sizeof *colours)

struct yuv {
    enum AVPixelFormat format;
    int depth, chroma_rows; // of 64
    bool full;
    enum AVColorSpace space;
    double kr, kb;
    const char *name;
};

static const struct yuv yuvs[] = {
    {AV_PIX_FMT_YUV420P, 8, 32, false, AVCOL_SPC_SMPTE170M, 0.299, 0.114, "601"},
    {AV_PIX_FMT_YUV420P, 8, 32, false, AVCOL_SPC_UNSPECIFIED, 0.299, 0.114, "small, unspecified"},
    {AV_PIX_FMT_YUV420P, 8, 32, true, AVCOL_SPC_BT709, 0.2126, 0.0722, "709 full"},
    {AV_PIX_FMT_YUVJ420P, 8, 32, false, AVCOL_SPC_BT470BG, 0.299, 0.114, "jpeg"},
    {AV_PIX_FMT_YUVJ444P, 8, 64, true, AVCOL_SPC_BT470BG, 0.299, 0.114, "jpeg 4:4:4"},
    {AV_PIX_FMT_YUV422P, 8, 64, false, AVCOL_SPC_BT709, 0.2126, 0.0722, "4:2:2"},
    {AV_PIX_FMT_YUV444P, 8, 64, false, AVCOL_SPC_SMPTE170M, 0.299, 0.114, "4:4:4 601"},
    {AV_PIX_FMT_YUV422P10LE, 10, 64, false, AVCOL_SPC_BT709, 0.2126, 0.0722, "10 bit"},
    {AV_PIX_FMT_YUV420P12LE, 12, 32, false, AVCOL_SPC_BT709, 0.2126, 0.0722, "12 bit"},
    {AV_PIX_FMT_YUV444P10LE, 10, 64, true, AVCOL_SPC_SMPTE170M, 0.299, 0.114, "10 bit full 601"},
};

static void test_yuv(void)
{
    for (size_t i = 0; i < sizeof yuvs / sizeof *yuvs; i++)
        for (size_t k = 0; k < COLOURS; k++) {
            const struct yuv *y = &yuvs[i];
            bool full = y->full || y->format == AV_PIX_FMT_YUVJ420P;
            int in[3], expected[3];
            encode(colours[k], y->kr, y->kb, full, y->depth, in);
            encode(colours[k], 0.2126, 0.0722, false, 8, expected);
            AVFrame *f = frame_make(y->format, 64, 64);
            f->colorspace = y->space;
            f->color_range = y->full ? AVCOL_RANGE_JPEG : AVCOL_RANGE_UNSPECIFIED;
            for (int plane = 0; plane < 3; plane++) {
                int largest = (1 << y->depth) - 1;
                plane_fill(f, plane, plane ? y->chroma_rows : 64,
                           in[plane] > largest ? largest : in[plane], y->depth > 8 ? 2 : 1);
            }
            struct picture *p = convert(f, 64, 64, 0);
            CHECK(p->format, ==, PICTURE_OPAQUE);
            // Two roundings of code values, and full-range chroma of 255.5 that does not fit.
            check_colour(p, expected, 2, y->name);
            picture_unref(&p);
        }
}

static void test_plain_is_not_copied(void)
{
    AVFrame *f = frame_make(AV_PIX_FMT_YUV420P, 65, 33);
    f->colorspace = AVCOL_SPC_BT709;
    uint8_t *plane = f->data[0];
    struct picture *p = convert(f, 64, 32, 0);
    CHECK_TRUE(p->plane[0] == plane);
    CHECK(p->width, ==, 64);
    CHECK(p->height, ==, 32);
    picture_unref(&p);
}

static void test_rgb(void)
{
    static const struct {
        enum AVPixelFormat format;
        int red, green, blue, bytes;
    } kinds[] = {{AV_PIX_FMT_RGB24, 0, 1, 2, 3}, {AV_PIX_FMT_BGRA, 2, 1, 0, 4}};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < COLOURS; k++) {
            AVFrame *f = frame_make(kinds[i].format, 32, 32);
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++) {
                    uint8_t *pixel = f->data[0] + y * f->linesize[0] + x * kinds[i].bytes;
                    pixel[kinds[i].bytes - 1] = 255;
                    pixel[kinds[i].red] = (uint8_t)lround(255 * colours[k][0]);
                    pixel[kinds[i].green] = (uint8_t)lround(255 * colours[k][1]);
                    pixel[kinds[i].blue] = (uint8_t)lround(255 * colours[k][2]);
                }
            int expected[3];
            encode(colours[k], 0.2126, 0.0722, false, 8, expected);
            struct picture *p = convert(f, 32, 32, 0);
            CHECK(p->format, ==, PICTURE_OPAQUE);
            check_colour(p, expected, 1, "rgb");
            picture_unref(&p);
        }
    for (int grey = 0; grey < 256; grey += 51) {
        AVFrame *f = frame_make(AV_PIX_FMT_GRAY8, 32, 32);
        plane_fill(f, 0, 32, grey, 1);
        int expected[3] = {(int)lround(16 + 219 * grey / 255.0), 128, 128};
        struct picture *p = convert(f, 32, 32, 0);
        check_colour(p, expected, 1, "grey");
        picture_unref(&p);
    }
}

// Premultiplied as picture.h says, for a source with every alpha.
static void test_alpha(void)
{
    AVFrame *f = frame_make(AV_PIX_FMT_YUVA420P, 64, 64);
    f->colorspace = AVCOL_SPC_BT709;
    plane_fill(f, 0, 64, 180, 1);
    plane_fill(f, 1, 32, 90, 1);
    plane_fill(f, 2, 32, 200, 1);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++)
            f->data[3][y * f->linesize[3] + x] = (uint8_t)(y * 64 + x);
    struct picture *p = convert(f, 64, 64, 0);
    CHECK(p->format, ==, PICTURE_ALPHA);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++) {
            int a = (y * 64 + x) & 255;
            CHECK(p->plane[3][y * p->stride[3] + x], ==, a);
            CHECK(p->plane[0][y * p->stride[0] + x], ==, lround(180 * a / 255.0));
        }
    for (int y = 0; y < 32; y++)
        for (int x = 0; x < 32; x++) {
            const uint8_t *a = p->plane[3] + 2 * y * p->stride[3] + 2 * x;
            int mean = (a[0] + a[1] + a[p->stride[3]] + a[p->stride[3] + 1] + 2) >> 2;
            CHECK(p->plane[1][y * p->stride[1] + x], ==, lround(90 * mean / 255.0));
            CHECK(p->plane[2][y * p->stride[2] + x], ==, lround(200 * mean / 255.0));
        }
    picture_unref(&p);
}

// A quarter of the picture is bright; turning must bring it to the right corner.
static void test_orientation(void)
{
    // Degrees anticlockwise, mirrored, and the corner: 0 upper left, 1 upper right, 2 lower left,
    // 3 lower right.
    static const struct {
        double degrees;
        bool mirrored;
        int corner;
    } turns[] = {{0, false, 0}, {-90, false, 1}, {180, false, 3}, {90, false, 2}, {0, true, 1}};
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        int32_t matrix[9];
        av_display_rotation_set(matrix, -turns[i].degrees); // takes clockwise degrees
        if (turns[i].mirrored)
            av_display_matrix_flip(matrix, 1, 0);
        AVFrame *f = frame_make(AV_PIX_FMT_YUV420P, 64, 32);
        f->colorspace = AVCOL_SPC_BT709;
        plane_fill(f, 0, 32, 50, 1);
        plane_fill(f, 1, 16, 100, 1);
        plane_fill(f, 2, 16, 128, 1);
        for (int y = 0; y < 16; y++)
            memset(f->data[0] + y * f->linesize[0], 200, 32);
        for (int y = 0; y < 8; y++)
            memset(f->data[1] + y * f->linesize[1], 150, 16);
        int orientation = media_orientation(matrix);
        bool turned = turns[i].degrees == 90 || turns[i].degrees == -90;
        CHECK(!!(orientation & MEDIA_TRANSPOSED), ==, turned);
        struct picture *p = convert(f, 64, 32, orientation);
        CHECK(p->width, ==, turned ? 32 : 64);
        CHECK(p->height, ==, turned ? 64 : 32);
        for (int corner = 0; corner < 4; corner++) {
            int x = corner & 1 ? p->width - 4 : 2, y = corner & 2 ? p->height - 4 : 2;
            bool bright = corner == turns[i].corner;
            CHECK(p->plane[0][y * p->stride[0] + x], ==, bright ? 200 : 50);
            CHECK(p->plane[1][y / 2 * p->stride[1] + x / 2], ==, bright ? 150 : 100);
        }
        picture_unref(&p);
    }
    int32_t slanted[9];
    av_display_rotation_set(slanted, 30);
    CHECK(media_orientation(slanted), ==, 0);
}

static void test_sizes(void)
{
    int width, height;
    media_shown_size(720, 576, (AVRational){64, 45}, &width, &height);
    CHECK(width, ==, 1024);
    CHECK(height, ==, 576);
    media_shown_size(720, 480, (AVRational){8, 9}, &width, &height);
    CHECK(width, ==, 720);
    CHECK(height, ==, 540);
    media_shown_size(1, 1, (AVRational){0, 1}, &width, &height);
    CHECK(width, ==, 2);
    CHECK(height, ==, 2);
    media_shown_size(1921, 1081, (AVRational){1, 1}, &width, &height);
    CHECK(width, ==, 1920);
    CHECK(height, ==, 1080);
    media_shown_size(640, 480, (AVRational){10000, 1}, &width, &height);
    CHECK(width, ==, 640);
}

static double pq(double nits) // SMPTE ST 2084 inverse EOTF
{
    double p = pow(nits / 10000, 0.1593017578125);
    return pow((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p), 78.84375);
}

static void hdr_colour(enum AVColorTransferCharacteristic trc, double r, double g, double b,
                       int ret[3])
{
    const double rgb[3] = {r, g, b};
    int in[3];
    encode(rgb, 0.2627, 0.0593, false, 10, in);
    AVFrame *f = frame_make(AV_PIX_FMT_YUV420P10LE, 64, 64);
    f->colorspace = AVCOL_SPC_BT2020_NCL;
    f->color_primaries = AVCOL_PRI_BT2020;
    f->color_trc = trc;
    for (int plane = 0; plane < 3; plane++)
        plane_fill(f, plane, plane ? 32 : 64, in[plane], 2);
    struct picture *p = convert(f, 64, 64, 0);
    for (int i = 0; i < 3; i++)
        ret[i] = p->plane[i][8 * p->stride[i] + 8];
    picture_unref(&p);
}

static void test_hdr(void)
{
    int out[3], last = 0;
    // 1000 cd/m2 is SDR's white and black stays black, both neutral.
    hdr_colour(AVCOL_TRC_SMPTE2084, pq(1000), pq(1000), pq(1000), out);
    CHECK(abs(out[0] - 235), <=, 1);
    CHECK(abs(out[1] - 128) + abs(out[2] - 128), <=, 1);
    hdr_colour(AVCOL_TRC_SMPTE2084, 0, 0, 0, out);
    CHECK(abs(out[0] - 16), <=, 1);
    hdr_colour(AVCOL_TRC_ARIB_STD_B67, 1, 1, 1, out);
    CHECK(abs(out[0] - 235), <=, 1);
    // Below the knee light is as it was: 20 cd/m2 of 203 is (20/203)^(1/2.4) of the signal.
    hdr_colour(AVCOL_TRC_SMPTE2084, pq(20), pq(20), pq(20), out);
    CHECK(abs(out[0] - (int)lround(16 + 219 * pow(20 / 203.0, 1 / 2.4))), <=, 2);
    // Brighter is never darker.
    for (int nits = 1; nits < 1200; nits += 7) {
        hdr_colour(AVCOL_TRC_SMPTE2084, pq(nits), pq(nits), pq(nits), out);
        CHECK(out[0], >=, last);
        last = out[0];
    }
    // BT.2020 in standard range: greys keep their level; its green lies outside BT.709.
    hdr_colour(AVCOL_TRC_BT2020_10, 0.5, 0.5, 0.5, out);
    CHECK(abs(out[0] - (int)lround(16 + 219 * 0.5)), <=, 1);
    hdr_colour(AVCOL_TRC_BT2020_10, 0, 1, 0, out);
    const double green[3] = {0, 1, 0};
    int expected[3];
    encode(green, 0.2126, 0.0722, false, 8, expected);
    for (int i = 0; i < 3; i++)
        CHECK(abs(out[i] - expected[i]), <=, 3);
}

// Without tags the size decides: standard definition has at most 576 rows and less than 1280
// columns.
static void test_untagged(void)
{
    static const struct {
        int width, height;
        bool bt709;
    } sizes[] = {{720, 576, false},  {720, 480, false}, {1024, 576, false}, {640, 360, false},
                 {1280, 534, true},  {1280, 720, true}, {960, 720, true},   {1920, 800, true},
                 {1278, 576, false}, {576, 1024, true}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < COLOURS; k++) {
            int in[3], expected[3];
            bool hd = sizes[i].bt709;
            encode(colours[k], hd ? 0.2126 : 0.299, hd ? 0.0722 : 0.114, false, 8, in);
            encode(colours[k], 0.2126, 0.0722, false, 8, expected);
            AVFrame *f = frame_make(AV_PIX_FMT_YUV420P, sizes[i].width, sizes[i].height);
            for (int plane = 0; plane < 3; plane++)
                plane_fill(f, plane, sizes[i].height / (plane ? 2 : 1), in[plane], 1);
            struct picture *p = convert(f, sizes[i].width, sizes[i].height, 0);
            check_colour(p, expected, hd ? 0 : 2, "without tags");
            picture_unref(&p);
        }
}

static double srgb(double light) // IEC 61966-2-1
{
    light = fmin(fmax(light, 0), 1);
    return light <= 0.0031308 ? 12.92 * light : 1.055 * pow(light, 1 / 2.4) - 0.055;
}

// OpenEXR's planes hold light: 0.18 is a middle grey of code value 118, not 46.
static void test_linear(void)
{
    static const double lights[][3] = {{0, 0, 0},       {1, 1, 1},    {0.18, 0.18, 0.18},
                                       {0.5, 0.1, 0.9}, {4, 0.25, 0}, {0.002, 0.002, 0.002}};
    for (size_t k = 0; k < sizeof lights / sizeof *lights; k++) {
        for (int alpha = 0; alpha < 2; alpha++) {
            AVFrame *f = frame_make(alpha ? AV_PIX_FMT_GBRAPF32 : AV_PIX_FMT_GBRPF32, 32, 32);
            static const int channel[] = {1, 2, 0};
            for (int plane = 0; plane < 3 + alpha; plane++)
                for (int y = 0; y < 32; y++)
                    for (int x = 0; x < 32; x++)
                        ((float *)(void *)(f->data[plane] + y * f->linesize[plane]))[x] =
                            plane == 3 ? 0.5f
                                       : (float)lights[k][channel[plane]] / (float)(1 + alpha);
            double code[3];
            int expected[3];
            for (int i = 0; i < 3; i++)
                code[i] = srgb(lights[k][i]);
            encode(code, 0.2126, 0.0722, false, 8, expected);
            struct picture *p = convert(f, 32, 32, 0);
            CHECK(p->format, ==, alpha ? PICTURE_ALPHA : PICTURE_OPAQUE);
            for (int i = 0; alpha && i < 3; i++) // premultiplied by a half
                expected[i] = (int)lround(expected[i] * 128 / 255.0);
            check_colour(p, expected, 1, "linear light");
            picture_unref(&p);
        }
    }
    AVFrame *f = frame_make(AV_PIX_FMT_GBRP16, 32, 32);
    f->color_trc = AVCOL_TRC_LINEAR;
    for (int plane = 0; plane < 3; plane++)
        plane_fill(f, plane, 32, (int)lround(0.18 * 65535), 2);
    struct picture *p = convert(f, 32, 32, 0);
    int expected[3] = {(int)lround(16 + 219 * srgb(0.18)), 128, 128};
    check_colour(p, expected, 1, "linear light in integers");
    picture_unref(&p);
}

// RGB of high dynamic range is mapped as Y'CbCr is. Below the knee the whole way is computed here:
// light, BT.2087's matrix, and BT.1886 with white at 203 cd/m2.
static void test_hdr_rgb(void)
{
    static const double lights[][3] = {{1000, 1000, 1000}, {0, 0, 0}, {20, 20, 20}, {30, 12, 8},
                                       {14, 25, 11},       {9, 9, 28}}; // within BT.709
    static const double m[3][3] = {
        {1.6605, -0.5876, -0.0728}, {-0.1246, 1.1329, -0.0083}, {-0.0182, -0.1006, 1.1187}};
    for (size_t k = 0; k < sizeof lights / sizeof *lights; k++) {
        AVFrame *f = frame_make(AV_PIX_FMT_GBRP10LE, 64, 64);
        f->colorspace = AVCOL_SPC_RGB;
        f->color_primaries = AVCOL_PRI_BT2020;
        f->color_trc = AVCOL_TRC_SMPTE2084;
        static const int channel[] = {1, 2, 0};
        for (int plane = 0; plane < 3; plane++)
            plane_fill(f, plane, 64, (int)lround(1023 * pq(lights[k][channel[plane]])), 2);
        double code[3];
        int expected[3];
        for (int i = 0; i < 3; i++) {
            double light = m[i][0] * lights[k][0] + m[i][1] * lights[k][1] + m[i][2] * lights[k][2];
            code[i] = pow(fmin(fmax(light, 0) / 203, 1), 1 / 2.4);
        }
        encode(code, 0.2126, 0.0722, false, 8, expected);
        struct picture *p = convert(f, 64, 64, 0);
        // Between the table's nodes saturated colours are off by up to 4; greys stand on its axis.
        check_colour(p, expected, k < 3 ? 1 : 4, "HDR in RGB");
        picture_unref(&p);
    }
}

static void test_refused_spaces(void)
{
    static const enum AVColorSpace spaces[] = {AVCOL_SPC_YCGCO, AVCOL_SPC_ICTCP,
                                               AVCOL_SPC_BT2020_CL, AVCOL_SPC_SMPTE2085};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        AVFrame *f = frame_make(AV_PIX_FMT_YUV420P, 64, 64);
        f->colorspace = spaces[i];
        struct frame_converter *c = frame_converter_create(64, 64, 0);
        struct picture *p = NULL;
        struct diagnostic problem = {0};
        CHECK_ERROR(frame_converter_run(c, f, &p, &problem), -EINVAL);
        CHECK_TRUE(strstr(problem.text, "colour space"));
        frame_converter_destroy(&c);
        av_frame_free(&f);
    }
}

int main(void)
{
    av_log_set_level(AV_LOG_QUIET);
    test_yuv();
    test_plain_is_not_copied();
    test_rgb();
    test_alpha();
    test_orientation();
    test_sizes();
    test_hdr();
    test_untagged();
    test_linear();
    test_hdr_rgb();
    test_refused_spaces();
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
