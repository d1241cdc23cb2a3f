// Sealed messages: what is sealed opens once, with the right key, unchanged; nothing else does.
#include "engine/link/frame_message.h"
#include "engine/link/frame_want.h"

#include <errno.h>
#include <openssl/evp.h>

#include "tests/check.h"

static const uint8_t key[LINK_KEY_BYTES] = {1, 2, 3, 250, 251, 252};

static struct frame_header sample(int64_t frame)
{
    return (struct frame_header){
        .kind = FRAME_MESSAGE_PICTURE,
        .channel = UINT64_C(0x1122334455667788),
        .group = 7,
        .plan_epoch = 9,
        .frame = frame,
        .base_frame = -3,
        .width = 1920,
        .height = 1080,
        .revision = {1, 2, 3, 4, 5, 6, 7, 8},
    };
}

static int open_free(struct frame_opener *opener, const uint8_t *message, size_t size)
{
    struct frame_header header;
    uint8_t *payload = NULL;
    size_t payload_size;
    int error = frame_open(opener, message, size, &header, &payload, &payload_size);
    if (!error)
        free(payload);
    return error;
}

static void test_layout(void)
{
    struct frame_sealer *sealer = frame_sealer_create(key);
    struct frame_opener *opener = frame_opener_create(key);
    struct frame_header header = sample(123456789012), out;
    uint8_t *message = NULL, *payload = NULL;
    size_t size = 0, payload_size = 0;
    CHECK_OK(frame_seal(sealer, &header, "hello", 5, &message, &size));
    CHECK(size, ==, 68 + 5 + 16);
    CHECK_BYTES(message, "VSF1\x03\x01\x00\x00\x88\x77\x66\x55\x44\x33\x22\x11", 16);
    CHECK_BYTES(message + 16, "\x07\x00\x00\x00\x09\x00\x00\x00", 8);
    CHECK_BYTES(message + 32, "\xfd\xff\xff\xff\xff\xff\xff\xff\x80\x07\x38\x04\x05\x00\x00\x00",
                16);
    CHECK_BYTES(message + 60, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);

    // The ciphertext by an independent path: a fresh one-shot use of the cipher.
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    uint8_t body[5];
    int n;
    EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, message + 48);
    EVP_EncryptUpdate(cipher, NULL, &n, message, 68);
    EVP_EncryptUpdate(cipher, body, &n, (const uint8_t *)"hello", 5);
    CHECK_BYTES(message + 68, body, 5);
    EVP_CIPHER_CTX_free(cipher);

    CHECK_OK(frame_open(opener, message, size, &out, &payload, &payload_size));
    CHECK(payload_size, ==, 5);
    CHECK_BYTES(payload, "hello", 5);
    CHECK(out.channel, ==, header.channel);
    CHECK(out.frame, ==, header.frame);
    CHECK(out.base_frame, ==, -3);
    CHECK(out.width, ==, 1920);
    CHECK(out.height, ==, 1080);
    CHECK_BYTES(out.revision, header.revision, 8);
    free(payload);

    CHECK_ERROR(open_free(opener, message, size), -ESTALE);
    free(message);
    frame_sealer_destroy(&sealer);
    frame_opener_destroy(&opener);
}

// Every single changed byte, and every shorter length, is noticed.
static void test_corruption(void)
{
    struct frame_sealer *sealer = frame_sealer_create(key);
    struct frame_opener *opener = frame_opener_create(key);
    struct frame_header header = sample(1);
    uint8_t *message = NULL;
    size_t size = 0;
    CHECK_OK(frame_seal(sealer, &header, "0123456789", 10, &message, &size));
    for (size_t i = 0; i < size; i++) {
        message[i] ^= 0x40;
        int error = open_free(opener, message, size);
        CHECK_TRUE(error == -EPROTO || error == -EBADMSG);
        if (i >= 68)
            CHECK_ERROR(error, -EBADMSG);
        message[i] ^= 0x40;
    }
    for (size_t length = 0; length < size; length++)
        CHECK_ERROR(open_free(opener, message, length), -EPROTO);
    CHECK_OK(open_free(opener, message, size));
    free(message);

    uint8_t other[LINK_KEY_BYTES] = {9};
    struct frame_opener *stranger = frame_opener_create(other);
    CHECK_OK(frame_seal(sealer, &header, "", 0, &message, &size));
    CHECK_ERROR(open_free(stranger, message, size), -EBADMSG);
    CHECK_OK(open_free(opener, message, size));
    free(message);
    header.width = 70000;
    CHECK_ERROR(frame_seal(sealer, &header, "", 0, &message, &size), -EINVAL);
    header = sample(1);
    header.kind = (enum frame_message_kind)6;
    CHECK_ERROR(frame_seal(sealer, &header, "", 0, &message, &size), -EINVAL);
    frame_opener_destroy(&stranger);
    frame_sealer_destroy(&sealer);
    frame_opener_destroy(&opener);
}

// The payload of LOG_WANT, field by field as proto/frame-message.md says; both kinds about logs say
// by boot's highest bit which way they go.
static void test_log_want(void)
{
    static const uint8_t expected[] = {1, 4,    0, 0, 8,    7,    6,    5,    1,   2,   3,   4,
                                       5, 6,    7, 8, 0xEF, 0xBE, 0xAD, 0xDE, 0,   0,   0,   0,
                                       0, 0x10, 0, 0, 0,    0,    0,    0,    'c', 'a', 'm', '1'};
    const struct frame_log_want want = {"cam1", 0x05060708, 0x0807060504030201, 0xDEADBEEF, 4096};
    uint8_t bytes[LOG_WANT_BYTES_MAX];
    CHECK(log_want_write(&want, bytes), ==, sizeof expected);
    CHECK_BYTES(bytes, expected, sizeof expected);
    struct frame_log_want got;
    CHECK_OK(log_want_read(bytes, sizeof expected, &got));
    CHECK_TEXT(got.source, "cam1");
    CHECK(got.start, ==, want.start);
    CHECK(got.seq, ==, want.seq);
    CHECK(got.crc, ==, want.crc);
    CHECK(got.taken, ==, want.taken);
    for (size_t size = 0; size < sizeof expected; size++)
        CHECK_ERROR(log_want_read(bytes, size, &got), -EPROTO);
    static const char *const names[] = {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct frame_log_want bad = want;
        snprintf(bad.source, sizeof bad.source, "%s", names[i]);
        CHECK_ERROR(log_want_read(bytes, log_want_write(&bad, bytes), &got), -EPROTO);
    }
    struct frame_log_want longest = want;
    memset(longest.source, 'x', FRAME_LOG_NAME_MAX);
    CHECK_OK(log_want_read(bytes, log_want_write(&longest, bytes), &got));
    CHECK_TEXT(got.source, longest.source);

    struct frame_sealer *sealer = frame_sealer_create(key);
    for (int kind = FRAME_MESSAGE_LOG_WANT; kind <= FRAME_MESSAGE_LOG; kind++) {
        struct frame_header header = {.kind = (enum frame_message_kind)kind};
        uint8_t *message;
        size_t size;
        CHECK_OK(frame_seal(sealer, &header, "", 0, &message, &size));
        CHECK(message[51] >> 7, ==, kind == FRAME_MESSAGE_LOG_WANT);
        free(message);
    }
    frame_sealer_destroy(&sealer);
}

#define MESSAGES 6000
// Messages may come in another order within the window of 4096, but each only once.
static void test_replay(uint64_t seed)
{
    struct frame_sealer *sealer = frame_sealer_create(key), *second = frame_sealer_create(key);
    struct frame_opener *opener = frame_opener_create(key);
    struct frame_header header = sample(1);
    static uint8_t *message[MESSAGES];
    size_t size = 0;
    for (int i = 0; i < MESSAGES; i++)
        CHECK_OK(frame_seal(sealer, &header, "x", 1, &message[i], &size));
    static int order[MESSAGES];
    for (int i = 0; i < MESSAGES; i++)
        order[i] = i;
    for (int i = 0; i < MESSAGES; i++) { // no number moves further than 1000 places
        int low = i / 1000 * 1000, j = low + (int)(check_random(&seed) % 1000);
        int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (int i = 0; i < MESSAGES; i++)
        CHECK_OK(open_free(opener, message[order[i]], size));
    for (int i = 0; i < MESSAGES; i++)
        CHECK_ERROR(open_free(opener, message[i], size), -ESTALE);

    // Another boot has its own window, and does not forget the first; a jump drops what is older.
    uint8_t *extra = NULL;
    CHECK_OK(frame_seal(second, &header, "x", 1, &extra, &size));
    CHECK_OK(open_free(opener, extra, size));
    CHECK_ERROR(open_free(opener, extra, size), -ESTALE);
    CHECK_ERROR(open_free(opener, message[MESSAGES - 1], size), -ESTALE);
    free(extra);
    struct frame_opener *jump = frame_opener_create(key);
    CHECK_OK(open_free(jump, message[0], size));
    CHECK_OK(open_free(jump, message[5000], size));
    CHECK_OK(open_free(jump, message[5000 - 4095], size));
    CHECK_ERROR(open_free(jump, message[5000 - 4096], size), -ESTALE);
    CHECK_ERROR(open_free(jump, message[0], size), -ESTALE);
    CHECK_OK(open_free(jump, message[4999], size));
    frame_opener_destroy(&jump);
    for (int i = 0; i < MESSAGES; i++)
        free(message[i]);
    frame_sealer_destroy(&sealer);
    frame_sealer_destroy(&second);
    frame_opener_destroy(&opener);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    test_layout();
    test_corruption();
    test_log_want();
    test_replay(seed);
    return check_end();
}
