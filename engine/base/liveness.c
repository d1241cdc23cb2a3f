#include "engine/base/liveness.h"

bool liveness_hung(struct liveness *mark, uint64_t done, bool has_work, int64_t now_ns,
                   int64_t patience_ns)
{
    if (!has_work || !mark->since_ns || mark->done != done)
        *mark = (struct liveness){done, has_work ? now_ns : 0};
    return has_work && now_ns - mark->since_ns >= patience_ns;
}
