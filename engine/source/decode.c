#include "engine/source/decode.h"

#include "engine/base/thread.h"
#include "engine/media/reader.h"
#include "engine/media/shape.h"
#include "engine/source/colour.h"
#include "engine/source/decode_order.h"
#include "engine/source/deinterlace.h"
#include "engine/source/frame_picture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Decoding this many pictures more is cheaper than starting anew.
#define NEAR_PICTURES 8
#define KEY_TRIES     3

struct picture_decoder {
    // -- constant after open
    char *path; // for messages
    int fd, index_fd;
    hang_board *board;
    int threads, width, height, orientation;
    struct media_index *index;
    struct frame_converter *converter;
    // -- position
    struct demuxer *demuxer;
    struct reader reader;
    struct deinterlacer *deinterlacer; // NULL: all progressive
    AVFrame *frame;
    int64_t held;                   // picture in `frame`, decoded but not wanted yet; -1: none
    int64_t next;                   // the picture that decoding will give next
    int64_t counted;                // frames since the start of the file, INDEX_COUNT
    bool settled;                   // a wanted picture came since decoding was last started
    const struct index_key *sought; // packets before this one are left out; NULL: none
    bool overrun;                   // the sought packet is not to be found from here
};

static bool skip_to_key(void *opaque, const AVPacket *packet)
{
    struct picture_decoder *d = opaque;
    if (!d->sought || d->overrun)
        return true;
    if (packet->pts == d->sought->pts && packet->dts == d->sought->dts) {
        d->sought = NULL;
        return true;
    }
    if (packet->dts != AV_NOPTS_VALUE && d->sought->dts != AV_NOPTS_VALUE &&
        packet->dts > d->sought->dts)
        d->overrun = true;
    return d->overrun;
}

static int open_reader(struct picture_decoder *d, struct diagnostic *reterr)
{
    reader_close(&d->reader);
    demuxer_close(&d->demuxer);
    memset(&d->reader, 0, sizeof d->reader);
    // Opening decodes what it can, and a still may be as large as import takes them.
    hang_step_begin(d->board, HANG_STARTS, d->index->picture_count == 1 ? MEDIA_PIXELS_MAX : 0);
    int error = demuxer_open_fd(d->fd, d->path, &d->demuxer, reterr);
    if (error < 0)
        return error;
    if (d->demuxer->picture < 0)
        return diagnostic_set(reterr, -EINVAL, "media_no_pictures", d->path, "has no pictures");
    error = reader_open(d->demuxer, d->demuxer->picture, d->threads, false, &d->reader, reterr);
    if (error < 0)
        return error;
    d->reader.board = d->board;
    d->reader.on_packet = skip_to_key;
    d->reader.opaque = d;
    return 0;
}

static void forget(struct picture_decoder *d)
{
    av_frame_unref(d->frame);
    d->held = -1;
    d->settled = d->overrun = false;
    d->sought = NULL;
    if (d->deinterlacer)
        deinterlacer_reset(d->deinterlacer);
}

static int restart(struct picture_decoder *d, struct diagnostic *reterr)
{
    forget(d);
    d->next = d->counted = 0;
    return open_reader(d, reterr);
}

// Starts decoding at a key; -1 is the start of the file.
static int start_at(struct picture_decoder *d, int64_t key, struct diagnostic *reterr)
{
    if (key < 0)
        return restart(d, reterr);
    const struct index_key *k = &d->index->keys[key];
    int64_t time = k->dts != AV_NOPTS_VALUE ? k->dts : k->pts;
    forget(d);
    hang_step_begin(d->board, HANG_STARTS, 0);
    if (avformat_seek_file(d->demuxer->format, d->reader.stream, INT64_MIN, time, time, 0) < 0)
        return restart(d, reterr);
    reader_flush(&d->reader);
    d->sought = k;
    return 0;
}

// The next decoded frame and the picture that it is.
static int decode_frame(struct picture_decoder *d, AVFrame *frame, int64_t *ret)
{
    for (;;) {
        int error = reader_next(&d->reader, frame);
        if (error < 0)
            return error;
        int64_t identity = d->index->mode == INDEX_PTS   ? frame->pts
                           : d->index->mode == INDEX_DTS ? frame->reordered_opaque
                                                         : d->counted++;
        *ret = index_find(d->index, identity, d->next);
        if (*ret >= 0)
            return 0;
        av_frame_unref(frame);
    }
}

static int next_frame(struct picture_decoder *d, int64_t *ret)
{
    if (!d->deinterlacer)
        return decode_frame(d, d->frame, ret);
    for (;;) {
        int error = deinterlacer_pull(d->deinterlacer, d->frame);
        if (error >= 0)
            *ret = d->frame->pts;
        if (error != -EAGAIN)
            return error;
        error = decode_frame(d, d->frame, ret);
        if (error >= 0)
            d->frame->pts = *ret;
        else if (error != -ENODATA)
            return error;
        error = deinterlacer_push(d->deinterlacer, error == -ENODATA ? NULL : d->frame);
        if (error < 0)
            return error;
    }
}

// Decodes up to picture `i`: 0, or -EIO when what comes is past it already or has ended.
static int advance(struct picture_decoder *d, int64_t i)
{
    while (d->held < i) {
        int64_t at;
        av_frame_unref(d->frame);
        d->held = -1;
        if (next_frame(d, &at) < 0 || d->overrun)
            return -EIO;
        d->held = at;
        d->next = at + 1;
    }
    return d->held == i ? 0 : -EIO;
}

static bool is_near(const struct picture_decoder *d, int64_t i)
{
    int64_t at = d->held >= 0 ? d->held : d->next;
    if (i < at || d->overrun)
        return false;
    if (d->index->mode == INDEX_COUNT || i - at < NEAR_PICTURES)
        return true;
    return index_key_before(d->index, i) <= index_key_before(d->index, at);
}

static int find_picture(struct picture_decoder *d, int64_t i, struct diagnostic *reterr)
{
    if (is_near(d, i)) {
        if (advance(d, i) >= 0)
            return 0;
        // Decoding without a break: what does not come here does not come from elsewhere either.
        if (d->settled)
            return -EIO;
    }
    // A deinterlaced picture needs the one before it, whole: where that does not come (pictures
    // before the key in an open group), decoding starts earlier.
    int64_t first = d->deinterlacer && i ? i - 1 : i;
    int64_t key = index_key_before(d->index, first);
    for (int tries = 0; tries < KEY_TRIES && key >= 0; tries++, key--) {
        int error = start_at(d, key, reterr);
        if (error < 0)
            return error;
        d->next = 0;
        if (advance(d, first) >= 0 && advance(d, i) >= 0)
            return 0;
    }
    int error = restart(d, reterr);
    return error < 0 ? error : advance(d, i);
}

int picture_decoder_get(struct picture_decoder *d, int64_t i, struct picture **ret,
                        struct diagnostic *reterr)
{
    int error = index_is_damaged(d->index, i) ? -EIO : find_picture(d, i, reterr);
    bool damaged =
        error >= 0 && (d->frame->decode_error_flags || d->frame->flags & AV_FRAME_FLAG_CORRUPT);
    d->settled = true;
    if (error < 0 || damaged)
        return diagnostic_set(reterr, -EIO, "media_damaged", d->path,
                              "picture %lld cannot be decoded; the file is damaged here",
                              (long long)i);
    // A process that has just begun has no table yet, which is no part of converting a picture.
    hang_step_begin(d->board, HANG_STARTS, 0);
    colour_table_prepare(colour_gamut_of(d->frame));
    hang_step_begin(d->board, HANG_DECODES, (int64_t)d->width * d->height);
    error = frame_converter_run(d->converter, d->frame, ret, reterr);
    av_frame_unref(d->frame);
    d->held = -1;
    return error;
}

static int load_index(struct picture_decoder *d, struct diagnostic *reterr)
{
    if (d->index_fd >= 0 && index_read(d->index_fd, &d->index) >= 0)
        return 0;
    struct demuxer *demuxer;
    hang_step_begin(d->board, HANG_STARTS, MEDIA_PIXELS_MAX);
    int error = demuxer_open_fd(d->fd, d->path, &demuxer, reterr);
    if (error < 0)
        return error;
    if (demuxer->picture < 0)
        error = diagnostic_set(reterr, -EINVAL, "media_no_pictures", d->path, "has no pictures");
    else
        error = index_build(demuxer, NULL, NULL, &d->index, reterr);
    demuxer_close(&demuxer);
    return error;
}

static int find_shape(struct picture_decoder *d, struct diagnostic *reterr)
{
    // The first picture knows best: a still's orientation is nowhere else.
    int error = restart(d, reterr);
    if (error < 0)
        return error;
    AVStream *stream = d->demuxer->format->streams[d->reader.stream];
    const uint8_t *matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, NULL);
    int width = stream->codecpar->width, height = stream->codecpar->height;
    if (next_frame(d, &d->held) >= 0) {
        const AVFrameSideData *own = av_frame_get_side_data(d->frame, AV_FRAME_DATA_DISPLAYMATRIX);
        if (own && !matrix)
            matrix = own->data;
        d->next = d->held + 1;
        width = d->frame->width;
        height = d->frame->height;
    } else {
        d->held = -1;
    }
    if (matrix)
        d->orientation = media_orientation((const int32_t *)matrix);
    AVRational aspect =
        av_guess_sample_aspect_ratio(d->demuxer->format, stream, d->held >= 0 ? d->frame : NULL);
    media_shown_size(width, height, aspect, &d->width, &d->height);
    return 0;
}

int picture_decoder_open(const char *path, int threads, struct picture_decoder **ret,
                         struct diagnostic *reterr)
{
    char index[PATH_MAX];
    struct decoder_files files = {.path = path, .index = -1};
    if (!threads)
        threads = decode_threads(reterr);
    files.media = threads < 0 ? threads : media_file_open(path, reterr);
    if (files.media < 0)
        return files.media;
    if (snprintf(index, sizeof index, "%s.index", path) < PATH_MAX)
        files.index = open(index, O_RDONLY | O_CLOEXEC);
    return picture_decoder_open_files(&files, threads, ret, reterr);
}

int picture_decoder_open_files(const struct decoder_files *files, int threads,
                               struct picture_decoder **ret, struct diagnostic *reterr)
{
    struct picture_decoder *d = base_alloc(sizeof *d);
    d->path = base_strdup(files->path);
    d->fd = files->media;
    d->index_fd = files->index;
    d->board = files->board;
    d->threads = threads;
    d->held = -1;
    d->frame = av_frame_alloc();
    int error = d->frame ? load_index(d, reterr) : -ENOMEM;
    if (error >= 0 && d->index->interlaced)
        d->deinterlacer = deinterlacer_create();
    if (error >= 0)
        error = find_shape(d, reterr);
    if (error < 0) {
        picture_decoder_close(&d);
        return error;
    }
    d->converter = frame_converter_create(d->width, d->height, d->orientation);
    if (d->orientation & MEDIA_TRANSPOSED) {
        int width = d->width;
        d->width = d->height;
        d->height = width;
    }
    *ret = d;
    return 0;
}

void picture_decoder_close(struct picture_decoder **decoder)
{
    struct picture_decoder *d = *decoder;
    if (!d)
        return;
    *decoder = NULL;
    reader_close(&d->reader);
    demuxer_close(&d->demuxer);
    close(d->fd);
    if (d->index_fd >= 0)
        close(d->index_fd);
    deinterlacer_destroy(&d->deinterlacer);
    frame_converter_destroy(&d->converter);
    index_destroy(&d->index);
    av_frame_free(&d->frame);
    free(d->path);
    free(d);
}

const struct media_index *picture_decoder_index(const struct picture_decoder *d)
{
    return d->index;
}

void picture_decoder_size(const struct picture_decoder *d, int *ret_width, int *ret_height)
{
    *ret_width = d->width;
    *ret_height = d->height;
}
