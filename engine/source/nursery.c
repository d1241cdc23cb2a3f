#include "engine/source/nursery.h"

#include "engine/base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// -- guarded by lock
static int keeper_fd = -1;
static pid_t keeper_pid;
static unsigned keeper; // counts them
static struct nursery_child *children;
static int64_t ended_ns; // processor time of those that have ended

// ---- The keeper -------------------------------------------------------------------------------

static int keeper_spawn(const char *program, int theirs)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t stop, all;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    // Standard error is left, for what libraries say when they end; not output that somebody reads.
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, theirs, DECODE_KEEPER_FD);
    // It ends when this process has, which may have work to finish: whoever stops a service or
    // presses Ctrl-C asks all its processes.
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGHUP);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &stop);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *argv[] = {(char *)(uintptr_t) "vistter-decode", NULL};
    int error = posix_spawn(&keeper_pid, program, &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return -error;
}

static int keeper_start(struct diagnostic *reterr)
{
    char program[PATH_MAX];
    int pair[2], error = program_find("vistter-decode", VISTTER_DECODE_FOLDER, program, reterr);
    if (error)
        return error;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return diagnostic_set(reterr, -errno, "decoder_start", "", "no socket can be had");
    // One that already is the descriptor it is to be would be closed at exec.
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, DECODE_KEEPER_FD + 1);
    error = theirs < 0 ? -errno : keeper_spawn(program, theirs);
    close(pair[1]);
    if (theirs >= 0)
        close(theirs);
    if (error) {
        close(pair[0]);
        return diagnostic_set(reterr, error, "decoder_start", program, "cannot be started: %s",
                              strerror(-error));
    }
    keeper_fd = pair[0];
    keeper++;
    return 0;
}

static void keeper_forget(void)
{
    close(keeper_fd);
    keeper_fd = -1;
    while (waitpid(keeper_pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

// False: the keeper has ended.
static bool keeper_ask(const struct decode_order *order, const int *fds, size_t count,
                       struct decode_answer *ret)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DECODE_FDS * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)order, sizeof *order};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof *fds);
        memcpy(CMSG_DATA(c), fds, count * sizeof *fds);
    }
    ssize_t n;
    do
        n = sendmsg(keeper_fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    while (n >= 0 && (n = recv(keeper_fd, ret, sizeof *ret, 0)) < 0 && errno == EINTR)
        n = 0;
    return n == sizeof *ret;
}

// ---- Children ---------------------------------------------------------------------------------

static int start(const struct decode_order *order, const int fds[DECODE_FDS],
                 struct decode_answer *ret, struct diagnostic *reterr)
{
    size_t count = DECODE_MEDIA;
    while (count < DECODE_FDS && fds[count] >= 0)
        count++;
    for (int tries = 0; tries < 2; tries++) {
        int error = keeper_fd < 0 ? keeper_start(reterr) : 0;
        if (error)
            return error;
        if (keeper_ask(order, fds, count, ret))
            return ret->pid;
        keeper_forget();
    }
    return -ECHILD;
}

int nursery_start(const struct decode_order *order, const int fds[DECODE_FDS],
                  struct nursery_child *ret, struct diagnostic *reterr)
{
    struct decode_answer answer;
    int pair[2], given[DECODE_FDS];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return diagnostic_set(reterr, -errno, "decoder_start", "", "no socket can be had");
    memcpy(given, fds, sizeof given);
    given[DECODE_CHANNEL] = pair[1];
    if (reterr)
        reterr->error = 0;
    pthread_mutex_lock(&lock);
    int pid = start(order, given, &answer, reterr);
    if (pid > 0) {
        *ret =
            (struct nursery_child){.pid = pid, .fd = pair[0], .keeper = keeper, .next = children};
        if (clock_getcpuclockid(pid, &ret->clock))
            ret->clock = -1;
        children = ret;
    }
    pthread_mutex_unlock(&lock);
    close(pair[1]);
    if (pid > 0)
        return 0;
    close(pair[0]);
    if (reterr && reterr->error)
        return reterr->error;
    return diagnostic_set(reterr, pid, "decoder_start", order->path,
                          "no process can be had to decode it: %s", strerror(-pid));
}

int nursery_end(struct nursery_child *child, int64_t *ret_cpu_ns)
{
    struct decode_order order = {.what = DECODE_END, .pid = child->pid};
    struct decode_answer answer = {.status = -1};
    pthread_mutex_lock(&lock);
    close(child->fd);
    child->fd = -1;
    struct nursery_child **at = &children;
    while (*at != child)
        at = &(*at)->next;
    *at = child->next;
    // With a keeper its children end, and another's pids are not its business.
    if (child->keeper == keeper && keeper_fd >= 0 && !keeper_ask(&order, NULL, 0, &answer)) {
        keeper_forget();
        answer = (struct decode_answer){.status = -1};
    }
    ended_ns += answer.cpu_ns;
    pthread_mutex_unlock(&lock);
    *ret_cpu_ns = answer.cpu_ns;
    return answer.status;
}

int64_t nursery_child_cpu_ns(const struct nursery_child *child)
{
    struct timespec t = {0};
    if (child->fd >= 0 && child->clock != -1)
        clock_gettime(child->clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// By what the kernel says: "pid (name) S ...".
bool nursery_child_asleep(const struct nursery_child *child)
{
    char path[48], text[128];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)child->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && !strncmp(name_end, ") S", 3);
}

void nursery_close(void)
{
    pthread_mutex_lock(&lock);
    if (keeper_fd >= 0)
        keeper_forget();
    pthread_mutex_unlock(&lock);
}

int64_t nursery_cpu_ns(void)
{
    pthread_mutex_lock(&lock);
    int64_t ns = ended_ns;
    for (struct nursery_child *c = children; c; c = c->next)
        ns += nursery_child_cpu_ns(c);
    pthread_mutex_unlock(&lock);
    return ns;
}
