#include "edge/mix/desk.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct seat {
    struct plan_output output;
    struct mixer *mixer;
};

struct desk {
    uint32_t epoch;
    struct rate rate;
    int count;
    struct seat seats[PLAN_OUTPUTS_MAX];
};

struct desk *desk_create(void)
{
    return base_alloc(sizeof(struct desk));
}

void desk_destroy(struct desk **desk)
{
    struct desk *d = *desk;
    if (!d)
        return;
    *desk = NULL;
    for (int i = 0; i < d->count; i++)
        mixer_destroy(&d->seats[i].mixer);
    free(d);
}

uint32_t desk_epoch(const struct desk *desk)
{
    return desk->epoch;
}

// The mixer that made this output under the plan before, or NULL.
static struct mixer *take_mixer(struct desk *d, const struct plan *p, const struct plan_output *o)
{
    for (int i = 0; i < d->count; i++) {
        struct seat *s = &d->seats[i];
        if (s->mixer && s->output.output == o->output && s->output.width == o->width &&
            s->output.height == o->height && d->rate.num == p->rate.num &&
            d->rate.den == p->rate.den) {
            struct mixer *mixer = s->mixer;
            s->mixer = NULL;
            return mixer;
        }
    }
    return NULL;
}

int desk_follow(struct desk *d, const struct plan *p)
{
    if (d->epoch == p->epoch)
        return 0;
    struct seat seats[PLAN_OUTPUTS_MAX] = {0};
    int error = 0;
    for (int i = 0; i < p->output_count; i++) {
        const struct plan_output *o = &p->outputs[i];
        struct mixer_group groups[MIXER_GROUPS_MAX];
        seats[i].output = *o;
        seats[i].mixer = take_mixer(d, p, o);
        if (!seats[i].mixer)
            seats[i].mixer = mixer_create(o->width, o->height, p->rate);
        if (!seats[i].mixer) {
            error = -ENOMEM;
            continue;
        }
        for (int k = 0; k < o->group_count; k++)
            groups[k] = (struct mixer_group){p->groups[o->groups[k]].group,
                                             p->groups[o->groups[k]].from_base};
        mixer_set_groups(seats[i].mixer, groups, o->group_count);
    }
    for (int i = 0; i < d->count; i++)
        mixer_destroy(&d->seats[i].mixer);
    memcpy(d->seats, seats, sizeof seats);
    d->count = p->output_count;
    d->rate = p->rate;
    d->epoch = error ? 0 : p->epoch; // tried again with the next frame
    return error;
}

int desk_mix(struct desk *d, int64_t n, const struct intake_frame *inputs,
             const struct mixer_slate *slates, struct programme_frame **frames,
             struct desk_result *ret_result)
{
    *ret_result = (struct desk_result){0};
    for (int i = 0; i < d->count; i++) {
        const struct plan_output *o = &d->seats[i].output;
        struct mixer_result *r = &ret_result->output[i];
        struct intake_frame shown[MIXER_GROUPS_MAX];
        for (int k = 0; k < o->group_count; k++)
            shown[k] = inputs[o->groups[k]];
        int error = mixer_frame(d->seats[i].mixer, n, shown, &slates[i], &frames[i], r);
        if (error) {
            while (i-- > 0)
                programme_frame_unref(&frames[i]);
            return error;
        }
        ret_result->late += r->late;
        ret_result->concealed = ret_result->concealed || r->concealed;
    }
    return 0;
}
