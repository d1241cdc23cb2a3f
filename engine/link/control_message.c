#include "engine/link/control_message.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NONCE_BYTES 12
#define TAG_BYTES   16
#define FIELDS_MAX  20000

static const char magic[4] = "VSC1";

int cluster_key_read(const char *path, uint8_t ret[CLUSTER_KEY_BYTES], struct diagnostic *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int error = -errno;
        if (fd >= 0)
            close(fd);
        return diagnostic_set(reterr, error, "cluster_key", path, "cannot be read: %s",
                              strerror(-error));
    }
    char text[2 * CLUSTER_KEY_BYTES + 1] = "";
    ssize_t got = read(fd, text, 2 * CLUSTER_KEY_BYTES);
    close(fd);
    if (st.st_mode & 077)
        return diagnostic_set(reterr, -EACCES, "cluster_key", path,
                              "others can read this key; chmod 600 it");
    bool ok = got == 2 * CLUSTER_KEY_BYTES;
    for (int i = 0; ok && i < CLUSTER_KEY_BYTES; i++) {
        char pair[3] = {text[2 * i], text[2 * i + 1], 0};
        ok = isxdigit((unsigned char)pair[0]) && isxdigit((unsigned char)pair[1]);
        ret[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    OPENSSL_cleanse(text, sizeof text);
    return ok ? 0
              : diagnostic_set(
                    reterr, -EINVAL, "cluster_key", path,
                    "must hold 64 hexadecimal digits; make one with: openssl rand -hex 32");
}

static bool gcm(bool seal, const uint8_t *key, const uint8_t *head, size_t head_size,
                const uint8_t *nonce, const uint8_t *in, size_t size, uint8_t *out, uint8_t *tag)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int length;
    bool ok = c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce, seal) == 1 &&
              EVP_CipherUpdate(c, NULL, &length, head, (int)head_size) == 1 &&
              EVP_CipherUpdate(c, out, &length, in, (int)size) == 1;
    if (ok && !seal)
        ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1;
    ok = ok && EVP_CipherFinal_ex(c, out + size, &length) == 1;
    if (ok && seal)
        ok = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok;
}

int control_seal(const uint8_t key[CLUSTER_KEY_BYTES], enum control_direction direction,
                 const char *node, const ProtobufCMessage *message, uint8_t **ret, size_t *ret_size)
{
    size_t name = strlen(node), size = protobuf_c_message_get_packed_size(message);
    size_t head = sizeof magic + 2 + name, total = head + NONCE_BYTES + size + TAG_BYTES;
    if (!name || name > CONTROL_NODE_MAX)
        return -EINVAL;
    if (total > CONTROL_MESSAGE_BYTES_MAX)
        return -E2BIG;
    uint8_t *bytes = malloc(total), *plain = malloc(size ? size : 1);
    bool ok = bytes && plain;
    if (ok) {
        memcpy(bytes, magic, sizeof magic);
        bytes[4] = (uint8_t)direction;
        bytes[5] = (uint8_t)name;
        memcpy(bytes + 6, node, name);
        protobuf_c_message_pack(message, plain);
        ok = RAND_bytes(bytes + head, NONCE_BYTES) == 1 &&
             gcm(true, key, bytes, head, bytes + head, plain, size, bytes + head + NONCE_BYTES,
                 bytes + total - TAG_BYTES);
        OPENSSL_cleanse(plain, size);
    }
    free(plain);
    if (!ok) {
        free(bytes);
        return -ENOMEM;
    }
    *ret = bytes;
    *ret_size = total;
    return 0;
}

int control_open(const uint8_t key[CLUSTER_KEY_BYTES], enum control_direction direction,
                 const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *type,
                 char *ret_node, ProtobufCMessage **ret)
{
    if (size < sizeof magic + 2 || size > CONTROL_MESSAGE_BYTES_MAX ||
        memcmp(bytes, magic, sizeof magic) || bytes[4] != direction)
        return -EPROTO;
    size_t name = bytes[5], head = sizeof magic + 2 + name;
    if (!name || name > CONTROL_NODE_MAX || size < head + NONCE_BYTES + TAG_BYTES)
        return -EPROTO;
    size_t plain_size = size - head - NONCE_BYTES - TAG_BYTES;
    uint8_t tag[TAG_BYTES], *plain = malloc(plain_size ? plain_size : 1);
    if (!plain)
        return -ENOMEM;
    memcpy(tag, bytes + size - TAG_BYTES, TAG_BYTES);
    int error = 0;
    if (!gcm(false, key, bytes, head, bytes + head, bytes + head + NONCE_BYTES, plain_size, plain,
             tag))
        error = -EBADMSG;
    else if (!control_shape_ok(plain, plain_size, type))
        error = -EPROTO;
    else
        *ret = protobuf_c_message_unpack(type, NULL, plain_size, plain);
    if (!error && !*ret)
        error = -EPROTO;
    if (!error) {
        memcpy(ret_node, bytes + 6, name);
        ret_node[name] = 0;
    }
    OPENSSL_cleanse(plain, plain_size);
    free(plain);
    return error;
}

// ---- Shape ------------------------------------------------------------------------------------

static bool read_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
    *ret = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;
        *ret |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return true;
    }
    return false;
}

static bool walk(const uint8_t *p, size_t size, const ProtobufCMessageDescriptor *type, int *fields)
{
    const uint8_t *end = p + size;
    while (p < end) {
        uint64_t tag, length = 0;
        if (++*fields > FIELDS_MAX || !read_varint(&p, end, &tag) || !(tag >> 3) ||
            tag >> 3 > UINT32_MAX)
            return false;
        switch (tag & 7) {
        case 0:
            if (!read_varint(&p, end, &length))
                return false;
            continue;
        case 1:
            length = 8;
            break;
        case 5:
            length = 4;
            break;
        case 2:
            if (!read_varint(&p, end, &length))
                return false;
            break;
        default:
            return false;
        }
        if (length > (uint64_t)(end - p))
            return false;
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
        if (field && field->type == PROTOBUF_C_TYPE_MESSAGE && (tag & 7) == 2 &&
            !walk(p, (size_t)length, field->descriptor, fields))
            return false;
        p += length;
    }
    return true;
}

bool control_shape_ok(const uint8_t *bytes, size_t size, const ProtobufCMessageDescriptor *type)
{
    int fields = 0;
    return walk(bytes, size, type, &fields);
}
