// Migrations: forward only, each file in one transaction, with its checksum recorded.
#include "coordinator/store/store_private.h"
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

// The file and its record in one transaction: a DO block cannot hold several statements of any
// kind, so the text is sent as one simple query, which PostgreSQL runs as a whole or not at all.
static int apply(struct store *store, const char *name, const char *hash, const char *sql,
                 struct diagnostic *reterr)
{
    char *script;
    if (asprintf(&script,
                 "begin; select pg_advisory_xact_lock(4711);\n%s\n;"
                 "insert into schema_migrations (name, sha256) values ('%s', '%s'); commit;",
                 sql, name, hash) < 0)
        return -ENOMEM;
    int error = store_script(store, script, name, reterr);
    free(script);
    if (!error)
        log_info("migration_applied", "name=%s", name);
    return error;
}

static int migrate_file(struct store *store, const char *folder, const char *name,
                        struct diagnostic *reterr)
{
    char path[PATH_MAX], hash[65], *sql = NULL, *recorded = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int error = read_file(path, &sql, &size, reterr);
    if (error)
        return error;
    hash_hex(sql, size, hash);
    const char *values[] = {name};
    error = store_text(store, "select sha256 from schema_migrations where name = $1", 1, values,
                       name, &recorded, reterr);
    if (error == -ENOENT)
        error = apply(store, name, hash, sql, reterr);
    else if (!error && strcmp(recorded, hash))
        error = diagnostic_set(reterr, -EINVAL, "migration_changed", path,
                               "has changed since it was applied; add a new file instead");
    free(recorded);
    free(sql);
    return error;
}

int store_migrate(struct store *store, const char *folder, struct diagnostic *reterr)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_migration, alphasort);
    if (count <= 0)
        return diagnostic_set(reterr, -ENOENT, "migrations", folder, "holds no migrations");
    int error = store_query(store,
                            "create table if not exists schema_migrations (name text primary key, "
                            "sha256 text not null, applied_at timestamptz not null default "
                            "clock_timestamp())",
                            0, NULL, "schema_migrations", NULL, reterr);
    for (int i = 0; i < count; i++) {
        if (!error)
            error = migrate_file(store, folder, entries[i]->d_name, reterr);
        free(entries[i]);
    }
    free(entries);
    return error;
}
