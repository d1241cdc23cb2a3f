// What platforms do to publishers: servers that go away, close, read slowly, have no valid
// certificate or no name; and a publisher that is killed. All at once, so that each is seen to cost
// the others nothing. rtmp_peer.py says when which picture came; nginx stands behind TLS.
//
// Names and trust are changed in a mount namespace of our own; without the right to one, what needs
// it is left out. Arguments: the paths of vistter-deliver and of this folder.
#include "tests/edge/delivery.h"
#include "tests/edge/peers.h"

#include <sched.h>
#include <sys/mount.h>

#define KEY      "k3y-that-must-stay-secret"
#define SLOWNESS 0.3 // of the stream's rate

static const char *scripts;
static bool own_mounts;

static pid_t start_peer(const char *address, int port, const char *name, const char *behaviour)
{
    char command[512];
    snprintf(command, sizeof command, "exec python3 %s/rtmp_peer.py %s %d %s/%s.log %s", scripts,
             address, port, folder, name, behaviour);
    return spawn(command);
}

static void wait_listening(int port)
{
    for (int i = 0; i < 1000 && !can_connect(port); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(can_connect(port));
}

static struct outlet *open_publisher(struct outlet_hub *hub, const char *label, const char *scheme,
                                     const char *host, int port)
{
    char url[256];
    snprintf(url, sizeof url, "%s://%s:%d/live/" KEY, scheme, host, port);
    return open_outlet(hub, DELIVER_KIND_RTMP, label, url);
}

// ---- What a peer got ---------------------------------------------------------------------------

struct event {
    double at; // seconds of CLOCK_MONOTONIC
    int connection, stamp;
    char what[16];
};

static struct event events[8192];

static int read_events(const char *name)
{
    char path[128], line[128], stamp[32];
    snprintf(path, sizeof path, "%s/%s.log", folder, name);
    FILE *f = fopen(path, "r");
    int count = 0;
    while (f && count < 8192 && fgets(line, sizeof line, f)) {
        struct event *e = &events[count];
        if (sscanf(line, "%lf %d %31s %15s", &e->at, &e->connection, stamp, e->what) == 4) {
            e->stamp = *stamp == '-' ? -1 : atoi(stamp);
            count += 1;
        }
    }
    if (f)
        fclose(f);
    return count;
}

static bool is_picture(const struct event *e)
{
    return e->stamp >= 0;
}

// Connections begin with a key picture, and time stamps never fall within one. Returns the longest
// time without a picture, in seconds; `*ret_connections`: that had a picture.
static double check_stream(const char *name, int *ret_connections)
{
    int count = read_events(name), connection = 0;
    double longest = 0, last = 0;
    int stamp = 0;
    *ret_connections = 0;
    for (int i = 0; i < count; i++) {
        const struct event *e = &events[i];
        if (!is_picture(e))
            continue;
        if (e->connection != connection) {
            CHECK_TEXT(e->what, "key");
            ++*ret_connections;
        } else {
            CHECK(e->stamp, >=, stamp);
        }
        longest = last > 0 && e->at - last > longest ? e->at - last : longest;
        connection = e->connection;
        stamp = e->stamp;
        last = e->at;
    }
    return longest;
}

static void check_killed(void)
{
    int connections;
    double gap = check_stream("killed", &connections);
    fprintf(stderr, "publisher killed: %.2f s without a picture\n", gap);
    CHECK(connections, ==, 2);
    CHECK(gap * 1000, <=, 2000);
}

static void check_closed(void)
{
    int connections;
    double gap = check_stream("closed", &connections);
    fprintf(stderr, "closed %d times: at most %.2f s without a picture\n", connections - 1, gap);
    CHECK(connections, >=, 3);
    CHECK(gap * 1000, <=, 2000);
}

// When the server was back, and the first picture after that; 0: not yet.
static void read_return(double *ret_back, double *ret_again)
{
    int count = read_events("away");
    *ret_back = *ret_again = 0;
    for (int i = 0; i < count; i++) {
        if (!strcmp(events[i].what, "back"))
            *ret_back = events[i].at;
        else if (*ret_back > 0 && !(*ret_again > 0) && is_picture(&events[i]))
            *ret_again = events[i].at;
    }
}

static void check_away(struct outlet *o)
{
    int connections, gop = key_after(key_after(0) + 1);
    double back = 0, again = 0;
    for (int i = 1; i <= 15 && !(again > 0); i++) { // the programme may have ended before
        read_return(&back, &again);
        if (!(again > 0))
            play_later(o, gop, i);
    }
    (void)check_stream("away", &connections); // for what it checks
    CHECK(connections, >=, 2);
    fprintf(stderr, "away for 2 s: the first picture %.2f s after its return\n", again - back);
    CHECK_TRUE(again > back);
    CHECK((again - back) * 1000, <=, 12000);
}

static bool has_jump(int count)
{
    for (int i = 1; i < count; i++)
        if (is_picture(&events[i - 1]) && events[i].stamp - events[i - 1].stamp > 1000)
            return true;
    return false;
}

// How far what came was behind, in seconds of the programme; it must have been, and then skipped.
static void check_slow(struct outlet *o)
{
    int connections, count = 0, jump = 0, last = -1;
    struct deliver_report report;
    for (int i = 0; i < 1000 && !has_jump(count); i++) { // what is on its way to it is to arrive
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
        count = read_events("slow");
    }
    (void)check_stream("slow", &connections); // for what it checks
    count = read_events("slow");
    double start = 0, lag = 0;
    for (int i = 0; i < count; i++) {
        const struct event *e = &events[i];
        if (!is_picture(e))
            continue;
        start = start > 0 ? start : e->at;
        double behind = (e->at - start) * SPEED - e->stamp / 1000.0;
        lag = behind > lag ? behind : lag;
        if (last >= 0 && e->stamp - last > 1000) {
            jump = e->stamp - last;
            CHECK_TEXT(e->what, "key");
        }
        last = e->stamp;
    }
    outlet_report(o, &report);
    fprintf(stderr, "slow: at most %.1f s behind, skipped %.1f s\n", lag, jump / 1000.0);
    CHECK(connections, ==, 1);
    CHECK(lag * 1000, >=, 3000);
    CHECK(lag * 1000, <=, 10000);
    CHECK(jump, >=, 2000);
    CHECK(report.dropped, >, 0);
    CHECK_TEXT(report.alarm, "destination_slow");
    CHECK_TRUE(strstr(report.error, "pictures were left out"));
}

// ---- Certificates ------------------------------------------------------------------------------

// One authority, and what it has signed for "localhost": valid, and expired.
static void make_certificates(void)
{
    CHECK_OK(shell("{ echo subjectAltName=DNS:localhost >names && "
                   "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 "
                   "-subj /CN=test && "
                   "openssl req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr "
                   "-subj /CN=localhost && "
                   "openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial "
                   "-extfile names -days 2 -out valid.crt && "
                   "openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial "
                   "-extfile names -days -1 -out expired.crt; } 2>openssl.log"));
}

static pid_t start_tls(int port, const char *certificate, int server_port)
{
    char command[512];
    snprintf(command, sizeof command,
             "cd %s && exec python3 %s/tls_front.py %d %s.crt tls.key %d %s.first", folder, scripts,
             port, certificate, server_port, certificate);
    return spawn(command);
}

static void check_refused(struct outlet *o)
{
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK(report.state, ==, DELIVER_WAITING);
    CHECK(report.bytes, ==, 0);
    CHECK_TEXT(report.alarm, "destination_refused");
    CHECK_TRUE(strstr(report.error, "certificate is not valid"));
}

// ---- Names -------------------------------------------------------------------------------------

static void set_name(const char *address)
{
    CHECK_OK(shell("{ echo 127.0.0.1 localhost; %s%s%s; } >hosts", *address ? "echo " : ":",
                   address, *address ? " platform.test" : ""));
}

// A name server that never answers; -1: not to be had here.
static int begin_names(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_pton(AF_INET, "127.0.0.47", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!own_mounts || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    set_name("");
    CHECK_OK(shell("echo 'nameserver 127.0.0.47\noptions timeout:1 attempts:1' >resolv.conf && "
                   "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf"));
    return fd;
}

// ---- All together ------------------------------------------------------------------------------

static void wait_live(struct outlet *o)
{
    wait_state(o, DELIVER_LIVE);
}

static void check_nothing_dropped(struct outlet *o)
{
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK(report.dropped, ==, 0);
    CHECK_TEXT(report.alarm, "");
    CHECK(report.state, ==, DELIVER_LIVE);
}

static void test_platforms(struct outlet_hub *hub)
{
    enum { KILLED, CLOSED, SLOW, AWAY, NAMED, EXPIRED, MISNAMED, TRUSTED, BESIDE, COUNT };
    struct outlet *o[COUNT];
    pid_t peers[9];
    int ports[4], tls[2], nginx_port = free_port(NULL), named_port = free_port(NULL), count = 0;
    uint64_t total = 0;
    char behaviour[64], path[512];
    for (int i = 0; i < packet_count; i++)
        total += packets[i]->size;
    snprintf(behaviour, sizeof behaviour, "slow %.0f",
             SLOWNESS * (double)total / ((double)SECONDS / SPEED));
    const char *const names[] = {"killed", "closed", "slow", "away"};
    const char *const behaviours[] = {"", "close 1.6", behaviour, "away 0.5 2.5"};
    for (int i = 0; i < 4; i++) {
        ports[i] = free_port(NULL);
        peers[count++] = start_peer("127.0.0.1", ports[i], names[i], behaviours[i]);
    }
    make_certificates();
    if (own_mounts)
        CHECK_OK(shell("mount --bind ca.crt /etc/ssl/certs/ca-certificates.crt"));
    peers[count++] = start_nginx(nginx_port, "nginx", "");
    for (int i = 0; i < 2; i++) {
        tls[i] = free_port(NULL);
        peers[count++] = start_tls(tls[i], i ? "valid" : "expired", nginx_port);
        wait_listening(tls[i]);
    }
    for (int i = 0; i < 4; i++)
        wait_listening(ports[i]);
    int resolver = begin_names();
    for (int i = KILLED; i <= AWAY; i++) {
        snprintf(path, sizeof path, "rtmp-%s", names[i]);
        o[i] = open_publisher(hub, path, "rtmp", "127.0.0.1", ports[i]);
    }
    o[NAMED] = open_publisher(hub, "rtmp-named", "rtmp",
                              resolver < 0 ? "127.0.0.1" : "platform.test", named_port);
    o[EXPIRED] = open_publisher(hub, "rtmp-expired", "rtmps", "localhost", tls[0]);
    o[MISNAMED] = open_publisher(hub, "rtmp-misnamed", "rtmps", "127.0.0.1", tls[1]);
    o[TRUSTED] = own_mounts ? open_publisher(hub, "rtmp-trusted", "rtmps", "localhost", tls[1])
                            : open_publisher(hub, "rtmp-open", "rtmp", "localhost", nginx_port);
    snprintf(path, sizeof path, "%s/beside", folder);
    o[BESIDE] = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-beside", path);
    struct deliver_report report;
    if (resolver >= 0) {
        wait_state(o[NAMED], DELIVER_WAITING);
        outlet_report(o[NAMED], &report);
        CHECK_TEXT(report.error, "the destination's host name cannot be resolved");
        CHECK_TEXT(report.alarm, "destination_lost");
        set_name("127.0.0.1");
    }
    pid_t first = start_peer("127.0.0.1", named_port, "first", "");
    wait_listening(named_port);

    // A third of the programme; then a publisher is killed, and a name gets another address.
    int third = packet_count / 3, half = packet_count / 2;
    play(o, COUNT, 0, third);
    kill(outlet_child(o[KILLED]), SIGKILL);
    play(o, COUNT, third, half);
    wait_live(o[NAMED]);
    stop_process(first);
    peers[count++] = start_peer(resolver < 0 ? "127.0.0.1" : "127.0.0.2", named_port, "second", "");
    if (resolver >= 0)
        set_name("127.0.0.2");
    play(o, COUNT, half, packet_count);

    check_killed();
    check_closed();
    check_away(o[AWAY]);
    check_slow(o[SLOW]);
    int connections;
    (void)check_stream("second", &connections); // for what it checks
    CHECK(connections, ==, 1);
    check_refused(o[EXPIRED]);
    check_refused(o[MISNAMED]);
    CHECK_OK(shell("grep -qx 22 expired.first && ! grep -vx '22\\|-' expired.first valid.first"));
    check_nothing_dropped(o[TRUSTED]);
    check_nothing_dropped(o[BESIDE]);
    for (int i = 0; i < COUNT; i++)
        outlet_destroy(&o[i]);
    for (int i = 0; i < 500 && !find_file("beside", ".mkv", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(find_file("beside", ".mkv", path, sizeof path));
    check_good("beside", path, SECONDS * 30);
    for (int i = 0; i < count; i++)
        stop_process(peers[i]);
    if (resolver >= 0)
        close(resolver);
}

int main(int argc, char **argv)
{
    if (argc < 3 || access(MODULE, R_OK) || system("command -v nginx python3 openssl >/dev/null"))
        return 77;
    scripts = argv[2];
    own_mounts = !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (!own_mounts)
        fprintf(stderr, "left out: names and trust (no mount namespace for this user)\n");
    struct outlet_hub *hub = delivery_begin(argv[1]);
    test_platforms(hub);
    return delivery_end(&hub);
}
