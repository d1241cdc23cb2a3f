#include "engine/media/import.h"

#include "engine/media/reader.h"

#include <errno.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_PAIRS 16384
#define GAP_SAMPLES (SAMPLE_RATE_HZ / 10)
#define GAP_MAX     ((int64_t)SAMPLE_RATE_HZ * 3600)
#define SAMPLES_MAX ((int64_t)SAMPLE_RATE_HZ * 86400 * 2)

struct writer {
    int fd;
    int64_t count, skip; // pairs written; pairs still to be left out
    float block[2 * BLOCK_PAIRS];
};

struct converter {
    struct SwrContext *swr;
    AVChannelLayout layout;
    int format, rate;
    AVRational time_base;
    bool started;
    struct rational start;
    int64_t refused, first_refused; // packets; pairs written before the first of them
    int64_t next_position;          // where the next frame belongs, pairs at 48 kHz
    struct writer writer;
};

static int write_all(struct writer *w, const float *pairs, int64_t count)
{
    int64_t skipped = w->skip < count ? w->skip : count;
    w->skip -= skipped;
    const char *bytes = (const char *)(pairs + 2 * skipped);
    size_t rest = (size_t)(count - skipped) * 2 * sizeof(float);
    w->count += count - skipped;
    if (w->count > SAMPLES_MAX)
        return -EFBIG;
    while (rest) {
        ssize_t n = write(w->fd, bytes, rest);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes += n;
        rest -= (size_t)n;
    }
    return 0;
}

static int write_silence(struct writer *w, int64_t count)
{
    memset(w->block, 0, sizeof w->block);
    int error = 0;
    while (count > 0 && error >= 0) {
        int64_t n = count < BLOCK_PAIRS ? count : BLOCK_PAIRS;
        error = write_all(w, w->block, n);
        count -= n;
    }
    return error;
}

// `data` NULL: gets what the resampler holds back, which ends it.
static int convert(struct converter *c, const uint8_t **data, int count)
{
    static const uint8_t *none[AV_NUM_DATA_POINTERS];
    uint8_t *out = (uint8_t *)c->writer.block;
    for (;;) {
        int n = swr_convert(c->swr, &out, BLOCK_PAIRS, data, count);
        if (n < 0)
            return n == AVERROR(ENOMEM) ? -ENOMEM : -EIO;
        int error = write_all(&c->writer, c->writer.block, n);
        if (error < 0 || n < BLOCK_PAIRS)
            return error;
        if (data)
            data = none; // the input is inside now; NULL would be the end
        count = 0;
    }
}

static int drain(struct converter *c)
{
    int error = c->swr ? convert(c, NULL, 0) : 0;
    swr_free(&c->swr);
    return error;
}

static int set_matrix(struct converter *c)
{
    static const double both[2] = {1, 1};
    if (c->layout.nb_channels == 1)
        return swr_set_matrix(c->swr, both, 1);
    return 0;
}

static int start_resampler(struct converter *c, const AVFrame *frame)
{
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    av_channel_layout_uninit(&c->layout);
    if (frame->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&c->layout, frame->ch_layout.nb_channels);
    else if (av_channel_layout_copy(&c->layout, &frame->ch_layout) < 0)
        return -ENOMEM;
    c->format = frame->format;
    c->rate = frame->sample_rate;
    int error = swr_alloc_set_opts2(&c->swr, &stereo, AV_SAMPLE_FMT_FLT, SAMPLE_RATE_HZ, &c->layout,
                                    frame->format, frame->sample_rate, 0, NULL);
    if (error >= 0)
        error = set_matrix(c);
    if (error >= 0)
        error = swr_init(c->swr);
    return error < 0 ? -EINVAL : 0;
}

static bool same_kind(const struct converter *c, const AVFrame *frame)
{
    return c->swr && c->format == frame->format && c->rate == frame->sample_rate &&
           c->layout.nb_channels == frame->ch_layout.nb_channels;
}

// Puts the next samples where the frame's time says, when that is not where they would come anyway.
static int align(struct converter *c, const AVFrame *frame)
{
    if (frame->pts == AV_NOPTS_VALUE && c->started)
        return 0;
    int64_t position = 0;
    if (frame->pts != AV_NOPTS_VALUE) {
        struct rational at = rational_mul(rational_make(frame->pts, 1),
                                          rational_make(c->time_base.num, c->time_base.den));
        if (!c->started && c->start.den == 0)
            c->start = at;
        at = rational_add(at, rational_make(-c->start.num, c->start.den));
        position =
            rational_floor(rational_add(at, rational_make(1, 2 * SAMPLE_RATE_HZ)), SAMPLE_RATE_HZ);
    }
    // Beyond GAP_MAX it is not a gap but a clock that was set anew.
    int64_t gap = position - c->next_position;
    if (c->started && (llabs(gap) <= GAP_SAMPLES || llabs(gap) > GAP_MAX))
        return 0;
    if (llabs(gap) > GAP_MAX)
        position = 0;
    int error = drain(c);
    c->started = true;
    c->next_position = position;
    int64_t missing = position - c->writer.count;
    c->writer.skip = missing < 0 ? -missing : 0;
    if (error >= 0 && missing > 0)
        error = write_silence(&c->writer, missing);
    return error;
}

static int take_frame(struct converter *c, const AVFrame *frame)
{
    if (frame->sample_rate <= 0 || frame->nb_samples <= 0 || frame->ch_layout.nb_channels <= 0)
        return 0;
    int error = align(c, frame);
    if (error >= 0 && !same_kind(c, frame)) {
        error = drain(c);
        if (error >= 0)
            error = start_resampler(c, frame);
    }
    if (error >= 0)
        error = convert(c, (const uint8_t **)frame->extended_data, frame->nb_samples);
    c->next_position += muldiv_floor(frame->nb_samples, SAMPLE_RATE_HZ, frame->sample_rate);
    // Flooring each frame would drift (44.1 kHz); when in step, follow the stated times.
    if (error >= 0 && frame->pts != AV_NOPTS_VALUE) {
        struct rational end =
            rational_add(rational_mul(rational_make(frame->pts, 1),
                                      rational_make(c->time_base.num, c->time_base.den)),
                         rational_make(frame->nb_samples, frame->sample_rate));
        end = rational_add(end, rational_make(-c->start.num, c->start.den));
        c->next_position = rational_floor(end, SAMPLE_RATE_HZ);
    }
    return error;
}

static void on_refusal(void *opaque, int64_t number, int64_t pts)
{
    (void)number, (void)pts;
    struct converter *c = opaque;
    if (!c->refused++)
        c->first_refused = c->writer.count;
}

// A file that is cut short is damaged at the end of its sound, whatever else it holds.
static void conclude(const struct converter *c, const struct demuxer *demuxer,
                     struct media_info *info)
{
    info->sample_count = c->writer.count;
    if (c->refused)
        import_note_damage(info, c->refused, rational_make(c->first_refused, SAMPLE_RATE_HZ));
    if (demuxer->wholeness == FILE_CUT && demuxer->picture < 0)
        import_note_damage(info, 1, rational_make(c->writer.count, SAMPLE_RATE_HZ));
}

int import_sound(struct demuxer *demuxer, int stream, const struct rational *start, int fd,
                 struct media_info *info, void (*progress)(void *opaque, int permille),
                 void *opaque, struct diagnostic *reterr)
{
    struct converter *c = calloc(1, sizeof *c);
    AVFrame *frame = av_frame_alloc();
    struct reader reader = {0};
    int error = c && frame ? reader_open(demuxer, stream, 1, false, &reader, reterr) : -ENOMEM;
    if (error >= 0) {
        reader.on_refusal = on_refusal;
        reader.opaque = c;
        c->writer.fd = fd;
        c->time_base = demuxer->format->streams[stream]->time_base;
        if (start)
            c->start = *start;
    }
    int last = 0;
    while (error >= 0 && (error = reader_next(&reader, frame)) >= 0) {
        error = take_frame(c, frame);
        int permille = demuxer->size ? (int)(demuxer->offset * 1000 / demuxer->size) : 0;
        if (progress && permille > last)
            progress(opaque, last = permille);
        av_frame_unref(frame);
    }
    if (error == -ENODATA)
        error = drain(c);
    if (error >= 0)
        conclude(c, demuxer, info);
    else
        diagnostic_set(reterr, error, "media_sound", "", "the sound cannot be converted: %s",
                       strerror(-error));
    if (c) {
        swr_free(&c->swr);
        av_channel_layout_uninit(&c->layout);
    }
    free(c);
    reader_close(&reader);
    av_frame_free(&frame);
    return error;
}
