#include "coordinator/store/store_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {"rtmp", "recording", "preview"};

// What a sealed stream key is bound to: it opens at this place only.
static void key_place(uint64_t channel, const char *name, char *buffer, size_t size)
{
    snprintf(buffer, size, "destinations/%" PRIu64 "/%s", channel, name);
}

int store_destination_add(struct store *store, const struct store_destination *d, uint64_t *ret_id,
                          struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into destinations (channel_id, name, kind, url, sealed_key, output_id, backup_url) "
        "values ($1, $2, $3::destination_kind, $4, $5::bytea, $6, $7) returning id";
    char channel[24], output[24], place[128], *hex = NULL, *id = NULL;
    if (d->key[0]) {
        uint8_t *sealed;
        size_t size;
        key_place(d->channel, d->name, place, sizeof place);
        if (store_seal(store, place, (const uint8_t *)d->key, strlen(d->key), &sealed, &size))
            return diagnostic_set(reterr, -ENOMEM, "memory", d->name, "the key cannot be sealed");
        hex = store_bytea(sealed, size);
        free(sealed);
    }
    const char *values[] = {store_number((int64_t)d->channel, channel),
                            d->name,
                            kind_names[d->kind],
                            d->url,
                            hex,
                            d->output ? store_number((int64_t)d->output, output) : NULL,
                            d->backup_url};
    int error = store_write(store, sql, 7, values, d->name, &id, reterr);
    free(hex);
    if (!error)
        *ret_id = strtoull(id, NULL, 10);
    free(id);
    return error;
}

int store_destination_remove(struct store *store, uint64_t channel, const char *name,
                             struct diagnostic *reterr)
{
    char id[24], *gone = NULL;
    const char *values[] = {store_number((int64_t)channel, id), name};
    int error = store_write(
        store, "delete from destinations where channel_id = $1 and name = $2 returning id", 2,
        values, name, &gone, reterr);
    free(gone);
    return error;
}

static int read_destination(struct store *store, const PGresult *r, int row,
                            struct store_destination *ret)
{
    *ret = (struct store_destination){
        .id = strtoull(PQgetvalue(r, row, 0), NULL, 10),
        .channel = strtoull(PQgetvalue(r, row, 1), NULL, 10),
        .output = strtoull(PQgetvalue(r, row, 6), NULL, 10),
    };
    snprintf(ret->name, sizeof ret->name, "%s", PQgetvalue(r, row, 2));
    for (int i = 0; i < 3; i++)
        if (!strcmp(PQgetvalue(r, row, 3), kind_names[i]))
            ret->kind = (enum store_destination_kind)i;
    snprintf(ret->url, sizeof ret->url, "%s", PQgetvalue(r, row, 4));
    snprintf(ret->backup_url, sizeof ret->backup_url, "%s", PQgetvalue(r, row, 7));
    if (PQgetisnull(r, row, 5))
        return 0;
    uint8_t *sealed = NULL, *plain = NULL;
    size_t size, plain_size;
    char place[128];
    key_place(ret->channel, ret->name, place, sizeof place);
    int error = store_bytea_parse(PQgetvalue(r, row, 5), &sealed, &size);
    if (!error)
        error = store_unseal(store, place, sealed, size, &plain, &plain_size);
    if (!error) {
        snprintf(ret->key, sizeof ret->key, "%s", (char *)plain);
        explicit_bzero(plain, plain_size);
    }
    free(sealed);
    free(plain);
    return error;
}

static int take_list(struct store *store, PGresult *r, struct store_destination **ret,
                     size_t *ret_count, struct diagnostic *reterr)
{
    size_t count = (size_t)PQntuples(r);
    struct store_destination *list = calloc(count ? count : 1, sizeof *list);
    int error = 0;
    if (!list)
        error = diagnostic_set(reterr, -ENOMEM, "memory", "destinations", "out of memory");
    for (size_t i = 0; i < count && !error; i++)
        if (read_destination(store, r, (int)i, &list[i]))
            error = diagnostic_set(reterr, -EREMOTEIO, "secret_key", list[i].name,
                                   "its key does not open with this secret key file");
    PQclear(r);
    if (error) {
        free(list);
        return error;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

int store_destination_list(struct store *store, uint64_t channel, struct store_destination **ret,
                           size_t *ret_count, struct diagnostic *reterr)
{
    char id[24];
    const char *values[] = {store_number((int64_t)channel, id)};
    PGresult *r;
    int error = store_query(store, STORE_LANE_API,
                            "select id, channel_id, name, kind, url, sealed_key, "
                            "coalesce(output_id, 0), backup_url from destinations "
                            "where channel_id = $1 order by id",
                            1, values, "destinations", &r, reterr);
    return error ? error : take_list(store, r, ret, ret_count, reterr);
}

int store_destination_list_all(struct store *store, struct store_destination **ret,
                               size_t *ret_count, struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(store, STORE_LANE_API,
                            "select id, channel_id, name, kind, url, null, "
                            "coalesce(output_id, 0), backup_url from destinations "
                            "order by channel_id, id",
                            0, NULL, "destinations", &r, reterr);
    return error ? error : take_list(store, r, ret, ret_count, reterr);
}
