// Reads one stream of a file in order: packets in, decoded frames out.
// Thread: a reader belongs to one thread.
#pragma once

#include "engine/base/hang.h"
#include "engine/media/demux.h"

struct reader {
    struct demuxer *demuxer; // borrowed
    AVCodecContext *codec;
    int stream;
    AVPacket *packet;
    bool packet_held; // `packet` is still to be sent
    bool draining;
    int64_t errors; // packets and frames that the decoder refused, and reading that failed
    bool numbered;  // give frames their packet's number, from 0 on, instead of its dts
    int64_t number; // of the next packet to be sent
    int64_t pts;    // of the last one sent
    // Sees each packet before it is decoded; may be NULL. Returns false to leave it out.
    bool (*on_packet)(void *opaque, const AVPacket *packet);
    // The decoder refused packet `number`, or what it made of it; may be NULL.
    void (*on_refusal)(void *opaque, int64_t number, int64_t pts);
    void *opaque;
    hang_board *board; // says what it does; may be NULL
};

int reader_open(struct demuxer *demuxer, int stream, int threads, bool fast, struct reader *ret,
                struct diagnostic *reterr);
void reader_close(struct reader *reader); // accepts a zeroed one
// The next frame; its reordered_opaque is its packet's dts or number. -ENODATA at the end.
int reader_next(struct reader *reader, AVFrame *frame);
// After the demuxer was placed elsewhere.
void reader_flush(struct reader *reader);
