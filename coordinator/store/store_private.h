// Connections, queries, transactions and sealing for the store's own files.
#pragma once

#include "coordinator/store/lease.h"
#include "coordinator/store/store.h"
#include "engine/link/control_link.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>

// Who asks. The farm and the lease have connections of their own: requests of people that fill all
// others must not keep a plan or the leadership waiting.
enum store_lane { STORE_LANE_API, STORE_LANE_FARM, STORE_LANE_LEASE };

#define STORE_API_CONNECTIONS 4
#define STORE_CONNECTIONS     (STORE_API_CONNECTIONS + 2)

struct store {
    // -- constant after open
    char *database;
    char holder[STORE_NAME_MAX + 1];
    uint8_t key[CLUSTER_KEY_BYTES];
    struct lease lease;
    _Atomic uint32_t server_changes;
    _Atomic int first_host; // of several in the connection string: that one is tried first
    // -- owned by who asks for the lease
    char server[48]; // when the one that answered last had started
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t released;
    bool busy[STORE_CONNECTIONS];
    bool down;        // the newest attempt found no answer
    int64_t retry_ns; // until then nobody but the lease tries again
    char reason[256]; // as logged last
    // -- owned by who has the slot
    PGconn *connections[STORE_CONNECTIONS];
};

// ---- connection.c -----------------------------------------------------------------------------

// One connection for several statements, and when they must be done.
struct session {
    struct store *store;
    int slot;
    int64_t deadline_ns;
};
// Waits for a free connection and connects it. -ETIMEDOUT: all are busy; -EIO: unreachable.
int session_open(struct store *store, enum store_lane lane, struct session *ret,
                 struct diagnostic *reterr);
// One statement with text parameters ($1, $2, ...; NULL is null). `ret` (may be NULL) receives the
// result when it succeeds. `what` names the thing for -ENOENT and -EEXIST messages. After -EIO the
// connection is gone, and nobody knows whether the statement was run.
int session_query(struct session *session, const char *sql, int count, const char *const *values,
                  const char *what, PGresult **ret, struct diagnostic *reterr);
// Several statements as one simple query; fails as a whole.
int session_script(struct session *session, const char *script, const char *what,
                   struct diagnostic *reterr);
void session_close(struct session *session); // a connection inside a transaction is cut

// The one value of a result, as malloc'ed text; clears the result. -ENOENT: no row.
int result_text(PGresult *result, const char *what, char **ret, struct diagnostic *reterr);
// One statement that only reads, or may be run twice: it is, when the connection dies under it.
int store_query(struct store *store, enum store_lane lane, const char *sql, int count,
                const char *const *values, const char *what, PGresult **ret,
                struct diagnostic *reterr);
// The same for a statement that gives one value in one row: malloc'ed text. -ENOENT: no row.
int store_text(struct store *store, const char *sql, int count, const char *const *values,
               const char *what, char **ret, struct diagnostic *reterr);

// ---- transaction.c ----------------------------------------------------------------------------

// A transaction that writes. Its first statement makes sure that this store's lease is valid, and
// keeps it so until the end: -ESTALE otherwise. What was not committed was not done; only when the
// answer to the commit is lost is it unknown (-EIO, code "database_unsure"). Nothing is repeated.
struct transaction {
    struct session session;
};
int transaction_begin(struct store *store, enum store_lane lane, struct transaction *ret,
                      struct diagnostic *reterr);
int transaction_query(struct transaction *t, const char *sql, int count, const char *const *values,
                      const char *what, PGresult **ret, struct diagnostic *reterr);
int transaction_text(struct transaction *t, const char *sql, int count, const char *const *values,
                     const char *what, char **ret, struct diagnostic *reterr);
// Commits, or rolls back when `error` is not 0, which is then returned.
int transaction_end(struct transaction *t, int error, struct diagnostic *reterr);
// A transaction of one statement. `ret` (may be NULL): as store_text.
int store_write(struct store *store, const char *sql, int count, const char *const *values,
                const char *what, char **ret, struct diagnostic *reterr);

// ---- seal.c -----------------------------------------------------------------------------------

// "\x0011..." as bytea parameters are written; malloc'ed.
char *store_bytea(const uint8_t *bytes, size_t size);
int store_bytea_parse(const char *text, uint8_t **ret, size_t *ret_size);
const char *store_number(int64_t value, char buffer[24]);

// Seals with the secret key; `place` (table, row) is authenticated, so that sealed values cannot be
// exchanged for each other. Layout: nonce 12, ciphertext, tag 16. malloc'ed.
int store_seal(struct store *store, const char *place, const uint8_t *plain, size_t size,
               uint8_t **ret, size_t *ret_size);
int store_unseal(struct store *store, const char *place, const uint8_t *sealed, size_t size,
                 uint8_t **ret, size_t *ret_size);
