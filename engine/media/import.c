#include "engine/media/import.h"

#include "engine/media/shape.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/cpu.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void copy_name(char *dst, size_t size, const char *name)
{
    snprintf(dst, size, "%s", name ? name : "");
}

// What headers say about the shown picture: rotated, with square pixels, even.
static void shown_size(const struct demuxer *d, struct media_info *info)
{
    AVStream *stream = d->format->streams[d->picture];
    int width, height;
    media_shown_size(stream->codecpar->width, stream->codecpar->height,
                     av_guess_sample_aspect_ratio(d->format, stream, NULL), &width, &height);
    const uint8_t *matrix = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, NULL);
    bool turned = matrix && media_orientation((const int32_t *)matrix) & MEDIA_TRANSPOSED;
    info->width = turned ? height : width;
    info->height = turned ? width : height;
}

static struct rational seconds_of(int64_t count, AVRational time_base)
{
    return rational_mul(rational_make(count, 1), rational_make(time_base.num, time_base.den));
}

static void describe(const struct demuxer *d, struct media_info *info)
{
    AVFormatContext *format = d->format;
    info->bytes = d->size;
    copy_name(info->container, sizeof info->container, format->iformat->name);
    if (format->duration > 0)
        info->duration = seconds_of(format->duration, AV_TIME_BASE_Q);
    if (d->sound >= 0) {
        const AVCodecParameters *p = format->streams[d->sound]->codecpar;
        copy_name(info->sound_codec, sizeof info->sound_codec, avcodec_get_name(p->codec_id));
        info->sample_count = rational_floor(info->duration, SAMPLE_RATE_HZ);
    }
    if (d->picture < 0)
        return;
    AVStream *stream = format->streams[d->picture];
    const AVCodecParameters *p = stream->codecpar;
    copy_name(info->picture_codec, sizeof info->picture_codec, avcodec_get_name(p->codec_id));
    shown_size(d, info);
    AVRational rate = av_guess_frame_rate(format, stream, NULL);
    if (rate.num > 0 && rate.den > 0)
        info->rate = (struct rate){rate.num, rate.den};
    info->picture_count = stream->nb_frames;
    if (!info->picture_count && info->rate.num > 0)
        info->picture_count =
            muldiv_floor(rational_floor(info->duration, info->rate.num), 1, info->rate.den);
    size_t length = strlen(format->iformat->name);
    info->still = length > 5 && !strcmp(format->iformat->name + length - 5, "_pipe");
    if (info->still || !info->picture_count)
        info->picture_count = 1;
    info->interlaced = p->field_order > AV_FIELD_PROGRESSIVE;
    info->hdr = p->color_trc == AVCOL_TRC_SMPTE2084 || p->color_trc == AVCOL_TRC_ARIB_STD_B67;
    if (!info->still)
        info->picture_duration = info->duration;
    if (info->still) {
        info->duration = (struct rational){0, 1};
        info->rate = (struct rate){0, 1};
    }
}

int import_probe(const char *path, struct media_info *ret, struct diagnostic *reterr)
{
    struct media_info info = {.rate = {0, 1}, .duration = {0, 1}, .picture_duration = {0, 1}};
    if (import_document(path, &info)) {
        *ret = info;
        return 0;
    }
    struct demuxer *demuxer;
    int error = demuxer_open(path, &demuxer, reterr);
    if (error < 0)
        return error;
    describe(demuxer, &info);
    demuxer_close(&demuxer);
    *ret = info;
    return 0;
}

// -- an import under way: names, and what to remove when it fails

struct job {
    char part[4][PATH_MAX], name[4][PATH_MAX]; // file, index, sound, facts: temporary and final
    bool made[4];
    const struct import_callbacks *callbacks;
    int from, to; // of the step under way, permille
};

static void step_progress(void *opaque, int permille)
{
    struct job *job = opaque;
    job->callbacks->progress(job->callbacks->opaque,
                             job->from + (job->to - job->from) * permille / 1000);
}

static void step(struct job *job, int from, int to)
{
    job->from = from;
    job->to = to;
    step_progress(job, 0);
}

static int name_parts(struct job *job, const char *store, const char *sha256,
                      struct diagnostic *reterr)
{
    static const char *const ending[4] = {"", ".index", ".sound", ".json"};
    for (int i = 0; i < 4; i++) {
        int a = snprintf(job->name[i], PATH_MAX, "%s/%s%s", store, sha256, ending[i]);
        int b = snprintf(job->part[i], PATH_MAX, "%s/.import-%d-%s%s", store, (int)getpid(), sha256,
                         ending[i]);
        if (a >= PATH_MAX || b >= PATH_MAX)
            return diagnostic_set(reterr, -ENAMETOOLONG, "media_store", store, "path is too long");
    }
    return 0;
}

static int create(struct job *job, int i, struct diagnostic *reterr)
{
    int fd = open(job->part[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return diagnostic_set(reterr, -errno, "media_store", job->part[i], "cannot be written: %s",
                              strerror(errno));
    job->made[i] = true;
    return fd;
}

static int copy_file(struct job *job, const char *path, struct diagnostic *reterr)
{
    char block[65536];
    int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return diagnostic_set(reterr, -errno, "media_open", path, "cannot be opened: %s",
                              strerror(errno));
    int out = create(job, 0, reterr), error = out < 0 ? out : 0;
    while (!error) {
        ssize_t n = read(in, block, sizeof block);
        if (n == 0)
            break;
        if (n < 0)
            error = -errno;
        for (ssize_t done = 0; !error && done < n;) {
            ssize_t written = write(out, block + done, (size_t)(n - done));
            if (written < 0)
                error = -errno;
            else
                done += written;
        }
    }
    if (!error && fdatasync(out))
        error = -errno;
    close(in);
    if (out >= 0) {
        close(out);
        if (error < 0)
            diagnostic_set(reterr, error, "media_store", job->part[0], "cannot be written: %s",
                           strerror(-error));
    }
    return error;
}

void import_note_damage(struct media_info *info, int64_t count, struct rational first)
{
    if (!info->damage_count || rational_compare(first, info->damage_first) < 0)
        info->damage_first = first;
    info->damage_count += count;
}

static void note_index(const struct media_index *index, struct media_info *info)
{
    info->picture_count = index->picture_count;
    info->interlaced = index->interlaced;
    info->hdr = index->hdr;
    info->duration = info->picture_duration = index_duration(index);
    if (index->first_turned) {
        int width = info->width;
        info->width = info->height;
        info->height = width;
    }
    if (!index->damage_count)
        return;
    int64_t ticks = index->pictures[index->damages[0].first].pts - index->pictures[0].pts;
    import_note_damage(info, index->damage_count,
                       rational_mul(rational_make(ticks, 1), index->time_base));
}

static int make_index(struct job *job, struct media_info *info, struct rational *ret_start,
                      struct diagnostic *reterr)
{
    struct demuxer *demuxer;
    struct media_index *index = NULL;
    int error = demuxer_open(job->part[0], &demuxer, reterr);
    if (error < 0)
        return error;
    error = index_build(demuxer, step_progress, job, &index, reterr);
    if (error >= 0)
        error = index_save(index, job->part[1], reterr);
    if (error >= 0) {
        note_index(index, info);
        *ret_start = rational_mul(rational_make(index->pictures[0].pts, 1), index->time_base);
        // Counted times begin at 0 with the first picture, and so does then the file's clock.
        if (index->mode == INDEX_COUNT)
            *ret_start = (struct rational){0, 1};
        job->callbacks->indexed(job->part[0], info);
    }
    index_destroy(&index);
    demuxer_close(&demuxer);
    return error;
}

// What make_index gives, through a pipe; less than PIPE_BUF.
struct indexed {
    int error;
    struct diagnostic problem;
    struct media_info info;
    struct rational start;
};

static void index_child(struct job *job, const struct media_info *info, int fd)
{
    struct indexed r = {.info = *info};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // not inherited
    av_force_cpu_flags(-1);
    r.error = make_index(job, &r.info, &r.start, &r.problem);
    _exit(write(fd, &r, sizeof r) == sizeof r ? 0 : 1);
}

// Indexing decodes every picture, and only their times matter: it may use all that the processor
// has. The switch for that is process-wide and must stay off here, for the sound.
static int make_index_fast(struct job *job, struct media_info *info, struct rational *ret_start,
                           struct diagnostic *reterr)
{
    struct indexed r;
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC))
        return diagnostic_set(reterr, -errno, "media_process", "", "no pipe can be had");
    job->made[1] = true;
    fflush(stdout); // or the child would print again what is waiting
    pid_t pid = fork();
    if (!pid)
        index_child(job, info, ends[1]);
    close(ends[1]);
    ssize_t size = pid < 0 ? -1 : read(ends[0], &r, sizeof r);
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid > 0 && WIFSIGNALED(status))
        raise(WTERMSIG(status)); // the caller is told that the file crashed the decoder
    if (size != sizeof r)
        return diagnostic_set(reterr, -EIO, "media_process", "", "indexing ended early");
    if (r.error < 0) {
        *reterr = r.problem;
        return r.error;
    }
    *info = r.info;
    *ret_start = r.start;
    return 0;
}

static int make_sound(struct job *job, const struct rational *start, struct media_info *info,
                      struct diagnostic *reterr)
{
    struct demuxer *demuxer;
    int error = demuxer_open(job->part[0], &demuxer, reterr);
    if (error < 0)
        return error;
    int fd = create(job, 2, reterr);
    error =
        fd < 0 ? fd
               : import_sound(demuxer, demuxer->sound, start, fd, info, step_progress, job, reterr);
    if (error >= 0 && fdatasync(fd))
        error = diagnostic_set(reterr, -errno, "media_store", job->part[2], "cannot be written: %s",
                               strerror(errno));
    if (fd >= 0)
        close(fd);
    demuxer_close(&demuxer);
    return error;
}

static int write_facts(struct job *job, const struct media_info *info, struct diagnostic *reterr)
{
    char *text = media_info_format(info);
    if (!text)
        return diagnostic_set(reterr, -ENOMEM, "media_memory", "", "not enough memory");
    int fd = create(job, 3, reterr), error = fd < 0 ? fd : 0;
    size_t size = strlen(text);
    if (fd >= 0 && (write(fd, text, size) != (ssize_t)size || fdatasync(fd)))
        error = diagnostic_set(reterr, -EIO, "media_store", job->part[3], "cannot be written");
    if (fd >= 0)
        close(fd);
    free(text);
    return error;
}

// The facts go last: an asset whose facts are there is complete.
static int publish(struct job *job, const char *store, struct diagnostic *reterr)
{
    int folder = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
    for (int i = 0; i < 4 && !error; i++) {
        if (i == 3 && folder >= 0 && fsync(folder))
            error = -errno;
        if (!error && job->made[i] && rename(job->part[i], job->name[i]))
            error = -errno;
        if (!error)
            job->made[i] = false;
    }
    if (!error && folder >= 0 && fsync(folder))
        error = -errno;
    if (folder >= 0)
        close(folder);
    if (error)
        diagnostic_set(reterr, error, "media_store", store, "cannot be written: %s",
                       strerror(-error));
    return error;
}

static int import_known(const struct job *job, struct media_info *ret)
{
    struct media_info info;
    int error = media_info_read(job->name[0], &info, NULL);
    if (!error && access(job->name[0], R_OK))
        error = -ENOENT;
    if (!error && !info.picture_duration.den)
        error = -ESTALE; // facts of an older import: made anew
    if (!error)
        *ret = info;
    return error;
}

static void import_parts(struct job *job, struct media_info *info, int *error,
                         struct diagnostic *reterr)
{
    struct rational start = {0, 1};
    bool pictures = info->picture_codec[0], sound = info->sound_codec[0];
    step(job, 200, sound ? 700 : 1000);
    if (*error >= 0 && pictures)
        *error = make_index_fast(job, info, &start, reterr);
    info->sample_count = 0;
    step(job, pictures ? 700 : 200, 1000);
    if (*error >= 0 && sound)
        *error = make_sound(job, pictures ? &start : NULL, info, reterr);
    if (*error >= 0 && !pictures && !info->sample_count)
        *error = diagnostic_set(reterr, -EINVAL, "media_damaged", "",
                                "no sound can be decoded: the file is damaged or cut short");
    if (*error < 0)
        return;
    if (pictures && info->damage_count && info->picture_count <= 2 && !sound) {
        // What a still lacks has an entry of its own.
        *error = diagnostic_set(reterr, -EINVAL, "media_damaged", "",
                                "the picture is damaged or cut short; was it copied completely?");
        return;
    }
    if (pictures && info->picture_count == 1 && !sound) {
        info->still = true;
        info->duration = info->picture_duration = (struct rational){0, 1};
        info->rate = (struct rate){0, 1};
    }
    struct rational length = rational_make(info->sample_count, SAMPLE_RATE_HZ);
    if (!pictures || rational_compare(length, info->duration) > 0)
        info->duration = length;
}

int import_file(const char *path, const char *store, struct media_info *ret,
                const struct import_callbacks *callbacks, struct diagnostic *reterr)
{
    struct job *job = calloc(1, sizeof *job);
    struct media_info info;
    char sha256[65], again[65];
    if (!job)
        return diagnostic_set(reterr, -ENOMEM, "media_memory", path, "not enough memory");
    job->callbacks = callbacks;
    int error = import_probe(path, &info, reterr);
    if (error >= 0)
        error = media_hash_file(path, sha256, reterr);
    if (error >= 0)
        error = name_parts(job, store, sha256, reterr);
    if (error < 0 || !import_known(job, ret))
        goto finish;
    step(job, 100, 200);
    error = copy_file(job, path, reterr);
    if (error >= 0)
        error = media_hash_file(job->part[0], again, reterr);
    if (error >= 0 && strcmp(sha256, again))
        error = diagnostic_set(reterr, -EAGAIN, "media_changed", path,
                               "changed while it was read; import it when it is complete");
    if (error >= 0)
        error = import_probe(job->part[0], &info, reterr);
    memcpy(info.sha256, sha256, sizeof sha256);
    bool document = !info.picture_codec[0] && !info.sound_codec[0];
    if (error >= 0 && !document)
        import_parts(job, &info, &error, reterr);
    if (error >= 0)
        error = write_facts(job, &info, reterr);
    if (error >= 0)
        error = publish(job, store, reterr);
    if (error >= 0)
        *ret = info;
finish:
    // What is wrong with the copy is wrong with the file that the caller knows.
    if (error < 0 && (!reterr->path[0] || !strcmp(reterr->path, job->part[0])))
        snprintf(reterr->path, sizeof reterr->path, "%s", path);
    for (int i = 0; i < 4; i++)
        if (job->made[i])
            unlink(job->part[i]);
    free(job);
    return error;
}
