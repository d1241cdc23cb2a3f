#include "engine/media/media.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_BYTES (1 << 20)

static int hash_fd(int fd, EVP_MD_CTX *context, uint8_t *block)
{
    for (;;) {
        ssize_t n = read(fd, block, BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        if (EVP_DigestUpdate(context, block, (size_t)n) != 1)
            return -ENOMEM;
    }
}

int media_hash_file(const char *path, char *ret, struct diagnostic *reterr)
{
    uint8_t digest[32], *block = malloc(BLOCK_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    // O_NONBLOCK: a pipe with no writer must not keep us waiting; it is refused below.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 ? -errno : 0;
    struct stat status;
    if (!error && !block)
        error = -ENOMEM;
    if (!error && fstat(fd, &status))
        error = -errno;
    if (!error && S_ISDIR(status.st_mode))
        error = -EISDIR;
    if (!error && !S_ISREG(status.st_mode))
        error = -EINVAL;
    if (!error && (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1))
        error = -ENOMEM;
    if (!error)
        error = hash_fd(fd, context, block);
    if (!error && EVP_DigestFinal_ex(context, digest, NULL) != 1)
        error = -ENOMEM;
    if (fd >= 0)
        close(fd);
    EVP_MD_CTX_free(context);
    free(block);
    if (error)
        return diagnostic_set(reterr, error, "media_open", path, "cannot be read: %s",
                              strerror(-error));
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    return 0;
}
