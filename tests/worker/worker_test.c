// The worker beside a coordinator that is played here: what it refuses at the start, and that its
// reports go on while a stage that has ended is still in the middle of something, and what it
// remembers.
#include "worker/worker.h"

#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/link/control_link.h"
#include "proto/control.pb-c.h"
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_S 60

static char folder[] = "/tmp/vistter-worker-test-XXXXXX", key_path[64], cache_path[64],
            state_path[64];
static char revision_path[192];
static const uint8_t revision[32] = {0xab};

struct coordinator {
    struct control_server *server;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    // -- guarded by lock, of the newest report
    uint64_t reports, version;
    size_t plans;
};

static void on_report(void *opaque, const node_report_message *report)
{
    struct coordinator *c = opaque;
    pthread_mutex_lock(&c->lock);
    c->reports++;
    c->version = report->state_version;
    c->plans = report->n_plans;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

// Waits for a report of that version of the state. Returns whether it came.
static bool wait_version(struct coordinator *c, uint64_t version)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&c->lock);
    int late = 0;
    while ((!c->reports || c->version != version) && !late)
        late = pthread_cond_timedwait(&c->changed, &c->lock, &until);
    pthread_mutex_unlock(&c->lock);
    return !late;
}

// Sends a state with a plan to prepare, or with nothing to do.
static void send_state(struct coordinator *c, uint64_t version, bool plan)
{
    Vistter__Control__V1__DesiredState state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    Vistter__Control__V1__ChannelPlan channel = VISTTER__CONTROL__V1__CHANNEL_PLAN__INIT;
    Vistter__Control__V1__GroupPlan group = VISTTER__CONTROL__V1__GROUP_PLAN__INIT;
    Vistter__Control__V1__ChannelPlan *channels[] = {&channel};
    Vistter__Control__V1__GroupPlan *groups[] = {&group};
    state.epoch = 1;
    state.version = version;
    state.media_url = "";
    state.channels = channels;
    state.n_channels = plan;
    channel.channel = 7;
    channel.channel_name = "demo";
    channel.plan_epoch = 3;
    channel.width = 64;
    channel.height = 36;
    channel.rate_num = 30;
    channel.rate_den = 1;
    channel.revision = (ProtobufCBinaryData){sizeof revision, (uint8_t *)(uintptr_t)revision};
    channel.groups = groups;
    channel.n_groups = 1;
    group.group = 1;
    group.track_to = 1;
    group.from_base = true;
    group.provider = "worker-1";
    CHECK_OK(control_server_send(c->server, "worker-1", &state));
}

static struct worker_settings settings_of(const char *coordinators, const char *listen)
{
    return (struct worker_settings){.name = "worker-1",
                                    .rtmp_listen = "127.0.0.1:1935",
                                    .coordinators = coordinators,
                                    .cluster_key = key_path,
                                    .frame_listen = listen,
                                    .frame_address = "",
                                    .cache = cache_path,
                                    .state_folder = state_path,
                                    .cache_bytes = 1 << 30,
                                    .frame_latency_ms = 120};
}

// Others could not call such an address: refused, with the words that help.
static void test_wildcard(void)
{
    static const char *const listens[] = {"*:0", "0.0.0.0:0", ":0"};
    for (size_t i = 0; i < sizeof listens / sizeof listens[0]; i++) {
        struct worker *worker = NULL;
        struct diagnostic diagnostic = {0};
        struct worker_settings settings = settings_of("127.0.0.1:1", listens[i]);
        CHECK_ERROR(worker_create(&settings, &worker, &diagnostic), -EINVAL);
        CHECK_TEXT(diagnostic.path, "frame-address");
        settings.frame_address = "192.0.2.1:7000";
        CHECK_OK(worker_create(&settings, &worker, &diagnostic));
        worker_destroy(&worker);
    }
}

struct running {
    struct worker *worker;
    int stop_fd;
};

static void *run(void *opaque)
{
    struct running *r = opaque;
    worker_run(r->worker, r->stop_fd);
    return NULL;
}

static void stop(struct running *r, pthread_t thread)
{
    eventfd_t ignored;
    eventfd_write(r->stop_fd, 1);
    thread_join(thread);
    eventfd_read(r->stop_fd, &ignored);
    worker_destroy(&r->worker);
}

// The timeline's file is replaced by a pipe that nobody writes to, so that the stage that reads it
// is held as by slow storage or a heavy document.
static void test_states(void)
{
    struct coordinator c = {0};
    char address[32];
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.changed, NULL);
    struct control_server_config config = {
        .listen = "127.0.0.1:0", .on_report = on_report, .opaque = &c};
    memset(config.key, 0x11, sizeof config.key);
    CHECK_OK(control_server_create(&config, &c.server, NULL));
    snprintf(address, sizeof address, "127.0.0.1:%d", control_server_port(c.server));
    struct worker_settings settings = settings_of(address, "127.0.0.1:0");
    struct running r = {.stop_fd = eventfd(0, EFD_CLOEXEC)};
    pthread_t thread;
    CHECK_OK(worker_create(&settings, &r.worker, NULL));
    CHECK_OK(unlink(revision_path)); // the cache has seen it
    CHECK_OK(mkfifo(revision_path, 0600));
    CHECK_OK(thread_start(&thread, "worker", run, &r));

    CHECK_TRUE(wait_version(&c, 0));
    send_state(&c, 1, true);
    CHECK_TRUE(wait_version(&c, 1));
    // Opens once the stage has opened the other end to read: then it is held.
    int pipe = -1;
    while ((pipe = open(revision_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0 && errno == ENXIO)
        clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
    CHECK(pipe, >=, 0);
    send_state(&c, 2, false);
    CHECK_TRUE(wait_version(&c, 2));
    pthread_mutex_lock(&c.lock);
    CHECK(c.plans, ==, 0);
    pthread_mutex_unlock(&c.lock);

    close(pipe); // lets the stage go on
    stop(&r, thread);

    // Started again, it says of itself what it was told last: nobody tells it.
    pthread_mutex_lock(&c.lock);
    c.reports = c.version = 0;
    pthread_mutex_unlock(&c.lock);
    CHECK_OK(worker_create(&settings, &r.worker, NULL));
    CHECK_OK(thread_start(&thread, "worker", run, &r));
    CHECK_TRUE(wait_version(&c, 2));
    stop(&r, thread);
    close(r.stop_fd);
    control_server_destroy(&c.server);
    pthread_cond_destroy(&c.changed);
    pthread_mutex_destroy(&c.lock);
}

static void make_files(void)
{
    CHECK_TRUE(mkdtemp(folder));
    snprintf(key_path, sizeof key_path, "%s/key", folder);
    int fd = open(key_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    for (int i = 0; i < CLUSTER_KEY_BYTES; i++)
        CHECK(write(fd, "11", 2), ==, 2);
    close(fd);
    snprintf(cache_path, sizeof cache_path, "%s/cache", folder);
    CHECK_OK(mkdir(cache_path, 0700));
    snprintf(state_path, sizeof state_path, "%s/lib/worker", folder);
    snprintf(revision_path, sizeof revision_path, "%s/ab%062d", cache_path, 0);
    fd = open(revision_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    close(fd);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    make_files();
    test_wildcard();
    test_states();
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!check_failures)
        CHECK_OK(system(command));
    return check_end();
}
