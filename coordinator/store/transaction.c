// Transactions that write, fenced by the leader's lease.
#include "coordinator/store/store_private.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>

// By our own clock. A lease that has run out may still be nobody else's: it is tried again.
static int not_leading(struct store *s, struct diagnostic *reterr)
{
    if (atomic_load(&s->lease.epoch))
        return diagnostic_set(reterr, -EIO, "lease_not_renewed", "",
                              "the database has not renewed this coordinator's lease; what is on "
                              "air goes on, changes are not possible until it has");
    return diagnostic_set(reterr, -ESTALE, "not_leading", "",
                          "this coordinator does not lead; ask the one that does");
}

// FOR SHARE keeps the lease as it is until the transaction ends: nobody takes over in between.
static int check_lease(struct session *session, uint64_t epoch, struct diagnostic *reterr)
{
    static const char sql[] = "select 1 from lease where name = 'coordinator' and holder = $1 "
                              "and epoch = $2 and expires > clock_timestamp() for share";
    char number[24];
    const char *values[] = {session->store->holder, store_number((int64_t)epoch, number)};
    PGresult *r;
    int error = session_query(session, sql, 2, values, "lease", &r, reterr);
    if (error)
        return error;
    bool leads = PQntuples(r);
    PQclear(r);
    return leads ? 0
                 : diagnostic_set(reterr, -ESTALE, "not_leading", "",
                                  "this coordinator leads no more; ask the one that does");
}

int transaction_begin(struct store *s, enum store_lane lane, struct transaction *ret,
                      struct diagnostic *reterr)
{
    uint64_t epoch = lease_epoch(&s->lease, clock_monotonic_ns());
    if (!epoch)
        return not_leading(s, reterr);
    int error = -EIO;
    // A connection that has just died shows here, where nothing is lost yet.
    for (int attempt = 0; attempt < 2 && error == -EIO; attempt++) {
        error = session_open(s, lane, &ret->session, reterr);
        if (error)
            return error;
        error = session_query(&ret->session, "begin", 0, NULL, "begin", NULL, reterr);
        if (!error)
            error = check_lease(&ret->session, epoch, reterr);
        if (error)
            session_close(&ret->session);
    }
    return error;
}

int transaction_query(struct transaction *t, const char *sql, int count, const char *const *values,
                      const char *what, PGresult **ret, struct diagnostic *reterr)
{
    return session_query(&t->session, sql, count, values, what, ret, reterr);
}

int transaction_text(struct transaction *t, const char *sql, int count, const char *const *values,
                     const char *what, char **ret, struct diagnostic *reterr)
{
    PGresult *r;
    int error = transaction_query(t, sql, count, values, what, &r, reterr);
    return error ? error : result_text(r, what, ret, reterr);
}

int transaction_end(struct transaction *t, int error, struct diagnostic *reterr)
{
    struct store *s = t->session.store;
    if (!error && !store_leads(s)) // we have stood still in the midst of it
        error = not_leading(s, reterr);
    if (error) {
        (void)session_query(&t->session, "rollback", 0, NULL, "rollback", NULL, NULL);
    } else {
        error = session_query(&t->session, "commit", 0, NULL, "commit", NULL, reterr);
        if (error == -EIO)
            diagnostic_set(reterr, error, "database_unsure", "",
                           "the database was lost before it said whether the change is made; look "
                           "before you try again");
    }
    session_close(&t->session);
    return error;
}

int store_write(struct store *s, const char *sql, int count, const char *const *values,
                const char *what, char **ret, struct diagnostic *reterr)
{
    struct transaction t;
    char *text = NULL;
    int error = transaction_begin(s, STORE_LANE_API, &t, reterr);
    if (error)
        return error;
    error = ret ? transaction_text(&t, sql, count, values, what, &text, reterr)
                : transaction_query(&t, sql, count, values, what, NULL, reterr);
    error = transaction_end(&t, error, reterr);
    if (error)
        free(text);
    else if (ret)
        *ret = text;
    return error;
}
