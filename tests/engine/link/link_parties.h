// The two sides of a frame link for tests: a provider of made-up frames, and a consumer that checks
// what comes. Each test includes this once.
#pragma once

#include "engine/link/frame_link.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/link/block_pool.h"
#include "engine/link/tile_codec.h"
#include "tests/engine/compose/random_picture.h"

#define FRAMES     300
#define WIDTH      320
#define HEIGHT     180
#define SECOND_NS  INT64_C(1000000000)
#define PATIENCE_S 60

static bool srt_only; // of the providers that are started from now on
static const uint8_t key[LINK_KEY_BYTES] = {7, 7, 7, 1, 2, 3};
static const struct frame_want wish = {.channel = 5, .group = 2, .plan_epoch = 3, .credit = FRAMES};

// The coded frames that providers send; every tenth is a key, the others refer to it.
static struct group_frame *frames[FRAMES];
static uint8_t *coded[FRAMES];
static size_t coded_size[FRAMES];

static inline void make_frames(uint64_t *state)
{
    struct group_builder *builder = group_builder_create(WIDTH, HEIGHT);
    struct picture *base = NULL;
    for (int i = 0; i < FRAMES; i++) {
        if (i % 10 == 0) {
            picture_unref(&base);
            base = random_picture(state, PICTURE_OPAQUE, WIDTH, HEIGHT);
        }
        struct picture *layer = random_picture(state, PICTURE_ALPHA, 80, 60);
        group_builder_begin(builder, base);
        group_builder_add(builder, layer, 2 * random_below(state, 120), 2 * random_below(state, 60),
                          255, BLEND_NORMAL);
        CHECK_OK(group_builder_finish(builder, &frames[i]));
        CHECK_OK(group_encode(frames[i], i % 10 ? frames[i / 10 * 10] : NULL, &coded[i],
                              &coded_size[i]));
        picture_unref(&layer);
    }
    picture_unref(&base);
    group_builder_destroy(&builder);
}

static inline struct frame_header header_of(int64_t frame)
{
    return (struct frame_header){
        .kind = FRAME_MESSAGE_PICTURE,
        .channel = wish.channel,
        .group = wish.group,
        .plan_epoch = wish.plan_epoch,
        .frame = frame,
        .base_frame = frame / 10 * 10,
        .width = WIDTH,
        .height = HEIGHT,
        .revision = {1, 2, 3},
    };
}

// ---- A provider: sends what is below the credit, once, and what is missing ---------------------

struct provider {
    struct frame_server *server;
    pthread_mutex_t lock;
    struct frame_peer *peer;
    int64_t next;
    int wants, gone;
    int others;                // wants of groups that no consumer here asks for
    int named;                 // frames that wants named as missing
    bool mute;                 // only remembers the peer
    struct block_pool *blocks; // frames for this host go into blocks
    struct block *block[FRAMES];
    bool nowhere;               // and are told to stand where they do not
    int64_t keep;               // as wanted last
    int64_t missing_at[FRAMES]; // when it was sent last: requests repeat
    atomic_int key_requests;
};

static inline bool provider_key(void *opaque, const char *consumer, const char *link_id,
                                uint8_t ret_key[LINK_KEY_BYTES])
{
    struct provider *p = opaque;
    atomic_fetch_add(&p->key_requests, 1);
    memcpy(ret_key, key, LINK_KEY_BYTES);
    return !strcmp(consumer, "edge-1") && !strcmp(link_id, "link.A");
}

static inline int send_one(struct provider *p, int64_t frame, bool block)
{
    struct frame_header header = header_of(frame);
    if (block) {
        if (!p->block[frame]) {
            CHECK_OK(block_take(p->blocks, coded_size[frame], &p->block[frame]));
            memcpy(p->block[frame]->content, coded[frame], coded_size[frame]);
        }
        struct block_name name = p->block[frame]->name;
        name.descriptor += p->nowhere ? 1000000 : 0;
        header.base_frame = frame;
        return frame_peer_send_block(p->peer, &header, &name, wish.start);
    }
    return frame_peer_send(p->peer, &header, coded[frame], coded_size[frame]);
}

static inline void provider_want(void *opaque, struct frame_peer *peer,
                                 const struct frame_want *want)
{
    struct provider *p = opaque;
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&p->lock);
    bool block = p->blocks && want->host == block_host();
    p->wants++;
    p->keep = want->keep;
    p->others += want->group != wish.group;
    p->named += want->missing_count;
    if (p->peer != peer)
        p->next = want->from;
    p->peer = peer;
    for (int i = 0; i < want->missing_count && !p->mute; i++) {
        int64_t frame = want->missing[i];
        if (frame >= 0 && frame < p->next && now - p->missing_at[frame] > SECOND_NS / 5 &&
            !send_one(p, frame, block))
            p->missing_at[frame] = now;
    }
    while (!p->mute && p->next < want->credit && p->next < FRAMES && !send_one(p, p->next, block))
        p->next++;
    pthread_mutex_unlock(&p->lock);
}

static inline void provider_gone(void *opaque, struct frame_peer *peer)
{
    struct provider *p = opaque;
    pthread_mutex_lock(&p->lock);
    p->gone++;
    if (p->peer == peer)
        p->peer = NULL;
    pthread_mutex_unlock(&p->lock);
}

static inline int provider_start(struct provider *p, int port)
{
    pthread_mutex_init(&p->lock, NULL);
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    struct frame_server_config config = {
        .listen = listen,
        .link_key = provider_key,
        .on_want = provider_want,
        .on_gone = provider_gone,
        .opaque = p,
        .srt_only = srt_only,
    };
    struct diagnostic diagnostic = {0};
    int error = frame_server_create(&config, &p->server, &diagnostic);
    if (error)
        fprintf(stderr, "%s\n", diagnostic.text);
    return error;
}

static inline void provider_stop(struct provider *p)
{
    frame_server_destroy(&p->server);
    pthread_mutex_destroy(&p->lock);
}

// ---- A consumer: asks for what has not come ----------------------------------------------------

struct consumer {
    struct frame_client *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool have[FRAMES];
    int received, repeated, wrong, stored, connects, disconnects, latency_ms;
    int64_t newest;
};

// Wishes for all that is missing; called with the lock held.
static inline void ask(struct consumer *c)
{
    struct frame_want want = wish;
    while (want.from < FRAMES && c->have[want.from])
        want.from++;
    int64_t end = c->newest < FRAMES - 10 ? c->newest : FRAMES; // the last ones may be lost too
    for (int64_t i = want.from; i < end && want.missing_count < FRAME_WANT_MISSING_MAX; i++)
        if (!c->have[i])
            want.missing[want.missing_count++] = i;
    // Frames may come before the client is known here, and while it is being destroyed.
    if (c->client)
        frame_client_want(c->client, &want);
}

static inline void consumer_frame(void *opaque, const struct frame_header *header,
                                  struct frame_body *body)
{
    struct consumer *c = opaque;
    struct frame_header expected = header_of(header->frame);
    if (body->stored)
        expected.base_frame = header->frame;
    pthread_mutex_lock(&c->lock);
    if (header->frame < 0 || header->frame >= FRAMES || header->channel != expected.channel ||
        header->base_frame != expected.base_frame || header->width != WIDTH ||
        body->size != coded_size[header->frame] ||
        memcmp(body->bytes, coded[header->frame], body->size)) {
        c->wrong++;
    } else if (c->have[header->frame]) {
        c->repeated++;
    } else {
        c->have[header->frame] = true;
        c->received++;
        c->stored += body->stored;
        c->newest = header->frame > c->newest ? header->frame : c->newest;
    }
    ask(c);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    frame_body_unref(&body);
}

static inline void consumer_state(void *opaque, bool connected)
{
    struct consumer *c = opaque;
    pthread_mutex_lock(&c->lock);
    c->connects += connected;
    c->disconnects += !connected;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static inline void consumer_start(struct consumer *c, int port, const char *link,
                                  const uint8_t *own_key)
{
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct frame_client_config config = {
        .address = address,
        .consumer = "edge-1",
        .link_id = link,
        .latency_ms = c->latency_ms ? c->latency_ms : 60,
        .on_frame = consumer_frame,
        .on_state = consumer_state,
        .opaque = c,
    };
    memcpy(config.key, own_key, LINK_KEY_BYTES);
    struct frame_client *client = NULL;
    pthread_mutex_lock(&c->lock); // callbacks wait until `client` is set
    CHECK_OK(frame_client_create(&config, &client, NULL));
    c->client = client;
    frame_client_want(client, &wish);
    pthread_mutex_unlock(&c->lock);
}

// Waits until *value is at least `least`, under the consumer's lock. When nothing has happened for
// half a second, the end of the stream may have been lost: then everything that is not here is
// asked for, as a consumer does whose deadline is near.
static inline bool consumer_wait(struct consumer *c, const int *value, int least)
{
    struct timespec until;
    pthread_mutex_lock(&c->lock);
    int patience = 2 * PATIENCE_S;
    while (*value < least && patience) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += SECOND_NS / 2;
        until.tv_sec += until.tv_nsec / SECOND_NS;
        until.tv_nsec %= SECOND_NS;
        if (!pthread_cond_timedwait(&c->changed, &c->lock, &until))
            continue;
        patience--;
        c->newest = FRAMES;
        ask(c);
    }
    bool reached = *value >= least;
    if (!reached)
        fprintf(stderr, "gave up: %d received, %d connects, %d disconnects\n", c->received,
                c->connects, c->disconnects);
    pthread_mutex_unlock(&c->lock);
    return reached;
}

static inline void consumer_stop(struct consumer *c)
{
    pthread_mutex_lock(&c->lock);
    struct frame_client *client = c->client;
    c->client = NULL;
    pthread_mutex_unlock(&c->lock);
    frame_client_destroy(&client);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}

static inline void free_frames(void)
{
    for (int i = 0; i < FRAMES; i++) {
        free(coded[i]);
        group_frame_unref(&frames[i]);
    }
    CHECK(picture_outstanding(), ==, 0);
}
