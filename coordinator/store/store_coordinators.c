#include "coordinator/store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void read_coordinator(const PGresult *r, int row, struct store_coordinator *ret)
{
    *ret = (struct store_coordinator){.age_ms = strtoll(PQgetvalue(r, row, 3), NULL, 10)};
    snprintf(ret->name, sizeof ret->name, "%s", PQgetvalue(r, row, 0));
    snprintf(ret->api_url, sizeof ret->api_url, "%s", PQgetvalue(r, row, 1));
    snprintf(ret->version, sizeof ret->version, "%s", PQgetvalue(r, row, 2));
}

int store_leader(struct store *store, struct store_coordinator *ret, struct diagnostic *reterr)
{
    // A holder is "name/run" (coordinator.c).
    static const char sql[] = "select substring(holder from '^(.*)/'), api_url, '', 0 from lease "
                              "where name = 'coordinator' and expires > clock_timestamp()";
    PGresult *r;
    int error = store_query(store, STORE_LANE_LEASE, sql, 0, NULL, "lease", &r, reterr);
    if (error)
        return error;
    if (PQntuples(r))
        read_coordinator(r, 0, ret);
    else
        error = diagnostic_set(reterr, -ENOENT, "not_found", "lease", "nobody leads");
    PQclear(r);
    return error;
}

int store_coordinator_put(struct store *store, const struct store_coordinator *c,
                          struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into coordinators (name, api_url, version) values ($1, $2, $3) "
        "on conflict (name) do update set api_url = excluded.api_url, version = excluded.version, "
        "seen_at = clock_timestamp()";
    const char *values[] = {c->name, c->api_url, c->version};
    return store_query(store, STORE_LANE_LEASE, sql, 3, values, "coordinators", NULL, reterr);
}

int store_coordinator_list(struct store *store, struct store_coordinator **ret, size_t *ret_count,
                           struct diagnostic *reterr)
{
    static const char sql[] =
        "select name, api_url, version, "
        "(extract(epoch from clock_timestamp() - seen_at) * 1000)::bigint from coordinators "
        "where seen_at > clock_timestamp() - interval '1 day' order by name";
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, sql, 0, NULL, "coordinators", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    struct store_coordinator *list = calloc(count ? count : 1, sizeof *list);
    for (size_t i = 0; i < count && list; i++)
        read_coordinator(r, (int)i, &list[i]);
    PQclear(r);
    if (!list)
        return diagnostic_set(reterr, -ENOMEM, "memory", "coordinators", "out of memory");
    *ret = list;
    *ret_count = count;
    return 0;
}
