#include "engine/link/frame_message.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/thread.h"
#include "engine/link/bytes.h"

#define MAGIC     0x31465356u // "VSF1"
#define VERSION   3
#define NONCE_AT  48 // boot and counter, as they stand in the header
#define WINDOW    4096
#define BOOTS_MAX 16
// Both directions of a link share a key; this bit of the boot number keeps their nonces apart.
#define BOOT_WANT 0x80000000u

struct frame_sealer {
    EVP_CIPHER_CTX *cipher;
    uint32_t boot;
    uint64_t counter;
};

// What has been seen of one sender: bit `counter % WINDOW` of each counter in (newest - WINDOW,
// newest].
struct boot_window {
    bool used;
    uint32_t boot;
    uint64_t newest;
    uint64_t last_use;
    uint64_t seen[WINDOW / 64];
};

struct frame_opener {
    EVP_CIPHER_CTX *cipher;
    uint64_t uses;
    struct boot_window boots[BOOTS_MAX];
};

static void must(bool condition)
{
    // Fails only without memory or without a source of randomness; going on would be unsafe.
    if (!condition)
        abort();
}

// Keeps the expanded key in the context, so that a message only sets its nonce.
static EVP_CIPHER_CTX *cipher_create(const uint8_t key[LINK_KEY_BYTES], bool encrypt)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    must(cipher && EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, NULL, encrypt));
    return cipher;
}

void frame_session_draw(uint8_t ret[FRAME_SESSION_BYTES])
{
    must(RAND_bytes(ret, FRAME_SESSION_BYTES) == 1);
}

struct frame_sealer *frame_sealer_create(const uint8_t key[LINK_KEY_BYTES])
{
    struct frame_sealer *sealer = base_alloc(sizeof *sealer);
    sealer->cipher = cipher_create(key, true);
    must(RAND_bytes((unsigned char *)&sealer->boot, sizeof sealer->boot) == 1);
    must(RAND_bytes((unsigned char *)&sealer->counter, sizeof sealer->counter) == 1);
    sealer->boot &= ~BOOT_WANT;
    // A random start makes a repeated nonce as unlikely as a guessed 93-bit number, however often a
    // sender restarts; two bits stay free so that the counter never wraps.
    sealer->counter >>= 2;
    return sealer;
}

void frame_sealer_destroy(struct frame_sealer **sealer)
{
    struct frame_sealer *s = *sealer;
    if (!s)
        return;
    *sealer = NULL;
    EVP_CIPHER_CTX_free(s->cipher);
    free(s);
}

static bool from_consumer(enum frame_message_kind kind)
{
    return kind == FRAME_MESSAGE_WANT || kind == FRAME_MESSAGE_LOG_WANT;
}

static bool header_valid(const struct frame_header *h, size_t size)
{
    return h->kind >= FRAME_MESSAGE_PICTURE && h->kind <= FRAME_MESSAGE_LOG && h->width >= 0 &&
           h->width <= UINT16_MAX && h->height >= 0 && h->height <= UINT16_MAX &&
           size <= FRAME_MESSAGE_BYTES_MAX - FRAME_MESSAGE_HEADER_BYTES - FRAME_MESSAGE_TAG_BYTES;
}

static void header_write(const struct frame_header *h, uint8_t *at)
{
    put_u32(at, MAGIC);
    at[4] = VERSION;
    at[5] = (uint8_t)h->kind;
    put_u16(at + 6, 0);
    put_u64(at + 8, h->channel);
    put_u32(at + 16, h->group);
    put_u32(at + 20, h->plan_epoch);
    put_u64(at + 24, (uint64_t)h->frame);
    put_u64(at + 32, (uint64_t)h->base_frame);
    put_u16(at + 40, (uint16_t)h->width);
    put_u16(at + 42, (uint16_t)h->height);
    put_u32(at + 44, h->payload_bytes);
    put_u32(at + 48, h->boot);
    put_u64(at + 52, h->counter);
    memcpy(at + 60, h->revision, sizeof h->revision);
}

static int header_read(const uint8_t *at, size_t size, struct frame_header *ret)
{
    if (size < FRAME_MESSAGE_HEADER_BYTES + FRAME_MESSAGE_TAG_BYTES ||
        size > FRAME_MESSAGE_BYTES_MAX || get_u32(at) != MAGIC || at[4] != VERSION ||
        get_u16(at + 6) != 0)
        return -EPROTO;
    *ret = (struct frame_header){
        .kind = (enum frame_message_kind)at[5],
        .channel = get_u64(at + 8),
        .group = get_u32(at + 16),
        .plan_epoch = get_u32(at + 20),
        .frame = (int64_t)get_u64(at + 24),
        .base_frame = (int64_t)get_u64(at + 32),
        .width = get_u16(at + 40),
        .height = get_u16(at + 42),
        .payload_bytes = get_u32(at + 44),
        .boot = get_u32(at + 48),
        .counter = get_u64(at + 52),
    };
    memcpy(ret->revision, at + 60, sizeof ret->revision);
    if (ret->payload_bytes != size - FRAME_MESSAGE_HEADER_BYTES - FRAME_MESSAGE_TAG_BYTES)
        return -EPROTO;
    if (!header_valid(ret, ret->payload_bytes))
        return -EPROTO;
    if (from_consumer(ret->kind) != ((ret->boot & BOOT_WANT) != 0))
        return -EPROTO;
    return 0;
}

int frame_seal(struct frame_sealer *sealer, const struct frame_header *header, const void *payload,
               size_t size, uint8_t **ret, size_t *ret_size)
{
    if (!header_valid(header, size))
        return -EINVAL;
    size_t total = FRAME_MESSAGE_HEADER_BYTES + size + FRAME_MESSAGE_TAG_BYTES;
    uint8_t *message = malloc(total);
    if (!message)
        return -ENOMEM;
    struct frame_header h = *header;
    h.payload_bytes = (uint32_t)size;
    h.boot = sealer->boot | (from_consumer(h.kind) ? BOOT_WANT : 0);
    h.counter = sealer->counter++;
    header_write(&h, message);

    uint8_t *body = message + FRAME_MESSAGE_HEADER_BYTES;
    int n;
    must(EVP_EncryptInit_ex(sealer->cipher, NULL, NULL, NULL, message + NONCE_AT) &&
         EVP_EncryptUpdate(sealer->cipher, NULL, &n, message, FRAME_MESSAGE_HEADER_BYTES) &&
         EVP_EncryptUpdate(sealer->cipher, body, &n, size ? payload : message, (int)size) &&
         EVP_EncryptFinal_ex(sealer->cipher, body + size, &n) &&
         EVP_CIPHER_CTX_ctrl(sealer->cipher, EVP_CTRL_AEAD_GET_TAG, FRAME_MESSAGE_TAG_BYTES,
                             body + size));
    *ret = message;
    *ret_size = total;
    return 0;
}

struct frame_opener *frame_opener_create(const uint8_t key[LINK_KEY_BYTES])
{
    struct frame_opener *opener = base_alloc(sizeof *opener);
    opener->cipher = cipher_create(key, false);
    return opener;
}

void frame_opener_destroy(struct frame_opener **opener)
{
    struct frame_opener *o = *opener;
    if (!o)
        return;
    *opener = NULL;
    EVP_CIPHER_CTX_free(o->cipher);
    free(o);
}

static struct boot_window *window_find(struct frame_opener *opener, uint32_t boot)
{
    for (int i = 0; i < BOOTS_MAX; i++)
        if (opener->boots[i].used && opener->boots[i].boot == boot)
            return &opener->boots[i];
    return NULL;
}

static bool window_has(const struct boot_window *w, uint64_t counter)
{
    if (counter > w->newest)
        return false;
    if (w->newest - counter >= WINDOW)
        return true; // too old to know; treated as seen
    return w->seen[counter % WINDOW / 64] >> counter % 64 & 1;
}

// Only after the tag was found right: nobody without the key can move a window.
static void window_note(struct frame_opener *opener, uint32_t boot, uint64_t counter)
{
    struct boot_window *w = window_find(opener, boot);
    if (!w) {
        w = &opener->boots[0];
        for (int i = 1; i < BOOTS_MAX; i++)
            if (opener->boots[i].last_use < w->last_use)
                w = &opener->boots[i];
        *w = (struct boot_window){.used = true, .boot = boot, .newest = counter};
    }
    w->last_use = ++opener->uses;
    if (counter > w->newest) {
        if (counter - w->newest >= WINDOW)
            memset(w->seen, 0, sizeof w->seen);
        else
            for (uint64_t c = w->newest + 1; c < counter; c++)
                w->seen[c % WINDOW / 64] &= ~(UINT64_C(1) << c % 64);
        w->newest = counter;
    }
    w->seen[counter % WINDOW / 64] |= UINT64_C(1) << counter % 64;
}

static bool decrypt(struct frame_opener *opener, const uint8_t *message, size_t size,
                    uint8_t *payload)
{
    const uint8_t *body = message + FRAME_MESSAGE_HEADER_BYTES;
    uint8_t tag[FRAME_MESSAGE_TAG_BYTES], end[16];
    memcpy(tag, body + size, sizeof tag);
    int n;
    return EVP_DecryptInit_ex(opener->cipher, NULL, NULL, NULL, message + NONCE_AT) &&
           EVP_DecryptUpdate(opener->cipher, NULL, &n, message, FRAME_MESSAGE_HEADER_BYTES) &&
           EVP_DecryptUpdate(opener->cipher, payload, &n, body, (int)size) &&
           EVP_CIPHER_CTX_ctrl(opener->cipher, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) &&
           EVP_DecryptFinal_ex(opener->cipher, end, &n) > 0;
}

int frame_open(struct frame_opener *opener, const uint8_t *message, size_t size,
               struct frame_header *ret_header, uint8_t **ret_payload, size_t *ret_size)
{
    struct frame_header h;
    int error = header_read(message, size, &h);
    if (error)
        return error;
    uint8_t *payload = malloc(h.payload_bytes ? h.payload_bytes : 1);
    if (!payload)
        return -ENOMEM;
    if (!decrypt(opener, message, h.payload_bytes, payload)) {
        free(payload);
        return -EBADMSG;
    }
    const struct boot_window *w = window_find(opener, h.boot);
    if (w && window_has(w, h.counter)) {
        free(payload);
        return -ESTALE;
    }
    window_note(opener, h.boot, h.counter);
    *ret_header = h;
    *ret_payload = payload;
    *ret_size = h.payload_bytes;
    return 0;
}
