// Frame links within a host: blocks, and who is reached by a port's name.
#include "tests/engine/link/link_parties.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/link/link_socket.h"

// Frames that stand in blocks come as they are, and the provider learns when they are done with.
// Where blocks cannot be read the consumer says so, and gets the frames themselves.
static void test_blocks(bool nowhere)
{
    struct provider provider = {.blocks = block_pool_create((size_t)256 << 20), .nowhere = nowhere};
    struct consumer consumer = {.latency_ms = 20};
    CHECK_OK(provider_start(&provider, 0));
    consumer_start(&consumer, frame_server_port(provider.server), "link.A", key);
    CHECK_TRUE(consumer_wait(&consumer, &consumer.received, FRAMES));
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
    CHECK(consumer.stored, ==, nowhere ? 0 : FRAMES);
    CHECK(consumer.wrong, ==, 0);
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
    consumer_stop(&consumer);
    provider_stop(&provider);
    CHECK(consumer.wrong, ==, 0);
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

int main(int argc, char **argv)
{
    uint64_t state = test_seed(argc, argv);
    make_frames(&state);
    for (int i = 0; i < 2; i++) {
        srt_only = i; // blocks are told of over either
        test_blocks(false);
        test_blocks(true);
    }
    srt_only = false;
    test_same_port(false);
    test_same_port(true);
    test_other_user();
    free_frames();
    return check_end();
}
