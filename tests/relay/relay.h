// Starts a relay of datagrams (udp_relay.c), for tests of links over a bad network.
#pragma once

#include "tests/check.h"

#include <stdlib.h>
#include <unistd.h>

struct relay {
    const char *program;
    int target;                        // port on loopback
    const char *loss, *delay, *jitter; // percent each way, ms, ms more at most
};
// Ends when the write end of *ret_stdin is closed. `*ret_port`: where it listens.
static inline pid_t relay_start(const struct relay *relay, int *ret_stdin, int *ret_port)
{
    int in[2], out[2];
    char target[16], line[32] = "";
    snprintf(target, sizeof target, "%d", relay->target);
    CHECK_OK(pipe(in));
    CHECK_OK(pipe(out));
    pid_t pid = fork();
    if (!pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execl(relay->program, relay->program, "0", target, relay->loss, relay->delay, "42",
              relay->jitter, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    CHECK(read(out[0], line, sizeof line - 1), >, 5);
    close(out[0]);
    *ret_stdin = in[1];
    *ret_port = atoi(line + 5);
    return pid;
}
