#include "coordinator/api/meters.h"

#include <jansson.h>
#include <math.h>

// A hundredth of a decibel.
#define DIGITS 5

static json_t *level_json(float level)
{
    return isfinite(level) ? json_real((double)level) : json_null();
}

static json_t *pair_json(const float levels[2])
{
    return json_pack("[o, o]", level_json(levels[0]), level_json(levels[1]));
}

static json_t *values_json(const struct farm_meter *m, const struct farm_meter_values *v)
{
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "output", m->name, "frame",
                     (json_int_t)v->frame, "missed", (json_int_t)m->missed, "peak",
                     pair_json(v->peak), "true_peak", pair_json(v->true_peak), "momentary",
                     level_json(v->momentary), "short_term", level_json(v->short_term),
                     "integrated", level_json(v->integrated));
}

static bool is_there(const struct farm_meters *meters, uint32_t output)
{
    for (int i = 0; i < meters->count; i++)
        if (meters->outputs[i].output == output)
            return true;
    return false;
}

// Where the newest frame of an output is noted; a place of one that is gone may be taken.
static int64_t *told_of(struct meters_feed *feed, const struct farm_meters *meters, uint32_t output)
{
    int place = -1;
    for (int i = 0; i < PLANNER_OUTPUTS_MAX; i++) {
        if (feed->told[i].output == output)
            return &feed->told[i].frame;
        if (!is_there(meters, feed->told[i].output))
            place = i;
    }
    feed->told[place].output = output; // as many places as outputs: one is free
    feed->told[place].frame = INT64_MIN;
    return &feed->told[place].frame;
}

char *meters_text(struct meters_feed *feed, const struct farm_meters *meters)
{
    json_t *outputs = json_array();
    for (int i = 0; i < meters->count; i++) {
        const struct farm_meter *m = &meters->outputs[i];
        int64_t *told = told_of(feed, meters, m->output);
        for (int k = 0; k < m->value_count; k++)
            if (m->values[k].frame > *told) {
                *told = m->values[k].frame;
                json_array_append_new(outputs, values_json(m, &m->values[k]));
                break;
            }
    }
    json_t *body = NULL;
    if (json_array_size(outputs))
        body = json_pack("{s:s, s:s, s:O}", "type", "broadcast:meters", "channel", feed->name,
                         "outputs", outputs);
    json_decref(outputs);
    char *text = body ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS)) : NULL;
    json_decref(body);
    return text;
}
