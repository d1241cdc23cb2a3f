#include "edge/mix/hash_file.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_FRAMES 30

struct hash_file {
    // -- constant after create
    FILE *file;
    struct queue *queue; // struct programme_frame *
    pthread_t thread;
    // -- atomic
    _Atomic uint64_t dropped;
};

static void release(void *opaque)
{
    struct programme_frame *frame = opaque;
    programme_frame_unref(&frame);
}

static void *run(void *opaque)
{
    struct hash_file *h = opaque;
    void *item;
    bool failed = false;
    while (!queue_pop(h->queue, &item, -1)) {
        const struct programme_frame *f = item;
        int written =
            fprintf(h->file, "%" PRId64 " %016" PRIx64 " %016" PRIx64 "\n", f->frame,
                    picture_checksum(f->picture), sound_checksum(f->samples, f->sample_count));
        if ((written < 0 || fflush(h->file)) && !failed) {
            log_error("hash_file", "error=\"%s\"", strerror(errno));
            failed = true; // said once
        }
        release(item);
    }
    return NULL;
}

int hash_file_create(const char *path, struct hash_file **ret, struct diagnostic *reterr)
{
    struct hash_file *h = base_alloc(sizeof *h);
    h->file = fopen(path, "ae");
    if (!h->file) {
        int error = -errno;
        free(h);
        return diagnostic_set(reterr, error, "hash_file", path, "cannot be written: %s",
                              strerror(-error));
    }
    h->queue = queue_create(QUEUE_FRAMES, release);
    int result = thread_start(&h->thread, "hash", run, h);
    if (result) {
        queue_destroy(&h->queue);
        fclose(h->file);
        free(h);
        return diagnostic_set(reterr, result, "thread", path, "no thread for the hash file");
    }
    *ret = h;
    return 0;
}

void hash_file_destroy(struct hash_file **file)
{
    struct hash_file *h = *file;
    if (!h)
        return;
    *file = NULL;
    queue_close(h->queue);
    thread_join(h->thread);
    queue_destroy(&h->queue);
    fclose(h->file);
    free(h);
}

void hash_file_push(struct hash_file *h, const struct programme_frame *frame)
{
    struct programme_frame *ref = programme_frame_ref(frame);
    if (queue_push(h->queue, ref, 0)) {
        programme_frame_unref(&ref);
        atomic_fetch_add(&h->dropped, 1);
    }
}

uint64_t hash_file_dropped(struct hash_file *h)
{
    return atomic_load(&h->dropped);
}
