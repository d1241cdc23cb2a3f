#include "worker/render/loans.h"

#include "engine/base/thread.h"

#include <stdlib.h>
#include <string.h>

void loans_add(struct loans *l, int64_t frame, struct block *block)
{
    for (int i = 0; i < l->count; i++)
        if (l->items[i].block == block)
            return; // sent once more
    if (l->count == l->capacity) {
        int capacity = l->capacity ? 2 * l->capacity : 64;
        struct loan *items = base_alloc((size_t)capacity * sizeof *items);
        if (l->count)
            memcpy(items, l->items, (size_t)l->count * sizeof *items);
        free(l->items);
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count++] = (struct loan){frame, block_ref(block)};
}

void loans_end(struct loans *l, int64_t keep)
{
    int kept = 0;
    for (int i = 0; i < l->count; i++) {
        if (l->items[i].frame >= keep)
            l->items[kept++] = l->items[i];
        else
            block_unref(&l->items[i].block);
    }
    l->count = kept;
}

void loans_abandon(struct loans *l)
{
    for (int i = 0; i < l->count; i++) {
        block_abandon(l->items[i].block);
        block_unref(&l->items[i].block);
    }
    free(l->items);
    *l = (struct loans){0};
}
