// Clocks with faults, for tests: by LD_PRELOAD, before libc and for the libraries as well. The file
// that CLOCK_SHIM names has three numbers of 64 bits, which may change at any time: how far the
// wall clock is set from the right time (ns); by how many millionths the monotonic clock goes too
// fast; since when, by the right monotonic clock (ns).
// Not libfaketime: its waits for a monotonic time end at once when only the wall clock is another.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define S        INT64_C(1000000000)
#define SLICE_NS INT64_C(20000000)

static struct faults {
    _Atomic int64_t wall_ns, ppm, since_ns;
} * faults;

// Clocks are asked before there are constructors, from any thread: whoever comes first.
static struct faults *faults_now(void)
{
    static struct faults none;
    const char *path = getenv("CLOCK_SHIM");
    if (faults || !path)
        return faults ? faults : &none;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        abort(); // a test that would show nothing
    close(fd);
    return faults = map;
}

static int64_t right_ns(clockid_t id)
{
    struct timespec t;
    syscall(SYS_clock_gettime, id, &t);
    return t.tv_sec * S + t.tv_nsec;
}

static int64_t time_ns(clockid_t id)
{
    int64_t ns = right_ns(id);
    struct faults *f = faults_now();
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)
        ns += f->wall_ns;
    else if (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE)
        ns += (ns - f->since_ns) * f->ppm / 1000000;
    return ns;
}

// When, by the right monotonic clock, this one will say `ns`.
static int64_t right_time(int64_t ns)
{
    struct faults *f = faults_now();
    return ns - (ns - f->since_ns) * f->ppm / (1000000 + f->ppm);
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
    if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE && id != CLOCK_MONOTONIC &&
        id != CLOCK_MONOTONIC_COARSE)
        return (int)syscall(SYS_clock_gettime, id, ret);
    int64_t ns = time_ns(id);
    *ret = (struct timespec){ns / S, ns % S};
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    (void)zone;
    int64_t ns = time_ns(CLOCK_REALTIME);
    *ret = (struct timeval){ns / S, ns % S / 1000};
    return 0;
}

time_t time(time_t *ret)
{
    time_t seconds = time_ns(CLOCK_REALTIME) / S;
    if (ret)
        *ret = seconds;
    return seconds;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *wanted, struct timespec *left)
{
    struct timespec until = *wanted;
    if (flags == TIMER_ABSTIME && id == CLOCK_MONOTONIC) {
        int64_t ns = right_time(wanted->tv_sec * S + wanted->tv_nsec);
        until = (struct timespec){ns / S, ns % S};
    }
    return syscall(SYS_clock_nanosleep, id, flags, &until, left) ? errno : 0;
}

// A wait for a wall time ends early when that clock is set forwards, and lasts when it is set back,
// as the kernel has it.
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict wanted)
{
    const int64_t ns = wanted->tv_sec * S + wanted->tv_nsec;
    const bool wall = !(cond->__data.__wrefs & 2); // glibc: set by pthread_condattr_setclock
    int64_t until_ns = right_time(ns), left_ns = 0;
    int error;
    do {
        if (wall) {
            left_ns = ns - time_ns(CLOCK_REALTIME);
            until_ns = right_ns(CLOCK_MONOTONIC);
            if (left_ns > 0)
                until_ns += left_ns < SLICE_NS ? left_ns : SLICE_NS;
        }
        struct timespec until = {until_ns / S, until_ns % S};
        error = pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &until);
    } while (error == ETIMEDOUT && left_ns > SLICE_NS);
    return error;
}
