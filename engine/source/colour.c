#include "engine/source/colour.h"

#include <math.h>

static const struct colour_matrix bt709 = {0.2126, 0.0722}, bt601 = {0.299, 0.114},
                                  bt2020 = {0.2627, 0.0593}, smpte240 = {0.212, 0.087},
                                  fcc = {0.30, 0.11};

struct colour_matrix colour_matrix_of(const AVFrame *frame)
{
    switch ((int)frame->colorspace) {
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M:
        return bt601;
    case AVCOL_SPC_FCC:
        return fcc;
    case AVCOL_SPC_SMPTE240M:
        return smpte240;
    case AVCOL_SPC_BT2020_NCL:
        return bt2020;
    case AVCOL_SPC_UNSPECIFIED:
        return frame->width >= 1280 || frame->height > 576 ? bt709 : bt601;
    default:
        return bt709;
    }
}

bool colour_matrix_is_709(struct colour_matrix m)
{
    return m.red == bt709.red && m.blue == bt709.blue;
}

enum colour_gamut colour_gamut_of(const AVFrame *frame)
{
    if (frame->color_trc == AVCOL_TRC_SMPTE2084)
        return GAMUT_PQ;
    if (frame->color_trc == AVCOL_TRC_ARIB_STD_B67)
        return GAMUT_HLG;
    if (frame->colorspace == AVCOL_SPC_BT2020_NCL ||
        (frame->colorspace == AVCOL_SPC_RGB && frame->color_primaries == AVCOL_PRI_BT2020))
        return GAMUT_WIDE;
    return GAMUT_STANDARD;
}

// Code values relative to the offsets, 16 fractional bits: y += cb * y_cb + cr * y_cr, ...
struct factors {
    int y_cb, y_cr, cb_cb, cb_cr, cr_cb, cr_cr;
};

static int fixed(double value)
{
    return (int)floor(value * 65536 + 0.5);
}

static struct factors make_factors(struct colour_matrix from)
{
    double green = 1 - from.red - from.blue, to_green = 1 - bt709.red - bt709.blue;
    // R, G, B as y + factor * chroma, each for cb and cr.
    double r[2] = {0, 2 * (1 - from.red)}, b[2] = {2 * (1 - from.blue), 0};
    double g[2] = {-from.blue * b[0] / green, -from.red * r[1] / green};
    double y[2], cb[2], cr[2];
    for (int i = 0; i < 2; i++) {
        y[i] = bt709.red * r[i] + to_green * g[i] + bt709.blue * b[i];
        cb[i] = (b[i] - y[i]) / (2 * (1 - bt709.blue));
        cr[i] = (r[i] - y[i]) / (2 * (1 - bt709.red));
    }
    double scale = 219.0 / 224.0;
    return (struct factors){.y_cb = fixed(y[0] * scale),
                            .y_cr = fixed(y[1] * scale),
                            .cb_cb = fixed(cb[0]),
                            .cb_cr = fixed(cb[1]),
                            .cr_cb = fixed(cr[0]),
                            .cr_cr = fixed(cr[1])};
}

static uint8_t clip(int value)
{
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value;
}

void colour_matrix_apply(struct picture *p, struct colour_matrix from)
{
    struct factors f = make_factors(from);
    for (int y = 0; y < p->height / 2; y++) {
        uint8_t *row[2] = {p->plane[0] + 2 * y * p->stride[0],
                           p->plane[0] + (2 * y + 1) * p->stride[0]};
        uint8_t *u = p->plane[1] + y * p->stride[1], *v = p->plane[2] + y * p->stride[2];
        for (int x = 0; x < p->width / 2; x++) {
            int cb = u[x] - 128, cr = v[x] - 128;
            int more = (cb * f.y_cb + cr * f.y_cr + 32768) >> 16;
            for (int i = 0; i < 4; i++) {
                uint8_t *luma = row[i >> 1] + 2 * x + (i & 1);
                *luma = clip(*luma + more);
            }
            u[x] = clip(128 + ((cb * f.cb_cb + cr * f.cb_cr + 32768) >> 16));
            v[x] = clip(128 + ((cb * f.cr_cb + cr * f.cr_cr + 32768) >> 16));
        }
    }
}
