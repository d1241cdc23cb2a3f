#include "coordinator/store/store_private.h"
#include "engine/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int store_take_put(struct store *store, uint64_t channel, const struct store_take *take,
                   struct diagnostic *reterr)
{
    char id[24], sequence[24], at_frame[24];
    const char *values[] = {store_number((int64_t)channel, id),
                            store_number((int64_t)take->sequence, sequence),
                            store_number(take->at_frame, at_frame), take->track, take->text};
    struct transaction t;
    int error = transaction_begin(store, STORE_LANE_FARM, &t, reterr);
    if (error)
        return error;
    error = transaction_query(&t,
                              "insert into takes (channel_id, sequence, at_frame, track, take) "
                              "values ($1, $2, $3, $4, $5) on conflict do nothing",
                              5, values, "takes", NULL, reterr);
    return transaction_end(&t, error, reterr);
}

int store_take_list(struct store *store, struct store_take **ret, size_t *ret_count,
                    struct diagnostic *reterr)
{
    // Nodes need the last two of each track at any frame that they may still make.
    static const char sql[] =
        "select channel_id, sequence, at_frame, track, take from (select *, row_number() over "
        "(partition by channel_id, track order by sequence desc) as place from takes) newest "
        "where place <= 16 order by channel_id, sequence";
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, sql, 0, NULL, "takes", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    struct store_take *list = base_alloc((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = (struct store_take){
            .channel = strtoull(PQgetvalue(r, (int)i, 0), NULL, 10),
            .sequence = strtoull(PQgetvalue(r, (int)i, 1), NULL, 10),
            .at_frame = strtoll(PQgetvalue(r, (int)i, 2), NULL, 10),
            .track = base_strdup(PQgetvalue(r, (int)i, 3)),
            .text = base_strdup(PQgetvalue(r, (int)i, 4)),
        };
    PQclear(r);
    *ret = list;
    *ret_count = count;
    return 0;
}

void store_takes_free(struct store_take *takes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((char *)(uintptr_t)takes[i].track);
        free((char *)(uintptr_t)takes[i].text);
    }
    free(takes);
}
