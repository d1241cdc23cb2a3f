#include "coordinator/store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Counts and adds with the channel's row locked, so that two at once cannot exceed the bound.
int store_output_add(struct store *store, const struct store_output *o, struct diagnostic *reterr)
{
    char n[4][24], *count = NULL;
    const char *values[] = {store_number((int64_t)o->channel, n[0]), o->name,
                            store_number(o->width, n[1]), store_number(o->height, n[2]),
                            store_number(o->tracks, n[3])};
    struct transaction t;
    int error = transaction_begin(store, STORE_LANE_API, &t, reterr);
    if (error)
        return error;
    error = transaction_query(&t, "select 1 from channels where id = $1 for update", 1, values,
                              "channel", NULL, reterr);
    if (!error)
        error = transaction_text(&t, "select count(*) from outputs where channel_id = $1", 1,
                                 values, "outputs", &count, reterr);
    if (!error && atoi(count) >= STORE_OUTPUTS_MAX)
        error = diagnostic_set(reterr, -EBUSY, "outputs_full", "",
                               "a channel has at most %d further outputs", STORE_OUTPUTS_MAX);
    if (!error)
        error = transaction_query(&t,
                                  "insert into outputs (channel_id, name, width, height, tracks) "
                                  "values ($1, $2, $3, $4, $5)",
                                  5, values, o->name, NULL, reterr);
    free(count);
    return transaction_end(&t, error, reterr);
}

int store_output_remove(struct store *store, uint64_t channel, const char *name,
                        struct diagnostic *reterr)
{
    char id[24], *gone = NULL;
    const char *values[] = {store_number((int64_t)channel, id), name};
    int error =
        store_write(store, "delete from outputs where channel_id = $1 and name = $2 returning id",
                    2, values, name, &gone, reterr);
    free(gone);
    return error;
}

static int take_list(PGresult *r, struct store_output **ret, size_t *ret_count,
                     struct diagnostic *reterr)
{
    size_t count = (size_t)PQntuples(r);
    struct store_output *list = calloc(count ? count : 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        list[i] = (struct store_output){.id = strtoull(PQgetvalue(r, (int)i, 0), NULL, 10),
                                        .channel = strtoull(PQgetvalue(r, (int)i, 1), NULL, 10),
                                        .width = atoi(PQgetvalue(r, (int)i, 3)),
                                        .height = atoi(PQgetvalue(r, (int)i, 4)),
                                        .tracks = atoi(PQgetvalue(r, (int)i, 5))};
        snprintf(list[i].name, sizeof list[i].name, "%s", PQgetvalue(r, (int)i, 2));
    }
    PQclear(r);
    if (!list)
        return diagnostic_set(reterr, -ENOMEM, "memory", "outputs", "out of memory");
    *ret = list;
    *ret_count = count;
    return 0;
}

#define OUTPUT_SQL "select id, channel_id, name, width, height, tracks from outputs "

int store_output_list(struct store *store, uint64_t channel, struct store_output **ret,
                      size_t *ret_count, struct diagnostic *reterr)
{
    char id[24];
    const char *values[] = {store_number((int64_t)channel, id)};
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, OUTPUT_SQL "where channel_id = $1 order by id",
                            1, values, "outputs", &r, reterr);
    return error ? error : take_list(r, ret, ret_count, reterr);
}

int store_output_list_all(struct store *store, struct store_output **ret, size_t *ret_count,
                          struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, OUTPUT_SQL "order by channel_id, id", 0, NULL,
                            "outputs", &r, reterr);
    return error ? error : take_list(r, ret, ret_count, reterr);
}

int store_channel_set_redundancy(struct store *store, uint64_t channel,
                                 enum store_redundancy redundancy, struct diagnostic *reterr)
{
    char id[24], *done = NULL;
    const char *values[] = {store_number((int64_t)channel, id), store_redundancy_name(redundancy)};
    int error = store_write(store, "update channels set redundancy = $2 where id = $1 returning id",
                            2, values, "channel", &done, reterr);
    free(done);
    return error;
}

int store_channel_set_edges(struct store *store, uint64_t channel, int edges,
                            struct diagnostic *reterr)
{
    char id[24], number[24], *done = NULL;
    const char *values[] = {store_number((int64_t)channel, id), store_number(edges, number)};
    int error = store_write(store, "update channels set edges = $2 where id = $1 returning id", 2,
                            values, "channel", &done, reterr);
    free(done);
    return error;
}

int store_channel_set_slate(struct store *store, uint64_t channel, const char *timeline,
                            const char *sha256, struct diagnostic *reterr)
{
    char id[24], *done = NULL;
    const char *values[] = {store_number((int64_t)channel, id), timeline, sha256};
    int error = store_write(store,
                            "update channels set slate_timeline = $2, slate_sha256 = $3 "
                            "where id = $1 returning id",
                            3, values, "channel", &done, reterr);
    free(done);
    return error;
}
