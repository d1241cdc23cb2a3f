#include "engine/base/crash_note.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME_DIGITS (CRASH_NAME_BYTES - 1)
#define BARRED      2

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// -- guarded by lock
static struct crash_note notes[CRASH_NOTES_MAX];
static int count;

// NULL: no content is named.
static const char *content_of(const char *path)
{
    size_t length = strlen(path);
    const char *name = length < NAME_DIGITS ? "" : path + length - NAME_DIGITS;
    return strspn(name, "0123456789abcdef") == NAME_DIGITS ? name : NULL;
}

void crash_notes_add(const char *path, int64_t place, int signal)
{
    const char *name = content_of(path);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    pthread_mutex_lock(&lock);
    if (name && count < CRASH_NOTES_MAX) {
        struct crash_note *note = &notes[count++];
        note->place = place;
        note->signal = signal;
        note->id = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
        memcpy(note->name, name, CRASH_NAME_BYTES);
    }
    pthread_mutex_unlock(&lock);
}

int crash_notes_check(const char *path, struct diagnostic *reterr)
{
    const char *name = content_of(path);
    struct crash_note last = {0};
    int found = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; name && i < count; i++) {
        if (strcmp(notes[i].name, name) != 0)
            continue;
        found++;
        last = notes[i];
    }
    pthread_mutex_unlock(&lock);
    if (found < BARRED)
        return 0;
    return diagnostic_set(reterr, -EPERM, "asset_suspect", name,
                          "has %s decoders twice here, at last at its picture %lld; its clips show "
                          "their fallbacks until the coordinator lets it be tried again",
                          last.signal == CRASH_HUNG ? "hung" : "ended", (long long)last.place);
}

int crash_notes_list(struct crash_note ret[CRASH_NOTES_MAX])
{
    pthread_mutex_lock(&lock);
    memcpy(ret, notes, (size_t)count * sizeof *notes);
    int result = count;
    pthread_mutex_unlock(&lock);
    return result;
}

void crash_notes_forget(uint64_t id)
{
    pthread_mutex_lock(&lock);
    for (int i = count - 1; i >= 0; i--)
        if (notes[i].id == id)
            notes[i] = notes[--count];
    pthread_mutex_unlock(&lock);
}
