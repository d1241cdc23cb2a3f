// vistter-deliver: one destination, one recording, or the previews of an edge.
//
// Started by vistter-edge, which talks to it over descriptor 3 (message.h). Everything it needs to
// know, secrets included, arrives there. It ends when told so or when the edge is gone; a recording
// is sealed in both cases.
#include "edge/deliver/sink.h"
#include "engine/base/clock.h"
#include "engine/base/cost.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libavutil/log.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct process {
    struct feed *feed;
    struct status *status;
    const char *label;
    struct cost cost; // of pictures, in the sink
};

static const struct sink_ops *ops_of(enum deliver_kind kind)
{
    switch (kind) {
    case DELIVER_KIND_RTMP:
        return &sink_rtmp_ops;
    case DELIVER_KIND_RECORDING:
        return &sink_record_ops;
    case DELIVER_KIND_PREVIEW:
        return &sink_preview_ops;
    }
    return NULL;
}

static void give_packet(struct process *p, const struct sink_ops *ops, void *sink,
                        const struct feed_item *item)
{
    int64_t start = clock_monotonic_ns();
    ops->packet(sink, item->programme, item->packet);
    if (item->packet->stream == PACKET_VIDEO)
        cost_add(&p->cost, clock_monotonic_ns() - start);
}

static void *run_sink(void *opaque)
{
    struct process *p = opaque;
    const struct sink_ops *ops = NULL;
    void *sink = NULL;
    for (;;) {
        struct feed_item item = {0};
        int result = feed_take(p->feed, 200, &item);
        if (result == -EPIPE)
            break;
        if (!result && item.kind == DELIVER_SETUP) {
            if (!ops && (ops = ops_of(item.setup->kind)))
                sink = ops->create(p->feed, p->status);
            if (ops)
                ops->setup(sink, item.setup);
        } else if (!result && ops && item.kind == DELIVER_CLEAR) {
            ops->clear(sink, item.programme);
        } else if (!result && ops && item.kind == DELIVER_PACKET) {
            give_packet(p, ops, sink, &item);
        }
        status_turn(p->status);
        if (ops)
            ops->idle(sink);
        packet_unref(&item.packet);
        free(item.setup);
    }
    if (ops)
        ops->destroy(sink);
    status_set(p->status, DELIVER_STOPPED);
    return NULL;
}

// Reads exactly `size` bytes from a socket that does not block, as far as they are there.
// 1: complete, 0: not yet, -EPIPE: the edge is gone.
static int read_some(void *target, size_t size, size_t *done)
{
    while (*done < size) {
        ssize_t n = recv(DELIVER_SOCKET_FD, (uint8_t *)target + *done, size - *done, MSG_DONTWAIT);
        if (n == 0)
            return -EPIPE;
        if (n < 0)
            return errno == EAGAIN ? 0 : errno == EINTR ? 0 : -EPIPE;
        *done += (size_t)n;
    }
    return 1;
}

// The message being read.
struct reader {
    struct deliver_header header;
    size_t head_done, body_done;
    struct feed_item item;
};

static int begin_body(struct reader *r)
{
    int result = deliver_header_check(&r->header);
    if (result)
        return result;
    r->item = (struct feed_item){.kind = r->header.kind, .programme = r->header.programme};
    if (r->header.kind == DELIVER_SETUP) {
        r->item.setup = base_alloc(sizeof *r->item.setup);
    } else if (r->header.kind == DELIVER_PACKET) {
        r->item.packet = packet_create(r->header.size);
        if (!r->item.packet)
            return -ENOMEM;
        r->item.packet->stream = r->header.stream;
        r->item.packet->key = r->header.key;
        r->item.packet->pts = r->header.pts;
        r->item.packet->dts = r->header.dts;
        r->item.packet->duration = r->header.duration;
    }
    return 0;
}

// 1: STOP arrived, 0: nothing more for now, negative: the edge is gone or speaks nonsense.
static int read_messages(struct reader *r, struct feed *feed)
{
    for (;;) {
        int result;
        if (r->head_done < sizeof r->header) {
            result = read_some(&r->header, sizeof r->header, &r->head_done);
            if (result <= 0)
                return result;
            r->body_done = 0;
            result = begin_body(r);
            if (result)
                return result;
        }
        void *body = r->item.packet ? r->item.packet->data : (uint8_t *)r->item.setup;
        result = r->header.size ? read_some(body, r->header.size, &r->body_done) : 1;
        if (result <= 0)
            return result;
        r->head_done = 0;
        if (r->header.kind == DELIVER_STOP)
            return 1;
        if (r->item.setup && deliver_setup_check(r->item.setup))
            return -EPROTO;
        feed_add(feed, &r->item);
        r->item = (struct feed_item){0};
    }
}

static void send_state(struct process *p)
{
    struct {
        struct deliver_header header;
        struct deliver_report report;
    } message = {.header = {.kind = DELIVER_STATE, .size = sizeof message.report}};
    status_get(p->status, &message.report);
    message.report.dropped = feed_dropped(p->feed);
    cost_read(&p->cost, &message.report.median_ms, &message.report.p99_ms);
    // Small and rare: when it does not fit the edge is not reading, and the next one will do.
    ssize_t n = send(DELIVER_SOCKET_FD, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n;
}

static void serve(struct process *p)
{
    struct reader reader = {0};
    int64_t next_ns = 0;
    int result = 0;
    while (!result) {
        struct pollfd poll_fd = {.fd = DELIVER_SOCKET_FD, .events = POLLIN};
        (void)poll(&poll_fd, 1, DELIVER_STATE_PERIOD_MS / 2);
        result = read_messages(&reader, p->feed);
        int64_t now = clock_monotonic_ns();
        if (now >= next_ns) {
            send_state(p);
            next_ns = now + (int64_t)DELIVER_STATE_PERIOD_MS * 1000000;
        }
    }
    packet_unref(&reader.item.packet);
    free(reader.item.setup);
    if (result == -EPROTO)
        log_error("deliver_protocol", "outlet=%s", p->label);
}

int main(int argc, char **argv)
{
    static struct process p;
    p.label = argc > 1 ? argv[1] : "unnamed";
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(DELIVER_SOCKET_FD, SOL_SOCKET, SO_TYPE, &type, &size)) {
        fprintf(stderr, "vistter-deliver is started by vistter-edge, not by hand.\n");
        return 2;
    }
    (void)fcntl(DELIVER_SOCKET_FD, F_SETFD, FD_CLOEXEC); // nothing is executed from here anyway
    (void)prctl(PR_SET_DUMPABLE, 0);                     // the stream key is in memory
    signal(SIGPIPE, SIG_IGN);
    // FFmpeg's messages hold URLs.
    av_log_set_level(AV_LOG_QUIET);
    p.feed = feed_create();
    p.status = status_create();
    pthread_t sink;
    int result = thread_start(&sink, "sink", run_sink, &p);
    if (result)
        return 1;
    serve(&p);
    feed_close(p.feed);
    thread_join(sink);
    send_state(&p);
    feed_destroy(&p.feed);
    status_destroy(&p.status);
    log_info("stopped", "outlet=%s packets_outstanding=%" PRId64, p.label, packet_outstanding());
    return 0;
}
