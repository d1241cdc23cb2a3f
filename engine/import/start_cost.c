#include "engine/import/start_cost.h"

#include "engine/source/decode.h"

#include <time.h>

// Processor time, so that what else the machine does is not measured. The thread's: a decoder told
// so works in its caller's, and the process's clock goes by ticks while a limit of it is in force.
static int64_t spent_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

// The picture farthest behind its key in order of presentation, as where most is to be decoded.
static int64_t farthest(const struct media_index *index)
{
    int64_t result = 0, most = 0, since = 0, key = index_key_before(index, 0);
    for (int64_t i = 1; i < index->picture_count; i++) {
        int64_t at = index_key_before(index, i);
        if (at != key)
            since = i;
        key = at;
        if (i - since > most && !index_is_damaged(index, i)) {
            most = i - since;
            result = i;
        }
    }
    return result;
}

// From nothing to picture `i`; i < 0: to the farthest. Negative: it does not decode.
static int64_t start_us(const char *path, int64_t i)
{
    struct picture_decoder *decoder = NULL;
    struct picture *picture = NULL;
    int64_t from = spent_us();
    if (picture_decoder_open(path, 1, &decoder, NULL))
        return -1;
    if (i < 0) {
        int64_t before = spent_us();
        i = farthest(picture_decoder_index(decoder));
        from += spent_us() - before;
    }
    int error = picture_decoder_get(decoder, i, &picture, NULL);
    int64_t us = spent_us() - from;
    picture_unref(&picture);
    picture_decoder_close(&decoder);
    return error < 0 ? -1 : us;
}

void start_cost_measure(const char *path, struct media_info *info)
{
    int64_t first = start_us(path, 0), slowest = info->still ? first : start_us(path, -1);
    if (first < 0 || slowest < 0)
        return;
    info->start_known = true;
    info->start_first_us = first;
    info->start_slowest_us = slowest;
}
