#include "coordinator/cli/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

// Up to a line break or the end. One byte more than allowed is read, to notice longer ones.
static int read_line(int fd, char *ret, size_t *ret_size)
{
    size_t size = 0;
    while (size <= SECRET_BYTES_MAX) {
        ssize_t n = read(fd, ret + size, 1); // not beyond the line: the rest is somebody else's
        if (n < 0 && errno == EINTR && !interrupted)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 || ret[size] == '\n')
            break;
        size++;
    }
    *ret_size = size;
    return 0;
}

// With the echo off; a signal first brings it back, then does what it does.
static int read_hidden(int fd, const char *what, char *ret, size_t *ret_size)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = on_signal}, before[4];
    struct termios shown, hidden;
    if (tcgetattr(fd, &shown))
        return -errno;
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &action, &before[i]);
    hidden = shown;
    hidden.c_lflag &= (tcflag_t)~ECHO;
    fprintf(stderr, "%c%s: ", toupper((unsigned char)*what), what + 1);
    int error = tcsetattr(fd, TCSAFLUSH, &hidden) ? -errno : 0;
    if (!error)
        error = read_line(fd, ret, ret_size);
    (void)tcsetattr(fd, TCSANOW, &shown); // nothing else can be done
    fputc('\n', stderr);
    for (int i = 0; i < 4; i++)
        sigaction(signals[i], &before[i], NULL);
    if (interrupted)
        raise(interrupted);
    return error;
}

static int check(char *text, size_t size, struct secret_kind kind, const char *name,
                 struct diagnostic *reterr)
{
    if (size > SECRET_BYTES_MAX)
        return diagnostic_set(reterr, -EINVAL, "key", name, "is longer than %d bytes",
                              SECRET_BYTES_MAX);
    if (size && text[size - 1] == '\r')
        size--;
    text[size] = 0;
    if (!size)
        return diagnostic_set(reterr, -EINVAL, "key", name, "holds no %s in its first line",
                              kind.what);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < ' ' + !kind.may_have_blank || (unsigned char)text[i] >= 0x7f)
            return diagnostic_set(reterr, -EINVAL, "key", name, "holds a character that no %s has",
                                  kind.what);
    return 0;
}

int secret_read(const char *path, struct secret_kind kind, char *ret, struct diagnostic *reterr)
{
    const char *name = path ? path : "standard input";
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    size_t size = 0;
    if (fd < 0)
        return diagnostic_set(reterr, -errno, "key", name, "%s", strerror(errno));
    int error = isatty(fd) ? read_hidden(fd, kind.what, ret, &size) : read_line(fd, ret, &size);
    if (path)
        close(fd);
    if (error)
        error = diagnostic_set(reterr, error, "key", name, "%s", strerror(-error));
    else
        error = check(ret, size, kind, name, reterr);
    if (error)
        explicit_bzero(ret, SECRET_BYTES_MAX + 1);
    return error;
}
