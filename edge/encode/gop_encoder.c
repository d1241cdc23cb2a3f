#include "edge/encode/gop_encoder.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

// Who gives pictures bounds them; a lane only has to hold what it is given.
#define LANE_ITEMS (4 * VIDEO_GOP_MAX)

struct gop {
    struct gop *next;
    bool ended;
    int held_count;
    struct packet *held[]; // made before the GOP's turn
};

struct item {
    struct gop *gop;
    struct programme_frame *frame; // NULL: the GOP is over
};

struct lane {
    struct gop_encoder *owner;
    struct video_encoder *video;
    struct queue *queue; // struct item *
    pthread_t thread;
    bool running;
    _Atomic int waiting; // items
    struct gop *gop;     // lane's thread: what it encodes
};

struct gop_encoder {
    // -- constant after create
    struct gop_encoder_config config;
    int lane_count;
    struct lane lanes[GOP_LANES_MAX];
    // -- who gives pictures
    struct lane *lane; // of the GOP under way
    struct gop *gop;
    int64_t gop_number, last_frame;
    // -- any
    _Atomic int waiting;
    _Atomic bool idle;
    // -- under the lock
    pthread_mutex_t lock;
    struct gop *oldest, *newest; // not whole yet; packets of the oldest are given as they come
};

static void give(struct gop_encoder *e, struct packet *packet)
{
    e->config.video.on_packet(e->config.video.opaque, packet);
}

static void on_packet(void *opaque, struct packet *packet)
{
    struct lane *lane = opaque;
    struct gop_encoder *e = lane->owner;
    pthread_mutex_lock(&e->lock);
    if (lane->gop == e->oldest)
        give(e, packet);
    else
        lane->gop->held[lane->gop->held_count++] = packet;
    pthread_mutex_unlock(&e->lock);
}

// The next GOP's turn comes; some that follow may be whole already.
static void gop_end(struct gop_encoder *e, struct gop *ended)
{
    pthread_mutex_lock(&e->lock);
    ended->ended = true;
    while (e->oldest && e->oldest->ended) {
        struct gop *gop = e->oldest;
        e->oldest = gop->next;
        free(gop);
        for (int i = 0; e->oldest && i < e->oldest->held_count; i++)
            give(e, e->oldest->held[i]);
        if (e->oldest)
            e->oldest->held_count = 0;
    }
    if (!e->oldest)
        e->newest = NULL;
    pthread_mutex_unlock(&e->lock);
}

static void encode(struct lane *lane, const struct programme_frame *frame)
{
    struct gop_encoder *e = lane->owner;
    int64_t start_ns = clock_monotonic_ns();
    if (!atomic_load(&e->idle)) {
        int result = video_encoder_picture(lane->video, frame->frame, frame->picture);
        e->config.on_done(e->config.video.opaque, frame->frame, result,
                          clock_monotonic_ns() - start_ns);
    }
    atomic_fetch_sub(&e->waiting, 1);
}

static void *run(void *opaque)
{
    struct lane *lane = opaque;
    void *popped;
    while (!queue_pop(lane->queue, &popped, -1)) {
        struct item *item = popped;
        lane->gop = item->gop;
        if (item->frame) {
            encode(lane, item->frame);
            programme_frame_unref(&item->frame);
        } else {
            (void)video_encoder_drain(lane->video); // what fails here shows as missing packets
            gop_end(lane->owner, item->gop);
        }
        atomic_fetch_sub(&lane->waiting, 1);
        free(item);
    }
    return NULL;
}

static int start_lane(struct gop_encoder *e, int i, struct diagnostic *reterr)
{
    struct lane *lane = &e->lanes[i];
    struct video_encoder_config video = e->config.video;
    char name[32];
    lane->owner = e;
    lane->queue = queue_create(LANE_ITEMS, NULL);
    video.on_packet = on_packet;
    video.opaque = lane;
    int result = video_encoder_create(&video, &lane->video, reterr);
    snprintf(name, sizeof name, "%s.%d", e->config.name, i + 1);
    if (!result && thread_start(&lane->thread, name, run, lane))
        result = diagnostic_set(reterr, -EAGAIN, "thread", "", "no thread for an encoder");
    lane->running = !result;
    return result;
}

int gop_encoder_create(const struct gop_encoder_config *config, struct gop_encoder **ret,
                       struct diagnostic *reterr)
{
    struct gop_encoder *e = base_alloc(sizeof *e);
    int result = 0;
    e->config = *config;
    pthread_mutex_init(&e->lock, NULL);
    for (; !result && e->lane_count < config->lanes; e->lane_count++)
        result = start_lane(e, e->lane_count, reterr);
    if (result)
        gop_encoder_destroy(&e);
    else
        *ret = e;
    return result;
}

static void give_item(struct gop_encoder *e, struct programme_frame *frame)
{
    struct item *item = base_alloc(sizeof *item);
    *item = (struct item){e->gop, frame};
    atomic_fetch_add(&e->lane->waiting, 1);
    (void)queue_push(e->lane->queue, item, -1); // has room, and is open as long as we are
}

static void end_gop(struct gop_encoder *e)
{
    if (e->gop)
        give_item(e, NULL);
    e->gop = NULL;
}

static void begin_gop(struct gop_encoder *e)
{
    e->gop =
        base_alloc(sizeof *e->gop + (size_t)e->config.video.gop_frames * sizeof(struct packet *));
    e->lane = &e->lanes[0];
    for (int i = 1; i < e->lane_count; i++)
        if (atomic_load(&e->lanes[i].waiting) < atomic_load(&e->lane->waiting))
            e->lane = &e->lanes[i];
    pthread_mutex_lock(&e->lock);
    *(e->newest ? &e->newest->next : &e->oldest) = e->gop;
    e->newest = e->gop;
    pthread_mutex_unlock(&e->lock);
}

int gop_encoder_picture(struct gop_encoder *e, const struct programme_frame *frame)
{
    int64_t number = video_encoder_gop(&e->config.video, frame->frame);
    if (e->gop && frame->frame <= e->last_frame)
        return -EINVAL;
    if (!e->gop || number != e->gop_number) {
        end_gop(e);
        begin_gop(e);
    }
    e->gop_number = number;
    e->last_frame = frame->frame;
    atomic_fetch_add(&e->waiting, 1);
    give_item(e, programme_frame_ref(frame));
    return 0;
}

void gop_encoder_destroy(struct gop_encoder **encoder)
{
    struct gop_encoder *e = *encoder;
    if (!e)
        return;
    *encoder = NULL;
    end_gop(e);
    for (int i = 0; i < GOP_LANES_MAX; i++) {
        struct lane *lane = &e->lanes[i];
        if (lane->queue)
            queue_close(lane->queue);
        if (lane->running)
            thread_join(lane->thread);
        queue_destroy(&lane->queue);
        video_encoder_destroy(&lane->video);
    }
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void gop_encoder_set_idle(struct gop_encoder *e, bool idle)
{
    atomic_store(&e->idle, idle);
}

int gop_encoder_waiting(struct gop_encoder *e)
{
    return atomic_load(&e->waiting);
}

const uint8_t *gop_encoder_extradata(const struct gop_encoder *e, size_t *ret_size)
{
    return video_encoder_extradata(e->lanes[0].video, ret_size);
}
