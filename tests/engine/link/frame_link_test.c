// Frame links on loopback: what is sent arrives, whole, once opened, and only for who has the key;
// through losses and restarts too.
#include "tests/engine/link/link_parties.h"
#include "tests/relay/relay.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/link/frame_want.h"
#include "engine/link/link_socket.h"
#include "engine/link/srt_parts.h"

// ---- Over a Unix socket and over SRT ----------------------------------------------------------

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
    consumer_stop(&consumer);
    provider_stop(&second);
    CHECK(consumer.connects, >=, 2);
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
        char address[64], told[64];
        int own = frame_server_address(server, "", address, sizeof address, &diagnostic);
        CHECK(own, ==, cases[i].wildcard ? -EINVAL : 0);
        CHECK_OK(frame_server_address(server, "host:7", told, sizeof told, NULL));
        CHECK_TEXT(told, "host:7");
        if (!own)
            CHECK(strtol(strrchr(address, ':') + 1, NULL, 10), ==, frame_server_port(server));
        frame_server_destroy(&server);
    }
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
    struct relay relay = {RELAY, frame_server_port(provider.server), percent, "10", "0"};
    pid_t pid = relay_start(&relay, &relay_stdin, &port);
    consumer_start(&consumer, port, "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
    struct frame_link_stats stats;
    frame_client_stats(consumer.client, &stats);
    consumer_stop(&consumer);
    fprintf(stderr,
            "%s %% loss, latency %d ms: %d came twice, incomplete %llu, resent %llu, rtt %.1f ms\n",
            percent, latency_ms, consumer.repeated, (unsigned long long)stats.incomplete,
            (unsigned long long)stats.resent, stats.rtt_ms);
    if (latency_ms < 20)
        CHECK(stats.incomplete, >, 0);
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
        test_wrong_key();
        test_wrong_name();
        test_restart();
        test_takeover();
        test_queue();
        test_unsent();
    }
    srt_only = false;
    test_recording();
    test_crowd();
    test_silence();
    test_wildcard();
    test_loss("2", 60);
    test_loss("0.3", 12);
    test_one_libsrt();
    free_frames();
    return check_end();
}
