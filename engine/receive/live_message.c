#include "engine/receive/live_message.h"

struct list {
    struct take_event events[TAKES_MAX];
    size_t count;
};

static void add(struct list *list, uint64_t sequence, int64_t at_frame, const char *take)
{
    const struct take_event *last = list->count ? &list->events[list->count - 1] : NULL;
    if (list->count < TAKES_MAX &&
        (!last || (sequence > last->sequence && at_frame >= last->at_frame)))
        list->events[list->count++] = (struct take_event){sequence, at_frame, take};
}

struct take_log *live_message_read(const Vistter__Control__V1__DesiredState *state,
                                   uint64_t channel, const struct take_log *known,
                                   uint64_t *ret_stored)
{
    struct list list = {.count = 0};
    uint64_t stored = 0;
    for (size_t i = 0; i < state->n_live; i++) {
        const Vistter__Control__V1__LiveLog *log = state->live[i];
        if (log->channel != channel)
            continue;
        stored = log->stored;
        for (size_t k = 0; k < log->n_takes; k++)
            add(&list, log->takes[k]->sequence, log->takes[k]->at_frame, log->takes[k]->take);
    }
    for (size_t i = 0; known && i < known->count; i++)
        if (known->events[i].sequence > stored)
            add(&list, known->events[i].sequence, known->events[i].at_frame, known->events[i].take);
    if (ret_stored)
        *ret_stored = stored;
    return list.count ? take_log_create(list.events, list.count) : NULL;
}
