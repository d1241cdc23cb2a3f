// From a file into a source's log: what ffmpeg made goes through the gateway's demuxer and ingest
// at simulated times. Included once per test.
#pragma once

#include "engine/live/stamp.h"
#include "tests/worker/live_look.h"
#include "worker/gateway/demux.h"
#include "worker/gateway/ts_watch.h"

#include <libavutil/mem.h>
#include <sys/stat.h>

#define START_NS (INT64_C(1790000000) * SECOND_NS)

static char folder[64]; // of logs, each in one that has its source's name

struct feed {
    FILE *file;
    struct ingest *ingest;
    bool begun;
    int64_t first_ticks, now_ns, offset_ns;
    uint64_t seed;
    struct camera *follower; // looks at each frame when it is due; NULL: nobody does
    int next_frame, pictures;
    int64_t stall_ns; // until then nothing comes
    struct ts_watch watch;
    bool changed;
    uint8_t message[1316];
    size_t size, at;
};

// Seven packets at a time, as SRT brings them.
static int read_file(void *opaque, uint8_t *bytes, int size)
{
    struct feed *f = opaque;
    if (f->at == f->size && !f->changed) {
        f->size = fread(f->message, 1, sizeof f->message, f->file);
        f->at = 0;
        f->changed = ts_watch_add(&f->watch, f->message, f->size);
    }
    if (!f->size || f->changed)
        return AVERROR_EOF;
    size_t left = f->size - f->at, n = (size_t)size < left ? (size_t)size : left;
    memcpy(bytes, f->message + f->at, n);
    f->at += n;
    return (int)n;
}

static int never(void *opaque)
{
    (void)opaque;
    return 0;
}

static void on_begin(void *opaque, bool has_pictures)
{
    ingest_begin(((struct feed *)opaque)->ingest, has_pictures);
}

static struct shown live[FRAMES_MAX];

static void advance(struct feed *f, int64_t to_ns)
{
    static int32_t sound[1920 * 2];
    for (; f->now_ns < to_ns; f->now_ns += SECOND_NS / 50) {
        ingest_tick(f->ingest, f->now_ns);
        for (; f->follower && epoch_ns + f->next_frame * SECOND_NS / CLIP_RATE <= f->now_ns;
             f->next_frame++)
            live[f->next_frame] =
                look(f->follower, (struct rate){CLIP_RATE, 1}, f->next_frame, sound);
    }
}

// A unit arrives when its dts says, up to 5 ms late; sound when the pictures beside it do. For a
// follower the way is shut for 1.2 s in the middle of a group.
static void on_unit(void *opaque, const struct ingest_unit *unit)
{
    struct feed *f = opaque;
    if (unit->stream == UNIT_PICTURE) {
        int64_t step = f->begun ? ticks_between_ns(f->first_ticks, unit->dts) : 0;
        // A jump takes no time.
        f->offset_ns += !f->begun || step < -SECOND_NS || step > SECOND_NS ? SECOND_NS / 25 : step;
        f->first_ticks = unit->dts;
        f->begun = true;
        if (f->follower && ++f->pictures == 61)
            f->stall_ns = f->offset_ns + SECOND_NS * 6 / 5;
        advance(f, START_NS + (f->offset_ns > f->stall_ns ? f->offset_ns : f->stall_ns));
    }
    int64_t at_ns = f->offset_ns > f->stall_ns ? f->offset_ns : f->stall_ns;
    ingest_add(f->ingest, unit, START_NS + at_ns + (int64_t)(check_random(&f->seed) % 5000000));
}

static inline void log_followed(const char *clip, const char *name, bool follow,
                                struct ingest_stats *ret)
{
    struct live_log *log = NULL;
    struct diagnostic d;
    snprintf(log_path, sizeof log_path, "%s/%s", folder, name);
    CHECK_OK(live_log_create(log_path, strrchr(log_path, '/') + 1, LIVE_LOG_LIMITS, &log, &d));
    struct feed feed = {
        .file = fopen(clip, "rb"), .ingest = ingest_create(log), .now_ns = START_NS, .seed = 5};
    if (follow)
        feed.follower = open_camera((struct rate){CLIP_RATE, 1});
    do {
        feed.changed = false;
        AVIOContext *io =
            avio_alloc_context(av_malloc(1316), 1316, 0, &feed, read_file, NULL, NULL);
        struct demux_config config = {
            .io = io, .stop = never, .on_begin = on_begin, .on_unit = on_unit, .opaque = &feed};
        CHECK_OK(demux_run(&config));
        av_freep(&io->buffer);
        avio_context_free(&io);
    } while (feed.changed);
    advance(&feed, START_NS + feed.offset_ns + 3 * SECOND_NS);
    ingest_stats(feed.ingest, ret);
    CHECK(ret->unlogged, ==, 0);
    fclose(feed.file);
    camera_destroy(&feed.follower);
    ingest_destroy(&feed.ingest);
    live_log_destroy(&log);
}

static inline void log_file(const char *clip, const char *name, struct ingest_stats *ret)
{
    log_followed(clip, name, false, ret);
}
