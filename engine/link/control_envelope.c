#include "engine/link/control_envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NONCE_BYTES 12
#define TAG_BYTES   16
#define FIXED_BYTES 7 // before the name

static const uint8_t magic[5] = {'V', 'C', 'T', 'L', 1};

// ---- Cluster key ------------------------------------------------------------------------------

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int key_parse(const char *text, ssize_t length, uint8_t ret[CLUSTER_KEY_BYTES])
{
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    if (length != 2 * CLUSTER_KEY_BYTES)
        return -EINVAL;
    uint8_t key[CLUSTER_KEY_BYTES];
    for (int i = 0; i < CLUSTER_KEY_BYTES; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        key[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret, key, sizeof key);
    OPENSSL_cleanse(key, sizeof key);
    return 0;
}

int cluster_key_read(const char *path, uint8_t ret[CLUSTER_KEY_BYTES], struct diagnostic *reterr)
{
    // Not blocking, so that a pipe given by mistake does not hang the start.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return diagnostic_set(reterr, -errno, "cluster_key_unreadable", path,
                              "the cluster key cannot be opened: %s", strerror(errno));
    struct stat status;
    char text[2 * CLUSTER_KEY_BYTES + 4];
    ssize_t length = -1;
    int r = 0;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        r = diagnostic_set(reterr, -EINVAL, "cluster_key_unreadable", path,
                           "the cluster key must be a regular file");
    else if (status.st_mode & (S_IRWXG | S_IRWXO))
        r = diagnostic_set(reterr, -EPERM, "cluster_key_exposed", path,
                           "others may read or write the cluster key (mode %03o); run chmod 600",
                           (unsigned)(status.st_mode & 0777));
    else if ((length = read(fd, text, sizeof text)) < 0 || key_parse(text, length, ret) < 0)
        r = diagnostic_set(reterr, -EINVAL, "cluster_key_malformed", path,
                           "the cluster key must be 64 hexadecimal digits; make one with "
                           "\"openssl rand -hex 32\"");
    OPENSSL_cleanse(text, sizeof text);
    close(fd);
    return r;
}

// ---- Sealing ----------------------------------------------------------------------------------

int control_seal(const uint8_t key[CLUSTER_KEY_BYTES], enum control_direction direction,
                 const char *name, const void *plain, size_t size, uint8_t *ret)
{
    size_t name_length = strlen(name);
    if (name_length == 0 || name_length > CONTROL_NAME_MAX || size > CONTROL_MESSAGE_BYTES_MAX)
        return -EINVAL;
    memcpy(ret, magic, sizeof magic);
    ret[5] = (uint8_t)direction;
    ret[6] = (uint8_t)name_length;
    memcpy(ret + FIXED_BYTES, name, name_length);
    uint8_t *nonce = ret + FIXED_BYTES + name_length, *cipher = nonce + NONCE_BYTES;
    if (RAND_bytes(nonce, NONCE_BYTES) != 1)
        return -EIO;
    int n = 0, r = -EIO;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
        EVP_EncryptUpdate(context, NULL, &n, ret, (int)(nonce - ret)) == 1 &&
        EVP_EncryptUpdate(context, cipher, &n, plain, (int)size) == 1 &&
        EVP_EncryptFinal_ex(context, cipher + n, &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, cipher + size) == 1)
        r = (int)(cipher - ret) + (int)size + TAG_BYTES;
    EVP_CIPHER_CTX_free(context);
    return r;
}

int control_open(const uint8_t key[CLUSTER_KEY_BYTES], const uint8_t *sealed, size_t size,
                 enum control_direction *ret_direction, char ret_name[CONTROL_NAME_MAX + 1],
                 uint8_t *ret)
{
    if (size < FIXED_BYTES || size > CONTROL_MESSAGE_BYTES_MAX ||
        memcmp(sealed, magic, sizeof magic))
        return -EPROTO;
    size_t name_length = sealed[6];
    size_t around = FIXED_BYTES + name_length + NONCE_BYTES + TAG_BYTES;
    if (name_length == 0 || name_length > CONTROL_NAME_MAX || size < around)
        return -EPROTO;
    const uint8_t *nonce = sealed + FIXED_BYTES + name_length, *cipher = nonce + NONCE_BYTES;
    size_t plain = size - around;
    uint8_t tag[TAG_BYTES];
    memcpy(tag, cipher + plain, TAG_BYTES);
    int n = 0, r = -EBADMSG;
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
        EVP_DecryptUpdate(context, NULL, &n, sealed, (int)(nonce - sealed)) == 1 &&
        EVP_DecryptUpdate(context, ret, &n, cipher, (int)plain) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
        EVP_DecryptFinal_ex(context, ret + n, &n) == 1)
        r = (int)plain;
    EVP_CIPHER_CTX_free(context);
    if (r < 0)
        return r;
    *ret_direction = (enum control_direction)sealed[5];
    memcpy(ret_name, sealed + FIXED_BYTES, name_length);
    ret_name[name_length] = 0;
    // A NUL inside would make two names look alike.
    return strlen(ret_name) == name_length ? r : -EPROTO;
}

// ---- Shape ------------------------------------------------------------------------------------

struct reader {
    const uint8_t *at, *end;
};

static int read_varint(struct reader *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (in->at == in->end)
            return -EPROTO;
        uint8_t byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return 0;
        }
    }
    return -EPROTO;
}

// Steps over one value; for length-delimited ones `ret_body` is what is inside.
static int read_value(struct reader *in, unsigned wire_type, struct reader *ret_body)
{
    uint64_t length = 0;
    if (wire_type == 0)
        return read_varint(in, &length);
    if (wire_type == 1)
        length = 8;
    else if (wire_type == 5)
        length = 4;
    else if (wire_type != 2 || read_varint(in, &length) < 0)
        return -EPROTO;
    if (length > (uint64_t)(in->end - in->at))
        return -EPROTO;
    *ret_body = (struct reader){in->at, in->at + length};
    in->at += length;
    return 0;
}

// Number of scalars in a packed field, never more than its bytes.
static int packed_count(ProtobufCType type, struct reader body)
{
    ptrdiff_t size = body.end - body.at;
    switch (type) {
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return (int)(size / 8);
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return (int)(size / 4);
    default:
        return (int)size; // varints: at most one per byte
    }
}

static int shape_walk(const ProtobufCMessageDescriptor *type, struct reader in, int depth,
                      int *items)
{
    if (depth > CONTROL_DEPTH_MAX)
        return -EPROTO;
    while (in.at < in.end) {
        uint64_t tag;
        struct reader body = {0};
        if (read_varint(&in, &tag) < 0 || tag >> 3 == 0 || tag >> 3 > (1 << 29) - 1 ||
            read_value(&in, (unsigned)tag & 7, &body) < 0)
            return -EPROTO;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        bool delimited = (tag & 7) == 2;
        if (!field || field->label == PROTOBUF_C_LABEL_REPEATED)
            *items += 1;
        if (field && field->type == PROTOBUF_C_TYPE_MESSAGE && delimited &&
            shape_walk(field->descriptor, body, depth + 1, items) < 0)
            return -EPROTO;
        if (field && field->type == PROTOBUF_C_TYPE_STRING && delimited && body.at < body.end &&
            memchr(body.at, 0, (size_t)(body.end - body.at)))
            return -EPROTO;
        if (field && delimited && field->type != PROTOBUF_C_TYPE_MESSAGE &&
            field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_BYTES)
            *items += packed_count(field->type, body);
        if (*items > CONTROL_ITEMS_MAX)
            return -EPROTO;
    }
    return 0;
}

int control_shape_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size)
{
    if (size > CONTROL_MESSAGE_BYTES_MAX)
        return -EPROTO;
    int items = 0;
    return shape_walk(type, (struct reader){bytes, bytes + size}, 1, &items);
}

// ---- Replay -----------------------------------------------------------------------------------

bool replay_guard_accept(struct replay_guard *guard, uint64_t instance, uint64_t sequence)
{
    if (instance == 0 || sequence == 0)
        return false;
    if (instance == guard->instance) {
        if (sequence <= guard->sequence)
            return false;
        guard->sequence = sequence;
        return true;
    }
    for (int i = 0; i < CONTROL_RETIRED; i++) {
        if (guard->retired[i] == instance)
            return false;
    }
    if (guard->instance)
        guard->retired[guard->retired_next++ % CONTROL_RETIRED] = guard->instance;
    guard->instance = instance;
    guard->sequence = sequence;
    return true;
}
