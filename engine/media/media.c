#include "engine/media/media.h"

#include "engine/base/program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_BYTES 8192
// No line for this long means that the helper hangs (a step prints far more often).
#define SILENCE_MS 600000

extern char **environ;

struct answer {
    bool done;
    int error;
    struct media_info info;
    void (*progress)(void *opaque, int permille);
    void *opaque;
    struct diagnostic *reterr;
};

static void take_error(struct answer *a, char *line)
{
    char *rest, *save;
    a->error = (int)strtol(line, &rest, 10);
    if (a->error >= 0)
        a->error = -EIO;
    char *code = strtok_r(rest + (*rest == ' '), "\t", &save);
    char *text = code ? strrchr(code + strlen(code) + 1, '\t') : NULL;
    char *path = code ? code + strlen(code) + 1 : NULL;
    if (text)
        *text++ = 0;
    diagnostic_set(a->reterr, a->error, code ? code : "media_failed", text ? path : "", "%s",
                   text ? text : "cannot be read");
    a->done = true;
}

static void take_line(struct answer *a, char *line)
{
    if (!strncmp(line, "progress ", 9)) {
        if (a->progress)
            a->progress(a->opaque, atoi(line + 9));
    } else if (!strncmp(line, "facts ", 6)) {
        a->error = media_info_parse(line + 6, &a->info, a->reterr);
        a->done = true;
    } else if (!strncmp(line, "error ", 6)) {
        take_error(a, line + 6);
    }
}

// Reads lines until the helper closes its end. False: it was silent for too long.
static bool listen_to(int fd, struct answer *a)
{
    char line[LINE_BYTES];
    size_t fill = 0;
    for (;;) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        int ready = poll(&poller, 1, SILENCE_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t n = read(fd, line + fill, sizeof line - 1 - fill);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return true;
        fill += (size_t)n;
        line[fill] = 0;
        char *start = line, *end;
        while ((end = strchr(start, '\n'))) {
            *end = 0;
            take_line(a, start);
            start = end + 1;
        }
        fill -= (size_t)(start - line);
        memmove(line, start, fill);
        if (fill == sizeof line - 1)
            fill = 0; // no line of ours is that long
    }
}

static int spawn_helper(const char *helper, const char *first, const char *second, pid_t *ret_pid,
                        int *ret_fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return -errno;
    char *argv[] = {(char *)helper, (char *)first, (char *)second, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int error = posix_spawn(ret_pid, helper, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return -error;
    }
    *ret_fd = ends[0];
    return 0;
}

static int judge(const struct answer *a, int status, bool in_time, const char *path)
{
    if (!in_time)
        return diagnostic_set(a->reterr, -ETIMEDOUT, "media_slow", path,
                              "the decoder made no progress for %d s and was ended",
                              SILENCE_MS / 1000);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return diagnostic_set(a->reterr, -ETIMEDOUT, "media_slow", path,
                              "took too much processor time; is the file damaged?");
    if (WIFSIGNALED(status))
        return diagnostic_set(a->reterr, -EINVAL, "media_crash", path,
                              "the file crashed the decoder (signal %d); it will not be played",
                              WTERMSIG(status));
    if (!a->done || WEXITSTATUS(status))
        return diagnostic_set(a->reterr, -EINVAL, "media_crash", path,
                              "the decoder gave up (status %d), perhaps for want of memory",
                              WEXITSTATUS(status));
    return a->error;
}

// "--probe" and options must not be mistaken for a file.
static const char *file_name(const char *path, char *buffer)
{
    if (path[0] != '-')
        return path;
    snprintf(buffer, PATH_MAX, "./%s", path);
    return buffer;
}

// Removes what a helper that died was writing. Its names start with its process number.
static void sweep(const char *store, pid_t pid)
{
    char prefix[40], path[PATH_MAX];
    int length = snprintf(prefix, sizeof prefix, ".import-%d-", (int)pid);
    DIR *folder = opendir(store);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (!strncmp(entry->d_name, prefix, (size_t)length) &&
            snprintf(path, sizeof path, "%s/%s", store, entry->d_name) < PATH_MAX)
            (void)unlink(path); // what stays is found by nobody
    if (folder)
        closedir(folder);
}

// `store` NULL: a probe.
static int run_helper(const char *path, const char *store, struct answer *a)
{
    char buffer[PATH_MAX];
    const char *first = store ? file_name(path, buffer) : "--probe";
    const char *second = store ? store : file_name(path, buffer);
    char helper[PATH_MAX];
    pid_t pid;
    int fd = -1, status = 0,
        error = program_find("vistter-import", VISTTER_IMPORT_FOLDER, helper, a->reterr);
    if (error < 0)
        return error;
    error = spawn_helper(helper, first, second, &pid, &fd);
    if (error < 0)
        return diagnostic_set(a->reterr, error, "media_helper", helper, "cannot be started: %s",
                              strerror(-error));
    bool in_time = listen_to(fd, a);
    close(fd);
    if (!in_time)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (store && (!in_time || WIFSIGNALED(status)))
        sweep(store, pid);
    return judge(a, status, in_time, path);
}

int media_probe(const char *path, struct media_info *ret, struct diagnostic *reterr)
{
    struct answer a = {.reterr = reterr};
    int error = run_helper(path, NULL, &a);
    if (error >= 0)
        *ret = a.info;
    return error;
}

int media_import(const char *path, const char *store, struct media_info *ret,
                 void (*progress)(void *opaque, int permille), void *opaque,
                 struct diagnostic *reterr)
{
    struct answer a = {.reterr = reterr, .progress = progress, .opaque = opaque};
    int error = run_helper(path, store, &a);
    if (error >= 0)
        *ret = a.info;
    return error;
}
