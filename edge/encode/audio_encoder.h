// AAC-LC at 48 kHz stereo by FFmpeg's native encoder (its bits do not depend on the processor).
//
// Coded frames are aligned to multiples of 1024 samples since the channel's epoch, so that every
// edge cuts the sound at the same places. A packet's pts is the channel's sample at which a decoder
// that skips nothing puts the packet's output: the encoder's delay of 1024 samples is subtracted,
// so sound and picture agree to the sample.
//
// Every 128 coded frames, counted from the channel's epoch, a new encoder takes over, which has
// been given the frames before as a preroll: a packet depends on the sound since shortly before its
// block, and on nothing before. So an edge that begins later gives the same packets from the next
// block on whose preroll it has; where the limiter is at work, LIMITER_MEMORY samples more.
// Thread: one, the rendition's.
#pragma once

#include "edge/encode/packet.h"
#include "engine/base/diagnostic.h"

struct audio_encoder_config {
    int bitrate;
    packet_sink_fn *on_packet;
    void *opaque;
};

struct audio_encoder;
int audio_encoder_create(const struct audio_encoder_config *config, struct audio_encoder **ret,
                         struct diagnostic *reterr);
void audio_encoder_destroy(struct audio_encoder **encoder);
// `samples` (interleaved stereo, sound.h) start at channel sample `first`. A gap of up to five
// seconds is filled with silence; over a larger one the time stamps jump. Samples that were given
// before are left out. 0 or -EIO.
int audio_encoder_sound(struct audio_encoder *encoder, int64_t first, const int32_t *samples,
                        int sample_count);
const uint8_t *audio_encoder_extradata(const struct audio_encoder *encoder, size_t *ret_size);
