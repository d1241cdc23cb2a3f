// One recording as a merge reads it: a GOP at a time, with the coded sound that lies beside it, all
// by numbers that count since the channel's epoch. Packets stay as they are, and are given as far
// as they can be read: whatever comes first in order of decoding can be shown without the rest.
// Thread: one.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/media/recording.h"

#include <libavcodec/packet.h>
#include <libavformat/avformat.h>
#include <stdbool.h>

#define RECORDING_GOP_MAX 1024 // pictures

struct recording_gop {
    int64_t first, end;                   // frames, half open; equal: there is none
    int count;                            // end - first, but for pictures that are not there
    AVPacket *packets[RECORDING_GOP_MAX]; // in order of decoding
    int64_t frames[RECORDING_GOP_MAX];
};

struct recording_sound {
    int64_t number; // recording_sound()
    bool whole; // all packets before it in its block are in this file, and those that its encoder
                // was prepared with: it is the same on all edges
    AVPacket *packet;
};

struct recording_source {
    char *path;
    struct recording about;
    bool doubtful; // the file is not what its checksum says
    // -- while it is open
    AVFormatContext *in; // NULL: not open
    int video, audio;    // stream indices
    struct recording_gop gop;
    struct recording_sound *sound; // oldest first; who takes one shifts the rest
    int sound_count;
    // -- private
    AVPacket *ahead; // the key picture that follows the GOP
    int sound_room;
    int64_t sound_last; // number of the newest that was read
    int64_t sound_from; // of the first from which on none is missing up to that
    bool sound_whole;   // as that one's `whole`
    bool ended;
};

// Looks at a file's head and its checksum, and closes it again. -EBUSY: it is still being recorded;
// -ENODATA: no recording of ours, or nothing in it.
int recording_source_create(const char *path, struct recording_source **ret,
                            struct diagnostic *reterr);
void recording_source_destroy(struct recording_source **source);
// Opens it for reading and reads its first GOP.
int recording_source_open(struct recording_source *source, struct diagnostic *reterr);
// Reads the next GOP, and the sound up to there; at the end of the file an empty one.
void recording_source_next(struct recording_source *source);
// Shortens the GOP to the pictures before frame `end` that need none from there on.
void recording_gop_cut(struct recording_gop *gop, int64_t end);
// Throws away the sound before packet `number`.
void recording_source_drop_sound(struct recording_source *source, int64_t number);
void recording_source_close(struct recording_source *source);

const AVCodecParameters *recording_source_video(const struct recording_source *source);
const AVCodecParameters *recording_source_audio(const struct recording_source *source);
