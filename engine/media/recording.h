// What a recording says of itself, and the frame numbers and samples behind its time stamps.
//
// A recording is Matroska with one H.264 and one AAC stream; its tags name the channel and the
// frame that stands at time 0. Matroska counts whole milliseconds, which is enough to tell frames,
// and coded sound, whose packets lie on a grid of 1024 samples, apart: so any two recordings of a
// channel can be laid over each other exactly.
// Thread: any; pure functions.
#pragma once

#include "engine/base/rate.h"

#include <libavutil/dict.h>
#include <libavutil/rational.h>
#include <stdint.h>

#define RECORDING_SOUND_SAMPLES 1024 // of one packet
#define RECORDING_SOUND_BLOCK   128  // packets by one encoder; whole blocks are alike on all edges
#define RECORDING_SOUND_PREROLL 32   // more than it is given before its block

struct recording {
    char channel[128];   // the channel's name, with the output's
    uint64_t programme;  // the channel's number, which no other ever has
    int64_t zero;        // frame number of time 0
    int64_t first_frame; // of its first picture
    struct rate rate;
};

// Adds the tags. -ENOMEM.
int recording_describe(const struct recording *recording, AVDictionary **metadata);
// -ENODATA: no recording of ours; -EINVAL: tags that cannot be meant.
int recording_read(const AVDictionary *metadata, struct recording *ret);

// The frame whose display time is `pts`.
int64_t recording_frame(const struct recording *recording, int64_t pts, AVRational base);
// The coded sound that begins at `pts`: the number of its packet, in units of 1024 samples since
// the channel's epoch; and the sample, counted from time 0, at which packet `number` begins.
int64_t recording_sound(const struct recording *recording, int64_t pts, AVRational base);
int64_t recording_sound_start(const struct recording *recording, int64_t number);
