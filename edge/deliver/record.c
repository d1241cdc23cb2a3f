// Recording to Matroska, so that whatever happens leaves a file that plays.
//
//   1. A segment is written as "<folder>/<channel>-<first frame>-<utc>.mkv.part", locked by flock.
//   2. Each packet goes to the kernel at once; a thread of its own calls fdatasync once a second.
//      A killed process loses nothing that it had written, a power cut at most that second.
//   3. At a key frame after `segment_seconds`, or at the end, it is sealed: cues by the sink;
//   fsync,
//      rename to ".mkv", fsync of the folder and a checksum beside it by the file's thread.
//   4. At start every ".part" of the channel that nobody holds locked is copied as far as it can be
//      read into ".recovered.mkv".
//
// When the disk has room for less than half an hour there is an alarm; for less than five minutes,
// recording stops, sealed, until there is room for ten. A folder or disk that fails, by fdatasync
// too, ends the segment with an error in words; what is in it stays and is recovered at the next
// start. The next key frame begins a new one, after five seconds where that failed as well.
#include "edge/deliver/record_file.h"
#include "edge/deliver/sink.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/media/recording.h"

#include <errno.h>
#include <libavformat/avformat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS       INT64_C(5000000000)
#define WELL_NS        INT64_C(1000000000)
#define LOOK_NS        INT64_C(1000000000)
#define LAG_NS         INT64_C(3000000000)
#define LOW_SECONDS    (30 * 60)
#define RESUME_SECONDS (10 * 60)
#define STOP_SECONDS   (5 * 60)

struct recorder {
    // -- constant after create
    struct feed *feed;
    struct status *status;
    // -- sink thread
    struct deliver_setup setup;
    bool has_setup;
    AVFormatContext *context; // NULL: no segment open
    AVPacket *packet;
    struct record_file *file, *sealing; // `sealing`: the segment before
    int64_t base, first_frame, segment_frames;
    int64_t last_dts[2];
    int64_t retry_ns, look_ns, began_ns; // began_ns: when the segment did
    const char *alarm;                   // about the disk, while recording
    bool full;
};

static void *record_create(struct feed *feed, struct status *status)
{
    struct recorder *r = base_alloc(sizeof *r);
    r->feed = feed;
    r->status = status;
    r->packet = av_packet_alloc();
    return r;
}

static int write_bytes(void *opaque, uint8_t *bytes, int size)
{
    int result = record_file_write(opaque, bytes, (size_t)size);
    return result ? AVERROR(-result) : size;
}

static int64_t seek_bytes(void *opaque, int64_t offset, int whence)
{
    int64_t result = record_file_seek(opaque, offset, whence & ~AVSEEK_FORCE, whence & AVSEEK_SIZE);
    return result < 0 ? AVERROR((int)-result) : result;
}

static void free_context(struct recorder *r)
{
    if (r->context && r->context->pb) {
        av_freep(&r->context->pb->buffer);
        avio_context_free(&r->context->pb);
    }
    avformat_free_context(r->context);
    r->context = NULL;
}

static void finish_sealing(struct recorder *r)
{
    int result = record_file_close(&r->sealing);
    if (result) {
        status_error(r->status, "recording cannot be sealed: %s", strerror(-result));
        status_alarm(r->status, "recording_failed");
    }
}

// Ends the segment; what was written stays, sealed when the trailer could be.
static void end_segment(struct recorder *r)
{
    if (!r->context)
        return;
    bool sealed = av_write_trailer(r->context) >= 0;
    free_context(r);
    record_file_end(r->file, sealed);
    finish_sealing(r); // the one before, long since done
    r->sealing = r->file;
    r->file = NULL;
}

static void fail_segment(struct recorder *r, int error)
{
    const char *hint = error == -ENOSPC ? "; free some space" : "";
    end_segment(r);
    free_context(r);
    if (r->file)
        record_file_end(r->file, false);
    (void)record_file_close(&r->file); // `error` says more
    status_error(r->status, "recording cannot be written: %s%s", strerror(-error), hint);
    status_alarm(r->status, "recording_failed");
    status_set(r->status, DELIVER_WAITING);
    // At once after a segment that went well, which a new file may do as well.
    int64_t now = clock_monotonic_ns();
    r->retry_ns = now - r->began_ns > WELL_NS ? now : now + RETRY_NS;
}

// ---- Disk space --------------------------------------------------------------------------------

static int64_t bytes_per_second(const struct recorder *r)
{
    int64_t bytes = (r->setup.video_bitrate + r->setup.audio_bitrate) / 8;
    return bytes + bytes / 50 + 1; // the container's part is below two percent
}

// How long the disk will last; one that does not say so is not full.
static int64_t seconds_left(const struct recorder *r)
{
    int64_t bytes = record_free_bytes(r->setup.url);
    return bytes < 0 ? INT64_MAX : bytes / bytes_per_second(r);
}

static void stop_for_space(struct recorder *r)
{
    end_segment(r);
    r->full = true;
    status_error(
        r->status,
        "recording has stopped: the disk has room for less than %d minutes; it goes on when "
        "there is room for %d",
        STOP_SECONDS / 60, RESUME_SECONDS / 60);
    status_alarm(r->status, "disk_full");
    status_set(r->status, DELIVER_WAITING);
    r->retry_ns = clock_monotonic_ns() + RETRY_NS;
}

static void look_at_disk(struct recorder *r)
{
    int64_t left = seconds_left(r);
    if (left < STOP_SECONDS) {
        stop_for_space(r);
        return;
    }
    const char *alarm = record_file_lag_ns(r->file) > LAG_NS ? "disk_slow"
                        : left < LOW_SECONDS                 ? "disk_low"
                                                             : "";
    if (!*alarm && !*r->alarm)
        return;
    r->alarm = alarm;
    status_alarm(r->status, alarm);
    if (!strcmp(alarm, "disk_slow"))
        status_error(r->status, "the disk takes more than three seconds to store what is recorded");
    else if (*alarm)
        status_error(r->status, "the disk is full in %d minutes", (int)(left / 60));
    else
        status_error(r->status, "%s", "");
}

// ---- Segments ----------------------------------------------------------------------------------

// What a merge of both edges' recordings goes by.
static int describe(const struct recorder *r)
{
    struct recording about = {.programme = r->setup.programme,
                              .zero = r->base,
                              .first_frame = r->first_frame,
                              .rate = r->setup.rate};
    snprintf(about.channel, sizeof about.channel, "%s", r->setup.name);
    return recording_describe(&about, &r->context->metadata);
}

static int open_context(struct recorder *r)
{
    if (avformat_alloc_output_context2(&r->context, NULL, "matroska", NULL) < 0)
        return -ENOMEM;
    uint8_t *buffer = av_malloc(65536);
    r->context->pb =
        buffer ? avio_alloc_context(buffer, 65536, 1, r->file, NULL, write_bytes, seek_bytes)
               : NULL;
    if (!r->context->pb) {
        av_free(buffer);
        return -ENOMEM;
    }
    r->context->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    if (sink_add_streams(r->context, &r->setup) || describe(r))
        return -ENOMEM;
    AVDictionary *options = NULL;
    av_dict_set(&options, "cluster_time_limit", "1000", 0);
    int result = avformat_write_header(r->context, &options);
    av_dict_free(&options);
    return result < 0 ? -EIO : 0;
}

static void begin_segment(struct recorder *r, const struct packet *key)
{
    if (seconds_left(r) < (r->full ? RESUME_SECONDS : STOP_SECONDS)) {
        stop_for_space(r);
        return;
    }
    r->base = sink_base(&r->setup, key);
    r->first_frame = key->pts;
    r->began_ns = clock_monotonic_ns();
    int result =
        record_file_create(r->setup.url, r->setup.name, key->pts, bytes_per_second(r), &r->file);
    if (!result && (result = open_context(r)))
        free_context(r); // without a header there is nothing to end
    if (result) {
        fail_segment(r, result);
        return;
    }
    r->last_dts[0] = r->last_dts[1] = INT64_MIN;
    r->full = false;
    r->alarm = "";
    r->look_ns = 0;
    status_set(r->status, DELIVER_LIVE);
    status_error(r->status, "%s", "");
    status_alarm(r->status, "");
}

static void on_turn(void *opaque)
{
    status_turn(opaque);
}

static void record_setup(void *sink, const struct deliver_setup *setup)
{
    struct recorder *r = sink;
    end_segment(r);
    bool first = !r->has_setup;
    r->setup = *setup;
    r->has_setup = true;
    r->segment_frames = muldiv_floor(setup->segment_seconds > 0 ? setup->segment_seconds : 900,
                                     setup->rate.num, setup->rate.den);
    r->retry_ns = 0;
    if (first) {
        int recovered = record_recover(setup->url, setup->name, on_turn, r->status);
        if (recovered < 0)
            status_error(r->status, "recording folder cannot be read: %s", strerror(-recovered));
    }
}

static void record_clear(void *sink, uint64_t programme)
{
    struct recorder *r = sink;
    (void)programme; // it has only one
    end_segment(r);
    r->has_setup = false;
    status_set(r->status, DELIVER_STOPPED);
}

static void write_packet(struct recorder *r, const struct packet *packet)
{
    sink_fill_packet(r->context, &r->setup, packet, r->base, r->packet);
    if (r->packet->dts < 0 || r->packet->dts <= r->last_dts[packet->stream])
        return; // sound that the segment before has, or that nobody recorded
    r->last_dts[packet->stream] = r->packet->dts;
    int result = av_write_frame(r->context, r->packet);
    // The muxer collects a cluster in memory; this hands it to the kernel with each picture, so
    // that a killed process loses one picture and not a second.
    if (result >= 0 && packet->stream == PACKET_VIDEO)
        result = av_write_frame(r->context, NULL);
    if (result >= 0 && r->context->pb->error < 0)
        result = r->context->pb->error;
    if (result < 0)
        fail_segment(r, result > -4096 ? result : -EIO);
    else
        status_add(r->status, packet->size, 0);
}

static void record_packet(void *sink, uint64_t programme, const struct packet *packet)
{
    struct recorder *r = sink;
    (void)programme;
    if (!r->has_setup)
        return;
    bool key = packet->stream == PACKET_VIDEO && packet->key;
    if (key && r->context && packet->pts - r->first_frame >= r->segment_frames)
        end_segment(r);
    if (key && !r->context && clock_monotonic_ns() >= r->retry_ns)
        begin_segment(r, packet);
    if (r->context)
        write_packet(r, packet);
}

static void record_idle(void *sink)
{
    struct recorder *r = sink;
    int error = r->file ? record_file_error(r->file) : 0;
    int64_t now = clock_monotonic_ns();
    if (error) { // fdatasync failed: what it covered is lost, and calling it again would hide that
        (void)av_write_trailer(r->context); // for what it is good for; it is not sealed
        free_context(r);
        fail_segment(r, error);
    } else if (r->file && now >= r->look_ns) {
        r->look_ns = now + LOOK_NS;
        look_at_disk(r);
    }
    if (r->sealing && record_file_ended(r->sealing))
        finish_sealing(r);
}

static void record_destroy(void *sink)
{
    struct recorder *r = sink;
    end_segment(r);
    finish_sealing(r);
    av_packet_free(&r->packet);
    free(r);
}

const struct sink_ops sink_record_ops = {
    .create = record_create,
    .setup = record_setup,
    .clear = record_clear,
    .packet = record_packet,
    .idle = record_idle,
    .destroy = record_destroy,
};
