// What it costs to start playing an asset: measured once, at import, and kept among its facts.
#pragma once

#include "engine/media/media.h"

// Fills `start_known` and what belongs to it for a file whose index is there; leaves them alone
// when its pictures do not decode. As long as its slowest start, and once its first.
void start_cost_measure(const char *path, struct media_info *info);
