#include "engine/media/index_private.h"

#include "engine/base/thread.h"
#include "engine/media/reader.h"
#include "engine/media/shape.h"

#include <errno.h>
#include <stdlib.h>

struct build {
    struct demuxer *demuxer;
    struct media_index *index;
    struct seen *seen;
    int64_t *packet_dts; // of every packet
    int64_t *broken;     // numbers of packets
    int64_t *lost;       // pts of packets that gave no picture
    size_t seen_room, key_room, packet_room, broken_room, lost_room;
    int64_t packet_count, broken_count, lost_count;
    bool *damaged; // of the index's pictures; room for all seen and lost and one more
    bool out_of_memory;
    int64_t last_duration;
    void (*progress)(void *opaque, int permille);
    void *opaque;
    int permille;
};

// Room for one element more in an array that doubles; NULL when there is no memory.
static void *grow(struct build *b, void *array, size_t count, size_t size, size_t *room)
{
    if (count < *room)
        return array;
    size_t wanted = *room ? *room * 2 : 256;
    void *larger = realloc(array, wanted * size);
    if (larger)
        *room = wanted;
    else
        b->out_of_memory = true;
    return larger;
}

static void add_number(struct build *b, int64_t **list, int64_t *count, size_t *room, int64_t value)
{
    int64_t *larger = grow(b, *list, (size_t)*count, sizeof **list, room);
    if (!larger)
        return;
    *list = larger;
    larger[(*count)++] = value;
}

static void note_broken(struct build *b, int64_t packet)
{
    add_number(b, &b->broken, &b->broken_count, &b->broken_room, packet);
}

static void on_refusal(void *opaque, int64_t number, int64_t pts)
{
    struct build *b = opaque;
    note_broken(b, number);
    if (pts != AV_NOPTS_VALUE)
        add_number(b, &b->lost, &b->lost_count, &b->lost_room, pts);
}

static bool on_packet(void *opaque, const AVPacket *packet)
{
    struct build *b = opaque;
    struct media_index *x = b->index;
    if (b->progress && packet->pos > 0 && b->demuxer->size > 0) {
        int permille = (int)(packet->pos * 1000 / b->demuxer->size);
        if (permille > b->permille && permille <= 1000)
            b->progress(b->opaque, b->permille = permille);
    }
    if (packet->flags & AV_PKT_FLAG_CORRUPT)
        note_broken(b, b->packet_count);
    add_number(b, &b->packet_dts, &b->packet_count, &b->packet_room, packet->dts);
    if (!(packet->flags & AV_PKT_FLAG_KEY) ||
        (packet->pts == AV_NOPTS_VALUE && packet->dts == AV_NOPTS_VALUE))
        return true;
    struct index_key *keys = grow(b, x->keys, (size_t)x->key_count, sizeof *keys, &b->key_room);
    if (!keys)
        return true;
    x->keys = keys;
    x->keys[x->key_count++] = (struct index_key){packet->pts, packet->dts};
    return true;
}

static int note_picture(struct build *b, const AVFrame *frame, struct diagnostic *reterr)
{
    struct media_index *x = b->index;
    const AVFrameSideData *matrix = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (!x->picture_count && matrix &&
        !av_stream_get_side_data(b->demuxer->format->streams[x->stream], AV_PKT_DATA_DISPLAYMATRIX,
                                 NULL))
        x->first_turned = media_orientation((const int32_t *)matrix->data) & MEDIA_TRANSPOSED;
    if (media_space_refused(frame->colorspace))
        return diagnostic_set(reterr, -EINVAL, "media_colours", "",
                              "its colours are %s, which cannot be converted here; make it BT.709",
                              media_space_refused(frame->colorspace));
    struct seen *seen = grow(b, b->seen, (size_t)x->picture_count, sizeof *seen, &b->seen_room);
    if (!seen || !b->packet_count)
        return -ENOMEM;
    b->seen = seen;
    int64_t packet = frame->reordered_opaque;
    if (packet < 0 || packet >= b->packet_count)
        packet = b->packet_count - 1; // the decoder does not say; it is one of the last
    if (frame->decode_error_flags || frame->flags & AV_FRAME_FLAG_CORRUPT)
        note_broken(b, packet);
    b->seen[x->picture_count++] =
        (struct seen){frame->pts, b->packet_dts[packet], packet, frame->key_frame, false};
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

// Adds a picture if it comes after the last one.
static bool add_picture(struct build *b, int64_t pts, bool damaged)
{
    struct media_index *x = b->index;
    if (pts == AV_NOPTS_VALUE || (x->picture_count && pts <= x->pictures[x->picture_count - 1].pts))
        return false;
    b->damaged[x->picture_count] = damaged;
    x->pictures[x->picture_count++] = (struct index_picture){pts, pts};
    return true;
}

// Presentation times are usable when nearly all are there and rise; the few pictures that break the
// rule (a damaged place) are left out. Pictures that were lost get their place among the others.
static bool use_pts(struct build *b)
{
    struct media_index *x = b->index;
    int64_t seen = x->picture_count, lost = 0, count = 0;
    if (b->lost_count)
        qsort(b->lost, (size_t)b->lost_count, sizeof *b->lost, compare_times);
    x->picture_count = 0;
    for (int64_t i = 0; i < seen; i++) {
        for (; i && lost < b->lost_count && b->lost[lost] < b->seen[i].pts; lost++)
            add_picture(b, b->lost[lost], true);
        count += add_picture(b, b->seen[i].pts, b->seen[i].damaged);
    }
    for (; lost < b->lost_count; lost++)
        add_picture(b, b->lost[lost], true);
    x->mode = INDEX_PTS;
    if (count * 20 >= seen * 19)
        return true;
    x->picture_count = seen;
    for (int64_t i = 0; i < seen; i++)
        b->damaged[i] = b->seen[i].damaged;
    return false;
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

// Ticks at which the pictures should end; INDEX_NONE: not known, or no later than they do.
static int64_t stated_end(const struct build *b)
{
    const struct media_index *x = b->index;
    const AVFormatContext *format = b->demuxer->format;
    const AVStream *stream = format->streams[x->stream];
    enum wholeness whole = b->demuxer->wholeness;
    if (whole == FILE_WHOLE || x->mode != INDEX_PTS ||
        format->duration_estimation_method != AVFMT_DURATION_FROM_STREAM)
        return INDEX_NONE;
    int64_t end = INDEX_NONE, second = av_rescale_q(1, (AVRational){1, 1}, stream->time_base);
    if (stream->duration > 0)
        end = stream->duration + (stream->start_time != AV_NOPTS_VALUE ? stream->start_time : 0);
    else if (whole == FILE_CUT && format->duration > 0)
        end = av_rescale_q(format->duration +
                               (format->start_time != AV_NOPTS_VALUE ? format->start_time : 0),
                           AV_TIME_BASE_Q, stream->time_base);
    // Where only durations tell, one that is a little too long is a rounded one.
    int64_t slack = whole == FILE_CUT ? 0 : second + (x->end - x->pictures[0].pts) / 20;
    return end > x->end + slack ? end : INDEX_NONE;
}

// What is missing at the end is one picture that cannot be shown.
static void add_missing_end(struct build *b)
{
    struct media_index *x = b->index;
    int64_t end = stated_end(b);
    if (end != INDEX_NONE && add_picture(b, x->end, true))
        x->end = end;
    else if (b->demuxer->wholeness == FILE_CUT)
        b->damaged[x->picture_count - 1] = true; // at least the last one is not what it was
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
    add_missing_end(b);
}

// The pictures' times and what is wrong with them, of what was seen.
static int conclude(struct build *b, struct diagnostic *reterr)
{
    struct media_index *x = b->index;
    if (!x->picture_count)
        return diagnostic_set(reterr, -EINVAL, "media_damaged", "",
                              "no picture can be decoded: the file is damaged or cut short");
    size_t room = (size_t)(x->picture_count + b->lost_count) + 1;
    x->pictures = calloc(room, sizeof *x->pictures);
    b->damaged = calloc(room, sizeof *b->damaged);
    int error = x->pictures && b->damaged && !b->out_of_memory
                    ? damage_spread(b->seen, x->picture_count, b->broken, b->broken_count)
                    : -ENOMEM;
    if (!error) {
        choose_times(b);
        error = damage_list(x, b->damaged);
    }
    return error ? diagnostic_set(reterr, error, "index_memory", "", "not enough memory") : 0;
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
    reader.numbered = true;
    reader.on_packet = on_packet;
    reader.on_refusal = on_refusal;
    reader.opaque = &b;
    while (error >= 0) {
        error = reader_next(&reader, frame);
        if (error >= 0)
            error = note_picture(&b, frame, reterr);
        if (error >= 0)
            av_frame_unref(frame);
    }
    if (error == -ENODATA)
        error = 0;
    if (error >= 0)
        error = conclude(&b, reterr);
    free(b.seen);
    free(b.packet_dts);
    free(b.broken);
    free(b.lost);
    free(b.damaged);
    reader_close(&reader);
    av_frame_free(&frame);
    if (error < 0)
        index_destroy(&x);
    else
        *ret = x;
    return error;
}
