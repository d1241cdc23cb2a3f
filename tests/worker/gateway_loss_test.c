// A camera behind a bad network: 5 % of the datagrams are lost both ways, each takes up to 50 ms
// more, and SRT repairs it. Every access unit that was sent stands in the log, and the gateway says
// what the network did. Argument: the relay.
#include "tests/relay/relay.h"
#include "tests/worker/senders.h"
#include "worker/child.h"

#include <jansson.h>
#include <sys/wait.h>

#define SECONDS 8.0
#define OPTIONS "-c:v libx264 -preset ultrafast -b:v 2M -g 25 -bf 2 -c:a aac -f mpegts"

static struct clip clip;
static char folder[] = "/tmp/vistter-gateway-loss-XXXXXX";
static const char *const program[] = {"vistter-gateway", NULL};
static struct child gateway;

static json_int_t said(const char *name)
{
    json_t *status = json_loads(gateway.status, 0, NULL);
    json_int_t value = json_integer_value(json_object_get(json_object_get(status, "srt"), name));
    json_decref(status);
    return value;
}

// Listens to the gateway for so long.
static void hear(int64_t ns)
{
    for (int64_t end = clock_monotonic_ns() + ns; clock_monotonic_ns() < end;) {
        child_step(&gateway, clock_monotonic_ns());
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
    }
}

static void send_clip(int port)
{
    srt_startup();
    SRTSOCKET s = sender_call(port, "cam1");
    if (s != SRT_INVALID_SOCK)
        sender_play(s, &clip, INT64_MAX);
    srt_close(s);
    srt_cleanup();
    _exit(s == SRT_INVALID_SOCK);
}

int main(int argc, char **argv)
{
    char path[96], settings[256], command[96];
    int relay_stdin, port, status = -1;
    CHECK(argc, ==, 2);
    CHECK_TRUE(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/clip.ts", folder);
    if (!clip_make(path, "320x180", SECONDS, OPTIONS))
        return 77;
    clip_load(&clip, path);
    int listens = udp_port();
    struct relay bad = {argv[1], listens, "5", "10", "50"};
    pid_t relay = relay_start(&bad, &relay_stdin, &port);
    snprintf(settings, sizeof settings,
             "{\"source\":\"cam1\",\"folder\":\"%s/cam1\",\"input\":{\"kind\":\"srt-listen\","
             "\"listen\":\"127.0.0.1:%d\",\"latency_ms\":1000}}",
             folder, listens);
    child_init(&gateway, "the gateway", program, strdup(settings));
    hear(SECOND_NS / 10);
    pid_t sender = fork();
    if (!sender)
        send_clip(port);
    hear((int64_t)(SECONDS * 1e9));
    while (!waitpid(sender, &status, WNOHANG))
        hear(SECOND_NS / 10);
    CHECK(status, ==, 0);
    hear(3 * SECOND_NS / 2); // its last words about that connection
    fprintf(stderr, "received %lld, lost %lld, sent again %lld, dropped %lld\n", said("received"),
            said("lost"), said("retransmitted"), said("dropped"));
    // What comes out of order counts as lost as well, until it comes.
    CHECK(said("lost"), >, said("received") / 40); // half of the 5 %
    CHECK(said("retransmitted"), >, said("received") / 40);
    CHECK(said("dropped"), ==, 0);
    while (child_stop(&gateway))
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
    child_finish(&gateway);
    close(relay_stdin);
    CHECK(waitpid(relay, &status, 0), ==, relay);
    CHECK(status, ==, 0);

    static struct logged logged;
    snprintf(path, sizeof path, "%s/cam1", folder);
    for (int stream = 0; stream < UNIT_STREAMS; stream++) {
        log_units(path, (enum unit_stream)stream, &logged);
        check_all_there(&clip, (enum unit_stream)stream, &logged);
        CHECK(logged.gen, ==, 1);
    }
    free(clip.bytes);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
