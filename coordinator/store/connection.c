// Connections to PostgreSQL, used without ever blocking in libpq: every call has a deadline by our
// own clock. The server's time limits do not help against a server that has been stopped, and
// PQcancel would wait for it without limit, so a late connection is cut; the server notices
// (client_connection_check_interval) and gives its transaction up.
#include "coordinator/store/store_private.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS         INT64_C(1000000)
#define ANSWER_NS  (3000 * MS)
#define LEASE_NS   (1200 * MS) // a lease lasts longer, a wait for its lock is shorter
#define ACQUIRE_NS (1000 * MS)
#define RETRY_NS   (1000 * MS)

static int wait_socket(int fd, short events, int64_t deadline_ns)
{
    for (;;) {
        int64_t left_ms = (deadline_ns - clock_monotonic_ns() + MS - 1) / MS;
        struct pollfd p = {fd, events, 0};
        int r = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (r > 0)
            return 0;
        if (r == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

// ---- What is known of the server --------------------------------------------------------------

static int say_unreachable(struct diagnostic *reterr)
{
    return diagnostic_set(reterr, -EIO, "database_unreachable", "",
                          "the database cannot be reached; what is on air goes on, changes are not "
                          "possible until it is back");
}

static int unreachable(struct store *s, const char *reason, struct diagnostic *reterr)
{
    char line[sizeof s->reason];
    snprintf(line, sizeof line, "%s", reason && *reason ? reason : "it does not answer");
    line[strcspn(line, "\n")] = 0;
    pthread_mutex_lock(&s->lock);
    bool news = !s->down || strcmp(line, s->reason);
    s->down = true;
    s->retry_ns = clock_monotonic_ns() + RETRY_NS;
    snprintf(s->reason, sizeof s->reason, "%s", line);
    pthread_mutex_unlock(&s->lock);
    if (news)
        log_warning("database_unreachable", "reason=\"%s\"", line);
    return say_unreachable(reterr);
}

static void reachable(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    bool news = s->down;
    s->down = false;
    pthread_mutex_unlock(&s->lock);
    if (news)
        log_info("database_reachable", "holder=%s", s->holder);
}

// Whether it was found unreachable a moment ago: then nobody waits for it once more.
static bool just_failed(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    bool failed = s->down && clock_monotonic_ns() < s->retry_ns;
    pthread_mutex_unlock(&s->lock);
    return failed;
}

// ---- Connecting -------------------------------------------------------------------------------

// A connection string may name several hosts, with commas. libpq tries one after the other, but
// waits for one that keeps silent as long as we do: so each gets a part of the time, and is the
// first for that; who answered last comes first the next time.

static int count_items(const char *list)
{
    int count = 1;
    for (; *list; list++)
        count += *list == ',';
    return count;
}

// "a,b,c" from item 1 on: "b,c,a". A list that has not `count` items is for all hosts.
static char *rotate(const char *list, int from, int count)
{
    if (count_items(list) != count || count == 1)
        return base_strdup(list);
    const char *at = list;
    for (int i = 0; i < from; i++)
        at = strchr(at, ',') + 1;
    size_t size = strlen(list) + 2;
    char *rotated = base_alloc(size);
    int head = at > list ? (int)(at - list - 1) : 0;
    snprintf(rotated, size, "%s%s%.*s", at, head ? "," : "", head, list);
    return rotated;
}

struct hosts {
    const char *names[4];
    char *values[4]; // hosts, addresses, ports from one of them on; NULL: not given
    int count;       // of hosts
};

static void hosts_read(const char *database, int from, struct hosts *ret)
{
    static const char *const keywords[] = {"hostaddr", "host", "port"};
    PQconninfoOption *options = PQconninfoParse(database, NULL);
    const char *given[3] = {0};
    *ret = (struct hosts){.count = 1};
    for (const PQconninfoOption *o = options; o && o->keyword; o++)
        for (int i = 0; i < 3; i++)
            if (!strcmp(o->keyword, keywords[i]) && o->val && *o->val)
                given[i] = o->val;
    if (given[0] || given[1])
        ret->count = count_items(given[0] ? given[0] : given[1]);
    for (int i = 0; i < 3; i++) {
        ret->names[i] = given[i] ? keywords[i] : NULL;
        ret->values[i] = given[i] ? rotate(given[i], from % ret->count, ret->count) : NULL;
    }
    PQconninfoFree(options);
}

// The connection to one that answers, beginning with host `from`; or to none.
static PGconn *connect_from(const char *database, int from, int64_t deadline_ns)
{
    static const char options[] = "-c statement_timeout=2s -c lock_timeout=800ms "
                                  "-c idle_in_transaction_session_timeout=2s "
                                  "-c client_connection_check_interval=500ms "
                                  "-c client_min_messages=warning";
    // What comes after the connection string (dbname) overrides it.
    const char *names[11] = {
        "dbname",           "application_name", "keepalives_idle", "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "options"};
    const char *values[11] = {database, "vistter-coordinator", "2", "1", "3", "3000", options};
    struct hosts hosts;
    hosts_read(database, from, &hosts);
    for (int i = 0, n = 7; i < 3; i++) {
        names[n] = hosts.names[i];
        values[n] = hosts.values[i];
        n += hosts.names[i] != NULL;
    }
    PGconn *c = PQconnectStartParams(names, values, 1);
    for (int i = 0; i < 3; i++)
        free(hosts.values[i]);
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (c && PQstatus(c) != CONNECTION_BAD && next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED ||
            wait_socket(PQsocket(c), next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ns))
            return c; // not connected
        next = PQconnectPoll(c);
    }
    if (c && PQstatus(c) == CONNECTION_OK)
        PQsetnonblocking(c, 1);
    return c;
}

static PGconn *connect_database(struct store *s, int64_t deadline_ns)
{
    struct hosts hosts;
    hosts_read(s->database, 0, &hosts);
    for (int i = 0; i < 3; i++)
        free(hosts.values[i]);
    int first = atomic_load(&s->first_host) % hosts.count;
    for (int i = 0;; i++) {
        int left = hosts.count - i, from = (first + i) % hosts.count;
        int64_t now_ns = clock_monotonic_ns();
        PGconn *c = connect_from(s->database, from, now_ns + (deadline_ns - now_ns) / left);
        if (left == 1 || (c && PQstatus(c) == CONNECTION_OK)) {
            atomic_store(&s->first_host, from);
            return c;
        }
        PQfinish(c);
    }
}

static int acquire(struct store *s, enum store_lane lane, struct diagnostic *reterr)
{
    int first = lane == STORE_LANE_API ? 0 : STORE_API_CONNECTIONS + (lane == STORE_LANE_LEASE);
    int end = lane == STORE_LANE_API ? STORE_API_CONNECTIONS : first + 1;
    int slot = -1, r = 0;
    int64_t until_ns = clock_monotonic_ns() + ACQUIRE_NS;
    struct timespec until = {until_ns / (1000 * MS), until_ns % (1000 * MS)};
    pthread_mutex_lock(&s->lock);
    while (slot < 0 && r != ETIMEDOUT) {
        for (int i = first; i < end && slot < 0; i++)
            if (!s->busy[i])
                slot = i;
        if (slot < 0)
            r = pthread_cond_timedwait(&s->released, &s->lock, &until);
    }
    if (slot >= 0)
        s->busy[slot] = true;
    pthread_mutex_unlock(&s->lock);
    return slot >= 0 ? slot
                     : diagnostic_set(reterr, -ETIMEDOUT, "database_busy", "",
                                      "the database is busy with other requests; try again");
}

static void cut(struct session *session)
{
    PGconn **c = &session->store->connections[session->slot];
    PQfinish(*c);
    *c = NULL;
}

// A server that has gone away shows before anything is sent: nothing else is said unasked.
static bool still_connected(PGconn *c)
{
    return c && PQstatus(c) == CONNECTION_OK && wait_socket(PQsocket(c), POLLIN, 0) == -ETIMEDOUT;
}

int session_open(struct store *s, enum store_lane lane, struct session *ret,
                 struct diagnostic *reterr)
{
    if (lane != STORE_LANE_LEASE && just_failed(s))
        return say_unreachable(reterr);
    int slot = acquire(s, lane, reterr);
    if (slot < 0)
        return slot;
    *ret = (struct session){
        s, slot, clock_monotonic_ns() + (lane == STORE_LANE_LEASE ? LEASE_NS : ANSWER_NS)};
    PGconn **c = &s->connections[slot];
    if (still_connected(*c))
        return 0;
    PQfinish(*c);
    *c = connect_database(s, ret->deadline_ns);
    if (*c && PQstatus(*c) == CONNECTION_OK)
        return 0;
    bool late = clock_monotonic_ns() >= ret->deadline_ns;
    int error = unreachable(s, *c && !late ? PQerrorMessage(*c) : NULL, reterr);
    cut(ret);
    session_close(ret);
    return error;
}

void session_close(struct session *session)
{
    struct store *s = session->store;
    PGconn *c = s->connections[session->slot];
    if (c && PQtransactionStatus(c) != PQTRANS_IDLE)
        cut(session);
    pthread_mutex_lock(&s->lock);
    s->busy[session->slot] = false;
    pthread_cond_broadcast(&s->released); // several lanes wait here
    pthread_mutex_unlock(&s->lock);
}

// ---- Statements -------------------------------------------------------------------------------

// SQLSTATE -> our errors and words for the user.
static int refused(const PGresult *r, const char *what, struct diagnostic *reterr)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME);
    if (!state)
        state = "";
    // It shuts down, or ends this session; or it is the primary no more.
    if (!strncmp(state, "57P", 3) || !strcmp(state, "25006"))
        return say_unreachable(reterr);
    if (!strcmp(state, "53100"))
        return diagnostic_set(reterr, -ETIMEDOUT, "database_full", what,
                              "the database's disk is full; what is on air goes on, changes are "
                              "not possible until there is room");
    if (!strncmp(state, "53", 2) || !strcmp(state, "57014") || !strcmp(state, "55P03") ||
        !strncmp(state, "40", 2))
        return diagnostic_set(reterr, -ETIMEDOUT, "database_busy", what,
                              "the database is busy with other requests; try again");
    if (!strcmp(state, "23505"))
        return diagnostic_set(reterr, -EEXIST, "exists", what, "exists already");
    if (!strcmp(state, "23503"))
        return diagnostic_set(reterr, -ENOENT, "not_found", what, "does not exist");
    if (!strcmp(state, "23514") && constraint && strstr(constraint, "name_is_plain"))
        return diagnostic_set(reterr, -EINVAL, "name", what,
                              "a name has 1 to 64 letters, digits, dots, dashes and underscores, "
                              "and starts with a letter or digit");
    if (!strncmp(state, "23", 2) || !strncmp(state, "22", 2))
        return diagnostic_set(reterr, -EINVAL, "refused", what, "is refused by the rule %s",
                              constraint ? constraint : state);
    log_error("database_error", "sqlstate=%s text=\"%s\"", state, PQresultErrorMessage(r));
    return diagnostic_set(reterr, -EREMOTEIO, "database_error", what,
                          "the database refused to work (SQLSTATE %s)", state);
}

static int flush(PGconn *c, int64_t deadline_ns)
{
    int r;
    while ((r = PQflush(c)) > 0) {
        // It may have to be heard before it can hear more.
        int error = wait_socket(PQsocket(c), POLLIN | POLLOUT, deadline_ns);
        if (error)
            return error;
        if (!PQconsumeInput(c))
            return -EIO;
    }
    return r < 0 ? -EIO : 0;
}

// All results of what was sent; gives the last, or the first that failed.
static int await(PGconn *c, int64_t deadline_ns, PGresult **ret)
{
    PGresult *kept = NULL;
    int error = flush(c, deadline_ns);
    for (bool more = !error; more;) {
        while (!error && PQisBusy(c)) {
            error = wait_socket(PQsocket(c), POLLIN, deadline_ns);
            if (!error && !PQconsumeInput(c))
                error = -EIO;
        }
        PGresult *r = error ? NULL : PQgetResult(c);
        more = r;
        if (!r || (kept && PQresultStatus(kept) == PGRES_FATAL_ERROR)) {
            PQclear(r);
            continue;
        }
        PQclear(kept);
        kept = r;
    }
    if (!error && (!kept || PQstatus(c) != CONNECTION_OK))
        error = -EIO;
    *ret = kept;
    return error;
}

static int finish_query(struct session *session, bool sent, const char *what, PGresult **ret,
                        struct diagnostic *reterr)
{
    struct store *s = session->store;
    PGconn *c = s->connections[session->slot];
    PGresult *r = NULL;
    int error = sent ? await(c, session->deadline_ns, &r) : -EIO;
    if (error) {
        // A connection may end without the server: whether it is there, the next one shows.
        error = error == -ETIMEDOUT ? unreachable(s, NULL, reterr) : say_unreachable(reterr);
    } else {
        ExecStatusType status = PQresultStatus(r);
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
            error = refused(r, what, reterr);
        else
            reachable(s);
    }
    if (error == -EIO)
        cut(session);
    if (!error && ret)
        *ret = r;
    else
        PQclear(r);
    return error;
}

int session_query(struct session *session, const char *sql, int count, const char *const *values,
                  const char *what, PGresult **ret, struct diagnostic *reterr)
{
    PGconn *c = session->store->connections[session->slot];
    bool sent = c && PQsendQueryParams(c, sql, count, NULL, values, NULL, NULL, 0);
    return finish_query(session, sent, what, ret, reterr);
}

int session_script(struct session *session, const char *script, const char *what,
                   struct diagnostic *reterr)
{
    PGconn *c = session->store->connections[session->slot];
    return finish_query(session, c && PQsendQuery(c, script), what, NULL, reterr);
}

int store_query(struct store *s, enum store_lane lane, const char *sql, int count,
                const char *const *values, const char *what, PGresult **ret,
                struct diagnostic *reterr)
{
    struct session session;
    int error = -EIO;
    // A connection that has just died shows at the first statement: once more, on a new one.
    for (int attempt = 0; attempt < 2 && error == -EIO; attempt++) {
        error = session_open(s, lane, &session, reterr);
        if (error)
            return error;
        error = session_query(&session, sql, count, values, what, ret, reterr);
        session_close(&session);
    }
    return error;
}

int result_text(PGresult *r, const char *what, char **ret, struct diagnostic *reterr)
{
    int error = 0;
    if (PQntuples(r) && !PQgetisnull(r, 0, 0))
        *ret = base_strdup(PQgetvalue(r, 0, 0));
    else
        error = diagnostic_set(reterr, -ENOENT, "not_found", what, "does not exist");
    PQclear(r);
    return error;
}

int store_text(struct store *s, const char *sql, int count, const char *const *values,
               const char *what, char **ret, struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(s, STORE_LANE_API, sql, count, values, what, &r, reterr);
    return error ? error : result_text(r, what, ret, reterr);
}
