#include "engine/media/index_private.h"

#include <errno.h>
#include <stdlib.h>

static int compare_numbers(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int compare_packets(const void *a, const void *b)
{
    struct seen *const *x = a, *const *y = b;
    return ((*x)->packet > (*y)->packet) - ((*x)->packet < (*y)->packet);
}

int damage_spread(struct seen *seen, int64_t count, int64_t *broken, int64_t broken_count)
{
    if (!broken_count)
        return 0;
    struct seen **order = calloc((size_t)count + 1, sizeof *order);
    if (!order)
        return -ENOMEM;
    for (int64_t i = 0; i < count; i++)
        order[i] = &seen[i];
    qsort(order, (size_t)count, sizeof *order, compare_packets);
    qsort(broken, (size_t)broken_count, sizeof *broken, compare_numbers);
    bool leans = false, healed = false; // on something broken; by the last key frame
    int64_t next = 0, key_pts = 0;
    for (int64_t i = 0; i < count; i++) {
        struct seen *s = order[i];
        bool hit = false, here = false; // since the picture before; in this one itself
        for (; next < broken_count && broken[next] <= s->packet; next++) {
            hit = true;
            here = broken[next] == s->packet;
        }
        if (s->key && !here) {
            healed = leans || hit;
            key_pts = s->pts;
            leans = false;
        } else {
            leans = leans || hit;
        }
        s->damaged = leans || (healed && s->pts != AV_NOPTS_VALUE && s->pts < key_pts);
    }
    free(order);
    return 0;
}

int damage_list(struct media_index *x, const bool *damaged)
{
    int64_t count = 0;
    for (int64_t i = 0; i < x->picture_count; i++)
        count += damaged[i] && (!i || !damaged[i - 1]);
    x->damages = calloc((size_t)count + 1, sizeof *x->damages);
    if (!x->damages)
        return -ENOMEM;
    for (int64_t i = 0; i < x->picture_count; i++) {
        if (!damaged[i])
            continue;
        if (!i || !damaged[i - 1])
            x->damages[x->damage_count++].first = i;
        x->damages[x->damage_count - 1].end = i + 1;
    }
    return 0;
}
