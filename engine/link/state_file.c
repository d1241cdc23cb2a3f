#include "engine/link/state_file.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/control_envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct state_file {
    // -- constant after create
    char folder[PATH_MAX], node[CONTROL_NAME_MAX + 1];
    char path[STATE_FILE_GENERATIONS][PATH_MAX];
    uint8_t key[CLUSTER_KEY_BYTES];
    pthread_t thread;
    bool running;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint8_t *waiting;
    size_t waiting_size;
    bool closing;
    // -- the creator's thread until the first write, then the writer
    bool good; // the newest file opens, so it may become the previous one
    // -- atomic
    atomic_int error;
};

static int derive_key(const uint8_t cluster_key[CLUSTER_KEY_BYTES], uint8_t ret[CLUSTER_KEY_BYTES])
{
    static const uint8_t purpose[] = "vistter edge state";
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    size_t size = CLUSTER_KEY_BYTES;
    bool derived = c && EVP_PKEY_derive_init(c) > 0 &&
                   EVP_PKEY_CTX_set_hkdf_md(c, EVP_sha256()) > 0 &&
                   EVP_PKEY_CTX_set1_hkdf_key(c, cluster_key, CLUSTER_KEY_BYTES) > 0 &&
                   EVP_PKEY_CTX_add1_hkdf_info(c, purpose, sizeof purpose - 1) > 0 &&
                   EVP_PKEY_derive(c, ret, &size) > 0;
    EVP_PKEY_CTX_free(c);
    return derived ? 0 : -EIO;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno != EINTR)
            return -errno;
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) ? -errno : 0;
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd < 0 || fsync(fd) ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return result;
}

// At every moment there is a newest file that opens, or a previous one, or both.
static int replace(struct state_file *f, const uint8_t *bytes, size_t size)
{
    char fresh[PATH_MAX + 8];
    snprintf(fresh, sizeof fresh, "%s.new", f->path[0]);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int result = write_all(fd, bytes, size);
    close(fd);
    if (!result && f->good) {
        (void)unlink(f->path[1]); // it may not be there
        result = link(f->path[0], f->path[1]) ? -errno : 0;
    }
    if (!result && rename(fresh, f->path[0]))
        result = -errno;
    f->good = f->good || !result;
    return result ? result : sync_folder(f->folder);
}

static void seal_and_write(struct state_file *f, const uint8_t *bytes, size_t size)
{
    uint8_t *sealed = malloc(size + CONTROL_ENVELOPE_BYTES);
    int length =
        sealed ? control_seal(f->key, CONTROL_DOWN, f->node, bytes, size, sealed) : -ENOMEM;
    int result = length < 0 ? length : replace(f, sealed, (size_t)length);
    free(sealed);
    atomic_store(&f->error, result);
    if (result)
        log_error("state_write", "path=\"%s\" error=\"%s\"", f->path[0], strerror(-result));
}

static void free_secret(uint8_t *bytes, size_t size)
{
    if (bytes)
        explicit_bzero(bytes, size);
    free(bytes);
}

static void *run(void *opaque)
{
    struct state_file *f = opaque;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (!f->waiting && !f->closing)
            pthread_cond_wait(&f->changed, &f->lock);
        if (!f->waiting)
            break;
        uint8_t *bytes = f->waiting;
        size_t size = f->waiting_size;
        f->waiting = NULL;
        pthread_mutex_unlock(&f->lock);
        seal_and_write(f, bytes, size);
        free_secret(bytes, size);
        pthread_mutex_lock(&f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static int make_folder(char *folder)
{
    for (char *c = folder + 1; *c; c++) {
        if (*c != '/')
            continue;
        *c = 0;
        int result = mkdir(folder, 0755) && errno != EEXIST ? -errno : 0;
        *c = '/';
        if (result)
            return result;
    }
    return mkdir(folder, 0700) && errno != EEXIST ? -errno : 0;
}

int state_file_create(const char *folder, const char *node,
                      const uint8_t cluster_key[CLUSTER_KEY_BYTES], struct state_file **ret,
                      struct diagnostic *reterr)
{
    if (!*folder || !*node || strchr(node, '/') || strlen(node) > CONTROL_NAME_MAX ||
        strlen(folder) + strlen(node) + sizeof "/.state.previous.new" > PATH_MAX)
        return diagnostic_set(reterr, -EINVAL, "state_folder", folder,
                              "the folder's path or the node's name is empty or too long");
    struct state_file *f = base_alloc(sizeof *f);
    snprintf(f->folder, sizeof f->folder, "%s", folder);
    snprintf(f->node, sizeof f->node, "%s", node);
    static const char *const suffixes[STATE_FILE_GENERATIONS] = {"", ".previous"};
    for (int i = 0; i < STATE_FILE_GENERATIONS; i++)
        snprintf(f->path[i], sizeof f->path[i], "%s/%s.state%s", folder, node, suffixes[i]);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    int result = make_folder(f->folder);
    if (!result)
        result = derive_key(cluster_key, f->key);
    if (!result)
        result = thread_start(&f->thread, "state", run, f);
    if (result) {
        state_file_destroy(&f);
        return diagnostic_set(reterr, result, "state_folder", folder, "cannot be used: %s",
                              strerror(-result));
    }
    f->running = true;
    *ret = f;
    return 0;
}

void state_file_destroy(struct state_file **file)
{
    struct state_file *f = *file;
    if (!f)
        return;
    *file = NULL;
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (f->running)
        thread_join(f->thread);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    explicit_bzero(f, sizeof *f);
    free(f);
}

void state_file_write(struct state_file *f, const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return; // the one before stays
    memcpy(copy, bytes, size);
    pthread_mutex_lock(&f->lock);
    free_secret(f->waiting, f->waiting_size);
    f->waiting = copy;
    f->waiting_size = size;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

int state_file_error(struct state_file *f)
{
    return atomic_load(&f->error);
}

static int read_all(const char *path, uint8_t *bytes, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t size = 0;
    ssize_t n;
    while ((n = read(fd, bytes + size, room - size)) > 0)
        size += (size_t)n;
    int result = n < 0 ? -errno : (int)size;
    close(fd);
    return result;
}

int state_file_read(struct state_file *f, int generation, uint8_t **ret, size_t *ret_size)
{
    size_t room = CONTROL_MESSAGE_BYTES_MAX;
    uint8_t *sealed = malloc(room), *bytes = malloc(room);
    char name[CONTROL_NAME_MAX + 1];
    enum control_direction direction;
    int size = sealed && bytes ? read_all(f->path[generation], sealed, room) : -ENOMEM;
    if (size >= 0)
        size = control_open(f->key, sealed, (size_t)size, &direction, name, bytes);
    free(sealed);
    if (size >= 0 && (direction != CONTROL_DOWN || strcmp(name, f->node)))
        size = -EBADMSG;
    if (size == -EPROTO) // no envelope at all
        size = -EBADMSG;
    if (size < 0) {
        free(bytes);
        return size;
    }
    f->good = f->good || generation == 0;
    *ret = bytes;
    *ret_size = (size_t)size;
    return 0;
}
