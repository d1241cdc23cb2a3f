#include "coordinator/store/store_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int store_node_put(struct store *store, const struct store_node *node, struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into nodes (name, role, facts) values ($1, $2, jsonb_build_object("
        "'version', $3::text, 'frame_address', $4::text, 'preview_url', $5::text)) "
        "on conflict (name) do update set role = excluded.role, facts = excluded.facts, "
        "seen_at = clock_timestamp()";
    const char *values[] = {node->name, node->role, node->version, node->frame_address,
                            node->preview_url};
    return store_write(store, sql, 5, values, node->name, NULL, reterr);
}

int store_node_drain(struct store *store, const char *name, bool draining,
                     struct diagnostic *reterr)
{
    static const char sql[] =
        "update nodes set draining = $2::boolean where name = $1 returning name";
    char *found = NULL; // an error when there is none
    const char *values[] = {name, draining ? "true" : "false"};
    int error = store_write(store, sql, 2, values, name, &found, reterr);
    free(found);
    return error;
}

int store_node_list(struct store *store, struct store_node **ret, size_t *ret_count,
                    struct diagnostic *reterr)
{
    static const char sql[] =
        "select name, role, coalesce(facts->>'version', ''), "
        "coalesce(facts->>'frame_address', ''), "
        "coalesce(facts->>'preview_url', ''), "
        "(extract(epoch from seen_at) * 1000)::bigint, draining from nodes order by name";
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, sql, 0, NULL, "nodes", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    struct store_node *list = calloc(count ? count : 1, sizeof *list);
    for (size_t i = 0; i < count && list; i++) {
        struct store_node *n = &list[i];
        int row = (int)i;
        snprintf(n->name, sizeof n->name, "%s", PQgetvalue(r, row, 0));
        snprintf(n->role, sizeof n->role, "%s", PQgetvalue(r, row, 1));
        snprintf(n->version, sizeof n->version, "%s", PQgetvalue(r, row, 2));
        snprintf(n->frame_address, sizeof n->frame_address, "%s", PQgetvalue(r, row, 3));
        snprintf(n->preview_url, sizeof n->preview_url, "%s", PQgetvalue(r, row, 4));
        n->seen_ms = strtoll(PQgetvalue(r, row, 5), NULL, 10);
        n->draining = PQgetvalue(r, row, 6)[0] == 't';
    }
    PQclear(r);
    if (!list)
        return diagnostic_set(reterr, -ENOMEM, "memory", "nodes", "out of memory");
    *ret = list;
    *ret_count = count;
    return 0;
}
