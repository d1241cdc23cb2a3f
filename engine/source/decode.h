// Exact access to the pictures of a file: picture i is the same whether the ones before it were
// asked for or not.
//
// How: the index (engine/media/index.h) names every picture; decoding starts at the last key frame
// at or before the wanted one. A decoder that does not give that picture there (open GOPs, gradual
// refresh) is started at an earlier key, at last at the start of the file.
// It decodes in the process that calls it: for those that strangers' files may end. Others take
// jailed.h.
// Thread: a picture decoder belongs to one thread.
#pragma once

#include "engine/base/hang.h"
#include "engine/frame/picture.h"
#include "engine/media/index.h"

struct picture_decoder;
// Uses "<path>.index"; makes one in memory when that is missing or damaged.
// `threads`: of pictures and slices, where the codec can; 0: what decode_order.h says. The bytes do
// not depend on it.
int picture_decoder_open(const char *path, int threads, struct picture_decoder **ret,
                         struct diagnostic *reterr);
// The same of files that are open; the decoder's from here on, even if it fails.
struct decoder_files {
    const char *path;  // for messages
    int media, index;  // index -1: there is none
    hang_board *board; // says what it does; may be NULL
};
int picture_decoder_open_files(const struct decoder_files *files, int threads,
                               struct picture_decoder **ret, struct diagnostic *reterr);
void picture_decoder_close(struct picture_decoder **decoder);

const struct media_index *picture_decoder_index(const struct picture_decoder *decoder);
// As shown; constant.
void picture_decoder_size(const struct picture_decoder *decoder, int *ret_width, int *ret_height);
// -EIO: the material is broken here.
int picture_decoder_get(struct picture_decoder *decoder, int64_t i, struct picture **ret,
                        struct diagnostic *reterr);
