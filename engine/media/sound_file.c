#include "engine/media/media.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "sound files are mapped as they are: little-endian"
#endif

#define PAIR_BYTES (2 * sizeof(float))

struct sound_file {
    // -- constant after open
    const float *samples; // NULL when empty
    int64_t count;        // pairs
};

int sound_file_open(const char *path, struct sound_file **ret, struct diagnostic *reterr)
{
    int error = 0, fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    void *map = NULL;
    if (fd < 0 || fstat(fd, &status))
        error = -errno;
    else if (!S_ISREG(status.st_mode) || status.st_size % (off_t)PAIR_BYTES)
        error = -EBADMSG;
    else if (status.st_size &&
             (map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
        error = -errno;
    if (fd >= 0)
        close(fd);
    if (error)
        return diagnostic_set(reterr, error, "sound_open", path,
                              error == -EBADMSG ? "is not a sound part; import the asset again"
                                                : "cannot be opened: %s",
                              strerror(-error));
    struct sound_file *file = base_alloc(sizeof *file);
    file->samples = map;
    file->count = (int64_t)((size_t)status.st_size / PAIR_BYTES);
    *ret = file;
    return 0;
}

void sound_file_close(struct sound_file **file)
{
    struct sound_file *f = *file;
    if (!f)
        return;
    *file = NULL;
    if (f->samples)
        munmap((void *)f->samples, (size_t)f->count * PAIR_BYTES);
    free(f);
}

int64_t sound_file_sample_count(const struct sound_file *file)
{
    return file->count;
}

void sound_file_read(const struct sound_file *f, int64_t first, int count, float *dst)
{
    int64_t from = first < 0 ? 0 : first, to = f->count;
    if (first > f->count - count)
        from = from > f->count ? f->count : from;
    else
        to = first + count;
    if (to <= from) {
        memset(dst, 0, (size_t)count * PAIR_BYTES);
        return;
    }
    int64_t before = from - first, inside = to - from;
    memset(dst, 0, (size_t)before * PAIR_BYTES);
    memcpy(dst + 2 * before, f->samples + 2 * from, (size_t)inside * PAIR_BYTES);
    memset(dst + 2 * (before + inside), 0, (size_t)(count - before - inside) * PAIR_BYTES);
}
