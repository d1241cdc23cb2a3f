// Properties at an instant, and the ranges they keep (the parser refuses values outside, evaluation
// clamps what an overshooting curve makes of values inside).
// Thread: any; pure functions.
#pragma once

#include "engine/timeline/timeline.h"

struct range {
    double min, max;
};

#define RANGE_POSITION   ((struct range){-100000, 100000})
#define RANGE_SIZE       ((struct range){0.01, 32768})
#define RANGE_ANCHOR     ((struct range){0, 1})
#define RANGE_ROTATION   ((struct range){-360000, 360000})
#define RANGE_CROP       ((struct range){0, 1})
#define RANGE_RADIUS     ((struct range){0, 16384})
#define RANGE_BORDER     ((struct range){0, 1000})
#define RANGE_OPACITY    ((struct range){0, 1})
#define RANGE_GAIN       ((struct range){-96, 24})
#define RANGE_PAN        ((struct range){-1, 1})
#define RANGE_BRIGHTNESS ((struct range){-1, 1})
#define RANGE_CONTRAST   ((struct range){0, 4})
#define RANGE_SATURATION ((struct range){0, 4})

// Share of the way done at share `t` (0..1) of the time.
double easing_apply(const struct easing *easing, double t);
// Value(s) at clip-local position `at`, in timeline frames.
void property_pair(const struct property *property, struct rational at, struct range range,
                   double ret[2]);
double property_single(const struct property *property, struct rational at, struct range range);
