#include "coordinator/store/store_private.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/control_link.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 4
#define NONCE_BYTES 12
#define TAG_BYTES   16

struct store {
    // -- constant after open
    char *database;
    char holder[STORE_NAME_MAX + 1];
    uint8_t key[CLUSTER_KEY_BYTES];
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t released;
    PGconn *connections[CONNECTIONS];
    bool busy[CONNECTIONS];
};

// ---- Connections ------------------------------------------------------------------------------

static PGconn *connect_database(const char *database)
{
    // Everything has an end: connecting, statements, locks, a session left in a transaction, and a
    // peer that is silent.
    char *conninfo;
    if (asprintf(&conninfo,
                 "%s connect_timeout=3 application_name=vistter-coordinator keepalives_idle=2 "
                 "keepalives_interval=1 keepalives_count=3 tcp_user_timeout=3000 "
                 "options='-c statement_timeout=5s -c lock_timeout=2s "
                 "-c idle_in_transaction_session_timeout=5s "
                 "-c client_min_messages=warning'",
                 database) < 0)
        return NULL;
    PGconn *c = PQconnectdb(conninfo);
    free(conninfo);
    return c;
}

static int acquire(struct store *s)
{
    int slot = -1;
    pthread_mutex_lock(&s->lock);
    while (slot < 0) {
        for (int i = 0; i < CONNECTIONS && slot < 0; i++)
            if (!s->busy[i])
                slot = i;
        if (slot < 0)
            pthread_cond_wait(&s->released, &s->lock);
    }
    s->busy[slot] = true;
    pthread_mutex_unlock(&s->lock);
    return slot;
}

static void release(struct store *s, int slot)
{
    pthread_mutex_lock(&s->lock);
    s->busy[slot] = false;
    pthread_cond_signal(&s->released);
    pthread_mutex_unlock(&s->lock);
}

static bool connected(struct store *s, int slot)
{
    PGconn **c = &s->connections[slot];
    if (*c && PQstatus(*c) == CONNECTION_OK)
        return true;
    PQfinish(*c);
    *c = connect_database(s->database);
    return *c && PQstatus(*c) == CONNECTION_OK;
}

static int unreachable(PGconn *c, struct diagnostic *reterr)
{
    char reason[256];
    snprintf(reason, sizeof reason, "%s", c ? PQerrorMessage(c) : "out of memory");
    reason[strcspn(reason, "\n")] = 0;
    log_warning("database_unreachable", "reason=\"%s\"", reason);
    return diagnostic_set(reterr, -EIO, "database_unreachable", "",
                          "the database cannot be reached; what is on air goes on, changes are not "
                          "possible until it is back");
}

// SQLSTATE -> our errors and words for the user.
static int refused(const PGresult *r, const char *what, struct diagnostic *reterr)
{
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(r, PG_DIAG_CONSTRAINT_NAME);
    if (!state)
        state = "";
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
    return diagnostic_set(reterr, -EIO, "database_error", what,
                          "the database refused to work (SQLSTATE %s)", state);
}

int store_query(struct store *s, const char *sql, int count, const char *const *values,
                const char *what, PGresult **ret, struct diagnostic *reterr)
{
    int slot = acquire(s), error = 0;
    PGresult *r = NULL;
    // A connection that died while idle shows at the first statement: once more, on a new one.
    for (int attempt = 0; attempt < 2 && !r; attempt++) {
        if (!connected(s, slot)) {
            error = unreachable(s->connections[slot], reterr);
            break;
        }
        r = PQexecParams(s->connections[slot], sql, count, NULL, values, NULL, NULL, 0);
        if (PQstatus(s->connections[slot]) == CONNECTION_BAD) {
            PQclear(r);
            r = NULL;
            if (attempt)
                error = unreachable(s->connections[slot], reterr);
        }
    }
    if (r) {
        ExecStatusType status = PQresultStatus(r);
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
            error = refused(r, what, reterr);
    }
    release(s, slot);
    if (!error && ret)
        *ret = r;
    else
        PQclear(r);
    return error;
}

int store_script(struct store *s, const char *script, const char *what, struct diagnostic *reterr)
{
    int slot = acquire(s), error = 0;
    if (!connected(s, slot)) {
        error = unreachable(s->connections[slot], reterr);
    } else {
        PGresult *r = PQexec(s->connections[slot], script);
        if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
            error = refused(r, what, reterr);
            PQclear(PQexec(s->connections[slot], "rollback"));
        }
        PQclear(r);
    }
    release(s, slot);
    return error;
}

int store_text(struct store *s, const char *sql, int count, const char *const *values,
               const char *what, char **ret, struct diagnostic *reterr)
{
    PGresult *r;
    int error = store_query(s, sql, count, values, what, &r, reterr);
    if (error)
        return error;
    if (PQntuples(r) && !PQgetisnull(r, 0, 0))
        *ret = base_strdup(PQgetvalue(r, 0, 0));
    else
        error = diagnostic_set(reterr, -ENOENT, "not_found", what, "does not exist");
    PQclear(r);
    return error;
}

// ---- Values -----------------------------------------------------------------------------------

char *store_bytea(const uint8_t *bytes, size_t size)
{
    char *text = malloc(2 * size + 3);
    if (!text)
        return NULL;
    text[0] = '\\';
    text[1] = 'x';
    for (size_t i = 0; i < size; i++) {
        text[2 + 2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        text[3 + 2 * i] = "0123456789abcdef"[bytes[i] & 15];
    }
    text[2 + 2 * size] = 0;
    return text;
}

int store_bytea_parse(const char *text, uint8_t **ret, size_t *ret_size)
{
    size_t size;
    unsigned char *bytes = PQunescapeBytea((const unsigned char *)text, &size);
    *ret = bytes ? malloc(size + 1) : NULL;
    if (*ret) {
        memcpy(*ret, bytes, size);
        (*ret)[size] = 0;
        *ret_size = size;
    }
    PQfreemem(bytes);
    return *ret ? 0 : -ENOMEM;
}

const char *store_number(int64_t value, char buffer[24])
{
    snprintf(buffer, 24, "%" PRId64, value);
    return buffer;
}

// ---- Sealing ----------------------------------------------------------------------------------

static bool gcm(bool seal, const uint8_t *key, const char *place, const uint8_t *nonce,
                const uint8_t *in, size_t size, uint8_t *out, uint8_t *tag)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int length;
    bool ok = c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, seal) == 1 &&
              EVP_CipherUpdate(c, NULL, &length, (const uint8_t *)place, (int)strlen(place)) == 1 &&
              EVP_CipherUpdate(c, out, &length, in, (int)size) == 1;
    if (ok && !seal)
        ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1;
    ok = ok && EVP_CipherFinal_ex(c, out + size, &length) == 1;
    if (ok && seal)
        ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok;
}

int store_seal(struct store *s, const char *place, const uint8_t *plain, size_t size, uint8_t **ret,
               size_t *ret_size)
{
    size_t total = NONCE_BYTES + size + TAG_BYTES;
    uint8_t *sealed = malloc(total);
    if (!sealed || RAND_bytes(sealed, NONCE_BYTES) != 1 ||
        !gcm(true, s->key, place, sealed, plain, size, sealed + NONCE_BYTES,
             sealed + total - TAG_BYTES)) {
        free(sealed);
        return -ENOMEM;
    }
    *ret = sealed;
    *ret_size = total;
    return 0;
}

int store_unseal(struct store *s, const char *place, const uint8_t *sealed, size_t size,
                 uint8_t **ret, size_t *ret_size)
{
    if (size < NONCE_BYTES + TAG_BYTES)
        return -EBADMSG;
    size_t plain_size = size - NONCE_BYTES - TAG_BYTES;
    uint8_t tag[TAG_BYTES], *plain = malloc(plain_size + 1);
    if (!plain)
        return -ENOMEM;
    memcpy(tag, sealed + size - TAG_BYTES, TAG_BYTES);
    if (!gcm(false, s->key, place, sealed, sealed + NONCE_BYTES, plain_size, plain, tag)) {
        free(plain);
        return -EBADMSG;
    }
    plain[plain_size] = 0;
    *ret = plain;
    *ret_size = plain_size;
    return 0;
}

// ---- Life -------------------------------------------------------------------------------------

int store_open(const struct store_config *config, struct store **ret, struct diagnostic *reterr)
{
    struct store *s = base_alloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->released, NULL);
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
    for (int i = 0; i < CONNECTIONS; i++)
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
    int error = store_query(s, sql, 2, values, "lease", &r, reterr);
    if (error)
        return error;
    if (PQntuples(r))
        *ret_epoch = strtoull(PQgetvalue(r, 0, 0), NULL, 10);
    else
        error = -EAGAIN;
    PQclear(r);
    return error;
}

void store_lease_release(struct store *s, uint64_t epoch)
{
    char number[24];
    const char *values[] = {s->holder, store_number((int64_t)epoch, number)};
    // Unreachable: then it expires by itself.
    (void)store_query(s,
                      "update lease set expires = clock_timestamp() "
                      "where name = 'coordinator' and holder = $1 and epoch = $2",
                      2, values, "lease", NULL, NULL);
}
