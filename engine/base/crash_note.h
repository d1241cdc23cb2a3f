// What a program was at when it ended. Decoders are code of others, and a file may end them:
// threads say which file they are at; when one of them gets a fatal signal, the handler notes that
// in a file that is mapped into memory, and the program ends as it would have. Started again, it
// knows. Who is killed from outside, or loses power, notes nothing: nothing is to be blamed for
// that. A thread that hangs at a file (hang.h) is sent CRASH_HUNG by whoever watches, and all goes
// the same way.
//
// One file per process. Before crash_notes_open, and in programs that never call it, nothing is
// noted. Thread: any.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/hang.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define CRASH_NOTES_MAX  64 // more are not kept
#define CRASH_NAME_BYTES 65
#define CRASH_HUNG       SIGXCPU // its processor time is used up

struct crash_note {
    char name[CRASH_NAME_BYTES]; // of the content: 64 hexadecimal digits
    int64_t place;               // the picture, counted from 0; -1: it was being opened
    uint64_t id;                 // of this crash: nanoseconds since 1970
    int signal;
};

// Makes the file if need be; installs handlers for SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and
// CRASH_HUNG that go on to what was there before. Before other threads are started.
int crash_notes_open(const char *path, struct diagnostic *reterr);
int crash_notes_list(struct crash_note ret[CRASH_NOTES_MAX]); // how many
bool crash_notes_find(const char *name, struct crash_note *ret);
void crash_notes_forget(uint64_t id);

// From here on until crash_past the calling thread is at a file of media: `path` stays valid, and
// ends with a content name, or nothing will be noted.
void crash_at(const char *path, int64_t place);
// What it does there next, until it says something else; nothing where it is at no file. At first
// it starts. `pixels`: of the picture that it makes, 0: none.
void crash_step(enum hang_kind kind, int64_t pixels);
void crash_past(void);
// Looks at all threads that are at a file, and ends the program by CRASH_HUNG, which the first one
// that hangs is sent. Each 100 ms or so; by one thread.
void crash_notes_watch(int64_t now_ns);
