#include "edge/mix/programme.h"

#include <stdatomic.h>
#include <stdlib.h>

struct programme_frame *programme_frame_create(int64_t frame, int64_t first_sample,
                                               int sample_count)
{
    size_t sound = (size_t)sample_count * SOUND_CHANNELS * sizeof(int32_t);
    struct programme_frame *p = calloc(1, sizeof *p + sound);
    if (!p)
        return NULL;
    p->frame = frame;
    p->first_sample = first_sample;
    p->sample_count = sample_count;
    p->samples = (int32_t *)(p + 1);
    atomic_init(&p->references, 1);
    return p;
}

struct programme_frame *programme_frame_ref(const struct programme_frame *frame)
{
    struct programme_frame *p = (struct programme_frame *)frame;
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void programme_frame_unref(struct programme_frame **frame)
{
    struct programme_frame *p = *frame;
    if (!p)
        return;
    *frame = NULL;
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    picture_unref(&p->picture);
    free(p);
}
