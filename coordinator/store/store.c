// Life of the store, and the leader's lease.
#include "coordinator/store/store_private.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Lost changes of holder, after a change of primary, must not let an epoch be used twice.
#define EPOCH_FLOOR "(extract(epoch from clock_timestamp()) * 1000)::bigint"

int store_open(const struct store_config *config, struct store **ret, struct diagnostic *reterr)
{
    struct store *s = base_alloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&s->released, &attributes);
    pthread_condattr_destroy(&attributes);
    s->database = base_strdup(config->database);
    snprintf(s->holder, sizeof s->holder, "%s", config->holder);
    int error = cluster_key_read(config->secret_key, s->key, reterr);
    if (error) {
        store_close(&s);
        return error;
    }
    *ret = s;
    return 0;
}

void store_close(struct store **store)
{
    struct store *s = *store;
    if (!s)
        return;
    *store = NULL;
    for (int i = 0; i < STORE_CONNECTIONS; i++)
        PQfinish(s->connections[i]);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->released);
    OPENSSL_cleanse(s->key, sizeof s->key);
    free(s->database);
    free(s);
}

// Whether the server answers that answered before; a change of primary, or a restart, is another.
static void note_server(struct store *s, const char *started)
{
    if (*s->server && strcmp(s->server, started))
        atomic_fetch_add(&s->server_changes, 1);
    snprintf(s->server, sizeof s->server, "%s", started);
}

int store_lease(struct store *s, const struct store_lease *wanted, uint64_t *ret_epoch,
                struct diagnostic *reterr)
{
    // Times are the database's alone. The epoch rises with every change of holder; a holder that
    // slept past its expiry while nobody took over goes on with its own.
    static const char sql[] =
        "insert into lease as l (name, holder, epoch, expires, api_url) "
        "values ('coordinator', $1, greatest($3::bigint + 1, " EPOCH_FLOOR "), "
        "clock_timestamp() + $2::int * interval '1 millisecond', $4) "
        "on conflict (name) do update set "
        "epoch = case when l.holder = $1 and l.epoch > $3::bigint then l.epoch "
        "else greatest(l.epoch + 1, $3::bigint + 1, " EPOCH_FLOOR ") end, "
        "holder = $1, expires = clock_timestamp() + $2::int * interval '1 millisecond', "
        "api_url = $4 where l.holder = $1 or l.expires <= clock_timestamp() "
        "returning epoch, pg_postmaster_start_time()";
    char ttl[24], above[24];
    PGresult *r;
    const char *values[] = {s->holder, store_number(wanted->ttl_ms, ttl),
                            store_number((int64_t)wanted->above, above), wanted->api_url};
    int64_t asked_ns = clock_monotonic_ns();
    int error = store_query(s, STORE_LANE_LEASE, sql, 4, values, "lease", &r, reterr);
    if (error)
        return error;
    uint64_t epoch = 0;
    if (PQntuples(r)) {
        epoch = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
        note_server(s, PQgetvalue(r, 0, 1));
        lease_take(&s->lease, epoch, asked_ns, wanted->ttl_ms * INT64_C(1000000));
    } else {
        lease_drop(&s->lease);
    }
    PQclear(r);
    *ret_epoch = epoch;
    return epoch ? 0 : -EAGAIN;
}

bool store_leads(struct store *s)
{
    return lease_epoch(&s->lease, clock_monotonic_ns()) != 0;
}

uint32_t store_server_changes(struct store *s)
{
    return atomic_load(&s->server_changes);
}

void store_lease_release(struct store *s)
{
    char number[24];
    uint64_t epoch = atomic_load(&s->lease.epoch);
    const char *values[] = {s->holder, store_number((int64_t)epoch, number)};
    lease_drop(&s->lease);
    // Unreachable: then it expires by itself.
    if (epoch)
        (void)store_query(s, STORE_LANE_LEASE,
                          "update lease set expires = clock_timestamp() "
                          "where name = 'coordinator' and holder = $1 and epoch = $2",
                          2, values, "lease", NULL, NULL);
}
