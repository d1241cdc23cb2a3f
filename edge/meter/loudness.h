// The level of an output's sound, ten times a second: peaks, true peaks, and loudness after
// EBU R 128 (ITU-R BS.1770-4, EBU Tech 3341), loudness by libebur128.
//
// Sound is measured as encoders get it (sound.h: clipped at full scale). A tenth of a second ends
// with the last frame that begins in it, counted from the channel's frame 0: two edges, and all
// outputs of a channel, give values for the same frames. Below ten frames a second every frame ends
// one. Integrated loudness is kept in classes of 0.1 LU, so that its memory does not grow; it is
// off by 0.05 LU at most for that.
// Thread: one.
#pragma once

#include "edge/mix/programme.h"
#include "engine/base/rate.h"

#include <stdbool.h>

// -INFINITY: silence (below -144), or nothing to say yet. [0] is left.
struct loudness_values {
    int64_t frame;                           // the last of them
    float peak[SOUND_CHANNELS];              // of this tenth, dBFS
    float true_peak[SOUND_CHANNELS];         // of this tenth, dBTP
    float momentary, short_term, integrated; // LUFS: of 0.4 s, of 3 s, since the beginning
};

struct loudness;
struct loudness *loudness_create(struct rate rate); // NULL without memory
void loudness_destroy(struct loudness **loudness);  // accepts NULL inside
// Takes the next frame; frames that are left out are as if they had not been. True: a tenth of a
// second has ended, and `ret` says how it was.
bool loudness_add(struct loudness *loudness, const struct programme_frame *frame,
                  struct loudness_values *ret);
