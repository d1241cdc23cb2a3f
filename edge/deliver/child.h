// Starting, feeding and ending a delivery process. Thread: the outlet hub's I/O thread.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

struct child {
    int pid; // 0: none
    int fd;  // our end of the socket, does not block; -1: none, or it has been killed
};

// Fills `ret` (PATH_MAX bytes) with `program`, or with vistter-deliver beside the running program.
// -ENOENT or -EACCES when it cannot be executed.
int child_program(const char *program, char *ret);
int child_start(const char *program, const char *label, struct child *ret);
// Bytes written, -EAGAIN or another negative errno.
ssize_t child_write(const struct child *child, struct iovec *parts, int count);
// Closes the socket and sends SIGKILL, which a process that waits for a broken disk obeys only when
// the disk answers. So nobody waits for its end: child_collect asks for it.
void child_kill(struct child *child);
// 0: it is gone, or there is none; gives its wait status. -EAGAIN: not yet.
int child_collect(struct child *child, int *ret_status);
