// Twenty-four sources of one worker that flap: they connect, send, end, come back as something
// else, send what is no stream; beside one that is not to be touched by it: every unit that it sent
// stands in its log, in order, without a gap, and its log goes on all the time. The worker and its
// gateways neither end nor grow meanwhile.
#include "tests/worker/senders.h"
#include "worker/sources.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/wait.h>

#define FLAPPING 24
#define ROUNDS   6 // the last one is good
#define STEADY   16.0
// So far a log may be behind the clock: channels wait two seconds. By its own rule it is 0.3 s.
#define BEHIND_NS SECOND_NS

typedef Vistter__Control__V1__SourceReport source_report;

enum { GOOD, OTHER, STEADY_CLIP, CLIPS };
static struct clip clips[CLIPS];
static char folder[] = "/tmp/vistter-gateway-flap-XXXXXX";
static int ports[FLAPPING + 1]; // the last one's is not touched
static struct sources *sources;

// ---- The senders, in processes of their own ---------------------------------------------------

static const uint8_t *noise(void)
{
    static uint64_t bytes[65536 / 8], seed = 3;
    for (size_t i = 0; i < sizeof bytes / 8; i++)
        bytes[i] = check_random(&seed);
    return (const uint8_t *)bytes;
}

struct flap {
    SRTSOCKET socket;
    const uint8_t *bytes;
    const struct clip *clip; // NULL: noise
    size_t at, size;
};

static void flap_begin(struct flap *f, int which, int round)
{
    char name[16];
    int kind = round == ROUNDS - 1 ? GOOD : (which + round) % 3;
    snprintf(name, sizeof name, "cam%d", which);
    *f = (struct flap){.socket = sender_call(ports[which], name)};
    f->clip = kind < STEADY_CLIP ? &clips[kind] : NULL;
    f->bytes = f->clip ? f->clip->bytes : noise();
    f->size = f->clip ? f->clip->size : 65536;
}

// Whether all could call. What was sent last is torn off.
static bool flap_round(int round)
{
    struct flap flaps[FLAPPING];
    bool called = true;
    for (int i = 0; i < FLAPPING; i++) {
        flap_begin(&flaps[i], i, round);
        called = called && flaps[i].socket != SRT_INVALID_SOCK;
    }
    int64_t start_ns = clock_monotonic_ns(), length_ns = SECOND_NS;
    length_ns += round == ROUNDS - 1 ? 2 * SECOND_NS : 0;
    for (int64_t now_ns = start_ns; now_ns - start_ns < length_ns;) {
        for (int i = 0; i < FLAPPING; i++) {
            struct flap *f = &flaps[i];
            size_t to = f->clip ? clip_due(f->clip, now_ns - start_ns)
                                : f->size * (size_t)(now_ns - start_ns) / (size_t)length_ns;
            if (f->socket != SRT_INVALID_SOCK)
                (void)sender_send(f->socket, f->bytes, &f->at, to); // the gateway may hang up
        }
        now_ns += SECOND_NS / 100;
        clock_sleep_until_ns(now_ns);
    }
    for (int i = 0; i < FLAPPING; i++)
        srt_close(flaps[i].socket);
    return called;
}

// A round for each byte; answers with whether all was well.
static void flap(int in, int out)
{
    char round;
    srt_startup();
    while (read(in, &round, 1) == 1) {
        bool called = flap_round(round);
        if (write(out, &called, 1) != 1)
            break;
    }
    srt_cleanup();
    _exit(0);
}

static void play_steady(int in)
{
    char go;
    srt_startup();
    SRTSOCKET s = read(in, &go, 1) == 1 ? sender_call(ports[FLAPPING], "steady") : SRT_INVALID_SOCK;
    if (s != SRT_INVALID_SOCK)
        sender_play(s, &clips[STEADY_CLIP], INT64_MAX);
    srt_close(s);
    srt_cleanup();
    _exit(s == SRT_INVALID_SOCK);
}

static pid_t start(bool steady, int *ret_in, int *ret_out)
{
    int in[2], out[2];
    CHECK_OK(pipe2(in, O_CLOEXEC));
    CHECK_OK(pipe2(out, O_CLOEXEC | O_NONBLOCK));
    pid_t pid = fork();
    if (!pid) {
        close(in[1]);
        if (steady)
            play_steady(in[0]);
        flap(in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    *ret_in = in[1];
    *ret_out = out[0];
    return pid;
}

// ---- The worker --------------------------------------------------------------------------------

static void tell_worker(void)
{
    static Vistter__Control__V1__SourcePlan plans[FLAPPING + 1], *list[FLAPPING + 1];
    static char names[FLAPPING + 1][16], inputs[FLAPPING + 1][96], home[] = "w1";
    Vistter__Control__V1__DesiredState state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    for (int i = 0; i <= FLAPPING; i++) {
        vistter__control__v1__source_plan__init(list[i] = &plans[i]);
        snprintf(names[i], sizeof names[i], i == FLAPPING ? "steady" : "cam%d", i);
        snprintf(inputs[i], sizeof inputs[i],
                 "{\"kind\":\"srt-listen\",\"listen\":\"127.0.0.1:%d\"}", ports[i]);
        plans[i].source = names[i];
        plans[i].term = 1;
        plans[i].home = home;
        plans[i].input = inputs[i];
    }
    state.sources = list;
    state.n_sources = FLAPPING + 1;
    sources_follow(sources, &state);
}

// What is told of all of them; sources that are in one of the states.
static int in_state(const char *states, bool show)
{
    source_report **list;
    int count = 0;
    size_t n = sources_report(sources, &list);
    for (size_t i = 0; i < n; i++) {
        json_t *status = json_loads(list[i]->status, 0, NULL);
        const char *state = json_string_value(json_object_get(status, "state"));
        bool is = state && strstr(states, state) && !*list[i]->error;
        if (!is && show)
            fprintf(stderr, "%s: %s %s\n", list[i]->source, list[i]->status, list[i]->error);
        count += is;
        json_decref(status);
    }
    return count;
}

struct size {
    int children, fds;
    long pages;    // resident
    uint64_t pids; // a sum
};

static void add_process(struct size *size, int pid)
{
    char path[64];
    long total, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        size->fds++;
    if (dir)
        closedir(dir);
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%ld %ld", &total, &resident) == 2)
        size->pages += resident;
    if (f)
        fclose(f);
}

// Of this process and its gateways.
static struct size measure(const pid_t senders[2])
{
    struct size size = {0};
    char path[64];
    int pid;
    add_process(&size, getpid());
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &pid) == 1) {
        if (pid == senders[0] || pid == senders[1])
            continue;
        size.children++;
        size.pids += (uint64_t)pid;
        add_process(&size, pid);
    }
    if (f)
        fclose(f);
    return size;
}

// ---- The story ---------------------------------------------------------------------------------

struct watch { // of the source that is not to be touched
    struct live_reader *reader;
    struct logged pictures, sound;
    int64_t done_ns, behind_ns; // the most
};

static void look(struct watch *w)
{
    struct unit u;
    int error;
    while (!(error = live_reader_next(w->reader, &u))) {
        log_take(&u, UNIT_PICTURE, &w->pictures);
        log_take(&u, UNIT_SOUND, &w->sound);
        if (u.stream == UNIT_PICTURE)
            w->done_ns = u.done_ns;
    }
    CHECK_ERROR(error, -EAGAIN);
    int64_t behind_ns = clock_realtime_ns() - w->done_ns;
    if (w->done_ns && behind_ns > w->behind_ns)
        w->behind_ns = behind_ns;
}

static void go_on(struct watch *w)
{
    sources_step(sources, clock_monotonic_ns());
    look(w);
    clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
}

static bool await(struct watch *w, const char *states)
{
    int64_t end_ns = clock_monotonic_ns() + 20 * SECOND_NS;
    while (in_state(states, false) <= FLAPPING && clock_monotonic_ns() < end_ns)
        go_on(w);
    return in_state(states, true) > FLAPPING;
}

static void make_clips(void)
{
    static const char *const options[CLIPS] = {
        [GOOD] = "-c:v libx264 -preset ultrafast -b:v 100k -g 25 -c:a aac -f mpegts",
        [OTHER] = "-c:v mpeg2video -b:v 150k -g 12 -c:a mp2 -f mpegts",
        [STEADY_CLIP] = "-c:v libx264 -preset ultrafast -qp 12 -g 25 -c:a aac -f mpegts",
    };
    static const char *const sizes[CLIPS] = {"160x90", "128x96", "320x180"};
    for (int i = 0; i < CLIPS; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%d.ts", folder, i);
        if (!clip_make(path, sizes[i], i == STEADY_CLIP ? STEADY : 4, options[i]))
            exit(77);
        clip_load(&clips[i], path);
    }
}

int main(void)
{
    char path[96];
    int in[2], out[2], status;
    CHECK_TRUE(mkdtemp(folder));
    make_clips();
    for (int i = 0; i <= FLAPPING; i++)
        ports[i] = udp_port();
    pid_t senders[2] = {start(false, &in[0], &out[0]), start(true, &in[1], &out[1])};
    struct sources_config config = {folder, "w1", 120, folder, "127.0.0.1:1935"};
    CHECK_OK(sources_create(&config, &sources, NULL));
    tell_worker();
    struct watch watch = {0};
    snprintf(path, sizeof path, "%s/steady", folder);
    CHECK_OK(live_reader_open(path, &watch.reader, NULL));
    CHECK_TRUE(await(&watch, "connecting"));
    CHECK(write(in[1], "", 1), ==, 1);
    struct size first = {0}, now = {0};
    watch.behind_ns = 0;
    for (int round = 0; round < ROUNDS; round++) {
        bool called = false;
        CHECK(write(in[0], &(char){(char)round}, 1), ==, 1);
        while (read(out[0], &called, 1) < 1)
            go_on(&watch);
        CHECK_TRUE(called);
        if (round == ROUNDS - 1)
            CHECK_TRUE(await(&watch, "live unstable"));
        now = measure(senders);
        fprintf(stderr, "round %d: %d descriptors, %ld pages resident\n", round, now.fds,
                now.pages);
        first = round == 2 ? now : first; // each has had everything
    }
    fprintf(stderr, "the log was %.0f ms behind at most\n", (double)watch.behind_ns / 1e6);
    CHECK(watch.behind_ns, <, BEHIND_NS);
    CHECK(now.children, ==, FLAPPING + 1);
    CHECK(now.pids, ==, first.pids);
    CHECK(now.fds, <=, first.fds);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    CHECK(now.pages, <, first.pages + first.pages / 10);
#endif
    while (!waitpid(senders[1], &status, WNOHANG))
        go_on(&watch);
    CHECK(status, ==, 0);
    for (int i = 0; i < 25; i++)
        go_on(&watch);
    check_all_there(&clips[STEADY_CLIP], UNIT_PICTURE, &watch.pictures);
    check_all_there(&clips[STEADY_CLIP], UNIT_SOUND, &watch.sound);
    CHECK(log_late(&watch.pictures), ==, 0);
    CHECK(log_late(&watch.sound), ==, 0);
    CHECK(watch.pictures.gen, ==, 1);
    close(in[0]);
    CHECK(waitpid(senders[0], &status, 0), ==, senders[0]);
    live_reader_close(&watch.reader);
    sources_destroy(&sources);
    for (int i = 0; i < CLIPS; i++)
        free(clips[i].bytes);
    snprintf(path, sizeof path, "rm -r %s", folder);
    CHECK_OK(system(path));
    return check_end();
}
