#include "coordinator/store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int add_revision(struct transaction *t, const char *name, const char *sha256,
                        const char *hex, char **ret_number, struct diagnostic *reterr)
{
    // The first statement locks the timeline's row, and the second sees what was added until then:
    // numbers of one timeline have no holes and no doubles.
    static const char sql[] =
        "with t as (select id from timelines where name = $1), "
        "newest as (select r.number, r.sha256 from revisions r, t where r.timeline_id = t.id "
        "           order by r.number desc limit 1), "
        "added as (insert into revisions (timeline_id, number, sha256, bytes) "
        "          select t.id, coalesce((select number from newest), 0) + 1, $2, $3::bytea from t "
        "          where not exists (select 1 from newest where sha256 = $2) returning number) "
        "select coalesce((select number from added), (select number from newest))";
    const char *values[] = {name, sha256, hex};
    int error = transaction_query(t,
                                  "insert into timelines (name) values ($1) "
                                  "on conflict (name) do update set name = excluded.name",
                                  1, values, name, NULL, reterr);
    return error ? error : transaction_text(t, sql, 3, values, name, ret_number, reterr);
}

int store_timeline_put(struct store *store, const char *name, const char *bytes, size_t size,
                       const char *sha256, struct store_revision *ret, struct diagnostic *reterr)
{
    struct transaction t;
    char *hex = store_bytea((const uint8_t *)bytes, size), *number = NULL;
    if (!hex)
        return diagnostic_set(reterr, -ENOMEM, "memory", name, "out of memory");
    int error = transaction_begin(store, STORE_LANE_API, &t, reterr);
    if (!error)
        error = transaction_end(&t, add_revision(&t, name, sha256, hex, &number, reterr), reterr);
    free(hex);
    if (!error) {
        ret->number = strtoll(number, NULL, 10);
        snprintf(ret->sha256, sizeof ret->sha256, "%s", sha256);
    }
    free(number);
    return error;
}

int store_timeline_list(struct store *store, char **ret_json, struct diagnostic *reterr)
{
    static const char sql[] =
        "select coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'revision', r.number, "
        "'sha256', r.sha256, 'updated_at', r.created_at) order by t.name), '[]') "
        "from timelines t join lateral (select * from revisions where timeline_id = t.id "
        "order by number desc limit 1) r on true";
    return store_text(store, sql, 0, NULL, "timelines", ret_json, reterr);
}

static int take_bytes(PGresult *r, int column, const char *what, char **ret_bytes, size_t *ret_size,
                      struct diagnostic *reterr)
{
    if (!PQntuples(r))
        return diagnostic_set(reterr, -ENOENT, "not_found", what, "does not exist");
    if (store_bytea_parse(PQgetvalue(r, 0, column), (uint8_t **)ret_bytes, ret_size))
        return diagnostic_set(reterr, -ENOMEM, "memory", what, "out of memory");
    return 0;
}

int store_timeline_get(struct store *store, const char *name, int64_t number,
                       struct store_revision *ret, char **ret_bytes, size_t *ret_size,
                       struct diagnostic *reterr)
{
    static const char sql[] = "select r.number, r.sha256, r.bytes from revisions r join timelines "
                              "t on t.id = r.timeline_id "
                              "where t.name = $1 and ($2::bigint = 0 or r.number = $2::bigint) "
                              "order by r.number desc limit 1";
    char text[24];
    const char *values[] = {name, store_number(number, text)};
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, sql, 2, values, name, &r, reterr);
    if (error)
        return error;
    error = take_bytes(r, 2, name, ret_bytes, ret_size, reterr);
    if (!error) {
        ret->number = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
        snprintf(ret->sha256, sizeof ret->sha256, "%s", PQgetvalue(r, 0, 1));
    }
    PQclear(r);
    return error;
}

int store_revision_get(struct store *store, const char *sha256, char **ret_bytes, size_t *ret_size,
                       struct diagnostic *reterr)
{
    const char *values[] = {sha256};
    PGresult *r;
    int error =
        store_query(store, STORE_LANE_API, "select bytes from revisions where sha256 = $1 limit 1",
                    1, values, sha256, &r, reterr);
    if (error)
        return error;
    error = take_bytes(r, 0, sha256, ret_bytes, ret_size, reterr);
    PQclear(r);
    return error;
}
