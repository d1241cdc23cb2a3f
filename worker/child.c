#include "worker/child.h"

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

void child_init(struct child *c, const char *what, const char *const *argv, char *settings)
{
    *c = (struct child){
        .what = what, .argv = argv, .settings = settings, .status_fd = -1, .pause_ns = SECOND_NS};
}

// Its standard input brings the settings, its standard output takes what it says (of another's
// program its standard error too). Both are one socket: as large as the settings are, they fit in.
static int spawn(struct child *c, const char *program)
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
    if (!c->settings)
        posix_spawn_file_actions_adddup2(&actions, pair[1], STDERR_FILENO);
    if (c->folder)
        posix_spawn_file_actions_addchdir_np(&actions, c->folder);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char pause[32];
    snprintf(pause, sizeof pause, "--pause-ms=%d", c->pause_ms);
    const char *const ours[] = {c->argv[0], pause, NULL};
    int error = posix_spawn(&c->pid, program, &actions, &attr,
                            (char **)(uintptr_t)(c->settings ? ours : c->argv), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    close(pair[1]);
    const char *settings = c->settings ? c->settings : "";
    if (!error && (send(pair[0], settings, strlen(settings), MSG_NOSIGNAL) < 0 ||
                   shutdown(pair[0], SHUT_WR) || fcntl(pair[0], F_SETFL, O_NONBLOCK)))
        log_warning("child_settings", "error=\"%s\"", strerror(errno)); // it will end
    if (error)
        close(pair[0]);
    c->pid = error ? 0 : c->pid;
    c->status_fd = error ? -1 : pair[0];
    return -error;
}

static void start(struct child *c, int64_t now_ns)
{
    char program[PATH_MAX];
    struct diagnostic d = {0};
    bool ours = !strchr(c->argv[0], '/');
    int error = ours ? program_find(c->argv[0], VISTTER_GATEWAY_FOLDER, program, &d) : 0;
    if (!error) {
        c->status[0] = 0;
        error = spawn(c, ours ? program : c->argv[0]);
        (void)(error && diagnostic_set(&d, error, "child_start", "", "%s", strerror(-error)));
    }
    if (error)
        snprintf(c->error, sizeof c->error, "%s cannot be started: %s", c->what, d.text);
    c->begun = false;
    c->started_ns = now_ns;
    c->retry_ns = now_ns + c->pause_ns;
}

static void take_line(struct child *c)
{
    if (!c->settings && *c->status)
        return;
    memcpy(c->status, c->line, c->line_size);
    c->status[c->line_size] = 0;
    c->begun = c->settings && !strstr(c->status, "\"state\":\"refused\"");
    if (c->settings)
        c->error[0] = 0;
    else
        snprintf(c->error, sizeof c->error, "%s: %.600s", c->what, c->status);
}

static void hear(struct child *c)
{
    char bytes[CHILD_STATUS_BYTES];
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
static bool collect(struct child *c, int flags)
{
    int status;
    pid_t pid = waitpid(c->pid, &status, flags);
    if (!pid || (pid < 0 && errno == EINTR))
        return false;
    hear(c); // what it said last may be why
    if (!*c->error)
        snprintf(c->error, sizeof c->error,
                 WIFSIGNALED(status) ? "%s has crashed (%d)" : "%s has ended (%d)", c->what,
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    close(c->status_fd);
    c->pid = 0;
    c->status_fd = -1;
    c->line_size = 0;
    return true;
}

void child_step(struct child *c, int64_t now_ns)
{
    if (c->pid) {
        hear(c);
        if (!collect(c, WNOHANG))
            return;
        log_warning("child_ended", "reason=\"%s\"", c->error);
        bool steady = now_ns - c->started_ns > STEADY_NS;
        c->pause_ns = steady ? SECOND_NS : 2 * c->pause_ns;
        c->pause_ns = c->pause_ns < PAUSE_NS_MAX ? c->pause_ns : PAUSE_NS_MAX;
        c->pause_ms = c->begun ? (int)(c->pause_ns / 1000000) : 0;
        c->retry_ns = c->begun ? now_ns : now_ns + c->pause_ns;
    }
    if (now_ns >= c->retry_ns)
        start(c, now_ns);
}

int child_stop(struct child *c)
{
    if (!c->pid)
        return 0;
    kill(c->pid, SIGTERM);
    hear(c);
    return collect(c, WNOHANG) ? 0 : -EAGAIN;
}

void child_finish(struct child *c)
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
