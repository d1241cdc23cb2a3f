#include "engine/media/reader.h"

#include <errno.h>
#include <string.h>

int reader_open(struct demuxer *demuxer, int stream, int threads, bool fast, struct reader *ret,
                struct diagnostic *reterr)
{
    struct reader r = {.demuxer = demuxer, .stream = stream};
    r.packet = av_packet_alloc();
    if (!r.packet)
        return diagnostic_set(reterr, -ENOMEM, "media_memory", "", "not enough memory");
    int error = demuxer_open_decoder(demuxer, stream, threads, fast, &r.codec, reterr);
    if (error < 0) {
        av_packet_free(&r.packet);
        return error;
    }
    for (unsigned i = 0; i < demuxer->format->nb_streams; i++)
        demuxer->format->streams[i]->discard = (int)i == stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    *ret = r;
    return 0;
}

void reader_close(struct reader *r)
{
    av_packet_free(&r->packet);
    avcodec_free_context(&r->codec);
}

void reader_flush(struct reader *r)
{
    avcodec_flush_buffers(r->codec);
    av_packet_unref(r->packet);
    r->packet_held = r->draining = false;
}

// What follows may take as long as a picture of that size does.
static void decode_begin(const struct reader *r)
{
    int64_t pixels = (int64_t)r->codec->width * r->codec->height;
    hang_step_begin(r->board, HANG_DECODES, pixels > 0 ? pixels : MEDIA_PIXELS_MAX);
}

static void note_refusal(struct reader *r)
{
    r->errors++;
    if (r->on_refusal)
        r->on_refusal(r->opaque, r->number - 1, r->pts);
}

// Gives the decoder one packet, or the end of the stream.
static void feed(struct reader *r)
{
    while (!r->packet_held) {
        // A read error is treated as the end: a file cut short plays as far as it goes.
        hang_step_begin(r->board, HANG_READS, 0);
        int error = av_read_frame(r->demuxer->format, r->packet);
        if (error < 0) {
            r->errors += error != AVERROR_EOF;
            r->draining = true;
            decode_begin(r);
            (void)avcodec_send_packet(r->codec, NULL); // fails only when draining already
            return;
        }
        if (r->packet->stream_index == r->stream &&
            (!r->on_packet || r->on_packet(r->opaque, r->packet)))
            r->packet_held = true;
        else
            av_packet_unref(r->packet);
    }
    r->codec->reordered_opaque = r->numbered ? r->number : r->packet->dts;
    decode_begin(r);
    int error = avcodec_send_packet(r->codec, r->packet);
    if (error == AVERROR(EAGAIN))
        return;
    r->number++;
    r->pts = r->packet->pts;
    if (error < 0)
        note_refusal(r);
    av_packet_unref(r->packet);
    r->packet_held = false;
}

int reader_next(struct reader *r, AVFrame *frame)
{
    // A decoder that reports errors for ever while draining must not keep us here.
    for (int refused = 0; refused < 1000;) {
        decode_begin(r);
        int error = avcodec_receive_frame(r->codec, frame);
        if (error >= 0)
            return 0;
        if (error == AVERROR_EOF)
            return -ENODATA;
        if (error != AVERROR(EAGAIN)) {
            note_refusal(r);
            refused += r->draining;
        }
        if (r->draining && error == AVERROR(EAGAIN))
            return -ENODATA;
        if (!r->draining)
            feed(r);
    }
    return -ENODATA;
}
