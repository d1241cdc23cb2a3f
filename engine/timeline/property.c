#include "engine/timeline/property.h"

#include "engine/timeline/arithmetic.h"

// One coordinate of a cubic from 0 to 1 with the given inner control values.
static double cubic(double first, double second, double s)
{
    double rest = 1 - s;
    return 3 * rest * rest * s * first + 3 * rest * s * s * second + s * s * s;
}

// The curve's x never falls (x1 and x2 are in 0..1), so bisection finds its parameter; 60 halvings
// are past the resolution of a double. Their number is fixed: no tolerance decides.
static double bezier(const struct easing *easing, double t)
{
    double low = 0, high = 1;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (cubic(easing->x1, easing->x2, middle) < t)
            low = middle;
        else
            high = middle;
    }
    return cubic(easing->y1, easing->y2, (low + high) / 2);
}

double easing_apply(const struct easing *easing, double t)
{
    double rest = 1 - t;
    switch (easing->kind) {
    case EASING_HOLD:
        return 0;
    case EASING_IN:
        return t * t * t;
    case EASING_OUT:
        return 1 - rest * rest * rest;
    case EASING_IN_OUT:
        return t * t * (3 - 2 * t);
    case EASING_BEZIER:
        return bezier(easing, t);
    case EASING_LINEAR:
        break;
    }
    return t;
}

static double clamp(double value, struct range range)
{
    return value < range.min ? range.min : value > range.max ? range.max : value;
}

// Index of the last key at or before `at`; 0 when there is none.
static size_t key_before(const struct property *property, struct rational at)
{
    size_t low = 0, high = property->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (rational_compare(property->keys[middle].at, at) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void property_pair(const struct property *property, struct rational at, struct range range,
                   double ret[2])
{
    const struct keyframe *key = &property->keys[0];
    double done = 0;
    if (property->count > 1) {
        size_t i = key_before(property, at);
        key = &property->keys[i];
        if (i + 1 < property->count && rational_compare(key->at, at) < 0)
            done = easing_apply(&key->easing,
                                rational_double(rational_difference(at, key->at)) /
                                    rational_double(rational_difference(key[1].at, key->at)));
    }
    for (int i = 0; i < 2; i++) {
        double value = key->value[i];
        if (done != 0)
            value += (key[1].value[i] - value) * done;
        ret[i] = clamp(value, range);
    }
}

double property_single(const struct property *property, struct rational at, struct range range)
{
    double pair[2];
    property_pair(property, at, range, pair);
    return pair[0];
}
