#include "engine/media/demux.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/opt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IO_BYTES (64 << 10)

// Only containers and pictures that are self-contained; playlists and devices are not among them.
static const char formats[] =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,mpegvideo,avi,flv,live_flv,asf,mxf,ogg,mp3,"
    "wav,w64,aiff,flac,aac,ac3,eac3,amr,au,caf,dts,opus,gif,apng,ivf,h264,hevc,m4v,obu,av1,"
    "yuv4mpegpipe,nut,dv,rm,png_pipe,jpeg_pipe,jpegls_pipe,webp_pipe,bmp_pipe,tiff_pipe,psd_pipe,"
    "j2k_pipe,dpx_pipe,exr_pipe,pam_pipe,pbm_pipe,pgm_pipe,ppm_pipe,pgmyuv_pipe,qoi_pipe,sgi_pipe,"
    "pcx_pipe";

static int file_read(void *opaque, uint8_t *buffer, int size)
{
    struct demuxer *d = opaque;
    ssize_t n;
    do
        n = pread(d->fd, buffer, (size_t)size, d->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return AVERROR(errno);
    if (n == 0)
        return AVERROR_EOF;
    d->offset += n;
    return (int)n;
}

static int64_t file_seek(void *opaque, int64_t offset, int whence)
{
    struct demuxer *d = opaque;
    if (whence & AVSEEK_SIZE)
        return d->size;
    switch (whence & ~AVSEEK_FORCE) {
    case SEEK_SET:
        break;
    case SEEK_CUR:
        offset += d->offset;
        break;
    case SEEK_END:
        offset += d->size;
        break;
    default:
        return AVERROR(EINVAL);
    }
    if (offset < 0)
        return AVERROR(EINVAL);
    return d->offset = offset;
}

static int refuse_open(AVFormatContext *format, AVIOContext **ret, const char *url, int flags,
                       AVDictionary **options)
{
    (void)format, (void)ret, (void)url, (void)flags, (void)options;
    return AVERROR(EACCES);
}

static int check_file(int fd, const char *path, struct diagnostic *reterr)
{
    struct stat status;
    if (fstat(fd, &status))
        return diagnostic_set(reterr, -errno, "media_open", path, "cannot be read: %s",
                              strerror(errno));
    if (S_ISDIR(status.st_mode))
        return diagnostic_set(reterr, -EISDIR, "media_folder", path,
                              "is a folder; name a media file");
    if (!S_ISREG(status.st_mode))
        return diagnostic_set(reterr, -EINVAL, "media_special", path, "is not a regular file");
    if (!status.st_size)
        return diagnostic_set(reterr, -EINVAL, "media_empty", path,
                              "is empty; was it copied completely?");
    return 0;
}

int media_file_open(const char *path, struct diagnostic *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return diagnostic_set(reterr, -errno, "media_open", path, "cannot be opened: %s",
                              strerror(errno));
    int error = check_file(fd, path, reterr);
    if (error < 0)
        close(fd);
    return error < 0 ? error : fd;
}

static int check_size(int64_t width, int64_t height, const char *path, struct diagnostic *reterr)
{
    if (width > MEDIA_SIDE_MAX || height > MEDIA_SIDE_MAX || width * height > MEDIA_PIXELS_MAX)
        return diagnostic_set(reterr, -E2BIG, "media_size", path,
                              "pictures of %lldx%lld are too large (at most %d a side, %d pixels); "
                              "scale them down",
                              (long long)width, (long long)height, MEDIA_SIDE_MAX,
                              MEDIA_PIXELS_MAX);
    return 0;
}

#define REFUSE_FLOAT                                                                               \
    "is decoded by floating point that differs between processors, so nodes would not show the "   \
    "same; convert it, pictures to PNG"

// A picture format that people have and that is not taken, with the reason.
static int check_jpeg_xl(const struct demuxer *d, const char *path, struct diagnostic *reterr)
{
    uint8_t head[12] = {0};
    if (pread(d->fd, head, sizeof head, 0) < 2 ||
        (memcmp(head, "\xff\x0a", 2) && memcmp(head, "\0\0\0\x0cJXL \r\n\x87\n", 12)))
        return 0;
    return diagnostic_set(reterr, -EINVAL, "media_jpeg_xl", path, "JPEG XL " REFUSE_FLOAT);
}

// FFmpeg decodes a still picture only to learn its size, so the header is read here first.
static int check_still(const struct demuxer *d, const char *path, struct diagnostic *reterr)
{
    int64_t width, height;
    return file_picture_size(d->fd, d->size, &width, &height)
               ? check_size(width, height, path, reterr)
               : 0;
}

static int find_streams(struct demuxer *d)
{
    unsigned count = d->format->nb_streams;
    AVDictionary **options = av_calloc(count ? count : 1, sizeof *options);
    if (!options)
        return AVERROR(ENOMEM);
    for (unsigned i = 0; i < count; i++)
        av_dict_set_int(&options[i], "max_pixels", MEDIA_PIXELS_MAX, 0);
    int error = avformat_find_stream_info(d->format, options);
    for (unsigned i = 0; i < count; i++)
        av_dict_free(&options[i]);
    av_free(options);
    return error;
}

static int open_format(struct demuxer *d, const char *path, struct diagnostic *reterr)
{
    uint8_t *buffer = av_malloc(IO_BYTES);
    d->io = buffer ? avio_alloc_context(buffer, IO_BYTES, 0, d, file_read, NULL, file_seek) : NULL;
    d->format = avformat_alloc_context();
    if (!d->io || !d->format) {
        if (!d->io)
            av_free(buffer);
        return diagnostic_set(reterr, -ENOMEM, "media_memory", path, "not enough memory");
    }
    d->format->pb = d->io;
    d->format->io_open = refuse_open;
    d->format->max_streams = MEDIA_STREAMS_MAX;
    d->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    av_opt_set(d->format, "format_whitelist", formats, 0);
    int error = avformat_open_input(&d->format, "", NULL, NULL); // frees d->format on failure
    if (error >= 0)
        error = find_streams(d);
    if (error == AVERROR(ENOMEM))
        return diagnostic_set(reterr, -ENOMEM, "media_memory", path, "not enough memory");
    if (error < 0)
        return diagnostic_set(reterr, -EINVAL, "media_unreadable", path,
                              "is not media that can be played, or is cut short (%s)",
                              av_err2str(error));
    if (d->format->nb_streams > MEDIA_STREAMS_MAX)
        return diagnostic_set(reterr, -E2BIG, "media_streams", path,
                              "has %u streams; at most %d are taken", d->format->nb_streams,
                              MEDIA_STREAMS_MAX);
    return 0;
}

static int choose_streams(struct demuxer *d, const char *path, struct diagnostic *reterr)
{
    d->picture = av_find_best_stream(d->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (d->picture >= 0 &&
        d->format->streams[d->picture]->disposition & AV_DISPOSITION_ATTACHED_PIC)
        d->picture = -1;
    d->sound = av_find_best_stream(d->format, AVMEDIA_TYPE_AUDIO, -1, d->picture, NULL, 0);
    if (d->picture < 0)
        d->picture = -1;
    if (d->sound < 0 || d->format->streams[d->sound]->codecpar->sample_rate <= 0)
        d->sound = -1;
    if (d->picture >= 0) {
        const AVCodecParameters *p = d->format->streams[d->picture]->codecpar;
        int error = check_size(p->width, p->height, path, reterr);
        if (error < 0)
            return error;
        if (p->width <= 0 || p->height <= 0)
            return diagnostic_set(reterr, -EINVAL, "media_damaged", path,
                                  "its pictures cannot be decoded: damaged, cut short or larger "
                                  "than %d pixels",
                                  MEDIA_PIXELS_MAX);
    }
    if (d->picture < 0 && d->sound < 0)
        return diagnostic_set(reterr, -EINVAL, "media_nothing", path,
                              "has neither pictures nor sound that can be played");
    return 0;
}

int demuxer_open_fd(int fd, const char *path, struct demuxer **ret, struct diagnostic *reterr)
{
    struct demuxer *d = base_alloc(sizeof *d);
    d->fd = fd;
    d->picture = d->sound = -1;
    d->size = lseek(fd, 0, SEEK_END);
    d->wholeness = file_wholeness(fd, d->size);
    int error = check_jpeg_xl(d, path, reterr);
    if (error >= 0)
        error = check_still(d, path, reterr);
    if (error >= 0)
        error = open_format(d, path, reterr);
    if (error >= 0)
        error = choose_streams(d, path, reterr);
    if (error < 0) {
        demuxer_close(&d);
        return error;
    }
    *ret = d;
    return 0;
}

int demuxer_open(const char *path, struct demuxer **ret, struct diagnostic *reterr)
{
    int fd = media_file_open(path, reterr);
    int error = fd < 0 ? fd : demuxer_open_fd(fd, path, ret, reterr);
    if (error >= 0)
        (*ret)->owns_fd = true;
    else if (fd >= 0)
        close(fd);
    return error;
}

void demuxer_close(struct demuxer **demuxer)
{
    struct demuxer *d = *demuxer;
    if (!d)
        return;
    *demuxer = NULL;
    avformat_close_input(&d->format);
    if (d->io)
        av_freep(&d->io->buffer);
    avio_context_free(&d->io);
    if (d->owns_fd)
        close(d->fd);
    free(d);
}

int demuxer_open_decoder(struct demuxer *d, int stream, int threads, bool fast,
                         AVCodecContext **ret, struct diagnostic *reterr)
{
    const AVStream *s = d->format->streams[stream];
    const char *name = avcodec_get_name(s->codecpar->codec_id);
    // The libvpx wrappers decode the alpha plane that the native VP8 and VP9 decoders do not know.
    const AVDictionaryEntry *alpha = av_dict_get(s->metadata, "alpha_mode", NULL, 0);
    const AVCodec *codec = NULL;
    if (alpha && atoi(alpha->value) == 1)
        codec =
            avcodec_find_decoder_by_name(s->codecpar->codec_id == AV_CODEC_ID_VP8   ? "libvpx"
                                         : s->codecpar->codec_id == AV_CODEC_ID_VP9 ? "libvpx-vp9"
                                                                                    : "");
    if (!codec)
        codec = avcodec_find_decoder(s->codecpar->codec_id);
    // Of the libraries behind FFmpeg, these decode in integers.
    if (codec && codec->wrapper_name && strcmp(codec->wrapper_name, "libdav1d") &&
        strcmp(codec->wrapper_name, "libvpx"))
        return diagnostic_set(reterr, -EINVAL, "media_codec", name, REFUSE_FLOAT);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return diagnostic_set(reterr, codec ? -ENOMEM : -EINVAL, "media_codec", name,
                              "there is no decoder for %s", name);
    int error = avcodec_parameters_to_context(c, s->codecpar);
    c->pkt_timebase = s->time_base;
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    c->idct_algo = FF_IDCT_SIMPLE;
    c->max_pixels = MEDIA_PIXELS_MAX;
    c->thread_count = threads;
    if (fast) {
        // Threads that each decode a picture of their own lose what the others find broken.
        c->thread_type = FF_THREAD_SLICE;
        c->skip_loop_filter = AVDISCARD_ALL;
        c->skip_idct = AVDISCARD_ALL;
    }
    if (error >= 0)
        error = avcodec_open2(c, codec, NULL);
    if (error < 0) {
        avcodec_free_context(&c);
        return diagnostic_set(reterr, error == AVERROR(ENOMEM) ? -ENOMEM : -EINVAL, "media_codec",
                              name, "the decoder for %s refuses the stream (%s)", name,
                              av_err2str(error));
    }
    *ret = c;
    return 0;
}
