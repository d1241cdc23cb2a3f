// Preloaded into a recorder: fdatasync of a file below a folder named "eio" fails with EIO while
// that folder has a file "now", as a broken disk's would.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 8);
    path[length > 0 ? length : 0] = 0;
    char *folder = strstr(path, "/eio/");
    if (folder) {
        strcpy(folder + 5, "now");
        if (!access(path, F_OK)) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(SYS_fdatasync, fd);
}
