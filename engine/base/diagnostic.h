// A message for the person who has to mend an input: what is wrong, where, and how to mend it.
//
// Functions that read what a user gave take `struct diagnostic *reterr` (may be NULL) as their last
// parameter and fill it whenever they return a negative errno. The API returns it as it is.
// Thread: any; a diagnostic belongs to the caller.
#pragma once

struct diagnostic {
    int error;      // negative errno, as returned
    char code[40];  // stable, for programs: "timeline_unknown_field"
    char path[256]; // where: "tracks[2].clips[0].duration", a file name, or ""
    char text[512]; // one sentence for a person, ends without a full stop
};

// Fills `reterr` and returns `error`, so that callers can write `return diagnostic_set(...)`.
int diagnostic_set(struct diagnostic *reterr, int error, const char *code, const char *path,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

// Writes "path: text" or "text" into `buffer`; returns `buffer`.
const char *diagnostic_format(const struct diagnostic *d, char *buffer, unsigned size);
