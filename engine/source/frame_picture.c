#include "engine/source/frame_picture.h"

#include "engine/base/thread.h"
#include "engine/compose/convert.h"
#include "engine/media/shape.h"
#include "engine/source/colour.h"

#include <errno.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>
#include <string.h>

struct frame_converter {
    int width, height, orientation;
    // The last conversion set up, and what it is for.
    struct SwsContext *scaler;
    int src_width, src_height, src_format, dst_format;
    bool full;
    AVFrame *scaled;
    struct SwsContext *widener; // to RGBA of 16 bits, of linear pictures in integers
};

struct frame_converter *frame_converter_create(int width, int height, int orientation)
{
    struct frame_converter *c = base_alloc(sizeof *c);
    c->width = width;
    c->height = height;
    c->orientation = orientation;
    return c;
}

void frame_converter_destroy(struct frame_converter **converter)
{
    struct frame_converter *c = *converter;
    if (!c)
        return;
    *converter = NULL;
    sws_freeContext(c->scaler);
    sws_freeContext(c->widener);
    av_frame_free(&c->scaled);
    free(c);
}

static int fail(struct diagnostic *reterr, int error, const char *what)
{
    return diagnostic_set(reterr, error, "picture_convert", "", "the picture's %s", what);
}

// An odd last column or row is cut, not squeezed in.
static int cut(int side, int shown)
{
    return (side & ~1) == shown ? shown : side;
}

static int set_up(struct frame_converter *c, const AVFrame *frame, int dst_format, bool full)
{
    int width = cut(frame->width, c->width), height = cut(frame->height, c->height);
    if (c->scaler && c->src_width == width && c->src_height == height &&
        c->src_format == frame->format && c->dst_format == dst_format && c->full == full)
        return 0;
    sws_freeContext(c->scaler);
    av_frame_free(&c->scaled);
    c->scaler = sws_alloc_context();
    c->scaled = av_frame_alloc();
    if (!c->scaler || !c->scaled)
        return -ENOMEM;
    int flags =
        SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
    av_opt_set_int(c->scaler, "srcw", width, 0);
    av_opt_set_int(c->scaler, "srch", height, 0);
    av_opt_set_int(c->scaler, "src_format", frame->format, 0);
    av_opt_set_int(c->scaler, "src_range", full, 0);
    av_opt_set_int(c->scaler, "dstw", c->width, 0);
    av_opt_set_int(c->scaler, "dsth", c->height, 0);
    av_opt_set_int(c->scaler, "dst_format", dst_format, 0);
    av_opt_set_int(c->scaler, "dst_range", dst_format == AV_PIX_FMT_BGRA, 0);
    av_opt_set_int(c->scaler, "sws_flags", flags, 0);
    // The same matrix on both sides: the scaler would go through 8-bit RGB otherwise. Only RGB of
    // wide gamut becomes Y'CbCr here, and that is BT.2020's.
    const int *matrix =
        sws_getCoefficients(dst_format == AV_PIX_FMT_YUV420P10LE ? SWS_CS_BT2020 : SWS_CS_ITU709);
    if (sws_init_context(c->scaler, NULL, NULL) < 0)
        return -EINVAL;
    (void)sws_setColorspaceDetails(c->scaler, matrix, full, matrix, dst_format == AV_PIX_FMT_BGRA,
                                   0, 1 << 16, 1 << 16); // fails where there is nothing to set
    c->scaled->format = dst_format;
    c->scaled->width = c->width;
    c->scaled->height = c->height;
    if (av_frame_get_buffer(c->scaled, 64) < 0)
        return -ENOMEM;
    c->src_width = width;
    c->src_height = height;
    c->src_format = frame->format;
    c->dst_format = dst_format;
    c->full = full;
    return 0;
}

static int scale(struct frame_converter *c, const AVFrame *frame, int dst_format, bool full)
{
    int error = set_up(c, frame, dst_format, full);
    if (error >= 0 && sws_scale(c->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0,
                                c->src_height, c->scaled->data, c->scaled->linesize) <= 0)
        error = -EINVAL;
    if (error < 0) {
        sws_freeContext(c->scaler);
        c->scaler = NULL;
    }
    return error;
}

static uint8_t times(int value, int alpha)
{
    int t = value * alpha + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

// Premultiplies B'G'R'A in place; true when some pixel is not opaque.
static bool premultiply_bgra(AVFrame *frame)
{
    bool transparent = false;
    for (int y = 0; y < frame->height; y++) {
        uint8_t *p = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        for (int x = 0; x < frame->width; x++, p += 4) {
            if (p[3] == 255)
                continue;
            transparent = true;
            for (int i = 0; i < 3; i++)
                p[i] = times(p[i], p[3]);
        }
    }
    return transparent;
}

static void premultiply(struct picture *p)
{
    for (int y = 0; y < p->height; y++) {
        uint8_t *luma = p->plane[0] + y * p->stride[0], *a = p->plane[3] + y * p->stride[3];
        for (int x = 0; x < p->width; x++)
            luma[x] = times(luma[x], a[x]);
    }
    for (int y = 0; y < p->height / 2; y++) {
        const uint8_t *a = p->plane[3] + 2 * y * p->stride[3], *b = a + p->stride[3];
        uint8_t *u = p->plane[1] + y * p->stride[1], *v = p->plane[2] + y * p->stride[2];
        for (int x = 0; x < p->width / 2; x++) {
            int mean = (a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2;
            u[x] = times(u[x], mean);
            v[x] = times(v[x], mean);
        }
    }
}

static void copy_planes(struct picture *dst, uint8_t *const *data, const int *stride)
{
    for (int i = 0; i < picture_planes(dst); i++)
        for (int y = 0; y < plane_height(dst, i); y++)
            memcpy(dst->plane[i] + y * dst->stride[i], data[i] + (ptrdiff_t)y * stride[i],
                   (size_t)plane_width(dst, i));
}

static void release_frame(void *opaque)
{
    AVFrame *frame = opaque;
    av_frame_free(&frame);
}

static int wrap(const struct frame_converter *c, const AVFrame *frame, struct picture **ret)
{
    AVFrame *copy = av_frame_clone(frame);
    if (!copy)
        return -ENOMEM;
    ptrdiff_t stride[4] = {copy->linesize[0], copy->linesize[1], copy->linesize[2]};
    *ret =
        picture_wrap(PICTURE_OPAQUE, c->width, c->height, copy->data, stride, release_frame, copy);
    return 0;
}

static int from_rgb(struct frame_converter *c, const AVFrame *frame, struct picture **ret)
{
    int error = scale(c, frame, AV_PIX_FMT_BGRA, frame->color_range != AVCOL_RANGE_MPEG);
    if (error < 0)
        return error;
    bool transparent = premultiply_bgra(c->scaled);
    struct picture *p = picture_create(PICTURE_ALPHA, c->width, c->height), *opaque = NULL;
    if (p)
        convert_argb32(p, c->scaled->data[0], c->scaled->linesize[0]);
    if (p && !transparent) {
        opaque = picture_create(PICTURE_OPAQUE, c->width, c->height);
        int stride[3] = {(int)p->stride[0], (int)p->stride[1], (int)p->stride[2]};
        if (opaque)
            copy_planes(opaque, p->plane, stride);
        picture_unref(&p);
        p = opaque;
    }
    if (!p)
        return -ENOMEM;
    *ret = p;
    return 0;
}

static int from_yuv(struct frame_converter *c, const AVFrame *frame, bool alpha, bool full,
                    struct picture **ret)
{
    enum colour_gamut gamut = colour_gamut_of(frame);
    if (gamut != GAMUT_STANDARD)
        alpha = false; // no such material is known; its alpha would be lost, not wrong
    int format = gamut != GAMUT_STANDARD ? AV_PIX_FMT_YUV420P10LE
                 : alpha                 ? AV_PIX_FMT_YUVA420P
                                         : AV_PIX_FMT_YUV420P;
    int error = scale(c, frame, format, full);
    if (error < 0)
        return error;
    struct picture *p = picture_create(alpha ? PICTURE_ALPHA : PICTURE_OPAQUE, c->width, c->height);
    if (!p)
        return -ENOMEM;
    if (gamut != GAMUT_STANDARD) {
        colour_table_apply(p, gamut, (const uint8_t *const *)c->scaled->data, c->scaled->linesize);
    } else {
        copy_planes(p, c->scaled->data, c->scaled->linesize);
        struct colour_matrix matrix = colour_matrix_of(frame);
        if (!colour_matrix_is_709(matrix))
            colour_matrix_apply(p, matrix);
    }
    if (alpha)
        premultiply(p);
    *ret = p;
    return 0;
}

// Light as it is stored in floating point to 0..65535; beyond white and below black it is clipped.
static int quantise_light(float light)
{
    return light >= 1 ? 65535 : light > 0 ? (int)(light * 65535 + 0.5f) : 0; // NaN: 0
}

// OpenEXR's pictures: planes of light, premultiplied where there is alpha.
static void float_row(const AVFrame *frame, int y, uint16_t *row)
{
    bool grey = frame->format == AV_PIX_FMT_GRAYF32;
    const float *g = (const float *)(frame->data[0] + (ptrdiff_t)y * frame->linesize[0]), *b = g,
                *r = g, *a = NULL;
    if (!grey) {
        b = (const float *)(frame->data[1] + (ptrdiff_t)y * frame->linesize[1]);
        r = (const float *)(frame->data[2] + (ptrdiff_t)y * frame->linesize[2]);
    }
    if (frame->format == AV_PIX_FMT_GBRAPF32)
        a = (const float *)(frame->data[3] + (ptrdiff_t)y * frame->linesize[3]);
    for (int x = 0; x < frame->width; x++, row += 4) {
        float alpha = a ? a[x] : 1, straight = alpha > 0 && alpha < 1 ? alpha : 1;
        row[0] = (uint16_t)quantise_light(r[x] / straight);
        row[1] = (uint16_t)quantise_light(g[x] / straight);
        row[2] = (uint16_t)quantise_light(b[x] / straight);
        row[3] = (uint16_t)quantise_light(alpha);
    }
}

static int widen(struct frame_converter *c, const AVFrame *frame, AVFrame *wide)
{
    c->widener = sws_getCachedContext(
        c->widener, frame->width, frame->height, frame->format, frame->width, frame->height,
        AV_PIX_FMT_RGBA64LE, SWS_POINT | SWS_ACCURATE_RND | SWS_BITEXACT, NULL, NULL, NULL);
    if (!c->widener)
        return -EINVAL;
    return sws_scale(c->widener, (const uint8_t *const *)frame->data, frame->linesize, 0,
                     frame->height, wide->data, wide->linesize) > 0
               ? 0
               : -EINVAL;
}

static bool is_float(const AVFrame *frame)
{
    return frame->format == AV_PIX_FMT_GBRPF32 || frame->format == AV_PIX_FMT_GBRAPF32 ||
           frame->format == AV_PIX_FMT_GRAYF32;
}

// Linear light, as of OpenEXR, gets sRGB's transfer curve and is RGB like any other from there on.
static int from_linear(struct frame_converter *c, const AVFrame *frame, struct picture **ret)
{
    const uint8_t *table = colour_linear_table();
    AVFrame *wide = av_frame_alloc(), *coded = av_frame_alloc();
    int error = wide && coded ? 0 : -ENOMEM;
    if (!error) {
        wide->width = coded->width = frame->width;
        wide->height = coded->height = frame->height;
        wide->format = AV_PIX_FMT_RGBA64LE;
        coded->format = AV_PIX_FMT_BGRA;
        if (av_frame_get_buffer(wide, 0) < 0 || av_frame_get_buffer(coded, 0) < 0)
            error = -ENOMEM;
    }
    if (!error && !is_float(frame))
        error = widen(c, frame, wide);
    for (int y = 0; !error && y < frame->height; y++) {
        uint16_t *from = (uint16_t *)(void *)(wide->data[0] + (ptrdiff_t)y * wide->linesize[0]);
        uint8_t *to = coded->data[0] + (ptrdiff_t)y * coded->linesize[0];
        if (is_float(frame))
            float_row(frame, y, from);
        for (int x = 0; x < frame->width; x++, from += 4, to += 4) {
            for (int i = 0; i < 3; i++)
                to[i] = table[from[2 - i]];
            to[3] = (uint8_t)((from[3] * 255 + 32767) / 65535);
        }
    }
    av_frame_free(&wide);
    if (!error)
        error = from_rgb(c, coded, ret);
    av_frame_free(&coded);
    return error;
}

// Plane `i` of src, transposed and mirrored, into dst.
static void turn_plane(struct picture *dst, const struct picture *src, int i, int orientation)
{
    int width = plane_width(dst, i), height = plane_height(dst, i);
    ptrdiff_t step_x = 1, step_y = src->stride[i];
    if (orientation & MEDIA_TRANSPOSED) {
        step_x = src->stride[i];
        step_y = 1;
    }
    const uint8_t *from = src->plane[i];
    if (orientation & MEDIA_MIRRORED_X) {
        from += step_x * (width - 1);
        step_x = -step_x;
    }
    if (orientation & MEDIA_MIRRORED_Y) {
        from += step_y * (height - 1);
        step_y = -step_y;
    }
    for (int y = 0; y < height; y++, from += step_y) {
        uint8_t *to = dst->plane[i] + y * dst->stride[i];
        const uint8_t *p = from;
        for (int x = 0; x < width; x++, p += step_x)
            to[x] = *p;
    }
}

static int turn(struct picture **picture, int orientation)
{
    const struct picture *src = *picture;
    bool transposed = orientation & MEDIA_TRANSPOSED;
    struct picture *dst = picture_create(src->format, transposed ? src->height : src->width,
                                         transposed ? src->width : src->height);
    if (!dst)
        return -ENOMEM;
    for (int i = 0; i < picture_planes(dst); i++)
        turn_plane(dst, src, i, orientation);
    picture_unref(picture);
    *picture = dst;
    return 0;
}

static bool full_range(const AVFrame *frame)
{
    switch (frame->format) {
    case AV_PIX_FMT_YUVJ411P:
    case AV_PIX_FMT_YUVJ420P:
    case AV_PIX_FMT_YUVJ422P:
    case AV_PIX_FMT_YUVJ440P:
    case AV_PIX_FMT_YUVJ444P:
        return true;
    default:
        return frame->color_range == AVCOL_RANGE_JPEG;
    }
}

int frame_converter_run(struct frame_converter *c, const AVFrame *frame, struct picture **ret,
                        struct diagnostic *reterr)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    if (!format || format->flags & AV_PIX_FMT_FLAG_HWACCEL)
        return fail(reterr, -EINVAL, "pixel format is unknown");
    // Grey counts as RGB: its one component is full range.
    bool rgb =
        format->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL) || format->nb_components < 3;
    bool alpha = format->flags & AV_PIX_FMT_FLAG_ALPHA, full = full_range(frame);
    if (media_space_refused(frame->colorspace))
        return fail(reterr, -EINVAL, "colour space cannot be converted");
    bool linear = rgb && (frame->color_trc == AVCOL_TRC_LINEAR || is_float(frame));
    bool wide = rgb && colour_gamut_of(frame) != GAMUT_STANDARD;
    struct picture *picture = NULL;
    int error;
    if (frame->format == AV_PIX_FMT_YUV420P && !full && colour_gamut_of(frame) == GAMUT_STANDARD &&
        colour_matrix_is_709(colour_matrix_of(frame)) && c->width == (frame->width & ~1) &&
        c->height == (frame->height & ~1))
        error = wrap(c, frame, &picture);
    else if (linear)
        error = from_linear(c, frame, &picture);
    else if (wide)
        error = from_yuv(c, frame, false, true, &picture);
    else if (rgb)
        error = from_rgb(c, frame, &picture);
    else
        error = from_yuv(c, frame, alpha, full, &picture);
    if (error >= 0 && c->orientation)
        error = turn(&picture, c->orientation);
    if (error < 0) {
        picture_unref(&picture);
        return fail(reterr, error,
                    error == -ENOMEM ? "memory cannot be had" : "pixel format cannot be converted");
    }
    *ret = picture;
    return 0;
}
