// vistter-gateway with real senders on loopback: ffmpeg by SRT (calling, listening), a peer of
// libsrt by rendezvous, ffmpeg by RTMP through an nginx, ffmpeg by UDP. All send the same clip at
// the same time. Skipped where ffmpeg or nginx's module is not installed. Argument: the gateway's
// path.
#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "tests/worker/live_look.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <srt/access_control.h>
#include <srt/srt.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
#include "tests/edge/peers.h"

#define SECRET   "correct-horse-battery"
#define WRONG    "correct-horse-bakery"
#define KEY      "k3y-of-the-stream"
#define PICTURES 100

enum { LISTENS, CALLS, MEETS, RTMP, UDP, GATEWAYS };
static const char *const names[GATEWAYS] = {"listens", "calls", "meets", "rtmp", "udp"};

struct gateway {
    pid_t pid;
    int status; // its status lines come here
    char line[8192];
    size_t size;
    json_t *said; // the newest
    bool was_live;
};
static struct gateway gateways[GATEWAYS];
static const char *program;

// ---- Gateways --------------------------------------------------------------------------------

static void start_gateway(int which, const char *input)
{
    struct gateway *g = &gateways[which];
    int settings[2], status[2];
    char text[1024], path[128];
    CHECK_OK(pipe(settings));
    CHECK_OK(pipe(status));
    g->pid = fork();
    if (!g->pid) {
        snprintf(path, sizeof path, "%s/%s.log", folder, names[which]);
        int log = open(path, O_WRONLY | O_CREAT, 0644);
        dup2(log, 2);
        dup2(settings[0], 0);
        dup2(status[1], 3);
        for (int fd = 4; fd < 64; fd++)
            close(fd);
        execl(program, program, "--status-fd", "3", NULL);
        _exit(127);
    }
    close(settings[0]);
    close(status[1]);
    int size =
        snprintf(text, sizeof text, "{\"source\": \"%s\", \"folder\": \"%s/%s\", \"input\": %s}",
                 names[which], folder, names[which], input);
    CHECK(write(settings[1], text, (size_t)size), ==, size);
    close(settings[1]);
    g->status = status[0];
    CHECK_OK(fcntl(g->status, F_SETFL, O_NONBLOCK));
}

// What the gateways have said meanwhile.
static void hear(void)
{
    for (int i = 0; i < GATEWAYS; i++) {
        struct gateway *g = &gateways[i];
        ssize_t n;
        while ((n = read(g->status, g->line + g->size, 1)) > 0) {
            if (g->line[g->size++] != '\n' && g->size < sizeof g->line)
                continue;
            json_decref(g->said);
            g->said = json_loadb(g->line, g->size, 0, NULL);
            CHECK_TRUE(g->said);
            CHECK_TRUE(!memmem(g->line, g->size, SECRET, strlen(SECRET)));
            CHECK_TRUE(!memmem(g->line, g->size, KEY, strlen(KEY)));
            const char *state = json_string_value(json_object_get(g->said, "state"));
            g->was_live =
                g->was_live || (state && (!strcmp(state, "live") || !strcmp(state, "unstable")));
            g->size = 0;
        }
    }
}

static json_int_t number_of(int which, const char *object, const char *name)
{
    const json_t *from = gateways[which].said;
    if (object)
        from = json_object_get(from, object);
    return json_integer_value(json_object_get(from, name));
}

static const char *text_of(int which, const char *object, const char *name)
{
    const json_t *from = gateways[which].said;
    if (object)
        from = json_object_get(from, object);
    const char *text = json_string_value(json_object_get(from, name));
    return text ? text : "";
}

// Waits until a gateway says so, up to ten seconds.
#define WAIT(condition)                                                                            \
    do {                                                                                           \
        for (int wait_i = 0; wait_i < 500 && !(condition); wait_i++) {                             \
            clock_sleep_until_ns(clock_monotonic_ns() + 20000000);                                 \
            hear();                                                                                \
        }                                                                                          \
        CHECK_TRUE(condition);                                                                     \
    } while (0)

static void check_secrets(int which)
{
    static char bytes[65536];
    char path[128];
    static const char *const files[] = {"cmdline", "environ"};
    for (int i = 0; i < 3; i++) {
        if (i < 2)
            snprintf(path, sizeof path, "/proc/%d/%s", gateways[which].pid, files[i]);
        else
            snprintf(path, sizeof path, "%s/%s.log", folder, names[which]);
        FILE *f = fopen(path, "r");
        size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
        CHECK_TRUE(size > 0 || i); // the environment may be hidden, and nothing logged
        CHECK_TRUE(!memmem(bytes, size, SECRET, strlen(SECRET)));
        CHECK_TRUE(!memmem(bytes, size, KEY, strlen(KEY)));
        if (f)
            fclose(f);
    }
}

// ---- Peers of libsrt -------------------------------------------------------------------------

static int udp_port(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    CHECK_OK(bind(fd, (struct sockaddr *)&address, size));
    getsockname(fd, (struct sockaddr *)&address, &size);
    close(fd);
    return ntohs(address.sin_port);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)port)};
}

static SRTSOCKET create_peer(const char *stream_id, const char *passphrase)
{
    SRTSOCKET s = srt_create_socket();
    int live = SRTT_LIVE;
    CHECK_OK(srt_setsockflag(s, SRTO_TRANSTYPE, &live, sizeof live));
    if (*stream_id)
        CHECK_OK(srt_setsockflag(s, SRTO_STREAMID, stream_id, (int)strlen(stream_id)));
    if (*passphrase)
        CHECK_OK(srt_setsockflag(s, SRTO_PASSPHRASE, passphrase, (int)strlen(passphrase)));
    return s;
}

// The reason that a caller is given; 0: he is let in.
static int call(int port, const char *stream_id, const char *passphrase)
{
    SRTSOCKET s = create_peer(stream_id, passphrase);
    struct sockaddr_in address = loopback(port);
    int reason =
        srt_connect(s, (struct sockaddr *)&address, sizeof address) ? srt_getrejectreason(s) : 0;
    srt_close(s);
    return reason;
}

static void test_refusals(int port)
{
    CHECK(call(port, "#!::r=other,m=publish", SECRET), ==, SRT_REJX_NOTFOUND);
    CHECK(call(port, "#!::r=listens,m=request", SECRET), ==, SRT_REJX_BAD_MODE);
    CHECK(call(port, "#!::listens", SECRET), ==, SRT_REJX_BAD_REQUEST);
    CHECK(call(port, "#!::r=listens,m=publish,u=bert", SECRET), ==, SRT_REJX_UNAUTHORIZED);
    WAIT(number_of(LISTENS, "srt", "refusals") == 4);
    CHECK_TEXT(text_of(LISTENS, "srt", "refusal"), "the stream id names another user, or none");
    CHECK(call(port, "#!::r=listens,m=publish,u=anna", WRONG), ==, SRT_REJ_BADSECRET);
    CHECK(call(port, "#!::r=listens,m=publish,u=anna", ""), ==, SRT_REJ_UNSECURE);
}

struct meeting {
    int own_port, port;
    const char *clip;
};

// Sends the clip in about real time, by rendezvous.
static void *meet(void *opaque)
{
    const struct meeting *m = opaque;
    SRTSOCKET s = create_peer("", SECRET);
    struct sockaddr_in own = loopback(m->own_port), address = loopback(m->port);
    bool yes = true;
    CHECK_OK(srt_setsockflag(s, SRTO_RENDEZVOUS, &yes, sizeof yes));
    CHECK_OK(srt_bind(s, (struct sockaddr *)&own, sizeof own));
    int connected = srt_connect(s, (struct sockaddr *)&address, sizeof address);
    CHECK_OK(connected);
    FILE *f = fopen(m->clip, "rb");
    struct stat status;
    CHECK_OK(fstat(fileno(f), &status));
    int64_t start = clock_monotonic_ns(), sent = 0;
    char bytes[1316];
    for (size_t n; !connected && (n = fread(bytes, 1, sizeof bytes, f)) > 0; sent += (int64_t)n) {
        clock_sleep_until_ns(start + sent * PICTURES / CLIP_RATE * SECOND_NS / status.st_size);
        CHECK(srt_sendmsg(s, bytes, (int)n, -1, true), ==, (int)n);
    }
    fclose(f);
    // What is in flight would go with the socket.
    clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 2);
    srt_close(s);
    return NULL;
}

// ---- The story -------------------------------------------------------------------------------

static char clip[128];
static int ports[GATEWAYS], meets_from; // the latter is our own
static pid_t nginx;

static void start_all(void)
{
    char input[512];
    for (int i = 0; i < GATEWAYS; i++)
        ports[i] = udp_port();
    ports[RTMP] = free_port(NULL);
    nginx = start_nginx(ports[RTMP], "nginx", "");
    snprintf(input, sizeof input,
             "{\"kind\": \"srt-listen\", \"listen\": \"127.0.0.1:%d\", \"user\": \"anna\", "
             "\"passphrase\": \"" SECRET "\", \"latency_ms\": 100}",
             ports[LISTENS]);
    start_gateway(LISTENS, input);
    snprintf(input, sizeof input,
             "{\"kind\": \"srt-call\", \"address\": \"127.0.0.1:%d\", \"passphrase\": \"" SECRET
             "\", \"latency_ms\": 100}",
             ports[CALLS]);
    start_gateway(CALLS, input);
    snprintf(input, sizeof input,
             "{\"kind\": \"srt-rendezvous\", \"address\": \"127.0.0.1:%d\", \"listen\": "
             "\"127.0.0.1:%d\", "
             "\"passphrase\": \"" SECRET "\", \"latency_ms\": 100}",
             ports[MEETS], udp_port());
    char *listen = strstr(input, "\"listen\": \"127.0.0.1:");
    int own = atoi(listen + strlen("\"listen\": \"127.0.0.1:"));
    start_gateway(MEETS, input);
    meets_from = ports[MEETS];
    ports[MEETS] = own;
    snprintf(input, sizeof input,
             "{\"kind\": \"pull\", \"url\": \"rtmp://127.0.0.1:%d/live/" KEY "\"}", ports[RTMP]);
    start_gateway(RTMP, input);
    snprintf(input, sizeof input, "{\"kind\": \"pull\", \"url\": \"udp://127.0.0.1:%d\"}",
             ports[UDP]);
    start_gateway(UDP, input);
    for (int i = 0; i < GATEWAYS; i++)
        WAIT(gateways[i].said);
}

static pid_t send_clip(const char *options, const char *url)
{
    char command[768];
    snprintf(command, sizeof command, "exec ffmpeg -v quiet -nostdin -re %s -i %s -c copy %s",
             options, clip, url);
    return spawn(command);
}

static void srt_url(char *url, size_t size, int port, const char *more)
{
    snprintf(url, size,
             "-f mpegts 'srt://127.0.0.1:%d?pkt_size=1316&latency=100000&passphrase=" SECRET "%s'",
             port, more);
}

#define LIVE_FRAMES 600 // at most

static pid_t first_sender, second_sender;
static int live_frames;

// What the operator of the encoder does, by what has been shown up to frame n: switches it on;
// another one takes over; that is killed. Whether it is over.
static bool act(int n, struct shown before, struct shown now)
{
    static int shown, again, lost;
    char url[256];
    srt_url(url, sizeof url, ports[LISTENS], "&streamid=#!::r=listens,m=publish,u=anna");
    shown += now.state == SHOW_LIVE;
    again += again ? now.state == SHOW_LIVE : now.number >= 0 && now.number < before.number;
    lost += again >= 40 && now.state == SHOW_LOST;
    if (n == 2)
        first_sender = send_clip("", url);
    if (shown == 40 && !second_sender)
        second_sender = send_clip("", url);
    if (again == 40)
        kill(second_sender, SIGKILL);
    return lost == 10;
}

// Follows the listening source while it is live, as a renderer does: frame n is asked for when it
// is due, and must be known by then.
static void follow_live(void)
{
    struct camera *camera = open_camera((struct rate){CLIP_RATE, 1});
    static int32_t sound[1920 * 2];
    int unknown = 0;
    bool over = false;
    struct shown shown = {.number = -1};
    for (int n = 0; n < LIVE_FRAMES && !over; n++) {
        clock_sleep_until_ns(clock_monotonic_ns() + epoch_ns + n * SECOND_NS / CLIP_RATE -
                             clock_realtime_ns());
        hear();
        all[n] = look(camera, (struct rate){CLIP_RATE, 1}, n, sound);
        unknown += all[n].result == -EAGAIN;
        over = act(n, shown, all[n]);
        shown = all[n].number >= 0 ? all[n] : shown;
        live_frames = n + 1;
    }
    camera_destroy(&camera);
    fprintf(stderr, "followed live: %d frames, %d not known when they were due\n", live_frames,
            unknown);
    CHECK_TRUE(over);
    CHECK(unknown, <=, live_frames / 10); // a busy machine; what was known must be right
}

// What was shown live is what anybody finds in the log later.
static void check_live_is_log(void)
{
    static struct shown live[LIVE_FRAMES];
    memcpy(live, all, sizeof live);
    look_at_all((struct rate){CLIP_RATE, 1}, live_frames);
    CHECK(broken, ==, 0);
    int compared = 0, back = 0;
    for (int n = 0, last = -1; n < live_frames; n++) {
        if (live[n].result != -EAGAIN) {
            CHECK(live[n].state, ==, all[n].state);
            CHECK_TRUE(live[n].picture == all[n].picture);
            compared++;
        }
        if (live[n].sound)
            CHECK_TRUE(live[n].sound == all[n].sound);
        back += all[n].number >= 0 && all[n].number < last;
        last = all[n].number >= 0 ? (int)all[n].number : last;
    }
    CHECK(compared, >=, live_frames * 9 / 10);
    CHECK(back, ==, 1); // the second sender's clip begins
}

// A source that brought the whole clip: every picture once but for the first ones, sound beside
// them.
static void check_whole(int which)
{
    snprintf(log_path, sizeof log_path, "%s/%s", folder, names[which]);
    fprintf(stderr, "%s\n", names[which]);
    // From the first picture's time on.
    struct live_reader *reader;
    struct unit u;
    int64_t first_ns = 0;
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    while (!first_ns && !live_reader_next(reader, &u))
        if (u.kind == UNIT_DATA && u.stream == UNIT_PICTURE)
            first_ns = u.chan_ns;
    live_reader_close(&reader);
    CHECK_TRUE(first_ns);
    read_times();
    // A picture that stands in the middle of the clip says how frames and pictures lie.
    epoch_ns = first_ns + DELAY_NS;
    for (size_t i = 0, seen = 0; i < 20000; i++)
        if (times[i] && ++seen == 60) {
            epoch_ns = times[i] - 80 * SECOND_NS / CLIP_RATE + DELAY_NS + SECOND_NS / 50;
            break;
        }
    look_at_all((struct rate){CLIP_RATE, 1}, 150);
    CHECK(broken, ==, 0);
    int numbers = 0, last = -1;
    for (int n = 0; n < 150; n++) {
        numbers += all[n].number > last;
        CHECK_TRUE(all[n].number < 0 || all[n].number >= last);
        last = all[n].number > last ? (int)all[n].number : last;
    }
    fprintf(stderr, "%d pictures, the last %d\n", numbers, last);
    CHECK(numbers, >=,
          PICTURES - 25); // the rest is the first moment, and what was on its way at the end
    check_sync(150);
}

static void stop_all(void)
{
    for (int i = 0; i < GATEWAYS; i++) {
        int status = -1;
        kill(gateways[i].pid, SIGTERM);
        waitpid(gateways[i].pid, &status, 0);
        CHECK(status, ==, 0);
        char command[192];
        snprintf(command, sizeof command, "cat %s/%s.log >&2", folder, names[i]);
        if (status)
            CHECK_OK(system(command));
        close(gateways[i].status);
        json_decref(gateways[i].said);
    }
    stop_process(nginx);
}

int main(int argc, char **argv)
{
    if (argc < 2 || access(MODULE, R_OK) || system("command -v nginx ffmpeg >/dev/null"))
        return 77;
    program = argv[1];
    snprintf(folder, sizeof folder, "/tmp/gateway-live-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    CHECK(srt_startup(), >=, 0);
    srt_setloglevel(0);
    snprintf(clip, sizeof clip, "%s/clip.ts", folder);
    make_clip(clip, 0, PICTURES, CLIP_H264);
    start_all();
    test_refusals(ports[LISTENS]);
    char url[256];
    srt_url(url, sizeof url, ports[CALLS], "&mode=listener");
    pid_t others[3] = {send_clip("", url)};
    snprintf(url, sizeof url, "-f flv rtmp://127.0.0.1:%d/live/" KEY, ports[RTMP]);
    others[1] = send_clip("", url);
    snprintf(url, sizeof url, "-f mpegts udp://127.0.0.1:%d?pkt_size=1316", ports[UDP]);
    others[2] = send_clip("", url);
    struct meeting meeting = {meets_from, ports[MEETS], clip};
    pthread_t peer;
    CHECK_OK(thread_start(&peer, "peer", meet, &meeting));
    snprintf(log_path, sizeof log_path, "%s/listens", folder);
    epoch_ns = clock_realtime_ns();
    follow_live();
    WAIT(!strcmp(text_of(LISTENS, NULL, "state"), "lost"));
    CHECK(number_of(LISTENS, NULL, "gen"), ==, 2);
    CHECK(number_of(LISTENS, "srt", "connections"), ==, 2);
    CHECK(number_of(LISTENS, "srt", "refusals"), ==, 6);
    CHECK_TEXT(text_of(LISTENS, "video", "codec"), "h264");
    CHECK(number_of(LISTENS, "video", "width"), ==, CLIP_WIDTH);
    for (int i = 0; i < GATEWAYS; i++) {
        CHECK_TRUE(gateways[i].was_live);
        check_secrets(i);
    }
    check_live_is_log();
    thread_join(peer);
    stop_process(first_sender);
    stop_process(second_sender);
    for (int i = 0; i < 3; i++)
        stop_process(others[i]);
    for (int i = CALLS; i < GATEWAYS; i++)
        check_whole(i);
    stop_all();
    CHECK(picture_outstanding(), ==, 0);
    srt_cleanup();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
