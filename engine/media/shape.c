#include "engine/media/shape.h"

#include "engine/media/demux.h"

#include <libavutil/pixdesc.h>
#include <stdlib.h>

int media_orientation(const int32_t m[9])
{
    // The matrix maps source (x, y) to (a x + c y, b x + d y).
    int64_t a = m[0], b = m[1], c = m[3], d = m[4];
    int64_t straight = llabs(a) + llabs(d), turned = llabs(b) + llabs(c);
    if ((straight < turned ? straight : turned) * 64 > straight + turned || straight == turned)
        return 0;
    if (straight > turned)
        return (a < 0 ? MEDIA_MIRRORED_X : 0) | (d < 0 ? MEDIA_MIRRORED_Y : 0);
    return MEDIA_TRANSPOSED | (c < 0 ? MEDIA_MIRRORED_X : 0) | (b < 0 ? MEDIA_MIRRORED_Y : 0);
}

void media_shown_size(int width, int height, AVRational aspect, int *ret_width, int *ret_height)
{
    int64_t w = width, h = height;
    if (aspect.num > 0 && aspect.den > 0 && aspect.num != aspect.den) {
        if (aspect.num > aspect.den)
            w = (w * aspect.num + aspect.den / 2) / aspect.den;
        else
            h = (h * aspect.den + aspect.num / 2) / aspect.num;
    }
    // An absurd aspect is a damaged header: show the pixels as they are.
    if (w > MEDIA_SIDE_MAX || h > MEDIA_SIDE_MAX || w > 16 * (int64_t)width ||
        h > 16 * (int64_t)height) {
        w = width;
        h = height;
    }
    *ret_width = w < 2 ? 2 : (int)(w & ~INT64_C(1));
    *ret_height = h < 2 ? 2 : (int)(h & ~INT64_C(1));
}

const char *media_space_refused(enum AVColorSpace space)
{
    switch ((int)space) {
    case AVCOL_SPC_YCGCO:
    case AVCOL_SPC_BT2020_CL:
    case AVCOL_SPC_SMPTE2085:
    case AVCOL_SPC_CHROMA_DERIVED_NCL:
    case AVCOL_SPC_CHROMA_DERIVED_CL:
    case AVCOL_SPC_ICTCP:
        return av_color_space_name(space);
    default:
        return NULL;
    }
}
