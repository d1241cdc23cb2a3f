// RTMP and RTMPS output by libavformat's flv muxer.
//
// Rules (measured, see ARCHITECTURE.md): every call has a deadline (rw_timeout, and the interrupt
// callback); `timeout` is never set, since it turns the output into a listener; rtmps checks
// certificates. Each connection starts at a key frame with time 0 and ends, planned, before time
// stamps of 31 bits would wrap. After a failure nothing is said to the peer, since that may block.
#include "edge/deliver/sink.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <libavformat/avformat.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define OPEN_NS         INT64_C(10000000000)
#define WRITE_NS        INT64_C(4000000000)
#define CLOSE_NS        INT64_C(1000000000)
#define LIVE_AFTER_MS   1000
#define BACK_OFF_FIRST  500
#define BACK_OFF_LAST   10000
#define SESSION_SECONDS (20 * 24 * 3600)

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
    int64_t next_try_ns;
    int back_off_ms;
    bool was_connected;
};

static int interrupt(void *opaque)
{
    struct rtmp *r = opaque;
    int64_t now = clock_monotonic_ns();
    if (now > r->deadline_ns)
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
    r->packet = av_packet_alloc();
    avformat_network_init();
    return r;
}

static void close_connection(struct rtmp *r, bool polite)
{
    if (!r->context)
        return;
    r->deadline_ns = polite ? clock_monotonic_ns() + CLOSE_NS : 0;
    if (polite)
        (void)av_write_trailer(r->context); // the peer may be gone already
    avio_closep(&r->context->pb);
    avformat_free_context(r->context);
    r->context = NULL;
}

// In words, without the URL that FFmpeg's own messages have.
static const char *describe(int error)
{
    switch (error) {
    case AVERROR(ECONNREFUSED):
        return "connection refused: nothing listens at the destination's address";
    case AVERROR(ETIMEDOUT):
    case AVERROR_EXIT:
        return "no answer in time";
    case AVERROR(EIO):
        return "refused by the server: check the stream key and the address";
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

static int random_below(int limit)
{
    uint32_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value)
        value = (uint32_t)clock_monotonic_ns();
    return (int)(value % (uint32_t)limit);
}

static void fail(struct rtmp *r, int error)
{
    close_connection(r, false);
    status_error(r->status, "%s", describe(error));
    status_set(r->status, DELIVER_WAITING);
    // Full jitter, so that a platform that comes back is not met by everybody at once.
    int wait_ms = r->back_off_ms / 2 + random_below(r->back_off_ms / 2 + 1);
    r->next_try_ns = clock_monotonic_ns() + (int64_t)wait_ms * 1000000;
    r->back_off_ms = r->back_off_ms * 2 > BACK_OFF_LAST ? BACK_OFF_LAST : r->back_off_ms * 2;
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
    r->deadline_ns = clock_monotonic_ns() + OPEN_NS;
    AVDictionary *options = NULL;
    av_dict_set(&options, "rw_timeout", "3000000", 0);
    av_dict_set(&options, secure ? "tls_verify" : "tcp_nodelay", "1", 0);
    result = avio_open2(&r->context->pb, url, AVIO_FLAG_WRITE, &r->context->interrupt_callback,
                        &options);
    av_dict_free(&options);
    if (result < 0)
        return result;
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
    r->base = INT64_MIN;
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
        fail(r, result);
        return;
    }
    status_add(r->status, packet->size, 0);
    if (packet->stream == PACKET_VIDEO && dts >= LIVE_AFTER_MS) {
        status_set(r->status, DELIVER_LIVE);
        status_error(r->status, "%s", "");
        r->back_off_ms = BACK_OFF_FIRST;
    }
}

static void rtmp_packet(void *sink, uint64_t programme, const struct packet *packet)
{
    struct rtmp *r = sink;
    (void)programme;
    if (!r->context)
        return;
    bool key = packet->stream == PACKET_VIDEO && packet->key;
    if (key && r->base != INT64_MIN &&
        r->last_dts[0] > (int64_t)SESSION_SECONDS * 1000) { // flv counts milliseconds
        close_connection(r, true);
        connect_now(r);
        if (!r->context)
            return;
    }
    if (r->base == INT64_MIN) {
        if (!key)
            return;
        r->base = packet->dts;
    }
    write_packet(r, packet);
}

static void rtmp_idle(void *sink)
{
    struct rtmp *r = sink;
    if (!r->context && r->has_setup && !feed_closed(r->feed) &&
        clock_monotonic_ns() >= r->next_try_ns)
        connect_now(r);
}

static void rtmp_destroy(void *sink)
{
    struct rtmp *r = sink;
    close_connection(r, true);
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
