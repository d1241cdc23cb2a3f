// Several GOPs at once: a GOP knows nothing of the one before, so the next may begin in another
// thread ("lane") while it is still being encoded. The bytes and their order are those of one lane.
//
// As long as one processor keeps up, each GOP is done soon after its last picture and nothing
// waits. Where it does not, packets lag by at most the part of a GOP that one lane is behind at its
// end, since those of a GOP are given once the GOP before is whole. (x264's own threads are no way:
// with a VBV its bytes differ from run to run, with slices too; see ARCHITECTURE.)
//
// Thread: gop_encoder_picture by one; the callbacks come from lanes, packets one at a time.
#pragma once

#include "edge/encode/video_encoder.h"
#include "edge/mix/programme.h"

#define GOP_LANES_MAX 4

struct gop_encoder_config {
    const char *name; // of the threads
    // on_packet: must neither block nor call back
    struct video_encoder_config video;
    int lanes; // 1 .. GOP_LANES_MAX
    // Picture `n` has been encoded in `ns`, or could not be (`result`). `opaque` is the video's.
    void (*on_done)(void *opaque, int64_t n, int result, int64_t ns);
};

struct gop_encoder;
int gop_encoder_create(const struct gop_encoder_config *config, struct gop_encoder **ret,
                       struct diagnostic *reterr);
void gop_encoder_destroy(struct gop_encoder **encoder); // gives all that is inside, joins
// Never waits. -EINVAL when the frame number does not rise.
int gop_encoder_picture(struct gop_encoder *encoder, const struct programme_frame *frame);
// While idle, pictures that wait are let go instead of being encoded. Thread: any.
void gop_encoder_set_idle(struct gop_encoder *encoder, bool idle);
// Pictures that are not encoded yet. Thread: any.
int gop_encoder_waiting(struct gop_encoder *encoder);
const uint8_t *gop_encoder_extradata(const struct gop_encoder *encoder, size_t *ret_size);
