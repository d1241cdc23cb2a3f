// One frame of the programme: the mixed picture and its sound, shared by encoders and the hash
// file. Const once the mixer has let go of it; counted references. Thread: any.
#pragma once

#include "engine/frame/picture.h"
#include "engine/frame/sound.h"

#include <stdint.h>

struct programme_frame {
    int64_t frame;
    struct picture *picture; // OPAQUE
    int64_t first_sample;    // channel sample of samples[0]
    int sample_count;
    int32_t *samples;       // interleaved stereo, stem sum (sound.h)
    _Atomic int references; // private
};

// Silence; `picture` is still NULL. NULL when there is no memory.
struct programme_frame *programme_frame_create(int64_t frame, int64_t first_sample,
                                               int sample_count);
struct programme_frame *programme_frame_ref(const struct programme_frame *frame);
void programme_frame_unref(struct programme_frame **frame); // accepts NULL inside
