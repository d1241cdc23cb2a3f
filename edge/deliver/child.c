#include "edge/deliver/child.h"

#include "edge/deliver/message.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int child_program(const char *program, char *ret)
{
    char path[PATH_MAX];
    if (program) {
        snprintf(path, sizeof path, "%s", program);
    } else {
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        if (n < 0)
            return -errno;
        path[n] = 0;
        char *slash = strrchr(path, '/');
        static const char name[] = "/vistter-deliver";
        if (!slash || (size_t)(slash - path) + sizeof name > sizeof path)
            return -ENOENT;
        memcpy(slash, name, sizeof name);
    }
    memcpy(ret, path, strlen(path) + 1);
    return access(path, X_OK) ? -errno : 0;
}

void child_family(const char *folder, char ret[CHILD_NAME_BYTES])
{
    struct stat s;
    if (stat(folder, &s))
        *ret = 0;
    else
        snprintf(ret, CHILD_NAME_BYTES, "%llx-%llx", (unsigned long long)s.st_dev,
                 (unsigned long long)s.st_ino);
}

int child_adopt(const char *family, const char *label, struct child *ret)
{
    struct sockaddr_un address;
    struct ucred peer;
    socklen_t size = sizeof peer, length = deliver_address(family, label, &address);
    if (!*family)
        return -ENOENT;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int pidfd = -1;
    if (!connect(fd, (struct sockaddr *)&address, length) &&
        !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.uid == geteuid())
        pidfd = pidfd_open(peer.pid, 0);
    if (pidfd < 0) {
        close(fd);
        return -ENOENT;
    }
    *ret = (struct child){.pid = peer.pid, .fd = fd, .pidfd = pidfd};
    return 0;
}

void child_leave(struct child *child)
{
    close(child->fd);
    if (child->pidfd)
        close(child->pidfd);
    *child = (struct child){.fd = -1};
}

int child_start(const char *program, const char *family, const char *label, struct child *ret)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -errno;
    // A socket that already is descriptor 3 would be closed at exec: dup2 onto itself does nothing.
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, DELIVER_SOCKET_FD + 1);
    close(pair[1]);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_adddup2(&actions, theirs, DELIVER_SOCKET_FD);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    // Own process group: Ctrl-C in a terminal reaches the edge, which lets recordings be sealed.
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    char *argv[] = {(char *)(uintptr_t) "vistter-deliver", (char *)(uintptr_t)label,
                    (char *)(uintptr_t)family, NULL};
    pid_t pid;
    int error = theirs < 0 ? errno : posix_spawn(&pid, program, &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (theirs >= 0)
        close(theirs);
    if (error) {
        close(pair[0]);
        return -error;
    }
    (void)fcntl(pair[0], F_SETFL, O_NONBLOCK); // a fresh socket takes the flag
    *ret = (struct child){.pid = pid, .fd = pair[0]};
    return 0;
}

ssize_t child_write(const struct child *child, struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(child->fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void child_kill(struct child *child)
{
    if (child->fd >= 0)
        close(child->fd);
    child->fd = -1;
    // Our own child: its number stays its own until it has been collected.
    if (child->pidfd)
        (void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0); // it may be gone
    else if (child->pid)
        kill(child->pid, SIGKILL);
}

int child_collect(struct child *child, int *ret_status)
{
    *ret_status = 0;
    struct pollfd gone = {child->pidfd, POLLIN, 0};
    if (child->pidfd && poll(&gone, 1, 0) == 0)
        return -EAGAIN;
    if (child->pidfd) {
        close(child->pidfd);
        child->pidfd = 0;
    } else if (child->pid && waitpid(child->pid, ret_status, WNOHANG) == 0)
        return -EAGAIN;
    child->pid = 0;
    return 0;
}
