#include "engine/media/index.h"

#include "engine/base/thread.h"
#include "engine/media/reader.h"
#include "engine/media/shape.h"

#include <errno.h>
#include <stdlib.h>

// One decoded picture's candidates for its time.
struct seen {
    int64_t pts, dts;
};

struct build {
    struct demuxer *demuxer;
    struct media_index *index;
    struct seen *seen;
    size_t seen_room, key_room;
    bool out_of_memory;
    int64_t last_duration;
    void (*progress)(void *opaque, int permille);
    void *opaque;
    int permille;
};

static bool on_packet(void *opaque, const AVPacket *packet)
{
    struct build *b = opaque;
    struct media_index *x = b->index;
    if (b->progress && packet->pos > 0 && b->demuxer->size > 0) {
        int permille = (int)(packet->pos * 1000 / b->demuxer->size);
        if (permille > b->permille && permille <= 1000)
            b->progress(b->opaque, b->permille = permille);
    }
    if (!(packet->flags & AV_PKT_FLAG_KEY) ||
        (packet->pts == AV_NOPTS_VALUE && packet->dts == AV_NOPTS_VALUE))
        return true;
    if ((size_t)x->key_count == b->key_room) {
        size_t room = b->key_room ? b->key_room * 2 : 256;
        struct index_key *keys = realloc(x->keys, room * sizeof *keys);
        if (!keys) {
            b->out_of_memory = true;
            return true;
        }
        x->keys = keys;
        b->key_room = room;
    }
    x->keys[x->key_count++] = (struct index_key){packet->pts, packet->dts};
    return true;
}

static int note_picture(struct build *b, const AVFrame *frame)
{
    struct media_index *x = b->index;
    const AVFrameSideData *matrix = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (!x->picture_count && matrix &&
        !av_stream_get_side_data(b->demuxer->format->streams[x->stream], AV_PKT_DATA_DISPLAYMATRIX,
                                 NULL))
        x->first_turned = media_orientation((const int32_t *)matrix->data) & MEDIA_TRANSPOSED;
    if ((size_t)x->picture_count == b->seen_room) {
        size_t room = b->seen_room ? b->seen_room * 2 : 1024;
        struct seen *seen = realloc(b->seen, room * sizeof *seen);
        if (!seen)
            return -ENOMEM;
        b->seen = seen;
        b->seen_room = room;
    }
    b->seen[x->picture_count++] = (struct seen){frame->pts, frame->reordered_opaque};
    x->interlaced |= frame->interlaced_frame != 0;
    x->hdr |= frame->color_trc == AVCOL_TRC_SMPTE2084 || frame->color_trc == AVCOL_TRC_ARIB_STD_B67;
    b->last_duration = frame->pkt_duration;
    return 0;
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// Presentation times are usable when nearly all are there and rise; the few pictures that break the
// rule (a damaged place) are left out.
static bool use_pts(struct build *b)
{
    struct media_index *x = b->index;
    int64_t count = 0;
    for (int64_t i = 0; i < x->picture_count; i++) {
        int64_t pts = b->seen[i].pts;
        if (pts == AV_NOPTS_VALUE || (count && pts <= x->pictures[count - 1].pts))
            continue;
        x->pictures[count++] = (struct index_picture){pts, pts};
    }
    if (count * 20 < x->picture_count * 19)
        return false;
    x->picture_count = count;
    x->mode = INDEX_PTS;
    return true;
}

// Files that state decoding times only: the sorted times, given to the pictures in their order.
static bool use_dts(struct build *b)
{
    struct media_index *x = b->index;
    int64_t *times = calloc((size_t)x->picture_count, sizeof *times);
    bool usable = times != NULL;
    for (int64_t i = 0; usable && i < x->picture_count; i++) {
        times[i] = b->seen[i].dts;
        usable = times[i] != AV_NOPTS_VALUE;
    }
    if (usable)
        qsort(times, (size_t)x->picture_count, sizeof *times, compare_times);
    for (int64_t i = 1; usable && i < x->picture_count; i++)
        usable = times[i] > times[i - 1];
    for (int64_t i = 0; usable && i < x->picture_count; i++)
        x->pictures[i] = (struct index_picture){times[i], b->seen[i].dts};
    free(times);
    if (usable)
        x->mode = INDEX_DTS;
    return usable;
}

static void use_count(struct build *b, AVRational rate)
{
    struct media_index *x = b->index;
    x->mode = INDEX_COUNT;
    x->time_base = rational_make(rate.den, rate.num);
    for (int64_t i = 0; i < x->picture_count; i++)
        x->pictures[i] = (struct index_picture){i, i};
    b->last_duration = 1;
}

static void choose_times(struct build *b)
{
    struct media_index *x = b->index;
    AVStream *stream = b->demuxer->format->streams[x->stream];
    AVRational rate = av_guess_frame_rate(b->demuxer->format, stream, NULL);
    if (rate.num <= 0 || rate.den <= 0)
        rate = (AVRational){25, 1};
    x->time_base = rational_make(stream->time_base.num, stream->time_base.den);
    if (!use_pts(b) && !use_dts(b))
        use_count(b, rate);
    int64_t last = b->last_duration, n = x->picture_count;
    if (last <= 0)
        last = av_rescale_q(1, av_inv_q(rate),
                            (AVRational){(int)x->time_base.num, (int)x->time_base.den});
    if (last <= 0)
        last = n > 1 ? x->pictures[n - 1].pts - x->pictures[n - 2].pts : 1;
    x->end = x->pictures[n - 1].pts + last;
}

int index_build(struct demuxer *demuxer, void (*progress)(void *opaque, int permille), void *opaque,
                struct media_index **ret, struct diagnostic *reterr)
{
    struct media_index *x = base_alloc(sizeof *x);
    struct build b = {.demuxer = demuxer, .index = x, .progress = progress, .opaque = opaque};
    struct reader reader = {0};
    AVFrame *frame = av_frame_alloc();
    x->stream = demuxer->picture;
    int error = frame ? reader_open(demuxer, x->stream, 0, true, &reader, reterr) : -ENOMEM;
    reader.on_packet = on_packet;
    reader.opaque = &b;
    while (error >= 0) {
        error = reader_next(&reader, frame);
        if (error >= 0)
            error = note_picture(&b, frame);
        if (error >= 0)
            av_frame_unref(frame);
    }
    if (error == -ENODATA)
        error = 0;
    if (error >= 0 && !x->picture_count)
        error = diagnostic_set(reterr, -EINVAL, "media_damaged", "",
                               "no picture can be decoded: the file is damaged or cut short");
    if (error >= 0)
        x->pictures = calloc((size_t)x->picture_count, sizeof *x->pictures);
    if (error >= 0 && (!x->pictures || b.out_of_memory))
        error = diagnostic_set(reterr, -ENOMEM, "index_memory", "", "not enough memory");
    if (error >= 0)
        choose_times(&b);
    free(b.seen);
    reader_close(&reader);
    av_frame_free(&frame);
    if (error < 0)
        index_destroy(&x);
    else
        *ret = x;
    return error;
}
