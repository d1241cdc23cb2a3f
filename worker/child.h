// A program as a child of the worker: started, told its settings, listened to, and started again
// when it ends, after 1 s, then twice as long each time, up to 8 s. Ours (vistter-gateway) say how
// they are, a line of JSON each second; of others (nginx) what they complain of is heard. One of
// ours that had begun is started again at once, and is told to wait for so long itself before it
// opens its source: until then it tells its log that nothing comes, for channels wait for what a
// log does not say. Thread: one.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_STATUS_BYTES 4096

struct child {
    const char *what;        // "the gateway", for people
    const char *const *argv; // lives as long; [0] is a path, or the name of a program of ours
    const char *folder;      // where it runs; lives as long; NULL: where we do
    char *settings;          // JSON, secret; owned; NULL: another's program, which takes none
    pid_t pid;               // 0: does not run
    int status_fd;           // what it says
    int64_t started_ns, retry_ns, pause_ns;
    int pause_ms;                  // that the next one is told
    bool begun;                    // it has said how the source is
    char line[CHILD_STATUS_BYTES]; // that is being read
    size_t line_size;
    char status[CHILD_STATUS_BYTES]; // ours: the newest whole line; others: the first since the
                                     // start
    char error[640];                 // why it does not run, in words; "": it does
};

// Takes the settings (worker/gateway/settings.h). It is started by the first step.
void child_init(struct child *child, const char *what, const char *const *argv, char *settings);
// Hears it, and starts it if it does not run and is due. Does not wait.
void child_step(struct child *child, int64_t now_ns);
// Asks it to end. 0: it has, or does not run; -EAGAIN: not yet, to be called again.
int child_stop(struct child *child);
// Ends it at once, and wipes the settings.
void child_finish(struct child *child);
