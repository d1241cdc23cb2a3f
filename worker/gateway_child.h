// A gateway (worker/gateway/main.c) as a child of the worker: started, told its settings, listened
// to, and started again when it ends, after 1 s, then twice as long each time, up to 8 s.
// Thread: one.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define GATEWAY_STATUS_BYTES 4096

struct gateway_child {
    char *settings; // JSON, secret; owned
    pid_t pid;      // 0: does not run
    int status_fd;  // what it says
    int64_t started_ns, retry_ns, pause_ns;
    char line[GATEWAY_STATUS_BYTES]; // that is being read
    size_t line_size;
    char status[GATEWAY_STATUS_BYTES]; // the newest whole line; "": none yet
    char error[640];                   // why it does not run, in words; "": it does
};

// Takes the settings, as worker/gateway/settings.h has them. It is started by the first step.
void gateway_child_init(struct gateway_child *child, char *settings);
// Hears it, and starts it if it does not run and is due. Does not wait.
void gateway_child_step(struct gateway_child *child, int64_t now_ns);
// Asks it to end. 0: it has, or does not run; -EAGAIN: not yet, to be called again.
int gateway_child_stop(struct gateway_child *child);
// Ends it at once, and wipes the settings.
void gateway_child_finish(struct gateway_child *child);
