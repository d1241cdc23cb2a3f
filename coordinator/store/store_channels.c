#include "coordinator/store/store_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const event_names[] = {"started", "stopped", "revision"};

int store_channel_create(struct store *store, const struct store_channel *c, uint64_t *ret_id,
                         struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into channels (name, width, height, rate_num, rate_den, epoch_ns) "
        "values ($1, $2, $3, $4, $5, $6) returning id";
    char n[5][24], *id;
    const char *values[] = {c->name,
                            store_number(c->width, n[0]),
                            store_number(c->height, n[1]),
                            store_number(c->rate.num, n[2]),
                            store_number(c->rate.den, n[3]),
                            store_number(c->epoch_ns, n[4])};
    int error = store_text(store, sql, 6, values, c->name, &id, reterr);
    if (error)
        return error;
    *ret_id = strtoull(id, NULL, 10);
    free(id);
    return 0;
}

int store_channel_delete(struct store *store, const char *name, struct diagnostic *reterr)
{
    char *id = NULL;
    const char *values[] = {name};
    int error = store_text(store, "delete from channels where name = $1 returning id", 1, values,
                           name, &id, reterr);
    free(id);
    return error;
}

// The fold of a channel's log: the newest event says whether it is on air, the newest that names a
// revision says which, the newest start says from where.
#define CHANNEL_SQL                                                                                \
    "select c.id, c.name, c.width, c.height, c.rate_num, c.rate_den, c.epoch_ns, "                 \
    "coalesce(last.kind <> 'stopped', false), coalesce(rev.payload->>'sha256', ''), "              \
    "coalesce(rev.payload->>'timeline', ''), coalesce((rev.payload->>'number')::bigint, 0), "      \
    "coalesce((begun.payload->>'start_frame')::bigint, 0), c.last_plan_epoch, c.last_at_frame, "   \
    "c.slate_timeline, c.slate_sha256 "                                                            \
    "from channels c "                                                                             \
    "left join lateral (select kind from channel_events where channel_id = c.id "                  \
    "order by seq desc limit 1) last on true "                                                     \
    "left join lateral (select payload from channel_events where channel_id = c.id "               \
    "and kind in ('started', 'revision') order by seq desc limit 1) rev on true "                  \
    "left join lateral (select payload from channel_events where channel_id = c.id "               \
    "and kind in ('started', 'revision') and payload ? 'start_frame' order by seq desc limit 1) "  \
    "begun on true "

static void read_channel(const PGresult *r, int row, struct store_channel *ret)
{
    *ret = (struct store_channel){
        .id = strtoull(PQgetvalue(r, row, 0), NULL, 10),
        .width = atoi(PQgetvalue(r, row, 2)),
        .height = atoi(PQgetvalue(r, row, 3)),
        .rate = {atoi(PQgetvalue(r, row, 4)), atoi(PQgetvalue(r, row, 5))},
        .epoch_ns = strtoll(PQgetvalue(r, row, 6), NULL, 10),
        .on_air = PQgetvalue(r, row, 7)[0] == 't',
        .number = strtoll(PQgetvalue(r, row, 10), NULL, 10),
        .start_frame = strtoll(PQgetvalue(r, row, 11), NULL, 10),
        .last_plan_epoch = (uint32_t)strtoul(PQgetvalue(r, row, 12), NULL, 10),
        .last_at_frame = strtoll(PQgetvalue(r, row, 13), NULL, 10),
    };
    snprintf(ret->name, sizeof ret->name, "%s", PQgetvalue(r, row, 1));
    snprintf(ret->revision, sizeof ret->revision, "%s", PQgetvalue(r, row, 8));
    snprintf(ret->slate_timeline, sizeof ret->slate_timeline, "%s", PQgetvalue(r, row, 14));
    snprintf(ret->slate, sizeof ret->slate, "%s", PQgetvalue(r, row, 15));
    snprintf(ret->timeline, sizeof ret->timeline, "%s", PQgetvalue(r, row, 9));
}

int store_channel_list(struct store *store, struct store_channel **ret, size_t *ret_count,
                       struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(store, CHANNEL_SQL "order by c.id", 0, NULL, "channels", &r, reterr);
    if (error)
        return error;
    size_t count = (size_t)PQntuples(r);
    *ret = calloc(count ? count : 1, sizeof **ret);
    if (*ret) {
        for (size_t i = 0; i < count; i++)
            read_channel(r, (int)i, &(*ret)[i]);
        *ret_count = count;
    } else {
        error = diagnostic_set(reterr, -ENOMEM, "memory", "channels", "out of memory");
    }
    PQclear(r);
    return error;
}

int store_channel_get(struct store *store, const char *name, struct store_channel *ret,
                      struct diagnostic *reterr)
{
    const char *values[] = {name};
    PGresult *r;
    int error = store_query(store, CHANNEL_SQL "where c.name = $1", 1, values, name, &r, reterr);
    if (error)
        return error;
    if (PQntuples(r))
        read_channel(r, 0, ret);
    else
        error = diagnostic_set(reterr, -ENOENT, "not_found", name, "there is no such channel");
    PQclear(r);
    return error;
}

int store_event_append(struct store *store, uint64_t channel, enum store_event kind,
                       int64_t at_frame, const struct store_channel *state,
                       struct diagnostic *reterr)
{
    static const char sql[] =
        "with c as (select id from channels where id = $1 for update) "
        "insert into channel_events (channel_id, seq, at_frame, kind, payload) "
        "select c.id, coalesce((select max(seq) from channel_events where channel_id = c.id), 0) + "
        "1, "
        "$2, $3::event_kind, $4::jsonb from c returning seq";
    char id[24], frame[24], payload[512] = "{}", *seq = NULL;
    if (kind != STORE_STOPPED)
        snprintf(payload, sizeof payload,
                 "{\"sha256\":\"%s\",\"timeline\":\"%s\",\"number\":%" PRId64
                 ",\"start_frame\":%" PRId64 "}",
                 state->revision, state->timeline, state->number, state->start_frame);
    const char *values[] = {store_number((int64_t)channel, id), store_number(at_frame, frame),
                            event_names[kind], payload};
    int error = store_text(store, sql, 4, values, "channel", &seq, reterr);
    free(seq);
    // What was stopped must not come back: after a restart the newest plan goes on where it was.
    if (!error && kind == STORE_STOPPED)
        error = store_query(store, "delete from plans where channel_id = $1", 1, values, "plans",
                            NULL, reterr);
    return error;
}

int store_event_list(struct store *store, uint64_t channel, char **ret_json,
                     struct diagnostic *reterr)
{
    char id[24];
    const char *values[] = {store_number((int64_t)channel, id)};
    return store_text(
        store,
        "select coalesce(jsonb_agg(jsonb_build_object('seq', seq, 'at_frame', at_frame, "
        "'kind', kind, 'payload', payload, 'created_at', created_at) order by seq), '[]') "
        "from channel_events where channel_id = $1",
        1, values, "events", ret_json, reterr);
}
