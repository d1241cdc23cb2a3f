// Control link: reports go up and state comes down, through a restart of the coordinator; a wrong
// key, repeated, altered, oversized or malformed messages change nothing.
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/link/control_message.h"
#include "proto/control.pb-c.h"
#include "tests/check.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Atomic int reports, states;
static uint64_t last_sequence, last_version;

static void on_report(void *opaque, const node_report_message *report)
{
    (void)opaque;
    pthread_mutex_lock(&lock);
    reports++;
    CHECK_TEXT(report->node, "worker1");
    CHECK_TRUE(report->sequence > last_sequence);
    last_sequence = report->sequence;
    pthread_cond_broadcast(&changed);
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

static struct control_server *start_server(const uint8_t *key, int port)
{
    char listen[64];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    struct control_server_config config = {.listen = listen, .on_report = on_report};
    memcpy(config.key, key, sizeof config.key);
    struct control_server *server = NULL;
    struct diagnostic why;
    CHECK_OK(control_server_create(&config, &server, &why));
    return server;
}

// Reports as a node does, each 20 ms, until `count` have arrived or ten seconds have passed.
static bool report_until(struct control_client *client, const _Atomic int *counter, int count)
{
    int64_t end = clock_monotonic_ns() + INT64_C(10000000000);
    for (;;) {
        node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
        (void)control_client_report(client, &report);
        pthread_mutex_lock(&lock);
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        t.tv_nsec += 20000000;
        if (t.tv_nsec >= 1000000000) {
            t.tv_sec++;
            t.tv_nsec -= 1000000000;
        }
        if (*counter < count)
            pthread_cond_timedwait(&changed, &lock, &t);
        bool done = *counter >= count;
        pthread_mutex_unlock(&lock);
        if (done || clock_monotonic_ns() > end)
            return done;
    }
}

static void check_exchange(const uint8_t *key, int port)
{
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct control_client_config config = {
        .addresses = address, .node = "worker1", .on_state = on_state};
    memcpy(config.key, key, sizeof config.key);
    struct control_client *client = NULL;
    struct diagnostic why;
    // The node starts first: order does not matter.
    CHECK_OK(control_client_create(&config, &client, &why));
    struct control_server *server = start_server(key, port);
    CHECK_TRUE(report_until(client, &reports, 5));
    desired_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    state.version = 7;
    CHECK_OK(control_server_send(server, "worker1", &state));
    CHECK_ERROR(control_server_send(server, "worker2", &state), -ENOENT);
    CHECK_TRUE(report_until(client, &states, 1));
    CHECK(last_version, ==, 7);
    control_server_destroy(&server);
    reports = 0;
    server = start_server(key, port);
    CHECK_TRUE(report_until(client, &reports, 3));
    state.version = 8;
    CHECK_OK(control_server_send(server, "worker1", &state));
    CHECK_TRUE(report_until(client, &states, 2));
    CHECK(last_version, ==, 8);
    // A node with another key is not heard.
    struct control_client *stranger = NULL;
    config.key[0] ^= 1;
    CHECK_OK(control_client_create(&config, &stranger, &why));
    int before = reports;
    for (int i = 0; i < 50; i++) {
        node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
        (void)control_client_report(stranger, &report);
    }
    CHECK_TRUE(report_until(client, &reports, before + 2));
    control_client_destroy(&stranger);
    control_client_destroy(&client);
    control_server_destroy(&server);
}

static void check_messages(const uint8_t *key)
{
    desired_state_message state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    uint64_t stopped[100];
    for (size_t i = 0; i < 100; i++)
        stopped[i] = i << 20;
    state.n_stopped_channels = 100;
    state.stopped_channels = stopped;
    state.media_url = "http://127.0.0.1:8080/api/v1/media";
    uint8_t *bytes;
    size_t size;
    const ProtobufCMessageDescriptor *type = &vistter__control__v1__desired_state__descriptor;
    CHECK_OK(control_seal(key, CONTROL_DOWN, "edge1", &state.base, &bytes, &size));
    char node[CONTROL_NODE_MAX + 1];
    ProtobufCMessage *message = NULL;
    CHECK_OK(control_open(key, CONTROL_DOWN, bytes, size, type, node, &message));
    CHECK_TEXT(node, "edge1");
    CHECK_TEXT(((desired_state_message *)(void *)message)->media_url, state.media_url);
    protobuf_c_message_free_unpacked(message, NULL);
    CHECK_ERROR(control_open(key, CONTROL_UP, bytes, size, type, node, &message), -EPROTO);
    // Every altered byte and every truncation is refused.
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x40;
        CHECK_TRUE(control_open(key, CONTROL_DOWN, bytes, size, type, node, &message) < 0);
        bytes[i] ^= 0x40;
        CHECK_TRUE(control_open(key, CONTROL_DOWN, bytes, i, type, node, &message) < 0);
    }
    free(bytes);
}

static void check_shape(uint64_t seed)
{
    const ProtobufCMessageDescriptor *type = &vistter__control__v1__node_report__descriptor;
    static uint8_t bytes[65536];
    // Two-byte items by the ten thousand would become megabytes of heap.
    for (size_t i = 0; i < sizeof bytes; i += 2) {
        bytes[i] = 12 << 3 | 2; // stages, empty
        bytes[i + 1] = 0;
    }
    CHECK_TRUE(!control_shape_ok(bytes, sizeof bytes, type));
    CHECK_TRUE(control_shape_ok(bytes, 2000, type));
    // A length beyond its message, an endless varint, a group.
    CHECK_TRUE(!control_shape_ok((const uint8_t[]){12 << 3 | 2, 5, 0}, 3, type));
    memset(bytes, 0xff, 32);
    CHECK_TRUE(!control_shape_ok(bytes, 32, type));
    CHECK_TRUE(!control_shape_ok((const uint8_t[]){1 << 3 | 3}, 1, type));
    // Anything may come: what passes the shape check unpacks or is refused, and nothing crashes.
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int round = 0; round < 20000; round++) {
        size_t size = check_random(&seed) % 64;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)check_random(&seed);
        if (control_shape_ok(bytes, size, type)) {
            ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, size, bytes);
            if (message)
                protobuf_c_message_free_unpacked(message, NULL);
        }
    }
}

static void check_key_file(void)
{
    char path[] = "/tmp/vistter-key-XXXXXX";
    int fd = mkstemp(path);
    uint8_t key[CLUSTER_KEY_BYTES];
    struct diagnostic why;
    dprintf(fd, "00ff112233445566778899aabbccddeeff00112233445566778899aabbccddee\n");
    CHECK_OK(cluster_key_read(path, key, &why));
    CHECK(key[1], ==, 255);
    fchmod(fd, 0644);
    CHECK_ERROR(cluster_key_read(path, key, &why), -EACCES);
    fchmod(fd, 0600);
    CHECK_OK(ftruncate(fd, 20));
    CHECK_ERROR(cluster_key_read(path, key, &why), -EINVAL);
    close(fd);
    unlink(path);
    CHECK_ERROR(cluster_key_read(path, key, &why), -ENOENT);
}

int main(int argc, char **argv)
{
    uint8_t key[CLUSTER_KEY_BYTES] = {1, 2, 3};
    check_key_file();
    check_messages(key);
    check_shape(argc > 1 ? strtoull(argv[1], NULL, 10) : 20261123);
    check_exchange(key, 20000 + (int)(getpid() % 20000));
    return check_end();
}
