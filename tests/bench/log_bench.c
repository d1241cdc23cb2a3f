// How much later a unit of a live log can be read at its copy than it was written at home, and what
// serving and following cost: a camera of 8 Mb/s at 50 pictures a second, with sound, in one
// process on loopback. log_bench [SECONDS]
#include "tests/engine/live/follow_parties.h"

#include "engine/base/thread.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#define UNITS_PER_S 100 // pictures and sound in turn
#define UNITS_MAX   20000
#define GOP         50
#define BYTES_PER_S 1000000

static char folder[64], copy[160];
static _Atomic int64_t written_ns[UNITS_MAX]; // by seq
static int64_t delays_ns[UNITS_MAX];
static int delay_count, units;
static _Atomic int64_t watcher_cpu_ns;

static void *watch_copy(void *arg)
{
    (void)arg;
    struct live_reader *reader = NULL;
    struct unit u;
    int indexes = 0;
    CHECK_OK(live_reader_open(copy, &reader, NULL));
    while (indexes < units) {
        int error = live_reader_next(reader, &u);
        if (error == -EAGAIN) {
            live_reader_wait(reader, INT64_C(100000000));
            continue;
        }
        CHECK_OK(error);
        if (error || u.kind != UNIT_DATA)
            continue;
        delays_ns[delay_count++] = clock_monotonic_ns() - written_ns[u.seq];
        indexes++;
    }
    live_reader_close(&reader);
    watcher_cpu_ns = clock_thread_cpu_ns();
    return NULL;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static int64_t process_cpu_ns(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * INT64_C(1000000000) +
           (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * INT64_C(1000);
}

static void measure(const char *name, bool srt, int latency_ms)
{
    char home[160];
    struct node node = {0};
    snprintf(node.root, sizeof node.root, "%s/%s-home", folder, name);
    char copy_root[128];
    snprintf(copy_root, sizeof copy_root, "%s/%s-copy", folder, name);
    snprintf(home, sizeof home, "%s/cam1", node.root);
    snprintf(copy, sizeof copy, "%s/cam1", copy_root);
    CHECK_OK(mkdir(node.root, 0755));
    CHECK_OK(mkdir(copy_root, 0755));
    follow_latency_ms = latency_ms;
    node_start(&node, srt);
    struct live_log *log = NULL;
    CHECK_OK(live_log_create(home, "cam1", LIVE_LOG_LIMITS, &log, NULL));
    struct log_follower *follower = follow(copy_root, node.port);
    while (!stats_of(follower).connected)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    delay_count = 0;
    pthread_t watcher;
    CHECK_OK(thread_start(&watcher, "watcher", watch_copy, NULL));
    static uint8_t body[BYTES_PER_S];
    int64_t start = clock_monotonic_ns(), cpu = process_cpu_ns(), own = clock_thread_cpu_ns();
    for (int i = 0; i < units; i++) {
        int64_t at = start + i * INT64_C(1000000000) / UNITS_PER_S;
        clock_sleep_until_ns(at);
        bool sound = i & 1, key = i / 2 % GOP == 0;
        // A key is eight times as large as the others.
        size_t per_picture = BYTES_PER_S / (GOP + 7);
        struct unit u = {.kind = UNIT_DATA,
                         .stream = sound ? UNIT_SOUND : UNIT_PICTURE,
                         .flags = key ? UNIT_KEY : 0,
                         .gen = 1,
                         .chan_ns = at,
                         .done_ns = at,
                         .body = body,
                         .size = sound ? 300
                                 : key ? 8 * per_picture
                                       : per_picture};
        // Its seq is known before, for the watcher may be quicker.
        written_ns[i + 1] = clock_monotonic_ns();
        CHECK_OK(live_log_append(log, &u));
        CHECK(u.seq, ==, i + 1);
    }
    own = clock_thread_cpu_ns() - own;
    thread_join(watcher);
    int64_t wall = clock_monotonic_ns() - start;
    cpu = process_cpu_ns() - cpu - own - watcher_cpu_ns;
    qsort(delays_ns, (size_t)delay_count, sizeof *delays_ns, compare);
    printf("%-8s delay median %.2f ms, p99 %.2f ms, most %.2f ms; %.2f %% of a processor\n", name,
           (double)delays_ns[delay_count / 2] / 1e6,
           (double)delays_ns[delay_count * 99 / 100] / 1e6,
           (double)delays_ns[delay_count - 1] / 1e6, 100.0 * (double)cpu / (double)wall);
    log_follower_destroy(&follower);
    live_log_destroy(&log);
    node_stop(&node);
}

int main(int argc, char **argv)
{
    units = UNITS_PER_S * (argc > 1 ? atoi(argv[1]) : 20);
    if (units < UNITS_PER_S || units >= UNITS_MAX)
        return 2;
    snprintf(folder, sizeof folder, "/tmp/log-bench-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    measure("unix", false, 20);
    measure("srt-20", true, 20);
    measure("srt-120", true, 120);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
