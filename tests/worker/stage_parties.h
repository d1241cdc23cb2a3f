// What a render stage talks to, for its tests: peers and links that are stood in for, so that a
// test decides what gets through and when. What arrives is decoded, to be compared with an uncut
// render. Each test includes this once.
#pragma once

#include "worker/render/stage.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "engine/link/block_reader.h"
#include "engine/media/media.h"
#include "engine/receive/links.h"
#include "engine/receive/payload.h"
#include "engine/render/render.h"
#include "tests/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#define W            64
#define H            36
#define START        990 // channel frame of the timeline's frame 0
#define AT           1000
#define FRAMES_MAX   2000
#define PATIENCE_NS  INT64_C(60000000000)
#define HOST         77
#define NEVER_REPEAT INT64_C(3600000000000)

static const struct rate rate = {30, 1};

// Three tracks of which the upper two may be cut off: a pattern that moves in every frame, an
// adjustment of it, and a moving shape. A clip far in has lost its picture.
static const char timeline_text[] =
    "{\"schema\":\"vistter.timeline/1\",\"name\":\"stage\","
    "\"format\":{\"width\":64,\"height\":36,\"rate\":\"30\"},"
    "\"assets\":{\"gone\":\"sha256:"
    "0000000000000000000000000000000000000000000000000000000000000000\"},"
    "\"tracks\":["
    "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":3000,\"pattern\":{\"kind\":"
    "\"grid\"},\"position\":{\"keyframes\":[{\"at\":0,\"value\":[0,0]},{\"at\":3000,\"value\":"
    "[30,0]}]}}]},"
    "{\"clips\":[{\"kind\":\"adjust\",\"start\":0,\"duration\":3000,\"brightness\":0.1,"
    "\"contrast\":1.3}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":2000,\"shape\":{\"kind\":\"ellipse\","
    "\"size\":[20,20],\"fill\":\"#ff8040c0\"},\"position\":{\"keyframes\":[{\"at\":0,\"value\":"
    "[10,10]},{\"at\":50,\"value\":[50,30]}]}},"
    "{\"kind\":\"image\",\"start\":2000,\"duration\":10,\"asset\":\"gone\"}]}]}";

// ---- What the stage talks to ------------------------------------------------------------------

struct frame_peer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_int references;
    // -- guarded by lock
    int room;     // messages that it takes; then its queue is full
    int attempts; // calls of frame_peer_send
    bool hold;    // they take until this is false
    int count[FRAMES_MAX];
    int64_t newest;
    struct group_frame *frames[FRAMES_MAX]; // decoded
    struct frame_client *client;            // or: a link to another stage
    struct block_reader *blocks;            // of a peer on the stage's host
    struct block_name last_block;
};

struct frame_client {
    struct frame_client_config config;
    struct frame_peer peer;
    atomic_bool closed;
};

static struct media_cache *cache;
static struct block_pool *blocks; // NULL: memory is not shared
static uint8_t revision[32];
static char folder[] = "/tmp/vistter-stage-test-XXXXXX";
static struct stage *providers[4]; // of links, by group
static struct stage_times times;
static const char *live_folder; // of logs

static inline void peer_init(struct frame_peer *peer, int room)
{
    memset(peer, 0, sizeof *peer);
    pthread_mutex_init(&peer->lock, NULL);
    pthread_cond_init(&peer->changed, NULL);
    atomic_init(&peer->references, 1);
    peer->room = room;
    peer->newest = -1;
}

static inline void peer_finish(struct frame_peer *peer)
{
    CHECK(atomic_load(&peer->references), ==, 1); // nobody sends any more
    for (int i = 0; i < FRAMES_MAX; i++)
        group_frame_unref(&peer->frames[i]);
    block_reader_destroy(&peer->blocks);
    pthread_cond_destroy(&peer->changed);
    pthread_mutex_destroy(&peer->lock);
}

struct frame_peer *frame_peer_ref(struct frame_peer *peer)
{
    atomic_fetch_add(&peer->references, 1);
    return peer;
}

void frame_peer_unref(struct frame_peer **peer)
{
    atomic_fetch_sub(&(*peer)->references, 1);
    *peer = NULL;
}

static inline void take_body(struct frame_peer *peer, const struct frame_header *h,
                             struct frame_body *body)
{
    struct group_frame *frame = NULL;
    int32_t *stem = NULL;
    const struct group_frame *base = h->base_frame == h->frame ? NULL : peer->frames[h->base_frame];
    CHECK_TRUE(base || h->base_frame == h->frame); // its key came before
    CHECK_OK(payload_decode(body, W, H, base, rate_sample_count(rate, h->frame), &frame, &stem));
    frame_body_unref(&body);
    group_frame_unref(&peer->frames[h->frame]);
    peer->frames[h->frame] = frame;
    free(stem);
}

static inline int take(struct frame_peer *peer, const struct frame_header *h,
                       struct frame_body *body)
{
    pthread_mutex_lock(&peer->lock);
    peer->attempts++;
    pthread_cond_broadcast(&peer->changed);
    while (peer->hold)
        pthread_cond_wait(&peer->changed, &peer->lock);
    int error = peer->room ? 0 : -EAGAIN;
    CHECK_TRUE(h->frame >= 0 && h->frame < FRAMES_MAX);
    if (!error) {
        peer->room--;
        peer->count[h->frame]++;
        peer->newest = h->frame;
        take_body(peer, h, body);
    } else {
        frame_body_unref(&body);
    }
    pthread_cond_broadcast(&peer->changed);
    pthread_mutex_unlock(&peer->lock);
    return error;
}

int frame_peer_send(struct frame_peer *peer, const struct frame_header *h, const void *payload,
                    size_t size)
{
    uint8_t *copy = malloc(size);
    memcpy(copy, payload, size);
    struct frame_body *body = frame_body_coded(copy, size);
    if (!peer->client)
        return take(peer, h, body);
    peer->client->config.on_frame(peer->client->config.opaque, h, body);
    return 0;
}

int frame_peer_send_block(struct frame_peer *peer, const struct frame_header *h,
                          const struct block_name *name, uint32_t start)
{
    CHECK(start, ==, 1); // as wanted
    struct frame_body *body;
    CHECK_OK(block_reader_open(peer->blocks, name, h, &body));
    peer->last_block = *name;
    return take(peer, h, body);
}

static bool answers = true; // providers that are called from now on
static struct frame_client *newest_client;

int frame_client_create(const struct frame_client_config *config, struct frame_client **ret,
                        struct diagnostic *reterr)
{
    (void)reterr;
    struct frame_client *c = base_alloc(sizeof *c);
    c->config = *config;
    peer_init(&c->peer, 0);
    c->peer.client = c;
    *ret = c;
    c->config.on_state(c->config.opaque, answers);
    newest_client = c;
    return 0;
}

void frame_client_close(struct frame_client *client)
{
    atomic_store(&client->closed, true);
}

void frame_client_destroy(struct frame_client **client)
{
    for (int g = 0; g < 4; g++)
        if (providers[g])
            stage_gone(providers[g], &(*client)->peer);
    while (atomic_load(&(*client)->peer.references) > 1) // a stage that is sending to it
        clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
    peer_finish(&(*client)->peer);
    free(*client);
    *client = NULL;
}

void frame_client_want(struct frame_client *client, const struct frame_want *want)
{
    if (!atomic_load(&client->closed))
        stage_want(providers[want->group], &client->peer, want);
}

int64_t frame_client_heard_ns(const struct frame_client *client)
{
    (void)client;
    return clock_monotonic_ns();
}

int64_t frame_client_received_ns(const struct frame_client *client)
{
    (void)client;
    return clock_monotonic_ns();
}

void frame_client_stats(struct frame_client *client, struct frame_link_stats *ret)
{
    (void)client;
    *ret = (struct frame_link_stats){0};
}

// ---- Words for the stories --------------------------------------------------------------------

// Waits until `*value` is at least `least`.
static inline void peer_wait(struct frame_peer *peer, const int *value, int least)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_NS / 1000000000;
    pthread_mutex_lock(&peer->lock);
    int late = 0;
    while (*value < least && !late)
        late = pthread_cond_timedwait(&peer->changed, &peer->lock, &until);
    CHECK(*value, >=, least);
    pthread_mutex_unlock(&peer->lock);
}

static inline void peer_make_room(struct frame_peer *peer, int room)
{
    pthread_mutex_lock(&peer->lock);
    peer->room = room;
    pthread_mutex_unlock(&peer->lock);
}

static inline int peer_count(struct frame_peer *peer, int64_t frame)
{
    pthread_mutex_lock(&peer->lock);
    int count = peer->count[frame];
    pthread_mutex_unlock(&peer->lock);
    return count;
}

static inline struct frame_want want_of(uint32_t group, int64_t from, int64_t credit)
{
    return (struct frame_want){
        .channel = 7, .group = group, .plan_epoch = 3, .start = 1, .from = from, .credit = credit};
}

// A plan of one group, or of two with the cut beneath the adjust track.
struct test_plan {
    Vistter__Control__V1__ChannelPlan plan;
    Vistter__Control__V1__GroupPlan groups[2], *group_pointers[2];
    Vistter__Control__V1__LinkPlan link, *link_pointer;
    uint8_t key[LINK_KEY_BYTES];
};

static inline void plan_init(struct test_plan *p, int groups)
{
    memset(p, 0, sizeof *p);
    vistter__control__v1__channel_plan__init(&p->plan);
    vistter__control__v1__link_plan__init(&p->link);
    p->link.consumer = "worker-2";
    p->link.link_id = "link.A";
    p->link.key = (ProtobufCBinaryData){sizeof p->key, p->key};
    p->link_pointer = &p->link;
    p->plan.channel = 7;
    p->plan.plan_epoch = 3;
    p->plan.width = W;
    p->plan.height = H;
    p->plan.rate_num = 30;
    p->plan.rate_den = 1;
    p->plan.at_frame = AT;
    p->plan.start_frame = START;
    p->plan.revision = (ProtobufCBinaryData){sizeof revision, revision};
    p->plan.groups = p->group_pointers;
    p->plan.n_groups = (size_t)groups;
    for (int i = 0; i < groups; i++) {
        Vistter__Control__V1__GroupPlan *g = p->group_pointers[i] = &p->groups[i];
        vistter__control__v1__group_plan__init(g);
        g->group = (uint32_t)i + 1;
        g->track_from = i ? 1 : 0;
        g->track_to = i || groups == 1 ? 3 : 1;
        g->from_base = !i;
        g->needs_beneath = i;
        g->provider_address = "elsewhere:1";
        g->links = &p->link_pointer;
        g->n_links = 1;
    }
}

static inline struct stage *start(const struct test_plan *p, size_t group, struct links *links,
                                  int64_t repeat_ns)
{
    struct stage_config config = {.plan = &p->plan,
                                  .group = group,
                                  .cache = cache,
                                  .node = "worker-2",
                                  .links = links,
                                  .blocks = blocks,
                                  .host = HOST,
                                  .times = &times,
                                  .live_folder = live_folder,
                                  .repeat_ns = repeat_ns};
    return stage_create(&config);
}

static inline struct stage_status wait_state(struct stage *s, enum stage_state state)
{
    struct stage_status status;
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        stage_read(s, &status);
        if (status.state == state || clock_monotonic_ns() > until)
            break;
        clock_sleep_until_ns(clock_monotonic_ns() + 2000000);
    }
    CHECK(status.state, ==, state);
    return status;
}

static inline uint64_t frames_made(struct stage *s)
{
    struct stage_status status;
    stage_read(s, &status);
    return status.frames;
}

// A stage of the whole timeline, committed at once.
static inline struct stage *start_whole(int64_t repeat_ns)
{
    struct test_plan p;
    plan_init(&p, 1);
    struct stage *s = start(&p, 0, NULL, repeat_ns);
    stage_commit(s, AT, START);
    return s;
}

// Compares what the peers got of frame `n` (`count` groups, bottom to top) with an uncut render.
static inline void check_picture(struct frame_peer *const *peers, int count, int64_t n)
{
    struct timeline *timeline = NULL;
    struct renderer *renderer = NULL;
    CHECK_OK(timeline_parse(timeline_text, strlen(timeline_text), NULL, NULL, &timeline, NULL));
    struct render_config config = {
        .timeline = timeline, .width = W, .height = H, .rate = rate, .track_to = 3, .base = true};
    struct group_frame *whole = NULL;
    struct picture *expected = NULL, *got = NULL;
    struct render_report report;
    const struct group_frame *groups[2];
    for (int i = 0; i < count; i++)
        groups[i] = peers[i]->frames[n];
    CHECK_OK(renderer_create(&config, &renderer, NULL));
    CHECK_OK(renderer_frame(renderer, n - START, n, NULL, &whole, NULL, &report));
    CHECK_OK(group_fold_over(NULL, whole, &expected));
    CHECK_OK(group_fold_all(NULL, groups, count, &got));
    CHECK_TRUE(got && picture_checksum(got) == picture_checksum(expected));
    picture_unref(&got);
    picture_unref(&expected);
    group_frame_unref(&whole);
    renderer_destroy(&renderer);
    timeline_unref(&timeline);
}

static inline void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK_TRUE(file);
    fputs(text, file);
    fclose(file);
}

// Puts a timeline into the cache's folder: it is the revision that plans have.
static inline void store_timeline(const char *text)
{
    char path[128], name[65], named[256];
    snprintf(path, sizeof path, "%s/new", folder);
    write_file(path, text);
    CHECK_OK(media_hash_file(path, name, NULL));
    snprintf(named, sizeof named, "%s/%s", folder, name);
    CHECK_OK(rename(path, named));
    for (int i = 0; i < 32; i++) {
        char hex[3] = {name[2 * i], name[2 * i + 1], 0};
        revision[i] = (uint8_t)strtoul(hex, NULL, 16);
    }
}

static inline void open_cache_of(const char *timeline)
{
    char path[128];
    CHECK_TRUE(mkdtemp(folder));
    // The picture that is nowhere: its facts say nothing, so nobody waits for the rest.
    snprintf(path, sizeof path, "%s/%064d.json", folder, 0);
    write_file(path, "{}");
    store_timeline(timeline);
    struct media_cache_config config = {folder, 1 << 30};
    CHECK_OK(media_cache_create(&config, &cache, NULL));
}

static inline void open_cache(void)
{
    open_cache_of(timeline_text);
}

static inline void close_cache(void)
{
    media_cache_destroy(&cache);
    CHECK(picture_outstanding(), ==, 0);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!check_failures)
        CHECK_OK(system(command));
}
