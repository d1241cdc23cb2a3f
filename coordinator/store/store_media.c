#include "coordinator/store/store_private.h"
#include "engine/base/crash_note.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int store_media_put(struct store *store, const char *sha256, const char *name, const char *facts,
                    struct diagnostic *reterr)
{
    static const char sql[] = "insert into media (sha256, name, facts) values ($1, $2, $3::jsonb) "
                              "on conflict (sha256) do update set facts = excluded.facts";
    const char *values[] = {sha256, name, facts};
    return store_write(store, sql, 3, values, name, NULL, reterr);
}

int store_media_known(struct store *store, const char *sha256, struct diagnostic *reterr)
{
    // Timelines and their nested parts are content too.
    static const char sql[] = "select 1 from media where sha256 = $1 union all "
                              "select 1 from revisions where sha256 = $1 limit 1";
    char *text = NULL;
    const char *values[] = {sha256};
    int error = store_text(store, sql, 1, values, sha256, &text, reterr);
    free(text);
    return error == -ENOENT ? 0 : error ? error : 1;
}

int store_media_start(struct store *store, const char *sha256, int64_t *ret_ms,
                      struct diagnostic *reterr)
{
    static const char sql[] =
        "select ceil((facts->'start'->>'slowest_ms')::numeric)::text from media "
        "where sha256 = $1 and facts->'start'->>'slowest_ms' is not null";
    char *text = NULL;
    const char *values[] = {sha256};
    int error = store_text(store, sql, 1, values, sha256, &text, reterr);
    if (!error)
        *ret_ms = strtoll(text, NULL, 10);
    free(text);
    return error;
}

int store_media_crash(struct store *store, const struct store_crash *crash, enum store_verdict *ret,
                      struct diagnostic *reterr)
{
    static const char put[] = "insert into media_crashes (node, id, sha256, picture, signal) "
                              "values ($1, $2, $3, $4, $5) on conflict do nothing";
    static const char look[] =
        "select case when (select cleared_at from media_crashes where node = $1 and id = $2) "
        "is not null then 2 when (select count(*) from media_crashes where sha256 = $3 "
        "and cleared_at is null) > 1 then 1 else 0 end";
    char id[24], picture[24], number[24], *text = NULL;
    const char *values[] = {crash->node, store_number((int64_t)crash->id, id), crash->sha256,
                            store_number(crash->picture, picture),
                            store_number(crash->signal, number)};
    struct transaction t;
    int error = transaction_begin(store, STORE_LANE_FARM, &t, reterr);
    if (error)
        return error;
    error = transaction_query(&t, put, 5, values, crash->node, NULL, reterr);
    if (!error)
        error = transaction_text(&t, look, 3, values, crash->node, &text, reterr);
    error = transaction_end(&t, error, reterr);
    if (!error)
        *ret = (enum store_verdict)(text[0] - '0');
    free(text);
    return error;
}

int store_media_poisoned(struct store *store, struct store_poisoned **ret, size_t *ret_count,
                         struct diagnostic *reterr)
{
    static const char sql[] =
        "select c.sha256, coalesce((select name from media m where m.sha256 = c.sha256), "
        "c.sha256), "
        "(array_agg(c.picture order by c.at, c.node, c.id))[1], "
        "(array_agg(c.signal order by c.at, c.node, c.id))[1] from media_crashes c "
        "where c.cleared_at is null group by c.sha256 having count(*) > 1 order by c.sha256";
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, sql, 0, NULL, "media", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    struct store_poisoned *list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        snprintf(list[i].sha256, sizeof list[i].sha256, "%s", PQgetvalue(r, (int)i, 0));
        snprintf(list[i].name, sizeof list[i].name, "%s", PQgetvalue(r, (int)i, 1));
        list[i].picture = strtoll(PQgetvalue(r, (int)i, 2), NULL, 10);
        list[i].hung = atoi(PQgetvalue(r, (int)i, 3)) == CRASH_HUNG;
    }
    PQclear(r);
    if (!list)
        return diagnostic_set(reterr, -ENOMEM, "memory", "media", "out of memory");
    *ret = list;
    *ret_count = count;
    return 0;
}

int store_media_clear(struct store *store, const char *sha256, struct diagnostic *reterr)
{
    static const char sql[] = "with cleared as (update media_crashes set cleared_at = "
                              "clock_timestamp() where sha256 = $1 and cleared_at is null "
                              "returning 1) select count(*) from cleared having count(*) > 0";
    char *count = NULL;
    const char *values[] = {sha256};
    int error = store_write(store, sql, 1, values, sha256, &count, reterr);
    free(count);
    return error;
}

#define MEDIA_JSON                                                                                 \
    "jsonb_build_object('sha256', sha256, 'name', name, 'created_at', created_at) || facts || "    \
    "(select jsonb_build_object('poisoned', count(*) > 1, 'crashes', coalesce(jsonb_agg("          \
    "jsonb_build_object('node', node, 'picture', picture, 'signal', signal, 'at', at) "            \
    "order by at), '[]')) from media_crashes c "                                                   \
    "where c.sha256 = media.sha256 and c.cleared_at is null)"

int store_media_list(struct store *store, char **ret_json, struct diagnostic *reterr)
{
    return store_text(store,
                      "select coalesce(jsonb_agg(" MEDIA_JSON
                      " order by created_at, sha256), '[]') "
                      "from media",
                      0, NULL, "media", ret_json, reterr);
}

int store_media_get(struct store *store, const char *sha256, char **ret_json,
                    struct diagnostic *reterr)
{
    const char *values[] = {sha256};
    return store_text(store, "select " MEDIA_JSON " from media where sha256 = $1", 1, values,
                      sha256, ret_json, reterr);
}
