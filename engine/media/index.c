#include "engine/media/index.h"

#include "engine/base/thread.h"
#include "engine/frame/checksum.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 64
static const char magic[8] = "VXINDEX2";

static void put(uint8_t **p, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *(*p)++ = (uint8_t)(value >> (8 * i));
}

static uint64_t take(const uint8_t **p, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t) * (*p)++ << (8 * i);
    return value;
}

int index_pack(const struct media_index *x, uint8_t **ret, size_t *ret_size)
{
    size_t size =
        HEADER_BYTES + 16 * (size_t)(x->picture_count + x->key_count + x->damage_count) + 8;
    uint8_t *bytes = malloc(size), *p = bytes;
    if (!bytes)
        return -ENOMEM;
    memcpy(p, magic, 8);
    p += 8;
    put(&p, (uint64_t)x->stream, 4);
    put(&p, x->mode, 4);
    put(&p, (uint64_t)x->time_base.num, 4);
    put(&p, (uint64_t)x->time_base.den, 4);
    put(&p, x->interlaced, 4);
    put(&p, x->hdr, 4);
    put(&p, (uint64_t)x->end, 8);
    put(&p, (uint64_t)x->picture_count, 8);
    put(&p, (uint64_t)x->key_count, 8);
    put(&p, (uint64_t)x->damage_count, 8);
    for (int64_t i = 0; i < x->picture_count; i++) {
        put(&p, (uint64_t)x->pictures[i].pts, 8);
        put(&p, (uint64_t)x->pictures[i].identity, 8);
    }
    for (int64_t i = 0; i < x->key_count; i++) {
        put(&p, (uint64_t)x->keys[i].pts, 8);
        put(&p, (uint64_t)x->keys[i].dts, 8);
    }
    for (int64_t i = 0; i < x->damage_count; i++) {
        put(&p, (uint64_t)x->damages[i].first, 8);
        put(&p, (uint64_t)x->damages[i].end, 8);
    }
    put(&p, checksum_add(checksum_begin(), bytes, size - 8), 8);
    *ret = bytes;
    *ret_size = size;
    return 0;
}

int index_save(const struct media_index *x, const char *path, struct diagnostic *reterr)
{
    uint8_t *bytes;
    size_t size;
    int error = index_pack(x, &bytes, &size);
    if (error < 0)
        return diagnostic_set(reterr, error, "index_memory", path, "not enough memory");
    FILE *f = fopen(path, "wbe");
    error = f ? 0 : -errno;
    if (f && (fwrite(bytes, 1, size, f) != size || fflush(f) || fdatasync(fileno(f))))
        error = errno ? -errno : -EIO;
    if (f && fclose(f) && !error)
        error = -errno;
    free(bytes);
    if (error < 0)
        return diagnostic_set(reterr, error, "index_write", path, "cannot be written: %s",
                              strerror(-error));
    return 0;
}

static int read_file(int fd, uint8_t **ret, size_t *ret_size)
{
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < HEADER_BYTES + 8)
        return -EBADMSG;
    uint8_t *bytes = malloc((size_t)size);
    if (!bytes)
        return -ENOMEM;
    for (off_t done = 0; done < size;) {
        ssize_t n = pread(fd, bytes + done, (size_t)(size - done), done);
        if (n <= 0) {
            free(bytes);
            return -EBADMSG;
        }
        done += n;
    }
    *ret = bytes;
    *ret_size = (size_t)size;
    return 0;
}

static int unpack_entries(const uint8_t *p, struct media_index *x)
{
    x->pictures = calloc((size_t)x->picture_count, sizeof *x->pictures);
    x->keys = calloc((size_t)x->key_count + 1, sizeof *x->keys);
    x->damages = calloc((size_t)x->damage_count + 1, sizeof *x->damages);
    if (!x->pictures || !x->keys || !x->damages)
        return -ENOMEM;
    for (int64_t i = 0; i < x->picture_count; i++) {
        x->pictures[i].pts = (int64_t)take(&p, 8);
        x->pictures[i].identity = (int64_t)take(&p, 8);
        if (i && x->pictures[i].pts <= x->pictures[i - 1].pts)
            return -EBADMSG;
    }
    for (int64_t i = 0; i < x->key_count; i++) {
        x->keys[i].pts = (int64_t)take(&p, 8);
        x->keys[i].dts = (int64_t)take(&p, 8);
    }
    for (int64_t i = 0, last = 0; i < x->damage_count; i++) {
        x->damages[i].first = (int64_t)take(&p, 8);
        x->damages[i].end = (int64_t)take(&p, 8);
        if (x->damages[i].first < last || x->damages[i].end <= x->damages[i].first)
            return -EBADMSG;
        last = x->damages[i].end;
    }
    int64_t length;
    bool ends_last = x->end > x->pictures[x->picture_count - 1].pts;
    return ends_last && !__builtin_sub_overflow(x->end, x->pictures[0].pts, &length) ? 0 : -EBADMSG;
}

static int unpack(const uint8_t *bytes, size_t size, struct media_index *x)
{
    const uint8_t *p = bytes + 8, *end = bytes + size - 8;
    if (size < HEADER_BYTES + 8 || size % 8 || memcmp(bytes, magic, 8) ||
        take(&end, 8) != checksum_add(checksum_begin(), bytes, size - 8))
        return -EBADMSG;
    x->stream = (int)take(&p, 4);
    x->mode = (enum index_mode)take(&p, 4);
    x->time_base.num = (int64_t)take(&p, 4);
    x->time_base.den = (int64_t)take(&p, 4);
    x->interlaced = take(&p, 4);
    x->hdr = take(&p, 4);
    x->end = (int64_t)take(&p, 8);
    x->picture_count = (int64_t)take(&p, 8);
    x->key_count = (int64_t)take(&p, 8);
    x->damage_count = (int64_t)take(&p, 8);
    int64_t rest = (int64_t)(size - HEADER_BYTES - 8) / 16;
    if (x->mode > INDEX_COUNT || x->time_base.num <= 0 || x->time_base.den <= 0 ||
        x->stream >= MEDIA_STREAMS_MAX || x->picture_count < 1 || x->picture_count > rest ||
        x->key_count < 0 || x->key_count > rest - x->picture_count ||
        x->damage_count != rest - x->picture_count - x->key_count)
        return -EBADMSG;
    return unpack_entries(p, x);
}

int index_unpack(const uint8_t *bytes, size_t size, struct media_index **ret)
{
    struct media_index *x = base_alloc(sizeof *x);
    int error = unpack(bytes, size, x);
    if (error < 0)
        index_destroy(&x);
    else
        *ret = x;
    return error;
}

int index_read(int fd, struct media_index **ret)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    int error = read_file(fd, &bytes, &size);
    if (error >= 0)
        error = index_unpack(bytes, size, ret);
    free(bytes);
    return error;
}

int index_load(const char *path, struct media_index **ret, struct diagnostic *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = fd < 0 ? -errno : index_read(fd, ret);
    if (fd >= 0)
        close(fd);
    if (error < 0)
        return diagnostic_set(reterr, error, "index_read", path,
                              error == -EBADMSG ? "is damaged or of another version; import the "
                                                  "asset again"
                                                : "cannot be read");
    return 0;
}

void index_destroy(struct media_index **index)
{
    struct media_index *x = *index;
    if (!x)
        return;
    *index = NULL;
    free(x->pictures);
    free(x->keys);
    free(x->damages);
    free(x);
}

struct rational index_duration(const struct media_index *x)
{
    return rational_mul(rational_make(x->end - x->pictures[0].pts, 1), x->time_base);
}

bool index_is_damaged(const struct media_index *x, int64_t picture)
{
    int64_t low = 0, high = x->damage_count; // the last range that begins at or before the picture
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (x->damages[middle].first <= picture)
            low = middle;
        else
            high = middle;
    }
    return high > 0 && picture >= x->damages[low].first && picture < x->damages[low].end;
}

int64_t index_picture_at(const struct media_index *x, struct rational seconds)
{
    // Ticks are whole, so the last picture at or before `seconds` is the one at or before the
    // floor.
    __int128 ticks =
        (__int128)seconds.num * x->time_base.den / ((__int128)seconds.den * x->time_base.num);
    if (seconds.num < 0)
        return 0;
    if (ticks >= x->end - x->pictures[0].pts)
        return -1;
    int64_t pts = x->pictures[0].pts + (int64_t)ticks, low = 0, high = x->picture_count;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (x->pictures[middle].pts <= pts)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int64_t index_find(const struct media_index *x, int64_t identity, int64_t expected)
{
    if (expected >= 0 && expected < x->picture_count && x->pictures[expected].identity == identity)
        return expected;
    if (x->mode != INDEX_PTS) {
        for (int64_t i = 0; i < x->picture_count; i++)
            if (x->pictures[i].identity == identity)
                return i;
        return -1;
    }
    int64_t low = 0, high = x->picture_count;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (x->pictures[middle].identity <= identity)
            low = middle;
        else
            high = middle;
    }
    return x->pictures[low].identity == identity ? low : -1;
}

int64_t index_key_before(const struct media_index *x, int64_t picture)
{
    if (x->mode == INDEX_COUNT)
        return -1;
    int64_t wanted = x->pictures[picture].identity, best = -1;
    for (int64_t i = 0; i < x->key_count; i++) {
        int64_t time = x->mode == INDEX_PTS ? x->keys[i].pts : x->keys[i].dts;
        if (time != INDEX_NONE && time <= wanted)
            best = i;
    }
    return best;
}

int64_t index_start_of(const struct media_index *x, int64_t picture)
{
    int64_t key = index_key_before(x, picture), first = picture;
    if (key < 0)
        return 0;
    int64_t time = x->mode == INDEX_PTS ? x->keys[key].pts : x->keys[key].dts;
    while (first > 0 && x->pictures[first - 1].identity >= time)
        first--;
    return first;
}
