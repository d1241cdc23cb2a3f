#include "edge/held.h"

#include "proto/control.pb-c.h"

#include <stdlib.h>
#include <string.h>

void held_finish(struct held *held)
{
    for (int i = 0; i < held->count; i++)
        free(held->plans[i].sealed);
    held->count = 0;
}

void held_take(struct held *held, const struct Vistter__Control__V1__DesiredState *state)
{
    held_finish(held);
    for (size_t i = 0; i < state->n_channels && held->count < HELD_MAX; i++) {
        const Vistter__Control__V1__ChannelPlan *from = state->channels[i];
        uint8_t *sealed = from->committed && from->sealed.len ? malloc(from->sealed.len) : NULL;
        if (!sealed)
            continue;
        memcpy(sealed, from->sealed.data, from->sealed.len);
        held->plans[held->count++] = (struct held_plan){.channel = from->channel,
                                                        .plan_epoch = from->plan_epoch,
                                                        .sealed = sealed,
                                                        .size = from->sealed.len};
    }
}

void held_ask(struct held *held, const struct Vistter__Control__V1__DesiredState *state)
{
    for (int i = 0; i < held->count; i++) {
        struct held_plan *plan = &held->plans[i];
        plan->asked = false;
        for (size_t k = 0; k < state->n_asked; k++)
            plan->asked |= state->asked[k]->channel == plan->channel &&
                           state->asked[k]->plan_epoch == plan->plan_epoch;
    }
}

size_t held_report(const struct held *held, struct Vistter__Control__V1__HeldPlan *messages,
                   struct Vistter__Control__V1__HeldPlan **list)
{
    size_t bytes = 0;
    for (int i = 0; i < held->count; i++) {
        const struct held_plan *plan = &held->plans[i];
        vistter__control__v1__held_plan__init(&messages[i]);
        messages[i].channel = plan->channel;
        messages[i].plan_epoch = plan->plan_epoch;
        if (plan->asked && bytes + plan->size <= HELD_BYTES_MAX) {
            bytes += plan->size;
            messages[i].sealed = (ProtobufCBinaryData){plan->size, plan->sealed};
        }
        list[i] = &messages[i];
    }
    return (size_t)held->count;
}
