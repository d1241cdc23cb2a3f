// Control link: reports go up and states come down, through a restart of the coordinator; a wrong
// key, repeated, altered, oversized or malformed messages change nothing and are counted.
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/link/control_envelope.h"
#include "engine/link/control_socket.h"
#include "proto/control.pb-c.h"
#include "tests/check.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_NS INT64_C(60000000000) // before a test gives up; nothing depends on its length

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; // on the monotonic clock
static int reports, states, connections, wrong;
static bool held; // who takes a report waits
static bool gone; // as it was told last
static uint64_t last_sequence, last_instance, last_version;
static const ProtobufCMessageDescriptor *const report_type =
    &vistter__control__v1__node_report__descriptor;

static void on_report(void *opaque, const node_report_message *report)
{
    (void)opaque;
    pthread_mutex_lock(&lock);
    reports++;
    gone = false;
    // Counted here, checked by the main thread: check.h has one thread.
    wrong += strcmp(report->node, "worker1") != 0;
    wrong += report->instance == last_instance && report->sequence <= last_sequence;
    last_instance = report->instance;
    last_sequence = report->sequence;
    pthread_cond_broadcast(&changed);
    while (held)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void on_gone(void *opaque, const char *node)
{
    (void)opaque;
    pthread_mutex_lock(&lock);
    wrong += strcmp(node, "worker1") != 0;
    gone = true;
    pthread_mutex_unlock(&lock);
}

static void on_state(void *opaque, const desired_state_message *state)
{
    (void)opaque;
    pthread_mutex_lock(&lock);
    states++;
    last_version = state->version;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int count_of(const int *counter)
{
    pthread_mutex_lock(&lock);
    int count = *counter;
    pthread_mutex_unlock(&lock);
    return count;
}

static uint64_t version_newest(void)
{
    pthread_mutex_lock(&lock);
    uint64_t version = last_version;
    pthread_mutex_unlock(&lock);
    return version;
}

static struct control_server *server_start(const uint8_t *key, int port)
{
    char listen[64];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    struct control_server_config config = {
        .listen = listen, .on_report = on_report, .on_gone = on_gone};
    memcpy(config.key, key, sizeof config.key);
    struct control_server *server = NULL;
    CHECK_OK(control_server_create(&config, &server, NULL));
    return server;
}

static struct control_client *client_start(const uint8_t *key, const char *addresses)
{
    struct control_client_config config = {
        .addresses = addresses, .node = "worker1", .on_state = on_state};
    memcpy(config.key, key, sizeof config.key);
    struct control_client *client = NULL;
    CHECK_OK(control_client_create(&config, &client, NULL));
    return client;
}

// Waits 20 ms, or less when something arrives.
static void news_wait(void)
{
    int64_t deadline_ns = clock_monotonic_ns() + 20000000;
    struct timespec at = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    pthread_mutex_lock(&lock);
    pthread_cond_timedwait(&changed, &lock, &at);
    pthread_mutex_unlock(&lock);
}

// Reports as a node does until `count` have arrived.
static bool report_until(struct control_client *client, const int *counter, int count)
{
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (count_of(counter) < count && clock_monotonic_ns() < end_ns) {
        node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
        (void)control_client_report(client, &report); // not connected yet: again
        CHECK_TRUE(report.node == protobuf_c_empty_string);
        news_wait();
    }
    return count_of(counter) >= count;
}

static bool gone_soon(struct control_server *server, const desired_state_message *state)
{
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (control_server_send(server, "worker1", state) != -ENOENT) {
        if (clock_monotonic_ns() > end_ns)
            return false;
        news_wait();
    }
    return true;
}

// ---- The session ------------------------------------------------------------------------------

static void test_exchange(const uint8_t *key)
{
    char address[64];
    struct diagnostic why;
    struct control_server *server = server_start(key, 0), *second = NULL;
    int port = control_server_port(server);
    CHECK(port, >, 0);
    snprintf(address, sizeof address, "127.0.0.1:%d,127.0.0.1:1", port); // nobody at the other
    struct control_server_config taken = {.listen = address, .on_report = on_report};
    address[strcspn(address, ",")] = 0;
    CHECK_ERROR(control_server_create(&taken, &second, &why), -EADDRINUSE);
    CHECK_TEXT(why.path, address);
    control_server_destroy(&server);
    address[strlen(address)] = ',';
    // The node starts first: order does not matter.
    struct control_client *client = client_start(key, address);
    server = server_start(key, port);
    CHECK_TRUE(report_until(client, &reports, 5));
    desired_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    state.epoch = 2;
    state.version = 7;
    CHECK_ERROR(control_server_send(server, "worker2", &state), -ENOENT);
    CHECK_OK(control_server_send(server, "worker1", &state));
    CHECK_TRUE(report_until(client, &states, 1));
    CHECK(version_newest(), ==, 7);
    // A restart of the coordinator: the node finds it again.
    control_server_destroy(&server);
    server = server_start(key, port);
    CHECK_TRUE(report_until(client, &reports, count_of(&reports) + 3));
    state.version = 8;
    CHECK_OK(control_server_send(server, "worker1", &state));
    CHECK_TRUE(report_until(client, &states, 2));
    CHECK(version_newest(), ==, 8);
    // A deposed leader's state is not delivered; the next right one is.
    state.epoch = 1;
    state.version = 99;
    CHECK_OK(control_server_send(server, "worker1", &state));
    state.epoch = 2;
    state.version = 9;
    CHECK_OK(control_server_send(server, "worker1", &state));
    CHECK_TRUE(report_until(client, &states, 3));
    CHECK(version_newest(), ==, 9);
    CHECK(count_of(&states), ==, 3);
    // Its pipe is gone with the node.
    control_client_destroy(&client);
    CHECK_TRUE(gone_soon(server, &state));
    control_server_destroy(&server);
}

static void hold(bool on)
{
    pthread_mutex_lock(&lock);
    held = on;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

// Reports still in the queue when a node's pipe goes do not make it look reachable again, or there.
static void test_gone_with_reports_queued(const uint8_t *key)
{
    struct control_server *server = server_start(key, 0);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", control_server_port(server));
    struct control_client *client = client_start(key, address);
    CHECK_TRUE(report_until(client, &reports, count_of(&reports) + 1));
    struct control_link_stats stats;
    control_server_stats(server, &stats);
    uint64_t before = stats.received;
    CHECK_TRUE(!gone);
    hold(true);
    CHECK_TRUE(report_until(client, &reports, count_of(&reports) + 1)); // this one is being taken
    for (int i = 0; i < 3; i++) {
        node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
        (void)control_client_report(client, &report);
        news_wait();
    }
    desired_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    control_client_destroy(&client);
    CHECK_TRUE(gone_soon(server, &state));
    hold(false);
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    do {
        news_wait();
        control_server_stats(server, &stats);
    } while (stats.received < before + 3 && clock_monotonic_ns() < end_ns);
    CHECK(stats.received, >=, before + 3); // the queue was heard
    CHECK_ERROR(control_server_send(server, "worker1", &state), -ENOENT);
    control_server_destroy(&server);
    CHECK_TRUE(gone); // the last that was said
}

// A coordinator says that it is there even when nothing changes.
static void test_alive(const uint8_t *key)
{
    struct control_server *server = server_start(key, 0);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", control_server_port(server));
    struct control_client *client = client_start(key, address);
    struct control_link_stats stats = {0};
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (stats.sent < 2 && clock_monotonic_ns() < end_ns) {
        report_until(client, &reports, count_of(&reports) + 1);
        control_server_stats(server, &stats); // no state was sent
    }
    CHECK(stats.sent, >=, 2);
    control_client_stats(client, &stats);
    CHECK(stats.refused + stats.malformed + stats.replayed, ==, 0);
    control_client_destroy(&client);
    control_server_destroy(&server);
}

static void on_connection(nng_pipe pipe, nng_pipe_ev event, void *opaque)
{
    (void)pipe, (void)event, (void)opaque; // only counted
    pthread_mutex_lock(&lock);
    connections++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

// One that takes everything and never says a word is dialled anew after CONTROL_SILENCE_NS.
static void test_silence(const uint8_t *key)
{
    nng_socket socket;
    nng_listener listener;
    nng_sockaddr at;
    char address[64];
    CHECK_OK(nng_rep0_open_raw(&socket));
    CHECK_OK(nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, on_connection, NULL));
    CHECK_OK(nng_listen(socket, "tcp://127.0.0.1:0", &listener, 0));
    CHECK_OK(nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &at));
    snprintf(address, sizeof address, "127.0.0.1:%d",
             (at.s_in.sa_port & 0xff) << 8 | at.s_in.sa_port >> 8);
    int64_t start_ns = clock_monotonic_ns();
    struct control_client *client = client_start(key, address);
    CHECK_TRUE(report_until(client, &connections, 2));
    CHECK(clock_monotonic_ns() - start_ns, >=, CONTROL_SILENCE_NS);
    control_client_destroy(&client);
    (void)control_socket_close(socket); // libnng 1.5.2 may never come back from that
}

static void test_stranger(const uint8_t *key)
{
    uint8_t other[CLUSTER_KEY_BYTES];
    memcpy(other, key, sizeof other);
    other[0] ^= 1;
    struct control_server *server = server_start(key, 0);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", control_server_port(server));
    struct control_client *stranger = client_start(other, address);
    struct control_client *client = client_start(key, address);
    struct control_link_stats stats = {0};
    int before = count_of(&reports);
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (stats.refused < 5 && clock_monotonic_ns() < end_ns) {
        node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
        (void)control_client_report(stranger, &report);
        news_wait();
        control_server_stats(server, &stats);
    }
    CHECK(stats.refused, >=, 5);
    CHECK(count_of(&reports), ==, before);
    CHECK_TRUE(report_until(client, &reports, before + 2)); // the others are heard as before
    control_client_destroy(&stranger);
    control_client_destroy(&client);
    control_server_destroy(&server);
}

// ---- Messages made by hand --------------------------------------------------------------------

static void raw_send(nng_socket socket, const uint8_t *bytes, size_t size)
{
    nng_msg *message;
    CHECK_OK(nng_msg_alloc(&message, 0));
    CHECK_OK(nng_msg_append(message, bytes, size));
    CHECK_OK(nng_msg_header_append_u32(message, UINT32_C(0x80000005)));
    CHECK_OK(nng_sendmsg(socket, message, 0));
}

static size_t report_seal(const uint8_t *key, const char *name, const char *node, uint64_t instance,
                          uint64_t sequence, uint8_t *ret)
{
    uint8_t plain[256];
    node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    report.node = (char *)node;
    report.instance = instance;
    report.sequence = sequence;
    size_t size = vistter__control__v1__node_report__pack(&report, plain);
    int n = control_seal(key, CONTROL_UP, name, plain, size, ret);
    CHECK(n, >, 0);
    return (size_t)n;
}

static void test_by_hand(const uint8_t *key)
{
    struct control_server *server = server_start(key, 0);
    uint8_t bytes[512], garbage[64] = {255, 255, 255};
    char url[64];
    nng_socket socket;
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", control_server_port(server));
    CHECK_OK(nng_req0_open_raw(&socket));
    CHECK_OK(nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, 10000));
    CHECK_OK(nng_dial(socket, url, NULL, 0));
    int before = count_of(&reports);
    size_t size = report_seal(key, "worker1", "worker1", 77, 5, bytes);
    raw_send(socket, bytes, size);
    raw_send(socket, bytes, size); // repeated
    size = report_seal(key, "worker1", "worker1", 77, 4, bytes);
    raw_send(socket, bytes, size); // overtaken
    size = report_seal(key, "worker1", "worker1", 78, 1, bytes);
    raw_send(socket, bytes, size); // a new start of the node
    size = report_seal(key, "worker1", "worker1", 77, 6, bytes);
    raw_send(socket, bytes, size); // from before that start
    size = report_seal(key, "worker1", "worker2", 1, 1, bytes);
    raw_send(socket, bytes, size); // one node in the name of another
    int n = control_seal(key, CONTROL_UP, "worker1", garbage, sizeof garbage, bytes);
    raw_send(socket, bytes, (size_t)n);
    n = control_seal(key, CONTROL_DOWN, "worker1", garbage, 0, bytes);
    raw_send(socket, bytes, (size_t)n); // a message for nodes, sent back
    raw_send(socket, garbage, sizeof garbage);
    raw_send(socket, garbage, 0);
    size = report_seal(key, "worker1", "worker1", 78, 2, bytes);
    raw_send(socket, bytes, size); // in order on one pipe: all before it have been seen
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (count_of(&reports) < before + 3 && clock_monotonic_ns() < end_ns)
        news_wait();
    struct control_link_stats stats;
    control_server_stats(server, &stats);
    CHECK(count_of(&reports), ==, before + 3);
    CHECK(stats.received, ==, 3);
    CHECK(stats.replayed, ==, 3);
    CHECK(stats.malformed, ==, 2);
    CHECK(stats.refused, ==, 3);
    (void)control_socket_close(socket); // libnng 1.5.2 may never come back from that
    control_server_destroy(&server);
}

static void test_too_large(const uint8_t *key)
{
    struct control_client *client = client_start(key, "127.0.0.1:1");
    char *text = malloc(CONTROL_MESSAGE_BYTES_MAX + 1);
    memset(text, 'x', CONTROL_MESSAGE_BYTES_MAX);
    text[CONTROL_MESSAGE_BYTES_MAX] = 0;
    node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    report.version = text;
    CHECK_ERROR(control_client_report(client, &report), -EMSGSIZE);
    report.version = "1";
    CHECK_ERROR(control_client_report(client, &report), -EAGAIN); // nobody is there
    free(text);
    control_client_destroy(&client);
    struct diagnostic why;
    struct control_client_config config = {.addresses = "", .node = "n", .on_state = on_state};
    CHECK_ERROR(control_client_create(&config, &client, &why), -EINVAL);
    config.addresses = "127.0.0.1:1,,";
    CHECK_ERROR(control_client_create(&config, &client, &why), -EINVAL);
    config.addresses = "127.0.0.1:1";
    config.node = "";
    CHECK_ERROR(control_client_create(&config, &client, &why), -EINVAL);
    CHECK_TEXT(why.code, "node_name");
}

static void test_envelope(const uint8_t *key)
{
    uint8_t plain[300], sealed[sizeof plain + CONTROL_ENVELOPE_BYTES], again[sizeof sealed];
    uint8_t opened[sizeof sealed];
    enum control_direction direction;
    char name[CONTROL_NAME_MAX + 1];
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)i;
    int n = control_seal(key, CONTROL_DOWN, "edge1", plain, sizeof plain, sealed);
    CHECK(n, ==, 4 + 1 + 1 + 1 + 5 + 12 + sizeof plain + 16);
    CHECK(control_open(key, sealed, (size_t)n, &direction, name, opened), ==, sizeof plain);
    CHECK(direction, ==, CONTROL_DOWN);
    CHECK_TEXT(name, "edge1");
    CHECK_BYTES(opened, plain, sizeof plain);
    // The same again looks different: each has its own nonce.
    CHECK(control_seal(key, CONTROL_DOWN, "edge1", plain, sizeof plain, again), ==, n);
    CHECK_TRUE(memcmp(sealed, again, (size_t)n) != 0);
    // Every altered byte and every truncation is refused.
    for (int i = 0; i < n; i++) {
        sealed[i] ^= 0x40;
        CHECK(control_open(key, sealed, (size_t)n, &direction, name, opened), <, 0);
        sealed[i] ^= 0x40;
        CHECK(control_open(key, sealed, (size_t)i, &direction, name, opened), <, 0);
    }
    char longest[CONTROL_NAME_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[CONTROL_NAME_MAX + 1] = 0;
    CHECK_ERROR(control_seal(key, CONTROL_UP, longest, plain, 1, sealed), -EINVAL);
    longest[CONTROL_NAME_MAX] = 0;
    CHECK(control_seal(key, CONTROL_UP, longest, plain, 1, sealed), >, 0);
    CHECK_ERROR(control_seal(key, CONTROL_UP, "", plain, 1, sealed), -EINVAL);
}

// ---- Shape ------------------------------------------------------------------------------------

static uint8_t big[CONTROL_MESSAGE_BYTES_MAX + 2];

static void test_shape(void)
{
    // Two-byte items by the ten thousand would become megabytes of heap.
    for (size_t i = 0; i < sizeof big; i += 2) {
        big[i] = 12 << 3 | 2; // stages, empty
        big[i + 1] = 0;
    }
    CHECK_OK(control_shape_check(report_type, big, 2 * CONTROL_ITEMS_MAX));
    CHECK_ERROR(control_shape_check(report_type, big, 2 * CONTROL_ITEMS_MAX + 2), -EPROTO);
    CHECK_ERROR(control_shape_check(report_type, big, sizeof big), -EPROTO);
    // So would unknown fields, which are kept, and packed numbers.
    for (size_t i = 0; i < 30000; i += 3) {
        big[i] = 0x80 | (2000 << 3 & 0x7f);
        big[i + 1] = (uint8_t)(2000 << 3 >> 7);
        big[i + 2] = 1;
    }
    CHECK_OK(control_shape_check(report_type, big, 3));
    CHECK_OK(control_shape_check(report_type, big, 3 * CONTROL_ITEMS_MAX));
    uint8_t packed[4 + CONTROL_ITEMS_MAX + 1] = {8 << 3 | 2}; // stopped_channels of one byte each
    const ProtobufCMessageDescriptor *state = &vistter__control__v1__desired_state__descriptor;
    packed[1] = 0x80 | (CONTROL_ITEMS_MAX & 0x7f);
    packed[2] = CONTROL_ITEMS_MAX >> 7;
    CHECK_ERROR(control_shape_check(state, packed, 3 + CONTROL_ITEMS_MAX), -EPROTO);
    packed[1] -= 1;
    CHECK_OK(control_shape_check(state, packed, 3 + CONTROL_ITEMS_MAX - 1));
    // A length beyond its message, an endless varint, a group, field 0, a NUL in a text.
    CHECK_ERROR(control_shape_check(report_type, (const uint8_t[]){12 << 3 | 2, 5, 0}, 3), -EPROTO);
    memset(big, 0xff, 32);
    CHECK_ERROR(control_shape_check(report_type, big, 32), -EPROTO);
    CHECK_ERROR(control_shape_check(report_type, (const uint8_t[]){1 << 3 | 3}, 1), -EPROTO);
    CHECK_ERROR(control_shape_check(report_type, (const uint8_t[]){2, 0}, 2), -EPROTO);
    CHECK_ERROR(control_shape_check(report_type, (const uint8_t[]){1 << 3 | 2, 2, 'a', 0}, 4),
                -EPROTO);
    CHECK_OK(control_shape_check(report_type, (const uint8_t[]){1 << 3 | 2, 1, 'a'}, 3));
}

// Anything may come: what passes unpacks or is refused, and nothing crashes.
static void test_fuzz(uint64_t seed, const uint8_t *key)
{
    uint8_t good[256], bytes[256], opened[256];
    node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    Vistter__Control__V1__StageReport stage = VISTTER__CONTROL__V1__STAGE_REPORT__INIT;
    Vistter__Control__V1__TrackCost cost = VISTTER__CONTROL__V1__TRACK_COST__INIT;
    Vistter__Control__V1__StageReport *stages[] = {&stage, &stage};
    Vistter__Control__V1__TrackCost *costs[] = {&cost, &cost};
    report.node = "worker1";
    report.n_stages = stage.n_tracks = 2;
    report.stages = stages;
    stage.tracks = costs;
    cost.ms = 2.5;
    size_t good_size = vistter__control__v1__node_report__pack(&report, good);
    for (int round = 0; round < 200000; round++) {
        size_t size = good_size;
        memcpy(bytes, good, good_size);
        if (round % 2)
            size = check_random(&seed) % 64;
        for (int i = 0, n = round % 2 ? 64 : 1 + (int)(check_random(&seed) % 4); i < n; i++)
            bytes[check_random(&seed) % (round % 2 ? 64 : size)] = (uint8_t)check_random(&seed);
        if (control_shape_check(report_type, bytes, size) == 0) {
            node_report_message *message =
                vistter__control__v1__node_report__unpack(NULL, size, bytes);
            if (message)
                vistter__control__v1__node_report__free_unpacked(message, NULL);
        }
        enum control_direction direction;
        char name[CONTROL_NAME_MAX + 1];
        if (round % 16 == 0) {
            memcpy(bytes, "VCTL\1", 5);
            CHECK(control_open(key, bytes, size, &direction, name, opened), <, 0);
        }
    }
}

static void test_replay_guard(void)
{
    struct replay_guard guard = {0};
    CHECK_TRUE(!replay_guard_accept(&guard, 0, 1));
    CHECK_TRUE(replay_guard_accept(&guard, 10, 5));
    CHECK_TRUE(!replay_guard_accept(&guard, 10, 5));
    CHECK_TRUE(replay_guard_accept(&guard, 10, 6));
    CHECK_TRUE(replay_guard_accept(&guard, 11, 1));
    CHECK_TRUE(!replay_guard_accept(&guard, 10, 7)); // replaced for good
    CHECK_TRUE(replay_guard_accept(&guard, 11, 2));
}

static void test_key_file(void)
{
    char path[] = "/tmp/vistter-key-XXXXXX";
    int fd = mkstemp(path);
    uint8_t key[CLUSTER_KEY_BYTES];
    struct diagnostic why;
    dprintf(fd, "00ff112233445566778899aabbccddeeFF112233445566778899aabbccddee00\n");
    CHECK_OK(cluster_key_read(path, key, &why));
    CHECK(key[1], ==, 255);
    CHECK(key[16], ==, 255);
    CHECK_OK(fchmod(fd, 0640));
    CHECK_ERROR(cluster_key_read(path, key, &why), -EPERM);
    CHECK_TEXT(why.code, "cluster_key_exposed");
    CHECK_TEXT(why.path, path);
    CHECK_OK(fchmod(fd, 0600));
    CHECK(pwrite(fd, "g", 1, 3), ==, 1);
    CHECK_ERROR(cluster_key_read(path, key, &why), -EINVAL);
    CHECK(pwrite(fd, "f", 1, 3), ==, 1);
    CHECK_OK(cluster_key_read(path, key, &why));
    CHECK_OK(ftruncate(fd, 63));
    CHECK_ERROR(cluster_key_read(path, key, &why), -EINVAL);
    close(fd);
    unlink(path);
    CHECK_ERROR(cluster_key_read(path, key, &why), -ENOENT);
    CHECK_ERROR(cluster_key_read("/tmp", key, &why), -EINVAL);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(20261123);
    uint8_t key[CLUSTER_KEY_BYTES] = {1, 2, 3};
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
    pthread_condattr_destroy(&attributes);
    test_key_file();
    test_envelope(key);
    test_shape();
    test_fuzz(seed, key);
    test_replay_guard();
    test_too_large(key);
    test_exchange(key);
    test_gone_with_reports_queued(key);
    test_alive(key);
    test_silence(key);
    test_stranger(key);
    test_by_hand(key);
    CHECK(wrong, ==, 0);
    return check_end();
}
