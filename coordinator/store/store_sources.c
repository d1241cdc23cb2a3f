#include "coordinator/store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What a sealed input is bound to: it opens at this place only.
static void input_place(const char *name, char *buffer, size_t size)
{
    snprintf(buffer, size, "sources/%s", name);
}

int store_source_put(struct store *store, const struct store_source *source,
                     struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into sources (name, worker, sealed_input) values ($1, $2, $3::bytea) "
        "on conflict (name) do update set worker = excluded.worker, "
        "sealed_input = excluded.sealed_input, changed_at = clock_timestamp()";
    char place[96];
    uint8_t *sealed;
    size_t size;
    input_place(source->name, place, sizeof place);
    if (store_seal(store, place, (const uint8_t *)source->input, strlen(source->input), &sealed,
                   &size))
        return diagnostic_set(reterr, -ENOMEM, "memory", source->name,
                              "the input cannot be sealed");
    char *hex = store_bytea(sealed, size);
    free(sealed);
    const char *values[] = {source->name, *source->worker ? source->worker : NULL, hex};
    int error = hex ? store_write(store, sql, 3, values, source->name, NULL, reterr)
                    : diagnostic_set(reterr, -ENOMEM, "memory", source->name, "out of memory");
    free(hex);
    return error;
}

int store_source_delete(struct store *store, const char *name, struct diagnostic *reterr)
{
    char *gone = NULL; // an error when there is none
    int error = store_write(store, "delete from sources where name = $1 returning id", 1, &name,
                            name, &gone, reterr);
    free(gone);
    return error;
}

static int read_source(struct store *store, const PGresult *r, int row, struct store_source *ret)
{
    char place[96];
    uint8_t *sealed = NULL, *plain = NULL;
    size_t size, plain_size;
    ret->id = strtoull(PQgetvalue(r, row, 0), NULL, 10);
    snprintf(ret->name, sizeof ret->name, "%s", PQgetvalue(r, row, 1));
    snprintf(ret->worker, sizeof ret->worker, "%s", PQgetvalue(r, row, 2));
    ret->created_ms = strtoll(PQgetvalue(r, row, 4), NULL, 10);
    ret->changed_ms = strtoll(PQgetvalue(r, row, 5), NULL, 10);
    input_place(ret->name, place, sizeof place);
    int error = store_bytea_parse(PQgetvalue(r, row, 3), &sealed, &size);
    if (!error && !store_unseal(store, place, sealed, size, &plain, &plain_size))
        ret->input = (char *)plain;
    free(sealed);
    return error;
}

int store_source_list(struct store *store, struct store_source **ret, size_t *ret_count,
                      struct diagnostic *reterr)
{
    static const char sql[] = "select id, name, coalesce(worker, ''), sealed_input, "
                              "(extract(epoch from created_at) * 1000)::bigint, "
                              "(extract(epoch from changed_at) * 1000)::bigint "
                              "from sources order by name";
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, sql, 0, NULL, "sources", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    struct store_source *list = calloc(count ? count : 1, sizeof *list);
    error = list ? 0 : -ENOMEM;
    for (size_t i = 0; i < count && !error; i++)
        error = read_source(store, r, (int)i, &list[i]);
    PQclear(r);
    if (error) {
        store_sources_free(list, list ? count : 0);
        return diagnostic_set(reterr, error, "memory", "sources", "out of memory");
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

void store_sources_free(struct store_source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sources[i].input)
            explicit_bzero(sources[i].input, strlen(sources[i].input));
        free(sources[i].input);
    }
    free(sources);
}
