// Colour of decoded pictures: from any matrix and range to the farm's BT.709, limited range.
//
// All in integers, or in doubles with + - * / only where tables are made, so that every machine
// computes the same. Primaries of standard-definition video are taken for BT.709's (they differ by
// little). Wide-gamut and high-dynamic-range pictures go through a table, see colour_table.
// Thread: any.
#pragma once

#include "engine/frame/picture.h"

#include <libavutil/frame.h>

// Luma weights of red and blue, which define a Y'CbCr matrix.
struct colour_matrix {
    double red, blue;
};

// The matrix of a frame. Unspecified means what video of its size customarily is: BT.709 when it is
// at least 1280 wide or has more than 576 rows (the most that standard definition has), else
// BT.601. Other players guess alike (mpv: mp_csp_guess_colorspace), so that a film without tags
// looks the same. Spaces that are none of Y'CbCr are refused before (engine/media/shape.h).
struct colour_matrix colour_matrix_of(const AVFrame *frame);
bool colour_matrix_is_709(struct colour_matrix matrix);
// Changes a picture's planes in place from `from` to BT.709, both limited range. Luma uses the
// chroma of its 2x2 block. Premultiplied pictures must not be given.
void colour_matrix_apply(struct picture *picture, struct colour_matrix from);

enum colour_gamut {
    GAMUT_STANDARD,
    GAMUT_WIDE, // BT.2020, standard dynamic range
    GAMUT_PQ,   // BT.2020 with SMPTE ST 2084
    GAMUT_HLG,  // BT.2020 with ARIB STD-B67
};
// Of RGB, the primaries tell.
enum colour_gamut colour_gamut_of(const AVFrame *frame);

// Light, 0..65535, to the 8-bit code value of sRGB (IEC 61966-2-1): 65536 entries, made once.
const uint8_t *colour_linear_table(void);

// BT.2020 -> BT.709. High dynamic range is mapped by BT.2390-10's curve from 1000 to 203 cd/m2,
// which is the level of SDR's white (BT.2408), on the largest of R, G, B, so that hues stay; what
// is still outside BT.709 is clipped. HLG is shown as on a 1000 cd/m2 display (system gamma 1.2).
// SDR's transfer function is BT.1886 with black at 0. 65 x 33 x 33 nodes, trilinear.
// The table of a gamut takes some tenths of a second of a slow processor; each process makes it
// once: colour_table_prepare, or the first colour_table_apply.
void colour_table_prepare(enum colour_gamut gamut);
// `y`, `cb`, `cr`: 10-bit limited-range 4:2:0 planes of the picture's size; strides in bytes.
void colour_table_apply(struct picture *dst, enum colour_gamut gamut, const uint8_t *const src[3],
                        const int stride[3]);
