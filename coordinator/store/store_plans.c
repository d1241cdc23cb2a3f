#include "coordinator/store/store_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void plan_place(uint64_t channel, uint64_t plan_epoch, char *buffer, size_t size)
{
    snprintf(buffer, size, "plans/%" PRIu64 "/%" PRIu64, channel, plan_epoch);
}

int store_plan_reserve(struct store *store, uint64_t channel, uint32_t plan_epoch,
                       struct diagnostic *reterr)
{
    char id[24], number[24], *done = NULL;
    const char *values[] = {store_number((int64_t)channel, id), store_number(plan_epoch, number)};
    int error =
        store_text(store,
                   "update channels set last_plan_epoch = greatest(last_plan_epoch, $2::bigint) "
                   "where id = $1 returning 1",
                   2, values, "channel", &done, reterr);
    free(done);
    return error;
}

int store_plan_put(struct store *store, uint64_t epoch, uint64_t channel, uint32_t plan_epoch,
                   int64_t at_frame, const uint8_t *bytes, size_t size, struct diagnostic *reterr)
{
    // Without a valid lease of this epoch nothing is written: the row that the insert would come
    // from is not there. A plan and its predecessor stay (epochs between them may have been given
    // up, so it is the newest below, not the one before by number); what is older is history.
    static const char sql[] =
        "with fence as (select 1 from lease where name = 'coordinator' and epoch = $5 "
        "               and expires > clock_timestamp() for share), "
        "old as (delete from plans using fence where channel_id = $1 and plan_epoch < "
        "        (select max(p.plan_epoch) from plans p "
        "         where p.channel_id = $1 and p.plan_epoch < $2::bigint)), "
        "row as (update channels set last_plan_epoch = greatest(last_plan_epoch, $2::bigint), "
        "        last_at_frame = $3::bigint from fence where id = $1) "
        "insert into plans (channel_id, plan_epoch, at_frame, sealed) "
        "select $1, $2, $3, $4::bytea from fence "
        "on conflict (channel_id, plan_epoch) do update set at_frame = excluded.at_frame "
        "returning plan_epoch";
    char id[24], number[24], frame[24], leader[24], place[96], *hex, *written = NULL;
    uint8_t *sealed;
    size_t sealed_size;
    plan_place(channel, plan_epoch, place, sizeof place);
    if (store_seal(store, place, bytes, size, &sealed, &sealed_size))
        return diagnostic_set(reterr, -ENOMEM, "memory", place, "the plan cannot be sealed");
    hex = store_bytea(sealed, sealed_size);
    free(sealed);
    const char *values[] = {store_number((int64_t)channel, id), store_number(plan_epoch, number),
                            store_number(at_frame, frame), hex,
                            store_number((int64_t)epoch, leader)};
    int error = store_text(store, sql, 5, values, place, &written, reterr);
    free(hex);
    free(written);
    return error == -ENOENT ? diagnostic_set(reterr, -ESTALE, "lease_lost", place,
                                             "another coordinator leads now")
                            : error;
}

int store_plan_list(struct store *store, struct store_plan **ret, size_t *ret_count,
                    struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(store,
                            "select channel_id, plan_epoch, sealed from plans "
                            "order by channel_id, plan_epoch",
                            0, NULL, "plans", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r), kept = 0;
    struct store_plan *list = calloc(count ? count : 1, sizeof *list);
    if (!list)
        error = diagnostic_set(reterr, -ENOMEM, "memory", "plans", "out of memory");
    for (size_t i = 0; i < count && !error; i++) {
        struct store_plan *plan = &list[kept];
        plan->channel = strtoull(PQgetvalue(r, (int)i, 0), NULL, 10);
        plan->plan_epoch = (uint32_t)strtoul(PQgetvalue(r, (int)i, 1), NULL, 10);
        uint8_t *sealed;
        size_t size;
        char place[96];
        plan_place(plan->channel, plan->plan_epoch, place, sizeof place);
        error = store_bytea_parse(PQgetvalue(r, (int)i, 2), &sealed, &size);
        if (error)
            break;
        error = store_unseal(store, place, sealed, size, &plan->bytes, &plan->size);
        free(sealed);
        if (error)
            diagnostic_set(reterr, error, "secret_key", place,
                           "this plan does not open with this secret key file");
        else
            kept++;
    }
    PQclear(r);
    if (error) {
        for (size_t i = 0; i < kept; i++)
            free(list[i].bytes);
        free(list);
        return error;
    }
    *ret = list;
    *ret_count = kept;
    return 0;
}

int store_node_seen(struct store *store, const char *name, const char *role, const char *facts,
                    struct diagnostic *reterr)
{
    const char *values[] = {name, role, facts};
    return store_query(store,
                       "insert into nodes (name, role, facts) values ($1, $2, $3::jsonb) "
                       "on conflict (name) do update set role = excluded.role, "
                       "facts = excluded.facts, seen_at = clock_timestamp()",
                       3, values, name, NULL, reterr);
}
