// A worker's RTMP server with real senders: nginx, gateways, ffmpeg as encoders, no coordinator
// anywhere. Skipped where ffmpeg or nginx's module is not installed.
#include "engine/base/clock.h"
#include "tests/check.h"
#include "worker/sources.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
#include "tests/edge/peers.h"

#define SECOND_NS INT64_C(1000000000)
#define KEY1      "0123456789abcdef-of-cam1"
#define KEY2      "0123456789abcdef-of-cam2"
#define KEY3      "fedcba9876543210-of-cam1"
#define WRONG     "fedcba9876543210-of-none"

static struct sources *sources;
static int port;

// ---- What the worker is told and says -----------------------------------------------------------

static void create(void)
{
    struct diagnostic why;
    char logs[80], rtmp[80], address[32];
    snprintf(logs, sizeof logs, "%s/live", folder);
    snprintf(rtmp, sizeof rtmp, "%s/rtmp", folder);
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    struct sources_config config = {logs, "w1", 120, rtmp, address};
    CHECK_OK(sources_create(&config, &sources, &why));
}

// cam1 and cam2 with these keys; NULL: there is none.
static void tell(const char *key1, const char *key2)
{
    Vistter__Control__V1__DesiredState state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    Vistter__Control__V1__SourcePlan plans[2], *list[2];
    char names[2][8] = {"cam1", "cam2"}, inputs[2][128], home[] = "w1", empty[] = "";
    const char *const keys[2] = {key1, key2};
    for (int i = 0; i < 2; i++) {
        if (!keys[i])
            continue;
        snprintf(inputs[i], sizeof inputs[i], "{\"kind\":\"rtmp\",\"key\":\"%s\"}", keys[i]);
        vistter__control__v1__source_plan__init(&plans[i]);
        plans[i].source = names[i];
        plans[i].term = 1;
        plans[i].home = home;
        plans[i].address = empty;
        plans[i].input = inputs[i];
        list[state.n_sources++] = &plans[i];
    }
    state.sources = list;
    sources_follow(sources, &state);
}

struct facts {
    char state[16], text[64], sender[64], refused[64], refusal[64], codec[16], error[640];
    int64_t width, units, gaps, gen, connections, refusals, bitrate;
};

static const char *text_of(const json_t *o, const char *name)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : "";
}

static int64_t number_of(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static struct facts facts_of(const char *source)
{
    struct facts f = {0};
    Vistter__Control__V1__SourceReport **list;
    size_t count = sources_report(sources, &list);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i]->source, source) != 0)
            continue;
        json_t *status = json_loads(list[i]->status, 0, NULL);
        const json_t *video = json_object_get(status, "video");
        const json_t *rtmp = json_object_get(status, "rtmp");
        snprintf(f.state, sizeof f.state, "%s", text_of(status, "state"));
        snprintf(f.text, sizeof f.text, "%s", text_of(status, "text"));
        snprintf(f.sender, sizeof f.sender, "%s", text_of(rtmp, "sender"));
        snprintf(f.refused, sizeof f.refused, "%s", text_of(rtmp, "refused"));
        snprintf(f.refusal, sizeof f.refusal, "%s", text_of(rtmp, "refusal"));
        snprintf(f.codec, sizeof f.codec, "%s", text_of(video, "codec"));
        snprintf(f.error, sizeof f.error, "%s", list[i]->error);
        f.width = number_of(video, "width");
        f.units = number_of(video, "units");
        f.gaps = number_of(video, "gaps");
        f.gen = number_of(status, "gen");
        f.bitrate = number_of(status, "bitrate");
        f.connections = number_of(rtmp, "connections");
        f.refusals = number_of(rtmp, "refusals");
        CHECK_TRUE(!strstr(list[i]->status, KEY1) && !strstr(list[i]->status, KEY2) &&
                   !strstr(list[i]->status, KEY3) && !strstr(list[i]->status, WRONG));
        json_decref(status);
    }
    return f;
}

// Goes on as the worker does, for half a minute at most, until that is so.
#define COMES(condition)                                                                           \
    do {                                                                                           \
        int64_t until_ns = clock_monotonic_ns() + 30 * SECOND_NS;                                  \
        while (!(condition) && clock_monotonic_ns() < until_ns) {                                  \
            sources_step(sources, clock_monotonic_ns());                                           \
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 20);                           \
        }                                                                                          \
        CHECK_TRUE(condition);                                                                     \
    } while (0)

static bool is(const char *source, const char *state)
{
    return !strcmp(facts_of(source).state, state);
}

// ---- Encoders -----------------------------------------------------------------------------------

static pid_t encode(const char *key)
{
    char command[512];
    snprintf(command, sizeof command,
             "exec ffmpeg -v quiet -nostdin -re -f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i "
             "sine=500:r=48000 -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt "
             "yuv420p -c:a aac -f flv 'rtmp://127.0.0.1:%d/live/%s'",
             port, key);
    return spawn(command);
}

// It has ended by itself, and knows that it was not let in, or was cut off.
static bool has_failed(pid_t *encoder)
{
    int status;
    if (*encoder && waitpid(*encoder, &status, WNOHANG) == *encoder) {
        CHECK_TRUE(WIFEXITED(status) && WEXITSTATUS(status));
        *encoder = 0;
    }
    return !*encoder;
}

// ---- Tests --------------------------------------------------------------------------------------

static void test_keys(pid_t *first, pid_t *second)
{
    tell(KEY1, KEY2);
    COMES(is("cam1", "connecting") && is("cam2", "connecting") && can_connect(port));
    COMES(!strcmp(facts_of("cam1").text, "nobody sends"));
    // A name is no key, whatever comes with it.
    static const char *const wrong[] = {WRONG, "cam1", "cam1?name=" KEY1 "&call=update_play"};
    for (int i = 0; i < 3; i++) {
        pid_t refused = encode(wrong[i]);
        COMES(has_failed(&refused));
        COMES(facts_of("cam1").refusals == i + 1);
    }
    struct facts f = facts_of("cam1");
    CHECK_TEXT(f.refused, "127.0.0.1");
    CHECK_TEXT(f.refusal, "no source has this key");
    CHECK_TEXT(f.sender, "");
    CHECK_TEXT(f.state, "connecting");
    CHECK(f.connections, ==, 0);
    *first = encode(KEY1);
    COMES(is("cam1", "live"));
    CHECK_TRUE(is("cam2", "connecting"));
    *second = encode(KEY2);
    COMES(is("cam2", "live"));
    for (int i = 0; i < 2; i++) {
        COMES(facts_of(i ? "cam2" : "cam1").bitrate > 0);
        f = facts_of(i ? "cam2" : "cam1");
        CHECK_TEXT(f.sender, "127.0.0.1");
        CHECK_TEXT(f.codec, "h264");
        CHECK_TEXT(f.error, "");
        CHECK(f.width, ==, 320);
        CHECK(f.connections, ==, 1);
    }
}

// Who has the old key is cut off, and stays out. The other source notices nothing.
static void test_new_key(pid_t *first, pid_t *second)
{
    struct facts before = facts_of("cam2");
    int64_t began_ns = clock_monotonic_ns();
    tell(KEY3, KEY2);
    COMES(has_failed(first));
    printf("cut off %.1f s after\n", (double)(clock_monotonic_ns() - began_ns) / 1e9);
    COMES(!*facts_of("cam1").sender);
    pid_t again = encode(KEY1);
    COMES(has_failed(&again));
    COMES(!strcmp(facts_of("cam1").refusal, "the key is an old one"));
    CHECK_TEXT(facts_of("cam2").refusal, before.refusal);
    COMES(is("cam1", "lost"));
    int64_t gen = facts_of("cam1").gen;
    *first = encode(KEY3);
    COMES(is("cam1", "live") && facts_of("cam1").gen > gen);
    struct facts now = facts_of("cam2");
    CHECK_TRUE(!has_failed(second));
    CHECK(now.connections, ==, before.connections);
    CHECK(now.gen, ==, before.gen);
    CHECK(now.gaps, ==, before.gaps);
    CHECK(now.units, >, before.units + 50);
}

// An encoder whose link has died, as one that stands still, comes again while its old connection is
// still there.
static void test_again(pid_t *first)
{
    struct facts before = facts_of("cam1");
    kill(*first, SIGSTOP);
    int64_t began_ns = clock_monotonic_ns();
    pid_t other = encode(KEY3);
    COMES(facts_of("cam1").connections == before.connections + 1);
    printf("in again %.1f s after\n", (double)(clock_monotonic_ns() - began_ns) / 1e9);
    COMES(is("cam1", "live") && facts_of("cam1").gen > before.gen);
    kill(*first, SIGCONT);
    COMES(has_failed(first));
    *first = other;
}

static pid_t server_of(pid_t parent)
{
    char path[64], name[32];
    int pid = 0, found = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)parent);
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &pid) == 1) {
        snprintf(path, sizeof path, "/proc/%d/comm", pid);
        FILE *comm = fopen(path, "re");
        if (comm && fscanf(comm, "%31s", name) == 1 && !strcmp(name, "nginx"))
            found = pid;
        if (comm)
            fclose(comm);
    }
    if (f)
        fclose(f);
    return found;
}

static void test_server_dies(pid_t *first, pid_t *second)
{
    struct facts before = facts_of("cam1");
    pid_t server = server_of(getpid());
    CHECK(server, >, 0);
    kill(server, SIGKILL);
    COMES(strstr(facts_of("cam1").error, "crashed"));
    COMES(has_failed(first) && has_failed(second));
    COMES(can_connect(port));
    *first = encode(KEY3);
    *second = encode(KEY2);
    COMES(is("cam1", "live") && is("cam2", "live") && facts_of("cam1").gen > before.gen);
    CHECK_TEXT(facts_of("cam1").error, "");
}

static int files_in(const char *path)
{
    int count = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        count += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return count;
}

// Nobody listens when there is nothing to be sent, and nothing is left in the folder.
static void test_none(pid_t *first, pid_t *second)
{
    char path[80];
    struct stat st;
    snprintf(path, sizeof path, "%s/rtmp", folder);
    CHECK_OK(stat(path, &st));
    CHECK(st.st_mode & 0777, ==, 0700);
    CHECK(files_in(path), ==, 3);
    tell(NULL, KEY2);
    COMES(has_failed(first));
    CHECK_TRUE(!has_failed(second));
    tell(NULL, NULL);
    COMES(has_failed(second));
    COMES(!can_connect(port) && !files_in(path));
    CHECK(server_of(getpid()), ==, 0);
}

// A port that another has is said in words, and taken once it is free.
static void test_port(void)
{
    int other;
    int free_one = port;
    port = free_port(&other);
    sources_destroy(&sources);
    create();
    tell(KEY1, NULL);
    COMES(strstr(facts_of("cam1").error, "Address already in use"));
    close(other);
    COMES(is("cam1", "connecting") && !*facts_of("cam1").error);
    pid_t encoder = encode(KEY1);
    COMES(is("cam1", "live"));
    kill(encoder, SIGSTOP); // who says nothing any more is let go
    COMES(is("cam1", "lost") && !*facts_of("cam1").sender);
    stop_process(encoder);
    sources_destroy(&sources); // a worker that ends leaves no child
    CHECK_TRUE(!can_connect(port));
    CHECK(server_of(getpid()), ==, 0);
    port = free_one;
}

// A worker that is killed leaves no server behind, and the next one begins where it was.
static void test_killed(void)
{
    pid_t worker = fork();
    if (!worker) {
        create();
        tell(KEY1, NULL);
        for (;;) {
            sources_step(sources, clock_monotonic_ns());
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 20);
        }
    }
    int64_t end_ns = clock_monotonic_ns() + 30 * SECOND_NS;
    while (!can_connect(port) && clock_monotonic_ns() < end_ns)
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 20);
    CHECK_TRUE(can_connect(port));
    kill(worker, SIGKILL);
    waitpid(worker, NULL, 0);
    while (can_connect(port) && clock_monotonic_ns() < end_ns)
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 20);
    CHECK_TRUE(!can_connect(port));
    create();
    tell(KEY1, NULL);
    pid_t encoder;
    COMES(can_connect(port));
    encoder = encode(KEY1);
    COMES(is("cam1", "live"));
    stop_process(encoder);
    sources_destroy(&sources);
}

static void test_addresses(void)
{
    static const char *const wrong[] = {"",      "1935",        "host:1935", "0.0.0.0:0",
                                        ":1 ;",  "[::1:1935",   "::1:1935",  "0.0.0.0:70000",
                                        "a;b:1", "127.0.0.1:1x"};
    struct diagnostic why;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct sources_config config = {folder, "w1", 120, folder, wrong[i]};
        CHECK_ERROR(sources_create(&config, &sources, &why), -EINVAL);
        CHECK_TEXT(why.path, wrong[i]);
    }
}

int main(void)
{
    if (access(MODULE, R_OK) || system("command -v nginx ffmpeg >/dev/null"))
        return 77;
    char command[80];
    pid_t first, second;
    snprintf(folder, sizeof folder, "/tmp/vistter-rtmp-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    port = free_port(NULL);
    test_addresses();
    create();
    test_keys(&first, &second);
    test_new_key(&first, &second);
    test_again(&first);
    test_server_dies(&first, &second);
    test_none(&first, &second);
    test_port();
    test_killed();
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
