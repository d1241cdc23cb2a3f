// Makes whole pictures of interlaced ones, one for one: the picture depends on its frame and on the
// frames just before and after it, and on nothing else. Progressive frames pass unchanged.
// Thread: a deinterlacer belongs to one thread.
#pragma once

#include <libavutil/frame.h>

struct deinterlacer;
struct deinterlacer *deinterlacer_create(void);
void deinterlacer_destroy(struct deinterlacer **deinterlacer);
void deinterlacer_reset(struct deinterlacer *deinterlacer); // forgets the frames before
// `frame` NULL: the end. Takes the frame's contents. 0 or a negative errno.
int deinterlacer_push(struct deinterlacer *deinterlacer, AVFrame *frame);
// -EAGAIN: push more; -ENODATA: the end. The frame's pts is the one that it was pushed with.
int deinterlacer_pull(struct deinterlacer *deinterlacer, AVFrame *ret);
