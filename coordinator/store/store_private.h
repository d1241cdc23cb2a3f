// Connections, queries and sealing for the store's own files.
#pragma once

#include "coordinator/store/store.h"

#include <libpq-fe.h>

// One statement with text parameters ($1, $2, ...; NULL is null). `ret` (may be NULL) receives the
// result when it succeeds. Retries once when the connection turns out to be dead before anything
// was sent. `what` names the thing for -ENOENT and -EEXIST messages.
int store_query(struct store *store, const char *sql, int count, const char *const *values,
                const char *what, PGresult **ret, struct diagnostic *reterr);
// Several statements as one simple query; fails as a whole.
int store_script(struct store *store, const char *script, const char *what,
                 struct diagnostic *reterr);
// As store_query for a statement that gives one value in one row: malloc'ed text. -ENOENT: no row.
int store_text(struct store *store, const char *sql, int count, const char *const *values,
               const char *what, char **ret, struct diagnostic *reterr);
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
