#include "coordinator/store/store_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const event_names[] = {"started", "stopped", "revision", "timeline"};

static const char *const redundancy_names[] = {
    [STORE_WARM] = "warm", [STORE_COLD] = "cold", [STORE_NONE] = "none", [STORE_HOT] = "hot"};

const char *store_redundancy_name(enum store_redundancy redundancy)
{
    return redundancy_names[redundancy];
}

int store_redundancy_parse(const char *name, enum store_redundancy *ret)
{
    for (int i = STORE_WARM; i <= STORE_HOT; i++) {
        if (strcmp(redundancy_names[i], name))
            continue;
        *ret = (enum store_redundancy)i;
        return 0;
    }
    return -EINVAL;
}

int store_channel_create(struct store *store, const struct store_channel *c, uint64_t *ret_id,
                         struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into channels (name, width, height, rate_num, rate_den, epoch_ns, edges, "
        "redundancy) values ($1, $2, $3, $4, $5, $6, $7, $8) returning id";
    char n[6][24], *id;
    const char *values[] = {c->name,
                            store_number(c->width, n[0]),
                            store_number(c->height, n[1]),
                            store_number(c->rate.num, n[2]),
                            store_number(c->rate.den, n[3]),
                            store_number(c->epoch_ns, n[4]),
                            store_number(c->edges, n[5]),
                            store_redundancy_name(c->redundancy)};
    int error = store_write(store, sql, 8, values, c->name, &id, reterr);
    if (error)
        return error;
    *ret_id = strtoull(id, NULL, 10);
    free(id);
    return 0;
}

// The fold of a channel's log: the newest event says whether it is on air, the newest that names a
// revision says which, the newest that begins a timeline says from where.
#define CHANNEL_SQL                                                                                \
    "select c.id, c.name, c.width, c.height, c.rate_num, c.rate_den, c.epoch_ns, "                 \
    "coalesce(last.kind <> 'stopped', false), coalesce(rev.payload->>'sha256', ''), "              \
    "coalesce(rev.payload->>'timeline', ''), coalesce((rev.payload->>'number')::bigint, 0), "      \
    "coalesce((begun.payload->>'start_frame')::bigint, -1), c.last_plan_epoch, c.last_at_frame, "  \
    "coalesce(begun.seq, 0), c.slate_timeline, c.slate_sha256, c.edges, c.redundancy "             \
    "from channels c "                                                                             \
    "left join lateral (select kind from channel_events where channel_id = c.id "                  \
    "order by seq desc limit 1) last on true "                                                     \
    "left join lateral (select payload from channel_events where channel_id = c.id "               \
    "and kind <> 'stopped' order by seq desc limit 1) rev on true "                                \
    "left join lateral (select seq, payload from channel_events where channel_id = c.id "          \
    "and kind in ('started', 'timeline') order by seq desc limit 1) begun on true "

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
        .run = strtoull(PQgetvalue(r, row, 14), NULL, 10),
        .edges = atoi(PQgetvalue(r, row, 17)),
    };
    (void)store_redundancy_parse(PQgetvalue(r, row, 18), &ret->redundancy); // the table checks it
    snprintf(ret->name, sizeof ret->name, "%s", PQgetvalue(r, row, 1));
    snprintf(ret->revision, sizeof ret->revision, "%s", PQgetvalue(r, row, 8));
    snprintf(ret->slate_timeline, sizeof ret->slate_timeline, "%s", PQgetvalue(r, row, 15));
    snprintf(ret->slate, sizeof ret->slate, "%s", PQgetvalue(r, row, 16));
    snprintf(ret->timeline, sizeof ret->timeline, "%s", PQgetvalue(r, row, 9));
}

int store_channel_list(struct store *store, struct store_channel **ret, size_t *ret_count,
                       struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, CHANNEL_SQL "order by c.id", 0, NULL, "channels",
                            &r, reterr);
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

static int take_channel(PGresult *r, const char *name, struct store_channel *ret,
                        struct diagnostic *reterr)
{
    bool found = PQntuples(r);
    if (found)
        read_channel(r, 0, ret);
    PQclear(r);
    return found ? 0
                 : diagnostic_set(reterr, -ENOENT, "not_found", name, "there is no such channel");
}

int store_channel_get(struct store *store, const char *name, struct store_channel *ret,
                      struct diagnostic *reterr)
{
    const char *values[] = {name};
    PGresult *r;
    int error = store_query(store, STORE_LANE_API, CHANNEL_SQL "where c.name = $1", 1, values, name,
                            &r, reterr);
    return error ? error : take_channel(r, name, ret, reterr);
}

// ---- Changes ----------------------------------------------------------------------------------

// Begins a transaction that has the channel to itself, and reads it. Two statements: the second
// sees what others have committed while the first waited for them.
static int begin(struct store *store, const char *name, struct transaction *t,
                 struct store_channel *ret, struct diagnostic *reterr)
{
    const char *values[] = {name};
    PGresult *r;
    int error = transaction_begin(store, STORE_LANE_API, t, reterr);
    if (error)
        return error;
    error = transaction_query(t, "select 1 from channels where name = $1 for update", 1, values,
                              name, NULL, reterr);
    if (!error)
        error = transaction_query(t, CHANNEL_SQL "where c.name = $1", 1, values, name, &r, reterr);
    if (!error)
        error = take_channel(r, name, ret, reterr);
    return error ? transaction_end(t, error, reterr) : 0;
}

int store_channel_delete(struct store *store, const char *name, uint64_t *ret_id,
                         struct diagnostic *reterr)
{
    struct transaction t;
    struct store_channel channel;
    int error = begin(store, name, &t, &channel, reterr);
    if (error)
        return error;
    const char *values[] = {name};
    if (channel.on_air)
        error = diagnostic_set(reterr, -EBUSY, "on_air", name, "is on air; stop it first");
    else
        error = transaction_query(&t, "delete from channels where name = $1", 1, values, name, NULL,
                                  reterr);
    *ret_id = channel.id;
    return transaction_end(&t, error, reterr);
}

static int append(struct transaction *t, const struct store_channel *channel, enum store_event kind,
                  const struct store_change *change, struct diagnostic *reterr)
{
    static const char sql[] =
        "insert into channel_events (channel_id, seq, at_frame, kind, payload) "
        "select $1::bigint, coalesce(max(seq), 0) + 1, $2::bigint, $3::event_kind, $4::jsonb "
        "from channel_events where channel_id = $1::bigint";
    char id[24], frame[24], payload[512] = "{}";
    bool stops = kind == STORE_STOPPED;
    if (!stops)
        snprintf(payload, sizeof payload,
                 "{\"sha256\":\"%s\",\"timeline\":\"%s\",\"number\":%" PRId64 "}", change->revision,
                 change->timeline, change->number);
    const char *values[] = {store_number((int64_t)channel->id, id),
                            stops ? store_number(change->at_frame, frame) : NULL, event_names[kind],
                            payload};
    int error = transaction_query(t, sql, 4, values, channel->name, NULL, reterr);
    // What was stopped must not come back: after a restart the newest plan goes on where it was.
    if (!error && stops)
        error = transaction_query(t, "delete from plans where channel_id = $1", 1, values, "plans",
                                  NULL, reterr);
    return error;
}

static int change(struct transaction *t, const struct store_channel *channel,
                  const struct store_change *change, struct diagnostic *reterr)
{
    enum store_event kind = change->kind;
    if (kind == STORE_STARTED && channel->on_air)
        return diagnostic_set(reterr, -EBUSY, "on_air", channel->name,
                              "is on air already; PUT its timeline to change what it shows");
    if (kind == STORE_STOPPED && !channel->on_air)
        return 0; // as wished
    if (kind == STORE_REVISION) {
        bool other = strcmp(change->timeline, channel->timeline);
        if (!channel->on_air)
            return diagnostic_set(reterr, -EBUSY, "not_on_air", channel->name,
                                  "is not on air; start it instead");
        if (!other && !strcmp(change->revision, channel->revision))
            return 0;
        if (other)
            kind = STORE_TIMELINE;
    }
    return append(t, channel, kind, change, reterr);
}

int store_channel_change(struct store *store, const char *name, const struct store_change *wanted,
                         struct diagnostic *reterr)
{
    struct transaction t;
    struct store_channel channel;
    int error = begin(store, name, &t, &channel, reterr);
    if (error)
        return error;
    return transaction_end(&t, change(&t, &channel, wanted, reterr), reterr);
}

int store_event_list(struct store *store, uint64_t channel, char **ret_json,
                     struct diagnostic *reterr)
{
    char id[24];
    const char *values[] = {store_number((int64_t)channel, id)};
    return store_text(
        store,
        "select coalesce(jsonb_agg(jsonb_build_object('seq', seq, 'at_frame', at_frame, "
        "'kind', kind, 'payload', payload, 'requested_at', requested_at) order by seq), '[]') "
        "from channel_events where channel_id = $1",
        1, values, "events", ret_json, reterr);
}
