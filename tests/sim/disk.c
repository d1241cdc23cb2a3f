// What nodes remember: stands for engine/link/state_file.c. What was not synced is lost.
#include "tests/sim/world.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <string.h>

void state_file_write(struct state_file *file, const uint8_t *bytes, size_t size)
{
    struct world *w = file->world;
    struct disk *disk = &w->disks[file->peer];
    int64_t takes = world_between(w, SIM_MS, 60 * SIM_MS);
    if (world_buggify(w, 20))
        takes += world_between(w, 0, 2 * SIM_S);
    blob_unref(&disk->waiting);
    disk->waiting = blob_make(bytes, size);
    world_after(w, takes, EVENT_SYNC, file->peer, 0, 0);
}

void disk_sync(struct world *w, int peer)
{
    struct disk *disk = &w->disks[peer];
    if (!disk->waiting)
        return;
    blob_unref(&disk->generations[1]);
    disk->generations[1] = disk->generations[0];
    disk->generations[0] = disk->waiting;
    disk->waiting = NULL;
}

void disk_lose(struct world *w, int peer, bool newest)
{
    blob_unref(&w->disks[peer].waiting);
    if (newest)
        blob_unref(&w->disks[peer].generations[0]);
}

int state_file_read(struct state_file *file, int generation, uint8_t **ret, size_t *ret_size)
{
    const struct blob *blob = file->world->disks[file->peer].generations[generation];
    if (!blob)
        return -ENOENT;
    *ret = base_alloc(blob->size);
    memcpy(*ret, blob->bytes, blob->size);
    *ret_size = blob->size;
    return 0;
}

void disk_finish(struct world *w, int peer)
{
    disk_lose(w, peer, true);
    blob_unref(&w->disks[peer].generations[1]);
}
