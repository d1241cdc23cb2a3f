// A rendition: sound and pictures encoded, giving one interleaved stream of packets.
//
// The mixer pushes and never waits: with too many frames queued a picture is left out (its time
// stamp stays empty), its sound is kept; only with far too many the whole frame is. Both are
// counted. Packets come out in an order that depends on nothing but their times: audio 48 ms behind
// video (and five seconds at most while there is none), so destinations can write them as they
// come. Thread: rendition_push any (one at a time); on_packet is called from threads of the
// rendition, one at a time.
#pragma once

#include "edge/encode/audio_encoder.h"
#include "edge/encode/gop_encoder.h"
#include "engine/frame/limiter.h"

// So far sound stays behind pictures: all that is due is there then, whichever thread is ahead, so
// that two edges give the same order. AAC gives a packet once it has the 1024 samples after it, and
// the limiter holds some back.
#define RENDITION_SOUND_BEHIND (2048 + LIMITER_DELAY)
// So many pictures may wait, beyond what several lanes explain, before one is left out.
#define RENDITION_WAITING_MAX 45

struct rendition_config {
    const char *name; // for the thread and the log
    int width, height, video_bitrate, audio_bitrate, gop_frames;
    struct rate rate;
    const char *preset;
    int lanes;                 // GOPs at once, see gop_encoder.h; 0: by the processors
    packet_sink_fn *on_packet; // takes the packet; must not block
    void *opaque;
};

struct rendition_stats {
    uint64_t frames;          // pictures encoded
    uint64_t dropped;         // pictures left out because the queue was full
    uint64_t failed;          // pictures that an encoder refused
    uint64_t waiting;         // pictures that wait, beyond what several lanes explain
    int64_t frame;            // newest picture encoded
    double median_ms, p99_ms; // encoding, per picture, over the last seconds
};

struct rendition;
int rendition_create(const struct rendition_config *config, struct rendition **ret,
                     struct diagnostic *reterr);
void rendition_destroy(struct rendition **rendition); // drains, joins
void rendition_push(struct rendition *rendition, const struct programme_frame *frame);
// While idle it takes no frames, and lets go of the pictures that wait: for renditions that nobody
// needs now. Counted nowhere. Thread: any.
void rendition_set_idle(struct rendition *rendition, bool idle);
void rendition_stats(struct rendition *rendition, struct rendition_stats *ret);
const uint8_t *rendition_video_extradata(const struct rendition *rendition, size_t *ret_size);
const uint8_t *rendition_audio_extradata(const struct rendition *rendition, size_t *ret_size);
