#include "engine/base/crash_note.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NAME_DIGITS (CRASH_NAME_BYTES - 1)
// A handler needs room for the processor's registers: 3.5 KB with AVX-512.
#define STACK_BYTES 16384

enum { FREE, TAKEN, NOTED = 0x45544f4e }; // anything else is not ours, and counts as free

struct record {
    _Atomic uint32_t state;
    int32_t signal;
    int64_t place;
    uint64_t id;
    char name[CRASH_NAME_BYTES];
};

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, CRASH_HUNG};
static struct sigaction before[sizeof signals / sizeof signals[0]];
static struct record *_Atomic records; // mapped; NULL: nothing is noted

struct where {
    const char *volatile path; // NULL: past it
    volatile int64_t place;
    _Atomic uint64_t step; // packed: a look sees all of it
    // -- guarded by lock
    bool busy;
    struct where *next;
    pthread_t thread;
    pid_t tid;
    struct hang_watch watch;
    // --
    bool has_stack;
    char stack[STACK_BYTES]; // the decoder may have used up the thread's own
};
static _Thread_local struct where here;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct where *busy; // the threads that are at a file: they cannot end meanwhile

// ---- In the handler: nothing but plain memory and system calls --------------------------------

static bool is_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool take_name(const char *path, char ret[CRASH_NAME_BYTES])
{
    size_t length = 0;
    while (path[length])
        length++;
    if (length < NAME_DIGITS)
        return false;
    for (size_t i = 0; i < NAME_DIGITS; i++) {
        ret[i] = path[length - NAME_DIGITS + i];
        if (!is_digit(ret[i]))
            return false;
    }
    ret[NAME_DIGITS] = 0;
    return true;
}

static void note(struct record *list, const char *path, int64_t place, int number)
{
    char name[CRASH_NAME_BYTES];
    struct timespec t;
    if (!take_name(path, name))
        return;
    for (int i = 0; i < CRASH_NOTES_MAX; i++) {
        uint32_t state = atomic_load(&list[i].state);
        if (state == NOTED || !atomic_compare_exchange_strong(&list[i].state, &state, TAKEN))
            continue;
        clock_gettime(CLOCK_REALTIME, &t);
        list[i].signal = number;
        list[i].place = place;
        list[i].id = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
        for (int k = 0; k < CRASH_NAME_BYTES; k++)
            list[i].name[k] = name[k];
        atomic_store(&list[i].state, NOTED);
        return;
    }
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    struct record *list = atomic_load(&records);
    const char *path = here.path;
    (void)context;
    // From outside the process, or for all it has used up, whichever thread gets it is not to
    // blame.
    bool own = number != CRASH_HUNG || (info->si_code == SI_TKILL && info->si_pid == getpid());
    if (list && path && own)
        note(list, path, here.place, number);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (signals[i] == number)
            sigaction(number, &before[i], NULL);
    raise(number); // comes when this handler returns
}

// ---- Life -------------------------------------------------------------------------------------

int crash_notes_open(const char *path, struct diagnostic *reterr)
{
    size_t size = CRASH_NOTES_MAX * sizeof(struct record);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *map = MAP_FAILED;
    int allocated =
        fd >= 0 ? posix_fallocate(fd, 0, (off_t)size) : 0; // the handler cannot wait for room
    if (fd >= 0 && !allocated)
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int error = allocated ? -allocated : map == MAP_FAILED ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (error)
        return diagnostic_set(reterr, error, "state_folder", path, "cannot be used: %s",
                              strerror(-error));
    struct record *old = atomic_exchange(&records, map);
    if (old) { // tests
        munmap(old, size);
        return 0;
    }
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, &before[i]);
    return 0;
}

// Whatever a file holds that was torn: only whole notes count.
static bool read_note(struct record *r, struct crash_note *ret)
{
    char name[CRASH_NAME_BYTES];
    if (atomic_load(&r->state) != NOTED || r->name[NAME_DIGITS] || !take_name(r->name, name))
        return false;
    *ret = (struct crash_note){.place = r->place, .id = r->id, .signal = r->signal};
    memcpy(ret->name, name, sizeof name);
    return true;
}

int crash_notes_list(struct crash_note ret[CRASH_NOTES_MAX])
{
    struct record *list = atomic_load(&records);
    int count = 0;
    for (int i = 0; list && i < CRASH_NOTES_MAX; i++)
        count += read_note(&list[i], &ret[count]);
    return count;
}

bool crash_notes_find(const char *name, struct crash_note *ret)
{
    struct record *list = atomic_load(&records);
    for (int i = 0; list && i < CRASH_NOTES_MAX; i++)
        if (read_note(&list[i], ret) && !strcmp(ret->name, name))
            return true;
    return false;
}

void crash_notes_forget(uint64_t id)
{
    struct record *list = atomic_load(&records);
    for (int i = 0; list && i < CRASH_NOTES_MAX; i++)
        if (atomic_load(&list[i].state) == NOTED && list[i].id == id)
            atomic_store(&list[i].state, FREE);
}

// ---- Saying where one is ----------------------------------------------------------------------

// Not where a sanitizer has given the thread one.
static void give_stack(void)
{
    stack_t old;
    here.has_stack = true;
    if (sigaltstack(NULL, &old) || !(old.ss_flags & SS_DISABLE))
        return;
    (void)sigaltstack(&(stack_t){.ss_sp = here.stack, .ss_size = sizeof here.stack}, NULL);
}

// Number, kind and pixels, from the top.
#define KIND_BIT   32
#define NUMBER_BIT 34

static void step_begin(enum hang_kind kind, int64_t pixels)
{
    uint64_t number = (atomic_load_explicit(&here.step, memory_order_relaxed) >> NUMBER_BIT) + 1;
    uint64_t size = pixels < 0 ? 0 : pixels > UINT32_MAX ? UINT32_MAX : (uint64_t)pixels;
    atomic_store_explicit(&here.step, number << NUMBER_BIT | (uint64_t)kind << KIND_BIT | size,
                          memory_order_relaxed);
}

void crash_at(const char *path, int64_t place)
{
    if (!atomic_load_explicit(&records, memory_order_relaxed))
        return;
    if (!here.has_stack)
        give_stack();
    here.place = place;
    here.path = path;
    step_begin(HANG_STARTS, 0);
    if (here.busy)
        return;
    pthread_mutex_lock(&lock);
    here.busy = true;
    here.thread = pthread_self();
    here.tid = gettid();
    here.watch = (struct hang_watch){0};
    here.next = busy;
    busy = &here;
    pthread_mutex_unlock(&lock);
}

void crash_step(enum hang_kind kind, int64_t pixels)
{
    if (here.busy)
        step_begin(kind, pixels);
}

void crash_past(void)
{
    if (here.busy) {
        pthread_mutex_lock(&lock);
        struct where **at = &busy;
        while (*at != &here)
            at = &(*at)->next;
        *at = here.next;
        here.busy = false;
        pthread_mutex_unlock(&lock);
    }
    here.path = NULL; // not sooner: what has been sent by then is for this file
}

// ---- Watching them ----------------------------------------------------------------------------

static int64_t thread_cpu_ns(pthread_t thread)
{
    clockid_t clock;
    struct timespec t = {0};
    if (!pthread_getcpuclockid(thread, &clock))
        clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// By what the kernel says: "tid (name) S ...".
static bool is_asleep(pid_t tid)
{
    char path[48], text[128];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && !strncmp(name_end, ") S", 3);
}

void crash_notes_watch(int64_t now_ns)
{
    pthread_mutex_lock(&lock);
    for (struct where *w = busy; w; w = w->next) {
        uint64_t packed = atomic_load_explicit(&w->step, memory_order_relaxed);
        struct hang_step step = {.number = packed >> NUMBER_BIT,
                                 .kind = (enum hang_kind)(packed >> KIND_BIT & 3),
                                 .pixels = (uint32_t)packed};
        struct hang_sight sight = {thread_cpu_ns(w->thread), is_asleep(w->tid)};
        if (!hang_look(&w->watch, &step, &sight, now_ns))
            continue;
        pthread_kill(w->thread, CRASH_HUNG); // its handler notes what it is at
        break;
    }
    pthread_mutex_unlock(&lock);
}
