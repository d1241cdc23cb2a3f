#include "edge/encode/rendition.h"

#include "engine/base/clock.h"
#include "engine/base/cost.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define QUEUE_FRAMES 150 // sound is kept up to here
#define HELD_AUDIO   240 // packets of 1024 samples: five seconds

struct item {
    struct programme_frame *frame;
    bool sound_only;
};

struct rendition {
    // -- constant after create
    struct rendition_config config;
    char name[32];
    size_t lanes_lag; // pictures that wait where a lane is as slow as lanes may be
    struct gop_encoder *video;
    struct audio_encoder *audio;
    struct queue *queue; // struct item *
    pthread_t thread;
    bool running;
    // -- under the lock
    pthread_mutex_t lock;
    struct cost cost;
    struct packet *held[HELD_AUDIO]; // audio that is ahead of video, oldest first
    int held_count;
    struct log_limit failure_log;
    // -- atomic
    _Atomic uint64_t frames, dropped, failed;
    _Atomic int64_t frame;
    _Atomic bool idle;
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
    pthread_mutex_lock(&r->lock);
    if (r->held_count == HELD_AUDIO) // there is no video: sound alone is better than nothing
        give_held(r, 1);
    r->held[r->held_count++] = packet;
    pthread_mutex_unlock(&r->lock);
}

static void on_video(void *opaque, struct packet *packet)
{
    struct rendition *r = opaque;
    int64_t sample = rate_first_sample(r->config.rate, packet->dts) - RENDITION_SOUND_BEHIND;
    int due = 0;
    pthread_mutex_lock(&r->lock);
    while (due < r->held_count && r->held[due]->dts <= sample)
        due++;
    give_held(r, due);
    r->config.on_packet(r->config.opaque, packet);
    pthread_mutex_unlock(&r->lock);
}

static void failed(struct rendition *r, int64_t frame, int error)
{
    pthread_mutex_lock(&r->lock);
    uint64_t count = log_limit(&r->failure_log, clock_monotonic_ns(), INT64_C(10000000000));
    pthread_mutex_unlock(&r->lock);
    if (count)
        log_error("encode_failed", "rendition=%s frame=%lld error=%d count=%llu", r->name,
                  (long long)frame, error, (unsigned long long)count);
}

static void on_done(void *opaque, int64_t n, int result, int64_t ns)
{
    struct rendition *r = opaque;
    pthread_mutex_lock(&r->lock);
    cost_add(&r->cost, ns);
    if (n > atomic_load(&r->frame)) // another lane may be further
        atomic_store(&r->frame, n);
    pthread_mutex_unlock(&r->lock);
    atomic_fetch_add(result ? &r->failed : &r->frames, 1);
    if (result)
        failed(r, n, result);
}

static void encode_item(struct rendition *r, const struct item *item)
{
    const struct programme_frame *f = item->frame;
    int sound = audio_encoder_sound(r->audio, f->first_sample, f->samples, f->sample_count);
    int picture = item->sound_only ? 0 : gop_encoder_picture(r->video, f);
    if (picture)
        atomic_fetch_add(&r->failed, 1);
    if (sound || picture)
        failed(r, f->frame, picture ? picture : sound);
}

static void *run(void *opaque)
{
    struct rendition *r = opaque;
    void *item;
    while (!queue_pop(r->queue, &item, -1)) {
        encode_item(r, item);
        item_release(item);
    }
    return NULL;
}

static int processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > GOP_LANES_MAX ? GOP_LANES_MAX : (int)count;
}

int rendition_create(const struct rendition_config *config, struct rendition **ret,
                     struct diagnostic *reterr)
{
    struct rendition *r = base_alloc(sizeof *r);
    int lanes = config->lanes ? config->lanes : processors();
    r->config = *config;
    // A lane with the speed of one in `lanes` is so far behind at the end of a GOP.
    r->lanes_lag = (size_t)(config->gop_frames * (lanes - 1) / lanes);
    pthread_mutex_init(&r->lock, NULL);
    snprintf(r->name, sizeof r->name, "%s", config->name);
    r->queue = queue_create(QUEUE_FRAMES, item_release);
    struct gop_encoder_config video = {
        .name = r->name,
        .video =
            {
                .width = config->width,
                .height = config->height,
                .rate = config->rate,
                .bitrate = config->video_bitrate,
                .gop_frames = config->gop_frames,
                .preset = config->preset,
                .on_packet = on_video,
                .opaque = r,
            },
        .lanes = lanes,
        .on_done = on_done,
    };
    struct audio_encoder_config audio = {
        .bitrate = config->audio_bitrate, .on_packet = on_audio, .opaque = r};
    int result = gop_encoder_create(&video, &r->video, reterr);
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
    gop_encoder_destroy(&r->video);
    give_held(r, r->held_count);
    audio_encoder_destroy(&r->audio);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static size_t waiting(const struct rendition *r)
{
    return queue_count(r->queue) + (size_t)gop_encoder_waiting(r->video);
}

void rendition_push(struct rendition *r, const struct programme_frame *frame)
{
    if (atomic_load(&r->idle))
        return;
    struct item *item = base_alloc(sizeof *item);
    item->frame = programme_frame_ref(frame);
    item->sound_only = !frame->picture || waiting(r) >= r->lanes_lag + RENDITION_WAITING_MAX;
    bool dropped = item->sound_only;
    if (queue_push(r->queue, item, 0)) {
        item_release(item);
        dropped = true;
    }
    if (dropped)
        atomic_fetch_add(&r->dropped, 1);
}

void rendition_set_idle(struct rendition *r, bool idle)
{
    atomic_store(&r->idle, idle);
    gop_encoder_set_idle(r->video, idle);
}

void rendition_stats(struct rendition *r, struct rendition_stats *ret)
{
    size_t count = waiting(r);
    *ret = (struct rendition_stats){
        .frames = atomic_load(&r->frames),
        .dropped = atomic_load(&r->dropped),
        .failed = atomic_load(&r->failed),
        .waiting = count > r->lanes_lag ? count - r->lanes_lag : 0,
        .frame = atomic_load(&r->frame),
    };
    cost_read(&r->cost, &ret->median_ms, &ret->p99_ms);
}

const uint8_t *rendition_video_extradata(const struct rendition *r, size_t *ret_size)
{
    return gop_encoder_extradata(r->video, ret_size);
}

const uint8_t *rendition_audio_extradata(const struct rendition *r, size_t *ret_size)
{
    return audio_encoder_extradata(r->audio, ret_size);
}
