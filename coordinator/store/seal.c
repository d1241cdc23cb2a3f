// Values as PostgreSQL writes them, and values that only this cluster can read.
#include "coordinator/store/store_private.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_BYTES 12
#define TAG_BYTES   16

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
