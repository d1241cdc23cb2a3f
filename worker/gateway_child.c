#include "worker/gateway_child.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NS    INT64_C(1000000000)
#define PAUSE_NS_MAX (8 * SECOND_NS)
#define STEADY_NS    (30 * SECOND_NS) // who has run so long may be started again soon

extern char **environ;

void gateway_child_init(struct gateway_child *c, char *settings)
{
    *c = (struct gateway_child){.settings = settings, .status_fd = -1, .pause_ns = SECOND_NS};
}

// Its standard input brings the settings, its standard output takes what it says. Both are one
// socket: as large as the settings are, they fit in.
static int spawn_gateway(const char *program, const char *settings, pid_t *ret_pid, int *ret_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -errno;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char *argv[] = {(char *)(uintptr_t) "vistter-gateway", NULL};
    int error = posix_spawn(ret_pid, program, &actions, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    close(pair[1]);
    if (!error && (send(pair[0], settings, strlen(settings), MSG_NOSIGNAL) < 0 ||
                   shutdown(pair[0], SHUT_WR) || fcntl(pair[0], F_SETFL, O_NONBLOCK)))
        log_warning("gateway_settings", "error=\"%s\"", strerror(errno)); // it will end
    if (error)
        close(pair[0]);
    *ret_fd = pair[0];
    return -error;
}

static void start(struct gateway_child *c, int64_t now_ns)
{
    char program[PATH_MAX];
    struct diagnostic d = {0};
    int error = program_find("vistter-gateway", VISTTER_GATEWAY_FOLDER, program, &d);
    if (!error) {
        error = spawn_gateway(program, c->settings, &c->pid, &c->status_fd);
        (void)(error && diagnostic_set(&d, error, "gateway_start", "", "%s", strerror(-error)));
    }
    if (error)
        snprintf(c->error, sizeof c->error, "the gateway cannot be started: %s", d.text);
    c->started_ns = now_ns;
    c->retry_ns = now_ns + c->pause_ns;
}

static void take_line(struct gateway_child *c)
{
    memcpy(c->status, c->line, c->line_size);
    c->status[c->line_size] = 0;
    c->error[0] = 0;
}

static void hear(struct gateway_child *c)
{
    char bytes[GATEWAY_STATUS_BYTES];
    ssize_t n;
    while ((n = read(c->status_fd, bytes, sizeof bytes)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] != '\n') {
                if (c->line_size < sizeof c->line - 1)
                    c->line[c->line_size++] = bytes[i];
                continue;
            }
            take_line(c);
            c->line_size = 0;
        }
    }
}

// Whether it has ended.
static bool collect(struct gateway_child *c, int flags)
{
    int status;
    pid_t pid = waitpid(c->pid, &status, flags);
    if (!pid || (pid < 0 && errno == EINTR))
        return false;
    // What it said last may be why.
    if (!*c->error)
        snprintf(c->error, sizeof c->error,
                 WIFSIGNALED(status) ? "the gateway has crashed (%d)"
                                     : "the gateway has ended (%d)",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    close(c->status_fd);
    c->pid = 0;
    c->status_fd = -1;
    c->line_size = 0;
    return true;
}

void gateway_child_step(struct gateway_child *c, int64_t now_ns)
{
    if (c->pid) {
        hear(c);
        if (!collect(c, WNOHANG))
            return;
        log_warning("gateway_ended", "reason=\"%s\"", c->error);
        bool steady = now_ns - c->started_ns > STEADY_NS;
        c->pause_ns = steady ? SECOND_NS : 2 * c->pause_ns;
        c->pause_ns = c->pause_ns < PAUSE_NS_MAX ? c->pause_ns : PAUSE_NS_MAX;
        c->retry_ns = now_ns + c->pause_ns;
    }
    if (now_ns >= c->retry_ns)
        start(c, now_ns);
}

int gateway_child_stop(struct gateway_child *c)
{
    if (!c->pid)
        return 0;
    kill(c->pid, SIGTERM);
    hear(c);
    return collect(c, WNOHANG) ? 0 : -EAGAIN;
}

void gateway_child_finish(struct gateway_child *c)
{
    if (c->pid) {
        kill(c->pid, SIGKILL);
        while (!collect(c, 0)) {
        }
    }
    if (c->settings)
        explicit_bzero(c->settings, strlen(c->settings));
    free(c->settings);
    c->settings = NULL;
}
