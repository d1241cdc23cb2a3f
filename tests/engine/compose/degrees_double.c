// Stands in for the timeline module's degrees_sin_cos until that library is linked.
#include "engine/timeline/timeline.h"

#include <math.h>

void degrees_sin_cos(double degrees, double *ret_sin, double *ret_cos)
{
    *ret_sin = sin(degrees * M_PI / 180);
    *ret_cos = cos(degrees * M_PI / 180);
}
