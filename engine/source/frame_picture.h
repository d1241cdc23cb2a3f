// Decoded frames of FFmpeg -> pictures of the farm.
//
// What is in the farm's layout already is not copied. Everything else goes through swscale with the
// flags that make it exact on every processor, for subsampling, depth, range and size only; matrix,
// gamut, premultiplication and turning are ours.
// Thread: a converter belongs to one thread.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/frame/picture.h"

#include <libavutil/frame.h>

struct frame_converter;
// `width` x `height`: with square pixels, before orientation (engine/media/shape.h); even.
struct frame_converter *frame_converter_create(int width, int height, int orientation);
void frame_converter_destroy(struct frame_converter **converter);
// -ENOMEM, or -EINVAL for pixel formats that cannot be read.
int frame_converter_run(struct frame_converter *converter, const AVFrame *frame,
                        struct picture **ret, struct diagnostic *reterr);
