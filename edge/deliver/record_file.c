#include "edge/deliver/record_file.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libavformat/avformat.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define PART          ".mkv.part"
#define SUM           ".sha256"
#define SYNC_NS       INT64_C(1000000000)
#define AHEAD_SECONDS 30
#define REORDER_MS    2000
#define CHUNK         (1 << 20)

struct record_file {
    // -- constant after create
    char path[PATH_MAX]; // with ".part"
    int64_t ahead_bytes;
    int fd;
    pthread_t thread;
    bool running;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ending, seal;
    // -- its thread
    int64_t reserved; // up to this offset there is room on the disk; -1: not on this file system
    // -- atomic
    atomic_int error;
    atomic_bool ended;
    _Atomic int64_t synced_ns;
};

// ---- Sealing -----------------------------------------------------------------------------------

static int sync_folder(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = fsync(fd) ? -errno : 0;
    close(fd);
    return result;
}

// "X.mkv.part" becomes "X" and `suffix`, which `ret` (PATH_MAX bytes) gives.
static int rename_from_part(const char *path, const char *suffix, char *ret)
{
    size_t stem = strlen(path) - strlen(PART);
    if (stem + strlen(suffix) >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(ret, path, stem);
    strcpy(ret + stem, suffix);
    if (rename(path, ret))
        return -errno;
    return sync_folder(ret);
}

// Calls `turn` (may be NULL) now and then.
static int checksum(const char *path, char *ret_hex, void (*turn)(void *opaque), void *opaque)
{
    uint8_t digest[32], *bytes = malloc(CHUNK);
    int fd = bytes ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    ssize_t n = fd >= 0 && c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) ? 1 : -1;
    while (n > 0) {
        n = read(fd, bytes, CHUNK);
        if (n > 0 && !EVP_DigestUpdate(c, bytes, (size_t)n))
            n = -1;
        if (turn)
            turn(opaque);
    }
    if (n == 0 && !EVP_DigestFinal_ex(c, digest, NULL))
        n = -1;
    EVP_MD_CTX_free(c);
    if (fd >= 0)
        close(fd);
    free(bytes);
    for (size_t i = 0; i < sizeof digest && n == 0; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
    return n ? -EIO : 0;
}

// Writes the checksum of the sealed file at `path` beside it; complete or not at all.
static int write_checksum(const char *path, void (*turn)(void *opaque), void *opaque)
{
    char hex[65], fresh[PATH_MAX], target[PATH_MAX];
    if (snprintf(target, sizeof target, "%s" SUM, path) >= (int)sizeof target ||
        snprintf(fresh, sizeof fresh, "%s" SUM ".new", path) >= (int)sizeof fresh)
        return -ENAMETOOLONG;
    int result = checksum(path, hex, turn, opaque);
    if (result)
        return result;
    const char *slash = strrchr(path, '/');
    FILE *f = fopen(fresh, "we");
    if (!f)
        return -errno;
    fprintf(f, "%s  %s\n", hex, slash ? slash + 1 : path);
    result = fflush(f) || fsync(fileno(f)) ? -errno : 0;
    if (fclose(f) && !result)
        result = -errno;
    if (!result && rename(fresh, target))
        result = -errno;
    if (result)
        (void)unlink(fresh); // it may never have been made
    return result ? result : sync_folder(target);
}

static int seal(struct record_file *f)
{
    char sealed[PATH_MAX];
    off_t size = lseek(f->fd, 0, SEEK_END);
    // Gives back what was reserved beyond the end.
    int result = size < 0 || ftruncate(f->fd, size) || fsync(f->fd) ? -errno : 0;
    if (!result)
        result = rename_from_part(f->path, ".mkv", sealed);
    return result ? result : write_checksum(sealed, NULL, NULL);
}

// ---- The file's thread -------------------------------------------------------------------------

static void reserve(struct record_file *f)
{
    struct stat status;
    if (f->reserved < 0 || fstat(f->fd, &status) ||
        f->reserved - status.st_size > f->ahead_bytes / 2)
        return;
    if (!fallocate(f->fd, FALLOC_FL_KEEP_SIZE, status.st_size, f->ahead_bytes))
        f->reserved = status.st_size + f->ahead_bytes;
    else if (errno == EOPNOTSUPP)
        f->reserved = -1;
}

static void *run(void *opaque)
{
    struct record_file *f = opaque;
    int64_t due = clock_monotonic_ns();
    pthread_mutex_lock(&f->lock);
    while (!f->ending && !atomic_load(&f->error)) {
        struct timespec deadline = {due / 1000000000, due % 1000000000};
        if (pthread_cond_timedwait(&f->wake, &f->lock, &deadline) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&f->lock);
        due = clock_monotonic_ns() + SYNC_NS;
        reserve(f);
        if (fdatasync(f->fd))
            atomic_store(&f->error, -errno);
        atomic_store(&f->synced_ns, clock_monotonic_ns());
        pthread_mutex_lock(&f->lock);
    }
    while (!f->ending)
        pthread_cond_wait(&f->wake, &f->lock);
    pthread_mutex_unlock(&f->lock);
    if (f->seal && !atomic_load(&f->error))
        atomic_store(&f->error, seal(f));
    atomic_store(&f->ended, true);
    return NULL;
}

// ---- Writing -----------------------------------------------------------------------------------

// Letters, digits, '-' and '_' stay; everything else would let a name leave the folder.
static void clean_name(const char *name, char *ret, size_t size)
{
    size_t used = 0;
    for (; *name && used + 1 < size; name++)
        ret[used++] = isalnum((unsigned char)*name) || *name == '-' || *name == '_' ? *name : '_';
    if (!used)
        ret[used++] = '_';
    ret[used] = 0;
}

static int make_folder(const char *folder)
{
    char path[PATH_MAX];
    if (strlen(folder) >= sizeof path)
        return -ENAMETOOLONG;
    strcpy(path, folder);
    for (char *c = path + 1; *c; c++) {
        if (*c != '/')
            continue;
        *c = 0;
        if (mkdir(path, 0755) && errno != EEXIST)
            return -errno;
        *c = '/';
    }
    return mkdir(path, 0755) && errno != EEXIST ? -errno : 0;
}

static int open_part(struct record_file *f, const char *folder, const char *channel,
                     int64_t first_frame)
{
    char name[100], utc[32];
    clean_name(channel, name, sizeof name);
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(utc, sizeof utc, "%Y%m%dT%H%M%SZ", &tm);
    for (int attempt = 1; attempt < 100; attempt++) {
        char again[16] = "";
        if (attempt > 1)
            snprintf(again, sizeof again, "-%d", attempt);
        int length = snprintf(f->path, sizeof f->path, "%s/%s-%lld-%s%s" PART, folder, name,
                              (long long)first_frame, utc, again);
        if (length >= (int)sizeof f->path)
            return -ENAMETOOLONG;
        f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (f->fd >= 0)
            return flock(f->fd, LOCK_EX | LOCK_NB) ? -errno : 0;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

int record_file_create(const char *folder, const char *channel, int64_t first_frame,
                       int64_t bytes_per_second, struct record_file **ret)
{
    struct record_file *f = base_alloc(sizeof *f);
    f->ahead_bytes = bytes_per_second * AHEAD_SECONDS;
    atomic_init(&f->synced_ns, clock_monotonic_ns());
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->wake, &attr);
    pthread_condattr_destroy(&attr);
    f->fd = -1;
    int result = make_folder(folder);
    if (!result)
        result = open_part(f, folder, channel, first_frame);
    if (!result)
        result = sync_folder(f->path);
    if (!result)
        result = thread_start(&f->thread, "sync", run, f);
    if (result) {
        (void)record_file_close(&f); // `result` says more
        return result;
    }
    f->running = true;
    *ret = f;
    return 0;
}

int record_file_write(struct record_file *f, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size) {
        ssize_t n = write(f->fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int64_t record_file_seek(struct record_file *f, int64_t offset, int whence, bool size_only)
{
    struct stat status;
    if (size_only)
        return fstat(f->fd, &status) ? -errno : status.st_size;
    off_t result = lseek(f->fd, offset, whence);
    return result < 0 ? -errno : result;
}

int record_file_error(struct record_file *f)
{
    return atomic_load(&f->error);
}

int64_t record_file_lag_ns(struct record_file *f)
{
    return clock_monotonic_ns() - atomic_load(&f->synced_ns);
}

void record_file_end(struct record_file *f, bool seal_it)
{
    pthread_mutex_lock(&f->lock);
    f->ending = true;
    f->seal = seal_it;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

bool record_file_ended(struct record_file *f)
{
    return atomic_load(&f->ended);
}

int record_file_close(struct record_file **file)
{
    struct record_file *f = *file;
    if (!f)
        return 0;
    *file = NULL;
    if (f->running)
        thread_join(f->thread);
    int result = atomic_load(&f->error);
    if (f->fd >= 0)
        close(f->fd);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->wake);
    free(f);
    return result;
}

int64_t record_free_bytes(const char *folder)
{
    struct statvfs disk;
    if (statvfs(folder, &disk))
        return -errno;
    return (int64_t)(disk.f_bavail * disk.f_frsize);
}

// ---- Recovery ----------------------------------------------------------------------------------

// Told that the work goes on.
struct watcher {
    void (*turn)(void *opaque);
    void *opaque;
};

// Copies packets until the first that cannot be read. Returns how many, or a negative errno.
//
// Matroska stores display times only, and what FFmpeg guesses for dts is not always accepted by its
// own muxer. Files keep their order, so any dts that never falls and stays below pts will do: the
// largest pts so far, less more than any reordering.
static int64_t copy_packets(AVFormatContext *in, AVFormatContext *out, const struct watcher *w)
{
    AVPacket *packet = av_packet_alloc();
    int64_t count = 0, newest[2] = {INT64_MIN, INT64_MIN};
    while (packet && av_read_frame(in, packet) >= 0) {
        int i = packet->stream_index;
        if (i < 2 && i < (int)out->nb_streams && packet->pts != AV_NOPTS_VALUE) {
            AVRational base = out->streams[i]->time_base;
            packet->dts = AV_NOPTS_VALUE;
            av_packet_rescale_ts(packet, in->streams[i]->time_base, base);
            newest[i] = packet->pts > newest[i] ? packet->pts : newest[i];
            packet->dts = newest[i] - av_rescale(REORDER_MS, base.den, base.num * 1000);
            packet->pos = -1;
            if (av_write_frame(out, packet) < 0)
                break;
            count++;
        }
        w->turn(w->opaque);
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    return count;
}

static int remux(const char *from, const char *to, const struct watcher *w)
{
    AVFormatContext *in = NULL, *out = NULL;
    int64_t result = -EIO;
    if (avformat_open_input(&in, from, NULL, NULL) < 0 || avformat_find_stream_info(in, NULL) < 0)
        goto end;
    if (!in->nb_streams || avformat_alloc_output_context2(&out, NULL, "matroska", to) < 0)
        goto end;
    for (unsigned i = 0; i < in->nb_streams; i++) {
        AVStream *stream = avformat_new_stream(out, NULL);
        if (!stream || avcodec_parameters_copy(stream->codecpar, in->streams[i]->codecpar) < 0)
            goto end;
        stream->codecpar->codec_tag = 0;
        stream->time_base = in->streams[i]->time_base;
        stream->avg_frame_rate = in->streams[i]->avg_frame_rate;
    }
    if (av_dict_copy(&out->metadata, in->metadata, 0) < 0)
        goto end;
    out->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED; // display times stay as they are
    if (avio_open(&out->pb, to, AVIO_FLAG_WRITE) < 0 || avformat_write_header(out, NULL) < 0)
        goto end;
    result = copy_packets(in, out, w);
    if (av_write_trailer(out) < 0)
        result = -EIO;
end:
    if (out)
        avio_closep(&out->pb);
    avformat_free_context(out);
    avformat_close_input(&in);
    return result > 0 ? 0 : result < 0 ? (int)result : -ENODATA;
}

// Whatever happens, the unsealed file is removed only after its copy is complete and on disk.
static int recover_file(const char *path, const struct watcher *w)
{
    char copy[PATH_MAX], target[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s.copy", path) >= (int)sizeof copy)
        return -ENAMETOOLONG;
    if (remux(path, copy, w)) {
        (void)unlink(copy); // it may never have been made
        return rename_from_part(path, ".broken", target);
    }
    size_t stem = strlen(path) - strlen(PART);
    snprintf(target, sizeof target, "%.*s.recovered.mkv", (int)stem, path);
    int fd = open(copy, O_RDONLY | O_CLOEXEC);
    int result = fd < 0 || fsync(fd) ? -errno : 0;
    if (fd >= 0)
        close(fd);
    if (!result && rename(copy, target))
        result = -errno;
    if (!result)
        result = sync_folder(target);
    return result ? result : unlink(path) ? -errno : 0;
}

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), size = strlen(tail);
    return length > size && !strcmp(text + length - size, tail);
}

// "<channel>-<first frame>-...", and not of a channel whose name goes on after a '-'.
static bool is_segment(const char *name, const char *channel)
{
    size_t length = strlen(channel);
    return !strncmp(name, channel, length) && name[length] == '-' &&
           (isdigit((unsigned char)name[length + 1]) || name[length + 1] == '-');
}

static bool recover_part(const char *path, const struct watcher *w)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool idle = fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB);
    int result = idle ? recover_file(path, w) : -EBUSY;
    if (fd >= 0)
        close(fd);
    if (idle)
        log_info("recording_recovered", "file=\"%s\" error=%d", path, result);
    return !result;
}

static bool lacks_checksum(const char *path)
{
    char sum[PATH_MAX];
    return snprintf(sum, sizeof sum, "%s" SUM, path) < (int)sizeof sum && access(sum, F_OK);
}

int record_recover(const char *folder, const char *channel, void (*turn)(void *opaque),
                   void *opaque)
{
    const struct watcher watcher = {turn, opaque};
    char clean[100];
    clean_name(channel, clean, sizeof clean);
    int recovered = 0;
    // First what was torn; then the checksums, also of what that has made.
    for (int pass = 0; pass < 2; pass++) {
        DIR *dir = opendir(folder);
        if (!dir)
            return errno == ENOENT ? 0 : -errno;
        struct dirent *entry;
        while ((entry = readdir(dir))) {
            const char *name = entry->d_name;
            char path[PATH_MAX];
            if (!is_segment(name, clean) ||
                snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
                continue;
            if (pass == 0 && ends_with(name, PART))
                recovered += recover_part(path, &watcher);
            if (pass == 1 && ends_with(name, ".mkv") && lacks_checksum(path))
                (void)write_checksum(path, turn, opaque); // tried again at the next start
        }
        closedir(dir);
    }
    return recovered;
}
