// Where an offline render goes: a media file (H.264 + AAC in the container its name asks for) and a
// file of checksums. Thread: one.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"
#include "engine/frame/picture.h"

#include <stdint.h>

struct render_output;
struct render_output_config {
    const char *path;      // NULL: no media file
    const char *hash_path; // NULL: none; "-": standard output
    int width, height;
    struct rate rate;
    int threads; // of the encoder; 0: as many as there are processors
    int crf;     // x264 quality, lower is better
};
int render_output_open(const struct render_output_config *config, struct render_output **ret,
                       struct diagnostic *reterr);
// One frame of the final mix: picture OPAQUE, samples as in sound.h. Takes no reference.
int render_output_frame(struct render_output *output, int64_t frame, const struct picture *picture,
                        const int32_t *samples, int sample_count, struct diagnostic *reterr);
// Finishes the files. A failure (disk full) is reported, and the unfinished file is removed.
int render_output_close(struct render_output **output, struct diagnostic *reterr);
// Gives up: removes unfinished files.
void render_output_abort(struct render_output **output);
