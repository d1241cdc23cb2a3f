// What a process was at when it ended: noted for its own faults, in whatever thread and however its
// stack is, for threads that hang, and for nothing else.
#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/thread.h"
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTENT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char path[] = "/tmp/vistter-crash-test-XXXXXX";

static void *write_nowhere(void *opaque)
{
    crash_at("/cache/" CONTENT, 41);
    crash_past();
    crash_at("/cache/" CONTENT, 42);
    *(volatile char *)opaque = 1;
    return NULL;
}

static void *give_up(void *opaque)
{
    crash_at("/cache/" CONTENT, -1);
    (void)opaque;
    abort();
}

// Each call keeps what it was given, so that none can do without a stack of its own.
static int deeper(volatile char *above)
{
    volatile char here[4096];
    here[0] = above ? above[0] : 1;
    return here[0] == 2 ? 0 : deeper(here) + here[0]; // it never is
}

static void *use_up_stack(void *opaque)
{
    crash_at("/cache/" CONTENT, 7);
    (void)opaque;
    return deeper(NULL) ? NULL : opaque;
}

static void *fault_elsewhere(void *opaque)
{
    crash_at("/cache/" CONTENT, 8);
    crash_past();
    *(volatile char *)opaque = 1;
    return NULL;
}

static void *fault_at_other_file(void *opaque)
{
    crash_at("/usr/share/film.mp4", 8);
    *(volatile char *)opaque = 1;
    return NULL;
}

static void *be_killed(void *opaque)
{
    crash_at("/cache/" CONTENT, 9);
    kill(getpid(), SIGKILL);
    return opaque;
}

static void *go_round(void *opaque)
{
    crash_at("/cache/" CONTENT, 11);
    crash_step(HANG_DECODES, 0);
    for (volatile bool forever = true; forever;)
        ;
    return opaque;
}

static void *wait_for_good(void *opaque)
{
    crash_at("/cache/" CONTENT, 14);
    crash_step(HANG_DECODES, 0);
    for (volatile bool forever = true; forever;)
        pause();
    return opaque;
}

// Uses as much, and gets on; then uses as much at no file.
static void *go_on(void *opaque)
{
    int64_t begin_ns = clock_monotonic_ns();
    crash_at("/cache/" CONTENT, 12);
    while (clock_monotonic_ns() - begin_ns < INT64_C(1500000000))
        crash_step(HANG_DECODES, 0);
    crash_past();
    crash_step(HANG_DECODES, 0);
    while (clock_monotonic_ns() - begin_ns < INT64_C(3000000000))
        ;
    return opaque;
}

static void *use_up_time(void *opaque)
{
    crash_at("/cache/" CONTENT, 13);
    kill(getpid(), SIGXCPU); // as the kernel at RLIMIT_CPU
    for (volatile bool forever = true; forever;)
        ;
    return opaque;
}

static atomic_bool ended;

static void *watch(void *opaque)
{
    while (!atomic_load(&ended)) {
        crash_notes_watch(clock_monotonic_ns());
        poll(NULL, 0, 100);
    }
    return opaque;
}

// Runs it in a thread of another process. Gives the signal that this ends by.
static int run(void *(*what)(void *))
{
    fflush(NULL);
    pid_t child = fork();
    if (!child) {
        pthread_t thread, watcher;
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        if (crash_notes_open(path, NULL) || thread_start(&watcher, "watcher", watch, NULL) ||
            thread_start(&thread, "decoder", what, NULL))
            _exit(1);
        thread_join(thread);
        atomic_store(&ended, true);
        thread_join(watcher);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0), ==, child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void check_noted(void *(*what)(void *), int number, int64_t place)
{
    struct crash_note notes[CRASH_NOTES_MAX], found;
    CHECK(run(what), ==, number);
    CHECK_OK(crash_notes_open(path, NULL));
    CHECK(crash_notes_list(notes), ==, 1);
    CHECK_TEXT(notes[0].name, CONTENT);
    CHECK(notes[0].place, ==, place);
    CHECK(notes[0].signal, ==, number);
    CHECK_TRUE(crash_notes_find(CONTENT, &found) && found.id == notes[0].id);
    crash_notes_forget(notes[0].id + 1);
    CHECK(crash_notes_list(notes), ==, 1);
    crash_notes_forget(notes[0].id);
    CHECK(crash_notes_list(notes), ==, 0);
}

static void check_unnoted(void *(*what)(void *), int number)
{
    struct crash_note notes[CRASH_NOTES_MAX];
    CHECK(run(what), ==, number);
    CHECK_OK(crash_notes_open(path, NULL));
    CHECK(crash_notes_list(notes), ==, 0);
}

// Whatever a file holds, only whole notes count.
static void test_torn(void)
{
    struct crash_note notes[CRASH_NOTES_MAX];
    unsigned char bytes[8192];
    for (int seed = 0; seed < 64; seed++) {
        uint32_t state = (uint32_t)seed;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)((state = state * 1664525 + 1013904223) >> 24);
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        CHECK(write(fd, bytes, sizeof bytes), ==, (ssize_t)sizeof bytes);
        close(fd);
        CHECK_OK(crash_notes_open(path, NULL));
        CHECK(crash_notes_list(notes), ==, 0);
    }
}

int main(void)
{
    close(mkstemp(path));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // which end in their own way
    check_noted(write_nowhere, SIGSEGV, 42);
    check_noted(give_up, SIGABRT, -1);
    check_noted(use_up_stack, SIGSEGV, 7);
    check_unnoted(fault_elsewhere, SIGSEGV);
    check_unnoted(fault_at_other_file, SIGSEGV);
#else
    (void)check_noted, (void)write_nowhere, (void)give_up, (void)use_up_stack;
    (void)fault_elsewhere, (void)fault_at_other_file;
#endif
#if !defined(__SANITIZE_THREAD__) // which holds signals back
    check_noted(go_round, CRASH_HUNG, 11);
    check_noted(wait_for_good, CRASH_HUNG, 14);
    check_unnoted(use_up_time, SIGXCPU);
#else
    (void)go_round, (void)wait_for_good, (void)use_up_time;
#endif
    check_unnoted(go_on, 0);
    check_unnoted(be_killed, SIGKILL);
    test_torn();
    struct diagnostic d;
    CHECK_ERROR(crash_notes_open("/proc/none/x", &d), -ENOENT);
    CHECK_TEXT(d.code, "state_folder");
    unlink(path);
    return check_end();
}
