// Senders for tests of gateways: clips that are encoded once, sent by libsrt at the pace of their
// own time stamps, and what of them stands in a log. Included once per test.
#pragma once

#include "engine/base/clock.h"
#include "engine/live/log.h"
#include "tests/check.h"

#include <arpa/inet.h>
#include <libavformat/avformat.h>
#include <srt/srt.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECOND_NS  INT64_C(1000000000)
#define PACKET     1316 // seven packets of MPEG-TS
#define CLIP_UNITS 4096

struct sent {
    enum unit_stream stream;
    uint32_t crc;  // of its bytes
    int64_t at_ns; // since the clip's beginning
    int64_t byte;  // where it begins in the file
};

struct clip {
    uint8_t *bytes;
    size_t size;
    int count;
    struct sent units[CLIP_UNITS]; // in the file's order
};

// False: there is no ffmpeg.
static inline bool clip_make(const char *path, const char *size, double seconds,
                             const char *options)
{
    char command[512];
    snprintf(command, sizeof command,
             "exec ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=s=%s:r=25 -f lavfi -i "
             "sine=440:r=48000 -t %g %s %s",
             size, seconds, options, path);
    return !system(command);
}

static inline void clip_read(struct clip *c, const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK_TRUE(f);
    fseek(f, 0, SEEK_END);
    c->size = (size_t)ftell(f);
    rewind(f);
    c->bytes = malloc(c->size);
    CHECK(fread(c->bytes, 1, c->size, f), ==, c->size);
    fclose(f);
}

static inline void clip_load(struct clip *c, const char *path)
{
    AVFormatContext *format = NULL;
    AVPacket *packet = av_packet_alloc();
    int64_t first_ns = INT64_MIN;
    clip_read(c, path);
    CHECK_OK(avformat_open_input(&format, path, NULL, NULL));
    while (c->count < CLIP_UNITS && !av_read_frame(format, packet)) {
        const AVStream *s = format->streams[packet->stream_index];
        int64_t at_ns = packet->dts == AV_NOPTS_VALUE
                            ? c->units[c->count - 1].at_ns + first_ns
                            : av_rescale_q(packet->dts, s->time_base, (AVRational){1, 1000000000});
        first_ns = first_ns == INT64_MIN ? at_ns : first_ns;
        c->units[c->count++] =
            (struct sent){s->codecpar->codec_type == AVMEDIA_TYPE_VIDEO ? UNIT_PICTURE : UNIT_SOUND,
                          crc32c_add(0, packet->data, (size_t)packet->size), at_ns - first_ns,
                          packet->pos < 0 ? INT64_MAX : packet->pos};
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    avformat_close_input(&format);
}

// How much of the clip is due so long after its beginning.
static inline size_t clip_due(const struct clip *c, int64_t since_ns)
{
    for (int i = 0; i < c->count; i++)
        if (c->units[i].at_ns > since_ns && c->units[i].byte != INT64_MAX)
            return (size_t)c->units[i].byte;
    return c->size;
}

// ---- By SRT ----------------------------------------------------------------------------------

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)port)};
}

static inline int udp_port(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    CHECK_OK(bind(fd, (struct sockaddr *)&address, size));
    CHECK_OK(getsockname(fd, (struct sockaddr *)&address, &size));
    close(fd);
    return ntohs(address.sin_port);
}

// Calls again and again, as encoders do. SRT_INVALID_SOCK: it is not let in.
static inline SRTSOCKET sender_call(int port, const char *source)
{
    struct sockaddr_in address = loopback(port);
    for (int i = 0; i < 40; i++) {
        SRTSOCKET s = srt_create_socket();
        int live = SRTT_LIVE;
        srt_setsockflag(s, SRTO_TRANSTYPE, &live, sizeof live);
        srt_setsockflag(s, SRTO_STREAMID, source, (int)strlen(source));
        if (!srt_connect(s, (struct sockaddr *)&address, sizeof address))
            return s;
        srt_close(s);
        clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 20);
    }
    return SRT_INVALID_SOCK;
}

// Sends [*at, to) of what there is.
static inline bool sender_send(SRTSOCKET s, const uint8_t *bytes, size_t *at, size_t to)
{
    for (int n; *at < to; *at += (size_t)n) {
        n = to - *at < PACKET ? (int)(to - *at) : PACKET;
        if (srt_sendmsg(s, (const char *)bytes + *at, n, -1, true) != n)
            return false;
    }
    return true;
}

// In real time, up to `end_ns` of the clip. What is in flight gets the time that it takes.
static inline void sender_play(SRTSOCKET s, const struct clip *c, int64_t end_ns)
{
    int64_t start_ns = clock_monotonic_ns(), now_ns = start_ns;
    size_t at = 0;
    bool stands = true;
    while (stands && at < c->size && now_ns - start_ns < end_ns) {
        stands = sender_send(s, c->bytes, &at, clip_due(c, now_ns - start_ns));
        now_ns += 5 * SECOND_NS / 1000;
        clock_sleep_until_ns(now_ns);
    }
    clock_sleep_until_ns(clock_monotonic_ns() + 2 * SECOND_NS);
}

// ---- What is in the log ----------------------------------------------------------------------

struct logged {
    int count, gaps; // gaps: since the last unit
    uint32_t gen, crcs[CLIP_UNITS];
    bool late[CLIP_UNITS]; // it was, or a gap was told before it
};

static inline void log_take(const struct unit *u, enum unit_stream stream, struct logged *ret)
{
    if (u->stream != stream || ret->count == CLIP_UNITS)
        return;
    ret->gaps += u->kind == UNIT_GAP;
    if (u->kind != UNIT_DATA)
        return;
    ret->late[ret->count] = ret->gaps || u->flags & UNIT_LATE;
    ret->crcs[ret->count++] = crc32c_add(0, u->body, u->size);
    ret->gaps = 0;
    ret->gen = u->gen;
}

// How many came late. Not the first ones, in which the streams are found, nor the last ones, which
// a demuxer gives only when it knows that no more come.
static inline int log_late(const struct logged *logged)
{
    int late = 0;
    for (int i = 25; i < logged->count - 10; i++)
        late += logged->late[i];
    return late;
}

static inline void log_units(const char *folder, enum unit_stream stream, struct logged *ret)
{
    struct live_reader *reader = NULL;
    struct unit u;
    *ret = (struct logged){0};
    CHECK_OK(live_reader_open(folder, &reader, NULL));
    while (!live_reader_next(reader, &u))
        log_take(&u, stream, ret);
    live_reader_close(&reader);
}

// Every unit that was sent stands in the log, once and in order; of sound those from the time on
// that silence had been told up to, within the first half second.
static inline void check_all_there(const struct clip *c, enum unit_stream stream,
                                   const struct logged *logged)
{
    int at = 0, wrong = 0, before = -logged->count;
    for (int i = 0; i < c->count; i++)
        before += c->units[i].stream == stream;
    CHECK(before, >=, 0);
    CHECK_TRUE(!before || stream == UNIT_SOUND);
    for (int i = 0; i < c->count; i++) {
        if (c->units[i].stream != stream)
            continue;
        if (before-- > 0)
            CHECK(c->units[i].at_ns, <, SECOND_NS / 2);
        else
            wrong += at >= logged->count || logged->crcs[at++] != c->units[i].crc;
    }
    CHECK(wrong, ==, 0);
    CHECK(at, ==, logged->count);
    CHECK(at, >, 100);
}
