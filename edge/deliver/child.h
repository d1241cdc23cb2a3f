// Starting, feeding and ending a delivery process. Thread: the outlet hub's I/O thread.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#define CHILD_NAME_BYTES 64

struct child {
    int pid;   // 0: none
    int fd;    // our end of the socket, does not block; -1: none, or it has been killed
    int pidfd; // of one that was adopted: not our own child, so its number may pass on; else 0
};

// Names what belongs to the edge with this folder, "" when there is none.
void child_family(const char *folder, char ret[CHILD_NAME_BYTES]);

// Fills `ret` (PATH_MAX bytes) with `program`, or with vistter-deliver beside the running program.
// -ENOENT or -EACCES when it cannot be executed.
int child_program(const char *program, char *ret);
int child_start(const char *program, const char *family, const char *label, struct child *ret);
// One that has outlived the edge that started it, and listens for the next. -ENOENT.
int child_adopt(const char *family, const char *label, struct child *ret);
// Lets go of it: it sees the end of its socket.
void child_leave(struct child *child);
// Bytes written, -EAGAIN or another negative errno.
ssize_t child_write(const struct child *child, struct iovec *parts, int count);
// Closes the socket and sends SIGKILL, which a process that waits for a broken disk obeys only when
// the disk answers. So nobody waits for its end: child_collect asks for it.
void child_kill(struct child *child);
// 0: it is gone, or there is none; gives its wait status. -EAGAIN: not yet.
int child_collect(struct child *child, int *ret_status);
