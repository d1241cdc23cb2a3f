// RTMP and RTMPS output by libavformat's flv muxer.
//
// Rules (measured, see ARCHITECTURE.md): every call has a deadline (rw_timeout, and the interrupt
// callback); `timeout` is never set, since it turns the output into a listener; rtmps checks
// certificates, and there is no way from rtmps to rtmp. Each connection starts at a key frame with
// time 0 and ends, planned, before time stamps of 31 bits would wrap. After a failure nothing is
// said to the peer, since that may block; the connection is reset, so that the server frees the
// key. The GOP under way is kept: the next connection begins with it instead of waiting for a key
// frame.
//
// A server that reads too slowly gets what it can: when four seconds wait, all up to the newest key
// frame is left out.
//
// A server that stops reading shows nowhere in libavformat: megabytes would pile up in the kernel
// first. So the socket's send buffer holds half a second of the stream, and a connection on which
// nothing unsent was acknowledged for two seconds is given up. libavformat hides the socket; it is
// the only TCP socket of this process.
//
// Whether it may connect at all the edge says (edge/publish.h): a connection that is to end is
// reset at once.
//
// A refusal (key, name in use) shows in libavformat 59 as the same EIO as a cut connection; only
// its log tells them apart. Refused tries back off to a minute, all others to ten seconds.
#include "edge/deliver/gop.h"
#include "edge/deliver/sink.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <libavformat/avformat.h>
#include <libavutil/log.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#define OPEN_NS          INT64_C(8000000000) // less than what counts as hung
#define ANSWER_NS        INT64_C(3000000000)
#define WRITE_NS         INT64_C(4000000000)
#define STALL_NS         INT64_C(2000000000)
#define CLOSE_NS         INT64_C(1000000000)
#define LIVE_AFTER_MS    1000
#define BACK_OFF_FIRST   500
#define BACK_OFF_LAST    10000
#define REFUSED_FIRST    5000
#define REFUSED_LAST     60000
#define SEND_BUFFER_MIN  65536
#define SOCKETS_SEARCHED 256
#define SESSION_SECONDS  (20 * 24 * 3600)
#define KEEP_NS          INT64_C(60000000000)  // PUBLISH_KEEP: between connections
#define NAMED_NS         INT64_C(300000000000) // so long a server may think that another publishes
#define NAMED_SOON_NS    INT64_C(2000000000)   // who published before may be about to end
#define NAMED_SOON_MS    250
#define NAMED_REFUSED_MS 2000
#define LAG_SECONDS      4
#define STALE_NS         INT64_C(3000000000)  // a GOP whose edge stood still is under way no more
#define SILENT_PACKETS   30                   // of a GOP without sound: there is none
#define SLOW_NS          INT64_C(20000000000) // that the alarm stays after pictures were left out
#define STALLED          AVERROR(ENOBUFS)

// What libavformat's log said about the connection under way. Sink thread.
static struct heard {
    bool no_name, publish, refusal, certificate;
} heard;

struct rtmp {
    // -- constant after create
    struct feed *feed;
    struct status *status;
    // -- sink thread
    struct deliver_setup setup;
    bool has_setup;
    AVFormatContext *context;
    AVPacket *packet;
    int64_t base;        // frame that is time 0
    int64_t last_dts[2]; // of each stream, in its time base
    int64_t deadline_ns;
    int64_t opened_ns;
    int64_t next_try_ns;
    int back_off_ms, refused_ms;
    bool was_connected;
    enum publish_mode mode; // as last seen
    int64_t named_ns;       // when this publisher took over from another; 0: it has not
    int64_t ended_ns;       // when the last connection ended; 0: there was none
    struct gop kept;
    int64_t heard_ns;    // when the newest packet came
    bool skips;          // what comes is left out up to the next key picture
    int64_t slow_ns;     // until when the alarm stays
    int socket;          // of the connection; -1: none
    uint64_t acked;      // bytes that the peer had acknowledged at
    int64_t acked_at_ns; // this time, or nothing was left to acknowledge
};

// Formats are compared and nothing is formatted, since the arguments hold the key.
static void on_log(void *context, int level, const char *format, va_list args)
{
    (void)context;
    (void)args;
    heard.no_name = heard.no_name || strstr(format, "Failed to resolve hostname");
    heard.publish = heard.publish || strstr(format, "Sending publish command");
    heard.certificate = heard.certificate || strstr(format, "Unable to verify peer certificate") ||
                        strstr(format, "Peer certificate failed verification") ||
                        strstr(format, "does not match hostname");
    heard.refusal = heard.refusal || (level == AV_LOG_ERROR && strstr(format, "Server error"));
}

static int find_socket(void)
{
    for (int fd = 0; fd < SOCKETS_SEARCHED; fd++) {
        int domain, type;
        socklen_t size = sizeof domain;
        if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) &&
            !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM &&
            (domain == AF_INET || domain == AF_INET6))
            return fd;
    }
    return -1;
}

static void watch_socket(struct rtmp *r)
{
    r->socket = find_socket();
    r->acked = 0;
    r->acked_at_ns = clock_monotonic_ns();
    int half_second = (r->setup.video_bitrate + r->setup.audio_bitrate) / 16;
    int size = half_second > SEND_BUFFER_MIN ? half_second : SEND_BUFFER_MIN;
    if (r->socket >= 0) // without it the stall is only seen later
        (void)setsockopt(r->socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static bool is_stalled(struct rtmp *r, int64_t now)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    int unsent;
    if (r->socket < 0 || getsockopt(r->socket, IPPROTO_TCP, TCP_INFO, &info, &size) ||
        ioctl(r->socket, SIOCOUTQ, &unsent))
        return false;
    if (!unsent || info.tcpi_bytes_acked != r->acked) {
        r->acked = info.tcpi_bytes_acked;
        r->acked_at_ns = now;
    }
    return now - r->acked_at_ns > STALL_NS;
}

static int interrupt(void *opaque)
{
    struct rtmp *r = opaque;
    int64_t now = clock_monotonic_ns();
    if (now > r->deadline_ns || is_stalled(r, now) || feed_publish(r->feed) == PUBLISH_NO)
        return 1;
    // When asked to stop, what is under way may take a second more.
    if (feed_closed(r->feed) && r->deadline_ns > now + CLOSE_NS)
        r->deadline_ns = now + CLOSE_NS;
    return 0;
}

static void *rtmp_create(struct feed *feed, struct status *status)
{
    struct rtmp *r = base_alloc(sizeof *r);
    r->feed = feed;
    r->status = status;
    r->back_off_ms = BACK_OFF_FIRST;
    r->refused_ms = REFUSED_FIRST;
    r->socket = -1;
    r->mode = PUBLISH_YES;
    r->packet = av_packet_alloc();
    av_log_set_callback(on_log);
    avformat_network_init();
    return r;
}

static void close_connection(struct rtmp *r, bool polite)
{
    if (!r->context)
        return;
    r->deadline_ns = polite ? clock_monotonic_ns() + CLOSE_NS : 0;
    const struct linger reset = {.l_onoff = 1};
    if (polite)
        (void)av_write_trailer(r->context); // the peer may be gone already
    else if (r->socket >= 0)
        (void)setsockopt(r->socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    r->socket = -1;
    r->ended_ns = clock_monotonic_ns();
    r->slow_ns = 0;
    avio_closep(&r->context->pb);
    avformat_free_context(r->context);
    r->context = NULL;
}

// A server closes the connection instead of an answer, too.
static bool is_refused(const struct rtmp *r, int error)
{
    return heard.refusal || (heard.publish && error == AVERROR(EIO) && r->base == INT64_MIN);
}

// In words, without the URL that FFmpeg's own messages have.
static const char *describe(int error)
{
    if (heard.certificate)
        return "the server's certificate is not valid: it has expired, is for another name, or is "
               "signed by nobody whom this host trusts";
    switch (error) {
    case STALLED:
        return "the server takes no more data";
    case AVERROR(ECONNREFUSED):
        return "connection refused: nothing listens at the destination's address";
    case AVERROR(ETIMEDOUT):
    case AVERROR_EXIT:
        return "no answer in time";
    case AVERROR(EIO):
        return heard.no_name ? "the destination's host name cannot be resolved"
                             : "no RTMP connection: the server closed it";
    case AVERROR(ECONNRESET):
    case AVERROR(EPIPE):
        return "the server closed the connection";
    case AVERROR(EINVAL):
    case AVERROR_PROTOCOL_NOT_FOUND:
        return "not an RTMP address";
    default:
        return strerror(error < 0 && error > -4096 ? -error : EIO);
    }
}

// ---- Connecting -------------------------------------------------------------------------------

static int random_below(int limit)
{
    uint32_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value)
        value = (uint32_t)clock_monotonic_ns();
    return (int)(value % (uint32_t)limit);
}

static int twice_up_to(int value, int limit)
{
    return value * 2 > limit ? limit : value * 2;
}

static void fail(struct rtmp *r, int error)
{
    int64_t now = clock_monotonic_ns();
    // After the handshake libavformat gives EIO for an answer that does not come, as well.
    if (r->base == INT64_MIN && now - r->opened_ns >= ANSWER_NS && error == AVERROR(EIO))
        error = AVERROR(ETIMEDOUT);
    bool refused = is_refused(r, error) || heard.certificate;
    close_connection(r, false);
    if (feed_publish(r->feed) == PUBLISH_NO)
        return; // that is why
    status_error(r->status, "%s",
                 refused && !heard.certificate
                     ? "refused by the server: check the stream key, and whether another "
                       "publisher uses it"
                     : describe(error));
    status_alarm(r->status, refused ? "destination_refused" : "destination_lost");
    status_set(r->status, DELIVER_WAITING);
    // Full jitter, so that a platform that comes back is not met by everybody at once. A refused
    // key, or a certificate, does not become right by itself, and platforms lock out who tries
    // often.
    bool named = !heard.certificate && r->named_ns && now - r->named_ns < NAMED_NS;
    int wait_ms = refused ? r->refused_ms : random_below(r->back_off_ms) + 1;
    if (refused && named)
        wait_ms = now - r->named_ns < NAMED_SOON_NS ? NAMED_SOON_MS : NAMED_REFUSED_MS;
    r->next_try_ns = now + (int64_t)wait_ms * 1000000;
    if (refused && !named)
        r->refused_ms = twice_up_to(r->refused_ms, REFUSED_LAST);
    else if (!refused)
        r->back_off_ms = twice_up_to(r->back_off_ms, BACK_OFF_LAST);
}

static int open_connection(struct rtmp *r)
{
    const char *url = r->setup.url;
    bool secure = !strncmp(url, "rtmps://", 8);
    if (!secure && strncmp(url, "rtmp://", 7))
        return AVERROR(EINVAL);
    int result = avformat_alloc_output_context2(&r->context, NULL, "flv", NULL);
    if (result < 0)
        return result;
    r->context->interrupt_callback = (AVIOInterruptCB){interrupt, r};
    r->context->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    r->opened_ns = clock_monotonic_ns();
    r->deadline_ns = r->opened_ns + OPEN_NS;
    r->base = INT64_MIN;
    heard = (struct heard){0};
    AVDictionary *options = NULL;
    av_dict_set_int(&options, "rw_timeout", ANSWER_NS / 1000, 0);
    av_dict_set(&options, secure ? "tls_verify" : "tcp_nodelay", "1", 0);
    result = avio_open2(&r->context->pb, url, AVIO_FLAG_WRITE, &r->context->interrupt_callback,
                        &options);
    av_dict_free(&options);
    if (result < 0)
        return result;
    watch_socket(r);
    if (sink_add_streams(r->context, &r->setup))
        return AVERROR(ENOMEM);
    av_dict_set(&options, "flvflags", "no_duration_filesize", 0);
    result = avformat_write_header(r->context, &options);
    av_dict_free(&options);
    return result < 0 ? result : 0;
}

static void connect_now(struct rtmp *r)
{
    status_set(r->status, DELIVER_CONNECTING);
    int result = open_connection(r);
    if (result < 0) {
        fail(r, result);
        return;
    }
    if (r->was_connected)
        status_add(r->status, 0, 1);
    r->was_connected = true;
    r->last_dts[0] = r->last_dts[1] = INT64_MIN;
    feed_skip_to_newest_key(r->feed);
}

static void rtmp_setup(void *sink, const struct deliver_setup *setup)
{
    struct rtmp *r = sink;
    close_connection(r, true);
    r->setup = *setup;
    r->has_setup = true;
    r->next_try_ns = 0;
    gop_clear(&r->kept);
}

static void rtmp_clear(void *sink, uint64_t programme)
{
    struct rtmp *r = sink;
    (void)programme; // it has only one
    close_connection(r, true);
    r->has_setup = false;
    status_set(r->status, DELIVER_STOPPED);
}

static void write_packet(struct rtmp *r, const struct packet *packet)
{
    sink_fill_packet(r->context, &r->setup, packet, r->base, r->packet);
    int64_t dts = r->packet->dts;
    if (dts < 0 || dts <= r->last_dts[packet->stream])
        return; // sound from before the key frame
    r->last_dts[packet->stream] = dts;
    r->deadline_ns = clock_monotonic_ns() + WRITE_NS;
    int result = av_write_frame(r->context, r->packet);
    if (result >= 0 && r->context->pb->error < 0)
        result = r->context->pb->error;
    if (result < 0) {
        bool stalled = result == AVERROR_EXIT && clock_monotonic_ns() <= r->deadline_ns;
        fail(r, stalled ? STALLED : result);
        return;
    }
    status_add(r->status, packet->size, 0);
    if (packet->stream == PACKET_VIDEO && dts >= LIVE_AFTER_MS) {
        status_set(r->status, DELIVER_LIVE);
        if (clock_monotonic_ns() >= r->slow_ns) {
            status_error(r->status, "%s", "");
            status_alarm(r->status, "");
        }
        r->back_off_ms = BACK_OFF_FIRST;
        r->refused_ms = REFUSED_FIRST;
    }
}

// Whether so much waits behind this picture that it is better left out.
static bool is_late(const struct rtmp *r, const struct packet *packet)
{
    int64_t frames = feed_newest_picture(r->feed) - packet->dts;
    return packet->stream == PACKET_VIDEO &&
           frames > muldiv_floor(LAG_SECONDS, r->setup.rate.num, r->setup.rate.den);
}

static void skip_to_present(struct rtmp *r)
{
    feed_skip_to_newest_key(r->feed);
    r->skips = true;
    r->slow_ns = clock_monotonic_ns() + SLOW_NS;
    status_error(r->status, "the server takes less than is sent: pictures were left out");
    status_alarm(r->status, "destination_slow");
}

// A new connection begins with the GOP under way, once the sound that comes behind its first
// picture is there: that goes first, since FFmpeg's FLV takes nothing from before its first packet.
static void begin_session(struct rtmp *r)
{
    const struct gop *kept = &r->kept;
    int64_t sample = kept->count ? rate_first_sample(r->setup.rate, kept->packets[0]->dts) : 0;
    bool sound = false;
    for (int i = 0; i < kept->count && !sound; i++)
        sound = kept->packets[i]->stream == PACKET_AUDIO && kept->packets[i]->dts >= sample;
    if (!sound && kept->count < SILENT_PACKETS)
        return;
    r->skips = false;
    r->base = sink_base(&r->setup, kept->packets[0]);
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < kept->count && r->context; i++) {
            const struct packet *p = kept->packets[i];
            if ((p->stream != PACKET_AUDIO || p->dts >= sample) == late) {
                write_packet(r, p);
                status_turn(r->status); // a long GOP takes its time on a thin line
            }
        }
}

static void rtmp_packet(void *sink, uint64_t programme, const struct packet *packet)
{
    struct rtmp *r = sink;
    (void)programme;
    bool key = packet->stream == PACKET_VIDEO && packet->key;
    int64_t now = clock_monotonic_ns();
    if (!key && now - r->heard_ns > STALE_NS)
        gop_clear(&r->kept);
    r->heard_ns = now;
    gop_add(&r->kept, packet);
    if (!r->context)
        return;
    if (key && r->base != INT64_MIN &&
        r->last_dts[0] > (int64_t)SESSION_SECONDS * 1000) { // flv counts milliseconds
        close_connection(r, true);
        connect_now(r);
        if (!r->context)
            return;
    }
    if (r->base == INT64_MIN) {
        begin_session(r);
        return;
    }
    r->skips = r->skips && !key;
    if (is_late(r, packet))
        skip_to_present(r);
    if (!r->skips)
        write_packet(r, packet);
}

// What the edge wants now.
static void follow_mode(struct rtmp *r, int64_t now)
{
    enum publish_mode mode = feed_publish(r->feed);
    if (mode == PUBLISH_NO && (r->context || r->mode != PUBLISH_NO)) {
        close_connection(r, false);
        status_set(r->status, DELIVER_WAITING);
        status_error(r->status, "%s", "");
        status_alarm(r->status, "");
    }
    if (mode != PUBLISH_NO && r->mode == PUBLISH_NO) {
        r->named_ns = now;
        r->next_try_ns = 0;
    }
    r->mode = mode;
}

static bool may_connect(const struct rtmp *r, int64_t now)
{
    return r->mode == PUBLISH_YES ||
           (r->mode == PUBLISH_KEEP && (!r->ended_ns || now - r->ended_ns > KEEP_NS));
}

static void rtmp_idle(void *sink)
{
    struct rtmp *r = sink;
    follow_mode(r, clock_monotonic_ns());
    if (r->context && is_stalled(r, clock_monotonic_ns()))
        fail(r, STALLED);
    if (!r->context && r->has_setup && !feed_closed(r->feed) &&
        clock_monotonic_ns() >= r->next_try_ns && may_connect(r, clock_monotonic_ns()))
        connect_now(r);
}

static void rtmp_destroy(void *sink)
{
    struct rtmp *r = sink;
    close_connection(r, true);
    gop_clear(&r->kept);
    av_packet_free(&r->packet);
    free(r);
}

const struct sink_ops sink_rtmp_ops = {
    .create = rtmp_create,
    .setup = rtmp_setup,
    .clear = rtmp_clear,
    .packet = rtmp_packet,
    .idle = rtmp_idle,
    .destroy = rtmp_destroy,
};
