// Life of the store, and the leader's lease.
#include "coordinator/store/store_private.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

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

int store_lease(struct store *s, int ttl_ms, uint64_t *ret_epoch, struct diagnostic *reterr)
{
    // Times are the database's alone. The epoch rises with every change of holder; a holder that
    // slept past its expiry while nobody took over goes on with its own.
    static const char sql[] =
        "insert into lease as l (name, holder, epoch, expires) "
        "values ('coordinator', $1, 1, clock_timestamp() + $2::int * interval '1 millisecond') "
        "on conflict (name) do update set "
        "epoch = case when l.holder = $1 then l.epoch else l.epoch + 1 end, "
        "holder = $1, expires = clock_timestamp() + $2::int * interval '1 millisecond' "
        "where l.holder = $1 or l.expires <= clock_timestamp() "
        "returning epoch";
    char ttl[24];
    PGresult *r;
    const char *values[] = {s->holder, store_number(ttl_ms, ttl)};
    int error = store_query(s, STORE_LANE_LEASE, sql, 2, values, "lease", &r, reterr);
    if (error)
        return error;
    uint64_t epoch = PQntuples(r) ? strtoull(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    PQclear(r);
    atomic_store(&s->epoch, epoch);
    *ret_epoch = epoch;
    return epoch ? 0 : -EAGAIN;
}

void store_lease_release(struct store *s)
{
    char number[24];
    uint64_t epoch = atomic_exchange(&s->epoch, 0);
    const char *values[] = {s->holder, store_number((int64_t)epoch, number)};
    // Unreachable: then it expires by itself.
    if (epoch)
        (void)store_query(s, STORE_LANE_LEASE,
                          "update lease set expires = clock_timestamp() "
                          "where name = 'coordinator' and holder = $1 and epoch = $2",
                          2, values, "lease", NULL, NULL);
}
