// Migrations: forward only, each file in one transaction, with its checksum recorded.
#include "coordinator/store/store_private.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIGRATION_BYTES_MAX (1 << 20)
#define MIGRATION_NS        INT64_C(60000000000)

static int is_migration(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 9 && strspn(entry->d_name, "0123456789") == 4 && entry->d_name[4] == '_' &&
           !strcmp(entry->d_name + length - 4, ".sql");
}

static int read_file(const char *path, char **ret, size_t *ret_size, struct diagnostic *reterr)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(MIGRATION_BYTES_MAX + 1);
    size_t size = file && text ? fread(text, 1, MIGRATION_BYTES_MAX + 1, file) : 0;
    if (file)
        fclose(file);
    if (!size || size > MIGRATION_BYTES_MAX) {
        free(text);
        return diagnostic_set(reterr, -EINVAL, "migration", path, "cannot be read whole");
    }
    text[size] = 0;
    *ret = text;
    *ret_size = size;
    return 0;
}

static void hash_hex(const char *bytes, size_t size, char ret[65])
{
    unsigned char hash[32];
    EVP_Digest(bytes, size, hash, NULL, EVP_sha256(), NULL);
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

// Two coordinators may start on one empty database: all that follows is under this lock, the look
// at what is there included. -EAGAIN: another has it.
static int begin(struct session *session, struct diagnostic *reterr)
{
    int error = session_query(session, "begin", 0, NULL, "begin", NULL, reterr);
    if (!error)
        error = session_query(session, "set local statement_timeout = '60s'", 0, NULL, "migrations",
                              NULL, reterr);
    PGresult *r = NULL;
    if (!error)
        error = session_query(session, "select pg_try_advisory_xact_lock(4711)", 0, NULL,
                              "migrations", &r, reterr);
    if (!error && PQgetvalue(r, 0, 0)[0] != 't')
        error = diagnostic_set(reterr, -EAGAIN, "migrations_locked", "",
                               "another coordinator is bringing the database up to date");
    PQclear(r);
    if (!error)
        error = session_query(session,
                              "create table if not exists schema_migrations (name text primary "
                              "key, sha256 text not null, applied_at timestamptz not null default "
                              "clock_timestamp())",
                              0, NULL, "schema_migrations", NULL, reterr);
    return error;
}

// What is recorded for a file: 1 the same, 0 nothing, -EINVAL something else.
static int recorded(struct session *session, const char *name, const char *hash,
                    struct diagnostic *reterr)
{
    const char *values[] = {name};
    PGresult *r;
    int error = session_query(session, "select sha256 from schema_migrations where name = $1", 1,
                              values, name, &r, reterr);
    if (error)
        return error;
    int known = PQntuples(r);
    if (known && strcmp(PQgetvalue(r, 0, 0), hash))
        known = diagnostic_set(reterr, -EINVAL, "migration_changed", name,
                               "has changed since it was applied; add a new file instead");
    PQclear(r);
    return known;
}

static int apply(struct session *session, const char *name, const char *hash, const char *sql,
                 struct diagnostic *reterr)
{
    int known = recorded(session, name, hash, reterr);
    if (known)
        return known < 0 ? known : 0;
    const char *values[] = {name, hash};
    int error = session_script(session, sql, name, reterr);
    if (!error)
        error =
            session_query(session, "insert into schema_migrations (name, sha256) values ($1, $2)",
                          2, values, name, NULL, reterr);
    if (!error)
        log_info("migration_applied", "name=%s", name);
    return error;
}

static int migrate_file(struct store *store, const char *folder, const char *name,
                        struct diagnostic *reterr)
{
    char path[PATH_MAX], hash[65], *sql = NULL;
    size_t size = 0;
    struct session session;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int error = read_file(path, &sql, &size, reterr);
    if (error)
        return error;
    hash_hex(sql, size, hash);
    error = session_open(store, STORE_LANE_LEASE, &session, reterr);
    if (!error) {
        session.deadline_ns = clock_monotonic_ns() + MIGRATION_NS;
        error = begin(&session, reterr);
        if (!error)
            error = apply(&session, name, hash, sql, reterr);
        if (!error)
            error = session_query(&session, "commit", 0, NULL, "commit", NULL, reterr);
        session_close(&session); // rolls back what was not committed
    }
    free(sql);
    return error;
}

int store_migrate(struct store *store, const char *folder, struct diagnostic *reterr)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_migration, alphasort);
    if (count <= 0)
        return diagnostic_set(reterr, -ENOENT, "migrations", folder, "holds no migrations");
    int error = 0;
    for (int i = 0; i < count; i++) {
        if (!error)
            error = migrate_file(store, folder, entries[i]->d_name, reterr);
        free(entries[i]);
    }
    free(entries);
    return error;
}
