// Opens a media file for FFmpeg, hermetically: what is read depends on the file's bytes only, never
// on its name, and nothing else can be opened through it (no playlists, no external references, no
// network), because all reading goes through one file descriptor.
// Thread: a demuxer belongs to one thread.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/media/whole.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <stdbool.h>

#define MEDIA_SIDE_MAX    16384
#define MEDIA_PIXELS_MAX  134217728
#define MEDIA_STREAMS_MAX 16

struct demuxer {
    AVFormatContext *format;
    AVIOContext *io;
    int fd;
    bool owns_fd;
    int64_t size, offset;
    enum wholeness wholeness;
    int picture, sound; // best streams; -1: none. Cover art is no picture stream
};

// A descriptor for reading, the caller's. -ENOENT, -EISDIR, -EINVAL (empty, not a file).
int media_file_open(const char *path, struct diagnostic *reterr);
// As media_file_open; -EINVAL (not media, truncated), -E2BIG (limits).
int demuxer_open(const char *path, struct demuxer **ret, struct diagnostic *reterr);
// The same of an open file, which stays the caller's, and open for as long. `path`: for messages.
int demuxer_open_fd(int fd, const char *path, struct demuxer **ret, struct diagnostic *reterr);
void demuxer_close(struct demuxer **demuxer);

// Opens a decoder for a stream. Flags are such that the same bytes come out on every processor and
// for any number of threads. `fast`: pictures may be wrong, only their times matter (indexing).
int demuxer_open_decoder(struct demuxer *demuxer, int stream, int threads, bool fast,
                         AVCodecContext **ret, struct diagnostic *reterr);
