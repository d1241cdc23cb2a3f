#include "edge/encode/rendition.h"

#include "engine/base/clock.h"
#include "engine/base/cost.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define QUEUE_FRAMES   150 // sound is kept up to here
#define QUEUE_PICTURES 45  // pictures up to here
#define HELD_AUDIO     240 // packets of 1024 samples: five seconds

struct item {
    struct programme_frame *frame;
    bool sound_only;
};

struct rendition {
    // -- constant after create
    struct rendition_config config;
    char name[32];
    struct video_encoder *video;
    struct audio_encoder *audio;
    struct queue *queue; // struct item *
    pthread_t thread;
    bool running;
    struct cost cost;
    // -- the rendition's thread
    struct packet *held[HELD_AUDIO]; // audio that is ahead of video, oldest first
    int held_count;
    struct log_limit failure_log;
    // -- atomic
    _Atomic uint64_t frames, dropped, failed;
    _Atomic int64_t frame;
};

static void item_release(void *opaque)
{
    struct item *item = opaque;
    programme_frame_unref(&item->frame);
    free(item);
}

// Gives the oldest `count` held audio packets.
static void give_held(struct rendition *r, int count)
{
    for (int i = 0; i < count; i++)
        r->config.on_packet(r->config.opaque, r->held[i]);
    for (int i = count; i < r->held_count; i++)
        r->held[i - count] = r->held[i];
    r->held_count -= count;
}

static void on_audio(void *opaque, struct packet *packet)
{
    struct rendition *r = opaque;
    if (r->held_count == HELD_AUDIO) // there is no video: sound alone is better than nothing
        give_held(r, 1);
    r->held[r->held_count++] = packet;
}

static void on_video(void *opaque, struct packet *packet)
{
    struct rendition *r = opaque;
    int64_t sample = rate_first_sample(r->config.rate, packet->dts);
    int due = 0;
    while (due < r->held_count && r->held[due]->dts <= sample)
        due++;
    give_held(r, due);
    r->config.on_packet(r->config.opaque, packet);
}

static void encode_item(struct rendition *r, const struct item *item)
{
    const struct programme_frame *f = item->frame;
    int64_t start = clock_monotonic_ns();
    int result = audio_encoder_sound(r->audio, f->first_sample, f->samples, f->sample_count);
    if (!item->sound_only) {
        int video = video_encoder_picture(r->video, f->frame, f->picture);
        result = video ? video : result;
        atomic_store(&r->frame, f->frame);
        atomic_fetch_add(video ? &r->failed : &r->frames, 1);
    }
    int64_t now = clock_monotonic_ns();
    cost_add(&r->cost, now - start);
    uint64_t count = result ? log_limit(&r->failure_log, now, INT64_C(10000000000)) : 0;
    if (count)
        log_error("encode_failed", "rendition=%s frame=%lld error=%d count=%llu", r->name,
                  (long long)f->frame, result, (unsigned long long)count);
}

static void *run(void *opaque)
{
    struct rendition *r = opaque;
    void *item;
    while (!queue_pop(r->queue, &item, -1)) {
        encode_item(r, item);
        item_release(item);
    }
    (void)video_encoder_drain(r->video); // a failure here loses only frames nobody waits for
    give_held(r, r->held_count);
    return NULL;
}

int rendition_create(const struct rendition_config *config, struct rendition **ret,
                     struct diagnostic *reterr)
{
    struct rendition *r = base_alloc(sizeof *r);
    r->config = *config;
    snprintf(r->name, sizeof r->name, "%s", config->name);
    r->queue = queue_create(QUEUE_FRAMES, item_release);
    struct video_encoder_config video = {
        .width = config->width,
        .height = config->height,
        .rate = config->rate,
        .bitrate = config->video_bitrate,
        .gop_frames = config->gop_frames,
        .preset = config->preset,
        .on_packet = on_video,
        .opaque = r,
    };
    struct audio_encoder_config audio = {
        .bitrate = config->audio_bitrate, .on_packet = on_audio, .opaque = r};
    int result = video_encoder_create(&video, &r->video, reterr);
    if (!result)
        result = audio_encoder_create(&audio, &r->audio, reterr);
    if (!result && thread_start(&r->thread, r->name, run, r))
        result = diagnostic_set(reterr, -EAGAIN, "thread", "", "no thread for an encoder");
    if (result) {
        rendition_destroy(&r);
        return result;
    }
    r->running = true;
    *ret = r;
    return 0;
}

void rendition_destroy(struct rendition **rendition)
{
    struct rendition *r = *rendition;
    if (!r)
        return;
    *rendition = NULL;
    queue_close(r->queue);
    if (r->running)
        thread_join(r->thread);
    queue_destroy(&r->queue);
    video_encoder_destroy(&r->video);
    audio_encoder_destroy(&r->audio);
    free(r);
}

void rendition_push(struct rendition *r, const struct programme_frame *frame)
{
    struct item *item = base_alloc(sizeof *item);
    item->frame = programme_frame_ref(frame);
    item->sound_only = !frame->picture || queue_count(r->queue) >= QUEUE_PICTURES;
    bool dropped = item->sound_only;
    if (queue_push(r->queue, item, 0)) {
        item_release(item);
        dropped = true;
    }
    if (dropped)
        atomic_fetch_add(&r->dropped, 1);
}

void rendition_stats(struct rendition *r, struct rendition_stats *ret)
{
    *ret = (struct rendition_stats){
        .frames = atomic_load(&r->frames),
        .dropped = atomic_load(&r->dropped),
        .failed = atomic_load(&r->failed),
        .frame = atomic_load(&r->frame),
    };
    cost_read(&r->cost, &ret->median_ms, &ret->p99_ms);
}

const uint8_t *rendition_video_extradata(const struct rendition *r, size_t *ret_size)
{
    return video_encoder_extradata(r->video, ret_size);
}

const uint8_t *rendition_audio_extradata(const struct rendition *r, size_t *ret_size)
{
    return audio_encoder_extradata(r->audio, ret_size);
}
