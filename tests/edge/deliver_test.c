// Delivery to real peers: an nginx with its RTMP module, curl and FFmpeg, on loopback. A silent
// server and a stopped one stand beside them and must cost the others nothing.
//
// Skipped where nginx or its module is not installed. Argument: the path of vistter-deliver.
#include "tests/edge/delivery.h"
#include "tests/edge/peers.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define KEY "k3y-that-must-stay-secret"

// ---- Peers -------------------------------------------------------------------------------------

// An HTTP server that forbids whatever it is asked; counts the requests.
static pid_t start_forbidder(int listener, atomic_int *requests)
{
    static const char answer[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    pid_t pid = fork();
    if (pid)
        return pid;
    for (;;) {
        char request[4096];
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && read(fd, request, sizeof request) > 0) {
            atomic_fetch_add(requests, 1);
            if (write(fd, answer, sizeof answer - 1) < 0)
                _exit(1);
        }
        close(fd);
    }
}

// A connection on loopback, as the kernel sees it.
struct connection {
    int server, client;      // ports
    unsigned unsent, unread; // bytes in the client's kernel, and in the server's
};

// With `client` 0 the first one to the server is taken. Of one that is gone the last values stay.
static void read_connection(struct connection *c)
{
    FILE *f = fopen("/proc/net/tcp", "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        int local, remote;
        unsigned state, unsent, unread;
        if (sscanf(line, "%*d: %*8x:%4x %*8x:%4x %2x %8x:%8x", (unsigned *)&local,
                   (unsigned *)&remote, &state, &unsent, &unread) != 5 ||
            state != 1) // established
            continue;
        if (local == c->server && !c->client)
            c->client = remote;
        if (local == c->server && remote == c->client)
            c->unread = unread;
        if (local == c->client && remote == c->server)
            c->unsent = unsent;
    }
    if (f)
        fclose(f);
}

static void check_secret(struct outlet *o)
{
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK_TRUE(!strstr(report.error, KEY));
    char path[64], bytes[65536];
    static const char *const files[] = {"cmdline", "environ"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", outlet_child(o), files[i]);
        FILE *f = fopen(path, "r");
        size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
        CHECK_TRUE(size > 0 || i == 1);
        CHECK_TRUE(!memmem(bytes, size, KEY, strlen(KEY)));
        if (f)
            fclose(f);
    }
}

static void check_refused(struct outlet *o)
{
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK(report.state, ==, DELIVER_WAITING);
    CHECK_TEXT(report.alarm, "destination_refused");
    CHECK_TRUE(strstr(report.error, "refused by the server"));
    CHECK_TRUE(!strstr(report.error, KEY));
}

// A platform that does not want this key says so to the person, and is not asked more often than
// after 5, 10, 20 seconds.
static void test_forbidden(struct outlet_hub *hub)
{
    int listener, port = free_port(NULL);
    atomic_int *requests =
        mmap(NULL, sizeof *requests, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char rule[128], url[256];
    snprintf(rule, sizeof rule, "on_publish http://127.0.0.1:%d/;", free_port(&listener));
    pid_t forbidder = start_forbidder(listener, requests);
    pid_t nginx = start_nginx(port, "forbidden", rule);
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/live/" KEY, port);
    int64_t start = clock_monotonic_ns();
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-forbidden", url);
    wait_state(o, DELIVER_WAITING);
    check_refused(o);
    for (int i = 0; i < 3000 && atomic_load(requests) < 2; i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK((clock_monotonic_ns() - start) / 1000000, >=, 5000);
    CHECK(atomic_load(requests), ==, 2);
    outlet_destroy(&o);
    stop_process(nginx);
    stop_process(forbidder);
    close(listener);
    munmap(requests, sizeof *requests);
}

// Plays on to a server that has stopped, until the outlet says so; returns how long after the last
// byte moved that was, in milliseconds.
static int64_t time_of_notice(struct outlet *o, struct connection *c, int from)
{
    struct deliver_report report;
    unsigned before = 0;
    int64_t moved = clock_monotonic_ns(), end = moved + INT64_C(30000000000), now = moved;
    do {
        while (from < packet_count && packets[from]->stream != PACKET_VIDEO)
            outlet_push(o, 7, packets[from++]);
        if (from < packet_count)
            outlet_push(o, 7, packets[from++]);
        clock_sleep_until_ns(now + INT64_C(1001000000) / 30 / SPEED);
        now = clock_monotonic_ns();
        read_connection(c);
        if (c->unread != before)
            moved = now;
        before = c->unread;
        outlet_report(o, &report);
    } while (report.state == DELIVER_LIVE && now < end);
    CHECK(report.state, !=, DELIVER_LIVE);
    CHECK_TEXT(report.error, "the server takes no more data");
    CHECK_TEXT(report.alarm, "destination_lost");
    return (now - moved) / 1000000;
}

// A second publisher of a key in use is told so. A platform that stops reading is noticed two
// seconds after its last byte, with little left in the kernel; when it reads again, it is live
// again.
static void test_stopped_platform(struct outlet_hub *hub)
{
    int port = free_port(NULL), gop = key_after(key_after(0) + 1);
    pid_t nginx = start_nginx(port, "stops", "");
    char url[256];
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/live/" KEY, port);
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-stops", url);
    play(&o, 1, 0, gop);
    wait_state(o, DELIVER_LIVE);
    struct connection c = {.server = port};
    read_connection(&c);
    struct outlet *second = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-second", url);
    wait_state(second, DELIVER_WAITING);
    check_refused(second);
    outlet_destroy(&second);
    kill(nginx, SIGSTOP);
    int64_t noticed_ms = time_of_notice(o, &c, gop);
    fprintf(stderr, "stopped: noticed after %lld ms, %u bytes unsent\n", (long long)noticed_ms,
            c.unsent);
    CHECK(noticed_ms, >=, 1900);
    CHECK(noticed_ms, <=, 3000);
    CHECK(c.unsent, >, 0);
    CHECK(c.unsent, <=, 2 * 65536); // socket(7): twice what SO_SNDBUF asks for
    kill(nginx, SIGCONT);
    struct deliver_report report;
    for (int i = 1; i <= 15; i++) { // a connection starts at the newest key
        play_later(o, gop, i);
        outlet_report(o, &report);
        if (report.state == DELIVER_LIVE)
            break;
    }
    CHECK(report.state, ==, DELIVER_LIVE);
    CHECK_TEXT(report.alarm, "");
    CHECK(report.reconnects, >=, 1);
    outlet_destroy(&o);
    stop_process(nginx);
}

static void test_peers(struct outlet_hub *hub)
{
    int silent_fd, port = free_port(NULL), stalled_port = free_port(NULL);
    int silent_port = free_port(&silent_fd), preview_port = free_port(NULL);
    pid_t nginx = start_nginx(port, "good", ""), stalled = start_nginx(stalled_port, "stalled", "");
    char url[256], rec[128], command[512], path[512];
    struct outlet *o[6];
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/live/" KEY, port);
    o[0] = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-good", url);
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/live/" KEY, silent_port);
    o[1] = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-silent", url);
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/live/" KEY, stalled_port);
    o[2] = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-stalled", url);
    snprintf(rec, sizeof rec, "%s/rec", folder);
    o[3] = open_outlet(hub, DELIVER_KIND_RECORDING, "recording", rec);
    snprintf(url, sizeof url, "127.0.0.1:%d", preview_port);
    o[4] = open_outlet(hub, DELIVER_KIND_PREVIEW, "preview", url);
    snprintf(url, sizeof url, "%s", "file:///etc/passwd");
    o[5] = open_outlet(hub, DELIVER_KIND_RTMP, "rtmp-wrong", url);
    wait_state(o[4], DELIVER_LIVE);
    snprintf(command, sizeof command,
             "exec timeout 20 curl -sS -D %s/headers -o %s/preview.mp4 "
             "http://127.0.0.1:%d/preview/demo.mp4 2>%s/curl.log",
             folder, folder, preview_port, folder);
    pid_t curl = spawn(command);
    // The publisher must be connected before the first picture for a complete count: the third GOP
    // on, everything is checked, the first two are the time for that.
    play(o, 6, 0, key_after(packet_count / 4));
    kill(stalled, SIGSTOP);
    play(o, 6, key_after(packet_count / 4), packet_count);
    struct deliver_report report;
    outlet_report(o[0], &report);
    CHECK(report.state, ==, DELIVER_LIVE);
    CHECK(report.dropped, ==, 0);
    outlet_report(o[3], &report);
    CHECK(report.state, ==, DELIVER_LIVE);
    CHECK(report.dropped, ==, 0);
    outlet_report(o[1], &report);
    CHECK(report.state, !=, DELIVER_LIVE);
    CHECK_TEXT(report.error, "no answer in time");
    outlet_report(o[5], &report);
    CHECK(report.state, ==, DELIVER_WAITING);
    CHECK_TEXT(report.error, "not an RTMP address");
    for (int i = 0; i < 6; i++)
        check_secret(o[i]);
    for (int i = 0; i < 6; i++)
        outlet_destroy(&o[i]);
    waitpid(curl, NULL, 0);
    for (int i = 0; i < 500 && !find_file("rec", ".mkv", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(find_file("rec", ".mkv", path, sizeof path));
    check_good("recording", path, SECONDS * 30);
    stop_process(nginx); // it has written all of the file now
    CHECK_TRUE(find_file("good", ".flv", path, sizeof path));
    check_good("rtmp", path, SECONDS * 30);
    snprintf(path, sizeof path, "%s/preview.mp4", folder);
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    CHECK(m.decode_errors, ==, 0);
    CHECK(m.video_frames, >=, SECONDS * 30 - 90);
    CHECK_TRUE(media_file_offset_ms(&m) <= 5);
    char line[256];
    snprintf(path, sizeof path, "%s/headers", folder);
    FILE *headers = fopen(path, "r");
    bool cors = false;
    while (headers && fgets(line, sizeof line, headers))
        cors = cors || !strncmp(line, "Access-Control-Allow-Origin: *\r\n", 32);
    CHECK_TRUE(cors);
    if (headers)
        fclose(headers);
    stop_process(stalled);
    close(silent_fd);
}

// While paused nothing goes out, and what is not taken counts nowhere; it goes on with a key
// picture.
static void test_pause(struct outlet_hub *hub)
{
    char rec[128], path[512];
    snprintf(rec, sizeof rec, "%s/paused", folder);
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RECORDING, "paused", rec);
    int paused = key_after(packet_count / 4), on = key_after(packet_count / 2);
    play(&o, 1, 0, paused);
    outlet_pause(o, true);
    play(&o, 1, paused, on - 20);
    outlet_pause(o, false);
    play(&o, 1, on - 20, packet_count);
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK(report.state, ==, DELIVER_LIVE);
    CHECK(report.dropped, ==, 20); // before the key picture
    outlet_destroy(&o);
    for (int i = 0; i < 500 && !find_file("paused", ".mkv", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(find_file("paused", ".mkv", path, sizeof path));
    int pictures = 0;
    for (int i = 0; i < packet_count; i++)
        pictures += packets[i]->stream == PACKET_VIDEO && (i < paused || i >= on);
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    CHECK(m.decode_errors, ==, 0);
    // What was still on its way when it was paused has been let go.
    CHECK(m.video_frames, <=, pictures);
    CHECK(m.video_frames, >, pictures - 10);
}

int main(int argc, char **argv)
{
    if (argc < 2 || access(MODULE, R_OK) || system("command -v nginx curl ffmpeg >/dev/null"))
        return 77;
    struct outlet_hub *hub = NULL;
    struct diagnostic d;
    CHECK(outlet_hub_create("/nonexistent", NULL, &hub, &d), <, 0);
    CHECK_TEXT(d.code, "deliver_program");
    hub = delivery_begin(argv[1]);
    test_peers(hub);
    test_stopped_platform(hub);
    test_forbidden(hub);
    test_pause(hub);
    return delivery_end(&hub);
}
