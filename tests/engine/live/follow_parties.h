// Two nodes for tests of logs that are followed: one that serves a folder of logs, and one that
// follows "cam1". Included once per test.
#pragma once

#include "engine/base/clock.h"
#include "engine/live/log_follower.h"
#include "engine/live/log_server.h"
#include "tests/check.h"

#include <errno.h>
#include <sys/stat.h>

#define PATIENCE_NS INT64_C(60000000000)

static const uint8_t link_key[LINK_KEY_BYTES] = {9, 1, 7, 3};

struct node {
    char root[128]; // of the logs
    struct log_server *logs;
    struct frame_server *server;
    int port;
};

static int follow_latency_ms = 120;

static inline bool node_key(void *opaque, const char *consumer, const char *link_id,
                            uint8_t ret_key[LINK_KEY_BYTES])
{
    (void)opaque;
    (void)consumer;
    memcpy(ret_key, link_key, LINK_KEY_BYTES);
    return !strncmp(link_id, "log-", 4);
}

static inline void node_want(void *opaque, struct frame_peer *peer, const struct frame_want *want)
{
    (void)opaque;
    (void)peer;
    (void)want;
}

static inline void node_log_want(void *opaque, struct frame_peer *peer,
                                 const struct frame_log_want *want)
{
    log_server_want(((struct node *)opaque)->logs, peer, want);
}

static inline void node_gone(void *opaque, struct frame_peer *peer)
{
    log_server_gone(((struct node *)opaque)->logs, peer);
}

// The port it had before, if it had one.
static inline void node_start(struct node *n, bool srt_only)
{
    char listen[32];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", n->port);
    struct frame_server_config config = {
        .listen = listen,
        .link_key = node_key,
        .on_want = node_want,
        .on_gone = node_gone,
        .opaque = n,
        .srt_only = srt_only,
        .on_log_want = node_log_want,
    };
    struct diagnostic d = {0};
    CHECK_OK(log_server_create(n->root, &n->logs, &d));
    int error = frame_server_create(&config, &n->server, &d);
    if (error)
        fprintf(stderr, "%s\n", d.text);
    CHECK_OK(error);
    n->port = frame_server_port(n->server);
}

static inline void node_stop(struct node *n)
{
    frame_server_destroy(&n->server);
    log_server_destroy(&n->logs);
}

static inline struct log_follower *follow(const char *root, int port)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct log_follower_config config = {
        .source = "cam1",
        .root = root,
        .address = address,
        .consumer = "worker-2",
        .link_id = "log-cam1",
        .latency_ms = follow_latency_ms,
    };
    memcpy(config.key, link_key, LINK_KEY_BYTES);
    struct log_follower *follower = NULL;
    struct diagnostic d = {0};
    int error = log_follower_create(&config, &follower, &d);
    if (error)
        fprintf(stderr, "%s\n", d.text);
    CHECK_OK(error);
    return follower;
}

static inline struct log_follower_stats stats_of(struct log_follower *follower)
{
    struct log_follower_stats stats;
    log_follower_stats(follower, &stats);
    return stats;
}

// Reads on to the newest unit.
static inline void read_on(struct live_reader *reader, struct unit *last)
{
    struct unit u;
    int error;
    while (!(error = live_reader_next(reader, &u)) || error == -ESTALE)
        if (!error)
            *last = u;
}

// Waits until the newest unit of both folders is the same one.
static inline bool await_same(const char *home_folder, const char *copy_folder)
{
    struct unit home_last = {0}, copy_last = {0};
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    struct live_reader *home_reader = NULL, *reader = NULL;
    CHECK_OK(live_reader_open(home_folder, &home_reader, NULL));
    CHECK_OK(live_reader_open(copy_folder, &reader, NULL));
    read_on(home_reader, &home_last);
    bool same = false;
    for (;;) {
        read_on(reader, &copy_last);
        same = copy_last.seq == home_last.seq && copy_last.crc == home_last.crc;
        if (same || clock_monotonic_ns() >= until)
            break;
        live_reader_wait(reader, INT64_C(100000000));
    }
    live_reader_close(&home_reader);
    live_reader_close(&reader);
    CHECK_TRUE(same);
    return same;
}
