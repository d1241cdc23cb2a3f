// What decoders have ended or hung at. They are code of others, and a file may end them; that costs
// a child process (engine/source/jailed.h), and is noted here. A file that two have ended at is not
// given to another until that is forgotten. Who is killed from outside notes nothing: no file is to
// be blamed for that.
// Thread: any.
#pragma once

#include "engine/base/diagnostic.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define CRASH_NOTES_MAX  64 // more are not kept
#define CRASH_NAME_BYTES 65
#define CRASH_HUNG       SIGXCPU // in place of a signal: it did not get on

struct crash_note {
    char name[CRASH_NAME_BYTES]; // of the content: 64 hexadecimal digits
    int64_t place;               // the picture, counted from 0; -1: it was being opened
    uint64_t id;                 // of this crash: nanoseconds since 1970
    int signal;
};

// `path` ends with a content name, or nothing is noted.
void crash_notes_add(const char *path, int64_t place, int signal);
// -EPERM with words where two have ended at this file, else 0.
int crash_notes_check(const char *path, struct diagnostic *reterr);
int crash_notes_list(struct crash_note ret[CRASH_NOTES_MAX]); // how many
void crash_notes_forget(uint64_t id);
