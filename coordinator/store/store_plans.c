#include "coordinator/store/store_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void plan_place(uint64_t channel, uint64_t plan_epoch, char *buffer, size_t size)
{
    snprintf(buffer, size, "plans/%" PRIu64 "/%" PRIu64, channel, plan_epoch);
}

static int write_done(struct store *store, const char *sql, const char *const *values,
                      struct diagnostic *reterr)
{
    struct transaction t;
    char *done = NULL;
    int error = transaction_begin(store, STORE_LANE_FARM, &t, reterr);
    if (error)
        return error;
    error = transaction_text(&t, sql, 2, values, "channel", &done, reterr);
    free(done);
    return transaction_end(&t, error, reterr);
}

int store_plan_reserve(struct store *store, uint64_t channel, uint32_t plan_epoch,
                       struct diagnostic *reterr)
{
    char id[24], number[24];
    const char *values[] = {store_number((int64_t)channel, id), store_number(plan_epoch, number)};
    return write_done(store,
                      "update channels set last_plan_epoch = greatest(last_plan_epoch, $2::bigint) "
                      "where id = $1 returning 1",
                      values, reterr);
}

// The plan of a channel that has been stopped, or deleted, meanwhile must not be written: it would
// come back with the next coordinator.
static int check_on_air(struct transaction *t, const char *const *values, const char *place,
                        struct diagnostic *reterr)
{
    PGresult *r = NULL;
    int error = transaction_query(t, "select 1 from channels where id = $1 for update", 1, values,
                                  place, NULL, reterr);
    if (!error)
        error = transaction_query(t,
                                  "select kind from channel_events where channel_id = $1 "
                                  "order by seq desc limit 1",
                                  1, values, place, &r, reterr);
    if (!error && (!PQntuples(r) || !strcmp(PQgetvalue(r, 0, 0), "stopped")))
        error = diagnostic_set(reterr, -ESTALE, "stopped", place,
                               "the channel has been stopped meanwhile");
    PQclear(r);
    return error;
}

// Optional tracks go with one plan and come back with another, and nobody has asked for it: the
// event is written here, with all that the one before it says. One that waits for its plan must not
// come to stand before it.
static int note_optional(struct transaction *t, const char *const *values, const char *place,
                         struct diagnostic *reterr)
{
    static const char look[] =
        "select on_air.seq, exists (select 1 from channel_events where channel_id = $1::bigint "
        "and seq > on_air.seq and at_frame is null and kind <> 'optional') "
        "from (select seq, kind, payload from channel_events where channel_id = $1::bigint "
        "and at_frame is not null order by seq desc limit 1) on_air "
        "where on_air.kind <> 'stopped' "
        "and coalesce((on_air.payload->>'without_optional')::boolean, false) <> $2::boolean";
    static const char write[] =
        "insert into channel_events (channel_id, seq, at_frame, kind, payload) "
        "select $1::bigint, (select max(seq) + 1 from channel_events where channel_id = "
        "$1::bigint), "
        "$2::bigint, 'optional', payload || jsonb_build_object('without_optional', $4::boolean) "
        "from channel_events where channel_id = $1::bigint and seq = $3::bigint";
    PGresult *r;
    int error = transaction_query(t, look, 2, (const char *const[]){values[0], values[7]}, place,
                                  &r, reterr);
    if (error)
        return error;
    if (PQntuples(r) && *PQgetvalue(r, 0, 1) == 't')
        error = diagnostic_set(reterr, -ESTALE, "changed", place,
                               "the channel has been changed meanwhile");
    else if (PQntuples(r))
        error = transaction_query(
            t, write, 4,
            (const char *const[]){values[0], values[2], PQgetvalue(r, 0, 0), values[7]}, place,
            NULL, reterr);
    PQclear(r);
    return error;
}

// Parameters: $1 channel, $2 plan_epoch, $3 at_frame, $4 sealed, $5 start_frame, $6 sha256, $7 the
// plan that it replaces, $8 whether it leaves optional tracks out.
// A plan and its predecessor stay (epochs between them may have been given up, so it is the newest
// below, not the one before by number); what is older is history.
// The event that asked for what this plan shows took effect with it. A plan that only places the
// same elsewhere finds none that waits.
static int put(struct transaction *t, const char *const *values, const char *place,
               struct diagnostic *reterr)
{
    static const char insert[] =
        "insert into plans (channel_id, plan_epoch, at_frame, sealed) "
        "values ($1, $2, $3, $4::bytea) on conflict do nothing returning 1";
    static const char follow[] =
        "with old as (delete from plans where channel_id = $1::bigint and plan_epoch < "
        "        (select max(plan_epoch) from plans where channel_id = $1::bigint "
        "         and plan_epoch < $2::bigint)), "
        "channel as (update channels set last_plan_epoch = greatest(last_plan_epoch, $2::bigint), "
        "        last_at_frame = $3::bigint where id = $1::bigint) "
        "update channel_events set at_frame = $3::bigint, "
        "payload = payload || jsonb_build_object('start_frame', $4::bigint) "
        "where channel_id = $1::bigint and seq = (select max(seq) from channel_events "
        "        where channel_id = $1::bigint and at_frame is null and kind <> 'optional' "
        "        and payload->>'sha256' = $5)";
    PGresult *r;
    int error = transaction_query(t, insert, 4, values, place, &r, reterr);
    if (error)
        return error;
    bool added = PQntuples(r);
    PQclear(r);
    if (!added)
        return 0; // written before: its answer was lost
    const char *rest[] = {values[0], values[1], values[2], values[4], values[5]};
    error = transaction_query(t, follow, 5, rest, place, NULL, reterr);
    return error ? error : note_optional(t, values, place, reterr);
}

// A plan that was committed and that nobody has heard of: what was to begin with it waits again.
static int reopen(struct transaction *t, const char *channel, const char *plan_epoch,
                  const char *place, struct diagnostic *reterr)
{
    static const char event[] =
        "update channel_events set at_frame = null where channel_id = $1 and kind <> 'stopped' "
        "and at_frame = (select at_frame from plans where channel_id = $1 and plan_epoch = $2)";
    const char *values[] = {channel, plan_epoch};
    int error = transaction_query(t, event, 2, values, place, NULL, reterr);
    return error
               ? error
               : transaction_query(t, "delete from plans where channel_id = $1 and plan_epoch = $2",
                                   2, values, place, NULL, reterr);
}

// Whether a plan that was committed is new to this database. One that is not above all commits was
// known, and is there, or history; one below the frame of a stop has been stopped.
static int check_lost(struct transaction *t, const char *const *values, const char *place,
                      bool *ret_lost, struct diagnostic *reterr)
{
    static const char sql[] =
        "select c.last_at_frame < $2::bigint, coalesce(last.kind = 'stopped' "
        "and last.at_frame >= $2::bigint, false) from channels c left join lateral (select kind, "
        "at_frame from channel_events where channel_id = c.id order by seq desc limit 1) last "
        "on true where c.id = $1";
    PGresult *r = NULL;
    int error = transaction_query(t, "select 1 from channels where id = $1 for update", 1, values,
                                  place, NULL, reterr);
    if (!error)
        error = transaction_query(t, sql, 2, (const char *const[]){values[0], values[2]}, place, &r,
                                  reterr);
    if (!error && (!PQntuples(r) || *PQgetvalue(r, 0, 1) == 't'))
        error = diagnostic_set(reterr, -ESTALE, "stopped", place,
                               "the channel has been stopped meanwhile");
    *ret_lost = !error && *PQgetvalue(r, 0, 0) == 't';
    PQclear(r);
    return error;
}

// The plan's row, and its event: that which asked for it, or, where that is lost too, one as it
// must have been. What names the revision may be lost as well; then the event says only which it
// was.
static int restore(struct transaction *t, const char *const *values, const char *place,
                   struct diagnostic *reterr)
{
    static const char event[] =
        "insert into channel_events (channel_id, seq, at_frame, kind, payload) "
        "select $1::bigint, coalesce(last.seq, 0) + 1, $2::bigint, "
        "(case when last.kind is null or last.kind = 'stopped' then 'started' "
        "      when begun.start = $3::bigint then 'revision' else 'timeline' end)::event_kind, "
        "jsonb_build_object('sha256', $4::text, 'start_frame', $3::bigint, "
        "'timeline', coalesce(known.name, ''), 'number', coalesce(known.number, 0)) "
        "from (select 1) one "
        "left join lateral (select seq, kind, payload from channel_events "
        "        where channel_id = $1::bigint order by seq desc limit 1) last on true "
        "left join lateral (select (payload->>'start_frame')::bigint as start from channel_events "
        "        where channel_id = $1::bigint and kind in ('started', 'timeline') "
        "        order by seq desc limit 1) begun on true "
        "left join lateral (select t.name, r.number from revisions r join timelines t "
        "        on t.id = r.timeline_id where r.sha256 = $4::text "
        "        order by r.number desc limit 1) known on true "
        "where last.kind is null or last.kind = 'stopped' "
        "or last.payload->>'sha256' is distinct from $4::text";
    bool lost;
    int error = check_lost(t, values, place, &lost, reterr);
    if (error || !lost)
        return error;
    error = transaction_query(t, event, 4,
                              (const char *const[]){values[0], values[2], values[4], values[5]},
                              place, NULL, reterr);
    return error ? error : put(t, values, place, reterr);
}

int store_plan_seal(struct store *store, uint64_t channel, uint32_t plan_epoch, const void *bytes,
                    size_t size, uint8_t **ret, size_t *ret_size)
{
    char place[96];
    plan_place(channel, plan_epoch, place, sizeof place);
    return store_seal(store, place, bytes, size, ret, ret_size);
}

int store_plan_unseal(struct store *store, uint64_t channel, uint32_t plan_epoch,
                      const void *sealed, size_t size, uint8_t **ret, size_t *ret_size)
{
    char place[96];
    plan_place(channel, plan_epoch, place, sizeof place);
    return store_unseal(store, place, sealed, size, ret, ret_size);
}

int store_plan_put(struct store *store, const struct store_commit *commit,
                   struct diagnostic *reterr)
{
    char id[24], number[24], frame[24], start[24], replaces[24], place[96];
    uint8_t *sealed;
    size_t sealed_size;
    struct transaction t;
    plan_place(commit->channel, commit->plan_epoch, place, sizeof place);
    if (store_seal(store, place, commit->bytes, commit->size, &sealed, &sealed_size))
        return diagnostic_set(reterr, -ENOMEM, "memory", place, "the plan cannot be sealed");
    char *hex = store_bytea(sealed, sealed_size);
    free(sealed);
    if (!hex)
        return diagnostic_set(reterr, -ENOMEM, "memory", place, "out of memory");
    const char *values[] = {
        store_number((int64_t)commit->channel, id), store_number(commit->plan_epoch, number),
        store_number(commit->at_frame, frame),      hex,
        store_number(commit->start_frame, start),   commit->revision,
        store_number(commit->replaces, replaces),   commit->without_optional ? "true" : "false"};
    int error = transaction_begin(store, STORE_LANE_FARM, &t, reterr);
    if (!error) {
        error = commit->restored ? restore(&t, values, place, reterr)
                                 : check_on_air(&t, values, place, reterr);
        if (!error && commit->replaces)
            error = reopen(&t, values[0], values[6], place, reterr);
        if (!error && !commit->restored)
            error = put(&t, values, place, reterr);
        error = transaction_end(&t, error, reterr);
    }
    free(hex);
    return error;
}

int store_plan_list(struct store *store, struct store_plan **ret, size_t *ret_count,
                    struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(store, STORE_LANE_API,
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
            error = diagnostic_set(reterr, -EREMOTEIO, "secret_key", place,
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
