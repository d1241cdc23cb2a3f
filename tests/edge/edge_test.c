// vistter-edge as a program, against a coordinator made of the control link's server side: it takes
// plans, reports, keeps the channel on air (here: black and silent, since its provider does not
// exist) when the coordinator is gone and after kill -9, and stops when told so.
//
// Argument: the path of vistter-edge, beside which vistter-deliver lies.
#include "engine/base/clock.h"
#include "engine/link/control_link.h"
#include "proto/control.pb-c.h"
#include "tests/check.h"
#include "tests/edge/media_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <libavutil/log.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET   "rtmp://127.0.0.1:1/live/very-secret-key"
#define LINK_KEY "very-secret-link-key-of-32-bytes" // as many, without the end

static struct seen {
    pthread_mutex_t lock;
    uint64_t reports, instance, version;
    int channels, plans;
    int64_t cursor;
    uint64_t frames, late, concealed;
    uint32_t plan_epoch;
    Vistter__Control__V1__PlanState states[8]; // by epoch
    char reason[256], preview[256], error[256];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_report(void *opaque, const node_report_message *r)
{
    (void)opaque;
    pthread_mutex_lock(&seen.lock);
    seen.reports++;
    seen.instance = r->instance;
    seen.version = r->state_version;
    seen.channels = (int)r->n_channels;
    seen.plans = (int)r->n_plans;
    memset(seen.states, 0, sizeof seen.states);
    for (size_t i = 0; i < r->n_plans; i++) {
        seen.states[r->plans[i]->plan_epoch % 8] = r->plans[i]->state;
        if (*r->plans[i]->reason)
            snprintf(seen.reason, sizeof seen.reason, "%s", r->plans[i]->reason);
    }
    if (r->n_channels) {
        const Vistter__Control__V1__ChannelReport *c = r->channels[0];
        seen.cursor = c->cursor;
        seen.frames = c->frames;
        seen.late = c->late;
        seen.concealed = c->concealed;
        seen.plan_epoch = c->plan_epoch;
        if (c->n_destinations)
            snprintf(seen.error, sizeof seen.error, "%s", c->destinations[0]->error);
    }
    snprintf(seen.preview, sizeof seen.preview, "%s", r->preview_url);
    pthread_mutex_unlock(&seen.lock);
}

static struct seen newest_report(void)
{
    pthread_mutex_lock(&seen.lock);
    struct seen copy = seen;
    pthread_mutex_unlock(&seen.lock);
    return copy;
}

// Waits until the newest report fulfils `condition`.
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        bool holds = false;                                                                        \
        for (int tries = 0; tries < 1500 && !holds; tries++) {                                     \
            pthread_mutex_lock(&seen.lock);                                                        \
            holds = condition;                                                                     \
            pthread_mutex_unlock(&seen.lock);                                                      \
            if (!holds)                                                                            \
                clock_sleep_until_ns(clock_monotonic_ns() + 10000000);                             \
        }                                                                                          \
        CHECK_TRUE(holds);                                                                         \
    } while (0)

static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    CHECK_OK(bind(fd, (struct sockaddr *)&a, size));
    getsockname(fd, (struct sockaddr *)&a, &size);
    close(fd);
    return ntohs(a.sin_port);
}

static bool can_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool connected = !connect(fd, (struct sockaddr *)&a, sizeof a);
    close(fd);
    return connected;
}

static char folder[] = "/tmp/vistter-edge-test-XXXXXX";
static int control_port, preview_port, provider_port;
static int64_t epoch_ns;

static pid_t start_edge(const char *program)
{
    char key[128], state[128], cache[128], coordinators[64], listen[64], rec[128], log[128];
    snprintf(key, sizeof key, "--cluster-key=%s/key", folder);
    snprintf(state, sizeof state, "--state-folder=%s/state", folder);
    snprintf(cache, sizeof cache, "--cache=%s/cache", folder);
    snprintf(coordinators, sizeof coordinators, "--coordinators=127.0.0.1:%d", control_port);
    snprintf(listen, sizeof listen, "--preview-listen=127.0.0.1:%d", preview_port);
    snprintf(rec, sizeof rec, "--record-folder=%s/rec", folder);
    snprintf(log, sizeof log, "%s/log", folder);
    pid_t pid = fork();
    if (!pid) {
        if (!freopen(log, "a", stderr))
            _exit(126);
        execl(program, "vistter-edge", "--name", "edge-1", key, state, cache, coordinators, listen,
              rec, NULL);
        _exit(127);
    }
    return pid;
}

// ---- The coordinator ---------------------------------------------------------------------------

struct told {
    Vistter__Control__V1__DesiredState state;
    Vistter__Control__V1__ChannelPlan plans[2], *plan_list[2];
    Vistter__Control__V1__GroupPlan group, *group_list[1];
    Vistter__Control__V1__LinkPlan link, *link_list[1];
    Vistter__Control__V1__OutputPlan output, *output_list[1];
    Vistter__Control__V1__RenditionPlan rendition, *rendition_list[1];
    Vistter__Control__V1__DestinationPlan destination, *destination_list[1];
    uint8_t bytes[32];
    char address[64];
    uint64_t stopped[1];
};

static void fill_plan(struct told *t, int i, uint32_t epoch, int64_t at_frame)
{
    Vistter__Control__V1__ChannelPlan *p = &t->plans[i];
    vistter__control__v1__channel_plan__init(p);
    p->channel = 7;
    p->channel_name = (char *)(uintptr_t) "demo";
    p->plan_epoch = epoch;
    p->committed = true;
    p->at_frame = at_frame;
    p->width = 320;
    p->height = 180;
    p->rate_num = 25;
    p->rate_den = 1;
    p->epoch_ns = epoch_ns;
    p->revision = (ProtobufCBinaryData){32, t->bytes};
    p->playout_delay_ns = 200000000;
    p->lead_frames = 25;
    p->n_groups = p->n_outputs = 1;
    p->groups = t->group_list;
    p->outputs = t->output_list;
    t->plan_list[i] = p;
}

static void fill_told(struct told *t, uint64_t version)
{
    memset(t, 0, sizeof *t);
    vistter__control__v1__desired_state__init(&t->state);
    vistter__control__v1__group_plan__init(&t->group);
    vistter__control__v1__link_plan__init(&t->link);
    vistter__control__v1__output_plan__init(&t->output);
    vistter__control__v1__rendition_plan__init(&t->rendition);
    vistter__control__v1__destination_plan__init(&t->destination);
    snprintf(t->address, sizeof t->address, "127.0.0.1:%d", provider_port);
    t->link.consumer = t->output.edge = (char *)(uintptr_t) "edge-1";
    t->link.link_id = (char *)(uintptr_t) "l1";
    t->link.key = (ProtobufCBinaryData){32, (uint8_t *)(uintptr_t)LINK_KEY};
    t->link_list[0] = &t->link;
    t->group.group = 1;
    t->group.from_base = true;
    t->group.track_to = 1;
    t->group.provider = (char *)(uintptr_t) "worker-1";
    t->group.provider_address = t->address;
    t->group.n_links = 1;
    t->group.links = t->link_list;
    t->group_list[0] = &t->group;
    t->destination.destination = 5;
    t->destination.kind = VISTTER__CONTROL__V1__DESTINATION_KIND__DESTINATION_KIND_RTMP;
    t->destination.url = (char *)(uintptr_t)SECRET;
    t->destination_list[0] = &t->destination;
    t->rendition.rendition = 1;
    t->rendition.video_bitrate = 300000;
    t->rendition.preset = (char *)(uintptr_t) "ultrafast";
    t->rendition.n_destinations = 1;
    t->rendition.destinations = t->destination_list;
    t->rendition_list[0] = &t->rendition;
    t->output.output = 1;
    t->output.n_renditions = 1;
    t->output.renditions = t->rendition_list;
    t->output_list[0] = &t->output;
    t->state.epoch = 3;
    t->state.version = version;
    t->state.coordinator_instance = 77;
    t->state.sequence = version;
    t->state.node = (char *)(uintptr_t) "edge-1";
    t->state.channels = t->plan_list;
}

static void tell(struct control_server *server, struct told *t)
{
    int result = -EAGAIN;
    for (int i = 0; i < 300 && result == -EAGAIN; i++) {
        result = control_server_send(server, "edge-1", &t->state);
        if (result == -EAGAIN) // the message before is still on its way
            clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    }
    CHECK_OK(result);
    WAIT_UNTIL(seen.version == t->state.version);
}

// ---- The story ---------------------------------------------------------------------------------

static void check_preview(void)
{
    char command[512], path[128];
    snprintf(path, sizeof path, "%s/preview.mp4", folder);
    for (int i = 0; i < 1000 && !can_connect(preview_port); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    // The preview has no end: its time limit ends it. A channel just started is not known at once.
    snprintf(command, sizeof command,
             "for i in 1 2 3 4 5 6 7 8 9; do curl -sf -m 6 -o %s "
             "http://127.0.0.1:%d/preview/7.mp4; [ $? = 22 ] || break; sleep 0.3; done",
             path, preview_port);
    CHECK_OK(system(command));
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    CHECK(m.decode_errors, ==, 0);
    CHECK(m.video_frames, >, 25);
    CHECK(m.flash_count, ==, 0); // black
    CHECK(m.beep_count, ==, 0);
    CHECK_TRUE(m.step_max < 0.0405);
}

static void check_secrets(void)
{
    char path[128], command[256];
    struct stat status;
    snprintf(path, sizeof path, "%s/state/edge-1.state", folder);
    CHECK_OK(stat(path, &status));
    CHECK(status.st_mode & 0777, ==, 0600);
    CHECK(status.st_size, >, 200); // it holds the plans
    snprintf(command, sizeof command, "grep -rq very-secret %s/log %s/state", folder, folder);
    CHECK(WEXITSTATUS(system(command)), ==, 1);
    struct seen now_seen = newest_report();
    CHECK_TRUE(!strstr(now_seen.error, "secret"));
}

static void kill_edge(pid_t edge)
{
    kill(edge, SIGKILL);
    waitpid(edge, NULL, 0);
}

// A power cut tore the newest state: the edge goes on with the one before it.
static pid_t tear_state(const char *program, pid_t edge)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof path, "%s/state/edge-1.state", folder);
    uint64_t before = newest_report().instance;
    kill_edge(edge);
    CHECK_OK(stat(path, &status));
    CHECK_OK(truncate(path, status.st_size / 2));
    edge = start_edge(program);
    WAIT_UNTIL(seen.instance != before && seen.version == 2 && seen.plan_epoch == 1);
    return edge;
}

static bool has_encoder(pid_t edge)
{
    char pattern[64], name[32];
    glob_t found;
    bool any = false;
    snprintf(pattern, sizeof pattern, "/proc/%d/task/*/comm", (int)edge);
    if (glob(pattern, 0, NULL, &found))
        return false;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "re");
        any = any || (file && fgets(name, sizeof name, file) && !strncmp(name, "encode-", 7));
        if (file)
            fclose(file);
    }
    globfree(&found);
    return any;
}

// An encoder that cannot keep up has seconds of work in its queue when it goes; the edge reports
// all the while, since after one second of silence it would count as lost: it says that the channel
// is gone while the encoder still works.
static void stop_slow_encoder(struct control_server *server, struct told *t, pid_t edge)
{
    fill_told(t, 4);
    t->rendition.rendition = 2;
    t->rendition.width = 3840;
    t->rendition.height = 2160;
    t->rendition.preset = (char *)(uintptr_t) "slow";
    fill_plan(t, 0, 4, newest_report().cursor + 25);
    t->state.n_channels = 1;
    tell(server, t);
    WAIT_UNTIL(seen.plan_epoch == 4);
    int64_t from = newest_report().cursor;
    WAIT_UNTIL(seen.cursor > from + 100);
    fill_told(t, 5);
    t->stopped[0] = 7;
    t->state.n_stopped_channels = 1;
    t->state.stopped_channels = t->stopped;
    tell(server, t);
    WAIT_UNTIL(seen.channels == 0);
    CHECK_TRUE(has_encoder(edge));
    uint64_t reports = newest_report().reports;
    WAIT_UNTIL(seen.reports > reports + 5);
}

static void run_story(const char *program, struct control_server **server,
                      const struct control_server_config *config)
{
    static struct told t;
    pid_t edge = start_edge(program);
    WAIT_UNTIL(seen.reports > 3);
    struct seen now_seen = newest_report();
    CHECK(now_seen.channels, ==, 0);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", preview_port);
    CHECK_TEXT(now_seen.preview, url);

    fill_told(&t, 1);
    fill_plan(&t, 0, 1, 0);
    t.state.n_channels = 1;
    tell(*server, &t);
    WAIT_UNTIL(seen.states[1] == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE);
    WAIT_UNTIL(seen.frames > 10);
    now_seen = newest_report();
    // Counted one after the other, so that a report may come between the two.
    CHECK(now_seen.frames - now_seen.concealed, <=, 1);
    check_preview();

    // A plan that cannot be taken is refused in words, and nothing changes.
    fill_told(&t, 2);
    fill_plan(&t, 0, 1, 0);
    fill_plan(&t, 1, 2, 0);
    t.plans[1].width = 321;
    t.state.n_channels = 2;
    tell(*server, &t);
    WAIT_UNTIL(seen.states[2] == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_REFUSED);
    now_seen = newest_report();
    CHECK_TRUE(strstr(now_seen.reason, "even size"));
    CHECK(now_seen.plan_epoch, ==, 1);

    // The next plan takes over at its frame; the one before is then gone.
    fill_told(&t, 3);
    fill_plan(&t, 0, 1, 0);
    fill_plan(&t, 1, 3, newest_report().cursor + 50);
    t.state.n_channels = 2;
    tell(*server, &t);
    WAIT_UNTIL(seen.states[3] == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ARMED);
    WAIT_UNTIL(seen.states[3] == VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE);
    WAIT_UNTIL(seen.plan_epoch == 3 && seen.plans == 1);
    check_secrets();

    edge = tear_state(program, edge);
    fill_told(&t, 3);
    fill_plan(&t, 0, 1, 0);
    fill_plan(&t, 1, 3, newest_report().cursor + 25);
    t.state.n_channels = 2;
    tell(*server, &t);
    WAIT_UNTIL(seen.plan_epoch == 3);

    // Without a coordinator, killed and started again: it goes on from what it remembers.
    control_server_destroy(server);
    kill_edge(edge);
    uint64_t before = newest_report().instance;
    edge = start_edge(program);
    check_preview();
    CHECK_OK(control_server_create(config, server, NULL));
    WAIT_UNTIL(seen.instance != before && seen.plan_epoch == 3 && seen.frames > 10);
    now_seen = newest_report();
    CHECK(now_seen.version, ==, 3);
    // Frame numbers go on by the clock: 25 a second since the epoch, less delay and latencies.
    int64_t now = (clock_realtime_ns() - epoch_ns) / 40000000;
    CHECK(now_seen.cursor, >, now - 50);
    CHECK(now_seen.cursor, <, now + 50);

    fill_told(&t, 2); // late news from before
    (void)control_server_send(*server, "edge-1", &t.state);
    stop_slow_encoder(*server, &t, edge);
    kill(edge, SIGTERM);
    int status = -1;
    waitpid(edge, &status, 0);
    CHECK(status, ==, 0);
    char command[256];
    snprintf(command, sizeof command,
             "tail -n 1 %s/log | grep -q 'stopped pictures_outstanding=0 packets_outstanding=0$'",
             folder);
    CHECK_OK(system(command));
}

int main(int argc, char **argv)
{
    if (argc < 2 || system("command -v curl >/dev/null"))
        return 77;
    av_log_set_level(AV_LOG_QUIET);
    CHECK_TRUE(mkdtemp(folder));
    char path[128], command[128];
    snprintf(path, sizeof path, "%s/key", folder);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 32; i++)
        fprintf(f, "%02x", i * 7);
    fclose(f);
    chmod(path, 0600);
    control_port = free_port();
    preview_port = free_port();
    provider_port = free_port();
    epoch_ns = clock_realtime_ns() - INT64_C(3600000000000);
    struct control_server_config config = {.on_report = on_report};
    char listen[64];
    snprintf(listen, sizeof listen, "127.0.0.1:%d", control_port);
    config.listen = listen;
    CHECK_OK(cluster_key_read(path, config.key, NULL));
    struct control_server *server = NULL;
    CHECK_OK(control_server_create(&config, &server, NULL));
    run_story(argv[1], &server, &config);
    control_server_destroy(&server);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!check_failures)
        CHECK_OK(system(command));
    else
        fprintf(stderr, "files are kept in %s\n", folder);
    return check_end();
}
