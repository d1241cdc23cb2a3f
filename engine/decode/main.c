// vistter-decode: the keeper of children that decode (engine/source/decode_order.h). It reads
// nothing that strangers sent. Whoever needs it starts it.
#include "engine/decode/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/log.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Who reads from storage that hangs does not end before it answers.
#define END_MS   200
#define LATE_MAX 64

static pid_t late[LATE_MAX]; // those; 0: none

// Its size; 0 when nobody orders any more. What it brings is put into `fds`, -1 where nothing is.
static ssize_t take_order(struct decode_order *ret, int fds[DECODE_FDS])
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(DECODE_FDS * sizeof(int))];
    } control;
    struct iovec part = {ret, sizeof *ret};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t n = recvmsg(DECODE_KEEPER_FD, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    for (int i = 0; i < DECODE_FDS; i++)
        fds[i] = -1;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return n;
}

static struct decode_answer start(const struct decode_order *order, const int fds[DECODE_FDS])
{
    pid_t keeper = getpid(), pid = fork();
    if (!pid) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == keeper) {
            close(DECODE_KEEPER_FD);
            if (order->what == DECODE_FILE)
                serve(order, fds);
            else
                serve_units(order, fds);
        }
        _exit(0);
    }
    return (struct decode_answer){.pid = pid < 0 ? -errno : pid};
}

static bool reap(pid_t pid, struct decode_answer *ret)
{
    int status;
    struct rusage used;
    if (wait4(pid, &status, WNOHANG, &used) != pid)
        return false;
    int64_t us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INT64_C(1000000) +
                 used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    *ret = (struct decode_answer){.status = status, .cpu_ns = us * 1000};
    return true;
}

static struct decode_answer end(pid_t pid)
{
    struct decode_answer answer = {.status = -1};
    kill(pid, SIGKILL);
    int fd = pidfd_open(pid, 0);
    if (fd >= 0) {
        (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, END_MS);
        close(fd);
    }
    if (reap(pid, &answer))
        return answer;
    int i = 0;
    while (i < LATE_MAX - 1 && late[i])
        i++;
    late[i] = pid;
    return answer;
}

static void reap_late(void)
{
    struct decode_answer ignored;
    for (int i = 0; i < LATE_MAX; i++)
        if (late[i] && reap(late[i], &ignored))
            late[i] = 0;
}

// A decoder goes before what puts channels on air when memory is short: it is started again.
static void go_first(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "800", 3);
        close(fd);
    }
}

int main(void)
{
    struct decode_order order;
    int fds[DECODE_FDS];
    ssize_t size;
    close_range(DECODE_KEEPER_FD + 1, ~0U, 0); // not all libraries close theirs when programs start
    av_log_set_level(AV_LOG_QUIET);
    go_first();
    while ((size = take_order(&order, fds)) == sizeof order || (size < 0 && errno == EINTR)) {
        if (size < 0)
            continue;
        struct decode_answer answer =
            order.what == DECODE_END ? end(order.pid) : start(&order, fds);
        for (int i = 0; i < DECODE_FDS; i++)
            if (fds[i] >= 0)
                close(fds[i]);
        reap_late();
        if (send(DECODE_KEEPER_FD, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            break;
    }
    if (size < 0)
        fprintf(stderr, "vistter-decode is started by the programs that need it\n");
    return size ? 1 : 0;
}
