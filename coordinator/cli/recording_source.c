#include "coordinator/cli/recording_source.h"

#include "engine/base/thread.h"
#include "engine/media/media.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOUND_MAX 65536 // packets, 23 minutes: more than lies beside any GOP

// ---- The file ----------------------------------------------------------------------------------

static int open_file(struct recording_source *s, struct diagnostic *reterr)
{
    int result = avformat_open_input(&s->in, s->path, av_find_input_format("matroska"), NULL);
    if (result == AVERROR(ENOENT) || result == AVERROR(EACCES) || result == AVERROR(EISDIR))
        return diagnostic_set(reterr, result, "recording_file", s->path, "%s", strerror(-result));
    if (result < 0)
        return diagnostic_set(reterr, -ENODATA, "recording_file", s->path,
                              "is no recording, or damaged at its very beginning");
    // Packets are copied: nothing is to be guessed, and nothing looked into.
    s->in->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    s->video = s->audio = -1;
    for (unsigned i = 0; i < s->in->nb_streams; i++) {
        const AVCodecParameters *p = s->in->streams[i]->codecpar;
        if (p->codec_id == AV_CODEC_ID_H264 && s->video < 0)
            s->video = (int)i;
        if (p->codec_id == AV_CODEC_ID_AAC && s->audio < 0)
            s->audio = (int)i;
    }
    int error = recording_read(s->in->metadata, &s->about);
    if (!error && (s->video < 0 || s->audio < 0))
        error = -ENODATA;
    if (error)
        return diagnostic_set(reterr, error, "recording_file", s->path,
                              error == -ENODATA ? "is not a recording of a channel"
                                                : "says impossible things of itself");
    return 0;
}

static int refuse_if_recorded(const char *path, struct diagnostic *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    int result = fd < 0                                                 ? -errno
                 : fstat(fd, &status) || !S_ISREG(status.st_mode)       ? -ENODATA
                 : flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK ? -EBUSY
                                                                        : 0;
    if (fd >= 0)
        close(fd);
    if (!result)
        return 0;
    return diagnostic_set(reterr, result, "recording_file", path, "%s",
                          result == -EBUSY     ? "is still being recorded"
                          : result == -ENODATA ? "is no file"
                                               : strerror(-result));
}

// Whether the checksum that may stand beside the file is its own.
static int check_sum(struct recording_source *s, struct diagnostic *reterr)
{
    char path[PATH_MAX], sum[65] = "", actual[65];
    if (snprintf(path, sizeof path, "%s.sha256", s->path) >= (int)sizeof path)
        return 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    size_t size = fread(sum, 1, 64, f);
    fclose(f);
    int error = media_hash_file(s->path, actual, reterr);
    s->doubtful = !error && (size != 64 || strcmp(sum, actual) != 0);
    return error;
}

int recording_source_create(const char *path, struct recording_source **ret,
                            struct diagnostic *reterr)
{
    struct recording_source *s = base_alloc(sizeof *s);
    s->path = base_strdup(path);
    int error = refuse_if_recorded(path, reterr);
    if (!error)
        error = open_file(s, reterr);
    avformat_close_input(&s->in);
    if (!error)
        error = check_sum(s, reterr);
    if (error) {
        recording_source_destroy(&s);
        return error;
    }
    *ret = s;
    return 0;
}

int recording_source_open(struct recording_source *s, struct diagnostic *reterr)
{
    s->ended = s->sound_whole = false;
    s->sound_last = INT64_MIN;
    int error = open_file(s, reterr);
    if (!error)
        recording_source_next(s);
    return error;
}

static void clear_gop(struct recording_gop *g)
{
    for (int i = 0; i < g->count; i++)
        av_packet_free(&g->packets[i]);
    g->count = 0;
    g->first = g->end = 0;
}

void recording_source_close(struct recording_source *s)
{
    clear_gop(&s->gop);
    recording_source_drop_sound(s, INT64_MAX);
    free(s->sound);
    s->sound = NULL;
    s->sound_room = 0;
    av_packet_free(&s->ahead);
    avformat_close_input(&s->in);
}

void recording_source_destroy(struct recording_source **source)
{
    struct recording_source *s = *source;
    if (!s)
        return;
    *source = NULL;
    recording_source_close(s);
    free(s->path);
    free(s);
}

const AVCodecParameters *recording_source_video(const struct recording_source *s)
{
    return s->in->streams[s->video]->codecpar;
}

const AVCodecParameters *recording_source_audio(const struct recording_source *s)
{
    return s->in->streams[s->audio]->codecpar;
}

// ---- Sound -------------------------------------------------------------------------------------

static void add_sound(struct recording_source *s, AVPacket *packet)
{
    int64_t number = recording_sound(&s->about, packet->pts, s->in->streams[s->audio]->time_base);
    if (number <= s->sound_last || s->sound_count == SOUND_MAX) { // not as a recorder writes
        av_packet_free(&packet);
        return;
    }
    if (s->sound_count == s->sound_room) {
        s->sound_room = s->sound_room ? 2 * s->sound_room : 256;
        s->sound = realloc(s->sound, (size_t)s->sound_room * sizeof *s->sound);
        if (!s->sound)
            abort();
    }
    if (number != s->sound_last + 1)
        s->sound_from = number;
    if (number % RECORDING_SOUND_BLOCK == 0)
        s->sound_whole = number - s->sound_from >= RECORDING_SOUND_PREROLL;
    else if (number == s->sound_from)
        s->sound_whole = false;
    s->sound_last = number;
    s->sound[s->sound_count++] = (struct recording_sound){number, s->sound_whole, packet};
}

void recording_source_drop_sound(struct recording_source *s, int64_t number)
{
    int count = 0;
    while (count < s->sound_count && s->sound[count].number < number)
        av_packet_free(&s->sound[count++].packet);
    s->sound_count -= count;
    if (count)
        memmove(s->sound, s->sound + count, (size_t)s->sound_count * sizeof *s->sound);
}

// ---- Pictures ----------------------------------------------------------------------------------

void recording_gop_cut(struct recording_gop *g, int64_t end)
{
    int count = 0;
    g->end = g->first;
    while (count < g->count && g->frames[count] < end) {
        g->end = g->frames[count] >= g->end ? g->frames[count] + 1 : g->end;
        count++;
    }
    while (g->count > count)
        av_packet_free(&g->packets[--g->count]);
}

static void add_picture(struct recording_source *s, AVPacket *packet)
{
    struct recording_gop *g = &s->gop;
    int64_t frame = recording_frame(&s->about, packet->pts, s->in->streams[s->video]->time_base);
    if (!g->count)
        g->first = g->end = frame;
    if (g->count == RECORDING_GOP_MAX || frame < g->first ||
        frame - g->first >= RECORDING_GOP_MAX) {
        av_packet_free(&packet); // no encoder of ours has made this
        return;
    }
    g->frames[g->count] = frame;
    g->packets[g->count++] = packet;
    g->end = frame >= g->end ? frame + 1 : g->end;
}

// Reads up to the next key picture, which waits in `ahead`. What cannot be read ends the file: of
// one that was cut short there is nothing more.
static void read_gop(struct recording_source *s)
{
    while (!s->ahead) {
        AVPacket *packet = av_packet_alloc();
        if (!packet || av_read_frame(s->in, packet) < 0) {
            av_packet_free(&packet);
            s->ended = true;
            return;
        }
        bool video = packet->stream_index == s->video, audio = packet->stream_index == s->audio;
        bool key = packet->flags & AV_PKT_FLAG_KEY;
        if (packet->pts == AV_NOPTS_VALUE || (!video && !audio) ||
            (video && !key && !s->gop.count)) // torn off its key
            av_packet_free(&packet);
        else if (audio)
            add_sound(s, packet);
        else if (key && s->gop.count)
            s->ahead = packet;
        else
            add_picture(s, packet);
    }
}

void recording_source_next(struct recording_source *s)
{
    clear_gop(&s->gop);
    if (s->ahead) {
        AVPacket *key = s->ahead;
        s->ahead = NULL;
        add_picture(s, key);
    }
    if (!s->ended)
        read_gop(s);
}
