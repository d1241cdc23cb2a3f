// What no camera sends: mutated MPEG-TS and FLV, and random bytes, by SRT, by UDP and from an HTTP
// server. No gateway ends, each says how its source is, and each is live again with a good sender.
// Argument: a seed.
#include "tests/worker/senders.h"
#include "worker/child.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define OPTIONS "-c:v libx264 -preset ultrafast -b:v 1M -g 25 -c:a aac"

enum { BY_SRT, BY_UDP, BY_HTTP_TS, BY_HTTP_FLV, GATEWAYS };
static const char *const names[GATEWAYS] = {"srt", "udp", "ts", "flv"};
static const char *const program[] = {"vistter-gateway", NULL};
static struct child gateways[GATEWAYS];
static struct clip ts, flv;
static char folder[] = "/tmp/vistter-gateway-fuzz-XXXXXX";
static int srt_port, datagram_port, http_port;
static uint64_t first_seed = 1;

// ---- Bad bytes ---------------------------------------------------------------------------------

static void flip(uint8_t *bytes, size_t size, uint64_t *seed)
{
    size_t at = check_random(seed) % size;
    bytes[at] ^= (uint8_t)(1 << check_random(seed) % 8);
}

// Something of a file, and what time and bad will do to it: bits, runs that are missing, repeated,
// or of one value. From now and then only noise.
static size_t mutate(const struct clip *c, uint8_t *out, uint64_t *seed)
{
    size_t size = c->size < 192 << 10 ? c->size : 192 << 10;
    size_t from = check_random(seed) % 2 ? 0 : check_random(seed) % (c->size - size + 1);
    memcpy(out, c->bytes + from, size);
    if (check_random(seed) % 6 == 0) {
        for (size_t i = 0; i < size; i++)
            out[i] = (uint8_t)check_random(seed);
        return size;
    }
    // Headers are few: some of the mutations go where these are.
    for (int i = (int)(check_random(seed) % 200); i > 0; i--)
        flip(out, i % 4 ? size : 2048, seed);
    for (int i = (int)(check_random(seed) % 6); i > 0; i--) {
        size_t run = 1 + check_random(seed) % 700, a = check_random(seed) % (size - run);
        size_t b = check_random(seed) % (size - run);
        if (i % 3 == 0)
            memset(out + a, (int)check_random(seed), run);
        else if (i % 3 == 1)
            memmove(out + a, out + b, run);
        else
            memmove(out + a, out + a + run, (size -= run) - a);
    }
    return size;
}

// ---- Who sends them ----------------------------------------------------------------------------

static void send_srt(uint64_t *seed, int times)
{
    static uint8_t bytes[192 << 10];
    for (int i = 0; i < times; i++) {
        size_t size = mutate(&ts, bytes, seed), at = 0;
        SRTSOCKET s = sender_call(srt_port, "srt");
        CHECK_TRUE(s != SRT_INVALID_SOCK);
        // At once; or the last one like a camera, which the gateway takes its time to believe.
        for (size_t part = 1; i == times - 1 && part < 24; part++) {
            (void)sender_send(s, bytes, &at, size * part / 24);
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 20);
        }
        (void)sender_send(s, bytes, &at, size);                     // it may be hung up on
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 8); // what it has to arrive in
        srt_close(s);
    }
}

static void send_datagrams(const uint8_t *bytes, size_t size, uint64_t *seed)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = loopback(datagram_port);
    for (size_t at = 0, n; at < size; at += n) {
        n = seed ? 1 + check_random(seed) % 1472 : PACKET;
        n = n < size - at ? n : size - at;
        (void)!sendto(fd, bytes + at, n, 0, (struct sockaddr *)&to, sizeof to);
        if (seed)
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 5000);
    }
    close(fd);
}

static void send_udp(uint64_t *seed, int times)
{
    static uint8_t bytes[192 << 10];
    for (int i = 0; i < times; i++)
        send_datagrams(bytes, mutate(&ts, bytes, seed), seed);
}

static atomic_bool stop, good;

// Answers each request with a file, whatever it asks for but for its kind.
static void *serve(void *opaque)
{
    static uint8_t bytes[192 << 10];
    static const char head[] =
        "HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n";
    int listener = *(int *)opaque;
    uint64_t seed = first_seed + 2;
    while (!atomic_load(&stop)) {
        int fd = accept(listener, NULL, NULL);
        char request[1024] = "";
        if (fd < 0)
            break;
        struct timeval patience = {.tv_sec = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        ssize_t n = recv(fd, request, sizeof request - 1, 0);
        const struct clip *c = n > 0 && strstr(request, "/flv") ? &flv : &ts;
        bool whole = atomic_load(&good);
        size_t size = whole ? c->size : mutate(c, bytes, &seed);
        (void)!send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
        (void)!send(fd, whole ? c->bytes : bytes, size, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

// ---- The gateways ------------------------------------------------------------------------------

static void begin(int which, const char *input)
{
    char settings[512];
    snprintf(settings, sizeof settings, "{\"source\":\"%s\",\"folder\":\"%s/%s\",\"input\":%s}",
             names[which], folder, names[which], input);
    child_init(&gateways[which], "the gateway", program, strdup(settings));
}

static void begin_all(void)
{
    char input[128];
    snprintf(input, sizeof input,
             "{\"kind\":\"srt-listen\",\"listen\":\"127.0.0.1:%d\",\"latency_ms\":40}", srt_port);
    begin(BY_SRT, input);
    snprintf(input, sizeof input, "{\"kind\":\"pull\",\"url\":\"udp://127.0.0.1:%d\"}",
             datagram_port);
    begin(BY_UDP, input);
    for (int i = BY_HTTP_TS; i <= BY_HTTP_FLV; i++) {
        snprintf(input, sizeof input, "{\"kind\":\"pull\",\"url\":\"http://127.0.0.1:%d/%s\"}",
                 http_port, names[i]);
        begin(i, input);
    }
}

static bool is_in(int which, const char *states)
{
    json_t *status = json_loads(gateways[which].status, 0, NULL);
    const char *state = json_string_value(json_object_get(status, "state"));
    bool is = state && strstr(states, state) && json_object_get(status, "text");
    json_decref(status);
    return is;
}

static bool lived[GATEWAYS]; // each has a time of its own to be there again

static void hear(void)
{
    for (int i = 0; i < GATEWAYS; i++) {
        child_step(&gateways[i], clock_monotonic_ns());
        lived[i] = lived[i] || is_in(i, "live unstable");
    }
}

// Listens for half a minute at most, until all have said how they are, or have been live.
static void await(bool live)
{
    int in = 0;
    for (int i = 0; i < 1500 && in < GATEWAYS; i++) {
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
        hear();
        in = 0;
        for (int k = 0; k < GATEWAYS; k++)
            in += live ? lived[k] : is_in(k, "connecting live unstable lost");
    }
    for (int k = 0; k < GATEWAYS && in < GATEWAYS; k++)
        fprintf(stderr, "%s: %s %s\n", names[k], gateways[k].status, gateways[k].error);
    CHECK(in, ==, GATEWAYS);
}

// Plays the clip to those who do not fetch it, while the others fetch it again and again.
static void play_good(void)
{
    SRTSOCKET s = sender_call(srt_port, "srt");
    CHECK_TRUE(s != SRT_INVALID_SOCK);
    int64_t start_ns = clock_monotonic_ns();
    size_t srt_at = 0;
    for (size_t due = 0, udp_at = 0; due < ts.size; udp_at = due) {
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 100);
        due = clip_due(&ts, clock_monotonic_ns() - start_ns);
        CHECK_TRUE(sender_send(s, ts.bytes, &srt_at, due));
        send_datagrams(ts.bytes + udp_at, due - udp_at, NULL);
        if (clock_monotonic_ns() - start_ns < 2 * SECOND_NS) // what is said is of those before
            memset(lived, 0, sizeof lived);
        hear();
    }
    await(true);
    srt_close(s);
}

static int listen_http(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_OK(bind(fd, (struct sockaddr *)&address, size));
    CHECK_OK(listen(fd, 8));
    CHECK_OK(getsockname(fd, (struct sockaddr *)&address, &size));
    http_port = ntohs(address.sin_port);
    return fd;
}

// Each log can be read to its end.
static void check_logs(void)
{
    static struct logged logged;
    for (int i = 0; i < GATEWAYS; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        log_units(path, UNIT_PICTURE, &logged);
        fprintf(stderr, "%s: %d pictures, gen %u\n", names[i], logged.count, logged.gen);
        CHECK(logged.count, >, 25);
    }
}

int main(int argc, char **argv)
{
    char path[96];
    pid_t pids[GATEWAYS];
    first_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t seed = first_seed;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    CHECK_TRUE(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/clip.%s", folder, i ? "flv" : "ts");
        if (!clip_make(path, "160x90", 4, OPTIONS))
            return 77;
        clip_load(i ? &flv : &ts, path);
    }
    CHECK_OK(srt_startup());
    srt_setloglevel(0);
    srt_port = udp_port();
    datagram_port = udp_port();
    int listener = listen_http();
    pthread_t server;
    CHECK_OK(pthread_create(&server, NULL, serve, &listener));
    begin_all();
    await(false);
    for (int i = 0; i < GATEWAYS; i++)
        pids[i] = gateways[i].pid;
    for (int round = 0; round < 8; round++) {
        send_srt(&seed, 3);
        send_udp(&seed, 2);
        hear();
    }
    atomic_store(&good, true);
    play_good();
    for (int i = 0; i < GATEWAYS; i++) {
        CHECK(gateways[i].pid, ==, pids[i]);
        CHECK_TEXT(gateways[i].error, "");
        while (child_stop(&gateways[i]))
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
        child_finish(&gateways[i]);
    }
    check_logs();
    atomic_store(&stop, true);
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    srt_cleanup();
    free(ts.bytes);
    free(flv.bytes);
    snprintf(path, sizeof path, "rm -r %s", folder);
    CHECK_OK(system(path));
    return check_end();
}
