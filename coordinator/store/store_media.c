#include "coordinator/store/store_private.h"

#include <errno.h>
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

#define MEDIA_JSON                                                                                 \
    "jsonb_build_object('sha256', sha256, 'name', name, 'created_at', created_at) || facts"

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
