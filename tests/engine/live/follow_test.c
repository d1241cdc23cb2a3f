// A live log on another node, over real frame links: it is the home's, byte for byte, whatever
// ends, breaks or turns out to have another past.
#include "tests/engine/live/follow_nodes.h"

#include "engine/live/log_message.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

// ---- What ends and goes on -------------------------------------------------------------------

// The follower is there before the log. It goes and comes again: what it has is not sent twice. The
// way breaks; the gateway ends and goes on.
static void test_plain(void)
{
    fresh_nodes("plain");
    node_start(&node, srt);
    struct log_follower *follower = follow(copy_root, node.port);
    struct live_log *log = create_in(home);
    append_format(log, "h264");
    append_pictures(log, 0, 200);
    await_same(home, copy);
    struct log_follower_stats stats = stats_of(follower);
    CHECK(stats.done_ns[UNIT_PICTURE], ==, due(199));
    CHECK(stats.done_ns[UNIT_SOUND], ==, INT64_MIN);
    CHECK_TRUE(stats.connected);
    CHECK(stats.anew + (uint64_t)stats.error, ==, 0);
    CHECK(log_server_followers(node.logs), ==, 1);
    uint64_t before = stats.seq;
    log_follower_destroy(&follower);

    append_pictures(log, 200, 260);
    follower = follow(copy_root, node.port);
    await_same(home, copy);
    stats = stats_of(follower);
    CHECK(stats.units, ==, stats.seq - before);
    CHECK(stats.anew, ==, 0);

    before = stats.units;
    node_stop(&node);
    append_pictures(log, 260, 300);
    live_log_destroy(&log);
    log = create_in(home);
    append_pictures(log, 300, 320);
    node_start(&node, srt);
    await_same(home, copy);
    append_pictures(log, 320, 400);
    await_same(home, copy);
    CHECK(check_same_files(home, copy), >=, 10);
    stats = stats_of(follower);
    CHECK(stats.anew, ==, 0);
    log_follower_destroy(&follower);
    live_log_destroy(&log);
    node_stop(&node);
}

// As another process, which is killed in the middle.
static int run_follower(char **argv)
{
    struct log_follower *follower = follow(argv[2], atoi(argv[3]));
    while (follower)
        pause();
    return 1;
}

static void test_killed(void)
{
    fresh_nodes("killed");
    node_start(&node, srt);
    struct live_log *log = create_in(home);
    append_format(log, "h264");
    char port[16];
    snprintf(port, sizeof port, "%d", node.port);
    struct live_reader *reader = NULL;
    CHECK_OK(live_reader_open(copy, &reader, NULL));
    int written = 0;
    uint64_t seen = 0;
    for (int life = 0; life < 5; life++) {
        pid_t pid = fork();
        if (!pid) {
            execl("/proc/self/exe", "follow_test", "--follow", copy_root, port, NULL);
            _exit(1);
        }
        // Killed when it has appended something new, while it has more to append.
        struct unit u;
        int error;
        uint64_t least = seen + 1;
        int64_t until = clock_monotonic_ns() + PATIENCE_NS;
        while (seen < least && clock_monotonic_ns() < until) {
            append_pictures(log, written, written + 3);
            written += 3;
            while (!(error = live_reader_next(reader, &u)))
                CHECK(u.seq, ==, ++seen); // nothing twice, nothing left out
            CHECK_ERROR(error, -EAGAIN);
            live_reader_wait(reader, FRAME_NS);
        }
        CHECK(seen, >=, least);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    struct log_follower *follower = follow(copy_root, node.port);
    await_same(home, copy);
    check_same_files(home, copy);
    CHECK(stats_of(follower).anew, ==, 0);
    live_reader_close(&reader);
    log_follower_destroy(&follower);
    live_log_destroy(&log);
    node_stop(&node);
}

// ---- Another past ----------------------------------------------------------------------------

// The copy went on by itself, as the home of somebody else. It is ahead, or has other units.
static void test_fork(bool ahead)
{
    fresh_nodes(ahead ? "ahead" : "other");
    node_start(&node, srt);
    struct live_log *log = create_in(home);
    struct log_follower *follower = follow(copy_root, node.port);
    append_format(log, "h264");
    append_pictures(log, 0, 60);
    await_same(home, copy);
    log_follower_destroy(&follower);
    struct live_log *fork_log = create_in(copy);
    for (int i = 60; i < 100; i++)
        CHECK_OK(append_picture(fork_log, i, 25, 50));
    live_log_destroy(&fork_log);
    append_pictures(log, 60, ahead ? 70 : 200);

    struct live_reader *reader = NULL;
    struct unit u;
    CHECK_OK(live_reader_open(copy, &reader, NULL));
    while (!live_reader_next(reader, &u))
        continue;
    follower = follow(copy_root, node.port);
    await_same(home, copy);
    CHECK(check_same_files(home, copy), >=, 2);
    CHECK(stats_of(follower).anew, ==, 1);
    int told = 0, error;
    uint64_t first = 0;
    while (!(error = live_reader_next(reader, &u)) || error == -ESTALE) {
        told += error == -ESTALE;
        first = !error && !first ? u.seq : first;
    }
    CHECK(told, ==, 1);
    CHECK(first, ==, 1);
    live_reader_close(&reader);
    log_follower_destroy(&follower);
    live_log_destroy(&log);
    node_stop(&node);
}

// What it would go on behind has been removed at home.
static void test_removed(void)
{
    fresh_nodes("removed");
    node_start(&node, srt);
    struct live_log *log = create_in(home);
    struct log_follower *follower = follow(copy_root, node.port);
    append_format(log, "h264");
    append_pictures(log, 0, 60);
    await_same(home, copy);
    log_follower_destroy(&follower);
    append_pictures(log, 60, 1500); // a minute
    follower = follow(copy_root, node.port);
    await_same(home, copy);
    CHECK(stats_of(follower).anew, ==, 1);
    CHECK(stats_of(follower).forks, ==, 0); // it had nothing else
    // And what is removed while it follows, is removed here.
    append_pictures(log, 1500, 3000);
    await_same(home, copy);
    CHECK(check_same_files(home, copy), >=, 14);
    log_follower_destroy(&follower);
    live_log_destroy(&log);
    node_stop(&node);
}

// The home's log is a copy too, which begins anew while it is followed.
static void test_home_anew(void)
{
    fresh_nodes("anew");
    node_start(&node, srt);
    char origin[200];
    snprintf(origin, sizeof origin, "%s-origin", copy_root);
    struct live_log *log = create_in(origin), *between = NULL;
    struct live_reader *reader = NULL;
    CHECK_OK(live_log_copy(home, "cam1", LIVE_LOG_LIMITS, &between, NULL));
    CHECK_OK(live_reader_open(origin, &reader, NULL));
    struct log_follower *follower = follow(copy_root, node.port);
    append_format(log, "h264");
    for (uint64_t round = 0; round < 2; round++) {
        append_pictures(log, 0, 80);
        struct unit u;
        size_t size;
        while (!live_reader_next(reader, &u))
            CHECK_OK(live_log_append_copy(between, live_reader_segment(reader), unit_start(&u),
                                          unit_bytes(&u), &size));
        await_same(home, copy);
        check_same_files(home, copy);
        CHECK(stats_of(follower).anew, ==, round);
        live_reader_close(&reader);
        live_log_destroy(&log);
        // Another source's log of the same name: it has no format, so its first unit is another.
        snprintf(origin, sizeof origin, "%s-origin-2", copy_root);
        log = create_in(origin);
        CHECK_OK(live_reader_open(origin, &reader, NULL));
        live_log_anew(between);
    }
    live_reader_close(&reader);
    log_follower_destroy(&follower);
    live_log_destroy(&between);
    live_log_destroy(&log);
    node_stop(&node);
}

// ---- Sizes -----------------------------------------------------------------------------------

static void test_big(void)
{
    fresh_nodes("big");
    node_start(&node, srt);
    struct live_log *log = create_in(home);
    struct log_follower *follower = follow(copy_root, node.port);
    append_format(log, "hevc");
    size_t size = 12 << 20;
    uint8_t *body = malloc(UNIT_BODY_MAX);
    uint64_t state = 77;
    for (size_t i = 0; i < UNIT_BODY_MAX / 8; i++)
        memcpy(body + 8 * i, &(uint64_t){check_random(&state)}, 8);
    for (int i = 0; i < 4; i++) {
        struct unit u = {.kind = UNIT_DATA,
                         .flags = UNIT_KEY,
                         .gen = 1,
                         .chan_ns = due(i),
                         .done_ns = due(i),
                         .index = i,
                         .body = body,
                         .size = i == 3 ? UNIT_BODY_MAX : size};
        body[0] = (uint8_t)i;
        CHECK_OK(live_log_append(log, &u));
    }
    await_same(home, copy);
    check_same_files(home, copy);
    CHECK(stats_of(follower).anew, ==, 0);
    free(body);
    log_follower_destroy(&follower);
    live_log_destroy(&log);
    node_stop(&node);
}

// ---- Peers that speak nonsense ---------------------------------------------------------------

// Takes what comes, and writes nothing. All answers are to start 5.
struct taker {
    struct frame_client *client;
    atomic_int answers, from_start, bad;
    _Atomic uint64_t newest, bytes;
};

static void on_taken(void *opaque, const uint8_t *payload, size_t size)
{
    struct taker *t = opaque;
    struct log_head head;
    struct unit u;
    size_t at = LOG_HEAD_BYTES;
    bool good = !log_head_read(payload, size, &head) && head.start == 5 &&
                (!t->answers || !head.after || head.after == t->newest);
    for (; good && at < size; at += unit_bytes(&u)) {
        good = !unit_parse(payload + at, size - at, &u);
        t->newest = u.seq;
    }
    t->bad += !good;
    t->bytes += size - LOG_HEAD_BYTES;
    if (good && size > LOG_HEAD_BYTES) {
        t->from_start += !head.after;
        t->answers++;
    }
}

static void taker_start(struct taker *t, const struct frame_log_want *want)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", node.port);
    struct frame_client_config config = {
        .address = address,
        .consumer = "worker-3",
        .link_id = "log-taker",
        .latency_ms = follow_latency_ms,
        .on_log = on_taken,
        .opaque = t,
    };
    *t = (struct taker){0};
    memcpy(config.key, link_key, LINK_KEY_BYTES);
    CHECK_OK(frame_client_create(&config, &t->client, NULL));
    frame_client_want_log(t->client, want, true);
}

static void pause_10ms(void)
{
    clock_sleep_until_ns(clock_monotonic_ns() + INT64_C(10000000));
}

// One that takes too slowly gets no more than the window, and what was removed before it could be
// sent makes it begin anew.
static void test_slow(void)
{
    fresh_nodes("slow");
    node_start(&node, srt);
    struct live_log *log = create_in(home);
    append_format(log, "h264");
    for (int i = 0; i < 300; i++) // 6 MB, in less than what is kept for sure
        CHECK_OK(append_picture(log, i, 25, 20000));
    struct taker taker;
    struct frame_log_want want = {.source = "cam1", .start = 5};
    taker_start(&taker, &want);
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    while (taker.bytes < LOG_WINDOW_BYTES && clock_monotonic_ns() < until)
        pause_10ms();
    CHECK(taker.bytes, >=, LOG_WINDOW_BYTES);
    append_pictures(log, 300, 1800); // a minute
    CHECK(taker.bytes, <=, LOG_WINDOW_BYTES + (512 << 10));
    struct live_reader *reader = NULL;
    struct unit last = {0};
    CHECK_OK(live_reader_open(home, &reader, NULL));
    read_on(reader, &last);
    while (taker.newest != last.seq && clock_monotonic_ns() < until) {
        want.taken = taker.bytes;
        frame_client_want_log(taker.client, &want, true);
        pause_10ms();
    }
    frame_client_destroy(&taker.client);
    CHECK(taker.newest, ==, last.seq);
    CHECK(taker.from_start, ==, 2);
    CHECK(taker.bad, ==, 0);
    live_reader_close(&reader);
    live_log_destroy(&log);
    node_stop(&node);
}

// A follower that says it has what cannot be gets the log from its beginning; one that asks for a
// log that is not there gets nothing, and no folder is made; names that lead elsewhere are refused.
static void test_bad_follower(void)
{
    fresh_nodes("bad");
    node_start(&node, srt);
    struct live_log *log = create_in(home);
    append_format(log, "h264");
    append_pictures(log, 0, 60);
    struct log_follower *good = follow(copy_root, node.port);
    char stranger[200];
    static const struct frame_log_want wants[] = {
        {"cam1", 5, UINT64_MAX, 1, UINT64_MAX},
        {"cam1", 5, 3, 1, 0},
        {"cam1", 5, 1000000, 0, 0},
        {"nobody", 5, 3, 3, 0},
        {"../bad-copy", 5, 0, 0, 0},
        {".", 5, 0, 0, 0},
    };
    for (int i = 0; i < 6; i++) {
        struct taker taker;
        taker_start(&taker, &wants[i]);
        // That nothing comes can only be waited for: four times as long as wants take to be
        // repeated.
        int64_t until = clock_monotonic_ns() + (i < 3 ? PATIENCE_NS : INT64_C(400000000));
        while (!taker.answers && clock_monotonic_ns() < until)
            pause_10ms();
        frame_client_destroy(&taker.client);
        CHECK(taker.answers > 0, ==, i < 3);
        CHECK(taker.from_start, ==, i < 3);
        CHECK(taker.bad, ==, 0);
    }
    snprintf(stranger, sizeof stranger, "%s/nobody", node.root);
    CHECK(access(stranger, F_OK), ==, -1);
    append_pictures(log, 60, 80);
    await_same(home, copy);
    CHECK(stats_of(good).anew, ==, 0);
    log_follower_destroy(&good);
    live_log_destroy(&log);
    node_stop(&node);
}

// A home that sends what a follower cannot use, loses a message, and says old things.
struct liar {
    struct frame_server *server;
    pthread_mutex_t lock;
    int step;
    uint32_t start;
    uint8_t units[5][UNIT_HEADER_BYTES];
};

static void lie(struct liar *l, struct frame_peer *peer, uint32_t start, uint64_t after,
                uint64_t segment, int from, int to, int damage)
{
    uint8_t payload[LOG_HEAD_BYTES + 5 * UNIT_HEADER_BYTES];
    size_t size = LOG_HEAD_BYTES + (size_t)(to - from) * UNIT_HEADER_BYTES;
    struct frame_header header = {.kind = FRAME_MESSAGE_LOG};
    log_head_write(&(struct log_head){start, after, segment}, payload);
    for (int i = from; i < to; i++)
        memcpy(payload + LOG_HEAD_BYTES + (i - from) * UNIT_HEADER_BYTES, l->units[i],
               UNIT_HEADER_BYTES);
    if (damage >= 0)
        payload[damage] ^= 1;
    CHECK_OK(frame_peer_send(peer, &header, payload, size));
}

static void liar_want(void *opaque, struct frame_peer *peer, const struct frame_log_want *want)
{
    struct liar *l = opaque;
    pthread_mutex_lock(&l->lock);
    bool anew = want->start != l->start;
    l->start = want->start;
    if (anew && l->step == 0) {
        lie(l, peer, want->start - 1, 0, 1, 0, 5, -1); // an answer to somebody else
        lie(l, peer, want->start, 0, 1, 0, 5, 0);      // of another version
        lie(l, peer, want->start, 0, 1, 0, 1, -1);     // well
        lie(l, peer, want->start, 2, 1, 2, 3, -1);     // and the second is lost
        l->step = 1;
    } else if (anew && l->step == 1) {
        CHECK(want->seq, ==, 1);
        lie(l, peer, want->start, 1, 1, 1, 4, LOG_HEAD_BYTES + UNIT_HEADER_BYTES + 20); // damaged
        l->step = 2;
    } else if (anew && l->step == 2) {
        CHECK(want->seq, ==, 0); // what does not fit has been let go
        lie(l, peer, want->start, 0, 1, 0, 5, -1);
        l->step = 3;
    } else if (l->step == 2) {
        lie(l, peer, want->start, 4, 0, 0, 0, -1); // a sign of how far it was
    }
    pthread_mutex_unlock(&l->lock);
}

static void liar_gone(void *opaque, struct frame_peer *peer)
{
    (void)opaque;
    (void)peer;
}

static void test_bad_home(void)
{
    fresh_nodes("liar");
    struct liar liar = {.lock = PTHREAD_MUTEX_INITIALIZER};
    for (int i = 0; i < 5; i++) {
        struct unit u = {.kind = UNIT_IDLE,
                         .source = unit_source_id("cam1"),
                         .seq = (uint64_t)i + 1,
                         .gen = 1,
                         .done_ns = due(i)};
        unit_write_header(&u, liar.units[i]);
    }
    struct frame_server_config config = {
        .listen = "127.0.0.1:0",
        .link_key = node_key,
        .on_want = node_want,
        .on_gone = liar_gone,
        .on_log_want = liar_want,
        .opaque = &liar,
        .srt_only = srt,
    };
    CHECK_OK(frame_server_create(&config, &liar.server, NULL));
    struct log_follower *follower = follow(copy_root, frame_server_port(liar.server));
    struct log_follower_stats stats;
    int64_t until = clock_monotonic_ns() + PATIENCE_NS;
    while ((stats = stats_of(follower)).seq < 5 && clock_monotonic_ns() < until)
        pause_10ms();
    CHECK(stats.seq, ==, 5);
    CHECK(stats.anew, ==, 1);
    CHECK(stats.error, ==, 0);
    CHECK(stats.done_ns[UNIT_PICTURE], ==, due(4));
    log_follower_destroy(&follower);
    frame_server_destroy(&liar.server);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--follow"))
        return run_follower(argv);
    snprintf(folder, sizeof folder, "/tmp/live-follow-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        srt = i;
        test_plain();
        test_killed();
        test_fork(true);
        test_fork(false);
        test_removed();
        test_home_anew();
        test_big();
        test_slow();
        test_bad_follower();
        test_bad_home();
    }
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
