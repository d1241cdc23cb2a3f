#include "coordinator/store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int store_output_add(struct store *store, const struct store_output *o, uint64_t *ret_id,
                     struct diagnostic *reterr)
{
    static const char sql[] = "insert into outputs (channel_id, name, width, height, tracks) "
                              "values ($1, $2, $3, $4, $5) returning id";
    char n[4][24], *id = NULL;
    const char *values[] = {store_number((int64_t)o->channel, n[0]), o->name,
                            store_number(o->width, n[1]), store_number(o->height, n[2]),
                            store_number(o->tracks, n[3])};
    int error = store_text(store, sql, 5, values, o->name, &id, reterr);
    if (!error)
        *ret_id = strtoull(id, NULL, 10);
    free(id);
    return error;
}

int store_output_remove(struct store *store, uint64_t channel, const char *name,
                        struct diagnostic *reterr)
{
    char id[24], *gone = NULL;
    const char *values[] = {store_number((int64_t)channel, id), name};
    int error =
        store_text(store, "delete from outputs where channel_id = $1 and name = $2 returning id", 2,
                   values, name, &gone, reterr);
    free(gone);
    return error;
}

int store_output_list(struct store *store, uint64_t channel, struct store_output **ret,
                      size_t *ret_count, struct diagnostic *reterr)
{
    char id[24];
    const char *values[] = {store_number((int64_t)channel, id)};
    PGresult *r;
    int error = store_query(store,
                            "select id, name, width, height, tracks from outputs "
                            "where channel_id = $1 order by id",
                            1, values, "outputs", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    struct store_output *list = calloc(count ? count : 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        list[i] = (struct store_output){.id = strtoull(PQgetvalue(r, (int)i, 0), NULL, 10),
                                        .channel = channel,
                                        .width = atoi(PQgetvalue(r, (int)i, 2)),
                                        .height = atoi(PQgetvalue(r, (int)i, 3)),
                                        .tracks = atoi(PQgetvalue(r, (int)i, 4))};
        snprintf(list[i].name, sizeof list[i].name, "%s", PQgetvalue(r, (int)i, 1));
    }
    PQclear(r);
    if (!list)
        return diagnostic_set(reterr, -ENOMEM, "memory", "outputs", "out of memory");
    *ret = list;
    *ret_count = count;
    return 0;
}

int store_channel_set_slate(struct store *store, uint64_t channel, const char *timeline,
                            const char *sha256, struct diagnostic *reterr)
{
    char id[24], *done = NULL;
    const char *values[] = {store_number((int64_t)channel, id), timeline, sha256};
    int error = store_text(store,
                           "update channels set slate_timeline = $2, slate_sha256 = $3 "
                           "where id = $1 returning id",
                           3, values, "channel", &done, reterr);
    free(done);
    return error;
}
