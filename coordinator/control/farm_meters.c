// What edges say of the levels of their outputs, for those who watch them.
#include "coordinator/control/farm_private.h"

#include <stdio.h>
#include <string.h>

#define ASKED_NS INT64_C(2000000000) // who watches asks ten times a second and more

typedef Vistter__Control__V1__MeterReport meter_report;

size_t farm_metered(const struct farm *farm, int64_t now_ns)
{
    return now_ns - farm->metered_ns < ASKED_NS ? (size_t)farm->metered_count : 0;
}

static void values_copy(const meter_report *report, struct farm_meter *ret)
{
    ret->missed = report->missed;
    for (size_t i = 0; i < report->n_values && i < FARM_METER_VALUES_MAX; i++) {
        const Vistter__Control__V1__MeterValues *v = report->values[i];
        ret->values[ret->value_count++] = (struct farm_meter_values){
            .frame = v->frame,
            .peak = {v->peak_left, v->peak_right},
            .true_peak = {v->true_peak_left, v->true_peak_right},
            .momentary = v->momentary,
            .short_term = v->short_term,
            .integrated = v->integrated,
        };
    }
}

// True: the node is there and says something of the output.
static bool node_meter(const struct farm *farm, const char *name, uint64_t channel, uint32_t output,
                       struct farm_meter *ret)
{
    const struct node *node = *name ? farm_node(farm, name) : NULL;
    const Vistter__Control__V1__ChannelReport *report =
        node && node->alive ? farm_channel_report(node, channel) : NULL;
    for (size_t i = 0; report && i < report->n_meters; i++)
        if (report->meters[i]->output == output) {
            values_copy(report->meters[i], ret);
            return true;
        }
    return false;
}

static void channel_meters(const struct farm *farm, struct farm_meters *ret)
{
    const struct channel *channel = farm_channel_find(farm, ret->channel);
    const struct plan *plan = channel ? channel->current : NULL;
    ret->count = 0;
    for (int i = 0; plan && i < plan->placement.output_count; i++) {
        struct farm_meter *m = &ret->outputs[ret->count];
        const Vistter__Control__V1__OutputPlan *o = plan->message->outputs[i];
        *m = (struct farm_meter){.output = o->output};
        snprintf(m->name, sizeof m->name, "%s", o->name);
        ret->count += node_meter(farm, plan->placement.edges[i], ret->channel, o->output, m) ||
                      node_meter(farm, plan->placement.backups[i], ret->channel, o->output, m);
    }
}

void farm_read_meters(struct farm *farm, struct farm_meters *list, int count, int64_t now_ns)
{
    farm->metered_ns = now_ns;
    farm->metered_count = count < FARM_METERED_MAX ? count : FARM_METERED_MAX;
    for (int i = 0; i < count; i++) {
        if (i < FARM_METERED_MAX)
            farm->metered[i] = list[i].channel;
        channel_meters(farm, &list[i]);
    }
}
