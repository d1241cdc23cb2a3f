// Exact access to the pictures of a file: picture i is the same whether the ones before it were
// asked for or not.
//
// How: the index (engine/media/index.h) names every picture; decoding starts at the last key frame
// at or before the wanted one. A decoder that does not give that picture there (open GOPs, gradual
// refresh) is started at an earlier key, at last at the start of the file.
// Thread: a picture decoder belongs to one thread.
#pragma once

#include "engine/frame/picture.h"
#include "engine/media/index.h"

// Threads of a decoder that is not told otherwise: 1, since one for each clip leaves room for other
// clips. For tests of purity VISTTER_DECODER_THREADS=1..16 in the environment asks for others;
// -EINVAL when it says anything else.
int picture_decoder_threads(struct diagnostic *reterr);

struct picture_decoder;
// Uses "<path>.index"; makes one in memory when that is missing or damaged.
// `threads`: of pictures and slices, where the codec can; 0: as above. The bytes do not depend on
// it.
int picture_decoder_open(const char *path, int threads, struct picture_decoder **ret,
                         struct diagnostic *reterr);
void picture_decoder_close(struct picture_decoder **decoder);

// The first picture of a file. One at a time in a process: large stills take much memory while they
// are decoded. Thread: any.
int picture_decode_still(const char *path, struct picture **ret, struct diagnostic *reterr);

const struct media_index *picture_decoder_index(const struct picture_decoder *decoder);
// As shown; constant.
void picture_decoder_size(const struct picture_decoder *decoder, int *ret_width, int *ret_height);
// -EIO: the material is broken here.
int picture_decoder_get(struct picture_decoder *decoder, int64_t i, struct picture **ret,
                        struct diagnostic *reterr);
