// H.264 by x264, one fresh encoder per GOP, so that a GOP's bytes depend on its pictures alone.
//
// A GOP starts at every frame n with n mod gop_frames = 0, at an IDR picture, and nothing refers
// across its start; the encoder of the GOP before is drained there and thrown away. Hence two edges
// that encode the same pictures give the same packets, whenever each was started. x264 runs in one
// thread (its output depends on the number of threads, and on chance with VBV and several) and with
// cpu-independent=1 (its assembly differs in rounding otherwise).
//
// Constant bit rate (nal-hrd=cbr): no GOP has more bits than the declared rate gives it in its
// time, nor, with whatever content, less than four fifths of them. No scene-cut keys, BT.709 tags,
// yuv420p. Packets are Annex B without parameter sets; those are in the extradata (Annex B as well;
// muxers convert), which is the same for every GOP.
//
// pts = frame number. dts is made here: the k-th packet of a GOP with input frames p[0], p[1], ...
// has dts p[k - d], or p[0] - d + k for k < d, where d is the reordering depth: rises strictly even
// when frames were left out, and never exceeds pts.
// Thread: one.
#pragma once

#include "edge/encode/packet.h"
#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"
#include "engine/frame/picture.h"

#define VIDEO_GOP_MAX 1000

struct video_encoder_config {
    int width, height; // of the rendition; pictures of another size are scaled
    struct rate rate;
    int bitrate;        // bits a second
    int gop_frames;     // 1 .. VIDEO_GOP_MAX
    const char *preset; // x264's: "veryfast"
    packet_sink_fn *on_packet;
    void *opaque;
};

// Which GOP frame `n` is in.
static inline int64_t video_encoder_gop(const struct video_encoder_config *config, int64_t n)
{
    return n >= 0 ? n / config->gop_frames : (n + 1) / config->gop_frames - 1;
}

struct video_encoder;
// -EINVAL or -ENOSYS (no x264 here) with a diagnostic.
int video_encoder_create(const struct video_encoder_config *config, struct video_encoder **ret,
                         struct diagnostic *reterr);
void video_encoder_destroy(struct video_encoder **encoder);
// Encodes frame `n`; n rises from call to call. -EINVAL when it does not; -EIO when x264 fails (the
// next GOP starts afresh).
int video_encoder_picture(struct video_encoder *encoder, int64_t n, const struct picture *picture);
// Gives what is still inside; the next picture starts a GOP.
int video_encoder_drain(struct video_encoder *encoder);
// Parameter sets of every GOP; belongs to the encoder.
const uint8_t *video_encoder_extradata(const struct video_encoder *encoder, size_t *ret_size);
