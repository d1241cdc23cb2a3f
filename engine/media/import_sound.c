#include "engine/media/import.h"

#include "engine/media/loudness.h"
#include "engine/media/reader.h"

#include <errno.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_PAIRS  16384
#define CHANNELS_MAX 64 // of FFmpeg's resampler
#define GAP_SAMPLES  (SAMPLE_RATE_HZ / 10)
#define GAP_MAX      ((int64_t)SAMPLE_RATE_HZ * 3600) // of one gap, and of all together
#define SAMPLES_MAX  ((int64_t)SAMPLE_RATE_HZ * 86400 * 2)

struct writer {
    int fd;
    int64_t count, skip;          // pairs written; pairs still to be left out
    int64_t silence;              // pairs that fill gaps
    struct loudness_meter *meter; // hears all that the file holds
    float block[2 * BLOCK_PAIRS];
};

struct converter {
    struct SwrContext *swr;
    AVChannelLayout layout;
    bool first_two; // the layout's names mean nothing
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
    int error = loudness_meter_add(w->meter, pairs + 2 * skipped, count - skipped);
    if (error < 0)
        return error;
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

// Leaves a hole, which reads as zeros. A small file can state huge gaps: their sum is bounded.
static int write_silence(struct writer *w, int64_t count)
{
    w->silence += count;
    w->count += count;
    if (w->silence > GAP_MAX)
        return -EOVERFLOW;
    if (w->count > SAMPLES_MAX)
        return -EFBIG;
    int error = loudness_meter_add_silence(w->meter, count);
    if (error < 0)
        return error;
    return lseek(w->fd, count * 2 * (off_t)sizeof(float), SEEK_CUR) < 0 ? -errno : 0;
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

struct gains {
    double left, right;
};

static struct gains gains_of(enum AVChannel channel)
{
    static const double half = M_SQRT1_2;
    switch ((int)channel) {
    case AV_CHAN_FRONT_LEFT:
    case AV_CHAN_FRONT_LEFT_OF_CENTER:
    case AV_CHAN_STEREO_LEFT:
        return (struct gains){1, 0};
    case AV_CHAN_FRONT_RIGHT:
    case AV_CHAN_FRONT_RIGHT_OF_CENTER:
    case AV_CHAN_STEREO_RIGHT:
        return (struct gains){0, 1};
    case AV_CHAN_FRONT_CENTER:
        return (struct gains){half, half};
    case AV_CHAN_BACK_LEFT:
    case AV_CHAN_SIDE_LEFT:
    case AV_CHAN_WIDE_LEFT:
    case AV_CHAN_SURROUND_DIRECT_LEFT:
    case AV_CHAN_TOP_FRONT_LEFT:
    case AV_CHAN_TOP_BACK_LEFT:
    case AV_CHAN_TOP_SIDE_LEFT:
    case AV_CHAN_BOTTOM_FRONT_LEFT:
        return (struct gains){half, 0};
    case AV_CHAN_BACK_RIGHT:
    case AV_CHAN_SIDE_RIGHT:
    case AV_CHAN_WIDE_RIGHT:
    case AV_CHAN_SURROUND_DIRECT_RIGHT:
    case AV_CHAN_TOP_FRONT_RIGHT:
    case AV_CHAN_TOP_BACK_RIGHT:
    case AV_CHAN_TOP_SIDE_RIGHT:
    case AV_CHAN_BOTTOM_FRONT_RIGHT:
        return (struct gains){0, half};
    case AV_CHAN_BACK_CENTER:
    case AV_CHAN_TOP_CENTER:
    case AV_CHAN_TOP_FRONT_CENTER:
    case AV_CHAN_TOP_BACK_CENTER:
    case AV_CHAN_BOTTOM_FRONT_CENTER:
        return (struct gains){0.5, 0.5};
    default: // LFE, and what has no place in a room
        return (struct gains){0, 0};
    }
}

// Two channels that are left and right pass as they are.
static int set_matrix(struct converter *c)
{
    double matrix[2][CHANNELS_MAX] = {{0}};
    int count = c->layout.nb_channels;
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    if (!c->first_two && !av_channel_layout_compare(&c->layout, &stereo))
        return 0;
    for (int i = 0; i < count; i++) {
        struct gains g = gains_of(av_channel_layout_channel_from_index(&c->layout, (unsigned)i));
        if (c->first_two)
            g = (struct gains){i == 0, i == 1};
        if (count == 1)
            g = (struct gains){1, 1};
        matrix[0][i] = g.left;
        matrix[1][i] = g.right;
    }
    return swr_set_matrix(c->swr, &matrix[0][0], CHANNELS_MAX);
}

// The layout that the file states, or the customary one. For more channels than have one, any of as
// many will do: the first two are taken.
static int take_layout(struct converter *c, const AVChannelLayout *stated)
{
    int count = stated->nb_channels;
    av_channel_layout_uninit(&c->layout);
    c->first_two = false;
    if (count > CHANNELS_MAX)
        return -EINVAL;
    if (stated->order != AV_CHANNEL_ORDER_UNSPEC)
        return av_channel_layout_copy(&c->layout, stated) < 0 ? -ENOMEM : 0;
    c->first_two = count > 8;
    if (c->first_two)
        return av_channel_layout_from_mask(&c->layout, (UINT64_C(1) << count) - 1) < 0 ? -EINVAL
                                                                                       : 0;
    av_channel_layout_default(&c->layout, count);
    return 0;
}

static int start_resampler(struct converter *c, const AVFrame *frame)
{
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;
    int error = take_layout(c, &frame->ch_layout);
    if (error < 0)
        return error;
    c->format = frame->format;
    c->rate = frame->sample_rate;
    error = swr_alloc_set_opts2(&c->swr, &stereo, AV_SAMPLE_FMT_FLT, SAMPLE_RATE_HZ, &c->layout,
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
    info->loudness_known = c->writer.count > 0;
    if (info->loudness_known)
        loudness_meter_finish(c->writer.meter, &info->loudness_lufs, &info->true_peak_dbtp);
    if (c->refused)
        import_note_damage(info, c->refused, rational_make(c->first_refused, SAMPLE_RATE_HZ));
    if (demuxer->wholeness == FILE_CUT && demuxer->picture < 0)
        import_note_damage(info, 1, rational_make(c->writer.count, SAMPLE_RATE_HZ));
}

static void refuse(int error, struct diagnostic *reterr)
{
    if (error == -EOVERFLOW)
        diagnostic_set(reterr, error, "media_gaps", "",
                       "its sound has gaps of more than %d s in all; are its times damaged?",
                       (int)(GAP_MAX / SAMPLE_RATE_HZ));
    else if (error == -EFBIG)
        diagnostic_set(reterr, error, "media_long", "", "its sound is longer than %d hours",
                       (int)(SAMPLES_MAX / SAMPLE_RATE_HZ / 3600));
    else
        diagnostic_set(reterr, error, "media_sound", "", "the sound cannot be converted: %s",
                       strerror(-error));
}

int import_sound(struct demuxer *demuxer, int stream, const struct rational *start, int fd,
                 struct media_info *info, void (*progress)(void *opaque, int permille),
                 void *opaque, struct diagnostic *reterr)
{
    struct converter *c = calloc(1, sizeof *c);
    AVFrame *frame = av_frame_alloc();
    struct reader reader = {0};
    int error = c && frame ? loudness_meter_create(&c->writer.meter) : -ENOMEM;
    if (error >= 0)
        error = reader_open(demuxer, stream, 1, false, &reader, reterr);
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
    if (error >= 0 && ftruncate(fd, c->writer.count * 2 * (off_t)sizeof(float)))
        error = -errno; // a hole at the end
    if (error >= 0)
        conclude(c, demuxer, info);
    else
        refuse(error, reterr);
    if (c) {
        swr_free(&c->swr);
        av_channel_layout_uninit(&c->layout);
        loudness_meter_destroy(&c->writer.meter);
    }
    free(c);
    reader_close(&reader);
    av_frame_free(&frame);
    return error;
}
