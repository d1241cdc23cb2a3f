// What it costs to start playing an asset: measured once, at import, and kept among its facts.
#pragma once

#include "engine/media/media.h"

// Fills `start_known` and what belongs to it, for a file whose index stands beside it, by starting
// both ways; leaves them alone when that cannot be decoded.
void start_cost_measure(const char *path, struct media_info *info);
