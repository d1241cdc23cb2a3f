// Frame links on loopback: what is sent arrives, whole, once opened, and only for who has the key;
// through losses and restarts too.
#include "engine/link/frame_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/link/frame_want.h"
#include "engine/link/link_socket.h"
#include "engine/link/srt_parts.h"
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

static void make_frames(uint64_t *state)
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
        CHECK_OK(group_builder_add(builder, layer, 2 * random_below(state, 120),
                                   2 * random_below(state, 60), 255, BLEND_NORMAL));
        CHECK_OK(group_builder_finish(builder, &frames[i]));
        CHECK_OK(group_encode(frames[i], i % 10 ? frames[i / 10 * 10] : NULL, &coded[i],
                              &coded_size[i]));
        picture_unref(&layer);
    }
    picture_unref(&base);
    group_builder_destroy(&builder);
}

static struct frame_header header_of(int64_t frame)
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

// ---- A provider: sends what is below the credit, once, and what is missing
// -----------------------

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

static bool provider_key(void *opaque, const char *consumer, const char *link_id,
                         uint8_t ret_key[LINK_KEY_BYTES])
{
    struct provider *p = opaque;
    atomic_fetch_add(&p->key_requests, 1);
    memcpy(ret_key, key, LINK_KEY_BYTES);
    return !strcmp(consumer, "edge-1") && !strcmp(link_id, "link.A");
}

static int send_one(struct provider *p, int64_t frame, bool block)
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

static void provider_want(void *opaque, struct frame_peer *peer, const struct frame_want *want)
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

static void provider_gone(void *opaque, struct frame_peer *peer)
{
    struct provider *p = opaque;
    pthread_mutex_lock(&p->lock);
    p->gone++;
    if (p->peer == peer)
        p->peer = NULL;
    pthread_mutex_unlock(&p->lock);
}

static int provider_start(struct provider *p, int port)
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

static void provider_stop(struct provider *p)
{
    frame_server_destroy(&p->server);
    pthread_mutex_destroy(&p->lock);
}

// ---- A consumer: asks for what has not come
// ------------------------------------------------------

struct consumer {
    struct frame_client *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool have[FRAMES];
    int received, repeated, wrong, stored, connects, disconnects, latency_ms;
    int64_t newest;
};

// Wishes for all that is missing; called with the lock held.
static void ask(struct consumer *c)
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

static void consumer_frame(void *opaque, const struct frame_header *header, struct frame_body *body)
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

static void consumer_state(void *opaque, bool connected)
{
    struct consumer *c = opaque;
    pthread_mutex_lock(&c->lock);
    c->connects += connected;
    c->disconnects += !connected;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void consumer_start(struct consumer *c, int port, const char *link, const uint8_t *own_key)
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
static bool consumer_wait(struct consumer *c, const int *value, int least)
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

static void consumer_stop(struct consumer *c)
{
    pthread_mutex_lock(&c->lock);
    struct frame_client *client = c->client;
    c->client = NULL;
    pthread_mutex_unlock(&c->lock);
    frame_client_destroy(&client);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}

// ---- Tests
// -----------------------------------------------------------------------------------------

static void test_stream(void)
{
    struct provider provider = {0};
    struct consumer consumer = {0};
    CHECK_OK(provider_start(&provider, 0));
    struct provider second = {0};
    CHECK_TRUE(provider_start(&second, frame_server_port(provider.server)) < 0); // port in use
    pthread_mutex_destroy(&second.lock);
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    struct frame_link_stats stats;
    frame_client_stats(consumer.client, &stats);
    CHECK(stats.messages, >=, FRAMES);
    CHECK(stats.bad, ==, 0);
    CHECK(stats.replayed, ==, 0);
    consumer_stop(&consumer);
    provider_stop(&provider);
    CHECK(consumer.wrong, ==, 0);
    CHECK(consumer.connects, ==, 1);
    CHECK(provider.gone, ==, 1);
    CHECK_TRUE(provider.peer == NULL);
}

// The bytes that arrived decode to the frames that were made.
static void test_pictures(void)
{
    struct group_frame *base = NULL;
    for (int i = 0; i < FRAMES; i++) {
        struct group_frame *decoded = NULL;
        CHECK_OK(
            group_decode(coded[i], coded_size[i], WIDTH, HEIGHT, i % 10 ? base : NULL, &decoded));
        CHECK_TRUE(group_frame_equal(decoded, frames[i]));
        if (i % 10 == 0) {
            group_frame_unref(&base);
            base = group_frame_ref(decoded);
        }
        group_frame_unref(&decoded);
    }
    group_frame_unref(&base);
}

// A consumer with another key gets nothing, and its wants are not believed.
static void test_wrong_key(void)
{
    struct provider provider = {0};
    struct consumer stranger = {0}, consumer = {0};
    uint8_t other[LINK_KEY_BYTES] = {7, 7, 7, 1, 2, 4};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&stranger, frame_server_port(provider.server), "link.A", other);
    CHECK_TRUE(consumer_wait(&stranger, &stranger.connects, 1));
    // Closed by the provider after some seconds in which it showed nothing valid.
    CHECK_TRUE(consumer_wait(&stranger, &stranger.disconnects, 1));
    CHECK(provider.wants, ==, 0);
    CHECK(provider.gone, ==, 0);
    // A consumer with the right key is served beside it.
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    consumer_stop(&stranger);
    consumer_stop(&consumer);
    provider_stop(&provider);
    CHECK(stranger.received + stranger.wrong, ==, 0);
}

static void test_wrong_name(void)
{
    struct provider provider = {0};
    struct consumer stranger = {0};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&stranger, frame_server_port(provider.server), "link.B", key);
    while (atomic_load(&provider.key_requests) < 3) // refused, and again, and again
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
    consumer_stop(&stranger);
    provider_stop(&provider);
    CHECK(stranger.connects, ==, 0);
    CHECK(provider.wants, ==, 0);

    struct frame_client *client = NULL;
    struct diagnostic diagnostic = {0};
    struct frame_client_config config = {
        .address = "127.0.0.1:1", .consumer = "a b", .link_id = "x"};
    CHECK_ERROR(frame_client_create(&config, &client, &diagnostic), -EINVAL);
    CHECK(strlen(diagnostic.text), >, 0);
}

static void test_restart(void)
{
    struct provider first = {0}, second = {0};
    struct consumer consumer = {0};
    CHECK_OK(provider_start(&first, 0));
    int port = frame_server_port(first.server);
    first.mute = true;
    consumer_start(&consumer, port, "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.connects, 1));
    provider_stop(&first);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.disconnects, 1));
    CHECK_OK(provider_start(&second, port));
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    CHECK(consumer.connects, >=, 2);
    consumer_stop(&consumer);
    provider_stop(&second);
}

// The newest connection of a link replaces the older one.
static void test_takeover(void)
{
    struct provider provider = {0};
    struct consumer old = {0}, new = {0};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&old, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&old, &old.received, FRAMES));
    consumer_start(&new, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&new, &new.received, FRAMES));
    CHECK_TRUE(consumer_wait(&old, &old.disconnects, 1));
    consumer_stop(&old);
    consumer_stop(&new);
    provider_stop(&provider);
}

static void test_queue(void)
{
    struct provider provider = {.mute = true};
    struct consumer consumer = {0};
    CHECK_OK(provider_start(&provider, 0));
    frame_server_set_rate(provider.server, 1000000);
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    struct frame_peer *peer = NULL;
    while (!peer) {
        pthread_mutex_lock(&provider.lock);
        peer = provider.peer ? frame_peer_ref(provider.peer) : NULL;
        pthread_mutex_unlock(&provider.lock);
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 100);
    }
    static const uint8_t payload[1 << 20];
    struct frame_header header = header_of(0);
    int sent = 0, error = 0;
    while (sent < 100 && !(error = frame_peer_send(peer, &header, payload, sizeof payload)))
        sent++;
    CHECK(error, ==, -EAGAIN);
    CHECK(sent, >=, 30);
    CHECK(sent, <=, 40);
    provider_stop(&provider); // with a full queue, at once
    CHECK_ERROR(frame_peer_send(peer, &header, payload, sizeof payload), -EPIPE);
    frame_peer_unref(&peer);
    consumer_stop(&consumer);
}

// What a wish asked for once more that was replaced before it could be sent goes with the next one;
// what is below the new wish's first frame does not.
static void test_unsent(void)
{
    struct provider provider = {.mute = true};
    struct consumer consumer = {0};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    struct frame_want want = wish; // the connection does not stand yet
    want.missing_count = 2;
    want.missing[0] = 3;
    want.missing[1] = 8;
    frame_client_want(consumer.client, &want);
    want.from = 5;
    want.missing_count = 1;
    want.missing[0] = 9;
    frame_client_want(consumer.client, &want);
    int64_t until = clock_monotonic_ns() + PATIENCE_S * SECOND_NS;
    int wants = 0, named = 0;
    while (!wants && clock_monotonic_ns() < until) {
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 100);
        pthread_mutex_lock(&provider.lock);
        wants = provider.wants;
        named = provider.named;
        pthread_mutex_unlock(&provider.lock);
    }
    CHECK(wants, >, 0);
    CHECK(named, ==, 2 * wants); // 8 and 9
    consumer_stop(&consumer);
    provider_stop(&provider);
}

// ---- Strangers: they know the name of a link, which is no secret, and speak SRT ---------------

static SRTSOCKET stranger_call(int port)
{
    char address[32];
    struct srt_address to;
    static const char id[] = "#!::r=edge-1,s=link.A";
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    CHECK_OK(srt_address_resolve(address, false, &to, NULL));
    SRTSOCKET s = srt_socket_create(60);
    bool yes = true;
    int timeout_ms = PATIENCE_S * 1000;
    CHECK_OK(srt_setsockflag(s, SRTO_RCVSYN, &yes, sizeof yes)); // waits for the connection
    CHECK_OK(srt_setsockflag(s, SRTO_RCVTIMEO, &timeout_ms, sizeof timeout_ms));
    CHECK_OK(srt_setsockflag(s, SRTO_STREAMID, id, sizeof id - 1));
    CHECK_OK(srt_connect(s, (struct sockaddr *)&to.storage, to.size));
    return s;
}

// Waits until the other side has closed the connection.
static bool stranger_closed(SRTSOCKET s)
{
    char part[PART_BYTES_MAX];
    while (srt_recvmsg2(s, part, sizeof part, NULL) > 0)
        continue;
    return srt_getlasterror(NULL) != SRT_EASYNCRCV && srt_getlasterror(NULL) != SRT_ETIMEOUT;
}

// A want of an earlier connection, played back, proves nothing: it does not come through, and the
// consumer keeps its connection.
static void test_recording(void)
{
    struct provider provider = {0};
    struct consumer consumer = {0};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));

    struct frame_sealer *sealer = frame_sealer_create(key);
    struct frame_want old = wish;
    old.group = 77;
    uint8_t payload[WANT_BYTES_MAX], part[PART_BYTES_MAX], *message = NULL;
    size_t size = frame_want_write(&old, payload);
    struct frame_header header = {.kind = FRAME_MESSAGE_WANT, .revision = "earlier"};
    CHECK_OK(frame_seal(sealer, &header, payload, size, &message, &size));
    size = part_write(part, 0, 0, message, size);
    free(message);
    SRTSOCKET stranger = stranger_call(frame_server_port(provider.server));
    CHECK(srt_sendmsg2(stranger, (char *)part, (int)size, NULL), ==, size);
    CHECK_TRUE(stranger_closed(stranger));
    srt_close(stranger);
    frame_sealer_destroy(&sealer);

    pthread_mutex_lock(&consumer.lock);
    CHECK(consumer.disconnects, ==, 0);
    pthread_mutex_unlock(&consumer.lock);
    pthread_mutex_lock(&provider.lock);
    CHECK(provider.others, ==, 0);
    pthread_mutex_unlock(&provider.lock);
    consumer_stop(&consumer);
    provider_stop(&provider);
}

// More strangers than there are places for peers: all are let in, the oldest go, and a consumer
// finds its place.
static void test_crowd(void)
{
    enum { CROWD = FRAME_PEERS_MAX + 6 };
    struct provider provider = {0};
    struct consumer consumer = {0};
    SRTSOCKET strangers[CROWD];
    CHECK_OK(provider_start(&provider, 0));
    for (int i = 0; i < CROWD; i++)
        strangers[i] = stranger_call(frame_server_port(provider.server));
    CHECK_TRUE(stranger_closed(strangers[0]));
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    struct frame_peer_stats stats[FRAME_PEERS_MAX];
    CHECK(frame_server_stats(provider.server, stats), ==, 1);
    CHECK_TEXT(stats[0].consumer, "edge-1");
    CHECK_TEXT(stats[0].link_id, "link.A");
    CHECK(stats[0].link.messages, >=, FRAMES);
    consumer_stop(&consumer);
    provider_stop(&provider);
    for (int i = 0; i < CROWD; i++)
        srt_close(strangers[i]);
}

// A provider whose connection stands but brings nothing, as when libsrt stops delivering.
static void test_silence(void)
{
    struct consumer consumer = {0};
    struct srt_address address;
    CHECK_OK(srt_address_resolve("127.0.0.1:0", true, &address, NULL));
    SRTSOCKET listener = srt_socket_create(0), accepted[2];
    bool yes = true;
    CHECK_OK(srt_setsockflag(listener, SRTO_RCVSYN, &yes, sizeof yes));
    CHECK_OK(srt_bind(listener, (struct sockaddr *)&address.storage, address.size));
    CHECK_OK(srt_listen(listener, 4));
    CHECK_OK(srt_getsockname(listener, (struct sockaddr *)&address.storage, &address.size));
    consumer_start(&consumer, ntohs(((struct sockaddr_in *)&address.storage)->sin_port), "link.A",
                   key);
    for (int i = 0; i < 2; i++) {
        accepted[i] = srt_accept(listener, NULL, NULL);
        CHECK_TRUE(accepted[i] != SRT_INVALID_SOCK);
    }
    CHECK_TRUE(consumer_wait(&consumer, &consumer.disconnects, 1)); // and it was the consumer
    consumer_stop(&consumer);
    for (int i = 0; i < 2; i++)
        srt_close(accepted[i]);
    srt_close(listener);
}

// Frames that stand in blocks come as they are, and the provider learns when they are done with.
// Where blocks cannot be read the consumer says so, and gets the frames themselves.
static void test_blocks(bool nowhere)
{
    struct provider provider = {.blocks = block_pool_create((size_t)256 << 20), .nowhere = nowhere};
    struct consumer consumer = {.latency_ms = 20};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    CHECK(consumer.stored, ==, nowhere ? 0 : FRAMES);
    CHECK(consumer.wrong, ==, 0);
    struct frame_link_stats stats;
    frame_client_stats(consumer.client, &stats);
    CHECK(stats.bad, ==, 0);
    CHECK_TRUE(nowhere == (stats.incomplete > 0));
    // All were let go at once, so that soon nothing below `from` is kept.
    int64_t until = clock_monotonic_ns() + PATIENCE_S * SECOND_NS, keep = 0;
    while (keep < FRAMES && clock_monotonic_ns() < until) {
        pthread_mutex_lock(&provider.lock);
        keep = provider.keep;
        pthread_mutex_unlock(&provider.lock);
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 100);
    }
    CHECK(keep, ==, FRAMES);
    consumer_stop(&consumer);
    provider_stop(&provider);
    for (int i = 0; i < FRAMES; i++)
        block_unref(&provider.block[i]);
    block_pool_destroy(&provider.blocks);
}

struct stranger {
    atomic_int asked;
    bool knows; // a link of that name, with another key
};

static bool stranger_key(void *opaque, const char *consumer, const char *link_id,
                         uint8_t ret_key[LINK_KEY_BYTES])
{
    struct stranger *s = opaque;
    (void)consumer;
    (void)link_id;
    memset(ret_key, 0, LINK_KEY_BYTES);
    atomic_fetch_add(&s->asked, 1);
    return s->knows;
}

// Within the host a provider is found by its port. Where another one has the same at another
// address, and does not know the link, or has another key for it, the right one is reached over
// SRT.
static void test_same_port(bool knows)
{
    struct stranger stranger = {.knows = knows};
    struct provider provider = {0};
    struct consumer consumer = {.latency_ms = 20};
    struct frame_server *other = NULL;
    CHECK_OK(provider_start(&provider, 0));
    int port = frame_server_port(provider.server);
    provider_stop(&provider);
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.2:%d", port);
    struct frame_server_config config = {
        .listen = listen, .link_key = stranger_key, .opaque = &stranger};
    CHECK_OK(frame_server_create(&config, &other, NULL));
    provider = (struct provider){0};
    CHECK_OK(provider_start(&provider, port));
    consumer_start(&consumer, port, "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    CHECK(atomic_load(&stranger.asked), >, 0);
    CHECK(consumer.wrong, ==, 0);
    consumer_stop(&consumer);
    provider_stop(&provider);
    frame_server_destroy(&other);
}

// Another user of this host is not answered, and does not believe an answer.
static void test_other_user(void)
{
    struct provider provider = {0};
    CHECK_OK(provider_start(&provider, 0));
    int port = frame_server_port(provider.server), fd = -1, status = -1;
    pid_t other = getuid() ? -1 : fork(); // only root can become somebody else
    if (other == 0) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        char byte;
        int length =
            snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "vistter-frames/%d", port);
        bool refused =
            !setuid(65534) && local_connect(port, "#!::r=edge-1,s=link.A", &fd) == -EPERM;
        fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        refused =
            refused &&
            !connect(fd, (struct sockaddr *)&name,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) &&
            (send(fd, "#!::r=edge-1,s=link.A", 21, MSG_NOSIGNAL) < 0 || recv(fd, &byte, 1, 0) <= 0);
        _exit(refused ? 0 : 1);
    }
    if (other > 0) {
        waitpid(other, &status, 0);
        CHECK(status, ==, 0);
    }
    // The same user is.
    CHECK_OK(local_connect(port, "#!::r=edge-1,s=link.A", &fd));
    char byte = 1;
    struct pollfd answer = {.fd = fd, .events = POLLIN};
    CHECK(poll(&answer, 1, PATIENCE_S * 1000), ==, 1);
    CHECK(recv(fd, &byte, 1, 0), ==, 1);
    close(fd);
    provider_stop(&provider);
}

static void test_wildcard(void)
{
    static const struct {
        const char *listen;
        bool wildcard;
    } cases[] = {{"127.0.0.1:0", false}, {"*:0", true},    {":0", true},      {"0.0.0.0:0", true},
                 {"0:0", true},          {"[::]:0", true}, {"[::1]:0", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct frame_server_config config = {.listen = cases[i].listen};
        struct frame_server *server = NULL;
        struct diagnostic diagnostic = {0};
        int error = frame_server_create(&config, &server, &diagnostic);
        if (error && cases[i].listen[0] == '[') // a host without IPv6
            continue;
        CHECK_OK(error);
        CHECK(frame_server_is_wildcard(server), ==, cases[i].wildcard);
        frame_server_destroy(&server);
    }
}

// Starts the relay towards `port`; ends when the write end of *ret_stdin is closed.
static pid_t relay_start(int port, const char *loss, const char *delay, int *ret_stdin,
                         int *ret_port)
{
    int in[2], out[2];
    char target[16], line[32] = "";
    snprintf(target, sizeof target, "%d", port);
    CHECK_OK(pipe(in));
    CHECK_OK(pipe(out));
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execl(RELAY, RELAY, "0", target, loss, delay, "42", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    CHECK(read(out[0], line, sizeof line - 1), >, 5);
    close(out[0]);
    *ret_stdin = in[1];
    *ret_port = atoi(line + 5);
    return pid;
}

// With 60 ms libsrt has time to repair nearly all by itself; with 12 ms, less than a round trip, it
// has none, and everything that is lost must be asked for again.
static void test_loss(const char *percent, int latency_ms)
{
    struct provider provider = {0};
    struct consumer consumer = {.latency_ms = latency_ms};
    int relay_stdin, port, status = -1;
    CHECK_OK(provider_start(&provider, 0));
    frame_server_set_rate(provider.server, 4000000);
    pid_t pid = relay_start(frame_server_port(provider.server), percent, "10", &relay_stdin, &port);
    consumer_start(&consumer, port, "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    struct frame_link_stats stats;
    frame_client_stats(consumer.client, &stats);
    fprintf(stderr,
            "%s %% loss, latency %d ms: %d came twice, incomplete %llu, resent %llu, rtt %.1f ms\n",
            percent, latency_ms, consumer.repeated, (unsigned long long)stats.incomplete,
            (unsigned long long)stats.resent, stats.rtt_ms);
    if (latency_ms < 20)
        CHECK(stats.incomplete, >, 0);
    consumer_stop(&consumer);
    provider_stop(&provider);
    close(relay_stdin);
    CHECK(waitpid(pid, &status, 0), ==, pid);
    CHECK(status, ==, 0);
    CHECK(consumer.wrong, ==, 0);
}

static void test_one_libsrt(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024], first[1024] = "";
    int others = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        const char *name = strstr(line, "libsrt");
        if (name && !first[0])
            strcpy(first, name);
        others += name && strcmp(name, first);
    }
    if (maps)
        fclose(maps);
    CHECK(strlen(first), >, 0);
    CHECK(others, ==, 0);
}

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    make_frames(&state);
    test_pictures();
    for (int i = 0; i < 2; i++) {
        srt_only = i;
        test_stream();
        test_blocks(false);
        test_blocks(true);
        test_wrong_key();
        test_wrong_name();
        test_restart();
        test_takeover();
        test_queue();
        test_unsent();
    }
    srt_only = false;
    test_same_port(false);
    test_same_port(true);
    test_other_user();
    test_recording();
    test_crowd();
    test_silence();
    test_wildcard();
    test_loss("2", 60);
    test_loss("0.3", 12);
    test_one_libsrt();
    for (int i = 0; i < FRAMES; i++) {
        free(coded[i]);
        group_frame_unref(&frames[i]);
    }
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
