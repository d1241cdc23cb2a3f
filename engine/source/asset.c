#include "engine/source/asset.h"

#include <errno.h>

int asset_resolve(const struct source_config *config, char *path, struct diagnostic *reterr)
{
    int asset = config->clip->asset;
    if (asset < 0 || (size_t)asset >= config->timeline->asset_count)
        return diagnostic_set(reterr, -EINVAL, "source_asset", config->clip->id,
                              "the clip names no asset");
    return config->resolver.resolve(config->resolver.opaque, config->timeline->assets[asset].uri,
                                    path, reterr);
}

struct rational source_time(struct rational time, struct rational duration, bool loop)
{
    if (!loop || duration.num <= 0 || rational_compare(time, duration) < 0)
        return time;
    int64_t times =
        (int64_t)((__int128)time.num * duration.den / ((__int128)time.den * duration.num));
    return rational_add(time, rational_mul(duration, (struct rational){-times, 1}));
}
