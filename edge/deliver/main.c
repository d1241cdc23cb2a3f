// vistter-deliver: one destination, one recording, or the previews of an edge.
//
// Started by vistter-edge, which talks to it over descriptor 3 (message.h). Everything it needs to
// know, secrets included, arrives there. It ends when told so or when the edge is gone; a recording
// is sealed in both cases. A publisher that knows where the channel's other edge gives the same
// packets outlives its edge: it goes on with those, its connection untouched, until the edge is
// back and adopts it, or the other edge says that no more comes. It ends its connection at once
// when its edge says so, or the other edge, by a newer word of a leader (edge/publish.h).
#include "edge/deliver/second.h"
#include "edge/deliver/sink.h"
#include "edge/deliver/splice.h"
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
#include <sys/un.h>
#include <unistd.h>

#define TEND_NS INT64_C(100000000)

struct process {
    // -- constant after the start
    struct feed *feed;
    struct status *status;
    const char *label, *family;
    struct cost cost; // of pictures, in the sink
    // -- the main thread
    int fd;                      // the edge's socket
    struct deliver_setup *setup; // the newest
    struct second *second;       // NULL: there is no other edge
    uint64_t turns;              // of the splice, as last logged
    // -- guarded by lock
    pthread_mutex_t lock;
    struct splice *splice; // of a publisher; NULL: packets go as they come
    uint64_t programme;
    struct publish_id publish; // what the edge was told last
    bool taken;                // the other edge knows more
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
static int read_some(int fd, void *target, size_t size, size_t *done)
{
    while (*done < size) {
        ssize_t n = recv(fd, (uint8_t *)target + *done, size - *done, MSG_DONTWAIT);
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
    struct deliver_second second;
    struct deliver_publish publish;
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

// ---- The two sources ---------------------------------------------------------------------------

// A packet of the splice, on its way to the sink. Called with the lock held.
static void on_spliced(void *opaque, struct packet *packet)
{
    struct process *p = opaque;
    struct feed_item item = {.kind = DELIVER_PACKET, .programme = p->programme, .packet = packet};
    feed_add(p->feed, &item);
}

static void on_unit(void *opaque, struct unit *unit)
{
    struct process *p = opaque;
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < unit->count; i++)
        splice_add(p->splice, SPLICE_SECOND, packet_ref(unit->packets[i]), now);
    pthread_mutex_unlock(&p->lock);
}

static void on_end(void *opaque, const struct publish_id *taken)
{
    struct process *p = opaque;
    pthread_mutex_lock(&p->lock);
    splice_ended(p->splice, SPLICE_SECOND, clock_monotonic_ns());
    bool loses = taken && !p->taken && publish_newer(*taken, p->publish);
    if (loses) {
        p->taken = true;
        feed_set_publish(p->feed, PUBLISH_NO);
    }
    pthread_mutex_unlock(&p->lock);
    if (loses)
        log_warning("publisher_taken", "outlet=%s by=other_edge", p->label);
}

static void set_publish(struct process *p, const struct deliver_publish *publish)
{
    pthread_mutex_lock(&p->lock);
    p->publish = publish->id;
    p->taken = false;
    feed_set_publish(p->feed, publish->mode);
    pthread_mutex_unlock(&p->lock);
}

// Of a publisher: before any packet, though a second source may come only later. One made then
// would know nothing of the GOP under way and give nothing until the next.
static void make_splice(struct process *p, uint64_t programme)
{
    pthread_mutex_lock(&p->lock);
    p->programme = programme;
    if (!p->splice)
        p->splice = splice_create(on_spliced, p);
    pthread_mutex_unlock(&p->lock);
}

static void set_second(struct process *p, const struct deliver_second *link)
{
    // An edge that is back says again what is so already: the link stays.
    if (p->second && deliver_second_equal(link, second_link(p->second)))
        return;
    second_leave(&p->second);
    if (link->there)
        make_splice(p, link->channel);
    pthread_mutex_lock(&p->lock);
    if (p->splice)
        splice_ended(p->splice, SPLICE_SECOND, clock_monotonic_ns());
    pthread_mutex_unlock(&p->lock);
    struct second_config config = {*link, on_unit, on_end, p};
    int error = link->there ? second_create(&config, &p->second) : 0;
    explicit_bzero(&config, sizeof config);
    if (error)
        log_warning("second_failed", "outlet=%s error=\"%s\"", p->label, strerror(-error));
}

// Ten times a second.
static void tend_sources(struct process *p, int64_t now)
{
    struct splice_stats stats = {0};
    if (p->second)
        second_tick(p->second, now);
    pthread_mutex_lock(&p->lock);
    if (p->splice) {
        splice_tick(p->splice, now);
        splice_stats(p->splice, &stats);
    }
    pthread_mutex_unlock(&p->lock);
    if (stats.turns != p->turns)
        log_info("source_changed", "outlet=%s to=%s turns=%" PRIu64 " holes=%" PRIu64, p->label,
                 stats.source == SPLICE_SECOND ? "other_edge" : "own_edge", stats.turns,
                 stats.holes);
    p->turns = stats.turns;
}

static void give_item(struct process *p, struct feed_item *item)
{
    if (item->setup && p->setup && deliver_setup_equal(item->setup, p->setup)) {
        free(item->setup); // an edge that has adopted us: the sink goes on
    } else if (item->setup) {
        free(p->setup);
        p->setup = base_alloc(sizeof *p->setup);
        *p->setup = *item->setup;
        if (item->setup->kind == DELIVER_KIND_RTMP)
            make_splice(p, item->programme);
        feed_add(p->feed, item);
    } else if (item->packet && p->splice) {
        pthread_mutex_lock(&p->lock);
        splice_add(p->splice, SPLICE_FIRST, item->packet, clock_monotonic_ns());
        pthread_mutex_unlock(&p->lock);
    } else {
        feed_add(p->feed, item);
    }
    *item = (struct feed_item){0};
}

// ---- The edge's socket -------------------------------------------------------------------------

static void *body_of(struct reader *r)
{
    if (r->item.packet)
        return r->item.packet->data;
    if (r->header.kind == DELIVER_PUBLISH)
        return &r->publish;
    return r->header.kind == DELIVER_SECOND ? (void *)&r->second : (void *)r->item.setup;
}

// 1: STOP arrived, 0: nothing more for now, negative: the edge is gone or speaks nonsense.
static int read_messages(struct process *p, struct reader *r)
{
    for (;;) {
        int result;
        if (r->head_done < sizeof r->header) {
            result = read_some(p->fd, &r->header, sizeof r->header, &r->head_done);
            if (result <= 0)
                return result;
            r->body_done = 0;
            result = begin_body(r);
            if (result)
                return result;
        }
        result = r->header.size ? read_some(p->fd, body_of(r), r->header.size, &r->body_done) : 1;
        if (result <= 0)
            return result;
        r->head_done = 0;
        if (r->header.kind == DELIVER_STOP)
            return 1;
        if ((r->item.setup && deliver_setup_check(r->item.setup)) ||
            (r->header.kind == DELIVER_SECOND && deliver_second_check(&r->second)) ||
            (r->header.kind == DELIVER_PUBLISH && deliver_publish_check(&r->publish)))
            return -EPROTO;
        if (r->header.kind == DELIVER_SECOND)
            set_second(p, &r->second);
        else if (r->header.kind == DELIVER_PUBLISH)
            set_publish(p, &r->publish);
        else
            give_item(p, &r->item);
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
    if (p->second)
        message.report.other = second_heard(p->second, clock_monotonic_ns()) ? DELIVER_OTHER_HEARD
                                                                             : DELIVER_OTHER_LOST;
    pthread_mutex_lock(&p->lock);
    message.report.taken = p->taken;
    pthread_mutex_unlock(&p->lock);
    // Small and rare: when it does not fit the edge is not reading, and the next one will do.
    ssize_t n = send(p->fd, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n;
}

// One connection of the edge. 1: told to stop; negative: the edge is gone, or speaks nonsense.
static int serve(struct process *p)
{
    struct reader reader = {0};
    int64_t next_ns = 0, tend_ns = 0;
    int result = 0;
    while (!result) {
        struct pollfd poll_fd = {.fd = p->fd, .events = POLLIN};
        (void)poll(&poll_fd, 1, DELIVER_STATE_PERIOD_MS / 2);
        result = read_messages(p, &reader);
        int64_t now = clock_monotonic_ns();
        if (now >= tend_ns) {
            tend_sources(p, now);
            tend_ns = now + TEND_NS;
        }
        if (now >= next_ns) {
            send_state(p);
            next_ns = now + (int64_t)DELIVER_STATE_PERIOD_MS * 1000000;
        }
    }
    packet_unref(&reader.item.packet);
    free(reader.item.setup);
    explicit_bzero(&reader.second, sizeof reader.second);
    if (result == -EPROTO)
        log_error("deliver_protocol", "outlet=%s", p->label);
    return result;
}

static int listen_for_edge(const struct process *p)
{
    struct sockaddr_un address;
    unsigned length = deliver_address(p->family, p->label, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

// An edge of the same user.
static int accept_edge(int listener)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 &&
        (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != geteuid())) {
        close(fd);
        fd = -1;
    }
    return fd;
}

// The edge is gone: goes on with the other edge's packets until the edge is back (0), or no more
// comes (-EPIPE).
static int outlive(struct process *p)
{
    if (!p->second || !*p->family || !second_alive(p->second, clock_monotonic_ns()))
        return -EPIPE;
    close(p->fd);
    pthread_mutex_lock(&p->lock);
    splice_ended(p->splice, SPLICE_FIRST, clock_monotonic_ns());
    pthread_mutex_unlock(&p->lock);
    p->fd = -1;
    int listener = listen_for_edge(p);
    log_warning("edge_gone", "outlet=%s goes_on_with=other_edge", p->label);
    for (int64_t now = 0; listener >= 0 && p->fd < 0;) {
        struct pollfd poll_fd = {.fd = listener, .events = POLLIN};
        (void)poll(&poll_fd, 1, (int)(TEND_NS / 1000000));
        now = clock_monotonic_ns();
        tend_sources(p, now);
        if (!second_alive(p->second, now))
            break;
        p->fd = accept_edge(listener);
    }
    if (listener >= 0)
        close(listener);
    log_info(p->fd >= 0 ? "edge_back" : "other_edge_ended", "outlet=%s", p->label);
    return p->fd >= 0 ? 0 : -EPIPE;
}

int main(int argc, char **argv)
{
    static struct process p;
    p.label = argc > 1 ? argv[1] : "unnamed";
    p.family = argc > 2 ? argv[2] : "";
    p.fd = DELIVER_SOCKET_FD;
    pthread_mutex_init(&p.lock, NULL);
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
    while (serve(&p) == -EPIPE && !outlive(&p))
        continue;
    second_destroy(&p.second);
    feed_close(p.feed);
    thread_join(sink);
    if (p.fd >= 0)
        send_state(&p);
    splice_destroy(&p.splice);
    feed_destroy(&p.feed);
    if (p.setup)
        explicit_bzero(p.setup, sizeof *p.setup);
    free(p.setup);
    status_destroy(&p.status);
    log_info("stopped", "outlet=%s packets_outstanding=%" PRId64, p.label, packet_outstanding());
    return 0;
}
