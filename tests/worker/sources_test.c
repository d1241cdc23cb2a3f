// A worker's live sources, with real gateways: started, started again, ended, and handed over, also
// where the home's name is never answered.
#include "engine/base/clock.h"
#include "tests/check.h"
#include "worker/sources.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS INT64_C(1000000000)
#define CALLS     "{\"kind\":\"srt-call\",\"address\":\"127.0.0.1:9\"}"

typedef Vistter__Control__V1__SourceReport source_report;

static struct sources *sources;
static uint8_t key[32];
static char address[32] = "127.0.0.1:9"; // of another home

// ---- Names that are not answered --------------------------------------------------------------

static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t names_changed = PTHREAD_COND_INITIALIZER;
static int asking; // threads that wait for an answer
static bool answered;

// In libc's place: whoever asks for this name waits, as where no name server answers.
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    static int (*of_libc)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    pthread_mutex_lock(&names_lock);
    if (!of_libc)
        *(void **)&of_libc = dlsym(RTLD_NEXT, "getaddrinfo");
    bool silent = host && !strcmp(host, "silent.test");
    if (silent) {
        asking++;
        pthread_cond_broadcast(&names_changed);
        while (!answered)
            pthread_cond_wait(&names_changed, &names_lock);
        asking--;
    }
    pthread_mutex_unlock(&names_lock);
    return silent ? EAI_AGAIN : of_libc(host, service, hints, ret);
}

static int names_asked(void)
{
    pthread_mutex_lock(&names_lock);
    int count = asking;
    pthread_mutex_unlock(&names_lock);
    return count;
}

static void names_answer(void)
{
    pthread_mutex_lock(&names_lock);
    answered = true;
    pthread_cond_broadcast(&names_changed);
    pthread_mutex_unlock(&names_lock);
}

// ---- The worker -------------------------------------------------------------------------------

// As the leader says it: cam1 at this home, 0: there is none.
static bool quarantined; // as it is told

static void tell(const char *home, uint64_t term, const char *input)
{
    Vistter__Control__V1__DesiredState state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    Vistter__Control__V1__SourcePlan plan = VISTTER__CONTROL__V1__SOURCE_PLAN__INIT, *plans = &plan;
    Vistter__Control__V1__LinkPlan link = VISTTER__CONTROL__V1__LINK_PLAN__INIT, *links = &link;
    plan.source = (char[]){"cam1"};
    plan.term = term;
    plan.home = (char *)(uintptr_t)home;
    plan.address = address;
    plan.input = (char *)(uintptr_t)input;
    plan.quarantined = quarantined;
    link.consumer = (char[]){"w1"};
    link.link_id = (char[]){"source-cam1"};
    link.key = (ProtobufCBinaryData){sizeof key, key};
    plan.links = &links;
    plan.n_links = 1;
    state.sources = &plans;
    state.n_sources = home ? 1 : 0;
    sources_follow(sources, &state);
}

static const source_report *report(void)
{
    source_report **list;
    return sources_report(sources, &list) ? list[0] : NULL;
}

// Goes on as the worker does, until `is` of the report, for half a minute at most.
static bool comes(bool (*is)(const source_report *r))
{
    for (int64_t end = clock_monotonic_ns() + 30 * SECOND_NS; clock_monotonic_ns() < end;) {
        sources_step(sources, clock_monotonic_ns());
        if (is(report()))
            return true;
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
    }
    return false;
}

static pid_t child(void)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d", &pid) != 1)
        pid = 0;
    if (f)
        fclose(f);
    return pid;
}

static bool is_there(const source_report *r)
{
    return r && r->home && strstr(r->status, "\"connecting\"") && r->seq && !*r->error;
}
static bool is_quarantined(const source_report *r)
{
    return r && r->home && strstr(r->status, "\"quarantined\"") && r->seq && !*r->error;
}
static bool has_crashed(const source_report *r)
{
    return r && strstr(r->error, "crashed");
}
static bool is_refused(const source_report *r)
{
    return r && strstr(r->status, "\"refused\"") && strstr(r->status, "input.listen") &&
           strstr(r->error, "ended");
}
static bool rests(const source_report *r)
{
    return is_there(r) && strstr(r->status, "in a moment");
}
static bool has_no_port(const source_report *r)
{
    return r && r->seq && strstr(r->status, "cannot be listened at");
}
static bool has_port(const source_report *r)
{
    return r && strstr(r->status, "\"text\":\"\"");
}
static bool follows(const source_report *r)
{
    // What is here is not said to be the home's.
    return r && !r->home && !r->seq && strstr(r->error, "cannot be reached");
}
static bool is_gone(const source_report *r)
{
    return !r;
}
static bool looks_up(const source_report *r)
{
    return follows(r) && names_asked() == 1;
}
static bool has_left(const source_report *r)
{
    return is_there(r) && !names_asked();
}

// Who was home before may have the port still, and another host's address cannot be had at all: the
// log is told that nothing comes, and it is tried again.
static void test_taken_port(void)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof own;
    char input[96];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_OK(bind(fd, (struct sockaddr *)&own, size));
    CHECK_OK(getsockname(fd, (struct sockaddr *)&own, &size));
    snprintf(input, sizeof input, "{\"kind\":\"srt-listen\",\"listen\":\"127.0.0.1:%d\"}",
             ntohs(own.sin_port));
    tell("w1", 1, input);
    CHECK_TRUE(comes(has_no_port));
    pid_t before = child();
    int64_t done_ns = report()->done_ns;
    close(fd);
    CHECK_TRUE(comes(has_port));
    CHECK(child(), ==, before);
    CHECK(report()->done_ns, >, done_ns);
}

// Whoever follows may be looking up the home's name, for as long as that takes: nobody waits for
// it, and the log goes on meanwhile. Here a wait would have no end.
static void test_silent_name(void)
{
    snprintf(address, sizeof address, "silent.test:9");
    tell("w2", 5, "");
    CHECK_TRUE(comes(looks_up));
    tell("w1", 6, CALLS);
    CHECK_TRUE(comes(is_there));
    CHECK(names_asked(), ==, 1);
    tell("w2", 7, ""); // once more: the first one still hangs, and is not waited for either
    CHECK_TRUE(comes(follows));
    tell("w1", 8, CALLS);
    sources_step(sources, clock_monotonic_ns());
    CHECK(names_asked(), >=, 1);
    names_answer();
    CHECK_TRUE(comes(has_left));
    tell(NULL, 0, NULL);
    CHECK_TRUE(comes(is_gone));
}

int main(void)
{
    char folder[] = "/tmp/vistter-sources-XXXXXX", command[64];
    struct diagnostic why;
    CHECK_TRUE(mkdtemp(folder));
    struct sources_config config = {folder, "w1", 120, folder, "127.0.0.1:1935"};
    CHECK_OK(sources_create(&config, &sources, &why));
    tell("w1", 1, CALLS);
    CHECK_TRUE(comes(is_there));
    pid_t first = child();
    CHECK(first, >, 0);
    tell("w1", 1, CALLS); // the same again changes nothing
    sources_step(sources, clock_monotonic_ns());
    CHECK(child(), ==, first);
    kill(first, SIGKILL);
    CHECK_TRUE(comes(has_crashed));
    CHECK_TRUE(comes(rests)); // and its log is told so meanwhile
    CHECK_TRUE(comes(has_port));
    CHECK(child(), !=, first);
    test_taken_port();
    // Saved anew, and wrong.
    tell("w1", 1, "{\"kind\":\"srt-listen\",\"listen\":\"nowhere\"}");
    CHECK_TRUE(comes(is_refused));
    tell("w1", 1, CALLS);
    CHECK_TRUE(comes(is_there));
    quarantined = true;
    tell("w1", 1, CALLS);
    CHECK_TRUE(comes(is_quarantined)); // the log goes on, with a gap
    quarantined = false;
    tell("w1", 1, CALLS);
    CHECK_TRUE(comes(is_there));
    // Another is home: the log stays, and is followed.
    tell("w2", 2, "");
    CHECK_TRUE(comes(follows));
    CHECK(child(), ==, 0);
    CHECK(report()->term, ==, 2);
    tell("w1", 3, CALLS); // and goes on here
    CHECK_TRUE(comes(is_there));
    tell(NULL, 0, NULL);
    CHECK_TRUE(comes(is_gone));
    CHECK(child(), ==, 0);
    test_silent_name();
    tell("w1", 9, CALLS);
    CHECK_TRUE(comes(is_there));
    sources_destroy(&sources); // a worker that ends leaves no child
    CHECK(child(), ==, 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
